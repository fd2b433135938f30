//! What happens to a file, a directory or a symlink in the source happens on three nodes: local, ssh, rsync daemon.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::{Local, Site};

#[test]
fn created_overwritten_and_appended_files_arrive() {
    let mut site = Site::new();
    site.start_mirrored();
    site.write("new", "one");
    site.expect_identical();
    site.write("new", "quite another");
    site.expect_identical();
    site.append("new", " and more");
    site.expect_identical();
    site.write("empty", "");
    site.expect_identical();
}

#[test]
fn a_truncated_file_is_truncated_on_the_nodes() {
    let mut site = Site::new();
    site.write("by handle", "0123456789");
    site.write("by path", "0123456789");
    site.start_mirrored();
    OpenOptions::new().write(true).open(site.at("by handle")).and_then(|file| file.set_len(4)).unwrap();
    site.expect_identical();
    // truncate(2) opens nothing, so no IN_CLOSE_WRITE follows its IN_MODIFY.
    let truncate = ["-e", "truncate($ARGV[0], 4) or die $!"];
    assert!(Command::new("perl").args(truncate).arg(site.at("by path")).status().unwrap().success());
    site.expect_identical();
}

#[test]
fn modes_and_times_arrive_without_a_change_of_content() {
    let mut site = Site::new();
    site.mkdir("dir");
    site.write("file", "same");
    site.start_mirrored();
    site.chmod("file", 0o600);
    site.chmod("dir", 0o2750);
    site.expect_identical();
    site.touch("file", Duration::new(1_000_000_000, 123_456_789));
    site.touch("dir", Duration::new(1_100_000_000, 1));
    site.expect_identical();
}

#[test]
fn the_mode_of_the_root_itself_arrives() {
    let mut site = Site::new();
    site.start_mirrored();
    site.chmod("", 0o750);
    site.expect_identical();
}

#[test]
fn a_rewrite_of_the_same_size_within_the_same_second_arrives() {
    let mut site = Site::new();
    site.write("file", "aaa");
    site.touch("file", Duration::new(1_500_000_000, 100));
    site.start_mirrored();
    site.write("file", "bbb");
    site.touch("file", Duration::new(1_500_000_000, 200));
    site.expect_identical();
    site.expect_on_nodes("file", "bbb");
}

#[test]
fn deleted_files_and_trees_vanish() {
    let mut site = Site::new();
    site.write("file", "x");
    site.mkdir("tree/with/depth");
    site.write("tree/with/depth/file", "x");
    site.write("tree/file", "x");
    site.symlink("tree/link", "file");
    site.start_mirrored();
    site.remove("file");
    site.expect_identical();
    site.remove("tree");
    site.expect_identical();
}

#[test]
fn a_new_tree_arrives_with_its_content_at_once() {
    let mut site = Site::new();
    site.start_mirrored();
    for round in 0..5 {
        site.mkdir(format!("{round}/a/b/c"));
        site.write(format!("{round}/a/b/c/file"), "deep");
        site.write(format!("{round}/a/file"), "less deep");
        site.symlink(format!("{round}/a/b/link"), "c/file");
    }
    site.expect_identical();
    site.write("3/a/b/c/file", "and watched from now on");
    site.expect_identical();
}

#[test]
fn a_tree_that_is_deleted_and_made_again_is_the_new_one() {
    let mut site = Site::new();
    site.start_mirrored();
    for round in 0..20 {
        site.mkdir("tree/sub");
        site.write("tree/sub/file", format!("round {round}"));
        site.write(format!("tree/sub/{round}"), "only in this round");
        if round < 19 {
            site.remove("tree");
        }
    }
    site.expect_identical();
}

#[test]
fn any_type_replaces_any_other() {
    const TYPES: [&str; 4] = ["file", "directory", "symlink", "symlink to a directory"];
    let mut site = Site::new();
    site.mkdir("target");
    site.write("target/stays", "never touched through a symlink");
    let make = |site: &Site, path: &str, kind: &str| match kind {
        "file" => site.write(path, format!("file {path}")),
        "symlink" => site.symlink(path, "seed"),
        "symlink to a directory" => site.symlink(path, "target"),
        _ => {
            site.mkdir(format!("{path}/below"));
            site.write(format!("{path}/below/child"), "x");
        }
    };
    let pairs: Vec<_> = TYPES.iter().flat_map(|from| TYPES.iter().map(move |to| (from, to))).collect();
    for (from, to) in &pairs {
        make(&site, &format!("{from} to {to}"), from);
    }
    site.start_mirrored();
    for (from, to) in &pairs {
        let path = format!("{from} to {to}");
        site.remove(&path);
        make(&site, &path, to);
    }
    site.expect_identical();
    site.assert_on_nodes("target/stays", "never touched through a symlink");
}

