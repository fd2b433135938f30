//! Nodes that cannot hold all that the source has: what that is comes to be known, is told, and is not sent for ever.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::support::disk::{Disk, Kind};
use crate::support::{Local, Node, Rsyncd, Site, Ssh};

/// Kinds of file systems that keep times less exactly than that of the source.
const COARSE: [Kind; 3] = [Kind::OldExt4, Kind::Exfat, Kind::Ntfs];
/// Larger than what is sent whatever its size and time say.
const LARGE: usize = 200_000;
/// A whole second of 2026.
const SECOND: u64 = 1_790_000_000;

/// A site of which the mirror of a node is such a file system, with a small tree.
fn site(kind: Kind, node: Node) -> Option<(Site, Disk)> {
    let site = Site::on(&[node]);
    let disk = Disk::mount(kind, &site.mirror(node))?;
    site.mkdir("d/deep");
    for (path, size) in [("a", 10), ("d/b", 20), ("d/deep/large", LARGE)] {
        write_at(&site, path, &vec![b'x'; size], 123_456_789);
    }
    if kind != Kind::Exfat {
        site.symlink("l", "a");
    }
    Some((site, disk))
}

/// Writes a file that was changed so many nanoseconds after the second, and closes it once.
fn write_at(site: &Site, path: &str, content: &[u8], nanos: u32) {
    let mut file = File::create(site.at(path)).unwrap();
    file.write_all(content).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::new(SECOND, nanos)).unwrap();
}

