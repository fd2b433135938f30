//! A symlink that somebody plants at the node, in the place of a directory, redirects nothing that is written or deleted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::shell;
use crate::support::{Local, Node, Rsyncd, Site, Ssh, program, tree, wait};

/// Where the planted symlink leads.
#[derive(Clone, Copy)]
enum To {
    Outside,
    Inside,
}

/// A mirrored site, of which the directory `d` was replaced at the node by a symlink to a copy of it.
struct Planted {
    site: Site,
    /// What the symlink leads to, as the node has it.
    victim: PathBuf,
    before: tree::Tree,
}

fn read(dir: &Path) -> tree::Tree {
    tree::read(dir, |_| false)
}

impl Planted {
    fn new(node: Node, to: To) -> Self {
        let mut site = Site::on(&[node]);
        // The second start is to compare everything.
        site.config("state_dir: \"\"");
        Planted::at(site, node, to)
    }

    fn at(mut site: Site, node: Node, to: To) -> Self {
        if node == Rsyncd {
            site.module_option("use chroot = no");
        }
        site.mkdir("d/sub/deep");
        for file in ["d/file", "d/gone", "d/sub/gone", "d/sub/deep/gone"] {
            site.write(file, "precious");
        }
        if matches!(to, To::Inside) {
            shell(&site, "cp -a d victim");
        }
        site.start_mirrored();
        // What was written just before the start is sent once more.
        site.settle();
        let mirror = site.mirror(node);
        let (victim, target) = match to {
            To::Outside => (site.beside("victim"), site.beside("victim")),
            To::Inside => (mirror.join("victim"), PathBuf::from("victim")),
        };
        match to {
            To::Outside => fs::rename(mirror.join("d"), &victim).unwrap(),
            To::Inside => fs::remove_dir_all(mirror.join("d")).unwrap(),
        }
        symlink(target, mirror.join("d")).unwrap();
        let before = read(&victim);
        assert!(before.len() >= 7, "{before:?}");
        Planted { site, victim, before }
    }

    /// The change was mirrored, and what the symlink leads to is as it was.
    #[track_caller]
    fn expect_untouched(&self) {
        self.site.settle();
        let after = read(&self.victim);
        if after != self.before {
            self.site.fail(&format!("{:?} is now {after:?}", self.before));
        }
    }

    #[track_caller]
    fn expect_repaired(mut self) {
        self.expect_untouched();
        self.site.stop();
        self.site.start_mirrored();
        self.expect_untouched();
        assert_eq!(self.site.stop().code, Some(0));
    }
}

fn on_every_node(to: To, change: impl Fn(&Site)) {
    for node in [Local, Ssh, Rsyncd] {
        let planted = Planted::new(node, to);
        change(&planted.site);
        planted.expect_repaired();
    }
}

#[track_caller]
fn redirects_nothing(change: impl Fn(&Site)) {
    on_every_node(To::Outside, &change);
    on_every_node(To::Inside, &change);
}

#[test]
fn a_planted_symlink_does_not_redirect_what_is_written() {
    redirects_nothing(|site| {
        site.write("d/file", "new");
        site.write("d/sub/deep/new", "new");
    });
}

#[test]
fn a_planted_symlink_does_not_redirect_what_is_deleted() {
    redirects_nothing(|site| {
        site.remove("d/gone");
        site.remove("d/sub/gone");
        site.remove("d/sub/deep");
    });
}

#[test]
fn a_planted_symlink_does_not_redirect_the_removal_of_its_directory() {
    redirects_nothing(|site| site.remove("d"));
}

/// The same of a rename, by a link at the node, which takes a state.
fn redirects_no_rename(from: &str, to_name: &str) {
    for node in [Local, Ssh, Rsyncd] {
        for to in [To::Outside, To::Inside] {
            let mut site = Site::on(&[node]);
            site.config("dir_moves: Replicate");
            site.mkdir("other");
            site.write("other/file", "other");
            let planted = Planted::at(site, node, to);
            planted.site.rename(from, to_name);
            planted.expect_untouched();
        }
    }
}

#[test]
fn a_planted_symlink_does_not_redirect_a_file_that_is_renamed() {
    for (from, to) in [("d/file", "d/sub/renamed"), ("d/sub/gone", "out"), ("other/file", "d/in")] {
        redirects_no_rename(from, to);
    }
}

#[test]
fn a_planted_symlink_does_not_redirect_a_directory_that_is_moved() {
    for (from, to) in [("d/sub", "d/moved"), ("d/sub/deep", "out"), ("other", "d/in"), ("d", "e")] {
        redirects_no_rename(from, to);
    }
}

/// An rsync that loses the directory `d` of the source when it has got the list of a removal, and before it looks at that: once,
/// after `lose` is there.
fn loses_the_directory(site: &mut Site) {
    let (path, lose) = (site.beside("rsync"), site.beside("lose"));
    let script = format!(
        "#!/bin/bash\n\
         case \"$*\" in *--dry-run*) ;; *--delete-missing-args*)\n\
         until read -t 0; do sleep 0.01; done\n\
         if [ -e {lose} ]; then rm -r {source}/d && mv {lose} {lose}.done; fi;; esac\n\
         exec rsync \"$@\"\n",
        lose = lose.display(),
        source = site.source().display()
    );
    program(&path, &script);
    site.config(&format!("rsync: {path:?}"));
    // A confined one may change nothing in the source.
    site.config("confine: false");
}

#[test]
fn a_planted_symlink_does_not_redirect_a_removal_whose_directory_goes_before_rsync_looks() {
    for node in [Local, Ssh, Rsyncd] {
        for to in [To::Outside, To::Inside] {
            let mut site = Site::on(&[node]);
            loses_the_directory(&mut site);
            site.mkdir("other");
            site.write("other/gone", "removed at the same time");
            let planted = Planted::at(site, node, to);
            fs::write(planted.site.beside("lose"), "").unwrap();
            planted.site.remove("d/file");
            planted.site.remove("other/gone");
            let is_lost = wait::until(|| planted.site.beside("lose.done").exists().then_some(()));
            assert!(is_lost.is_some(), "{}", planted.site.log_lines().join("\n"));
            planted.site.expect_gone("d");
            planted.site.expect_gone("other/gone");
            planted.expect_repaired();
        }
    }
}

#[test]
fn a_planted_symlink_does_not_redirect_a_comparison() {
    redirects_nothing(|site| {
        site.mkdir("d/sub/new/dir");
        site.write("d/sub/new/dir/file", "new");
        // A directory that is made anew is compared, and what it lacks is deleted.
        site.remove("d/sub/deep");
        site.mkdir("d/sub/deep");
        site.write("d/sub/deep/new", "new");
    });
}

#[test]
fn a_planted_symlink_does_not_redirect_a_reconcile() {
    redirects_nothing(|site| {
        site.write("d/file", "new");
        site.remove("d/gone");
        shell(site, "mv ../source ../aside && mv ../aside ../source");
        site.expect_log("the source is back");
    });
}
