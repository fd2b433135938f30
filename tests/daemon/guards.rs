//! A broken source never breaks a mirror: it is emptied, lacks its marker, or would have too much deleted.

mod mounts;
mod symlinks;

use std::process::Command;
use std::time::Duration;

use crate::support::disk::Kind;
use crate::support::{Local, Node, Site, Ssh, plant, tree, wait};

/// Runs a command of the shell in the source.
fn shell(site: &Site, command: &str) {
    let status = Command::new("sh").args(["-c", command]).current_dir(site.source()).status().unwrap();
    assert!(status.success(), "{command}");
}

/// What a node has at this moment.
fn mirror(site: &Site, node: Node) -> tree::Tree {
    tree::read(&site.mirror(node), |_| false)
}

/// What all live nodes have at this moment.
fn mirrors(site: &Site) -> Vec<tree::Tree> {
    site.live().map(|node| mirror(site, node)).collect()
}

/// Everything is held on each node, for a reason with this word.
fn expect_held(site: &Site, word: &str) {
    for node in site.live() {
        let name = site.name(node);
        let name = if name.is_empty() { "local" } else { &name };
        site.expect_log_line(&["nothing is sent", name, word]);
    }
}

/// So many reconciles of each node have succeeded in all.
#[track_caller]
fn expect_reconciles(site: &Site, rounds: usize) {
    let wanted = rounds * site.live().count();
    if wait::until(|| (reconciles(site) >= wanted).then_some(())).is_none() {
        site.fail(&format!("{} of {wanted} reconciles", reconciles(site)));
    }
}

/// The reconciles of all nodes that have succeeded.
fn reconciles(site: &Site) -> usize {
    site.log_lines().iter().filter(|line| line.contains("reconciled")).count()
}

/// A mirrored site of 2,000 files in 20 directories and at the top, with a copy of the source beside it.
fn large(mut site: Site) -> Site {
    for n in 0..2000 {
        let dir = if n % 21 == 0 { String::new() } else { format!("dir {}/", n % 21) };
        site.mkdir(&dir);
        site.write(format!("{dir}{n}"), n.to_string());
    }
    shell(&site, "cp -a . ../copy");
    site.start_with(&["-v"]);
    site.expect_identical();
    site.expect_compared();
    site
}

/// The entries that a node has lost since then: of all nodes, the most. A removal that stays alone for some milliseconds, as
/// on a busy machine, is mirrored, and no other one of a source that is being emptied.
fn lost(site: &Site, before: &[tree::Tree]) -> usize {
    let gone = |(before, now): (&tree::Tree, tree::Tree)| before.keys().filter(|path| !now.contains_key(*path)).count();
    before.iter().zip(mirrors(site)).map(gone).max().unwrap_or_default()
}

/// Whether the removals in these lines of a log, which are so many at least, came with a pause for which they do not wait (50 ms,
/// less the time by which the log is late on a busy machine): what was removed before it may have been mirrored.
fn have_pause(log: &[String], at_least: usize) -> bool {
    let millis = |line: &String| -> Option<u64> {
        let time = line.contains("change, what: removed").then(|| line.split(' ').nth(2))??;
        let mut digits = time.split([':', '.']).map(|part| part.parse::<u64>());
        let mut next = || digits.next()?.ok();
        Some(((next()? * 60 + next()?) * 60 + next()?) * 1000 + next()?)
    };
    let times: Vec<u64> = log.iter().filter_map(millis).collect();
    assert!(times.len() >= at_least, "only {} removals in the log", times.len());
    times.windows(2).any(|two| two[1].abs_diff(two[0]) > 30)
}

