//! What a node cannot hold is set aside, and the rest goes on; so is what it will not take.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::failures::Mount;
use crate::incomplete::Immutable;
use crate::support::{Local, Node, Site, Ssh, plant, program, wait};

/// Small files, half of which sort before the large ones, and half after.
const SMALL: usize = 200;
/// What no node of 4 MiB has room for.
const TOO_LARGE: usize = 6_000_000;

fn write_small(site: &Site, dir: &str) {
    site.mkdir(dir);
    (0..SMALL).for_each(|number| site.write(format!("{dir}/{number:03}"), number.to_string()));
}

fn has_all_small(site: &Site, node: Node, dir: &str) -> bool {
    let has = |number| fs::read_to_string(site.mirror(node).join(dir).join(format!("{number:03}"))).ok();
    (0..SMALL).all(|number| has(number) == Some(number.to_string()))
}

fn expect_all_small(site: &Site, dir: &str) {
    for node in site.live() {
        let all = wait::until(|| has_all_small(site, node, dir).then_some(()));
        assert!(all.is_some(), "{dir} is not complete at {node:?}: {:?}", site.troubles());
    }
}

/// Waits until each node lacks nothing but what fails, of which this path is the first. The others may be found to fail before.
#[track_caller]
fn expect_incomplete(site: &Site, path: &str) {
    for node in site.live() {
        site.expect_status(node, &format!("incomplete for {path}"), |status| {
            status["state"]["is"] == "incomplete" && status["failing_first"][0] == path
        });
    }
}

/// A small file system at the mirror of each node.
fn small_nodes(site: &Site, options: &str) -> Option<Vec<Mount>> {
    site.live().map(|node| Mount::new(&site.mirror(node), options)).collect()
}

/// The lines that tell of a path that fails.
fn told(site: &Site, path: &str) -> Vec<String> {
    site.troubles().into_iter().filter(|line| line.contains(path)).collect()
}

/// A directory that rsync comes to long after it has sent the first file of `dir`: so many files are between.
fn last_directory(site: &Site) -> PathBuf {
    site.mkdir("dir");
    (0..3000).for_each(|number| site.write(format!("dir/{number:04}"), "x"));
    site.mkdir("zz");
    site.write("zz/kept", "1");
    let last = site.mirror(Local).join("zz");
    fs::create_dir(&last).unwrap();
    last
}

fn heals(site: &Site, mounts: &[Mount]) {
    mounts.iter().for_each(|mount| mount.remount("size=64m"));
    site.reload();
    site.expect_identical();
    site.live().for_each(|node| drop(site.expect_state(node, "idle")));
}

#[test]
fn a_file_that_does_not_fit_holds_up_nothing_of_a_first_comparison() {
    let mut site = Site::new();
    let Some(mounts) = small_nodes(&site, "size=4m") else { return };
    write_small(&site, "dir");
    write_small(&site, "later");
    site.write("dir/100.large", vec![b'x'; TOO_LARGE]);
    site.start();
    expect_all_small(&site, "later");
    expect_all_small(&site, "dir");
    expect_incomplete(&site, "dir/100.large");
    for node in site.live() {
        let name = format!("node: {},", site.shown(node));
        let words =
            [&name, "WARN", "a file does not fit at the node: dir/100.large (5.7 MiB)", "No space left", "rexcludes"];
        site.expect_log_line(&words);
    }
    // What changes beside it goes at once.
    site.write("beside", "1");
    site.expect_on_nodes("beside", "1");
    assert_eq!(told(&site, "100.large").len(), 3, "{:?}", site.troubles());
    assert!(!site.log_lines().iter().any(|line| line.contains("node failing")), "{:?}", site.troubles());
    heals(&site, &mounts);
}

