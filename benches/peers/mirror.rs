//! Writing to a source and waiting for its mirror. Looking must not cost what is measured: it sleeps between looks.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::trouble::{At, Outcome};

/// Between two looks at one file. The kernel adds some 50 us.
const LOOK: Duration = Duration::from_micros(50);
/// Between two looks at a tree.
const LOOK_AT_TREE: Duration = Duration::from_millis(2);

/// What the content of the next written file begins with; never the same twice.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A version of a file.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    pub number: u64,
    /// When close(2) had returned.
    pub closed: Instant,
}

const STAMP: usize = 16;

/// Creates or overwrites a file with `size` bytes, at least 16, of new content.
pub fn write(path: &Path, size: usize) -> Outcome<Version> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut content = format!("{number:0STAMP$}").into_bytes();
    content.resize(size.max(STAMP), b'.');
    let mut file = File::create(path).at(path.display())?;
    file.write_all(&content).at(path.display())?;
    drop(file);
    Ok(Version { number, closed: Instant::now() })
}

/// The version of a file, if it is there and was written by [`write`].
pub fn version(path: &Path) -> Option<u64> {
    let mut stamp = [0; STAMP];
    File::open(path).ok()?.read_exact(&mut stamp).ok()?;
    std::str::from_utf8(&stamp).ok()?.parse().ok()
}

/// Milliseconds from the end of writing until the mirror has this version or a later one.
pub fn latency(version_on_mirror: &Path, written: Version, limit: Duration) -> Outcome<f64> {
    loop {
        let seen = version(version_on_mirror);
        let elapsed = written.closed.elapsed();
        if seen.is_some_and(|seen| seen >= written.number) {
            return Ok(elapsed.as_secs_f64() * 1000.0);
        }
        if elapsed > limit {
            let shown = version_on_mirror.display();
            return Err(format!("{shown} is not mirrored within {} s", limit.as_secs()).into());
        }
        thread::sleep(LOOK);
    }
}

/// A pause as between two changes that people or programs make: 50 to 300 ms.
pub fn pause() {
    thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
}

/// Waits until the mirror equals the source, which no longer changes: names, types, contents, modes, and the times of
/// files. Not the times of directories, which lsyncd does not always mirror. Returns when it was so, by the last change of an
/// entry at the mirror: a look at many entries takes longer than most changes.
pub fn identical(source: &Path, mirror: &Path, limit: Duration) -> Outcome<Instant> {
    let start = Instant::now();
    let mut entries = vec![PathBuf::new()];
    list(source, Path::new(""), &mut entries)?;
    loop {
        // One cursor goes through the tree and waits at each entry: an entry that is right is looked at once.
        for entry in &entries {
            while !looks_equal(&source.join(entry), &mirror.join(entry)) {
                if start.elapsed() > limit {
                    return Err(format!("{} is not mirrored within {} s", entry.display(), limit.as_secs()).into());
                }
                thread::sleep(LOOK_AT_TREE);
            }
        }
        let reached = Instant::now();
        if is_identical(source, mirror, &entries)? {
            return Ok(reached.min(last_change(mirror, &entries)?));
        }
        (start.elapsed() < limit).then_some(()).at("the mirror has equal files, but is not equal")?;
        thread::sleep(LOOK_AT_TREE);
    }
}

/// The time of the last change of any of these entries.
fn last_change(mirror: &Path, entries: &[PathBuf]) -> Outcome<Instant> {
    let mut last = Duration::ZERO;
    for entry in entries {
        let meta = fs::symlink_metadata(mirror.join(entry)).at(entry.display())?;
        last = last.max(Duration::new(meta.ctime().unsigned_abs(), meta.ctime_nsec() as u32));
    }
    let ago = (SystemTime::UNIX_EPOCH + last).elapsed().unwrap_or_default();
    Instant::now().checked_sub(ago).at("the clock was set")
}

fn looks_equal(source: &Path, mirror: &Path) -> bool {
    let (Ok(a), Ok(b)) = (fs::symlink_metadata(source), fs::symlink_metadata(mirror)) else { return false };
    let equal_file = || (a.len(), a.mtime(), a.mtime_nsec()) == (b.len(), b.mtime(), b.mtime_nsec());
    a.mode() == b.mode() && (a.is_dir() || equal_file())
}

fn is_identical(source: &Path, mirror: &Path, entries: &[PathBuf]) -> Outcome<bool> {
    let mut mirrored = vec![PathBuf::new()];
    list(mirror, Path::new(""), &mut mirrored)?;
    if mirrored.len() != entries.len() {
        return Ok(false);
    }
    for entry in entries {
        let (a, b) = (source.join(entry), mirror.join(entry));
        if !looks_equal(&a, &b) || a.is_file() && fs::read(&a).ok() != fs::read(&b).ok() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file that inosync's `heartbeat` keeps at the root of each mirror.
pub const HEARTBEAT: &str = ".inosync-heartbeat";

/// All entries below `root` but the heartbeat, a directory before what is in it.
fn list(root: &Path, dir: &Path, entries: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(root.join(dir)).at(dir.display())? {
        let entry = entry.at(dir.display())?;
        let path = dir.join(entry.file_name());
        if entry.file_name() == HEARTBEAT {
            continue;
        }
        entries.push(path.clone());
        if entry.file_type().at(path.display())?.is_dir() {
            list(root, &path, entries)?;
        }
    }
    Ok(())
}

/// Creates `count` directories, the deepest at depth three.
pub fn make_directories(root: &Path, count: usize) -> Outcome<()> {
    let mut made = 0;
    for top in 0.. {
        for middle in 0..25 {
            for path in [format!("t{top}"), format!("t{top}/m{middle}")]
                .into_iter()
                .chain((0..40).map(|leaf| format!("t{top}/m{middle}/leaf{leaf}")))
            {
                if made == count {
                    return Ok(());
                }
                match fs::create_dir(root.join(&path)) {
                    Ok(()) => made += 1,
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
                    Err(error) => return Err(error).at(path),
                }
            }
        }
    }
    Ok(())
}

/// Writes `files` small files evenly into `dirs` directories, which it creates as it comes to them.
pub fn make_files(root: &Path, dirs: usize, files: usize) -> Outcome<()> {
    for dir in 0..dirs {
        let path = root.join(format!("g{}/d{dir}", dir / 50));
        fs::create_dir_all(&path).at(path.display())?;
        for file in 0..files / dirs.max(1) {
            write(&path.join(format!("file{file}")), 100 + file * 50)?;
        }
    }
    Ok(())
}
