//! A directory gets the time that it has in the source with the run that works on what is in it, also where that run leaves an
//! entry as it is at the node: nobody reports the time by itself, so no later run would bring it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;
mod trees;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use inosync_actors::children::Children;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::root::Root;
use inosync_actors::rsync::{Rsync, Shared, local_version};
use inosync_actors::site::extra::Extra;
use inosync_actors::site::{DeleteMode, Site};
use inosync_actors::transport::plan::{Leads, Plan};
use inosync_actors::transport::{Delivery, Lane, Transport};
use slog::{Discard, Logger, o};
use tokio::sync::oneshot;

use programs::program;
use trees::Trees;

/// Content of a file that the node of limited files takes, and of one that it does not.
const FITS: usize = 300_000;
const TOO_LARGE: usize = 3_000_000;

/// What the source and the mirror have at first.
const FILES: [&str; 5] = ["top", "d/f", "d/g", "e/f", "e/deep/f"];

/// A source and a mirror that is equal to it.
struct World {
    trees: Trees,
    way: Rc<Rsync>,
}

impl World {
    async fn new(adapt: impl FnOnce(&mut Site)) -> World {
        let trees = Trees::new("other");
        let mut site = trees.site();
        site.nodes = vec![trees.node("steady")];
        adapt(&mut site);
        let children = Children::default();
        let version = local_version(&children, &site.rsync).await.unwrap_or_else(|error| panic!("rsync: {error}"));
        let (site, root) = (Arc::new(site), Root::of(&trees.path("source")).unwrap());
        let shared = Shared::new(children, &site, &Logger::root(Discard, o!()));
        let way = Rsync::new(site.clone(), root, site.nodes[0].clone(), version, shared);
        let world = World { trees, way };
        for file in FILES {
            fs::create_dir_all(world.source(file).parent().unwrap()).unwrap();
            fs::write(world.source(file), file).unwrap();
        }
        world.way.clone().reconcile(Vec::new(), Default::default()).await.unwrap();
        assert_eq!(world.of_other_times(), [""; 0]);
        world
    }

    fn source(&self, path: &str) -> PathBuf {
        self.trees.path("source").join(path)
    }

    async fn deliver(&self, plan: Plan) -> Delivery {
        let (worked, _work) = oneshot::channel();
        self.way.clone().deliver(Rc::new(plan), Lane::Fast, worked).await.unwrap()
    }

    /// The directories that both sides have, with other times; `.` is the root.
    fn of_other_times(&self) -> Vec<&'static str> {
        let time = |root: &str, dir: &str| time(&self.trees.path(root).join(dir));
        let differs = |dir: &&str| time("source", dir).is_some() && time("source", dir) != time("steady", dir);
        [".", "d", "e", "e/deep"].into_iter().filter(differs).collect()
    }
}

fn time(dir: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(dir).ok().filter(|meta| meta.is_dir()).map(|meta| meta.modified().unwrap())
}

fn set(paths: &[&str]) -> BTreeSet<RelPath> {
    paths.iter().map(|path| RelPath::new(path.as_bytes()).unwrap()).collect()
}

/// A symlink takes the place of a file.
fn link_over(file: &Path) {
    fs::remove_file(file).unwrap();
    symlink("nowhere", file).unwrap();
}

/// A directory with a file takes the place of a file.
fn directory_over(file: &Path) {
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    fs::write(file.join("in"), "x").unwrap();
}

/// A change of the source, and the plan for it.
type Case = (&'static str, fn(&World), fn() -> Plan);

/// The cases after which a directory has another time than in the source, each with these directories.
async fn wrong(cases: &[Case], delete: DeleteMode) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut wrong = Vec::new();
    for (name, change, plan) in cases {
        let world = World::new(|site| site.delete = delete).await;
        change(&world);
        assert!(!world.of_other_times().is_empty(), "{name}: nothing has changed");
        world.deliver(plan()).await;
        wrong.push((*name, world.of_other_times()));
    }
    wrong.retain(|(_, dirs)| !dirs.is_empty());
    wrong
}

