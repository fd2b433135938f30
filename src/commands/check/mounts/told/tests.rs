use std::path::{Path, PathBuf};
use std::time::Duration;

use inosync_actors::mounts::MountTable;
use inosync_actors::patterns::excludes::Excludes;

use super::*;

const DISK: &str = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 8:2 / /srv rw - xfs /dev/sdb1 rw\n";

/// `/srv/www` with this mounted besides an ordinary disk.
fn mounts(lines: &str, excludes: &[&str], mirrors: &[&str]) -> FileSystems {
    let excludes = Excludes::new(excludes.iter().map(|pattern| (*pattern).to_owned()).collect()).unwrap();
    let mirrors: Vec<&Path> = mirrors.iter().map(Path::new).collect();
    let table = MountTable::parse(format!("{DISK}{lines}").as_bytes());
    FileSystems::read(table, PathBuf::from("/srv/www"), &excludes, &mirrors)
}

fn told(mounts: &FileSystems) -> Vec<String> {
    let mut report = Report::kept();
    mounts.tell(&BTreeSet::new(), &mut report);
    report.lines().to_vec()
}

#[track_caller]
fn expect(told: &[String], expected: &[&[&str]]) {
    let fits = |(line, words): (&String, &&[&str])| words.iter().all(|word| line.contains(word));
    assert!(told.len() == expected.len() && told.iter().zip(expected).all(fits), "{told:#?}\nnot {expected:#?}");
}

#[test]
fn of_an_ordinary_disk_nothing_is_told() {
    for kind in ["ext4 /dev/sdc1", "xfs /dev/sdc1", "btrfs /dev/sdc1", "tmpfs tmpfs", "fuseblk /dev/sdc1"] {
        expect(&told(&mounts(&format!("30 21 9:1 / /srv/www rw - {kind} rw\n"), &[], &[])), &[]);
    }
    // Beside it, above it, under it, and what is excluded.
    let lines = "30 21 0:5 / /srv/www2 rw - nfs4 h:/x rw\n31 20 0:6 / /mnt rw - overlay overlay rw\n\
        32 21 0:7 / /srv/www/a/b rw - fuse.sshfs h:/x rw\n33 21 0:8 / /srv/www/a rw - tmpfs x rw\n";
    expect(&told(&mounts(lines, &["/a/"], &["/srv/mirror"])), &[]);
}

#[test]
fn what_a_file_system_does_not_tell_is_said_with_the_cure() {
    for (kind, of_itself) in [
        ("nfs4 host:/export rw", &["warning", "nfs4, host:/export", "other machines", "resync_every: 600"][..]),
        ("virtiofs tag rw", &["warning", "virtiofs, tag", "other machines"]),
        ("fuse.mergerfs /a:/b rw", &["warning", "fuse.mergerfs, /a:/b", "past a FUSE", "resync_every: 600"]),
        ("fuse /b rw", &["warning", "fuse, /b", "past a FUSE"]),
        ("overlay overlay rw,lowerdir=/l:/m,upperdir=/u", &["source:", "lowerdir /l:/m, upperdir /u", "by this name"]),
        ("proc proc rw", &["warning", "proc", "makes up", "rexcludes"]),
    ] {
        let own = mounts(&format!("30 21 0:5 / /srv/www rw - {kind}\n"), &[], &[]);
        expect(&told(&own), &[&[&["/srv/www ("], of_itself].concat()]);
        let inside = mounts(&format!("30 21 0:5 / /srv/www/d\\040e rw - {kind}\n"), &[], &[]);
        expect(
            &told(&inside),
            &[&[&["/srv/www/d e ("], of_itself].concat(), &["/srv/www/d e (", "mounted in the source"]],
        );
    }
}

#[test]
fn what_a_comparison_finds_is_no_warning() {
    let mut compared = mounts("30 21 0:5 / /srv/www rw - nfs4 host:/export rw\n", &[], &[]);
    compared.resync_every = Some(Duration::from_secs(60));
    let lines = told(&compared);
    expect(&lines, &[&["source: /srv/www (nfs4, host:/export)", "until `resync_every` compares, after 60 s"]]);
    assert!(!lines[0].starts_with("warning"));
}

