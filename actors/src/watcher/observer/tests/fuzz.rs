//! The watch tree against a model, and the observer fed with events that make no sense: no panic, and a tree that is in
//! step with the disk again after the next repair. The same cases each time; more of them: `PROPTEST_CASES=5000`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;

use inotify::{WatchDescriptor, WatchMask};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::watcher::tree::{Placed, Tree};

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig { cases: if chosen { default.cases } else { cases }, rng_seed, ..default }
}

// === the tree of names ===

const WATCHES: usize = 12;
const NAMES: [&str; 4] = ["a", "b", "a b", "\u{fffd}"];

/// Which directory each watch but the first, the root's, is in, and under which name.
#[derive(Default)]
struct Model(BTreeMap<usize, (usize, &'static str)>);

impl Model {
    fn path(&self, mut at: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        while let Some((parent, name)) = self.0.get(&at) {
            names.insert(0, *name);
            at = *parent;
        }
        names
    }

    fn is_at_or_below(&self, mut at: usize, top: usize) -> bool {
        loop {
            if at == top {
                return true;
            }
            match self.0.get(&at) {
                Some((parent, _)) => at = *parent,
                None => return false,
            }
        }
    }

    fn has(&self, at: usize) -> bool {
        at == 0 || self.0.contains_key(&at)
    }

    fn below(&self, top: usize) -> BTreeSet<usize> {
        self.0.keys().copied().filter(|&at| self.is_at_or_below(at, top)).collect()
    }
}

/// Watches of real directories: a descriptor cannot be made by hand.
fn descriptors(inotify: &Inotify) -> (tempfile::TempDir, Vec<WatchDescriptor>) {
    let dir = tempfile::tempdir().unwrap();
    let mut all = inotify.watches();
    let watch = |number: usize| {
        let path = dir.path().join(number.to_string());
        fs::create_dir(&path).unwrap();
        all.add(&path, WatchMask::CREATE).unwrap()
    };
    let watches = (0..WATCHES).map(watch).collect();
    (dir, watches)
}

fn expect_same(tree: &Tree, model: &Model, watches: &[WatchDescriptor]) -> Result<(), TestCaseError> {
    prop_assert_eq!(tree.count(), model.0.len() + 1);
    for (at, watch) in watches.iter().enumerate() {
        let found = tree.by_watch(watch.get_watch_descriptor_id());
        prop_assert_eq!(found.is_some(), model.has(at), "watch {}", at);
        let Some(id) = found else { continue };
        let path = model.path(at).join("/");
        prop_assert_eq!(tree.path(id), RelPath::new(path.as_bytes()).unwrap());
        prop_assert_eq!(tree.watch(id), Some(watch));
        for name in NAMES {
            let expected: HashSet<_> =
                model.0.iter().filter(|(_, entry)| **entry == (at, name)).map(|(at, _)| *at).collect();
            let named = tree.children_named(id, OsStr::new(name)).into_iter();
            let named: HashSet<_> =
                named.map(|id| watches.iter().position(|w| tree.watch(id) == Some(w)).unwrap()).collect();
            prop_assert_eq!(named, expected, "{} in {}", name, path);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_tree_of_names_is_what_a_plain_map_would_be(
        steps in proptest::collection::vec((0..10_u8, 1..WATCHES, 0..WATCHES, 0..NAMES.len()), 1..80),
    ) {
        let inotify = Inotify::init().unwrap();
        let (_dir, watches) = descriptors(&inotify);
        let (mut tree, mut model) = (Tree::new(watches[0].clone()), Model::default());
        let id = |tree: &Tree, at: usize| tree.by_watch(watches[at].get_watch_descriptor_id());
        for (action, at, parent, name) in steps {
            let name = NAMES[name];
            match action {
                0..=6 => {
                    let Some(parent_id) = id(&tree, parent) else { continue };
                    let placed = tree.place(watches[at].clone(), parent_id, OsStr::new(name));
                    let known = model.0.get(&at).copied();
                    let tangled = known.is_some() && model.is_at_or_below(parent, at);
                    match (placed, known) {
                        (Placed::Known(_), Some(entry)) => prop_assert_eq!(entry, (parent, name)),
                        (Placed::Tangled, _) => prop_assert!(tangled),
                        (Placed::Moved(_), Some(entry)) => prop_assert!(entry != (parent, name) && !tangled),
                        (Placed::New(_), None) => (),
                        (placed, known) => prop_assert!(false, "{:?} of {:?}", placed, known),
                    }
                    if !tangled {
                        model.0.insert(at, (parent, name));
                    }
                }
                7 | 8 => {
                    let Some(id) = id(&tree, at) else { continue };
                    let below = model.below(at);
                    prop_assert_eq!(tree.remove(id).len(), below.len());
                    model.0.retain(|at, _| !below.contains(at));
                }
                _ => {
                    // Keeps every other one, and what those lie in is not asked for.
                    let keep = (0..WATCHES).filter(|n| n % 2 == parent % 2 || *n == 0);
                    let ids: HashSet<_> = keep.clone().filter_map(|at| id(&tree, at)).collect();
                    tree.prune(tree.root(), &ids);
                    let keep: HashSet<usize> = keep.collect();
                    let doomed: Vec<usize> = model.0.keys().copied().filter(|at| !keep.contains(at)).collect();
                    for at in doomed {
                        let below = model.below(at);
                        model.0.retain(|at, _| !below.contains(at));
                    }
                }
            }
            expect_same(&tree, &model, &watches)?;
        }
    }
}

// === the observer ===

const PATHS: [&str; 9] = ["a", "b", "a/b", "a/c", "a/b/a", "b/a", "c", "c/\n", "b/a/c"];

/// Something that happens to the tree, or an event that nothing has caused.
#[derive(Debug, Clone)]
enum Happening {
    MakeDirs(usize),
    Remove(usize),
    Rename(usize, usize),
    Event {
        watch: i32,
        mask: u32,
        cookie: u32,
        name: Option<usize>,
    },
    /// The events of the kernel so far, from the last to the first or without every other one.
    Garbled(bool),
    Events,
    Later(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let at = 0..PATHS.len();
    // Those of inotify(7): the low bits, UNMOUNT, Q_OVERFLOW, IGNORED and ISDIR.
    let bit = prop_oneof![0..12_u32, 13..16_u32, Just(30_u32)];
    let mask = proptest::collection::vec(bit, 1..4).prop_map(|bits| bits.iter().fold(0, |mask, bit| mask | 1 << bit));
    prop_oneof![
        2 => at.clone().prop_map(Happening::MakeDirs),
        1 => at.clone().prop_map(Happening::Remove),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Happening::Rename(from, to)),
        4 => (-2..12_i32, mask, 0..4_u32, proptest::option::of(at))
            .prop_map(|(watch, mask, cookie, name)| Happening::Event { watch, mask, cookie, name }),
        1 => any::<bool>().prop_map(Happening::Garbled),
        2 => Just(Happening::Events),
        1 => (0..3000_u64).prop_map(Happening::Later),
    ]
}

impl Watched {
    fn happen(&mut self, happening: &Happening) {
        let name = |at: usize| OsString::from(PATHS[at].rsplit('/').next().unwrap());
        match happening {
            // Whether it can be done or not.
            Happening::MakeDirs(at) => drop(fs::create_dir_all(self.at(PATHS[*at]))),
            Happening::Remove(at) => drop(fs::remove_dir_all(self.at(PATHS[*at]))),
            Happening::Rename(from, to) => drop(fs::rename(self.at(PATHS[*from]), self.at(PATHS[*to]))),
            Happening::Event { watch, mask, cookie, name: of } => {
                let (mask, name) = (EventMask::from_bits_retain(*mask), of.map(name));
                self.observer.handle(RawEvent { watch: *watch, mask, cookie: *cookie, name }, self.now);
            }
            Happening::Garbled(backwards) => {
                let mut events = self.events();
                if *backwards {
                    events.reverse();
                } else {
                    events = events.into_iter().step_by(2).collect();
                }
                events.into_iter().for_each(|event| self.observer.handle(event, self.now));
            }
            Happening::Events => drop(self.changes()),
            Happening::Later(millis) => drop(self.later(Duration::from_millis(*millis))),
        }
    }

    /// Every directory on disk, the root as the empty path.
    fn directories(&self) -> BTreeSet<String> {
        let (mut found, mut left) = (BTreeSet::new(), vec![String::new()]);
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(self.at(&dir)).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    let name = entry.file_name().into_string().unwrap();
                    left.push(if dir.is_empty() { name } else { format!("{dir}/{name}") });
                }
            }
            found.insert(dir);
        }
        found
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn after_events_that_make_no_sense_the_next_repair_watches_what_there_is(
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let mut tree = Watched::new(&["a/b", "c"], &[]);
        happenings.iter().for_each(|happening| tree.happen(happening));
        let overflow = RawEvent { watch: -1, mask: EventMask::Q_OVERFLOW, cookie: 0, name: None };
        tree.observer.handle(overflow, tree.now);
        // A root that is said to be gone is found again, and lost track is repaired.
        (0..6).for_each(|_| drop(tree.later(Duration::from_secs(3))));
        let directories = tree.directories();
        prop_assert_eq!(tree.observer.directories(), directories.len(), "{:?}", directories);
        // What is written in each is seen at its name.
        tree.changes();
        let mut expected = HashMap::new();
        for dir in &directories {
            let path = RelPath::new(if dir.is_empty() { "f".into() } else { format!("{dir}/f") }.as_bytes()).unwrap();
            fs::write(tree.at(dir).join("f"), "x").unwrap();
            *expected.entry(format!("written {path}")).or_insert(0) += 1;
        }
        let mut seen = HashMap::new();
        tree.changes().into_iter().for_each(|change| *seen.entry(change).or_insert(0) += 1);
        prop_assert_eq!(seen, expected);
    }
}
