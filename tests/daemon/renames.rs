//! Files that are renamed, of a size for which the nodes link what they have: whatever happens besides, the nodes end up
//! with the names, contents and attributes of the source.

mod staging;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::{Local, Site, wait};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Content of this size that tells where it comes from.
fn content(word: &[u8], size: usize) -> Vec<u8> {
    word.iter().chain(b"\n").copied().cycle().take(size).collect()
}

fn fill(site: &Site, path: impl AsRef<Path>, size: usize) {
    site.write(&path, content(path.as_ref().as_os_str().as_bytes(), size));
}

/// Files that differ in nothing but their content.
fn fill_alike(site: &Site, paths: &[impl AsRef<Path>], size: usize) {
    for path in paths {
        fill(site, path, size);
        site.touch(path, Duration::new(1_000_000_000, 0));
    }
}

/// No node has a file of ours.
fn assert_no_traces(site: &Site) {
    for node in site.live() {
        let tree = crate::support::tree::read(&site.mirror(node), |_| false);
        let ours = |path: &&Vec<u8>| path.windows(7).any(|part| part == b"inosync");
        if let Some(path) = tree.keys().find(ours) {
            site.fail(&format!("{} is left on {node}", path.escape_ascii()));
        }
    }
}

#[track_caller]
fn expect_done(site: &Site) {
    site.expect_identical();
    site.settle();
    site.expect_identical();
    assert_no_traces(site);
}

#[test]
fn a_file_renamed_over_one_of_the_same_size_and_time_keeps_its_own_content() {
    let mut site = Site::new();
    site.config("bulk_size: 1");
    site.mkdir("dir");
    let pairs = [("a1", "b1"), ("b2", "a2"), ("c", "dir/c"), ("dir/e", "e"), ("f", "dir/g")];
    for (size, word) in [(5 * KIB, "small"), (200 * KIB, "medium"), (3 * MIB, "large")] {
        for (from, to) in pairs {
            fill_alike(&site, &[&format!("{from}.{word}"), &format!("{to}.{word}")], size);
        }
    }
    site.start_mirrored();
    for word in ["small", "medium", "large"] {
        for (from, to) in pairs {
            site.rename(format!("{from}.{word}"), format!("{to}.{word}"));
        }
    }
    expect_done(&site);
}

#[test]
fn files_that_swap_their_names_by_three_renames_are_told_apart() {
    let mut site = Site::new();
    site.mkdir("dir");
    fill_alike(&site, &["a", "b", "dir/c", "d"], 6 * KIB);
    fill(&site, "e", 7 * KIB);
    fill(&site, "dir/f", 9 * KIB);
    site.start_mirrored();
    for (one, other) in [("a", "b"), ("dir/c", "d"), ("e", "dir/f")] {
        site.rename(one, "third");
        site.rename(other, one);
        site.rename("third", other);
    }
    expect_done(&site);
}

#[test]
fn files_that_are_exchanged_at_once_are_told_apart() {
    let mut site = Site::new();
    site.mkdir("dir");
    for (size, word) in [(6 * KIB, "small"), (200 * KIB, "large")] {
        fill_alike(&site, &["a", "b", "c", "dir/d"].map(|name| format!("{name}.{word}")), size);
    }
    site.start_mirrored();
    for word in ["small", "large"] {
        for (one, other) in [("a", "b"), ("c", "dir/d"), ("b", "dir/d")] {
            let [one, other] = [one, other].map(|name| site.at(format!("{name}.{word}")));
            renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
        }
    }
    expect_done(&site);
}

#[test]
fn files_that_go_round_in_a_circle_are_told_apart() {
    let mut site = Site::new();
    let names = ["a", "b", "c", "d", "e"];
    fill_alike(&site, &names, 6 * KIB);
    site.start_mirrored();
    for _ in 0..3 {
        site.rename("e", "third");
        for pair in names.windows(2).rev() {
            site.rename(pair[0], pair[1]);
        }
        site.rename("third", "a");
        site.expect_identical();
    }
    expect_done(&site);
}

#[test]
fn a_log_that_is_rotated_while_others_write_to_it_arrives() {
    let mut site = Site::new();
    for name in ["log", "log.1", "log.2"] {
        fill(&site, name, 300 * KIB);
    }
    site.start_mirrored();
    for round in 0..6 {
        let mut held = File::options().append(true).open(site.at("log")).unwrap();
        site.rename("log.2", "log.3");
        site.rename("log.1", "log.2");
        site.rename("log", "log.1");
        site.write("log", format!("round {round}"));
        held.write_all(b"written by one who still has the old log").unwrap();
        if round % 2 == 0 {
            site.expect_identical();
        }
    }
    expect_done(&site);
}

