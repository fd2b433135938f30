//! A source into which somebody else's rsync writes, as at a relay.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::support::{Local, Node, Rsyncd, Site, Wire, descendants, signal, wait};

const MIB: u64 = 1 << 20;
/// The file that arrives, and the time that it takes at least: long enough to be held up on the way.
const SIZE: u64 = 4 * MIB;
const KIB_PER_SECOND: u64 = 2048;
/// The directory in which rsync keeps what of a file has arrived, where it is told to.
const PARTS: &str = ".rsync-partial";

/// A site whose node has the seed, at rest, and the wire to the node.
fn site() -> (Site, Wire) {
    let mut site = Site::on(&[Rsyncd]);
    let wire = site.count_rsyncd();
    site.start_with(&["-v"]);
    site.expect_rest(&wire);
    (site, wire)
}

/// A file of the upstream source, of which nothing is like anything else.
fn make_upstream(site: &Site, path: &str) {
    let at = site.beside("upstream").join(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    let numbers = (0..SIZE / 8).flat_map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17).to_le_bytes());
    fs::write(at, numbers.collect::<Vec<u8>>()).unwrap();
}

/// What upstream sends into the source, slowly.
struct Arrival(Child);

impl Arrival {
    fn run(site: &Site, options: &[&str]) -> Arrival {
        let mut rsync = Command::new("rsync");
        rsync.arg("-a").arg(format!("--bwlimit={KIB_PER_SECOND}")).args(options);
        let rsync = rsync.arg(format!("{}/", site.beside("upstream").display())).arg(site.source());
        Arrival(rsync.spawn().unwrap())
    }

    /// Begins it, and holds it up when a part of the file has arrived. Of the names that rsync draws, one in sixty is like a word,
    /// and so taken for one that somebody gave: then it begins again.
    fn begin(site: &Site, options: &[&str]) -> Arrival {
        let is_large = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.len() > 0 && meta.is_file());
        loop {
            let mut arrival = Arrival::run(site, options);
            let begun = wait::until(|| temporary(&site.source()).into_iter().find(is_large));
            let begun = begun.expect("rsync writes no file of a temporary name");
            if !ends_in_a_word(&begun) {
                arrival.tell(Signal::STOP);
                return arrival;
            }
            // Not by a signal that it hears: it may keep what has arrived, and the next one would go on in that.
            arrival.tell(Signal::KILL);
            arrival.0.wait().unwrap();
            fs::remove_file(begun).unwrap();
        }
    }

    fn tell(&self, with: Signal) {
        let pids = descendants(self.0.id()).into_iter().chain([self.0.id()]);
        pids.for_each(|pid| signal(pid, with));
    }

    fn end(mut self) {
        self.tell(Signal::CONT);
        assert!(self.0.wait().unwrap().success());
    }
}

/// The files of temporary names at or below a directory.
fn temporary(dir: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let below = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_temporary = name.starts_with('.') && (name.len() > 8 || name == ".~tmp~");
        let own = is_temporary.then(|| path.clone());
        own.into_iter().chain(temporary(&path)).collect::<Vec<_>>()
    };
    entries.flatten().flat_map(|entry| below(entry.path())).collect()
}

fn ends_in_a_word(path: &std::path::Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    let drawn = &name[name.len() - 6..];
    let rest_is_lower = drawn[1..].iter().all(u8::is_ascii_lowercase);
    drawn[0].is_ascii_alphabetic() && rest_is_lower
        || drawn.iter().all(u8::is_ascii_uppercase)
        || drawn.iter().all(u8::is_ascii_digit)
}

/// Nothing of what arrives has been sent, although so much time has passed that a file counts which stays open.
#[track_caller]
fn expect_left_alone(site: &Site, node: Node) {
    let mut open = File::create(site.at("open")).unwrap();
    open.write_all(b"open").unwrap();
    site.expect_on_nodes("open", "open");
    drop(open);
    site.remove("open");
    site.expect_gone("open");
    site.settle();
    let sent = temporary(&site.mirror(node));
    assert!(sent.is_empty(), "{sent:?}\n{}", site.log_lines().join("\n"));
}

