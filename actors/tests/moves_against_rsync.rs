//! What was renamed or moved is made at a local node by the real rsync out of what the node has; and where the node has
//! something else, the end is the same.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use inosync_actors::children::Children;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::root::Root;
use inosync_actors::rsync::{Rsync, Shared, local_version};
use inosync_actors::site::Site;
use inosync_actors::site::extra::Extra;
use inosync_actors::transport::Lane;
use inosync_actors::transport::plan::Plan;
use inosync_actors::transport::rename::{Doubt, Relocation, Rename};
use inosync_actors::transport::{Delivery, Transport};
use slog::{Discard, Logger, o};
use tokio::sync::oneshot;

use programs::program;
use trees::Trees;

/// Larger than what is sent whatever its size and time say.
const LARGE: usize = 300_000;

/// A source, a mirror that is equal to it, and the way to it.
struct World {
    trees: Trees,
    site: Arc<Site>,
    way: Rc<Rsync>,
}

impl World {
    /// The source holds these files, each of a content of its own.
    async fn new(files: &[&str]) -> World {
        World::with(files, |_| ()).await
    }

    async fn with(files: &[&str], adapt: impl FnOnce(&mut Site)) -> World {
        let trees = Trees::new("other");
        let mut site = trees.site();
        site.nodes = vec![trees.node("steady")];
        site.staging = Some(trees.path("staging"));
        adapt(&mut site);
        let children = Children::default();
        let version = local_version(&children, &site.rsync).await.unwrap_or_else(|error| panic!("rsync: {error}"));
        let (site, root) = (Arc::new(site), Root::of(&trees.path("source")).unwrap());
        let shared = Shared::new(children, &site, &Logger::root(Discard, o!()));
        let way = Rsync::new(site.clone(), root, site.nodes[0].clone(), version, shared);
        let world = World { trees, site, way };
        files.iter().for_each(|file| write(&world.source(file), file));
        world.way.clone().reconcile(Vec::new(), Default::default()).await.unwrap();
        if world.site.excludes.patterns().is_empty() {
            world.assert_mirrored();
        }
        world
    }

    /// The mirror is behind a remote shell, whose rsync runs these commands first.
    async fn remote(files: &[&str], first: &str) -> World {
        World::with(files, |site| {
            let base = site.wpath.parent().unwrap().to_owned();
            for (name, text) in [
                ("shell", "shift; eval \"exec $*\"".to_owned()),
                ("rsync", format!("echo \"$*\" >> {}/runs\n{first}\nexec /usr/bin/rsync \"$@\"", base.display())),
            ] {
                program(&base.join(name), &format!("#!/bin/sh\n{text}\n"));
            }
            let base = base.to_str().unwrap();
            site.extra = Extra::parse(&format!("--rsh={base}/shell --rsync-path={base}/rsync")).unwrap();
            site.nodes = vec![Node::parse("host:", &format!("{base}/steady")).unwrap()];
        })
        .await
    }

    fn source(&self, path: &str) -> PathBuf {
        self.trees.path("source").join(path)
    }

    fn mirror(&self, path: &str) -> PathBuf {
        self.trees.path("steady").join(path)
    }

    fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.source(to).parent().unwrap()).unwrap();
        fs::rename(self.source(from), self.source(to)).unwrap();
    }

    async fn deliver(&self, plan: Plan) -> Delivery {
        self.deliver_in(Lane::Fast, plan).await
    }

    async fn deliver_in(&self, lane: Lane, plan: Plan) -> Delivery {
        let (worked, _work) = oneshot::channel();
        let delivery = self.way.clone().deliver(Rc::new(plan), lane, worked).await.unwrap();
        assert!(delivery.blamed.is_empty(), "{delivery:?}");
        delivery
    }

    fn assert_mirrored(&self) {
        assert_eq!(found(&self.source("")), found(&self.mirror("")));
    }
}

fn write(path: &Path, seed: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut random = fastrand::Rng::with_seed(seed.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
    fs::write(path, std::iter::repeat_with(|| random.u8(..)).take(LARGE).collect::<Vec<u8>>()).unwrap();
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Each path with its content, and its time of modification.
fn found(root: &Path) -> BTreeMap<PathBuf, (String, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let content = match meta.file_type() {
                kind if kind.is_dir() => "a directory".to_owned(),
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                _ => hash(&fs::read(&path).unwrap()),
            };
            if meta.is_dir() {
                directories.push(path.clone());
            }
            let path = path.strip_prefix(root).unwrap().to_owned();
            found.insert(path, (content, meta.mtime(), meta.mtime_nsec()));
        }
    }
    found
}