#[test]
fn a_new_file_at_the_old_name_is_told_from_the_renamed_one() {
    let mut site = Site::new();
    site.config("bulk_size: 1");
    let sizes = [(5 * KIB, "small"), (200 * KIB, "medium"), (3 * MIB, "large")];
    sizes.iter().for_each(|(size, name)| fill_alike(&site, &[name], *size));
    site.start_mirrored();
    for (size, name) in sizes {
        site.rename(name, format!("{name}.1"));
        // Nothing but its content and mode tells it from the file that the node has at this name.
        site.write(name, content(b"another", size));
        site.touch(name, Duration::new(1_000_000_000, 0));
        site.chmod(name, 0o600);
    }
    expect_done(&site);
}

#[test]
fn what_follows_a_rename_at_once_arrives() {
    let mut site = Site::new();
    let words = ["written", "appended", "deleted", "chmod", "touched", "back", "symlink", "directory"];
    words.iter().for_each(|word| fill(&site, word, 20 * KIB));
    site.start_mirrored();
    for word in words {
        site.rename(word, format!("new {word}"));
    }
    fill(&site, "new written", 20 * KIB);
    site.append("new appended", "more");
    site.remove("new deleted");
    site.chmod("new chmod", 0o600);
    site.touch("new touched", Duration::new(1_100_000_000, 7));
    site.rename("new back", "back");
    site.symlink("symlink", "new symlink");
    site.mkdir("directory/deep");
    site.rename("new directory", "directory/deep/file");
    expect_done(&site);
}

