//! File systems come and go, at the root and below it. Mounting takes root: where it is forbidden, these tests say so
//! and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{expect_held, expect_reconciles, mirrors, shell};
use crate::support::{Local, Mount, Site};

/// A file system in a file, on a block device that keeps its number.
struct Disk(String);

impl Disk {
    fn new(file: &Path) -> Option<Disk> {
        std::fs::File::create(file).unwrap().set_len(8 << 20).unwrap();
        let run = |command: &mut Command| command.output().ok().filter(|output| output.status.success());
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(file))
            .and_then(|_| run(Command::new("losetup").args(["--find", "--show"]).arg(file)));
        if made.is_none() {
            println!("not tested, no loop devices here");
        }
        Some(Disk(String::from_utf8_lossy(&made?.stdout).trim().to_owned()))
    }

    fn mount(&self, at: &Path) -> Option<Mount> {
        Mount::new(&[&self.0], at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).output();
    }
}

/// A directory beside the source, with one file in it.
fn beside(site: &Site, name: &str) -> PathBuf {
    let dir = site.beside(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("mounted"), name).unwrap();
    dir
}

/// The daemon loses track of everything and compares the whole tree.
fn force_reconcile(site: &Site) {
    let before = site.log_lines().iter().filter(|line| line.contains("reconciled")).count();
    shell(site, "mv ../source ../aside && mv ../aside ../source");
    expect_reconciles(site, before / site.live().count() + 1);
}