#[test]
fn renamed_files_follow() {
    let mut site = Site::new();
    site.mkdir("one");
    site.mkdir("two");
    for path in ["within", "one/between", "over", "one/over between"] {
        site.write(path, path);
    }
    site.write("taken", "replaced");
    site.write("two/taken", "replaced");
    site.start_mirrored();
    site.rename("within", "within, renamed");
    site.rename("one/between", "two/between");
    site.rename("over", "taken");
    site.rename("one/over between", "two/taken");
    site.expect_identical();
}

#[test]
fn files_of_the_same_size_and_time_that_swap_their_names_are_told_apart() {
    let mut site = Site::new();
    for path in ["a", "b"] {
        site.write(path, path);
        site.touch(path, Duration::new(1_000_000_000, 0));
    }
    site.start_mirrored();
    site.rename("a", "swap");
    site.rename("b", "a");
    site.rename("swap", "b");
    site.expect_identical();
}

#[test]
fn the_save_of_an_editor_arrives() {
    let mut site = Site::new();
    site.write("page", "first");
    site.start_mirrored();
    for round in 0..20 {
        site.write(".page.swp", format!("round {round}"));
        site.rename("page", "page~");
        site.rename(".page.swp", "page");
        site.remove("page~");
    }
    site.expect_identical();
    site.expect_on_nodes("page", "round 19");
}

#[test]
fn a_hard_link_arrives_as_a_file() {
    let mut site = Site::new();
    site.write("file", "linked");
    site.start_mirrored();
    site.hard_link("file", "link");
    site.expect_identical();
    site.remove("file");
    site.expect_identical();
}

#[test]
fn symlinks_arrive_as_they_are_and_are_never_followed() {
    let mut site = Site::new();
    site.mkdir("real");
    site.write("real/file", "x");
    let outside = site.beside("outside");
    std::fs::create_dir(&outside).unwrap();
    site.start_mirrored();
    site.symlink("dangling", "no/such/file");
    site.symlink("to a directory", "real");
    site.symlink("absolute", "/nowhere/at/all");
    site.symlink("out of the tree", outside.to_str().unwrap());
    site.symlink("real/up", "..");
    site.expect_identical();
    std::fs::write(outside.join("file"), "not in the tree").unwrap();
    site.remove("to a directory");
    site.remove("dangling");
    site.symlink("dangling", "another/target");
    site.expect_identical();
    site.assert_on_nodes("real/file", "x");
}

#[test]
fn a_log_held_open_arrives_while_it_grows() {
    let mut site = Site::new();
    site.start_mirrored();
    let mut log = File::create(site.at("app.log")).unwrap();
    for line in 0..3 {
        writeln!(log, "line {line}").unwrap();
        site.expect_identical();
    }
}

#[test]
fn a_file_that_is_written_again_and_again_ends_right() {
    let mut site = Site::new();
    site.start_mirrored();
    for round in 0..300 {
        site.write("busy", format!("round {round:03}"));
        site.write(format!("side {}", round % 7), format!("{round}"));
    }
    site.expect_identical();
}

#[test]
fn a_burst_of_many_files_arrives() {
    let mut site = Site::new();
    site.start_mirrored();
    for n in 0..3000 {
        site.mkdir(format!("d{}", n % 30));
        site.write(format!("d{}/{n}", n % 30), n.to_string());
    }
    site.expect_identical();
    (0..30).for_each(|n| site.remove(format!("d{n}")));
    site.expect_identical();
}

#[test]
fn one_file_deleted_among_many_siblings_is_one_path_sent() {
    let mut site = Site::on(&[Local]);
    site.mkdir("crowd");
    (0..20_000).for_each(|n| site.write(format!("crowd/{n}"), ""));
    site.start_mirrored();
    site.settle();
    // What both changes came to is in the log then, in whatever order.
    site.expect_state(Local, "idle");
    let before = paths_sent(&site.log_lines());
    site.remove("crowd/7777");
    site.expect_identical();
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let lines: Vec<String> = ended.log.lines().map(str::to_owned).collect();
    assert_eq!(paths_sent(&lines) - before, 1, "{}", ended.log);
}

/// The sum of what the lines of finished batches say.
fn paths_sent(log: &[String]) -> usize {
    let batches = log.iter().filter(|line| line.contains("mirrored"));
    let counts = batches.filter_map(|line| line.split_once("paths: "));
    let digits = counts.filter_map(|(_, count)| count.split(|c: char| !c.is_ascii_digit()).next());
    digits.filter_map(|count| count.parse::<usize>().ok()).sum()
}