#[test]
fn a_file_that_is_renamed_while_it_is_written_arrives_whole() {
    let mut site = Site::new();
    site.mkdir("dir");
    fill(&site, "new", 10 * KIB);
    fill(&site, "old", 10 * KIB);
    site.start_mirrored();
    let writer = |path: PathBuf| {
        thread::spawn(move || {
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            (0..300).for_each(|n| {
                file.write_all(&content(n.to_string().as_bytes(), 300)).unwrap();
                thread::sleep(Duration::from_millis(1));
            });
        })
    };
    let writers = [writer(site.at("old")), writer(site.at("begun"))];
    assert!(wait::until(|| site.at("begun").exists().then_some(())).is_some());
    for n in 0..20 {
        let names = |n: usize| (format!("dir/{n}"), format!("begun {n}"));
        let (from, to) = (if n == 0 { ("old".to_owned(), "begun".to_owned()) } else { names(n - 1) }, names(n));
        site.rename(from.0, to.0);
        site.rename(from.1, to.1);
        thread::sleep(Duration::from_millis(13));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    expect_done(&site);
}

#[test]
fn a_chain_of_renames_at_once_ends_at_its_last_name() {
    let mut site = Site::new();
    ["a", "z", "round"].iter().for_each(|name| fill(&site, name, 50 * KIB));
    site.mkdir("dir");
    site.start_mirrored();
    for chain in [["a", "b", "dir/c", "d"], ["z", "dir/y", "x", "dir/w"], ["round", "there", "dir/there", "round"]] {
        chain.windows(2).for_each(|pair| site.rename(pair[0], pair[1]));
    }
    expect_done(&site);
}

#[test]
fn a_renamed_file_that_the_node_lacks_or_has_otherwise_arrives_all_the_same() {
    let mut site = Site::new();
    ["lacking", "shorter", "a directory"].iter().for_each(|name| fill(&site, name, 50 * KIB));
    site.start_mirrored();
    for node in site.live() {
        let mirror = site.mirror(node);
        fs::remove_file(mirror.join("lacking")).unwrap();
        fs::write(mirror.join("shorter"), "of the node").unwrap();
        fs::remove_file(mirror.join("a directory")).unwrap();
        fs::create_dir(mirror.join("a directory")).unwrap();
    }
    for name in ["lacking", "shorter", "a directory"] {
        site.rename(name, format!("new {name}"));
    }
    expect_done(&site);
}

#[test]
fn files_renamed_while_a_node_is_down_have_their_new_names_when_it_is_back() {
    let mut site = Site::new();
    site.mkdir("dir");
    (0..20).for_each(|n| fill(&site, n.to_string(), 20 * KIB));
    fill_alike(&site, &["one", "other"], 20 * KIB);
    site.start_mirrored();
    site.stop_servers();
    for n in 0..20 {
        site.rename(n.to_string(), format!("dir/{n}"));
        site.rename(format!("dir/{n}"), format!("dir/new {n}"));
    }
    site.rename("one", "third");
    site.rename("other", "one");
    site.rename("third", "other");
    site.expect_on_node(Local, "seed", "seed");
    site.start_servers();
    expect_done(&site);
}

#[test]
fn files_renamed_into_directories_just_made_arrive() {
    let mut site = Site::new();
    (0..10).for_each(|n| fill(&site, n.to_string(), 20 * KIB));
    site.start_mirrored();
    for n in 0..10 {
        site.mkdir(format!("new/{}/deep", n % 3));
        site.rename(n.to_string(), format!("new/{}/deep/{n}", n % 3));
    }
    site.chmod("new/1", 0o711);
    site.touch("new/2/deep", Duration::from_secs(1_000_000_000));
    expect_done(&site);
}

#[test]
fn the_atomic_save_of_small_and_large_files_arrives() {
    let mut site = Site::new();
    let sizes = [("small", 6 * KIB), ("large", 20 * MIB)];
    sizes.iter().for_each(|(name, size)| fill(&site, name, *size));
    site.start_mirrored();
    for round in 0..4 {
        for (name, size) in sizes {
            site.write(format!("{name}.tmp"), content(format!("{name} {round}").as_bytes(), size));
            site.rename(format!("{name}.tmp"), name);
        }
        if round % 2 == 0 {
            site.expect_identical();
        }
    }
    expect_done(&site);
}

#[test]
fn files_of_odd_names_are_renamed_to_odd_names() {
    const NAMES: [&[u8]; 16] = [
        b"new\nline",
        b"#x",
        b";x",
        b"*",
        b"a*b",
        b"[x]",
        b"?",
        b" ",
        b"-dash",
        b"back\\slash",
        b"\\#012",
        b"\xff\xfe not utf-8",
        b"a|b|c",
        b"hf+++++++++|1|0|x",
        b"$(id) `id`",
        &[b'n'; 255],
    ];
    let path = |directory: &str, name: &[u8]| Path::new(directory).join(OsStr::from_bytes(name));
    let mut site = Site::new();
    for (name, second) in NAMES.iter().zip(1_000_000_000..) {
        fill(&site, path("", name), 6 * KIB);
        site.touch(path("", name), Duration::from_secs(second));
    }
    site.mkdir("sub * [x]");
    site.start_mirrored();
    NAMES.iter().for_each(|name| site.rename(path("", name), path("sub * [x]", name)));
    site.expect_identical();
    let mut spare = b"spare".as_slice();
    for name in NAMES {
        site.rename(path("sub * [x]", name), path("sub * [x]", spare));
        spare = name;
    }
    expect_done(&site);
}

#[test]
fn a_rename_across_the_border_of_exclusion_links_nothing_that_is_excluded() {
    let mut site = Site::new();
    site.config(r#"rexcludes: ["*.own", "/cache/"]"#);
    site.compare_without(|path| path.ends_with(b".own") || path.starts_with(b"cache"));
    site.mkdir("cache");
    ["a", "b", "c.own", "cache/d"].iter().for_each(|name| fill(&site, name, 20 * KIB));
    for node in site.live() {
        // Of the node: no rename may take them for the source's.
        crate::support::plant(&site.mirror(node).join("c.own"), "the node's");
        crate::support::plant(&site.mirror(node).join("cache/d"), "the node's");
    }
    site.start_mirrored();
    site.rename("a", "a.own");
    site.rename("b", "cache/b");
    site.rename("c.own", "c");
    site.rename("cache/d", "d");
    site.rename("a.own", "back");
    site.expect_identical();
    site.settle();
    site.assert_on_nodes("c.own", "the node's");
    site.assert_on_nodes("cache/d", "the node's");
    site.assert_absent("a.own");
    site.assert_absent("cache/b");
    assert_no_traces(&site);
}

#[test]
fn names_of_one_file_are_renamed_each_for_itself() {
    let mut site = Site::new();
    fill(&site, "one", 20 * KIB);
    ["two", "three", "four"].iter().for_each(|name| site.hard_link("one", name));
    site.start_mirrored();
    site.rename("one", "uno");
    site.rename("two", "three");
    site.rename("four", "a four");
    site.expect_identical();
    site.remove("uno");
    site.write("one", "another file");
    expect_done(&site);
}

#[test]
fn a_file_replaces_what_is_of_another_type_and_the_other_way_round() {
    let mut site = Site::new();
    site.mkdir("dir/deep");
    site.write("dir/deep/file", "x");
    site.symlink("link", "dir");
    ["one", "other", "gone", "left"].iter().for_each(|name| fill(&site, name, 20 * KIB));
    site.start_mirrored();
    site.remove("dir");
    site.rename("one", "dir");
    site.rename("other", "link");
    site.rename("gone", "moved");
    site.mkdir("gone/deep");
    site.rename("moved", "gone/deep/file");
    site.rename("left", "left, renamed");
    site.symlink("left", "gone");
    expect_done(&site);
}

#[test]
fn where_rsync_writes_in_place_no_file_is_written_through_another() {
    let mut site = Site::new();
    site.config("extra: \"--inplace\"");
    fill(&site, "log", 300 * KIB);
    fill_alike(&site, &["a", "b"], 20 * KIB);
    site.start_mirrored();
    for round in 0..4 {
        site.rename("log", "log.1");
        site.write("log", content(format!("round {round}").as_bytes(), 300 * KIB));
        site.rename("a", "third");
        site.rename("b", "a");
        site.rename("third", "b");
        site.append("a", "more");
        site.expect_identical();
    }
    expect_done(&site);
}
