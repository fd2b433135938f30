//! Links to files, as the rsync before a relay makes them of what was moved there.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::change::NewNames;
use crate::root::arriving::Arriving;
use crate::watcher::linked::{LARGE, LINK_AT_LATEST, LINK_TIME};

/// A tree in which an rsync writes and new names wait, with the directory `d`, a large file `d/f` and a small one.
fn recognising() -> Option<Watched> {
    recognising_by(|arriving| arriving.note_rsync())
}

fn recognising_by(seen: impl FnOnce(&Arriving)) -> Option<Watched> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("root/d")).unwrap();
    fs::create_dir(dir.path().join("beside")).unwrap();
    let arriving = Arriving::default();
    seen(&arriving);
    let mut tree = Watched::arriving(dir, &["/left out"], |dirs| dirs.awaiting_names(arriving));
    fs::write(tree.at("d/f"), vec![7; LARGE as usize]).unwrap();
    fs::write(tree.at("d/small"), "small").unwrap();
    tree.later(QUIET_TIME);
    tree.observer.recognise();
    // On others every link is told at once.
    Root::of(&tree.at("")).unwrap().reach().has_lasting_inodes(&RelPath::root()).then_some(tree)
}

impl Watched {
    fn links(&self, from: &str, to: &str) {
        fs::hard_link(self.at(from), self.at(to)).unwrap();
    }

    /// The names that went and the new ones, if it is asked about them.
    fn asked(&mut self) -> Option<(Vec<String>, Vec<String>)> {
        for event in self.events() {
            self.observer.handle(event, self.now);
        }
        let found = self.observer.take().gone?;
        let names = |paths: Vec<RelPath>| paths.iter().map(ToString::to_string).collect();
        Some((names(found.gone), names(found.new)))
    }
}

#[test]
fn of_a_new_directory_each_entry_is_told_and_large_links_wait() {
    let Some(mut tree) = recognising() else { return };
    fs::create_dir_all(tree.at("n/e")).unwrap();
    for (from, to) in [("d/f", "n/f"), ("d/f", "n/e/g"), ("d/small", "n/small")] {
        tree.links(from, to);
    }
    fs::write(tree.at("n/new"), "new").unwrap();
    fs::create_dir(tree.at("left out")).unwrap();
    let mut told = tree.changes();
    told.sort();
    told.dedup();
    assert_eq!(told, ["made n/", "made n/e/", "subtree left out/", "written n/new", "written n/small"]);
    assert!(tree.later(LINK_TIME / 2).is_empty());
    assert_eq!(tree.later(LINK_TIME / 2), ["written n/e/g", "written n/f"]);
    // By an event, and not by a look.
    tree.links("d/f", "n/h");
    tree.links("d/small", "n/another");
    assert_eq!(tree.changes(), ["written n/another"]);
    assert_eq!(tree.later(LINK_TIME), ["written n/h"]);
}

#[test]
fn a_new_directory_is_told_as_a_whole_until_an_rsync_was_seen() {
    let Some(mut tree) = recognising_by(|_| ()) else { return };
    fs::create_dir(tree.at("n")).unwrap();
    assert_eq!(tree.changes(), ["subtree n/"]);
    tree.links("d/f", "n/f");
    for event in tree.events() {
        tree.observer.handle(event, tree.now);
    }
    assert_eq!(tree.observer.take().changes, [], "no removal waits for longer");
    assert_eq!(tree.later(LINK_TIME), ["touched n/f"]);
    tree.observer.await_names();
    fs::write(tree.at("d/.f.a1B2c3"), "content").unwrap();
    fs::rename(tree.at("d/.f.a1B2c3"), tree.at("d/g")).unwrap();
    tree.changes();
    fs::create_dir(tree.at("m")).unwrap();
    assert_eq!(tree.changes(), ["made m/"]);
}

#[test]
fn a_directory_into_which_another_one_was_moved_is_told_as_a_whole() {
    // Both are in the kernel's queue when the first event is handled.
    for (moves, expected) in [(false, "made n/"), (true, "subtree n/")] {
        let Some(mut tree) = recognising() else { return };
        fs::create_dir(tree.at("d/e")).unwrap();
        tree.changes();
        fs::create_dir(tree.at("n")).unwrap();
        for event in tree.events() {
            tree.observer.handle(event, tree.now);
        }
        tree.observer.take();
        if moves {
            fs::rename(tree.at("d/e"), tree.at("n/e")).unwrap();
        } else {
            fs::create_dir(tree.at("n/e")).unwrap();
        }
        let n = RelPath::new(b"n").unwrap();
        tree.observer.directory_made(n, Attached::Known, tree.now);
        let told: Vec<String> = tree.observer.take().changes.iter().map(Change::to_string).collect();
        assert_eq!(told[0], expected);
        assert_eq!(told.contains(&"made n/e/".to_owned()), !moves);
    }
}

