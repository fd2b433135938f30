//! The watch tree against a model, and the observer fed with events that make no sense: no panic, and a tree that is in
//! step with the disk again after the next repair. The same cases each time; more of them: `PROPTEST_CASES=5000`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;

use crate::watcher::watches::WatchDescriptor;
use inotify::WatchMask;
use proptest::prelude::*;

use super::*;
use crate::proptests::config;
use crate::watcher::tree::Tree;

// === the tree of names ===

const WATCHES: usize = 12;
const NAMES: [&str; 4] = ["a", "b", "a b", "\u{fffd}"];

/// A place: the watch of its directory, and which entry of which place it is.
type Entry = (usize, Option<(usize, &'static str)>);

/// The places by numbers of their own; 0 is the root's.
struct Model {
    places: BTreeMap<usize, Entry>,
    made: usize,
}

impl Model {
    fn new() -> Self {
        Model { places: BTreeMap::from([(0, (0, None))]), made: 0 }
    }

    fn path(&self, at: usize) -> String {
        match self.places[&at].1 {
            None => String::new(),
            Some((parent, name)) => {
                RelPath::new(self.path(parent).as_bytes()).unwrap().join(OsStr::new(name)).to_string()
            }
        }
    }

    fn is_at_or_below(&self, at: usize, top: usize) -> bool {
        at == top || self.places[&at].1.is_some_and(|(parent, _)| self.is_at_or_below(parent, top))
    }

    fn below(&self, top: usize) -> BTreeSet<usize> {
        self.places.keys().copied().filter(|&at| self.is_at_or_below(at, top)).collect()
    }

    /// Forgets these; returns the watches without a place.
    fn forget(&mut self, doomed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let watches = |model: &Model| -> BTreeSet<usize> { model.places.values().map(|(watch, _)| *watch).collect() };
        let before = watches(self);
        self.places.retain(|at, _| !doomed.contains(at));
        before.difference(&watches(self)).copied().collect()
    }

    fn some(&self, number: usize) -> usize {
        *self.places.keys().nth(number % self.places.len()).unwrap()
    }
}

/// Watches of real directories: a descriptor cannot be made by hand.
fn descriptors(inotify: &Inotify) -> (tempfile::TempDir, Vec<WatchDescriptor>) {
    let dir = tempfile::tempdir().unwrap();
    let all = crate::watcher::Watches::of(inotify).unwrap();
    let watch = |number: usize| {
        let path = dir.path().join(number.to_string());
        fs::create_dir(&path).unwrap();
        all.add(&path, WatchMask::CREATE).unwrap()
    };
    let watches = (0..WATCHES).map(watch).collect();
    (dir, watches)
}

/// The numbers of these watches.
fn numbers(found: &[WatchDescriptor], watches: &[WatchDescriptor]) -> BTreeSet<usize> {
    found.iter().map(|watch| watches.iter().position(|other| other == watch).unwrap()).collect()
}

fn expect_same(
    tree: &Tree,
    model: &Model,
    ids: &HashMap<usize, NodeId>,
    watches: &[WatchDescriptor],
) -> Result<(), TestCaseError> {
    let mut several = false;
    for (number, watch) in watches.iter().enumerate() {
        let places: HashSet<_> = tree.places(watch.get_watch_descriptor_id()).collect();
        let expected: HashSet<_> =
            model.places.iter().filter(|(_, (watch, _))| *watch == number).map(|(at, _)| ids[at]).collect();
        several |= expected.len() > 1;
        prop_assert_eq!(tree.knows(watch.get_watch_descriptor_id()), !expected.is_empty());
        prop_assert_eq!(places, expected, "watch {}", number);
    }
    let distinct: BTreeSet<_> = model.places.values().map(|(watch, _)| watch).collect();
    prop_assert_eq!((tree.count(), tree.has_others()), (distinct.len(), several));
    for (at, (watch, _)) in &model.places {
        prop_assert_eq!(tree.path(ids[at]).to_string(), RelPath::new(model.path(*at).as_bytes()).unwrap().to_string());
        prop_assert_eq!(tree.watch(ids[at]), Some(&watches[*watch]));
        for name in NAMES {
            let claims = |(_, (_, entry)): &(&usize, &Entry)| *entry == Some((*at, name));
            let expected: HashSet<_> = model.places.iter().filter(claims).map(|(at, _)| ids[at]).collect();
            let named: HashSet<_> = tree.children_named(ids[at], OsStr::new(name)).into_iter().collect();
            prop_assert_eq!(named, expected, "{} in {}", name, model.path(*at));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_tree_of_names_is_what_a_plain_map_would_be(
        steps in proptest::collection::vec((0..14_u8, 1..WATCHES, 0..100_usize, 0..100_usize, 0..NAMES.len()), 1..80),
    ) {
        let inotify = Inotify::init().unwrap();
        let (_dir, watches) = descriptors(&inotify);
        let (mut tree, mut model) = (Tree::new(watches[0].clone()), Model::new());
        let mut ids = HashMap::from([(0, tree.root())]);
        for (action, watch, at, parent, name) in steps {
            let (at, parent, name) = (model.some(at), model.some(parent), NAMES[name]);
            let at_watch = watches[watch].get_watch_descriptor_id();
            match action {
                // A directory that is new, or is mounted at another name.
                0..=6 => {
                    let is_it = |(_, entry): &(&usize, &Entry)| **entry == (watch, Some((parent, name)));
                    let known = model.places.iter().find(is_it).map(|(at, _)| ids[at]);
                    prop_assert_eq!(tree.at(at_watch, ids[&parent], OsStr::new(name)), known);
                    if known.is_none() {
                        model.made += 1;
                        model.places.insert(model.made, (watch, Some((parent, name))));
                        ids.insert(model.made, tree.add(watches[watch].clone(), ids[&parent], OsStr::new(name)));
                    }
                }
                // A directory is renamed.
                7..=9 => {
                    let entry = (model.places[&at].0, Some((parent, name)));
                    if at == 0 || model.places.values().any(|other| *other == entry) {
                        continue;
                    }
                    let can = !model.is_at_or_below(parent, at);
                    prop_assert_eq!(tree.relink(ids[&at], ids[&parent], OsStr::new(name)), can);
                    if can {
                        model.places.insert(at, entry);
                    }
                }
                // A directory is deleted, or unmounted.
                10 | 11 if at != 0 => {
                    let gone = tree.remove(ids[&at]);
                    let below = model.below(at);
                    prop_assert_eq!(numbers(&gone, &watches), model.forget(&below));
                }
                12 | 13 => {
                    let keep = |place: usize| place == 0 || place % 3 != at % 3;
                    let kept = model.places.keys().filter(|at| keep(**at)).map(|at| ids[at]).collect();
                    let gone = tree.prune(tree.root(), &kept);
                    let doomed: BTreeSet<usize> =
                        model.places.keys().filter(|at| !keep(**at)).flat_map(|at| model.below(*at)).collect();
                    prop_assert_eq!(numbers(&gone, &watches), model.forget(&doomed));
                }
                _ => (),
            }
            expect_same(&tree, &model, &ids, &watches)?;
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
    pub(crate) fn directories(&self) -> BTreeSet<String> {
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