/// The log when it grows no more: the source may be seen to be empty before all removals in it are told.
fn whole_log(site: &Site) -> Vec<String> {
    let mut before = 0;
    let is_whole = wait::until(|| {
        std::thread::sleep(Duration::from_millis(300));
        let now = site.log_lines().len();
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    assert!(is_whole.is_some(), "the log grows without end");
    site.log_lines()
}

/// Empties a site that [`large`] made, by rm, and waits until all is held and nothing is in flight. If an entry was
/// [lost], or more as the removals [paused](have_pause), it is done again. Returns how many troubles and reconciles there were just before.
#[track_caller]
fn empty(site: &Site) -> (usize, usize) {
    let attempt = || {
        let before = mirrors(site);
        let (counts, lines) = ((site.troubles().len(), reconciles(site)), site.log_lines().len());
        shell(site, "rm -rf *");
        expect_at_rest(site, "held");
        assert!(wait::until(|| site.own_rsyncs().is_empty().then_some(())).is_some(), "{:?}", site.own_rsyncs());
        let is_untouched = mirrors(site) == before;
        if !is_untouched {
            let may_be = lost(site, &before) == 1 || have_pause(&whole_log(site)[lines..], 1000);
            assert!(may_be, "something was deleted:\n{}", site.log_lines().join("\n"));
            shell(site, "cp -a ../copy/. .");
            site.expect_identical();
            expect_at_rest(site, "idle");
        }
        is_untouched.then_some(counts)
    };
    (0..30).find_map(|_| attempt()).unwrap_or_else(|| site.fail("something was deleted, again and again"))
}

/// Each live node comes to be in this state.
#[track_caller]
fn expect_at_rest(site: &Site, state: &str) {
    site.live().for_each(|node| _ = site.expect_state(node, state));
}

#[test]
fn a_source_that_is_emptied_by_rm_leaves_the_mirrors_untouched_until_it_is_filled_again() {
    let mut site = large(Site::new());
    let (troubles, reconciles) = empty(&site);
    expect_held(&site, "allow_empty: true");
    // The content comes back piece by piece.
    shell(&site, "cp -a '../copy/dir 1' . && mkdir -p 'dir 2' && cp -a '../copy/dir 2/2' 'dir 2'");
    site.expect_log("the source has its content again");
    site.write("new", "new");
    site.expect_on_nodes("new", "new");
    for file in ["dir 1/1", "dir 2/2", "dir 2/23", "dir 3/3", "0"] {
        site.assert_on_nodes(file, file.rsplit('/').next().unwrap());
    }
    shell(&site, "cp -a ../copy/. .");
    expect_reconciles(&site, reconciles / site.live().count() + 1);
    site.expect_identical();
    assert_eq!(site.troubles().len() - troubles, site.live().count(), "{}", site.troubles().join("\n"));
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn at_most_one_entry_is_deleted_before_the_source_is_found_to_be_empty() {
    // One entry each 20 ms, or so.
    let slowly = "for entry in *; do rm -r \"$entry\" && sleep 0.019; done";
    for (kind, command) in
        [(Kind::Tmpfs, "rm -rf *"), (Kind::Ext4, "rm -rf *"), (Kind::Ext4, "find -delete"), (Kind::Tmpfs, slowly)]
    {
        let mut site = Site::on(&[Local]);
        if !site.source_on(kind) {
            continue;
        }
        let site = large(site);
        let (before, lines) = (mirrors(&site), site.log_lines().len());
        shell(&site, command);
        expect_at_rest(&site, "held");
        assert!(wait::until(|| site.own_rsyncs().is_empty().then_some(())).is_some(), "{:?}", site.own_rsyncs());
        let is_kept = lost(&site, &before) <= 1 || have_pause(&whole_log(&site)[lines..], 100);
        assert!(is_kept, "{} {command}: {} deleted", kind.name(), lost(&site, &before));
        assert!(before.iter().all(|tree| tree.len() > 2000));
    }
}

#[test]
fn what_stays_deleted_when_the_source_is_filled_again_is_deleted_at_the_nodes_in_the_end() {
    let mut site = large(Site::on(&[Local]));
    shell(&site, "rm -rf *");
    expect_held(&site, "empty");
    site.write("new", "new");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_stop_while_the_source_is_empty_deletes_nothing() {
    let mut site = large(Site::on(&[Local]));
    // As in `empty`.
    let is_untouched = (0..10).any(|_| {
        let (before, lines) = (mirrors(&site), site.log_lines().len());
        shell(&site, "rm -rf *");
        // At once: the removals have not waited for a pause yet.
        let ended = site.stop();
        assert_eq!(ended.code, Some(75));
        let is_untouched = mirrors(&site) == before;
        if !is_untouched {
            let log: Vec<String> = ended.log.lines().skip(lines).map(str::to_owned).collect();
            assert!(lost(&site, &before) == 1 || have_pause(&log, 1000), "something was deleted:\n{}", ended.log);
            shell(&site, "cp -a ../copy/. .");
            site.start_with(&["-v"]);
            site.expect_identical();
            site.expect_compared();
            expect_at_rest(&site, "idle");
        }
        is_untouched
    });
    assert!(is_untouched, "something was deleted, again and again");
}

#[test]
fn a_source_that_is_empty_at_the_start_deletes_nothing_until_it_has_content() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.stop();
    shell(&site, "rm seed");
    for option in ["once", "dry-run", "check"] {
        let ended = site.run(&[option]);
        assert_eq!(ended.code, Some(69), "{option}");
        assert!((ended.log + &ended.stdout).contains("allow_empty: true"), "{option}");
    }
    site.start();
    expect_held(&site, "empty");
    site.assert_on_nodes("seed", "seed");
    site.write("new", "new");
    site.expect_on_nodes("new", "new");
    site.assert_on_nodes("seed", "seed");
    site.expect_identical();
}

#[test]
fn a_source_that_may_be_empty_is_mirrored_empty() {
    let mut site = Site::on(&[Local]);
    site.config("allow_empty: true");
    site.start_mirrored();
    shell(&site, "rm seed");
    site.expect_gone("seed");
    assert_eq!(site.stop().code, Some(0));
    plant(&site.mirror(Local).join("extra"), "too many");
    assert_eq!(site.run(&["once"]).code, Some(0));
    site.expect_identical();
}

#[test]
fn a_restored_directory_in_the_place_of_an_emptied_one_is_mirrored_by_the_same_process() {
    let mut site = large(Site::on(&[Local]));
    empty(&site);
    std::fs::write(site.beside("copy/newer"), "newer").unwrap();
    shell(&site, "mv ../source ../emptied && mv ../copy ../source");
    site.expect_log("mirroring that one");
    site.write("live", "live");
    site.expect_on_nodes("live", "live");
    site.assert_on_nodes("dir 1/1", "1");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn without_its_marker_the_source_is_not_taken_for_complete() {
    let mut site = Site::new();
    site.config("marker: \"dir/.complete\"");
    site.mkdir("dir");
    assert_eq!(site.run(&["once"]).code, Some(69));
    site.write("dir/.complete", "");
    site.write("dir/file", "x");
    site.start_mirrored();
    site.rename("dir/.complete", "../aside");
    site.remove("dir/file");
    site.write("meanwhile", "x");
    expect_held(&site, "`dir/.complete`");
    site.assert_on_nodes("dir/file", "x");
    site.assert_on_nodes("dir/.complete", "");
    site.rename("../aside", "dir/.complete");
    site.expect_on_nodes("meanwhile", "x");
    site.expect_identical();
}

#[test]
fn a_reconcile_that_would_delete_too_much_is_held_and_live_changes_go_on() {
    let mut site = Site::new();
    for node in site.live() {
        (0..30).for_each(|n| plant(&site.mirror(node).join(format!("dir {}/{n}", n % 3)), "extra"));
    }
    site.config("max_delete: 32");
    site.start();
    for node in site.live() {
        let name = site.name(node);
        let name = if name.is_empty() { "local" } else { &name };
        site.expect_log_line(&[name, "reconcile held: it would delete 33 entries, more than max_delete (32)", "dir "]);
    }
    site.write("live", "x");
    site.expect_on_nodes("live", "x");
    site.remove("live");
    site.expect_gone("live");
    (0..30).for_each(|n| site.assert_on_nodes(format!("dir {}/{n}", n % 3), "extra"));
    assert_eq!(site.troubles().len(), 3, "{}", site.troubles().join("\n"));
    assert_eq!(site.stop().code, Some(75));
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(75));
    assert!(ended.log.contains("it would delete 33 entries, more than max_delete (32)"), "{}", ended.log);
    site.assert_on_nodes("dir 1/1", "extra");
    site.forget_config();
    site.config("max_delete: 33");
    site.start_mirrored();
}

#[test]
fn a_reconcile_that_is_held_is_made_when_a_reload_allows_more() {
    let mut site = Site::new();
    for node in site.live() {
        (0..5).for_each(|n| plant(&site.mirror(node).join(format!("extra {n}")), "extra"));
    }
    site.config("max_delete: 3");
    site.start();
    site.expect_log("reconcile held");
    site.config("max_delete: 30");
    site.reload();
    // The next try by itself comes after 45 s at the earliest.
    let soon = Duration::from_secs(30);
    let all = site.live().count();
    assert!(wait::until_within(soon, || (reconciles(&site) == all).then_some(())).is_some(), "it is not tried at once");
    site.expect_identical();
}

#[test]
fn a_node_that_is_down_from_the_start_is_reconciled_in_spite_of_a_reload() {
    let mut site = Site::with_servers_down(&[Ssh]);
    site.write("file", "there before");
    plant(&site.mirror(Ssh).join("extra"), "too much");
    site.start();
    site.expect_log("node failing");
    site.config("bulk_size: 3");
    site.reload();
    site.start_servers();
    site.expect_identical();
}

#[test]
fn one_removal_is_mirrored_within_a_moment() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    // As long as this machine takes for it now.
    let timed = |change: &dyn Fn(), is_done: &dyn Fn(&std::path::Path) -> bool| {
        let (start, file) = (std::time::Instant::now(), site.mirror(Local).join("file"));
        change();
        assert!(wait::until(|| is_done(&file).then_some(())).is_some());
        start.elapsed().as_millis()
    };
    let (mut sent, mut removed) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        sent.push(timed(&|| site.write("file", "x"), &|file| file.exists()));
        site.settle();
        removed.push(timed(&|| site.remove("file"), &|file| !file.exists()));
    }
    [&mut sent, &mut removed].iter_mut().for_each(|times| times.sort_unstable());
    println!("milliseconds from rm to its mirror: {removed:?}; of a new file: {sent:?}");
    assert!(removed[10] < 1000.max(sent[10] * 5), "{removed:?} {sent:?}");
}
