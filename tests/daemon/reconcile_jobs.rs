//! Reconciles that are divided among several rsyncs, and so are batches of very many directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Mount;
use crate::support::disk::Kind;
use crate::support::{Local, Node, Rsyncd, Site, Ssh, plant};

/// Directories at the top, with names that mean something to rsync's filters, and one that holds most of the tree.
const DIRS: [&str; 8] = ["a", "a*", "ab", "b[1]", "c\\d", "e f", "deep/one", "deep/two"];

/// A site whose reconciles are divided among four runs, with what the nodes have otherwise than the source.
fn divided() -> Site {
    let mut site = Site::new();
    site.config("reconcile_jobs: 4");
    for dir in DIRS {
        (0..3).for_each(|n| plant(&site.at(format!("{dir}/sub {n}/file")), &format!("{dir} {n}")));
    }
    plant(&site.at("file at the top"), "x");
    plant(&site.at("deep/file"), "x");
    site
}

/// The mirror has the files by which the node tells that it does not ignore case.
fn plant_asked_about(site: &Site, node: Node) {
    ["seed", "file at the top"].iter().for_each(|path| plant(&site.mirror(node).join(path), "old"));
}

/// A program that notes its arguments and becomes rsync, unless these lines of a shell do something else first.
fn noting(site: &mut Site, first: &str) -> PathBuf {
    let runs = site.beside("runs");
    let program = site.beside("noting-rsync");
    let text = format!("#!/bin/sh\necho \"$*\" >> {0}\n{first}\nexec rsync \"$@\"\n", runs.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    site.config(&format!("rsync: {program:?}"));
    site.config("confine: false");
    runs
}

/// The runs over the whole tree that were made to this mirror.
fn runs_over_all(runs: &Path) -> Vec<String> {
    let text = fs::read_to_string(runs).unwrap();
    text.lines().filter(|run| run.contains("--info=progress2")).map(str::to_owned).collect()
}

#[test]
fn a_divided_reconcile_makes_every_node_equal() {
    let mut site = divided();
    let runs = noting(&mut site, "");
    site.config("rexcludes: [\"*.tmp\", \"/kept/\"]");
    site.compare_without(|path| path.ends_with(b".tmp") || path.starts_with(b"kept"));
    // No letters: nodes are not asked about this one.
    plant(&site.at("0"), "x");
    plant(&site.at("a/was a directory"), "x");
    site.mkdir("was a file/sub");
    site.mkdir("ab/was a file");
    symlink("a", site.at("link")).unwrap();
    symlink("sub 0", site.at("a/was a directory too")).unwrap();
    for node in site.live() {
        let at = |path: &str| site.mirror(node).join(path);
        plant_asked_about(&site, node);
        for path in ["extra", "axe/extra", "a/extra", "deep/extra", "deep/three/extra", "deep/one/sub 0/extra"] {
            plant(&at(path), "extra");
        }
        for path in ["0/x", "a/was a directory/x", "a/was a directory too/x", "link/x"] {
            plant(&at(path), "extra");
        }
        ["was a file", "ab/was a file", "e f"].iter().for_each(|path| plant(&at(path), "extra"));
        ["a/own.tmp", "own.tmp", "kept/own", "deep/one/own.tmp"].iter().for_each(|path| plant(&at(path), "own"));
    }
    site.start_mirrored();
    for path in ["a/own.tmp", "own.tmp", "kept/own", "deep/one/own.tmp"] {
        site.assert_on_nodes(path, "own");
    }
    assert_eq!(runs_over_all(&runs).len(), 3 * 4, "{:#?}", runs_over_all(&runs));
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn what_was_made_and_moved_since_the_count_is_compared_too() {
    let mut site = divided();
    site.config("dir_moves: Replicate");
    site.start_mirrored();
    let sent: Vec<String> = site.log_lines().into_iter().filter(|line| line.contains("reconciled")).collect();
    // Each entry counts once, whichever runs send it.
    assert!(sent.iter().all(|line| line.contains("sent: 61,")), "{sent:#?}");
    site.remove("deep/one");
    site.rename("a", "z");
    plant(&site.at("new/sub/file"), "x");
    plant(&site.at("abc/file"), "x");
    site.expect_identical();
    for node in site.live() {
        ["z/extra", "new/extra", "deep/one/extra", "a/extra", "abc/extra"]
            .iter()
            .for_each(|path| plant(&site.mirror(node).join(path), "extra"));
    }
    site.config("rexcludes: [\"*.none\"]");
    site.reload();
    site.expect_identical();
}

#[test]
fn the_runs_of_a_reconcile_delete_no_more_together_than_one_may() {
    let mut site = divided();
    for node in site.live() {
        plant_asked_about(&site, node);
        let dirs = DIRS.iter().chain(&["", "deep", "gone"]);
        dirs.for_each(|dir| plant(&site.mirror(node).join(dir).join("extra"), "extra"));
    }
    // Eleven files and the directory of one.
    site.config("max_delete: 11");
    site.start();
    for node in site.live() {
        let name = site.name(node);
        let name = if name.is_empty() { "local" } else { &name };
        site.expect_log_line(&[name, "reconcile held: it would delete 12 entries, more than max_delete (11)"]);
    }
    DIRS.iter().for_each(|dir| site.assert_on_nodes(Path::new(dir).join("extra"), "extra"));
    site.forget_config();
    site.config("reconcile_jobs: 4");
    site.config("max_delete: 12");
    site.reload();
    site.expect_identical();
}

#[test]
fn a_run_that_fails_is_made_again_and_the_others_are_not() {
    let mut site = divided();
    // The first run over one part breaks off, as one does whose connection is lost.
    let once = site.beside("failed");
    let breaks =
        format!("case \"$*\" in *'+ /deep/one/sub 0 '*progress2*) mkdir {} 2>&- && exit 12;; esac", once.display());
    let runs = noting(&mut site, &breaks);
    site.serve(&[Local]);
    site.start_mirrored();
    assert!(once.exists(), "{:#?}", runs_over_all(&runs));
    assert_eq!(runs_over_all(&runs).len(), 5, "{:#?}", runs_over_all(&runs));
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn a_reconcile_of_which_a_run_fails_has_failed_and_what_the_others_did_stays() {
    let mut site = divided();
    let broken = site.beside("broken");
    fs::write(&broken, "").unwrap();
    let breaks =
        format!("case \"$*\" in *'+ /deep/one/sub 0 '*progress2*) [ -e {} ] && exit 12;; esac", broken.display());
    noting(&mut site, &breaks);
    site.serve(&[Local]);
    site.start();
    site.expect_on_nodes("a/sub 1/file", "a 1");
    site.expect_log("node failing");
    assert!(!site.log_lines().iter().any(|line| line.contains("reconciled")), "{:#?}", site.log_lines());
    fs::remove_file(&broken).unwrap();
    site.expect_identical();
    site.expect_log("reconciled");
}

#[test]
fn a_read_only_part_of_a_node_does_not_make_a_divided_reconcile_fail() {
    let mut site = divided();
    site.serve(&[Local]);
    plant_asked_about(&site, Local);
    let part = site.mirror(Local).join("a");
    fs::create_dir(&part).unwrap();
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "ro", "tmpfs"], &part) else { return };
    site.start();
    site.expect_state(Local, "incomplete");
    site.assert_on_nodes("deep/two/sub 1/file", "deep/two 1");
    assert!(!site.log_lines().iter().any(|line| line.contains("node failing")), "{:#?}", site.troubles());
    let ended = Command::new("mount").args(["-o", "remount,rw"]).arg(&part).status().unwrap();
    assert!(ended.success());
    site.expect_identical();
}

#[test]
fn one_run_goes_where_hard_links_are_mirrored_or_the_line_is_limited() {
    for line in ["extra: \"-aH\"", "rspeed: 100000"] {
        let mut site = divided();
        site.serve(&[Local]);
        site.config(line);
        fs::hard_link(site.at("a/sub 0/file"), site.at("deep/two/twin")).unwrap();
        let runs = noting(&mut site, "");
        site.start_mirrored();
        assert_eq!(runs_over_all(&runs).len(), 1, "{line}: {:#?}", runs_over_all(&runs));
    }
}

#[test]
fn one_run_goes_to_a_node_that_ignores_case_also_the_first_time() {
    for kind in Kind::IGNORES_CASE {
        let mut site = Site::on(&[Local]);
        if !site.mirror_on(Local, kind) {
            continue;
        }
        site.config(&format!("extra: {:?}", kind.extra()));
        site.config("reconcile_jobs: 4");
        let runs = noting(&mut site, "");
        for path in ["seed", "PHOTOS/one", "Music/two"] {
            plant(&site.mirror(Local).join(path), "as before");
        }
        ["photos/one", "music/two"].iter().for_each(|path| plant(&site.at(path), "new"));
        site.start();
        site.expect_log("reconciled");
        assert_eq!(runs_over_all(&runs).len(), 1, "{kind:?}: {:#?}", runs_over_all(&runs));
        ["photos/one", "music/two"].iter().for_each(|path| site.expect_on_nodes(path, "new"));
    }
}

#[test]
fn a_daemon_that_takes_one_connection_at_a_time_gets_everything() {
    let mut site = Site::on(&[Rsyncd]);
    site.config("reconcile_jobs: 4");
    site.config("standby: false");
    site.module_option("max connections = 1");
    DIRS.iter().for_each(|dir| plant(&site.at(format!("{dir}/file")), dir));
    site.start_mirrored();
}

#[test]
fn once_divides_the_directories_at_the_top() {
    let mut site = divided();
    site.serve(&[Ssh]);
    let runs = noting(&mut site, "");
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site.assert_identical(&ended.log);
    assert_eq!(runs_over_all(&runs).len(), 4, "{:#?}", runs_over_all(&runs));
}

/// The runs over listed directories.
fn runs_over_directories(runs: &Path) -> Vec<String> {
    let text = fs::read_to_string(runs).unwrap();
    text.lines().filter(|run| run.contains("--recursive --from0 --files-from=-")).map(str::to_owned).collect()
}

/// Makes 1,200 directories while the nodes are paused, and lets them have all at once.
fn plant_many_at_once(site: &mut Site) {
    let ask =
        |site: &Site, what| site.live().for_each(|node| assert_eq!(site.ask(&[what, &site.shown(node)]).code, Some(0)));
    ask(site, "pause");
    for dir in 0..1200 {
        (0..3).for_each(|n| plant(&site.at(format!("many/{dir:04}/{n}")), &format!("{dir} {n}")));
    }
    for node in site.live() {
        site.expect_status(node, "behind", |status| status["pending"].as_u64() >= Some(1200));
    }
    ask(site, "resume");
    site.expect_identical();
}

#[test]
fn many_new_directories_go_by_several_runs_beside_each_other() {
    let mut site = Site::new();
    site.config("standby: false");
    site.config("reconcile_jobs: 2");
    let runs = noting(&mut site, "");
    plant(&site.at("many/first"), "x");
    site.start_mirrored();
    let before = runs_over_directories(&runs).len();
    plant_many_at_once(&mut site);
    let made = runs_over_directories(&runs).split_off(before);
    // One more of each node in the fast lane, which carries 2,000 entries.
    assert_eq!(made.len(), 3 * (1 + 2), "{made:#?}");
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn a_run_over_many_directories_that_fails_while_others_do_not_is_made_again() {
    let mut site = Site::new();
    site.config("standby: false");
    site.config("reconcile_jobs: 4");
    let once = site.beside("failed");
    let fails = format!(
        "case \"$*\" in *--recursive*--files-from*{}/*) mkdir {} 2>/dev/null && exit 12;; esac",
        site.mirror(Node::Local).display(),
        once.display()
    );
    noting(&mut site, &fails);
    plant(&site.at("many/first"), "x");
    site.start_mirrored();
    fs::remove_dir(&once).unwrap_or_default();
    plant_many_at_once(&mut site);
    assert!(once.exists(), "a run failed");
}

#[test]
fn read_only_parts_of_a_node_do_not_make_a_divided_batch_fail() {
    let mut site = Site::new();
    site.serve(&[Local]);
    site.config("reconcile_jobs: 2");
    site.start_mirrored();
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    // The first directory leaves no room in the fast lane for any other one. Of the two runs, one gets those at odd places.
    let names: Vec<String> = (0..16).map(|number| format!("d{number:02}")).collect();
    (0..2100).for_each(|file| plant(&site.at(format!("d00/{file}")), "x"));
    names.iter().for_each(|name| plant(&site.at(format!("{name}/file")), name));
    let read_only = names.iter().skip(1).step_by(2).map(|name| site.mirror(Local).join(name));
    let mut mounts = Vec::new();
    for place in read_only {
        fs::create_dir(&place).unwrap();
        let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "ro", "tmpfs"], &place) else { return };
        mounts.push((mount, place));
    }
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    site.expect_state(Local, "incomplete");
    site.assert_on_nodes("d14/file", "d14");
    assert!(!site.log_lines().iter().any(|line| line.contains("node failing")), "{:#?}", site.troubles());
    for (_, place) in &mounts {
        assert!(Command::new("mount").args(["-o", "remount,rw"]).arg(place).status().unwrap().success());
    }
    assert_eq!(site.ask(&["retry", "local"]).code, Some(0));
    site.expect_identical();
}