fn hash(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{} bytes, {:x}", content.len(), hasher.finish())
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// A plan for renames of large files: new name, old name, and the name between.
fn renamed(renames: &[(&str, &str, Option<&str>)]) -> Plan {
    let mut plan = Plan::default();
    for (new, old, via) in renames {
        plan.renamed.insert(rel(new), Rename { old: rel(old), via: via.map(rel) });
        plan.large.insert(rel(new));
        plan.missing.extend(via.map(rel));
    }
    for (_, old, _) in renames {
        if !renames.iter().any(|(new, ..)| new == old) {
            plan.missing.insert(rel(old));
        }
    }
    plan.root = true;
    plan
}

#[actix::test]
async fn a_renamed_file_is_not_sent_again() {
    let world = World::new(&["old", "d/f"]).await;
    let (first, second) = (inode(&world.mirror("old")), inode(&world.mirror("d/f")));
    world.rename("old", "renamed");
    world.rename("d/f", "e/deep/f");
    let mut plan = renamed(&[("renamed", "old", None), ("e/deep/f", "d/f", Some("e/deep/.via"))]);
    plan.parents = [rel("e"), rel("e/deep")].into();
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert_eq!([inode(&world.mirror("renamed")), inode(&world.mirror("e/deep/f"))], [first, second]);
    let tally = delivery.tally;
    assert_eq!((tally.bytes, tally.deleted), (0, 3), "with the one between");
}

#[actix::test]
async fn a_name_that_sorts_before_the_old_one_goes_by_a_third_name() {
    for lane in [Lane::Fast, Lane::Bulk] {
        let world = World::new(&["z", "a"]).await;
        let moved = inode(&world.mirror("z"));
        // Of the same size and time as the one that is to be there.
        world.rename("z", "a");
        let time = fs::metadata(world.source("a")).unwrap().modified().unwrap();
        fs::File::options().write(true).open(world.mirror("a")).unwrap().set_modified(time).unwrap();
        let delivery = world.deliver_in(lane, renamed(&[("a", "z", Some(".a.via"))])).await;
        world.assert_mirrored();
        assert_eq!((inode(&world.mirror("a")), delivery.tally.bytes), (moved, 0));
    }
}

#[actix::test]
async fn files_that_change_places_are_not_sent_again() {
    let world = World::new(&["a", "b", "log", "log.1", "log.2"]).await;
    let inodes = |names: [&str; 4]| names.map(|name| inode(&world.mirror(name)));
    let before = inodes(["a", "b", "log", "log.1"]);
    world.rename("a", "t");
    world.rename("b", "a");
    world.rename("t", "b");
    world.rename("log.1", "log.2");
    world.rename("log", "log.1");
    let delivery = world
        .deliver(renamed(&[
            ("a", "b", Some(".a.via")),
            ("b", "a", Some(".b.via")),
            ("log.1", "log", Some(".log.1.via")),
            ("log.2", "log.1", Some(".log.2.via")),
        ]))
        .await;
    world.assert_mirrored();
    assert_eq!((inodes(["b", "a", "log.1", "log.2"]), delivery.tally.bytes), (before, 0));
}

#[actix::test]
async fn a_new_file_by_an_old_name_is_a_file_of_its_own() {
    let world = World::new(&["log"]).await;
    world.rename("log", "log.1");
    write(&world.source("log"), "another");
    let mut plan = renamed(&[("log.1", "log", None)]);
    plan.missing.clear();
    plan.anew.insert(rel("log"));
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert_ne!(inode(&world.mirror("log")), inode(&world.mirror("log.1")));
    assert!((LARGE as u64..2 * LARGE as u64).contains(&delivery.tally.bytes), "{delivery:?}");
}

#[actix::test]
async fn what_the_node_lacks_or_has_otherwise_is_sent() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 6] = [
        ("the old one is gone", |world| fs::remove_file(world.mirror("old")).unwrap()),
        ("the old one is another file", |world| write(&world.mirror("old"), "else")),
        ("there is a directory", |world| {
            fs::create_dir(world.mirror("new")).unwrap();
            fs::write(world.mirror("new/file"), "x").unwrap();
        }),
        ("there is a symlink", |world| symlink("old", world.mirror("new")).unwrap()),
        ("there is an equal one", |world| {
            write(&world.mirror("new"), "else");
            let time = fs::metadata(world.source("new")).unwrap().modified().unwrap();
            fs::File::options().write(true).open(world.mirror("new")).unwrap().set_modified(time).unwrap();
        }),
        ("it was written to since", |world| write(&world.source("new"), "later")),
    ];
    for (case, spoil) in cases {
        for via in [None, Some(".new.via")] {
            let world = World::new(&["old"]).await;
            world.rename("old", "new");
            spoil(&world);
            world.deliver(renamed(&[("new", "old", via)])).await;
            assert!(found(&world.source("")) == found(&world.mirror("")), "{case}, by {via:?}");
        }
    }
}