fn limits(status: &Value) -> String {
    let limits = status["limits"].as_array().unwrap();
    limits.iter().map(|limit| limit.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The commands find the node equal.
#[track_caller]
fn expect_equal(site: &Site) {
    let once = site.run(&["once"]);
    assert!(once.code == Some(0) && once.log.contains("sent: 0, deleted: 0, bytes: 0 B"), "{}", once.log);
    let dry_run = site.run(&["dry-run"]);
    assert!(dry_run.code == Some(0) && dry_run.stdout.is_empty(), "{}{}", dry_run.stdout, dry_run.log);
    let verify = site.run(&["verify"]);
    assert!(verify.code == Some(0) && verify.stdout.is_empty(), "{}{}", verify.stdout, verify.log);
    assert!(verify.log.contains("a limit of the node, node:"), "{}", verify.log);
}

#[test]
fn a_node_of_coarse_times_is_sent_everything_once() {
    for kind in COARSE {
        let Some((mut site, _disk)) = site(kind, Local) else { continue };
        let check = site.run(&["check"]);
        assert!(check.stdout.contains("\n  limit:     times are coarse"), "{}", check.stdout);
        let first = site.run(&["once"]);
        assert_eq!(first.code, Some(0), "{}", first.log);
        assert!(first.log.contains("times are coarse: they are compared by whole seconds"), "{}", first.log);
        expect_equal(&site);
        site.start();
        let status = site.expect_status(Local, "compared", |status| status["totals"]["reconciles"] == 1);
        assert_eq!((&status["totals"]["sent"], &status["state"]["is"]), (&0.into(), &"idle".into()), "{status:#}");
        assert!(limits(&status).contains("times are coarse"), "{status:#}");
        assert_eq!(site.ask(&["status"]).code, Some(0));
        assert_eq!(site.troubles(), Vec::<String>::new());
    }
}

#[test]
fn a_daemon_learns_of_coarse_times_by_its_first_comparison() {
    for node in [Ssh, Rsyncd] {
        let Some((mut site, _disk)) = site(Kind::OldExt4, node) else { return };
        site.start();
        let status = site.expect_status(node, "known", |status| limits(status).contains("times are coarse"));
        assert_eq!(status["totals"]["reconciles"], 1, "{status:#}");
        site.stop();
        expect_equal(&site);
    }
}

#[test]
fn a_change_within_a_second_arrives_at_a_node_that_keeps_no_more() {
    for kind in COARSE {
        let Some((mut site, _disk)) = site(kind, Local) else { continue };
        assert_eq!(site.run(&["once"]).code, Some(0));
        site.start();
        site.expect_status(Local, "compared", |status| status["totals"]["reconciles"] == 1);
        let paths = [("a", 10), ("d/deep/large", LARGE)];
        let expect = |site: &Site, letter: char| {
            for (path, size) in paths {
                site.expect_on_nodes(path, &letter.to_string().repeat(size));
            }
        };
        for (path, size) in paths {
            write_at(&site, path, &vec![b'y'; size], 223_456_789);
        }
        expect(&site, 'y');
        site.settle();
        for letter in [b'z', b'w'] {
            // The state tells, whether the last run could end or not.
            if letter == b'z' {
                site.stop();
            } else {
                site.crash();
            }
            for (path, size) in paths {
                write_at(&site, path, &vec![letter; size], 323_456_789 + u32::from(letter));
            }
            site.start();
            expect(&site, char::from(letter));
            site.settle();
        }
        let status = site.expect_state(Local, "idle");
        assert_eq!(status["pending"], 0, "{status:#}");
    }
}

#[test]
fn a_date_that_the_node_does_not_know_is_told() {
    let Some((site, _disk)) = site(Kind::OldExt4, Local) else { return };
    write_at(&site, "late", b"x", 0);
    let file = File::options().write(true).open(site.at("late")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(4_102_444_800)).unwrap();
    assert_eq!(site.run(&["once"]).code, Some(0));
    let again = site.run(&["once"]);
    assert!(again.code == Some(0) && again.log.contains("sent: 1, "), "{}", again.log);
    let verify = site.run(&["verify"]);
    assert_eq!((verify.code, &*verify.stdout), (Some(1), "local: differs: late (attributes)\n"), "{}", verify.log);
    assert!(verify.log.contains("files dated 2100 get another time"), "{}", verify.log);
}

#[test]
fn a_node_without_permissions_is_told_and_not_sent_them_for_ever() {
    let Some((site, _disk)) = site(Kind::Exfat, Local) else { return };
    let first = site.run(&["once"]);
    assert!(first.log.contains("permissions are not kept, and not compared"), "{}", first.log);
    expect_equal(&site);
}

#[test]
fn what_was_learned_of_another_mirror_is_forgotten() {
    let Some((mut site, disk)) = site(Kind::OldExt4, Local) else { return };
    assert_eq!(site.run(&["once"]).code, Some(0));
    drop(disk);
    fs::remove_dir(site.mirror(Local)).unwrap();
    site.start();
    site.expect_identical();
    let status = site.expect_status(Local, "compared", |status| status["totals"]["reconciles"] == 1);
    assert_eq!(limits(&status), "", "{status:#}");
}

/// A file system without ACLs and other attributes at a directory, until the end of the test.
struct Bare(PathBuf);

impl Bare {
    /// `None`, said in the output, where this machine allows no mounts.
    fn mount(at: &Path) -> Option<Bare> {
        fs::create_dir_all(at).unwrap();
        let mounted = done("mount", &["-t", "ramfs", "ramfs"], at);
        if !mounted {
            println!("not tested: no file system can be mounted here");
        }
        mounted.then(|| Bare(at.to_owned()))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Whatever still works in it keeps it until it ends.
        done("umount", &["-l"], &self.0);
    }
}

fn done(program: &str, args: &[&str], at: &Path) -> bool {
    let status = Command::new(program).args(args).arg(at).status();
    if status.is_err() {
        println!("not tested: there is no {program}");
    }
    status.is_ok_and(|status| status.success())
}

#[test]
fn attributes_that_the_node_does_not_have_are_told_once_and_cost_nothing_at_rest() {
    for (extra, program, args, cure) in [
        ("-aA", "setfacl", &["-m", "u:daemon:r"][..], "drop -A"),
        ("-aX", "setfattr", &["-n", "user.note", "-v", "x"], "drop -X"),
    ] {
        let mut site = Site::on(&[Local]);
        site.config(&format!("extra: {extra:?}"));
        let Some(_bare) = Bare::mount(&site.mirror(Local)) else { return };
        site.mkdir("d");
        (0..50).for_each(|number| site.write(format!("d/{number}"), "x"));
        for path in ["one", "d"] {
            if path == "one" {
                site.write(path, "1");
            }
            if !done(program, args, &site.at(path)) {
                return;
            }
        }
        site.start();
        let line = site.expect_log_line(&["WARN", "some paths arrived without all of their attributes", cure]);
        assert!(line.contains("count: 2, first: d, one, why: "), "{line}");
        let status = site.expect_status(Local, "at rest", |status| {
            status["state"]["is"] == "idle" && status["attributes_unset"] == 2
        });
        assert_eq!((&status["pending"], &status["failing_paths"]), (&0.into(), &0.into()), "{status:#}");
        let asked = site.ask(&["status"]);
        assert!(
            asked.code == Some(1) && asked.stdout.contains("\n  NOT set: attributes of 2 paths: d, one; "),
            "{asked:?}"
        );
        // What it does not have is no reason to hold back anything, below a directory either.
        site.write("one", "2");
        site.write("d/new", "x");
        site.expect_on_nodes("one", "2");
        site.expect_on_nodes("d/new", "x");
        site.settle();
        let status = site.expect_state(Local, "idle");
        assert_eq!(status["totals"]["reconciles"], 1, "{status:#}");
        // The next run says it again.
        site.stop();
        site.start();
        site.expect_log_line(&["WARN", "some paths arrived without all of their attributes", cure]);
        site.expect_status(Local, "as before", |status| status["attributes_unset"] == 2);
        assert_eq!(site.troubles().len(), 1, "{:?}", site.troubles());
        site.remove("one");
        site.remove("d");
        site.expect_gone("d");
        site.expect_status(Local, "whole", |status| status["attributes_unset"] == 0);
        assert_eq!(site.ask(&["status"]).code, Some(0));
    }
}

#[test]
fn more_attributes_than_are_told_are_no_reason_to_compare_everything_again() {
    let mut site = Site::on(&[Local]);
    site.config("extra: \"-aA\"");
    let Some(_bare) = Bare::mount(&site.mirror(Local)) else { return };
    // Each takes a line of about a hundred bytes.
    let name = |number: u32| format!("{number:04}{}", "x".repeat(60));
    (0..2500).for_each(|number| site.write(name(number), "x"));
    let paths: Vec<PathBuf> = (0..2500).map(|number| site.at(name(number))).collect();
    if !Command::new("setfacl").args(["-m", "u:daemon:r"]).args(&paths).status().is_ok_and(|status| status.success()) {
        println!("not tested: no ACLs can be set here");
        return;
    }
    site.start();
    site.expect_log_line(&["WARN", "some paths arrived without all of their attributes", "and more"]);
    let status = site.expect_state(Local, "idle");
    assert!(status["attributes_unset"].as_u64() > Some(500), "{status:#}");
    assert_eq!((&status["totals"]["reconciles"], &status["totals"]["sent"]), (&1.into(), &2502.into()), "{status:#}");
    site.settle();
    assert_eq!(site.troubles().len(), 1, "{:?}", site.troubles());
}
