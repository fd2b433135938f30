//! Removals that a node does not carry out at once: a second way is tried, and what the node refuses by its own filter need not be
//! removed there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::support::{Rsyncd, Site, plant};

/// The user nobody of Debian and most others.
const NOBODY: u32 = 65534;

/// A site whose node is written by a plain user.
fn plain() -> Option<Site> {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can let a node be written by another user");
        return None;
    }
    let site = Site::on(&[Rsyncd]);
    site.module_option("uid = nobody\ngid = nogroup");
    let mirror = site.mirror(Rsyncd);
    fs::create_dir_all(&mirror).unwrap();
    chown(mirror, Some(NOBODY), None).unwrap();
    Some(site)
}

/// A directory with content that nobody may change, by the modes of the directories.
fn release(site: &Site, path: &str) {
    site.mkdir(format!("{path}/sub"));
    site.write(format!("{path}/go.mod"), path);
    site.write(format!("{path}/sub/file"), path);
    [format!("{path}/go.mod"), format!("{path}/sub/file")].iter().for_each(|file| site.chmod(file, 0o444));
    [format!("{path}/sub"), path.to_owned()].iter().for_each(|dir| site.chmod(dir, 0o555));
}

fn is_kept(site: &Site, path: &str) -> bool {
    site.mirror(Rsyncd).join(path).symlink_metadata().is_ok()
}

#[test]
fn directories_that_nobody_may_write_are_removed_and_moved_at_the_node_of_a_plain_user() {
    let Some(mut site) = plain() else { return };
    site.config("dir_moves: Replicate");
    ["one", "two", "pkg/three", "pkg/four"].iter().for_each(|path| release(&site, path));
    site.start_mirrored();
    // Two at once in two parts of the tree: the mirror as a whole is not to blame.
    site.remove("one");
    site.remove("pkg/three");
    site.expect_identical();
    // The files have two names at the node for a while, and one mode.
    site.rename("two", "pkg/two");
    site.rename("pkg/four", "four");
    site.expect_identical();
    site.expect_state(Rsyncd, "idle");
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn the_second_way_deletes_nothing_but_what_was_removed() {
    let Some(mut site) = plain() else { return };
    site.config("rexcludes: [\"*.keep\"]");
    site.config("initial_sync: Update");
    ["pkg/gone", "pkg/gone too*[x]", "pkg/holds", "pkg/moved", "pkg/stays"]
        .iter()
        .for_each(|path| release(&site, path));
    site.start_mirrored();
    let mirror = site.mirror(Rsyncd);
    // What only the node has.
    fs::create_dir(mirror.join("pkg/foreign")).unwrap();
    plant(&mirror.join("pkg/foreign/file"), "x");
    fs::set_permissions(mirror.join("pkg/holds/sub"), fs::Permissions::from_mode(0o755)).unwrap();
    plant(&mirror.join("pkg/holds/sub/secret.keep"), "x");
    give(&mirror.join("pkg/foreign"));
    site.rename("pkg/moved", "pkg/moved again");
    site.settle();
    for path in ["pkg/gone", "pkg/gone too*[x]", "pkg/holds"] {
        site.remove(path);
        let path = if path == "pkg/holds" { "pkg/holds/go.mod" } else { path };
        site.expect_gone(path);
    }
    site.expect_state(Rsyncd, "idle");
    for path in ["pkg/foreign/file", "pkg/holds/sub/secret.keep", "pkg/moved/sub/file", "pkg/stays/sub/file"] {
        assert!(is_kept(&site, path), "{path} is gone");
    }
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), None).unwrap();
}

#[test]
fn what_the_filter_of_an_rsync_daemon_keeps_need_not_be_removed_there() {
    let mut site = Site::on(&[Rsyncd]);
    site.module_option("exclude = *.bak private");
    for path in ["a.bak", "private/file"] {
        plant(&site.mirror(Rsyncd).join(path), "of the node");
    }
    site.mkdir("private");
    for path in ["a.bak", "b.bak", "private/file", "plain"] {
        site.write(path, path);
    }
    site.start();
    site.expect_on_nodes("plain", "plain");
    site.settle();
    for path in ["a.bak", "b.bak", "private/file", "plain"] {
        site.remove(path);
    }
    site.expect_gone("plain");
    site.remove("private");
    site.settle();
    let status = site.expect_state(Rsyncd, "idle");
    assert_eq!((&status["pending"], &status["failing_paths"]), (&0.into(), &0.into()), "{status:#}");
    assert!(is_kept(&site, "a.bak") && is_kept(&site, "private/file"));
    let line = site.expect_log_line(&["WARN", "the node's rsync daemon excludes what was removed", "rexcludes"]);
    assert_eq!(site.log_lines().iter().filter(|other| **other == line).count(), 1);
}
