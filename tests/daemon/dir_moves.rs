//! Directories that are moved with `dir_moves: Replicate`: the nodes have them at their new names, and not at the old ones.

mod alike;
mod excludes;
mod trouble;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::{Local, Site, Ssh, wait};

/// A site whose nodes follow directory moves.
fn site() -> Site {
    let mut site = Site::new();
    site.config("dir_moves: Replicate");
    site
}

/// A directory with files of sizes that are linked and of such that are not, and one of each other thing.
fn plant(site: &Site, dir: &str) {
    site.mkdir(format!("{dir}/deep/er"));
    site.mkdir(format!("{dir}/empty"));
    for n in 0..10 {
        site.write(format!("{dir}/deep/{n}"), format!("{dir} {n}\n").repeat(100 * n));
    }
    site.write(format!("{dir}/deep/er/file"), format!("{dir}\n").repeat(10_000));
    site.write(format!("{dir}/script"), "#!/bin/sh\n");
    site.chmod(format!("{dir}/script"), 0o755);
    site.chmod(format!("{dir}/deep"), 0o2750);
    site.symlink(format!("{dir}/link"), "deep/er");
}

#[track_caller]
fn expect_done(site: &Site) {
    site.expect_identical();
    site.settle();
    site.expect_identical();
    let lines = site.log_lines();
    let failed: Vec<_> = lines.iter().filter(|line| is_trouble(line)).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// What goes while it is sent, under whoever writes there, is tried again and told as INFO.
fn is_trouble(line: &str) -> bool {
    line.contains(" ERRO ") || line.contains(" WARN ") && line.contains("some paths failed")
}

/// The nodes say of this move what it cost.
#[track_caller]
fn expect_told(site: &Site, from: &str, to: &str) {
    let line = site.expect_log_line(&["mirrored", "bytes", &format!("from: {from}"), &format!("to: {to}")]);
    assert!(!line.contains("not mirrored") && !line.contains("Log"), "{line}");
}

#[test]
fn a_directory_that_left_the_tree_just_before_a_stop_is_gone_at_the_nodes() {
    let mut site = site();
    plant(&site, "dir");
    site.start_mirrored();
    fs::rename(site.at("dir"), site.beside("outside")).unwrap();
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site.live().for_each(|node| assert!(!site.mirror(node).join("dir").exists(), "{node}: {}", ended.log));
}

#[test]
fn a_directory_that_is_renamed_is_renamed_on_the_nodes_and_the_log_says_so() {
    let mut site = site();
    plant(&site, "old");
    site.start_mirrored();
    site.rename("old", "new");
    expect_done(&site);
    expect_told(&site, "old", "new");
    site.write("new/deep/er/later", "watched at its new name");
    site.remove("new/deep/3");
    expect_done(&site);
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_directory_goes_into_another_one_and_into_one_just_made() {
    let mut site = site();
    plant(&site, "a");
    plant(&site, "b");
    site.mkdir("into");
    site.start_mirrored();
    site.rename("a", "into/a");
    site.mkdir("made/just/now");
    site.rename("b", "made/just/now/b");
    expect_done(&site);
    site.rename("into/a", "a");
    site.rename("made/just/now/b", "b");
    site.remove("made");
    expect_done(&site);
}

#[test]
fn a_chain_of_moves_at_once_ends_at_the_last_name() {
    let mut site = site();
    plant(&site, "a");
    plant(&site, "round");
    site.mkdir("into");
    site.start_mirrored();
    for pair in ["a", "b", "into/c", "0"].windows(2) {
        site.rename(pair[0], pair[1]);
    }
    for pair in ["round", "there", "into/there", "round"].windows(2) {
        site.rename(pair[0], pair[1]);
    }
    expect_done(&site);
}

#[test]
fn directories_swap_their_names_by_three_renames_and_by_one() {
    let mut site = site();
    ["a", "b", "c", "d"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    site.rename("a", "third");
    site.rename("b", "a");
    site.rename("third", "b");
    expect_done(&site);
    renameat_with(CWD, site.at("c"), CWD, site.at("d"), RenameFlags::EXCHANGE).unwrap();
    expect_done(&site);
}

#[test]
fn releases_that_take_turns_are_told_apart_by_content_alone() {
    let mut site = site();
    let release = |site: &Site, dir: &str, word: &str| {
        site.mkdir(format!("{dir}/bin"));
        for (file, lines) in [("small", 10), ("medium", 2_000), ("bin/large", 30_000)] {
            site.write(format!("{dir}/{file}"), format!("{word}\n").repeat(lines));
            site.touch(format!("{dir}/{file}"), Duration::from_secs(1_000_000_000));
        }
    };
    release(&site, "previous", "release 0");
    release(&site, "current", "release 1");
    release(&site, "new", "release 2");
    site.start_mirrored();
    for round in 3..6 {
        site.remove("previous");
        site.rename("current", "previous");
        site.rename("new", "current");
        release(&site, "new", &format!("release {round}"));
        if round % 2 == 0 {
            site.expect_identical();
        }
    }
    expect_done(&site);
}

#[test]
fn a_symlink_that_differs_in_its_time_alone_keeps_it_when_a_directory_takes_the_place_of_another() {
    let mut site = site();
    ["current", "new"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    site.rename("current", "previous");
    site.rename("new", "current");
    expect_done(&site);
}

#[test]
fn a_directory_may_take_the_place_of_an_empty_one() {
    let mut site = site();
    plant(&site, "a");
    plant(&site, "b");
    site.mkdir("empty");
    site.mkdir("dir/emptied");
    site.write("dir/emptied/file", "x");
    site.start_mirrored();
    site.rename("a", "empty");
    site.remove("dir/emptied/file");
    site.rename("b", "dir/emptied");
    expect_done(&site);
}

#[test]
fn files_below_that_are_being_written_arrive_whole() {
    let mut site = site();
    plant(&site, "a");
    site.start_mirrored();
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (over, written, source) = (&over, &written, site.source());
    let mut held = OpenOptions::new().append(true).open(site.at("a/deep/9")).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                held.write_all(format!("by who holds it {n}\n").repeat(50).as_bytes()).unwrap();
                // Wherever the directory is now.
                for dir in ["a", "b"] {
                    let _ =
                        fs::write(source.join(format!("{dir}/deep/{}", n % 9)), format!("written {n}\n").repeat(900));
                }
                written.store(n, Ordering::SeqCst);
                // The pace of whoever writes.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let expect_writes = |more: u64| {
            let before = written.load(Ordering::SeqCst);
            wait::until(|| (written.load(Ordering::SeqCst) >= before + more).then_some(())).unwrap();
        };
        for _ in 0..10 {
            site.rename("a", "b");
            expect_writes(40);
            site.rename("b", "a");
            expect_writes(20);
        }
        site.rename("a", "b");
        expect_writes(60);
        over.store(true, Ordering::SeqCst);
    });
    expect_done(&site);
}

#[test]
fn what_follows_a_move_at_once_arrives() {
    let mut site = site();
    ["a", "b", "c", "d"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    site.rename("a", "new a");
    site.write("new a/deep/5", "written");
    site.remove("new a/deep/6");
    site.rename("new a/deep/7", "new a/7");
    site.rename("new a/deep/er", "new a/deep/deepest");
    site.rename("b", "new b");
    site.remove("new b");
    site.rename("c", "new c");
    site.write("c", "a file at the old name");
    site.rename("d", "new d");
    site.mkdir("d/deep");
    site.write("d/deep/5", "another directory at the old name");
    site.chmod("new d", 0o700);
    expect_done(&site);
}

#[test]
fn what_came_just_before_a_move_goes_along() {
    let mut site = site();
    ["a", "b"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    (0..50).for_each(|n| site.write(format!("a/deep/new {n}"), format!("{n}\n").repeat(3_000)));
    site.remove("a/deep/5");
    site.rename("a/deep/6", "b/6");
    site.rename("b/deep/7", "a/7");
    site.rename("a", "new a");
    site.remove("b/deep");
    site.rename("b", "new b");
    expect_done(&site);
}

#[test]
fn a_directory_that_leaves_the_tree_leaves_the_nodes_and_one_that_comes_in_arrives() {
    let mut site = site();
    ["out", "back", "deep/er/out"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    fs::rename(site.at("out"), site.beside("outside")).unwrap();
    site.expect_gone("out");
    fs::rename(site.at("deep/er/out"), site.beside("outside too")).unwrap();
    expect_done(&site);
    fs::rename(site.beside("outside"), site.at("in")).unwrap();
    expect_done(&site);
    // At once, so that the nodes may still have it.
    fs::rename(site.at("back"), site.beside("for a moment")).unwrap();
    fs::rename(site.beside("for a moment"), site.at("back under another name")).unwrap();
    fs::rename(site.beside("outside too"), site.at("deep/er/out")).unwrap();
    expect_done(&site);
    site.write("in/deep/later", "watched");
    site.write("back under another name/deep/later", "watched");
    expect_done(&site);
}

#[test]
fn moves_within_moves_end_where_the_source_has_them() {
    let mut site = site();
    ["a/x", "b/y", "e/f/g", "h"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    site.rename("a/x", "b/x");
    site.rename("a", "c");
    site.rename("b/y", "c/y");
    site.rename("b", "c/b");
    // The inner one comes out, and the outer one goes into it.
    site.rename("e/f/g", "g");
    site.rename("e", "g/e");
    // A file of one that moves, into another one that moves.
    site.rename("h/deep/er/file", "g/file");
    site.rename("h", "g/e/h");
    expect_done(&site);
}

#[test]
fn names_that_mean_something_to_programs_are_moved_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let odd: [&[u8]; 10] =
        [b"*", b"[x]", b"new\nline", b"back\\slash", b"#x", b"-n", b"\xff\xfe", b"$(id)`id`", b"a b", b"?"];
    let odd = odd.map(std::ffi::OsStr::from_bytes);
    let mut site = site();
    for (n, name) in odd.iter().enumerate() {
        plant(&site, &n.to_string());
        plant(&site, &format!("{n} to come"));
        fs::rename(site.at(format!("{n} to come")), site.at(name)).unwrap();
    }
    site.start_mirrored();
    for (n, name) in odd.iter().enumerate() {
        site.rename(name, format!("was odd {n}"));
    }
    site.expect_identical();
    odd.iter().enumerate().for_each(|(n, name)| site.rename(n.to_string(), name));
    expect_done(&site);
    odd.windows(2).for_each(|pair| site.rename(pair[0], site.at(pair[1]).join("below")));
    expect_done(&site);
}

#[test]
fn a_directory_that_was_moved_while_the_daemon_was_down_is_at_its_new_name_after_the_start() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config("dir_moves: Replicate");
    ["a", "b"].iter().for_each(|dir| plant(&site, dir));
    site.start_mirrored();
    site.rename("a", "moved before");
    assert_eq!(site.stop().code, Some(0));
    site.rename("moved before", "b/a");
    site.rename("b", "c");
    site.start_mirrored();
    site.rename("c/a", "a");
    expect_done(&site);
}