#[test]
fn a_file_that_does_not_fit_holds_up_nothing_that_changed_with_it() {
    let mut site = Site::new();
    let Some(mounts) = small_nodes(&site, "size=4m") else { return };
    site.start_mirrored();
    site.write("000.large", vec![b'x'; TOO_LARGE]);
    site.write("more.large", vec![b'x'; TOO_LARGE]);
    write_small(&site, "dir");
    site.mkdir("new/deep");
    site.write("new/100.large", vec![b'x'; TOO_LARGE]);
    site.write("new/deep/file", "1");
    expect_all_small(&site, "dir");
    site.expect_on_nodes("new/deep/file", "1");
    expect_incomplete(&site, "000.large");
    // It is told once, however often it is tried: the state that is saved has that too.
    for node in site.live() {
        let name = format!("node: {},", site.shown(node));
        site.expect_log_line(&[&name, "a file does not fit at the node: ", "No space left"]);
        site.expect_status(node, "three paths that fail", |status| status["failing_paths"] == 3);
    }
    site.remove("more.large");
    site.stop();
    site.start();
    expect_incomplete(&site, "000.large");
    site.write("beside", "1");
    site.expect_on_nodes("beside", "1");
    heals(&site, &mounts);
}

#[test]
fn the_directory_of_a_file_that_does_not_fit_has_its_time_all_the_same() {
    let mut site = Site::new();
    let Some(mounts) = small_nodes(&site, "size=4m") else { return };
    site.mkdir("dir");
    site.write("dir/small", "1");
    site.start_mirrored();
    site.write("dir/large", vec![b'x'; TOO_LARGE]);
    expect_incomplete(&site, "dir/large");
    site.expect_time_on_nodes("dir");
    heals(&site, &mounts);
}

#[test]
fn a_file_that_fits_after_a_removal_is_there_soon() {
    let mut site = Site::on(&[Local]);
    let Some(_mounts) = small_nodes(&site, "size=4m") else { return };
    site.write("old", vec![b'x'; 3_000_000]);
    site.start_mirrored();
    let begun = Instant::now();
    site.write("new", vec![b'y'; 3_000_000]);
    site.remove("old");
    site.expect_identical();
    assert!(begun.elapsed() < Duration::from_secs(40), "it waited for the next try: {:?}", begun.elapsed());
    assert!(!site.log_lines().iter().any(|line| line.contains("node failing")), "{:?}", site.troubles());
}

#[test]
fn a_comparison_makes_room_for_itself_where_not_even_a_small_file_fits() {
    let mut site = Site::on(&[Local]);
    let Some(_mounts) = small_nodes(&site, "size=24m") else { return };
    // All that there is room for.
    let _ = fs::write(last_directory(&site).join("left"), vec![b'x'; 25_000_000]);
    site.write("dir/0small", "1");
    site.start();
    site.expect_identical();
    assert!(!site.log_lines().iter().any(|line| line.contains("node failing")), "{:?}", site.troubles());
}

#[test]
fn a_file_that_is_too_large_for_the_account_at_the_node_holds_up_nothing() {
    let mut site = Site::on(&[Ssh]);
    site.config("extra: \"--rsync-path='ulimit -f 1000; rsync'\"");
    write_small(&site, "dir");
    site.write("dir/100.large", vec![b'x'; TOO_LARGE]);
    site.start();
    expect_all_small(&site, "dir");
    expect_incomplete(&site, "dir/100.large");
    site.expect_log_line(&["WARN", "the node takes no file of this size", "File too large (27)", "ulimit -f"]);
    site.write("large", vec![b'x'; TOO_LARGE]);
    site.write("small", "1");
    site.expect_on_nodes("small", "1");
    site.remove("large");
    site.write("dir/100.large", "small now");
    site.expect_identical();
    site.expect_state(Ssh, "idle");
}

#[test]
fn a_node_without_room_for_more_names_takes_what_needs_none_and_the_rest_when_there_is_room() {
    let mut site = Site::on(&[Local]);
    let Some(mounts) = small_nodes(&site, "size=4m,nr_inodes=40") else { return };
    site.mkdir("dir");
    (0..20).for_each(|number| site.write(format!("dir/{number:02}"), "1"));
    site.start_mirrored();
    (0..40).for_each(|number| site.write(format!("new{number:02}"), "1"));
    site.expect_log("No space left on device");
    (0..20).for_each(|number| site.remove(format!("dir/{number:02}")));
    site.expect_gone("dir/19");
    mounts[0].remount("size=4m,nr_inodes=400");
    site.expect_identical();
    site.expect_state(Local, "idle");
}

