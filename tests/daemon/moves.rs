//! Directory moves in the default mode: logged by the supervisor, not acted upon, and nothing is lost by them.

use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::Site;

#[test]
fn a_moved_directory_stays_on_the_nodes_and_its_new_name_is_mirrored_from_then_on() {
    let mut site = Site::new();
    site.mkdir("old/deep");
    site.write("old/deep/file", "before");
    site.start_mirrored();
    site.rename("old", "new");
    let line = site.expect_log_line(&["moved", "old", "new"]);
    assert!(line.contains("not mirrored"), "{line}");
    site.write("new/deep/later", "after");
    site.expect_on_nodes("new/deep/later", "after");
    site.settle();
    site.assert_on_nodes("old/deep/file", "before");
}

#[test]
fn a_moved_directory_is_where_it_belongs_after_the_next_reconcile() {
    let mut site = Site::new();
    site.mkdir("old/deep");
    site.write("old/deep/file", "x");
    site.start_mirrored();
    site.rename("old", "new");
    site.expect_log_line(&["not mirrored (dir_moves: Log)", "from: old, to: new"]);
    site.stop();
    // Without the state of the last run everything is compared.
    site.config("state_dir: \"\"");
    site.start_mirrored();
}

#[test]
fn changes_before_the_move_are_not_taken_for_deletions() {
    let mut site = Site::new();
    site.mkdir("old/deep");
    site.write("old/deep/file", "before");
    site.start_mirrored();
    for n in 0..50 {
        site.write(format!("old/deep/{n}"), "changed, then moved away");
    }
    site.remove("old/deep/7");
    site.rename("old", "new");
    site.expect_log_line(&["moved", "old", "new"]);
    site.settle();
    site.assert_on_nodes("old/deep/file", "before");
}

#[test]
fn changes_follow_a_directory_that_is_moved_twice() {
    let mut site = Site::new();
    site.mkdir("a/deep");
    site.mkdir("below");
    site.write("a/deep/file", "x");
    site.start_mirrored();
    site.rename("a", "b");
    site.rename("b", "below/c");
    site.write("below/c/deep/file", "changed");
    site.expect_on_nodes("below/c/deep/file", "changed");
    site.settle();
    site.assert_on_nodes("a/deep/file", "x");
}

#[test]
fn a_directory_of_the_old_name_is_mirrored_as_a_new_one() {
    let mut site = Site::new();
    site.mkdir("release");
    site.write("release/file", "one");
    site.start_mirrored();
    site.rename("release", "previous");
    site.mkdir("release");
    site.write("release/file", "two");
    site.expect_on_nodes("release/file", "two");
    site.remove("release");
    site.expect_gone("release/file");
}

