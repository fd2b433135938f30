//! A tree of all kinds on each file system: once it is at a node, nothing of it is sent again.

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::support::disk::Kind;
use crate::support::{Local, Site, wait};

/// Those that keep all that a mirror has.
const EXACT: [Kind; 6] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::Tmpfs, Kind::Overlay, Kind::Bindfs];

/// For so long nothing is sent.
const REST: Duration = Duration::from_secs(3);

/// Files of each size that is treated apart, modes, times of each fraction, links, and names.
fn plant_all_kinds(site: &Site) {
    for dir in ["plain", "private", "sealed", "deep/er/still", "empty", "name with blanks"] {
        site.mkdir(dir);
    }
    for (number, size) in [0, 1, 4096, 65_536, 65_537, 300_000, 3_000_000].into_iter().enumerate() {
        site.write(format!("plain/{size}"), vec![b'x'; size]);
        site.touch(format!("plain/{size}"), Duration::new(1_600_000_000 + number as u64, 123_456_789));
    }
    for (number, nanos) in [0, 1, 99, 100, 999_999_999].into_iter().enumerate() {
        let path = format!("deep/er/still/{nanos}");
        site.write(&path, "x");
        site.touch(&path, Duration::new(1_500_000_001 + number as u64, nanos));
    }
    for mode in [0o400, 0o600, 0o644, 0o755, 0o4755, 0o2755, 0o1777] {
        let path = format!("private/{mode:o}");
        site.write(&path, "x");
        site.chmod(&path, mode);
    }
    for (name, target) in [("link", "plain/1"), ("dangling", "nowhere"), ("deep/up", "../plain"), ("absolute", "/etc")]
    {
        site.symlink(name, target);
        let times = Timespec { tv_sec: 1_400_000_000, tv_nsec: 5 };
        let times = Timestamps { last_access: times, last_modification: times };
        rustix::fs::utimensat(CWD, site.at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    site.hard_link("plain/4096", "plain/another name");
    for name in ["name with blanks/#hash", "name with blanks/;semicolon", "-dash", "\u{e9}", "e\u{301}x"] {
        site.write(name, name);
    }
    site.chmod("sealed", 0o555);
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_300_000_000, 7);
    File::open(site.at("empty")).and_then(|dir| dir.set_times(FileTimes::new().set_modified(old))).unwrap();
}

#[test]
fn a_tree_of_all_kinds_is_sent_once_to_each_file_system() {
    for kind in EXACT {
        let mut site = Site::on(&[Local]);
        if !site.mirror_on(Local, kind) {
            continue;
        }
        plant_all_kinds(&site);
        site.config("state_dir: \"\"");
        site.start_mirrored();
        site.stop();
        // The first run made all; nothing is left to be sent.
        site.start();
        let line = site.expect_log_line(&["reconciled"]);
        assert!(line.contains("sent: 0,"), "{}: {line}", kind.name());
        let verified = site.ask(&["verify"]);
        assert_eq!(verified.code, Some(0), "{}: {verified:?}", kind.name());
        let batches = || site.status_of(Local)["totals"]["batches"].clone();
        let before = batches();
        let sent = wait::until_within(REST, || (batches() != before).then_some(()));
        assert_eq!(sent, None, "{}: something is sent again:\n{}", kind.name(), site.log_lines().join("\n"));
        assert_eq!(site.troubles(), Vec::<String>::new(), "{}", kind.name());
    }
}

#[test]
fn what_changes_at_each_file_system_of_a_source_arrives() {
    for (name, kind) in Kind::ALL.into_iter().filter(|(_, kind)| *kind != Kind::Small) {
        let mut site = Site::on(&[Local]);
        if !site.source_on(kind) {
            continue;
        }
        let keeps = kind.keeps();
        if keeps.symlinks && keeps.modes {
            plant_all_kinds(&site);
        }
        site.config("staging: \"\"");
        site.config("dir_moves: Replicate");
        site.start_mirrored();
        site.mkdir("new/dir");
        site.write("new/dir/file", "live");
        site.expect_identical();
        site.write("new/dir/file", "evil");
        site.rename("new/dir", "moved");
        site.append("moved/file", " and more");
        site.expect_identical();
        site.remove("new");
        site.expect_identical();
        assert_eq!(site.troubles(), Vec::<String>::new(), "{name}");
    }
}
