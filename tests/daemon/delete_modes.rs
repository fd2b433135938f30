//! When what the source lost is deleted at a node: always, never, at the start alone, or while the daemon runs. On all three
//! transports, with renames, other kinds of entries, restarts and a lost state.

use std::fs;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, plant, wait};

/// A node has a file of this content at this moment.
fn has(site: &Site, node: Node, path: &str, content: &str) -> bool {
    fs::read_to_string(site.mirror(node).join(path)).is_ok_and(|found| found == content)
}

#[track_caller]
fn expect_kept(site: &Site, paths: &[(&str, &str)]) {
    for node in site.live() {
        for (path, content) in paths {
            if !has(site, node, path, content) {
                site.fail(&format!("{node} has not kept {path}"));
            }
        }
    }
}

#[track_caller]
fn expect_gone_at(site: &Site, node: Node, path: &str) {
    let is_gone = || fs::symlink_metadata(site.mirror(node).join(path)).is_err();
    if wait::until(|| is_gone().then_some(())).is_none() {
        site.fail(&format!("{node} still has {path}"));
    }
}

/// What was changed before has arrived; removals have no trace where they are not mirrored, so they get their time.
fn settle(site: &Site, stamp: &str) {
    site.write(stamp, stamp);
    site.expect_on_nodes(stamp, stamp);
    site.remove(stamp);
    let next = format!("{stamp} again");
    site.write(&next, "x");
    site.expect_on_nodes(&next, "x");
    for node in site.live() {
        // What is in the way stays pending.
        site.expect_status(node, "at rest", |status| status["pending"] == status["failing_paths"]);
    }
}

/// A site with two files and two directories, of which nothing is at a node yet.
fn planted(delete: &str) -> Site {
    let mut site = Site::new();
    site.config(&format!("delete: {delete}"));
    site.mkdir("d");
    site.mkdir("d/deep");
    site.mkdir("e");
    for path in ["a", "b", "d/deep/f", "e/g"] {
        site.write(path, path);
    }
    site
}

/// Starts the daemon where a node has more than the source.
fn start(site: &mut Site) {
    site.start();
    site.expect_on_nodes("e/g", "e/g");
    site.expect_compared();
}

const LOST: &[(&str, &str)] = &[("a", "a"), ("b", "b"), ("d/deep/f", "d/deep/f"), ("e/g", "e/g")];

#[test]
fn a_node_that_never_deletes_keeps_what_was_removed_and_renamed_over_restarts_and_without_a_state() {
    let mut site = planted("Never");
    site.config("dir_moves: Replicate");
    plant(&site.mirror(Local).join("of the node"), "x");
    start(&mut site);
    site.remove("a");
    site.rename("b", "b2");
    site.remove("d");
    site.rename("e", "e2");
    site.expect_on_nodes("b2", "b");
    site.expect_on_nodes("e2/g", "e/g");
    settle(&site, "live");
    expect_kept(&site, LOST);
    // The old name of a renamed file is a file of its own.
    site.append("b2", " more");
    site.expect_on_nodes("b2", "b more");
    expect_kept(&site, LOST);

    site.stop();
    site.remove("b2");
    site.start();
    settle(&site, "restarted");
    expect_kept(&site, &[&[("b2", "b more")], LOST].concat());

    site.stop();
    site.remove("e2");
    site.config("state_dir: \"\"");
    site.start();
    site.expect_log("reconciled");
    settle(&site, "without a state");
    expect_kept(&site, &[&[("b2", "b more"), ("e2/g", "e/g")], LOST].concat());
    assert!(has(&site, Local, "of the node", "x"));

    site.stop();
    let once = site.run(&["--once"]);
    assert_eq!(once.code, Some(0), "{}", once.log);
    expect_kept(&site, LOST);
    let verified = site.run(&["--verify"]);
    assert!(
        verified.code == Some(0) && verified.log.contains("keeps what the source does not have (delete), "),
        "{}",
        verified.log
    );
}