#[test]
fn once_sends_all_but_what_does_not_fit_and_names_it() {
    let site = Site::on(&[Local]);
    let Some(_mounts) = small_nodes(&site, "size=4m") else { return };
    write_small(&site, "dir");
    site.write("dir/100.large", vec![b'x'; TOO_LARGE]);
    let ended = site.run(&["once"]);
    assert_ne!(ended.code, Some(0), "{}", ended.log);
    assert!(has_all_small(&site, Local, "dir"), "{}", ended.log);
    assert!(ended.log.contains("a file does not fit at the node: dir/100.large (5.7 MiB)"), "{}", ended.log);
}

#[test]
fn what_the_node_refused_in_the_run_in_which_something_did_not_fit_has_not_arrived() {
    let mut site = Site::on(&[Local]);
    let Some(mounts) = small_nodes(&site, "size=60m") else { return };
    ["a", "b"].iter().for_each(|dir| site.mkdir(dir));
    site.write("a/stuck", "1");
    site.start_mirrored();
    let Some(immutable) = Immutable::new(&site.mirror(Local).join("a/stuck")) else { return };
    // Both go in one run.
    site.daemon().signal(Signal::STOP);
    site.write("a/stuck", vec![b'x'; 15_000_000]);
    site.write("b/large", vec![b'x'; 90_000_000]);
    site.daemon().signal(Signal::CONT);
    site.expect_log_line(&["a file does not fit at the node: b/large"]);
    site.expect_status(Local, "two paths that fail", |status| status["failing_paths"] == 2);
    drop(immutable);
    mounts[0].remount("size=200m");
    site.reload();
    site.expect_identical();
    site.expect_state(Local, "idle");
}

#[test]
fn a_file_that_does_not_fit_among_many_that_are_there_is_all_that_fails() {
    const PAGE: usize = 4096;
    let site = Site::on(&[Local]);
    let Some(_mounts) = small_nodes(&site, "size=4m") else { return };
    site.mkdir("dir");
    (0..60).for_each(|number| site.write(format!("dir/{number:02}"), vec![b'x'; 16 * PAGE]));
    // Seeds and directories need a page each at the most; some pages are left.
    site.write("rest", vec![b'x'; 1024 * PAGE - 60 * 16 * PAGE - 10 * PAGE]);
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site.write("dir/new", vec![b'x'; 15 * PAGE]);
    site.write("later", "1");
    let ended = site.run(&["once"]);
    assert_ne!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("a file does not fit at the node: dir/new"), "{}", ended.log);
    assert_eq!(fs::read_to_string(site.mirror(Local).join("later")).ok().as_deref(), Some("1"), "{}", ended.log);
}

/// An rsync for the node, that does this to its arguments.
fn node_rsync(site: &mut Site, script: &str) {
    let path = site.beside("node-rsync");
    program(&path, &format!("#!/bin/bash\n{script}\n"));
    site.config(&format!("extra: \"--rsync-path={}\"", path.display()));
}