#[test]
fn a_directory_moved_in_from_outside_arrives_as_new() {
    let mut site = Site::new();
    let outside = site.beside("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    std::fs::write(outside.join("deep/file"), "x").unwrap();
    site.start_mirrored();
    std::fs::rename(&outside, site.at("inside")).unwrap();
    site.expect_identical();
    site.write("inside/deep/file", "watched");
    site.expect_identical();
}

#[test]
fn a_directory_moved_out_is_not_deleted_on_the_nodes() {
    let mut site = Site::new();
    site.mkdir("tree/deep");
    site.write("tree/deep/file", "x");
    site.start_mirrored();
    std::fs::rename(site.at("tree"), site.beside("outside")).unwrap();
    site.expect_log_line(&["moved", "tree"]);
    std::fs::write(site.beside("outside/deep/file"), "no business of ours").unwrap();
    site.settle();
    site.assert_on_nodes("tree/deep/file", "x");
}

#[test]
fn a_name_from_which_a_directory_was_moved_away_is_mirrored_when_it_exists_again() {
    let mut site = Site::new();
    site.mkdir("a/sub");
    site.write("a/sub/old", "x");
    site.start_mirrored();
    std::fs::rename(site.at("a/sub"), site.beside("taken")).unwrap();
    site.expect_log_line(&["moved", "a/sub"]);
    site.remove("a");
    site.settle();
    // The name comes back unseen, as a part of a directory that was prepared elsewhere.
    let prepared = site.beside("prepared");
    std::fs::create_dir_all(prepared.join("sub")).unwrap();
    std::fs::write(prepared.join("sub/new"), "y").unwrap();
    std::fs::rename(&prepared, site.at("a")).unwrap();
    site.expect_identical();
    site.remove("a/sub");
    site.expect_identical();
}

#[test]
fn a_source_named_by_a_symlink_that_is_pointed_elsewhere_sends_and_deletes_nothing() {
    let mut site = Site::on(&[crate::support::Local]);
    site.write("file", "precious");
    let (first, second) = (site.beside("first"), site.beside("second"));
    std::fs::rename(site.source(), &first).unwrap();
    std::fs::create_dir(&second).unwrap();
    std::os::unix::fs::symlink(&first, site.source()).unwrap();
    site.start();
    site.expect_on_nodes("file", "precious");
    std::fs::remove_file(site.source()).unwrap();
    std::os::unix::fs::symlink(&second, site.source()).unwrap();
    site.expect_log("ERRO");
    site.assert_on_nodes("file", "precious");
}

#[test]
fn what_has_the_name_of_a_moved_directory_arrives_even_if_both_change_places_at_once() {
    let mut site = Site::new();
    for dir in ["a", "b", "c", "d", "e/f"] {
        site.mkdir(dir);
        // Alike in size and time: the content alone tells them apart.
        site.write(format!("{dir}/file"), format!("in {:>3}", dir));
        site.touch(format!("{dir}/file"), Duration::from_secs(1_000_000_000));
    }
    site.write("one", "a file");
    site.write("two", "another file");
    site.symlink("link", "a");
    site.start_mirrored();
    // Each pair in both orders: the kernel tells the half of the first name first.
    for (first, second) in [("a", "b"), ("b", "one"), ("two", "c"), ("link", "d"), ("a", "e/f")] {
        renameat_with(CWD, site.at(first), CWD, site.at(second), RenameFlags::EXCHANGE).unwrap();
        site.settle();
        site.expect_identical();
    }
    // The node has all of it, so no move is missed.
    assert_eq!(site.ask(&["status"]).code, Some(0), "{:?}", site.troubles());
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

/// Links all files of one directory into another, which is new.
fn copy_by_links(site: &Site, from: &str, to: &str) {
    site.mkdir(to);
    for file in ["large", "small"] {
        site.hard_link(format!("{from}/{file}"), format!("{to}/{file}"));
    }
}

#[test]
fn a_copy_by_links_in_the_place_of_a_moved_directory_arrives_whole() {
    let ways: [fn(&Site, &str, &str); 5] = [
        |site, current, new| {
            site.rename(current, format!("{current} moved away"));
            copy_by_links(site, new, current);
        },
        |site, current, new| {
            site.remove(current);
            copy_by_links(site, new, current);
        },
        |site, current, new| {
            copy_by_links(site, new, &format!("{current} next"));
            site.rename(current, format!("{current} moved away"));
            site.rename(format!("{current} next"), current);
        },
        |site, current, new| {
            for file in ["large", "small"] {
                site.hard_link(format!("{new}/{file}"), format!("{current}/next"));
                site.rename(format!("{current}/next"), format!("{current}/{file}"));
            }
        },
        |site, current, new| {
            site.rename(current, format!("{current} moved away"));
            copy_by_links(site, new, &format!("{current} next"));
            site.remove(new);
            site.rename(format!("{current} next"), current);
        },
    ];
    let mut site = Site::new();
    let (current, new) = (|way: usize| format!("{way} current"), |way: usize| format!("{way} new"));
    // Alike in size and time: the content alone tells them apart.
    let content = |text: &str, size: usize| text.bytes().cycle().take(size).collect::<Vec<u8>>();
    for (dir, text) in (0..ways.len()).flat_map(|way| [(current(way), "old"), (new(way), "new")]) {
        site.mkdir(&dir);
        for (file, size) in [("large", 200 * 1024), ("small", 20 * 1024)] {
            let path = format!("{dir}/{file}");
            site.write(&path, content(text, size));
            site.touch(&path, Duration::from_secs(1_000_000_000));
        }
    }
    site.start_mirrored();
    site.settle();
    for (way, make) in ways.iter().enumerate() {
        make(&site, &current(way), &new(way));
        // What waits for other names to go is told by then.
        std::thread::sleep(Duration::from_millis(if way % 2 == 0 { 0 } else { 700 }));
        for (file, size) in [("large", 200 * 1024), ("small", 20 * 1024)] {
            let expected = String::from_utf8(content("new", size)).unwrap();
            site.expect_on_nodes(format!("{}/{file}", current(way)), &expected);
        }
    }
}

#[test]
fn a_symlink_is_switched_to_a_copy_by_links_when_that_has_arrived() {
    let mut site = Site::new();
    site.mkdir("releases/1");
    let content = "x".repeat(300_000);
    site.write("releases/1/large", &content);
    site.write("releases/1/small", "small");
    site.symlink("current", "releases/1");
    site.start_mirrored();
    site.settle();
    for release in 2..6 {
        copy_by_links(&site, "releases/1", &format!("releases/{release}"));
        site.symlink("next", &format!("releases/{release}"));
        site.rename("next", "current");
        let target = std::path::PathBuf::from(format!("releases/{release}"));
        for mirror in site.live().map(|node| site.mirror(node)) {
            let link = mirror.join("current");
            let is_switched = || std::fs::read_link(&link).ok().filter(|link| *link == target);
            assert!(crate::support::wait::until(is_switched).is_some());
            let size = link.join("large").metadata().map(|meta| meta.len()).ok();
            assert_eq!(size, Some(300_000), "{release} at {}", mirror.display());
        }
    }
    site.expect_identical();
}