#[test]
fn a_node_that_never_deletes_keeps_what_is_in_the_way_and_says_so() {
    let mut site = planted("Never");
    site.mkdir("empty");
    site.symlink("link", "a");
    site.start_mirrored();
    // A directory where a file was, files where a directory and an empty one were, a file where a link was.
    site.remove("a");
    site.mkdir("a");
    site.write("a/in", "x");
    site.remove("d");
    site.write("d", "file");
    fs::remove_dir(site.at("empty")).unwrap();
    site.write("empty", "file");
    site.remove("link");
    site.write("link", "file");
    site.write("after", "x");
    site.expect_on_nodes("after", "x");
    for node in site.live() {
        let told = site
            .expect_status(node, "told of what is in the way", |status| status["failing_paths"].as_u64() >= Some(4));
        assert!(told.to_string().contains("keeps another kind of entry"), "{told:#}");
        assert!(site.mirror(node).join("empty").is_dir());
        assert!(site.mirror(node).join("link").is_symlink());
    }
    expect_kept(&site, &[("a", "a"), ("d/deep/f", "d/deep/f")]);
    site.expect_log("not mirrored: the node keeps another kind of entry by that name (delete)");

    // A comparison of everything keeps it, too, with a state and without one, and a dry run says so.
    site.stop();
    let dry_run = site.run(&["dry-run"]);
    assert!(dry_run.code == Some(75), "{}{}", dry_run.stdout, dry_run.log);
    assert!(dry_run.log.contains("keeps another kind of entry"), "{}", dry_run.log);
    let would_send = |name: &str| dry_run.stdout.lines().any(|line| line.split(' ').next_back() == Some(name));
    assert!(["a", "a/in", "d", "empty", "link"].iter().all(|name| !would_send(name)), "{}", dry_run.stdout);
    site.config("state_dir: \"\"");
    site.start();
    site.write("later", "x");
    site.expect_on_nodes("later", "x");
    for node in site.live() {
        site.expect_status(node, "told again", |status| status["failing_paths"].as_u64() >= Some(4));
    }
    expect_kept(&site, &[("a", "a"), ("d/deep/f", "d/deep/f")]);

    // The cure.
    for node in site.live() {
        fs::remove_file(site.mirror(node).join("a")).unwrap();
    }
    site.write("a/in", "y");
    site.expect_on_nodes("a/in", "y");
}

/// In the directory of a moment, what the node keeps gets another kind of entry by its name, as the last change of its directory.
fn put_in_the_way(site: &Site, moment: &str) {
    site.rename(format!("{moment}/link"), format!("{moment}/renamed over/f"));
    site.remove(format!("{moment}/directory over/f"));
    site.mkdir(format!("{moment}/directory over/f/in"));
}

#[test]
fn the_directory_of_what_is_in_the_way_has_its_time_all_the_same() {
    let mut site = Site::new();
    site.config("delete: Never");
    for moment in MOMENTS {
        for dir in ["renamed over", "directory over"] {
            site.mkdir(format!("{moment}/{dir}"));
            site.write(format!("{moment}/{dir}/f"), "kept");
        }
        site.symlink(format!("{moment}/link"), "renamed over");
    }
    site.start_mirrored();
    let expect_times = |site: &Site, moment: &str| {
        for dir in ["renamed over", "directory over"] {
            site.expect_time_on_nodes(format!("{moment}/{dir}"));
            expect_kept(site, &[(&format!("{moment}/{dir}/f"), "kept")]);
        }
    };
    put_in_the_way(&site, MOMENTS[0]);
    expect_times(&site, MOMENTS[0]);

    site.stop();
    put_in_the_way(&site, MOMENTS[1]);
    site.start();
    expect_times(&site, MOMENTS[1]);

    site.stop();
    fs::remove_dir_all(site.beside("state")).unwrap();
    put_in_the_way(&site, MOMENTS[2]);
    site.start();
    MOMENTS.iter().for_each(|moment| expect_times(&site, moment));
}

#[test]
fn what_was_removed_goes_at_the_next_start_where_only_that_deletes() {
    let mut site = planted("Startup");
    plant(&site.mirror(Ssh).join("of the node"), "x");
    site.start_mirrored();
    site.remove("a");
    site.remove("d");
    site.rename("b", "b2");
    settle(&site, "live");
    expect_kept(&site, &LOST[..3]);
    // A comparison that is no start keeps it.
    site.config("extra: \"-p\"");
    site.reload();
    settle(&site, "reloaded");
    expect_kept(&site, &LOST[..3]);
    site.stop();
    site.start();
    for node in [Local, Ssh, Rsyncd] {
        for path in ["a", "b", "d"] {
            expect_gone_at(&site, node, path);
        }
    }
    site.expect_identical();
}

#[test]
fn only_removals_that_are_seen_are_mirrored_where_comparisons_do_not_delete() {
    let mut site = planted("Running");
    plant(&site.mirror(Local).join("of the node"), "x");
    start(&mut site);
    site.remove("a");
    site.remove("d");
    for node in [Local, Ssh, Rsyncd] {
        expect_gone_at(&site, node, "a");
        expect_gone_at(&site, node, "d");
    }
    site.stop();
    site.remove("b");
    site.start();
    settle(&site, "restarted");
    expect_kept(&site, &[("b", "b")]);
    assert!(has(&site, Local, "of the node", "x"));
}

#[test]
fn each_node_deletes_in_its_own_way() {
    let mut site = planted("Always");
    site.own(Ssh, "archive", "delete: Never");
    site.own(Rsyncd, "slow", "delete: Running");
    site.start_mirrored();
    site.remove("a");
    expect_gone_at(&site, Local, "a");
    expect_gone_at(&site, Rsyncd, "a");
    settle(&site, "live");
    site.stop();
    site.remove("b");
    site.start();
    expect_gone_at(&site, Local, "b");
    settle(&site, "restarted");
    assert!(has(&site, Ssh, "a", "a") && has(&site, Ssh, "b", "b"), "the archive keeps everything");
    assert!(has(&site, Rsyncd, "b", "b"), "nobody saw that");
    // What a node kept until now goes by the comparison that the other mode asks for.
    site.own(Ssh, "archive", "delete: Always");
    assert!(site.reload().contains("reloaded: changed delete"));
    expect_gone_at(&site, Ssh, "a");
    expect_gone_at(&site, Ssh, "b");
}

