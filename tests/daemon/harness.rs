//! The tests' own tools: the servers serve, and the comparison sees what it has to see.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::disk::{self, Disk, Kind};
use crate::support::tree::{self, Keeps};
use crate::support::{Node, Site, wait};

fn rsync(site: &Site, node: Node) {
    let target = match node {
        Node::Ssh | Node::Rsyncd => format!("{}{}/", site.name(node), site.mirror(Node::Local).display()),
        Node::Local | Node::Dead => format!("{}/", site.mirror(Node::Local).display()),
    };
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "--delete", "--modify-window=-1"]).arg(site.source().join("")).arg(target);
    if node == Node::Ssh {
        rsync.arg("-e").arg(site.beside("bin/ssh"));
    }
    let output = rsync.output().unwrap();
    assert!(output.status.success(), "{node}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn plain_rsync_reaches_each_kind_of_node() {
    let site = Site::new();
    site.mkdir("dir");
    site.symlink("dir/link", "/absolute/target");
    site.live().for_each(|node| rsync(&site, node));
    site.expect_identical();
}

#[test]
fn a_server_comes_back_where_it_was() {
    let mut site = Site::new();
    let before = site.name(Node::Rsyncd);
    site.stop_servers();
    site.start_servers();
    assert_eq!(site.name(Node::Rsyncd), before);
    site.live().for_each(|node| rsync(&site, node));
    site.expect_identical();
}

#[test]
fn every_kind_of_difference_is_seen_and_shown() {
    let site = Site::on(&[Node::Local]);
    let differences = || tree::differences(&site.source(), &site.mirror(Node::Local), |_| false, &Keeps::ALL, 20);
    assert!(!differences().is_empty(), "no mirror at all");
    let mirror = site.mirror(Node::Local);
    site.mkdir("dir");
    site.write("file", "aaa");
    site.symlink("link", "target");
    type Change = fn(&Site, &std::path::Path);
    let cases: [(&str, Change); 6] = [
        ("missing  dir", |_, mirror| std::fs::remove_dir(mirror.join("dir")).unwrap()),
        ("extra    more", |_, mirror| std::fs::write(mirror.join("more"), "").unwrap()),
        ("differs  file", |site, _| site.chmod("file", 0o600)),
        ("differs  link", |site, _| {
            site.remove("link");
            site.symlink("link", "other");
        }),
        ("differs  file", |site, _| site.touch("file", Duration::new(1_700_000_000, 1))),
        ("content  file", |_, mirror| {
            let file = mirror.join("file");
            let mtime = file.metadata().unwrap().modified().unwrap();
            std::fs::write(&file, "bbb").unwrap();
            std::fs::File::open(&file).unwrap().set_modified(mtime).unwrap();
        }),
    ];
    for (expected, change) in cases {
        rsync(&site, Node::Local);
        assert!(differences().is_empty(), "{:?}", differences());
        change(&site, &mirror);
        let found = differences();
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn of_a_test_that_fails_nothing_stays_mounted_or_attached() {
    for (name, kind) in Kind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("at");
        let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
        let is_mounted = |mounts: String| mounts.contains(at.to_str().unwrap());
        let mut device: Option<PathBuf> = None;
        let mut were_there = None;
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let disk = Disk::mount(kind, &at);
            device = disk.as_ref().and_then(|disk| disk.device.clone());
            were_there = Some((disk.is_some(), is_mounted(mounts())));
            panic!("on purpose");
        }));
        assert!(failed.is_err());
        let (was_made, was_mounted) = were_there.unwrap();
        assert_eq!(was_made, was_mounted, "{name}");
        assert!(!is_mounted(mounts()), "{name}: {}", mounts());
        let file = device.as_ref().map(|device| {
            let number = device.file_name().unwrap().to_str().unwrap();
            PathBuf::from(format!("/sys/block/{number}/loop/backing_file"))
        });
        let is_free = || {
            let behind = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
            behind.is_none_or(|behind| !behind.contains(at.to_str().unwrap())).then_some(())
        };
        // The server of a FUSE mount ends a moment after it.
        assert!(wait::until(is_free).is_some(), "{name}: {device:?} is attached");
    }
}

#[test]
fn a_file_system_that_is_full_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(Kind::Small, &dir.path().join("at")) else { return };
    let ballast = disk.at.join("ballast");
    assert!(disk::fill(&ballast));
    assert!(fs::write(disk.at.join("more"), "more").is_err());
    fs::remove_file(ballast).unwrap();
    fs::write(disk.at.join("more"), "more").unwrap();
}

#[test]
fn a_snapshot_has_what_its_subvolume_had() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(Kind::Btrfs, &dir.path().join("at")) else { return };
    disk.subvolume("live");
    let number = |name: &str| fs::metadata(disk.at.join(name)).unwrap().dev();
    fs::write(disk.at.join("live/file"), "old").unwrap();
    disk.snapshot("live", "kept");
    fs::write(disk.at.join("live/file"), "new").unwrap();
    assert_eq!(fs::read(disk.at.join("kept/file")).unwrap(), b"old");
    assert_ne!(number("live"), number("kept"), "one file system to whoever asks for its number");
    disk.delete_subvolume("kept");
    assert!(!disk.at.join("kept").exists());
}