#[test]
fn a_directory_at_two_names_is_told_where_both_can_be_reached() {
    let bind =
        |from: &str, to: &str, number: u8| format!("{number} 21 8:2 {from} /srv/www/{to} rw - xfs /dev/sdb1 rw\n");
    let pairs = |lines: &str| -> Vec<String> {
        let names = mounts(lines, &[], &[]).second_names().into_iter();
        names.map(|[one, other]| format!("{one}={other}")).collect()
    };
    for (lines, expected) in [
        (bind("/www/a", "x", 30), &["a=x"][..]),
        (bind("/www", "jail", 30), &[".=jail"]),
        // A directory that holds the tree.
        (bind("/", "jail", 30), &[".=jail/www"]),
        // Of what lies outside of the tree, twice, and a part of it.
        (bind("/other", "x", 30) + &bind("/other", "y", 31), &["x=y"]),
        (bind("/other", "x", 30) + &bind("/other/sub", "y", 31), &["x/sub=y"]),
        (bind("/other", "x", 30) + &bind("/other2", "y", 31), &[]),
        // On itself; and the first name is covered by another mount.
        (bind("/www/a", "a", 30), &[]),
        (bind("/www/a/b", "x", 30) + "31 21 0:5 / /srv/www/a rw - tmpfs t rw\n", &[]),
        // Another file system.
        ("30 21 8:3 /www/a /srv/www/x rw - xfs /dev/sdc1 rw\n".to_owned(), &[]),
    ] {
        assert_eq!(pairs(&lines), expected, "{lines}");
    }
    let twice = mounts(&bind("/www/a", "x", 30), &[], &[]);
    expect(
        &told(&twice),
        &[&["/srv/www/x (xfs", "mounted in"], &["/srv/www/a = /srv/www/x", "two names", "exclude one"]],
    );
}

#[test]
fn a_mirror_that_a_mount_shows_in_its_source_is_an_error_until_it_is_excluded() {
    let line = "30 21 8:1 /var /srv/www/var rw - ext4 /dev/sda1 rw\n";
    let shown = mounts(line, &[], &["/var/mirror", "/home/mirror"]);
    let words = &["error", "/srv/www/var/mirror", "the mirror /var/mirror", "rexcludes: [\"/var/mirror/\"]"];
    expect(&told(&shown), &[words, &["mounted in the source"]]);
    expect(&told(&mounts(line, &["/var/mirror/"], &["/var/mirror"])), &[&["mounted in the source"]]);
}

#[test]
fn what_is_mounted_over_a_file_is_told_apart() {
    let lines = "30 21 8:1 /f /srv/www/f rw - ext4 /dev/sda1 rw\n31 21 0:6 /null /srv/www/null rw - devtmpfs udev rw\n";
    let mut files = mounts(lines, &[], &[]);
    for (place, answer) in [("f", MountContent::File), ("null", MountContent::Other)] {
        files.inside.get_mut(&RelPath::new(place.as_bytes()).unwrap()).unwrap().1 = answer;
    }
    expect(&told(&files), &[&["/srv/www/f (", "over another", "is seen"], &["/srv/www/null (", "not watched"]]);
}

#[test]
fn an_encrypted_tree_wants_a_marker() {
    let mut tree = mounts("", &[], &[]);
    tree.is_encrypted = true;
    expect(&told(&tree), &[&["warning: source: /srv/www: encrypted", "stop it before", "write `marker`"]]);
    tree.has_marker = true;
    expect(&told(&tree), &[&["source: /srv/www: encrypted", "`marker` holds everything"]]);
}

#[test]
fn subvolumes_are_counted_and_the_first_named() {
    let mut report = Report::kept();
    let found = (0..5).map(|number| RelPath::new(format!("s/{number}").as_bytes()).unwrap()).collect();
    mounts("", &[], &[]).tell(&found, &mut report);
    expect(report.lines(), &[&["/srv/www/s/0, /srv/www/s/1, /srv/www/s/2 and 2 more", "snapshots", "rexcludes"]]);
}
