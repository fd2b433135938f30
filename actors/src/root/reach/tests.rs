use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::mpsc;
use std::time::Instant;

use super::ground::{DEADLINE, LOOK};
use super::helper::Helper;
use super::look::Meta;
use super::*;
use crate::root::walk::PackedNames;

/// A file system of which any look lasts as long as this test wants.
struct Mounted {
    reach: Reach,
    heard: mpsc::Receiver<MountNews>,
    _dir: tempfile::TempDir,
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

impl Reach {
    /// As if something that may hang were mounted there.
    fn mount(&self, point: &RelPath) -> Arc<Ground> {
        let (on_disk, common) = (point.under(&self.0.root), self.0.common.clone());
        let ground = Arc::new(Ground::new(point.clone(), on_disk, "fuse.test".into(), 1, common));
        lock(&self.0.mounts).insert(point.clone(), ground.clone());
        self.0.any.store(true, Ordering::Release);
        ground
    }

    /// As if what is mounted there did not answer.
    pub(crate) fn hangs_at(&self, point: &RelPath) {
        let ground = self.mount(point);
        ground.falls_silent(lock(&ground.state));
    }
}

/// As if something that may hang were mounted on `m`.
fn mounted() -> Mounted {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("m/d")).unwrap();
    let reach = Reach::of(dir.path());
    reach.mount(&rel("m"));
    let (tell, heard) = mpsc::channel();
    reach.listen(move |what| drop(tell.send(what.clone())));
    Mounted { reach, heard, _dir: dir }
}

#[test]
fn kinds_that_wait_for_somebody_else_may_hang() {
    for (kind, expected) in [
        ("fuse.sshfs", true),
        ("fuse", true),
        ("fuseblk", true),
        ("nfs4", true),
        ("cifs", true),
        ("ext4", false),
        ("fusectl", false),
        ("overlay", false),
    ] {
        assert_eq!(may_hang(kind), expected, "{kind}");
    }
}

