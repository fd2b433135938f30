//! A node that takes names for one that differ in upper and lower case alone keeps what the source has: whatever is deleted there,
//! an entry that goes with it by such a name comes again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::disk::Kind;
use crate::support::{self, Local, Site, wait};

/// Larger than what is sent whatever its size and time say.
const LARGE: usize = 400_000;

/// The files below a directory, by their paths.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ => {
                    let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    files.extend(fs::read(entry.path()).ok().map(|content| (path, content)));
                }
            }
        }
    }
    files
}

/// The node has each file of the source, and no other. It may spell their names in the case that they had before: FUSE
/// remembers an entry for a second.
#[track_caller]
fn expect_same_files(site: &Site) {
    let listed = |root: &Path| {
        let files = files(root).into_iter();
        files.map(|(path, content)| (path.to_lowercase(), content)).collect::<BTreeMap<_, _>>()
    };
    let both = || (listed(&site.source()), listed(&site.mirror(Local)));
    let are_same = || {
        let (source, mirror) = both();
        (source == mirror).then_some(())
    };
    if wait::until(are_same).is_none() {
        let names = |files: BTreeMap<String, Vec<u8>>| files.into_keys().collect::<Vec<_>>();
        let (source, mirror) = both();
        site.fail(&format!("the node has {:?} of {:?}", names(mirror), names(source)));
    }
}

/// A site of which the local node is such a file system.
fn site(kind: Kind) -> Option<Site> {
    let mut site = Site::on(&[Local]);
    if !site.mirror_on(Local, kind) {
        return None;
    }
    site.config(&format!("extra: {:?}", kind.extra()));
    site.config("dir_moves: Replicate");
    Some(site)
}

fn large(letter: u8) -> Vec<u8> {
    vec![letter; LARGE]
}

#[test]
fn a_rename_of_case_alone_loses_neither_a_file_nor_a_directory() {
    for kind in Kind::IGNORES_CASE {
        let Some(mut site) = site(kind) else { continue };
        site.mkdir("Album/Deep");
        for (path, content) in
            [("Album/one", large(b'1')), ("Album/Deep/two", b"2".to_vec()), ("Readme.TXT", b"r".to_vec())]
        {
            site.write(path, content);
        }
        site.write("Photo.JPG", vec![b'p'; 30_000]);
        site.write("Film.MOV", large(b'f'));
        site.start();
        expect_same_files(&site);
        site.settle();
        for (from, to) in [
            ("Readme.TXT", "README.txt"),
            ("Photo.JPG", "photo.jpg"),
            ("Film.MOV", "film.mov"),
            ("Album", "album"),
            ("album/Deep", "album/deep"),
            ("film.mov", "Film.MOV"),
            ("album", "ALBUM"),
        ] {
            site.rename(from, to);
            site.settle();
            expect_same_files(&site);
        }
        assert_eq!(site.troubles(), Vec::<String>::new());
        site.expect_log_line(&["learned of the node", "names that differ in upper and lower case alone are one"]);
        let status = site.ask(&["status"]).stdout;
        assert!(
            status.contains("\n  limit there: names that differ in upper and lower case alone are one\n"),
            "{status}"
        );
    }
}

#[test]
fn a_rename_of_case_alone_says_nothing_of_a_node_that_tells_names_apart() {
    for (from, to) in [("NAME", "name"), ("Photo.JPG", "photo.jpg")] {
        let mut site = Site::on(&[Local]);
        site.write(from, "content");
        site.start();
        site.expect_on_nodes(from, "content");
        site.rename(from, to);
        site.expect_gone(from);
        site.settle();
        site.expect_on_nodes(to, "content");
        assert!(!site.log_lines().iter().any(|line| line.contains("learned of the node")));
        let status = site.ask(&["status"]).stdout;
        assert!(!status.contains("limit there"), "{status}");
    }
}

#[test]
fn of_two_names_that_are_one_entry_there_the_one_that_stays_is_sent_again() {
    for kind in Kind::IGNORES_CASE {
        let Some(mut site) = site(kind) else { continue };
        site.mkdir("Docs");
        site.mkdir("docs/sub");
        for (path, content) in [("name", "lower"), ("docs/a", "a"), ("docs/sub/b", "b")] {
            site.write(path, content);
        }
        site.start();
        site.settle();
        site.write("NAME", "UPPER");
        site.write("Docs/A", "A");
        site.settle();
        for path in ["NAME", "Docs/A"] {
            site.remove(path);
            site.settle();
        }
        site.expect_on_nodes("name", "lower");
        site.expect_on_nodes("docs/a", "a");
        // An empty directory, and on the node all that the other one has.
        site.remove("Docs");
        expect_same_files(&site);
        site.expect_state(Local, "idle");
        assert_eq!(site.troubles(), Vec::<String>::new());
    }
}

