//! `verify`: the comparison by content, which changes nothing.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::tree::{self, Tree};
use crate::support::{Dead, Local, Node, Rsyncd, Site, Ssh, plant, program};

const HOUR: Duration = Duration::from_secs(3600);
/// Takes from root the right to read everything.
const WITHOUT_RIGHTS: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// A site that was made equal, with files in it that are old.
fn mirrored(mut site: Site) -> Site {
    site.config(r#"rexcludes: ["*.tmp", "cache/"]"#);
    for dir in ["d", "d/deep", "gone", "cache"] {
        site.mkdir(dir);
    }
    for file in ["same", "rotten", "d/longer", "d/deep/mode", "d/time", "gone/file", "x.tmp", "cache/x"] {
        site.write(file, format!("content of {file}"));
    }
    site.symlink("link", "same");
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site
}

/// Writes other content of the same size, and leaves the times as they are.
fn rot(file: &Path) {
    let meta = file.metadata().unwrap();
    let content = vec![b'#'; usize::try_from(meta.len()).unwrap()];
    fs::write(file, content).unwrap();
    let times = FileTimes::new().set_modified(meta.modified().unwrap());
    File::options().write(true).open(file).unwrap().set_times(times).unwrap();
}

/// The metadata of a tree, and the contents of some files in it.
fn image(root: &Path) -> (Tree, Vec<Option<Vec<u8>>>) {
    let contents = ["rotten", "d/longer", "d/time", "extra"].map(|file| fs::read(root.join(file)).ok());
    (tree::read(root, |_| false), contents.into())
}

/// What was told of a node, without its name.
fn told_of(site: &Site, node: Node, stdout: &str) -> Vec<String> {
    let name = site.name(node);
    let start = format!("{}: ", if name.is_empty() { "local" } else { &name });
    stdout.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
}

#[test]
fn nodes_that_are_equal_are_told_as_such_and_rsync_writes_no_log_of_it() {
    let mut site = Site::new();
    let logfile = site.beside("rsync.log");
    site.config(&format!("logfile: {logfile:?}"));
    let site = mirrored(site);
    let before = fs::read(&logfile).unwrap();
    let ended = site.run(&["verify"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{}", ended.log);
    assert_eq!(ended.log.matches("verified, node: ").count(), 3, "{}", ended.log);
    assert_eq!(fs::read(&logfile).unwrap(), before);
    assert!(ended.left.is_empty());
}

#[test]
fn what_differs_at_a_node_is_told_and_nothing_is_changed() {
    let site = mirrored(Site::new());
    for node in site.live() {
        let mirror = site.mirror(node);
        rot(&mirror.join("rotten"));
        fs::write(mirror.join("d/longer"), "another, and longer, content").unwrap();
        fs::set_permissions(mirror.join("d/deep/mode"), PermissionsExt::from_mode(0o600)).unwrap();
        let time = FileTimes::new().set_modified(std::time::UNIX_EPOCH + HOUR);
        File::options().write(true).open(mirror.join("d/time")).unwrap().set_times(time).unwrap();
        fs::remove_dir_all(mirror.join("gone")).unwrap();
        fs::remove_file(mirror.join("link")).unwrap();
        std::os::unix::fs::symlink("elsewhere", mirror.join("link")).unwrap();
        for extra in ["extra", "too/many", ".-inosync.d/left", "not.tmp", "cache/theirs", "a\nb"] {
            plant(&mirror.join(extra), "only there");
        }
    }
    let before: Vec<_> = site.live().map(|node| image(&site.mirror(node))).collect();
    let source = image(&site.source());
    let ended = site.run(&["verify"]);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    for node in site.live() {
        let expected = [
            "differs: . (attributes)",
            "only there: .-inosync.d",
            "only there: .-inosync.d/left",
            "only there: a\\x0ab",
            "differs: d/deep/mode (attributes)",
            "differs: d/longer (content)",
            "differs: d/time (attributes)",
            "only there: extra",
            "missing: gone",
            "missing: gone/file",
            "differs: link (content)",
            "differs: rotten (content)",
            "only there: too",
            "only there: too/many",
        ];
        assert_eq!(told_of(&site, node, &ended.stdout), expected, "{node}");
    }
    assert_eq!(ended.log.matches("differ: 14").count(), 3, "{}", ended.log);
    assert_eq!(site.live().map(|node| image(&site.mirror(node))).collect::<Vec<_>>(), before);
    assert_eq!(image(&site.source()), source);
}

#[test]
fn a_mirror_that_does_not_exist_is_missing_and_is_not_made() {
    let mut site = Site::new();
    site.mirror_at("not/there");
    site.write("file", "x");
    let ended = site.run(&["verify"]);
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.log);
    for node in site.live() {
        assert_eq!(told_of(&site, node, &ended.stdout), ["missing: .", "missing: file", "missing: seed"], "{node}");
        let not = site.mirror(node);
        assert!(!not.exists() && !not.parent().unwrap().exists(), "{node}");
    }
}

#[test]
fn what_a_node_may_have_too_much_is_no_drift() {
    let mut site = Site::on(&[Local]);
    site.config("initial_sync: Update");
    let site = mirrored(site);
    plant(&site.mirror(Local).join("extra/file"), "only there");
    rot(&site.mirror(Local).join("same"));
    let ended = site.run(&["verify"]);
    let told = told_of(&site, Local, &ended.stdout);
    assert_eq!((ended.code, told), (Some(1), vec!["differs: . (attributes)".into(), "differs: same (content)".into()]));
}

#[test]
fn a_node_that_is_down_is_told_and_the_others_are_compared() {
    let site = mirrored(Site::on(&[Local]));
    rot(&site.mirror(Local).join("rotten"));
    let mut site = site;
    site.serve(&[Dead, Local]);
    let ended = site.run(&["verify"]);
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert_eq!(told_of(&site, Local, &ended.stdout), ["differs: rotten (content)"]);
    assert!(ended.log.contains("not verified, node: rsync://127.0.0.1:"), "{}", ended.log);
}

#[test]
fn a_source_that_is_not_sound_is_not_compared() {
    let mut site = Site::on(&[Local]);
    site.config("marker: \"complete\"");
    let ended = site.run(&["verify"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(69), ""), "{}", ended.log);
    assert!(ended.log.contains("nothing is compared"), "{}", ended.log);
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_compared() {
    let site = mirrored(Site::on(&[Local]));
    site.chmod("same", 0);
    site.chmod("d/deep", 0);
    rot(&site.mirror(Local).join("rotten"));
    plant(&site.mirror(Local).join("extra"), "only there");
    let launcher: &[&str] = if rustix::process::geteuid().is_root() { &WITHOUT_RIGHTS } else { &[] };
    let ended = site.run_by(launcher, &["verify"]);
    site.chmod("d/deep", 0o755);
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    let told = told_of(&site, Local, &ended.stdout);
    assert!(told.contains(&"differs: rotten (content)".into()), "{told:?}\n{}", ended.log);
    assert!(told.contains(&"only there: extra".into()), "{told:?}\n{}", ended.log);
    let line = ended.log.lines().find(|line| line.contains("some paths could not be compared"));
    assert!(line.is_some_and(|line| line.contains("d/deep") && line.contains("same")), "{}", ended.log);
}

/// Changes a tree in every way that there is, until told to stop.
fn keep_changing(root: &Path, stop: &AtomicBool) {
    let at = |name: String| root.join("busy").join(name);
    for n in (0_u64..).take_while(|_| !stop.load(Ordering::Relaxed)) {
        // Same size, so that only the content tells.
        fs::write(at(format!("rewritten {}", n % 7)), format!("{n:09}")).unwrap();
        // Nothing but what is in its files changes in this directory.
        fs::write(root.join(format!("still/{}", n % 3)), format!("{n:09}")).unwrap();
        fs::write(at("new".to_owned()), n.to_string()).unwrap();
        fs::rename(at("new".to_owned()), at(format!("renamed {}", n % 5))).unwrap();
        let lock = at(format!("lock {}", n % 3));
        if fs::remove_file(&lock).is_err() {
            fs::write(lock, "").unwrap();
        }
        let dir = at(format!("dir {}", n % 4));
        if fs::remove_dir_all(&dir).is_err() {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("file"), "x").unwrap();
        }
        fs::set_permissions(at(format!("rewritten {}", n % 7)), PermissionsExt::from_mode(0o600 + (n as u32 % 8)))
            .unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_on_its_way_is_no_drift() {
    let mut site = mirrored(Site::on(&[Local, Rsyncd]));
    site.compare_without(|path| path.ends_with(b".tmp") || path.starts_with(b"cache"));
    site.mkdir("busy");
    site.mkdir("still");
    site.start_mirrored();
    let (stop, source) = (AtomicBool::new(false), site.source());
    std::thread::scope(|scope| {
        scope.spawn(|| keep_changing(&source, &stop));
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Something to be found all the same.
            rot(&site.mirror(Rsyncd).join("d/time"));
            site.ask(&["verify"])
        }));
        stop.store(true, Ordering::Relaxed);
        let asked = asked.unwrap();
        assert_eq!(asked.code, Some(1), "{asked:?}");
        assert_eq!(asked.stdout, format!("{}: differs: d/time (content)\n", site.name(Rsyncd)), "{asked:?}");
    });
    // A content of which size and time say nothing is not compared again by itself; touched, it is sent.
    site.append("d/time", "touched");
    site.settle();
    site.expect_identical();
    let asked = site.ask(&["verify"]);
    assert_eq!((asked.code, &*asked.stdout), (Some(0), ""), "{asked:?}");
}

#[test]
fn a_comparison_that_is_interrupted_says_so_and_leaves_nothing() {
    let mut site = mirrored(Site::on(&[Ssh]));
    // rsync is slow to start.
    let slow = site.beside("slow-rsync");
    program(&slow, "#!/bin/sh\ncase \"$*\" in *--checksum*) sleep 600;; esac\nexec rsync \"$@\"\n");
    site.config(&format!("rsync: {slow:?}"));
    site.launch_with(&["verify"]);
    let started = crate::support::wait::until(|| (!site.daemon().running("sleep").is_empty()).then_some(()));
    assert!(started.is_some());
    let ended = site.stop();
    assert_eq!(ended.code, Some(75), "{}", ended.log);
    assert!(ended.left.is_empty());
}