#[test]
fn an_unmounted_root_is_held_and_followed_when_it_is_mounted_again() {
    let mut site = Site::new();
    let content = beside(&site, "content");
    let Some(mount) = Mount::bind(&content, &site.source()) else { return };
    site.start_mirrored();
    let before = mirrors(&site);
    drop(mount);
    site.expect_log("the source was moved, deleted or unmounted");
    std::fs::remove_file(site.source().join("seed")).unwrap();
    assert!(mirrors(&site) == before);
    std::fs::write(content.join("meanwhile"), "x").unwrap();
    let _mount = Mount::bind(&content, &site.source());
    site.expect_on_nodes("meanwhile", "x");
    site.write("live", "x");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_source_on_a_file_system_of_its_own_is_followed_everywhere_when_that_is_mounted_again() {
    let mut site = Site::on(&[Local]);
    let Some(disk) = Disk::new(&site.beside("disk")) else { return };
    let Some(mount) = disk.mount(&site.source()) else { return };
    shell(&site, "rmdir lost+found && mkdir -p d/sub && touch seed d/sub/file && echo x >d/file");
    // One that waits would keep the file system busy.
    site.config("standby: false");
    site.start_mirrored();
    // Each directory of it says that its file system is gone, not only the root.
    drop(mount);
    site.expect_log("the source was moved, deleted or unmounted");
    let Some(_mount) = disk.mount(&site.source()) else { return };
    site.expect_log_line(&["comparing again", "the source is back"]);
    expect_reconciles(&site, 2);
    site.remove("d/file");
    site.expect_gone("d/file");
    shell(&site, "rm -r d/sub");
    site.expect_gone("d/sub");
    site.expect_identical();
    let tells = |line: &&String| line.contains("a file system was unmounted");
    assert_eq!(site.log_lines().iter().find(tells), None);
    site.stop();
}

#[test]
fn a_file_system_that_is_mounted_late_over_an_empty_source_is_mirrored_by_the_same_process() {
    let mut site = Site::new();
    let content = beside(&site, "content");
    let mount = Mount::bind(&content, &site.source());
    if mount.is_none() {
        return;
    }
    site.start_mirrored();
    site.stop();
    let before = mirrors(&site);
    drop(mount);
    shell(&site, "rm seed");
    site.start();
    expect_held(&site, "empty");
    assert!(mirrors(&site) == before);
    let _mount = Mount::bind(&content, &site.source());
    site.expect_log("mirroring that one");
    std::fs::write(content.join("live"), "x").unwrap();
    site.expect_on_nodes("live", "x");
    site.assert_on_nodes("mounted", "content");
    expect_reconciles(&site, 1);
    site.expect_identical();
    site.remove("live");
    site.expect_gone("live");
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_nested_file_system_that_disappears_stays_at_the_nodes() {
    let mut site = Site::new();
    site.mkdir("d/m");
    site.write("d/m/under", "under");
    let Some(mount) = Mount::tmpfs(&site.at("d/m")) else { return };
    site.write("d/m/file", "x");
    site.mkdir("d/m/sub");
    site.write("d/m/sub/file", "x");
    site.start_mirrored();
    drop(mount);
    site.expect_log_line(&["a file system was unmounted", "d/m"]);
    site.settle();
    force_reconcile(&site);
    site.write("d/m/new", "new");
    site.expect_on_nodes("d/m/new", "new");
    for file in ["d/m/file", "d/m/sub/file"] {
        site.assert_on_nodes(file, "x");
    }
    let Some(_mount) = Mount::tmpfs(&site.at("d/m")) else { return };
    site.write("d/m/other", "other");
    site.expect_identical();
}

#[test]
fn a_bind_mount_that_comes_and_goes_is_watched_and_then_stays_at_the_nodes() {
    let mut site = Site::new();
    let content = beside(&site, "content");
    site.mkdir("d/m");
    site.start_mirrored();
    let Some(mount) = Mount::bind(&content, &site.at("d/m")) else { return };
    site.expect_on_nodes("d/m/mounted", "content");
    std::fs::create_dir(content.join("dir")).unwrap();
    std::fs::write(content.join("dir/live"), "x").unwrap();
    site.expect_on_nodes("d/m/dir/live", "x");
    site.expect_identical();
    drop(mount);
    site.expect_log_line(&["a file system was unmounted", "d/m"]);
    force_reconcile(&site);
    site.assert_on_nodes("d/m/mounted", "content");
    site.assert_on_nodes("d/m/dir/live", "x");
    site.remove("d/m");
    site.expect_gone("d/m");
    site.expect_identical();
}

#[test]
fn mounts_elsewhere_disturb_nobody() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    std::fs::create_dir(site.beside("elsewhere")).unwrap();
    drop(Mount::tmpfs(&site.beside("elsewhere")));
    site.settle();
    let about_mounts = |line: &&String| line.contains("unmounted") || line.contains("comparing again");
    assert_eq!(site.log_lines().iter().find(about_mounts), None);
}

#[test]
fn a_nested_file_system_that_is_missing_at_the_next_start_stays_at_the_nodes() {
    let mut site = Site::new();
    site.mkdir("d");
    let Some(mount) = Mount::tmpfs(&site.at("d")) else { return };
    site.write("d/mounted", "x");
    site.start_mirrored();
    assert_eq!(site.stop().code, Some(0));
    drop(mount);
    for crashes in [false, true] {
        site.start();
        site.expect_log("no file system is mounted where one was");
        site.write("d/under", format!("{crashes}"));
        site.expect_on_nodes("d/under", &format!("{crashes}"));
        site.assert_on_nodes("d/mounted", "x");
        if crashes {
            site.daemon().signal(rustix::process::Signal::KILL);
            site.wait();
        } else {
            site.stop();
        }
    }
    site.remove("d");
    site.start();
    site.expect_gone("d");
}

#[test]
fn a_root_that_is_unmounted_and_mounted_again_at_once_is_lost_once() {
    let mut site = Site::on(&[Local]);
    let Some(disk) = Disk::new(&site.beside("disk")) else { return };
    let Some(mount) = disk.mount(&site.source()) else { return };
    shell(&site, "rmdir lost+found && mkdir -p d/sub e && touch seed d/sub/file d/file");
    site.config("standby: false");
    site.start_mirrored();
    mount.end();
    let Some(_mount) = disk.mount(&site.source()) else { return };
    site.expect_log_line(&["comparing again", "the source is back"]);
    expect_reconciles(&site, 2);
    shell(&site, "rm d/file && rm -r d/sub && touch e/new");
    site.expect_on_nodes("e/new", "");
    site.expect_identical();
    let count = |words: &str| site.log_lines().iter().filter(|line| line.contains(words)).count();
    let told =
        ["the source was moved, deleted or unmounted", "the source is back", "a file system was unmounted"].map(count);
    assert_eq!(told, [1, 1, 0]);
}

/// An overlay, which has another device number each time.
fn overlay(site: &Site) -> Option<Mount> {
    for part in ["lower", "upper", "work"] {
        std::fs::create_dir_all(site.beside(part)).unwrap();
    }
    let [lower, upper, work] = ["lower", "upper", "work"].map(|part| site.beside(part).display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    Mount::new(&["-t", "overlay", "-o", &options, "overlay"], &site.source())
}

#[test]
fn a_source_that_comes_back_with_another_device_number_is_recognised() {
    use std::os::unix::fs::MetadataExt;
    let mut site = Site::on(&[Local]);
    let Some(mount) = overlay(&site) else { return };
    shell(&site, "mkdir -p d/sub && touch d/file d/sub/file keep");
    site.config("standby: false");
    site.start_mirrored();
    let number = || std::fs::metadata(site.source()).unwrap().dev();
    let before = number();
    mount.end();
    site.expect_log("the source was moved, deleted or unmounted");
    std::fs::remove_file(site.beside("upper/d/file")).unwrap();
    // One of them takes the number, others those that have been left meanwhile. Or a mount of another test has it by now.
    let mut taken = Vec::new();
    let takes_the_number = (0..20).any(|n| {
        let place = site.beside(&format!("taken {n}"));
        std::fs::create_dir(&place).unwrap();
        taken.extend(Mount::tmpfs(&place));
        std::fs::metadata(place).unwrap().dev() == before
    });
    println!("the number {before} is taken here: {takes_the_number}");
    let Some(_mount) = overlay(&site) else { return };
    assert_ne!(number(), before);
    site.expect_gone("d/file");
    shell(&site, "rm -r d/sub && touch new");
    site.expect_on_nodes("new", "");
    site.expect_identical();
}

#[test]
fn what_stands_at_two_names_is_mirrored_at_both_and_at_the_one_that_stays() {
    let mut site = Site::new();
    shell(&site, "mkdir -p data/deep jail && touch data/deep/f");
    site.start_mirrored();
    let Some(mount) = Mount::bind(&site.at("data"), &site.at("jail")) else { return };
    site.expect_on_nodes("jail/deep/f", "");
    for by in ["data", "jail"] {
        site.write(format!("{by}/deep/by-{by}"), "x");
        site.expect_on_nodes(format!("data/deep/by-{by}"), "x");
        site.expect_on_nodes(format!("jail/deep/by-{by}"), "x");
    }
    drop(mount);
    // It is in the source by its other name, so that nothing is hidden.
    site.expect_gone("jail/deep");
    site.write("data/deep/after", "x");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
}

#[test]
fn a_file_that_is_mounted_over_another_is_mirrored_and_then_the_other_again() {
    let mut site = Site::new();
    shell(&site, "mkdir d && printf under >d/f");
    std::fs::write(site.beside("over"), "over").unwrap();
    site.start_mirrored();
    let Some(mount) = Mount::bind(&site.beside("over"), &site.at("d/f")) else { return };
    site.expect_on_nodes("d/f", "over");
    std::fs::write(site.beside("over"), "changed").unwrap();
    site.expect_on_nodes("d/f", "changed");
    drop(mount);
    site.expect_on_nodes("d/f", "under");
    site.expect_identical();
    let tells = |line: &&String| line.contains("a file system was unmounted");
    assert_eq!(site.log_lines().iter().find(tells), None);
}