#[test]
fn a_directory_out_of_which_one_was_moved_is_told_as_a_whole() {
    let Some(mut tree) = recognising() else { return };
    fs::create_dir_all(tree.at("n/e")).unwrap();
    tree.changes();
    fs::rename(tree.at("n/e"), tree.at("d/e")).unwrap();
    tree.observer.directory_made(RelPath::new(b"n").unwrap(), Attached::Known, tree.now);
    assert_eq!(tree.changes()[0], "subtree n/");
}

#[test]
fn a_link_whose_other_name_goes_is_asked_about_and_not_told_if_it_was_found() {
    let Some(mut tree) = recognising() else { return };
    fs::create_dir(tree.at("n")).unwrap();
    tree.links("d/f", "n/f");
    assert_eq!(tree.changes(), ["made n/"]);
    fs::remove_dir_all(tree.at("d")).unwrap();
    let (gone, new) = tree.asked().unwrap();
    assert!(gone.contains(&"d/f".to_owned()) && new == ["n/f"], "{gone:?} {new:?}");
    let now = tree.now;
    tree.observer.recognised(&[RelPath::new(b"n/f").unwrap()], now);
    assert!(tree.later(LINK_AT_LATEST).is_empty());
}

#[test]
fn it_is_told_while_links_wait_before_the_removals_that_come_then() {
    let Some(mut tree) = recognising() else { return };
    fs::remove_file(tree.at("d/small")).unwrap();
    tree.links("d/f", "f");
    tree.links("d/f", "kept");
    fs::remove_file(tree.at("d/f")).unwrap();
    for event in tree.events() {
        tree.observer.handle(event, tree.now);
    }
    let told = tree.observer.take().changes;
    assert_eq!(told.first(), Some(&Change::LinksWait(NewNames::Asked)), "{told:?}");
    let names = ["f", "kept"].map(|name| RelPath::new(name.as_bytes()).unwrap());
    tree.observer.recognised(&names, tree.now);
    assert_eq!(tree.observer.take().changes, [Change::LinksWait(NewNames::None)]);
    assert_eq!(tree.observer.take().changes, []);
}

#[test]
fn whatever_else_becomes_of_a_link_its_content_is_told_as_new() {
    type Deed = fn(&Watched);
    let deeds: [(Deed, &[&str]); 6] = [
        (
            |tree| fs::rename(tree.at("n/f"), tree.at("n/g")).unwrap(),
            &["removed n/f", "renamed n/f to n/g", "written n/g"],
        ),
        (|tree| fs::set_permissions(tree.at("n/f"), fs::Permissions::from_mode(0o600)).unwrap(), &["written n/f"]),
        (|tree| drop(OpenOptions::new().write(true).open(tree.at("n/f")).unwrap()), &["written n/f"]),
        (|tree| drop(OpenOptions::new().append(true).open(tree.at("n/f")).unwrap().write_all(b"x")), &["written n/f"]),
        (|tree| fs::remove_file(tree.at("n/f")).unwrap(), &["removed n/f"]),
        (|tree| std::os::unix::fs::symlink("n", tree.at("link")).unwrap(), &["written n/f", "touched link"]),
    ];
    for (number, (deed, expected)) in deeds.into_iter().enumerate() {
        let Some(mut tree) = recognising() else { return };
        fs::create_dir(tree.at("n")).unwrap();
        tree.links("d/f", "n/f");
        assert_eq!(tree.changes(), ["made n/"], "{number}");
        deed(&tree);
        assert_eq!(tree.changes(), expected, "{number}");
        assert!(tree.later(LINK_AT_LATEST).is_empty(), "{number}");
    }
}

#[test]
fn what_waits_below_a_directory_moves_goes_and_is_unsettled_with_it() {
    let Some(mut tree) = recognising() else { return };
    fs::create_dir(tree.at("n")).unwrap();
    tree.links("d/f", "n/f");
    assert_eq!(tree.changes(), ["made n/"]);
    fs::rename(tree.at("n"), tree.at("m")).unwrap();
    assert!(tree.changes().contains(&"moved n/ to m/".to_owned()));
    assert_eq!(tree.observer.files.unsettled(), [RelPath::new(b"m/f").unwrap()]);
    assert_eq!(tree.later(LINK_TIME), ["written m/f"]);
    tree.links("d/f", "m/g");
    assert!(tree.changes().is_empty());
    fs::remove_dir_all(tree.at("m")).unwrap();
    assert!(!tree.changes().is_empty());
    assert!(tree.observer.files.unsettled().is_empty());
}

#[test]
fn a_directory_with_too_much_in_it_is_told_as_a_whole() {
    let Some(mut tree) = recognising() else { return };
    fs::create_dir(tree.at("n")).unwrap();
    (0..2001).for_each(|number| drop(File::create(tree.at(&format!("n/{number}"))).unwrap()));
    assert_eq!(tree.changes()[0], "subtree n/");
}