#[test]
fn what_a_comparison_deletes_by_another_name_comes_again() {
    for kind in Kind::IGNORES_CASE {
        let Some(mut site) = site(kind) else { continue };
        for dir in ["docs/sub", "other"] {
            site.mkdir(dir);
        }
        for (path, content) in [("docs/a", large(b'a')), ("docs/sub/b", b"b".to_vec()), ("other/c", b"c".to_vec())] {
            site.write(path, content);
        }
        site.start();
        expect_same_files(&site);
        // New directories are compared with all below them.
        for (from, to) in [("other", "DOCS"), ("DOCS", "Docs")] {
            site.rename(from, to);
            site.settle();
            for path in ["docs/a", "docs/sub/b", &format!("{to}/c")] {
                let content = fs::read_to_string(site.at(path)).unwrap();
                site.expect_on_nodes(path, &content);
            }
        }
        site.expect_state(Local, "idle");
    }
}

/// How a run of the daemon ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
    /// And the next one compares everything.
    WithoutState,
}

#[test]
fn a_rename_of_case_alone_while_the_daemon_is_down_loses_nothing() {
    let kind = Kind::Ntfs;
    let Some(mut site) = site(kind) else { return };
    site.mkdir("Album/Deep");
    site.write("Album/one", large(b'1'));
    site.write("Album/Deep/two", "2");
    site.write("name", "n");
    site.start();
    expect_same_files(&site);
    site.settle();
    // Somebody lists the mirror: FUSE remembers what it has by each of the names, also when it is deleted by the other one.
    let is_over = Arc::new(AtomicBool::new(false));
    let looks = {
        let (mirror, is_over) = (site.mirror(Local), is_over.clone());
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for dir in ["Album", "album"] {
                    let _ = fs::metadata(mirror.join(dir).join("Deep/two"));
                }
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let mut names = [("Album", "album"), ("name", "NAME")];
    for end in [End::Stop, End::Kill, End::WithoutState] {
        match end {
            End::Stop | End::WithoutState => _ = site.stop(),
            End::Kill => _ = site.crash(),
        }
        if end == End::WithoutState {
            fs::remove_dir_all(site.beside("state")).unwrap();
        }
        for (from, to) in &mut names {
            site.rename(&from, &to);
            std::mem::swap(from, to);
        }
        site.start();
        site.settle();
        site.expect_state(Local, "idle");
        expect_same_files(&site);
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(looks.join().is_ok());
}

/// An rsync whose second question about names waits until a file is there. Returns that file, and how often was asked.
fn slow_to_confirm(site: &mut Site) -> (PathBuf, impl Fn() -> usize + use<>) {
    let (program, asked, go) = (site.beside("slow-rsync"), site.beside("asked"), site.beside("go"));
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' --delete-missing-args '*' --dry-run '*)\nprintf x >> {asked}\n\
         [ \"$(cat {asked})\" = x ] || until [ -e {go} ]; do sleep 0.05; done ;;\nesac\nexec /usr/bin/rsync \"$@\"\n",
        asked = asked.display(),
        go = go.display()
    );
    support::program(&program, &script);
    site.config(&format!("rsync: {program:?}"));
    (go, move || fs::read(&asked).map_or(0, |bytes| bytes.len()))
}

#[test]
fn a_node_is_asked_once_before_the_first_removal_and_confirms_its_answer_after_it() {
    let mut site = Site::on(&[Local]);
    let (go, asked) = slow_to_confirm(&mut site);
    for file in ["file", "other", "third"] {
        site.write(file, "x");
    }
    site.start();
    site.expect_log_line(&["reconciled"]);
    assert_eq!(asked(), 0, "nothing was removed yet");
    site.remove("file");
    site.expect_gone("file");
    assert!(wait::until(|| (asked() == 2).then_some(())).is_some(), "the node was asked {} times", asked());
    fs::write(&go, "").unwrap();
    // The removal counts as mirrored once the answer is there.
    assert_eq!(site.ask(&["wait"]).code, Some(0));
    site.settle();
    assert_eq!(asked(), 2, "what is known is not asked again");
}
