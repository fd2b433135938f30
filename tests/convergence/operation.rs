//! One change to a tree, as a program or a person makes it: what it does, and how it is written in a script.
//! An operation that fails, because what it needs is not there, is part of the game.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_OMIT};

/// What an operation does with its paths and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Writes a new content; the number decides its size and bytes.
    Write,
    Append,
    Truncate,
    /// Another content of the same size.
    SameSize,
    /// Some bytes in the middle, without truncation.
    InPlace,
    /// A new content below another name, renamed over the path.
    Replace,
    /// A rename of what is no directory.
    Rename,
    MakeDirs,
    RemoveDir,
    RemoveFile,
    RemoveAll,
    Symlink,
    Retarget,
    /// A second name of a file, which then loses the first: a write through one name of a file is not seen at its
    /// others, which is a limit of inotify that docs/limits.md states.
    HardLink,
    Chmod,
    Utimes,
    /// A file becomes a directory, a directory a symlink, a symlink a file, or the other way round.
    Retype,
    /// Two names change places, by one call or by three renames.
    Swap,
    /// a to b to c.
    Chain,
    /// Created, filled, renamed and deleted without a pause.
    Flash,
    /// A directory tree with some files, made at once.
    Plant,
    /// A rename of a directory, also over an empty one. This and the next ones only in scripts with moves.
    MoveDir,
    /// Two directories change places.
    SwapDirs,
    /// A directory is renamed to b and to c.
    ChainDirs,
    /// A directory leaves the tree, and perhaps comes back under another name, at once or after a while.
    MoveOut,
    /// So many writes to files whose names begin like the path that the kernel's event queue overflows while nobody reads
    /// it. Where they are must be watched already: only in the root that is certain.
    Flood,
    /// Nothing, for so many milliseconds.
    Pause,
}

/// The words of a script.
pub const WORDS: [(&str, Verb); 27] = [
    ("write", Verb::Write),
    ("append", Verb::Append),
    ("truncate", Verb::Truncate),
    ("same-size", Verb::SameSize),
    ("in-place", Verb::InPlace),
    ("replace", Verb::Replace),
    ("rename", Verb::Rename),
    ("mkdir-p", Verb::MakeDirs),
    ("rmdir", Verb::RemoveDir),
    ("unlink", Verb::RemoveFile),
    ("rm-r", Verb::RemoveAll),
    ("symlink", Verb::Symlink),
    ("retarget", Verb::Retarget),
    ("link", Verb::HardLink),
    ("chmod", Verb::Chmod),
    ("utimes", Verb::Utimes),
    ("retype", Verb::Retype),
    ("swap", Verb::Swap),
    ("chain", Verb::Chain),
    ("flash", Verb::Flash),
    ("plant", Verb::Plant),
    ("move-dir", Verb::MoveDir),
    ("swap-dirs", Verb::SwapDirs),
    ("chain-dirs", Verb::ChainDirs),
    ("move-out", Verb::MoveOut),
    ("flood", Verb::Flood),
    ("pause", Verb::Pause),
];

/// Where symlinks lead: never out of the tree to something that exists, because operations follow them.
const TARGETS: [&str; 6] = ["a", "nowhere", "b/a", ".", "#e", "/nonexistent/target"];
const MODES: [u32; 10] = [0o755, 0o700, 0o775, 0o711, 0o644, 0o600, 0o444, 0o000, 0o2755, 0o4755];
/// The files of a flood: few, so that the tree does not grow by them, and more than one, because events of one file merge
/// while no other comes between.
const FLOODED: u64 = 50;

/// An operation with all that it needs; doing it again does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub verb: Verb,
    /// As many as the verb takes; all below the source.
    pub paths: Vec<PathBuf>,
    pub number: u64,
}

impl Operation {
    /// Whether this path, something above it or something below it is meant.
    pub fn concerns(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        let flooded = |own: &Path| {
            self.verb == Verb::Flood && path.as_os_str().as_bytes().starts_with(own.as_os_str().as_bytes())
        };
        self.paths
            .iter()
            .any(|own| flooded(own) || own.starts_with(path) || path.starts_with(own) || temporary(own) == path)
    }