#[test]
fn what_another_one_looks_at_is_what_is_there() {
    let Mounted { reach, _dir, .. } = mounted();
    for top in ["m", "a"] {
        let (at, path) = (_dir.path().join(top), |name: &str| rel(top).join(OsStr::new(name)));
        std::fs::create_dir_all(at.join("d")).unwrap();
        std::fs::write(at.join("f"), "123").unwrap();
        std::os::unix::fs::symlink("to", at.join("l")).unwrap();
        assert!(reach.look(&path("d")).unwrap().is_dir());
        let stat = rustix::fs::lstat(at.join("f")).unwrap();
        assert_eq!(reach.look(&path("f")).unwrap(), Meta::from(&stat));
        assert_eq!(reach.read_link(&path("l")).unwrap(), b"to");
        let mut names = reach.names(&rel(top), 9).unwrap();
        names.sort();
        assert_eq!(
            (names, reach.names(&rel(top), 2).unwrap().len()),
            (["d", "f", "l"].map(OsString::from).to_vec(), 2)
        );
        let opened = reach.open(&rel(top), true).unwrap();
        assert_eq!(reach.look_in(&opened, &rel(top), OsStr::new("f")).unwrap(), Meta::from(&stat));
        assert!(reach.look_in(&opened, &rel(top), OsStr::new("")).unwrap().is_dir());
        let opened = reach.open_below(&rel(top)).unwrap();
        let mut directories = reach.directories_in(&opened, &rel(top)).unwrap();
        assert_eq!((directories.pop(), directories.pop()), (Some(b"d".to_vec()), None));
        let mut names = PackedNames::default();
        let mut names_in = |dir| {
            reach.names_in(&reach.open(&dir, false).unwrap(), &dir, &mut names).unwrap();
            names.iter().map(<[u8]>::to_vec).collect::<BTreeSet<_>>()
        };
        assert_eq!(names_in(rel(top)), BTreeSet::from([&b"d"[..], b"f", b"l"].map(<[u8]>::to_vec)));
        assert_eq!(names_in(path("d")), BTreeSet::new());
        for path in [path("l"), path("f")] {
            assert!(reach.open(&path, true).is_err() && reach.open_below(&path).is_err(), "{path}");
        }
        assert_eq!(reach.kind(&path("f")).unwrap(), reach.kind(&rel("")).unwrap());
    }
    assert_eq!(reach.look(&rel("m/gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(["m", "m/d/e", "mm", ""].map(|path| reach.point(&rel(path)).is_some()), [true, true, false, false]);
}

#[test]
fn what_takes_too_long_is_given_up_and_nothing_else_is_looked_at_until_it_comes_back() {
    let Mounted { reach, heard, _dir } = mounted();
    // Nobody is at the other end yet.
    let (helper, far) = Helper::alone().unwrap();
    let ground = reach.grounds().remove(0);
    lock(&ground.state).answered = Some(Instant::now());
    reach.0.common.keep(helper);
    let begun = Instant::now();
    let looked = reach.look(&rel("m/d"));
    assert_eq!(looked.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < LOOK + DEADLINE);
    assert!(matches!(heard.try_recv(), Ok(MountNews::Silent(Silent { path, .. })) if path == rel("m")));
    assert_eq!(reach.look(&rel("m/d")).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(reach.is_silent() && reach.is_silent_below(&rel("")) && reach.is_silent_below(&rel("m")));
    assert!(!reach.is_silent_below(&rel("m/d")) && reach.ask_all().is_err());
    far.serve();
    assert!(matches!(heard.recv_timeout(DEADLINE), Ok(MountNews::Answers { missed: true, .. })));
    assert!(reach.look(&rel("m/d")).is_ok() && !reach.is_silent() && reach.ask_all().is_ok());
}

#[test]
fn what_answers_late_is_compared_only_if_something_was_not_looked_at_or_the_silence_was_long() {
    type Before = fn(&Ground);
    type Meanwhile = fn(&Reach);
    let asked_now: Before = |_| ();
    let asked_long_ago: Before = |ground| lock(&ground.state).asked = Instant::now().checked_sub(PATIENCE);
    let cases: [(Before, Meanwhile, bool); 5] = [
        (asked_now, |_| (), false),
        (asked_now, |reach| assert!(reach.look(&rel("a")).is_ok() && reach.see(&reach.resolved(), 9).is_ok()), false),
        (asked_now, |reach| assert!(reach.look(&rel("m/d")).is_err()), true),
        (asked_now, |reach| assert!(!reach.answers(&rel("m"))), true),
        (asked_long_ago, |_| (), true),
    ];
    for (number, (before, meanwhile, expected)) in cases.into_iter().enumerate() {
        let Mounted { reach, heard, _dir } = mounted();
        std::fs::write(_dir.path().join("a"), "").unwrap();
        // Nobody is at the other end yet.
        let (helper, far) = Helper::alone().unwrap();
        reach.0.common.keep(helper);
        let ground = reach.grounds().remove(0);
        ground.ask();
        before(&ground);
        ground.falls_silent(lock(&ground.state));
        assert!(matches!(heard.recv_timeout(DEADLINE), Ok(MountNews::Silent(_))));
        meanwhile(&reach);
        far.serve();
        let news = heard.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(news, MountNews::Answers { missed, .. } if missed == expected), "{number}: {news:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_while_what_it_reads_answers_late_and_is_broken_off_when_it_does_not_answer() {
    let Mounted { reach, _dir, .. } = mounted();
    assert_eq!(reach.clone().while_it_answers(|_| true, async { 1 }).await, Ok(1));
    // Nobody is at the other end.
    let (helper, _far) = Helper::alone().unwrap();
    reach.0.common.keep(helper);
    let ground = reach.grounds().remove(0);
    ground.ask();
    ground.falls_silent(lock(&ground.state));
    assert!(reach.is_silent() && reach.look(&rel("m/d")).is_err(), "nothing new looks there");
    let lasts = || tokio::time::sleep(PATIENCE / 2);
    assert!(reach.clone().while_it_answers(|_| true, lasts()).await.is_ok());
    lock(&ground.state).asked = Instant::now().checked_sub(PATIENCE);
    assert!(reach.clone().while_it_answers(|_| false, lasts()).await.is_ok(), "what does not read it goes on");
    let never = std::future::pending::<()>();
    assert!(reach.while_it_answers(|point| *point == rel("m"), never).await.is_err());
}

#[test]
fn what_is_not_mounted_any_more_is_not_waited_for() {
    let Mounted { reach, heard, _dir } = mounted();
    let ground = reach.grounds().remove(0);
    ground.falls_silent(lock(&ground.state));
    reach.refresh();
    assert!(matches!((heard.recv(), heard.recv()), (Ok(MountNews::Silent(_)), Ok(MountNews::Unmounted(_)))));
    assert!(!reach.is_silent() && reach.look(&rel("m/d")).is_ok());
}
