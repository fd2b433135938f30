//! What the kernel does not tell by a name, or at all: writes by mmap(2), and to files that were made without a name.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde_json::Value;

use crate::support::disk::Kind;
use crate::support::{Local, Node, Rsyncd, Site, Ssh, wait};

/// Maps a file, closes it, and writes each line that it reads to the same page; unmaps it at the end.
const MAPPER: &str = r#"
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(file, 0)
os.close(file)
# What was read can be written on a tmpfs without a word to the kernel.
first = pages[100]
print("mapped", flush=True)
for line in sys.stdin:
    text = line.strip().encode()
    pages[100:100 + len(text)] = text
    print("written", flush=True)
pages.close()
"#;

/// A process that has mapped a file.
struct Mapper {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Mapper {
    fn new(file: &Path) -> Option<Mapper> {
        let mut command = Command::new("python3");
        command.args(["-c", MAPPER]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            println!("not tested: no python3 here");
            return None;
        };
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut mapper = Mapper { child, said };
        mapper.hear("mapped");
        Some(mapper)
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
    }

    fn write(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
        self.hear("written");
    }

    fn close(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Every node comes to have the mode of a file of the source.
#[track_caller]
fn expect_mode(site: &Site, path: &str) {
    let mode = |file: &Path| file.metadata().ok().map(|meta| meta.permissions().mode());
    for node in site.live() {
        let file = site.mirror(node).join(path);
        let is_so = || (mode(&file) == mode(&site.at(path))).then_some(());
        assert!(wait::until(is_so).is_some(), "{node}: the mode of {path}");
    }
}

/// On each kind of file system the file is sent for its mode between two writes to a page that is dirty all the while.
fn mapped_file_arrives(nodes: &[Node], kind: Option<Kind>) {
    let mut site = Site::on(nodes);
    if kind.is_some_and(|kind| !site.source_on(kind)) {
        return;
    }
    let files = [("small", 20_000), ("large", 200_000), ("larger", 3_000_000)];
    for (file, size) in files {
        site.write(file, vec![b'x'; size]);
    }
    site.start_mirrored();
    for (file, _) in files {
        let Some(mut mapper) = Mapper::new(&site.at(file)) else { return };
        mapper.write("one");
        site.chmod(file, 0o640);
        expect_mode(&site, file);
        if kind == Some(Kind::Tmpfs) {
            // Its time says nothing there, so whatever happens to the file makes it be looked at.
            site.expect_identical();
        }
        mapper.write("two");
        mapper.close();
        site.expect_identical();
    }
}

#[test]
fn what_mmap_wrote_to_a_page_that_was_dirty_arrives_when_the_file_is_closed() {
    mapped_file_arrives(&[Local, Ssh, Rsyncd], None);
    for kind in [Kind::Tmpfs, Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        mapped_file_arrives(&[Local], Some(kind));
    }
}

#[test]
fn a_large_file_that_was_closed_unchanged_is_compared_and_not_sent() {
    let mut site = Site::on(&[Local]);
    site.write("large", vec![b'x'; 3_000_000]);
    site.start_mirrored();
    let totals = |site: &Site| site.status_of(Local)["totals"].clone();
    let before = totals(&site);
    drop(File::options().write(true).open(site.at("large")).unwrap());
    let batches = |status: &Value| status["totals"]["batches"].as_u64() > before["batches"].as_u64();
    site.expect_status(Local, "done", |status| batches(status) && status["pending"] == 0);
    assert_eq!(totals(&site)["bytes"], before["bytes"]);
}

/// What is done with a file that was made without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It gets its name.
    Link,
    Write,
    Chmod,
    Touch,
    /// Its name changes.
    Rename,
    /// The name of its directory changes.
    RenameDir,
    /// The nodes have all so far.
    Arrives,
}

use Step::{Arrives, Chmod, Link, Rename, RenameDir, Touch, Write as Written};

/// In any order, and the last of it long after the file was sent.
const ORDERS: [&[Step]; 9] = [
    &[Written, Link],
    &[Link, Written],
    &[Written, Link, Arrives, Written],
    &[Link, Arrives, Written, Arrives, Written],
    &[Written, Link, Rename, Arrives, Written],
    &[Written, Link, Arrives, Rename, Arrives, Written],
    &[Written, Link, Arrives, Chmod, Arrives, Touch],
    &[Chmod, Touch, Written, Link, Arrives, Written, Touch, Arrives, Written],
    &[Written, Link, Arrives, RenameDir, Arrives, Written],
];

/// Plays one of them with a file that is made in a directory; it is open until all has arrived.
fn play(site: &Site, number: usize, steps: &[Step], made_in: &Path) {
    let mut dir = format!("d{number}");
    let mut name = format!("f{number}");
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(made_in, flags, Mode::from(0o600)).unwrap());
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Link => {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                let named = site.at(&dir).join(&name);
                rustix::fs::linkat(CWD, unnamed, CWD, named, AtFlags::SYMLINK_FOLLOW).unwrap();
            }
            Step::Write => file.write_all(format!("written as number {at};").as_bytes()).unwrap(),
            Step::Chmod => file.set_permissions(Permissions::from_mode(0o640)).unwrap(),
            Step::Touch => file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at as u64)).unwrap(),
            Step::Rename => {
                site.rename(format!("{dir}/{name}"), format!("{dir}/{name}-renamed"));
                name += "-renamed";
            }
            Step::RenameDir => {
                site.rename(&dir, format!("{dir}-renamed"));
                dir += "-renamed";
            }
            Step::Arrives => site.expect_identical(),
        }
    }
    site.expect_identical();
}

#[test]
fn a_file_that_was_made_without_a_name_arrives_with_all_that_is_written_after_it_got_one() {
    let mut site = Site::on(&[Local]);
    site.config("dir_moves: Replicate");
    (0..2 * ORDERS.len()).for_each(|number| site.mkdir(format!("d{number}")));
    site.start_mirrored();
    std::fs::create_dir(site.beside("elsewhere")).unwrap();
    for (number, steps) in ORDERS.into_iter().enumerate() {
        println!("{steps:?}");
        play(&site, number, steps, &site.source());
        play(&site, number + ORDERS.len(), steps, &site.beside("elsewhere"));
    }
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn attributes_of_what_has_no_name_are_no_change() {
    let mut site = Site::on(&[Local]);
    site.mkdir("d");
    site.write("d/gone", "gone");
    site.start_mirrored();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let unnamed = File::from(rustix::fs::open(site.at("d"), flags, Mode::from(0o600)).unwrap());
    let deleted = File::open(site.at("d/gone")).unwrap();
    site.remove("d/gone");
    for file in [unnamed, deleted] {
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    site.settle();
    site.expect_status(Local, "done", |status| status["pending"] == 0);
    site.expect_identical();
    let is_told = |line: &String| line.contains("nobody reported it") || line.contains(" WARN ");
    assert_eq!(site.log_lines().into_iter().find(is_told), None);
}
