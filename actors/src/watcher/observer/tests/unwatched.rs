//! Directories that lose their watch, or never got one.

use inotify::WatchMask;

use super::*;

/// After this time no event explains what an audit found.
const LATE: Duration = Duration::from_secs(2);

impl Watched {
    /// Ends the watch of a directory behind the observer's back.
    fn end_watch(&self, path: &str) {
        let mut watches = self.inotify.watches();
        let watch = watches.add(self.at(path), WatchMask::CREATE | WatchMask::MASK_ADD).unwrap();
        watches.remove(watch).unwrap();
    }

    /// What is told of unwatched directories by then: how many and whether that was expected.
    fn told(&mut self) -> Vec<(usize, bool)> {
        self.observer.tick(self.now);
        let counts = |unseen| match unseen {
            Unseen::Found { count, expected, .. } => (count, expected),
            other => panic!("{other:?}"),
        };
        self.observer.take().unseen.into_iter().map(counts).collect()
    }
}

#[test]
fn a_directory_whose_watch_goes_away_is_watched_again_and_compared() {
    let mut tree = Watched::new(&["d/sub", "e"], &[]);
    tree.end_watch("d");
    assert_eq!(tree.changes(), ["subtree d/"]);
    fs::write(tree.at("d/sub/f"), "x").unwrap();
    fs::write(tree.at("d/g"), "x").unwrap();
    assert_eq!(tree.changes(), ["written d/sub/f", "written d/g"]);
    assert_eq!(tree.observer.directories(), 4);
}

#[test]
fn an_event_that_comes_behind_the_last_one_of_its_watch_is_no_loss_of_track() {
    let mut tree = Watched::new(&["d", "e"], &[]);
    let late = |watch| RawEvent { watch, mask: EventMask::CREATE, cookie: 0, name: Some("f".into()) };
    let told = |tree: &mut Watched, watch| {
        tree.observer.handle(late(watch), tree.now);
        tree.now += CALM_AT_LATEST;
        tree.observer.tick(tree.now);
        tree.observer.take().rescans.into_iter().map(|rescan| rescan.reason).collect::<Vec<_>>()
    };
    let watch = |tree: &Watched, path: &str| {
        let watch = tree.inotify.watches().add(tree.at(path), WatchMask::CREATE | WatchMask::MASK_ADD).unwrap();
        watch.get_watch_descriptor_id()
    };
    // The watch of one ends by itself, that of the other is given up.
    let (ended, given_up) = (watch(&tree, "d"), watch(&tree, "e"));
    tree.end_watch("d");
    fs::rename(tree.at("e"), tree.beside("e")).unwrap();
    tree.changes();
    tree.now += PAIRING_TIME;
    tree.observer.tick(tree.now);
    tree.changes();
    for watch in [ended, given_up] {
        assert_eq!(told(&mut tree, watch), []);
    }
    assert_eq!(told(&mut tree, 1_000_000), [Reason::UnknownWatch]);
}

#[test]
fn a_directory_that_takes_the_name_of_a_deleted_one_is_watched() {
    let mut tree = Watched::new(&["d/sub"], &[]);
    fs::remove_dir_all(tree.at("d")).unwrap();
    fs::create_dir_all(tree.at("d/sub")).unwrap();
    let changes = tree.changes();
    assert_eq!(changes.last().unwrap(), "subtree d/", "{changes:?}");
    tree.changes();
    fs::write(tree.at("d/sub/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written d/sub/f"]);
    assert_eq!(tree.observer.directories(), 3);
}

#[test]
fn a_directory_that_is_gone_with_its_watch_is_forgotten() {
    let mut tree = Watched::new(&["d/sub", "e"], &[]);
    fs::remove_dir_all(tree.at("d")).unwrap();
    assert_eq!(tree.changes(), ["removed d/sub/", "removed d/"]);
    assert_eq!(tree.observer.directories(), 2);
}