fn is_sent_once(path: &str, options: &[&str]) {
    let (site, wire) = site();
    make_upstream(&site, path);
    let before = wire.bytes();
    let arrival = Arrival::begin(&site, options);
    // A directory that is compared as it is made may go along with what was in the file by then.
    let is_new = path.contains('/');
    if is_new {
        site.settle()
    } else {
        expect_left_alone(&site, Rsyncd)
    }
    arrival.end();
    site.expect_rest(&wire);
    let cost = wire.bytes() - before;
    println!("{path} {options:?}: {cost} bytes for {SIZE}");
    let most = SIZE * 101 / 100 + if is_new { MIB } else { MIB / 32 };
    assert!(cost < most, "{cost} bytes");
    assert!(temporary(&site.mirror(Rsyncd)).is_empty());
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_file_that_takes_long_to_arrive_is_sent_once_and_whole() {
    is_sent_once("file", &[]);
}

#[test]
fn a_file_in_a_new_directory_is_sent_once_and_whole() {
    is_sent_once("new/directory/file", &[]);
}

#[test]
fn a_file_whose_update_is_delayed_is_sent_once_and_whole() {
    is_sent_once("new/file", &["--delay-updates"]);
}

#[test]
fn a_file_that_is_kept_in_part_is_sent_once_and_whole() {
    let (site, wire) = site();
    make_upstream(&site, "file");
    let keeps_parts = format!("--partial-dir={PARTS}");
    let mut arrival = Arrival::begin(&site, &[&keeps_parts]);
    arrival.tell(Signal::CONT);
    signal(arrival.0.id(), Signal::TERM);
    assert!(!arrival.0.wait().unwrap().success());
    let is_kept = wait::until(|| site.at(PARTS).join("file").exists().then_some(()));
    assert!(is_kept.is_some(), "rsync keeps no part");
    expect_left_alone(&site, Rsyncd);
    assert!(!site.mirror(Rsyncd).join(PARTS).exists());
    let before = wire.bytes();
    // rsync goes on in the part that it kept.
    Arrival::run(&site, &[&keeps_parts]).end();
    site.expect_rest(&wire);
    let cost = wire.bytes() - before;
    assert!((SIZE..SIZE * 101 / 100 + 32 * 1024).contains(&cost), "{cost} bytes");
}

#[test]
fn a_file_that_is_arriving_at_a_start_is_left_alone_with_a_state_or_without() {
    let mut site = Site::on(&[Local]);
    make_upstream(&site, "file");
    let arrival = Arrival::begin(&site, &[]);
    site.start();
    site.expect_compared();
    for _ in 0..2 {
        site.settle();
        let sent = temporary(&site.mirror(Local));
        assert!(sent.is_empty(), "{sent:?}\n{}", site.log_lines().join("\n"));
        site.stop();
        site.start();
        site.expect_log("compared with the state");
    }
    arrival.end();
    site.expect_identical();
}

#[test]
fn an_arrival_that_is_broken_off_leaves_nothing_at_the_nodes() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    make_upstream(&site, "new/file");
    let mut arrival = Arrival::begin(&site, &[]);
    site.settle();
    arrival.tell(Signal::CONT);
    signal(arrival.0.id(), Signal::TERM);
    assert!(!arrival.0.wait().unwrap().success());
    site.expect_identical();
}

#[test]
fn a_temporary_name_is_a_name_like_any_other_where_nothing_waits_for_names() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.write(".mine.a1B2c3", "waits");
    site.mkdir(".~tmp~");
    site.settle();
    site.assert_absent(".mine.a1B2c3");
    site.assert_absent(".~tmp~");
    site.config("await_names: false");
    site.reload();
    site.expect_watching();
    site.expect_on_nodes(".mine.a1B2c3", "waits");
    site.write(".yours.a1B2c3", "at once");
    site.expect_on_nodes(".yours.a1B2c3", "at once");
    site.expect_identical();
}
