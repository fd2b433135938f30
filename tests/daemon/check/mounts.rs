//! `check` and the file systems that the source is on. Mounting takes root: where it is forbidden, these tests
//! say so and pass.

use std::process::Command;

use super::*;
use crate::support::disk::{Disk, Kind};
use crate::support::{Mount, Served, signal};

/// The lines that are about the source.
fn of_the_source(ended: &Ended) -> Vec<&str> {
    ended.stdout.lines().filter(|line| line.contains("source: ")).collect()
}

#[test]
fn of_a_source_on_an_ordinary_disk_nothing_but_its_size_is_told() {
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::Tmpfs] {
        let mut site = Site::on(&[Local]);
        if site.source_on(kind) {
            plant(&site.at("d/e/f"), "f");
            let ended = site.run(&["check", "--offline"]);
            let told = of_the_source(&ended);
            assert!(told.len() == 1 && told[0].contains("3 directories to watch"), "{kind:?}: {told:#?}");
        }
    }
}

#[test]
fn what_is_mounted_in_the_source_is_told_and_what_is_excluded_is_not() {
    let mut site = Site::on(&[Local]);
    plant(&site.at("data/f"), "f");
    site.write("conf", "conf");
    for dir in ["x", "m", "jail/proc"] {
        fs::create_dir_all(site.at(dir)).unwrap();
    }
    fs::write(site.beside("other"), "other").unwrap();
    let Some(_bound) = Mount::bind(&site.at("data"), &site.at("x")) else { return };
    let _file = Mount::bind(&site.beside("other"), &site.at("conf"));
    let _mounted = Mount::tmpfs(&site.at("m"));
    let _proc = Mount::new(&["-t", "proc", "proc"], &site.at("jail/proc"));
    site.config(r#"rexcludes: ["/jail/proc/"]"#);
    let ended = site.run(&["check"]);
    let source = site.source().canonicalize().unwrap();
    let path = |name: &str| source.join(name).display().to_string();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &[&format!("{} = {}", path("data"), path("x")), "one directory at two names"]);
    expect_line(&ended, &[&format!("{} (tmpfs", path("m")), "mounted in the source"]);
    expect_line(&ended, &[&format!("{} (", path("conf")), "a file that is mounted over another"]);
    expect_line(&ended, &["staging:", "files of the source can be linked there"]);
    assert!(!of_the_source(&ended).iter().any(|line| line.contains("proc")), "{}", ended.stdout);
    site.config(r#"rexcludes: ["/jail/proc/", "/x/", "/m/", "/conf"]"#);
    let ended = site.run(&["check"]);
    assert_eq!(of_the_source(&ended).len(), 1, "{}", ended.stdout);
    site.config(r#"rexcludes: ["/x/"]"#);
    let ended = site.run(&["check", "--offline"]);
    expect_line(&ended, &["warning: source:", &format!("{} (proc", path("jail/proc")), "exclude it by `rexcludes`"]);
}

#[test]
fn links_are_not_tried_with_a_file_that_is_mounted_in_the_source() {
    let site = Site::on(&[Local]);
    let Some(_bound) = Mount::bind(Path::new("/dev/null"), &site.at("seed")) else { return };
    let ended = site.run(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    expect_line(&ended, &["staging:", "not tried, the source has no file"]);
    expect_line(&ended, &["source:", "/seed (", "without content of its own: not watched"]);
}

#[test]
fn a_mirror_that_a_mount_shows_in_its_source_is_an_error_with_its_cure() {
    let mut site = Site::on(&[Local]);
    fs::create_dir_all(site.at("all")).unwrap();
    fs::create_dir_all(site.mirror(Local)).unwrap();
    let above = site.mirror(Local).parent().unwrap().to_owned();
    let name = site.mirror(Local).file_name().unwrap().to_str().unwrap().to_owned();
    let Some(_shown) = Mount::bind(&above, &site.at("all")) else { return };
    let ended = site.run(&["check", "--offline"]);
    assert_eq!(ended.code, Some(69), "{}", ended.stdout);
    let cure = format!("rexcludes: [\"/all/{name}/\"]");
    expect_line(&ended, &["error: source:", "mirrored into itself", &cure]);
    site.config(&cure);
    let ended = site.run(&["check", "--offline"]);
    assert!(!ended.stdout.contains("mirrored into itself"), "{}", ended.stdout);
}

#[test]
fn what_is_changed_past_a_fuse_file_system_is_found_by_the_comparison_that_the_check_wants() {
    let mut site = Site::on(&[Local]);
    let below = site.beside("below");
    plant(&below.join("f"), "first");
    fs::create_dir_all(site.at("m")).unwrap();
    let Some(_served) = Served::new(&below, &site.at("m")) else { return };
    let ended = site.run(&["check", "--offline"]);
    expect_line(&ended, &["warning: source:", "past a FUSE file system", "`resync_every: 600`"]);
    site.config("resync_every: 600");
    let ended = site.run(&["check", "--offline"]);
    assert!(!ended.stdout.contains("warning: source:"), "{}", ended.stdout);
    expect_line(&ended, &["until `resync_every` compares, after 600 s each time"]);
    site.start();
    site.expect_on_nodes("m/f", "first");
    plant(&below.join("f"), "second, and longer");
    // The same comparison, at once.
    assert_eq!(site.run(&["once"]).code, Some(0));
    site.expect_on_nodes("m/f", "second, and longer");
}

#[test]
fn a_file_system_that_does_not_answer_holds_up_no_check() {
    let mut site = Site::on(&[Local]);
    let below = site.beside("below");
    plant(&below.join("f"), "f");
    fs::create_dir_all(site.at("m")).unwrap();
    let Some(served) = Served::new(&below, &site.at("m")) else { return };
    // The patterns are looked for in the tree.
    site.config(r#"rexcludes: ["*.nothing"]"#);
    signal(served.server.id(), Signal::STOP);
    let ended = site.run(&["check", "--offline"]);
    assert_eq!(ended.code, Some(69), "{}", ended.stdout);
    expect_line(&ended, &["error: source:", "the file system at `m`", "does not answer", "umount -l"]);
    signal(served.server.id(), Signal::CONT);
    let ended = site.run(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    expect_line(&ended, &["note: rexcludes: `*.nothing` matches nothing"]);
}

#[test]
fn the_layers_of_an_overlay_and_the_subvolumes_of_a_btrfs_are_told() {
    let mut site = Site::on(&[Local]);
    if site.source_on(Kind::Overlay) {
        let ended = site.run(&["check", "--offline"]);
        expect_line(
            &ended,
            &["source:", "(overlay, lowerdir", "upperdir", "raises no event", "change it by this name"],
        );
    }
    let site = Site::on(&[Local]);
    let Some(disk) = Disk::mount(Kind::Btrfs, &site.at("b")) else { return };
    disk.subvolume("data");
    disk.snapshot("data", "snapshot");
    let names = ["data", "snapshot"].map(|name| site.at("b").join(name).canonicalize().unwrap().display().to_string());
    let ended = site.run(&["check", "--offline"]);
    expect_line(&ended, &[&names.join(", "), "subvolumes or snapshots of btrfs", "exclude snapshots by `rexcludes`"]);
}

/// Adds a key to a file system and encrypts empty directories by it (ioctl(2), `linux/fscrypt.h`), or removes the key of this
/// name. Prints the name of a key that was added.
const KEYS: &str = r#"
import fcntl, os, struct, sys
ADD, REMOVE, SET = 0xC0506617, 0xC0406618, 0x800C6613
how, directory = sys.argv[1:3]
opened = os.open(directory, os.O_RDONLY)
if how == "add":
    key = bytes(range(64))
    added = bytearray(struct.pack("=II32xII32x", 2, 0, len(key), 0) + key)
    fcntl.ioctl(opened, ADD, added)
    for empty in sys.argv[3:]:
        policy = struct.pack("=BBBB4x16s", 2, 1, 4, 0, bytes(added[8:24]))
        fcntl.ioctl(os.open(empty, os.O_RDONLY), SET, policy)
    print(added[8:24].hex())
else:
    fcntl.ioctl(opened, REMOVE, bytearray(struct.pack("=II32s24x", 2, 0, bytes.fromhex(how))))
"#;

fn keys(words: &[&str]) -> Option<String> {
    let output = Command::new("python3").args(["-c", KEYS]).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn an_encrypted_source_wants_a_marker_which_holds_everything_while_it_is_locked() {
    let mut site = Site::on(&[Local]);
    let Some(disk) = Disk::mount(Kind::Ext4, &site.beside("disk")) else { return };
    let (at, tree) = (disk.at.display().to_string(), disk.at.join("tree"));
    let _ = Command::new("tune2fs").args(["-O", "encrypt"]).arg(disk.device.as_ref().unwrap()).output();
    fs::create_dir(&tree).unwrap();
    let Some(key) = keys(&["add", &at, &tree.display().to_string()]) else {
        return println!("not tested: no fscrypt here");
    };
    let Some(source) = Mount::bind(&tree, &site.source()) else { return };
    plant(&site.at("d/f"), "f");
    plant(&site.at("here"), "here");
    let ended = site.run(&["check", "--offline"]);
    expect_line(&ended, &["warning: source:", "encrypted by its file system (fscrypt)", "write `marker`"]);
    site.config(r#"marker: "here""#);
    let ended = site.run(&["check", "--offline"]);
    expect_line(&ended, &["source:", "encrypted by its file system", "`marker` holds everything"]);
    assert!(!ended.stdout.contains("warning: source:"), "{}", ended.stdout);
    assert_eq!(site.run(&["once"]).code, Some(0));
    // What is in use stays as it is, and a mount uses it.
    source.end();
    keys(&[&key, &at]).unwrap();
    assert!(wait::until(|| (!tree.join("here").exists()).then_some(())).is_some());
    let _source = Mount::bind(&tree, &site.source());
    site.start();
    site.expect_log("the marker `here` is missing");
    assert!(site.mirror(Local).join("d/f").exists(), "kept while it is locked");
    keys(&["add", &at]).unwrap();
    plant(&site.at("d/g"), "g");
    site.expect_on_nodes("d/g", "g");
    site.expect_identical();
}