#[test]
fn an_audit_finds_what_nobody_told_of() {
    let mut tree = Watched::new(&["d"], &[]);
    fs::create_dir_all(tree.at("d/lost/deep")).unwrap();
    tree.events();
    tree.observer.audit(tree.now);
    assert_eq!(tree.changes(), ["subtree d/lost/"]);
    assert_eq!(tree.told(), [], "an event may explain it yet");
    tree.now = Instant::now() + LATE;
    assert_eq!(tree.told(), [(1, false)]);
    fs::write(tree.at("d/lost/deep/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written d/lost/deep/f"]);
    tree.observer.audit(tree.now);
    assert_eq!(tree.changes(), [""; 0], "all is watched now");
}

#[test]
fn an_audit_says_nothing_of_what_its_events_tell() {
    let mut tree = Watched::new(&["d", "old"], &[]);
    fs::create_dir_all(tree.at("d/new")).unwrap();
    fs::rename(tree.at("old"), tree.at("renamed")).unwrap();
    tree.observer.audit(tree.now);
    let changes = tree.changes();
    assert!(changes.contains(&"moved old/ to renamed/".to_owned()), "{changes:?}");
    tree.now = Instant::now() + LATE;
    assert_eq!(tree.told(), []);
}

#[test]
fn an_audit_finds_a_directory_that_is_watched_under_a_wrong_name() {
    let mut tree = Watched::new(&["a/sub"], &[]);
    fs::rename(tree.at("a"), tree.at("b")).unwrap();
    tree.events();
    tree.observer.audit(tree.now);
    assert_eq!(tree.changes(), ["subtree b/"]);
    fs::write(tree.at("b/sub/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written b/sub/f"]);
}

#[test]
fn an_overflow_before_an_audit_explains_what_it_would_find() {
    let mut tree = Watched::new(&["d"], &[]);
    fs::create_dir_all(tree.at("d/lost")).unwrap();
    tree.events();
    tree.observer.audit(tree.now);
    tree.observer.handle(RawEvent { watch: -1, mask: EventMask::Q_OVERFLOW, cookie: 0, name: None }, tree.now);
    tree.now = Instant::now() + CALM;
    tree.told();
    tree.now += LATE;
    assert_eq!(tree.told(), []);
}

#[test]
fn the_watches_of_a_deleted_directory_are_given_up_though_the_kernel_keeps_it() {
    let mut tree = Watched::new(&["d/sub/deep", "e"], &[]);
    let held = ["d", "d/sub", "d/sub/deep"].map(|path| File::open(tree.at(path)).unwrap());
    fs::remove_dir_all(tree.at("d")).unwrap();
    tree.changes();
    assert_eq!((tree.observer.directories(), tree.kernel()), (2, 2));
    // One that is made anew by the same name has nothing to do with it.
    fs::create_dir_all(tree.at("d/sub")).unwrap();
    tree.changes();
    drop(held);
    tree.changes();
    fs::write(tree.at("d/sub/f"), "x").unwrap();
    assert_eq!(tree.changes(), ["written d/sub/f"]);
    assert_eq!((tree.observer.directories(), tree.kernel()), (4, 4));
}

#[test]
fn a_watch_that_nobody_knows_of_is_given_up_by_an_audit_and_told_once() {
    use std::os::fd::AsFd;
    let mut tree = Watched::new(&["d"], &[]);
    tree.observer.use_ledger(Ledger::of(tree.inotify.as_fd().try_clone_to_owned().unwrap().into()));
    tree.observer.audit(tree.now);
    tree.later(LATE * 2);
    assert!(tree.observer.take().unseen.is_empty(), "all is well");
    tree.inotify.watches().add(tree.beside(""), WatchMask::CREATE).unwrap();
    tree.observer.audit(tree.now);
    tree.now += LATE * 2;
    tree.observer.tick(tree.now);
    let told = tree.observer.take().unseen;
    assert!(matches!(told[..], [Unseen::Miscounted { surplus: 1, missing: 0 }]), "{told:?}");
    assert_eq!(tree.kernel(), tree.observer.directories());
    tree.observer.audit(tree.now);
    tree.later(LATE * 2);
    assert!(tree.observer.take().unseen.is_empty(), "once");
}