/// What happens to the old entries.
#[derive(Clone, Copy, PartialEq)]
enum Old {
    Kept,
    /// Only another kind of entry by the same name takes their place.
    Replaced,
    Gone,
}

/// What a mode does with what the source lost: `seen` while the daemon runs, `compared` by the comparison of a start.
struct Mode {
    delete: &'static str,
    seen: Old,
    compared: Old,
}

/// The moments at which the source changes: under the daemon, while none runs, and before a start without a state.
const MOMENTS: [&str; 3] = ["seen", "unseen", "forgotten"];

/// What the source loses in the directory of a moment: the old names, each with its content.
const OLD: [&str; 6] = ["gone", "gone dir/in", "old", "old dir/in", "file to dir", "dir to file/in"];

fn plant_old(site: &Site, moment: &str) {
    for dir in ["gone dir", "old dir", "dir to file"] {
        site.mkdir(format!("{moment}/{dir}"));
    }
    OLD.iter().for_each(|path| site.write(format!("{moment}/{path}"), path));
}

/// Removes, renames, moves, and makes other kinds of entries.
fn lose_old(site: &Site, moment: &str) {
    let at = |path: &str| format!("{moment}/{path}");
    ["gone", "gone dir", "file to dir", "dir to file"].iter().for_each(|path| site.remove(at(path)));
    site.rename(at("old"), at("new"));
    site.rename(at("old dir"), at("new dir"));
    site.mkdir(at("file to dir"));
    site.write(at("file to dir/in"), "new");
    site.write(at("dir to file"), "new");
}

/// Each node has the new names of this moment, and of the old ones what it is to have.
fn expect_of(site: &Site, moment: &str, then: Old) {
    let at = |path: &str| format!("{moment}/{path}");
    site.expect_on_nodes(at("new"), "old");
    site.expect_on_nodes(at("new dir/in"), "old dir/in");
    if then == Old::Gone {
        ["gone", "gone dir", "old", "old dir"].iter().for_each(|path| site.expect_gone(at(path)));
    }
    if then != Old::Kept {
        site.expect_on_nodes(at("file to dir/in"), "new");
        site.expect_on_nodes(at("dir to file"), "new");
    }
    let kept = match then {
        Old::Kept => &OLD[..],
        Old::Replaced => &OLD[..4],
        Old::Gone => &[],
    };
    let kept: Vec<_> = kept.iter().map(|path| (at(path), *path)).collect();
    expect_kept(site, &kept.iter().map(|(path, content)| (path.as_str(), *content)).collect::<Vec<_>>());
}

fn plays_as_the_row_says(mode: &Mode) {
    let mut site = Site::new();
    // What was kept at first goes with a comparison that deletes.
    let at_last = if mode.compared == Old::Gone { Old::Gone } else { mode.seen };
    site.config(&format!("delete: {}", mode.delete));
    site.config("dir_moves: Replicate");
    MOMENTS.iter().for_each(|moment| plant_old(&site, moment));
    site.start_mirrored();
    lose_old(&site, MOMENTS[0]);
    settle(&site, "live");
    expect_of(&site, MOMENTS[0], mode.seen);

    site.stop();
    lose_old(&site, MOMENTS[1]);
    site.start();
    settle(&site, "restarted");
    expect_of(&site, MOMENTS[1], mode.compared);
    expect_of(&site, MOMENTS[0], at_last);

    site.stop();
    fs::remove_dir_all(site.beside("state")).unwrap();
    lose_old(&site, MOMENTS[2]);
    site.start();
    site.expect_log("reconciled");
    settle(&site, "without its state");
    expect_of(&site, MOMENTS[2], mode.compared);
    expect_of(&site, MOMENTS[1], mode.compared);
    expect_of(&site, MOMENTS[0], at_last);
    if (mode.seen, mode.compared) == (Old::Gone, Old::Gone) {
        site.expect_identical();
    }
}

#[test]
fn with_always_nothing_old_stays() {
    plays_as_the_row_says(&Mode { delete: "Always", seen: Old::Gone, compared: Old::Gone });
}

#[test]
fn with_never_all_that_is_old_stays() {
    plays_as_the_row_says(&Mode { delete: "Never", seen: Old::Kept, compared: Old::Kept });
}

#[test]
fn with_startup_what_is_old_stays_until_the_next_start() {
    plays_as_the_row_says(&Mode { delete: "Startup", seen: Old::Kept, compared: Old::Gone });
}

#[test]
fn with_running_what_nobody_saw_go_stays() {
    plays_as_the_row_says(&Mode { delete: "Running", seen: Old::Gone, compared: Old::Replaced });
}