#[test]
fn a_file_that_the_node_leaves_as_it_is_has_not_arrived() {
    let mut site = Site::on(&[Ssh]);
    // As rrsync does with -no-overwrite.
    let switch = site.beside("no-overwrite");
    let script = format!(
        "[ -e {} ] && [ \"$1\" = --server ] && exec rsync --server --ignore-existing \"${{@:2}}\"\nexec rsync \"$@\"",
        switch.display()
    );
    node_rsync(&mut site, &script);
    fs::write(&switch, "").unwrap();
    site.write("old", "1");
    site.start_mirrored();
    // What is new comes whole: the node would leave as it is what it got of a file that was still being written.
    let (new, dir) = (site.beside("new"), site.beside("dir"));
    plant(&new, "1");
    plant(&dir.join("new"), "1");
    site.write("old", "2");
    site.rename(&new, "new");
    site.rename(&dir, "dir");
    site.expect_on_nodes("new", "1");
    site.expect_on_nodes("dir/new", "1");
    expect_incomplete(&site, "old");
    site.expect_log_line(&[
        "WARN",
        "count: 1",
        "first: old",
        "the node leaves its old files as they are",
        "-no-overwrite",
    ]);
    fs::remove_file(&switch).unwrap();
    site.expect_identical();
    site.expect_state(Ssh, "idle");
}

#[test]
fn what_rsync_says_nothing_of_for_good_reasons_has_arrived() {
    let mut site = Site::new();
    site.config("extra: \"-H\"");
    site.write("one", "1");
    site.start_mirrored();
    site.write("one", "2");
    fs::hard_link(site.at("one"), site.at("two")).unwrap();
    site.symlink("link", "one");
    site.write("empty", "");
    site.write("odd \\#012 name\n|x", "1");
    site.touch("one", Duration::from_secs(1_000_000));
    site.touch("empty", Duration::from_secs(1_000_000));
    site.expect_identical();
    for node in site.live() {
        site.expect_state(node, "idle");
    }
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn a_mirror_whose_own_directory_belongs_to_somebody_else_is_told_once_and_serves() {
    const PLAIN: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-fowner,-chown"];
    if !rustix::process::geteuid().is_root() {
        return println!("not tested: only root can take rights from a daemon");
    }
    let mut site = Site::on(&[Local]);
    site.compare_without(|path| path.is_empty());
    site.always_start_by(&PLAIN);
    let mirror = site.mirror(Local);
    fs::create_dir_all(&mirror).unwrap();
    chown(&mirror, Some(65534), None).unwrap();
    fs::set_permissions(&mirror, fs::Permissions::from_mode(0o777)).unwrap();
    site.start();
    site.expect_on_nodes("seed", "seed");
    for round in 0..3 {
        site.write("top", round.to_string());
        site.expect_on_nodes("top", &round.to_string());
    }
    let before = site.expect_state(Local, "idle");
    assert_eq!(site.ask(&["status"]).code, Some(0));
    assert_eq!(before["failing_paths"], 0, "{before:#}");
    site.expect_log_line(&[
        "WARN",
        "the mirror's own directory does not take all attributes",
        "Operation not permitted",
        "chown",
    ]);
    assert_eq!(site.troubles().len(), 1, "{:?}", site.troubles());
    assert_eq!(mirror.metadata().unwrap().uid(), 65534);
}

#[test]
fn an_error_that_cannot_be_read_has_the_tree_compared_twice_and_no_more() {
    let mut site = Site::on(&[Local]);
    let (rsync, runs) = (site.beside("rsync"), site.beside("runs"));
    let script = format!(
        "#!/bin/bash\ncase \" $* \" in *' --info=progress2 '*) ;; *) exec /usr/bin/env rsync \"$@\";; esac\necho >>{}\n\
         rsync \"$@\"\necho 'rsync: [generator] it went wrong in its own way' >&2\nexit 23\n",
        runs.display()
    );
    program(&rsync, &script);
    site.config(&format!("rsync: {rsync:?}"));
    site.start();
    site.expect_on_nodes("seed", "seed");
    site.expect_log_line(&[
        "WARN",
        "some paths failed and are tried again",
        "first: .",
        "it went wrong in its own way",
    ]);
    let compared = || fs::read_to_string(&runs).unwrap().lines().count();
    let status = site.expect_state(Local, "incomplete");
    assert_eq!(status["failing_paths"], 1, "{status:#}");
    for round in 0..20 {
        site.write("new", round.to_string());
        site.expect_on_nodes("new", &round.to_string());
    }
    assert_eq!(compared(), 2);
}