    /// Does it in the tree at `root`.
    pub fn perform(&self, root: &Path) -> io::Result<()> {
        let path = |at: usize| root.join(&self.paths[at]);
        let number = self.number;
        match self.verb {
            Verb::Write => fs::write(path(0), content(number, size(number))),
            Verb::Append => OpenOptions::new().append(true).open(path(0))?.write_all(&content(number, 50)),
            Verb::Truncate => OpenOptions::new().write(true).open(path(0))?.set_len(number % 5000),
            Verb::SameSize => {
                let size = fs::metadata(path(0))?.len();
                fs::write(path(0), content(number, size))
            }
            Verb::InPlace => {
                let file = OpenOptions::new().write(true).open(path(0))?;
                file.write_all_at(&content(number, 9), number % (file.metadata()?.len() + 1))
            }
            Verb::Replace => {
                fs::write(temporary(&path(0)), content(number, size(number)))?;
                fs::rename(temporary(&path(0)), path(0))
            }
            Verb::Rename => rename_file(&path(0), &path(1)),
            Verb::MakeDirs => fs::create_dir_all(path(0)),
            Verb::RemoveDir => fs::remove_dir(path(0)),
            Verb::RemoveFile => fs::remove_file(path(0)),
            Verb::RemoveAll => remove(&path(0)),
            Verb::Symlink => symlink(target(number), path(0)),
            Verb::Retarget => {
                symlink(target(number), temporary(&path(0)))?;
                fs::rename(temporary(&path(0)), path(0)).inspect_err(|_| drop(fs::remove_file(temporary(&path(0)))))
            }
            Verb::HardLink => {
                fs::hard_link(path(0), path(1))?;
                fs::remove_file(path(0))
            }
            Verb::Chmod => fs::set_permissions(path(0), Permissions::from_mode(MODES[number as usize % MODES.len()])),
            Verb::Utimes => utimes(&path(0), number),
            Verb::Retype => retype(&path(0), number),
            Verb::Swap => swap(&path(0), &path(1), number),
            Verb::Chain => rename_file(&path(0), &path(1)).and_then(|()| rename_file(&path(1), &path(2))),
            Verb::Flash => {
                fs::write(path(0), content(number, size(number)))?;
                rename_file(&path(0), &path(1))?;
                fs::remove_file(path(1))
            }
            Verb::Plant => plant(&path(0), number),
            Verb::MoveDir => fs::rename(path(0), path(1)),
            Verb::SwapDirs => swap_dirs(&path(0), &path(1), number),
            Verb::ChainDirs => fs::rename(path(0), path(1)).and_then(|()| fs::rename(path(1), path(2))),
            Verb::MoveOut => move_out(&path(0), &path(1), root, number),
            Verb::Flood => flood(&path(0), number),
            Verb::Pause => {
                std::thread::sleep(Duration::from_millis(number));
                Ok(())
            }
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    name.into()
}

/// Mostly small, seldom more than a batch of the fast lane carries. One size in five is often the same, so that files meet
/// that differ in nothing but their content.
fn size(number: u64) -> u64 {
    match number % 400 {
        0 => 1_500_000,
        1..=8 => 150_000,
        9..=40 => 0,
        41..=120 => 5_000,
        other => other * 40,
    }
}

fn content(number: u64, size: u64) -> Vec<u8> {
    let line = format!("{number:x}.");
    line.bytes().cycle().take(usize::try_from(size).unwrap_or(0)).collect()
}

fn target(number: u64) -> &'static str {
    TARGETS[number as usize % TARGETS.len()]
}

fn is_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// With several threads a directory may come to the name between the look and the rename.
fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    if is_dir(from) { Err(ErrorKind::IsADirectory.into()) } else { fs::rename(from, to) }
}

fn remove(path: &Path) -> io::Result<()> {
    if is_dir(path) { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Of the entry itself, symlinks too. Up to the year 2106, to the nanosecond; one in three is the same whole second.
fn utimes(path: &Path, number: u64) -> io::Result<()> {
    let nanos = (number.wrapping_mul(0x9e37_79b9) % 1_000_000_000) as _;
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = match number % 3 {
        0 => Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 },
        _ => Timespec { tv_sec: (number as u32).into(), tv_nsec: nanos },
    };
    let times = Timestamps { last_access: omit, last_modification };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn retype(path: &Path, number: u64) -> io::Result<()> {
    let was_dir = is_dir(path);
    remove(path)?;
    match (was_dir, number % 3) {
        (_, 0) => symlink(target(number), path),
        (true, _) => fs::write(path, content(number, size(number))),
        (false, 1) => fs::create_dir(path),
        (false, _) => plant(path, number),
    }
}

fn swap(one: &Path, other: &Path, number: u64) -> io::Result<()> {
    if is_dir(one) || is_dir(other) {
        return Err(ErrorKind::IsADirectory.into());
    }
    if number.is_multiple_of(2) {
        return Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?);
    }
    swap_by_three(one, other)
}

fn swap_by_three(one: &Path, other: &Path) -> io::Result<()> {
    fs::rename(one, temporary(one))?;
    // What is missing is put back, so that no other name is left.
    let swapped = fs::rename(other, one);
    fs::rename(temporary(one), if swapped.is_ok() { other } else { one })
}

fn swap_dirs(one: &Path, other: &Path, number: u64) -> io::Result<()> {
    if !is_dir(one) || !is_dir(other) || one == other {
        return Err(ErrorKind::NotADirectory.into());
    }
    if number.is_multiple_of(2) {
        return Ok(rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?);
    }
    swap_by_three(one, other)
}

fn move_out(from: &Path, to: &Path, root: &Path, number: u64) -> io::Result<()> {
    if !is_dir(from) || from == root {
        return Err(ErrorKind::NotADirectory.into());
    }
    let outside = root.with_file_name(format!("outside-{number:x}"));
    fs::rename(from, &outside)?;
    if number.is_multiple_of(4) {
        // Longer than the watcher waits for the other half of a move.
        std::thread::sleep(Duration::from_millis(150));
    }
    if number.is_multiple_of(2) { fs::rename(&outside, to) } else { fs::remove_dir_all(&outside) }
}

fn plant(path: &Path, number: u64) -> io::Result<()> {
    let deep = path.join("a/b/c d");
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("#e"), content(number, size(number)))?;
    symlink(target(number), path.join("link"))?;
    (0..number % 20).try_for_each(|n| fs::write(path.join("a").join(n.to_string()), content(number + n, n * 10)))
}

fn flood(path: &Path, number: u64) -> io::Result<()> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    // A write is two events: its content, and that the file is closed.
    let writes = limit.trim().parse().unwrap_or(16_384_u64) * 6 / 10;
    for n in 0..writes {
        let mut name = path.as_os_str().to_owned();
        name.push((n % FLOODED).to_string());
        File::create(name)?.write_all(&content(number + n, 20 + n % 30))?;
    }
    Ok(())
}
