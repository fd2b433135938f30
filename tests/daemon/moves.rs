//! Directory moves in the default mode: logged by the supervisor, not acted upon, and nothing is lost by them.

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