#[actix::test]
async fn renames_that_do_not_go_with_each_other_are_mirrored_all_the_same() {
    let world = World::new(&["x/file", "y"]).await;
    world.rename("x/file", "one");
    fs::remove_dir(world.source("x")).unwrap();
    world.rename("y", "x");
    let mut plan = renamed(&[("one", "x/file", Some(".one.via")), ("x", "y", None)]);
    plan.missing.remove(&rel("x/file"));
    world.deliver(plan).await;
    world.assert_mirrored();
}

#[actix::test]
async fn below_a_compared_directory_what_was_not_linked_is_sent_whatever_size_and_time_say() {
    let world = World::new(&["old", "d/new"]).await;
    world.rename("old", "d/new");
    let time = fs::metadata(world.source("d/new")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(world.mirror("d/new")).unwrap().set_modified(time).unwrap();
    // Nothing can be linked.
    fs::remove_dir_all(world.site.staging.as_ref().unwrap()).unwrap();
    let mut plan = renamed(&[("d/new", "old", None)]);
    plan.large.clear();
    plan.subtrees.insert(rel("d"));
    world.deliver(plan).await;
    world.assert_mirrored();
}

#[actix::test]
async fn links_work_with_the_parameters_that_people_give() {
    for extra in [
        "-a",
        "-azc --no-whole-file",
        "-rAX --partial --partial-dir .partial",
        "-a --backup --backup-dir=/tmp/inosync-test-backups",
        "-H -W --delay-updates -I",
        "--inplace",
    ] {
        let world = World::with(&["old"], |site| site.extra = Extra::parse(extra).unwrap()).await;
        let moved = inode(&world.mirror("old"));
        world.rename("old", "new");
        let mut plan = renamed(&[("new", "old", None)]);
        // That of a run with backups would be kept elsewhere.
        if extra.contains("backup") {
            plan.missing.clear();
            fs::write(world.source("old"), "another").unwrap();
            plan.anew.insert(rel("old"));
        }
        world.deliver(plan).await;
        world.assert_mirrored();
        if !extra.contains("--inplace") && !extra.contains("-I") {
            assert_eq!(inode(&world.mirror("new")), moved, "{extra}");
        }
        let _ = fs::remove_dir_all("/tmp/inosync-test-backups");
    }
}

#[actix::test]
async fn a_directory_is_made_of_the_one_that_the_node_has() {
    let world = World::new(&["old/a", "old/deep/b", "else/c"]).await;
    let before = [inode(&world.mirror("old/a")), inode(&world.mirror("old/deep/b"))];
    world.rename("old", "into/new");
    fs::write(world.source("into/new/fresh"), "small").unwrap();
    // It must not be followed.
    symlink(world.trees.path("other"), world.mirror("into")).unwrap();
    let mut plan = Plan::default();
    plan.moved.push(Relocation { to: rel("into/new"), from: rel("old"), doubt: Doubt::None });
    plan.subtrees.insert(rel("into/new"));
    plan.parents.insert(rel("into"));
    plan.missing.insert(rel("old"));
    plan.root = true;
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert_eq!([inode(&world.mirror("into/new/a")), inode(&world.mirror("into/new/deep/b"))], before);
    let [moved] = &delivery.moved[..] else { panic!("{delivery:?}") };
    assert_eq!((&moved.from, &moved.to), (&rel("old"), &rel("into/new")));
    assert!(moved.bytes < 100, "{moved:?}");
    assert!(found(&world.trees.path("other")).is_empty());
}

#[actix::test]
async fn what_is_held_back_stays_as_it_is_where_a_directory_is_made() {
    let world = World::new(&["old/a", "new/held/x", "new/kept/y"]).await;
    fs::remove_dir_all(world.source("new")).unwrap();
    world.rename("old", "new");
    fs::create_dir(world.source("new/kept")).unwrap();
    let mut plan = Plan::default();
    plan.moved.push(Relocation { to: rel("new"), from: rel("old"), doubt: Doubt::None });
    plan.subtrees.insert(rel("new"));
    plan.protected.insert(rel("new/held"));
    plan.kept.insert(rel("new/kept"));
    plan.missing.insert(rel("old"));
    let delivery = world.deliver(plan).await;
    assert_eq!(delivery.moved.len(), 1);
    for path in ["new/a", "new/held/x", "new/kept/y"] {
        assert!(world.mirror(path).exists(), "{path}");
    }
}

#[actix::test]
async fn a_directory_that_cannot_be_made_is_sent() {
    let world = World::new(&["old/a"]).await;
    world.rename("old", "aside");
    symlink("aside", world.source("new")).unwrap();
    let mut plan = Plan::default();
    plan.moved.push(Relocation { to: rel("new"), from: rel("old"), doubt: Doubt::None });
    plan.subtrees.insert(rel("aside"));
    plan.present.insert(rel("new"));
    plan.missing.insert(rel("old"));
    plan.root = true;
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert!(delivery.moved.is_empty(), "a symlink is not followed");
}

#[actix::test]
async fn a_waiting_rsync_links_what_is_renamed_again_and_again() {
    let world = World::new(&["0"]).await;
    let moved = inode(&world.mirror("0"));
    for n in 0..12 {
        let (old, new) = (n.to_string(), (n + 1).to_string());
        world.rename(&old, &new);
        // 10 sorts before 9.
        let via = (new < old).then_some(".via");
        world.deliver(renamed(&[(&new, &old, via)])).await;
        world.assert_mirrored();
        assert_eq!(inode(&world.mirror(&new)), moved, "{new}");
    }
}

#[actix::test]
async fn behind_a_remote_shell_it_is_the_same_whatever_the_names_are() {
    let world = World::remote(&["o 'l\"d$x", "dir $(y)/a b"], "").await;
    let before = [inode(&world.mirror("o 'l\"d$x")), inode(&world.mirror("dir $(y)/a b"))];
    world.rename("o 'l\"d$x", "n e;w");
    world.rename("dir $(y)", "into/d i'r");
    let mut plan = renamed(&[("n e;w", "o 'l\"d$x", Some(".n e;w"))]);
    plan.moved.push(Relocation { to: rel("into/d i'r"), from: rel("dir $(y)"), doubt: Doubt::None });
    plan.parents.insert(rel("into"));
    plan.subtrees.insert(rel("into/d i'r"));
    plan.missing.insert(rel("dir $(y)"));
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert_eq!([inode(&world.mirror("n e;w")), inode(&world.mirror("into/d i'r/a b"))], before);
    assert_eq!((delivery.tally.bytes, delivery.moved.len()), (0, 1));
}

#[actix::test]
async fn what_the_remote_side_would_expand_is_sent_instead() {
    let world = World::remote(&["old/f", "n/f"], "").await;
    world.rename("old", "[n]");
    let mut plan = Plan::default();
    plan.moved.push(Relocation { to: rel("[n]"), from: rel("old"), doubt: Doubt::None });
    plan.subtrees.insert(rel("[n]"));
    plan.missing.insert(rel("old"));
    plan.root = true;
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert!(delivery.moved.is_empty());
}

#[actix::test]
async fn a_node_that_takes_no_links_is_not_asked_for_them_again() {
    // The letter is among those of the second word: `rsync --server -lHtpe...`.
    let world = World::remote(&["1", "d/f"], "case \"$2\" in *H*) echo no links >&2; exit 1;; esac").await;
    for (old, new) in [("1", "2"), ("2", "3"), ("3", "4")] {
        world.rename(old, new);
        let delivery = world.deliver(renamed(&[(new, old, None)])).await;
        world.assert_mirrored();
        assert!(delivery.tally.bytes < LARGE as u64 / 10, "it is told where to look: {delivery:?}");
    }
    world.rename("d/f", "e/f");
    let mut plan = renamed(&[("e/f", "d/f", None)]);
    plan.parents = [rel("e")].into();
    let delivery = world.deliver(plan).await;
    world.assert_mirrored();
    assert_eq!(delivery.tally.bytes, 0, "and in another directory");
    let runs = fs::read_to_string(world.trees.path("runs")).unwrap();
    let links = runs.lines().filter(|run| run.split(' ').nth(1).is_some_and(|letters| letters.contains('H')));
    assert_eq!(links.count(), 1, "{runs}");
}

#[actix::test]
async fn a_name_that_is_excluded_is_not_made_at_a_node() {
    let world = World::with(&["d.tmp/f", "f.tmp", "g"], |site| {
        site.excludes = Excludes::new(vec!["*.tmp".to_owned()]).unwrap();
    })
    .await;
    for (old, new) in [("d.tmp/f", "first"), ("f.tmp", "second")] {
        world.rename(old, new);
        world.deliver(renamed(&[(new, old, None)])).await;
        assert!(world.mirror(new).exists() && !world.mirror(old).exists(), "{old}");
    }
}