#[actix::test]
async fn the_directory_of_what_a_node_keeps_has_the_time_of_the_source() {
    let cases: [Case; 10] = [
        (
            "a listed file",
            |world| link_over(&world.source("d/f")),
            || Plan { present: set(&["d/f"]), ..Plan::default() },
        ),
        (
            "one of two",
            |world| ["d/f", "e/deep/f"].iter().for_each(|file| link_over(&world.source(file))),
            || Plan { present: set(&["d/f", "e/deep/f"]), ..Plan::default() },
        ),
        (
            "above a listed file",
            |world| directory_over(&world.source("d/f")),
            || Plan { present: set(&["d/f/in"]), ..Plan::default() },
        ),
        (
            "a listed directory",
            |world| directory_over(&world.source("d/f")),
            || Plan { subtrees_rewritten: set(&["d/f"]), ..Plan::default() },
        ),
        (
            "in the root",
            |world| directory_over(&world.source("top")),
            || Plan { subtrees: set(&["top"]), ..Plan::default() },
        ),
        (
            "in the root, beside what is sent",
            |world| {
                directory_over(&world.source("top"));
                fs::write(world.source("d/g"), "x").unwrap();
            },
            || Plan { present: set(&["d/g"]), subtrees: set(&["top"]), ..Plan::default() },
        ),
        (
            "below a listed directory",
            |world| directory_over(&world.source("e/deep/f")),
            || Plan { subtrees: set(&["e"]), ..Plan::default() },
        ),
        ("in a level", |world| link_over(&world.source("e/f")), || Plan { levels: set(&["e"]), ..Plan::default() }),
        (
            "a large file",
            |world| {
                fs::remove_dir_all(world.source("e/deep")).unwrap();
                fs::write(world.source("e/deep"), vec![b'x'; FITS]).unwrap();
            },
            || Plan { closed: set(&["e/deep"]), ..Plan::default() },
        ),
        (
            "removed from the root, beside a level",
            |world| {
                fs::remove_file(world.source("top")).unwrap();
                fs::write(world.source("e/new"), "x").unwrap();
            },
            || Plan { missing: set(&["top"]), levels: set(&["e"]), ..Plan::default() },
        ),
    ];
    assert_eq!(wrong(&cases, DeleteMode::Never).await, []);
}

#[actix::test]
async fn the_root_has_its_time_whatever_becomes_of_what_goes_with_it() {
    let cases: [Case; 4] = [
        ("alone", |world| fs::write(world.source("new"), "x").unwrap(), || Plan { root: true, ..Plan::default() }),
        (
            "a level",
            |world| {
                fs::write(world.source("new"), "x").unwrap();
                fs::write(world.source("e/new"), "x").unwrap();
            },
            || Plan { root: true, levels: set(&["e"]), ..Plan::default() },
        ),
        (
            "what is missing is there again",
            |world| fs::write(world.source("new"), "x").unwrap(),
            || Plan { root: true, missing: set(&["d/f"]), ..Plan::default() },
        ),
        (
            "a link that leads elsewhere by now",
            |world| {
                fs::write(world.source("new"), "x").unwrap();
                let (dir, before) = (world.source("e/deep"), time(&world.source("e/deep")).unwrap());
                link_over(&dir.join("f"));
                fs::File::open(dir).unwrap().set_modified(before).unwrap();
            },
            || Plan {
                root: true,
                late_links: vec![set(&["e/deep/f"])],
                links: set(&["e/deep/f"])
                    .into_iter()
                    .map(|link| (link, Leads { text: b"elsewhere".to_vec(), to: Vec::new() }))
                    .collect(),
                ..Plan::default()
            },
        ),
    ];
    assert_eq!(wrong(&cases, DeleteMode::Always).await, []);
}

/// The mirror is behind a remote shell, whose rsync writes no file of more than 1 MB.
async fn of_limited_files() -> World {
    World::new(|site| {
        let base = site.wpath.parent().unwrap().to_owned();
        program(&base.join("shell"), "#!/bin/sh\nshift; eval \"exec $*\"\n");
        // It is told, and not killed.
        program(&base.join("rsync"), "#!/bin/sh\ntrap '' XFSZ\nulimit -f 2000\nexec /usr/bin/rsync \"$@\"\n");
        let base = base.to_str().unwrap();
        site.extra = Extra::parse(&format!("--rsh={base}/shell --rsync-path={base}/rsync")).unwrap();
        site.nodes = vec![Node::parse("host:", &format!("{base}/steady")).unwrap()];
    })
    .await
}

#[actix::test]
async fn the_directory_of_what_does_not_fit_has_the_time_of_the_source() {
    let mut wrong = Vec::new();
    for (name, files, plan) in [
        ("alone", &["d/large"][..], Plan { large: set(&["d/large"]), ..Plan::default() }),
        ("beside what fits", &["d/fits", "d/large"], Plan { large: set(&["d/fits", "d/large"]), ..Plan::default() }),
        (
            "in several directories",
            &["d/fits", "d/large", "e/deep/fits", "e/large"],
            Plan { closed: set(&["d/fits", "d/large", "e/deep/fits", "e/large"]), ..Plan::default() },
        ),
        ("in the root", &["large"], Plan { present: set(&["large"]), ..Plan::default() }),
        ("below a listed directory", &["e/deep/large"], Plan { subtrees: set(&["e"]), ..Plan::default() }),
    ] {
        let world = of_limited_files().await;
        for file in files {
            let size = if file.ends_with("large") { TOO_LARGE } else { FITS };
            fs::write(world.source(file), vec![b'x'; size]).unwrap();
        }
        let delivery = world.deliver(plan).await;
        assert!(!delivery.aside.is_empty(), "{name}: {delivery:?}");
        wrong.push((name, world.of_other_times()));
    }
    wrong.retain(|(_, dirs)| !dirs.is_empty());
    assert_eq!(wrong, []);
}
