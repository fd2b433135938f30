//! Whether renamed files can be linked in the directory that is for it: link(2) itself is tried.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use inosync_actors::site::Site;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, unlinkat};
use rustix::io::Errno;

use super::mounts::FileSystems;
use super::places::usable;
use super::report::Report;
use super::shown;

/// Entries that are looked at for a regular file.
const MOST: usize = 10_000;
/// The name of the link. The same each time, so that what a killed check left is removed by the next one.
const NAME: &str = ".inosync-probe-link";

/// Tries a link. Without links renamed files are sent as new ones: a fault only where the file names the directory.
pub fn look(site: &Site, mounts: Option<&FileSystems>, report: &mut Report) {
    let Some(staging) = &site.staging else {
        return report.well("staging: none; renamed files are sent as new ones".to_owned());
    };
    let is_named = site.state_file.as_ref().map(|file| file.with_extension("staging")) != Some(staging.clone());
    let place = match usable(staging) {
        Ok(place) => place,
        Err(unusable) => {
            let line = format!(
                "staging: {unusable}; chown it, or name another directory: without it renamed files are sent \
                as new ones"
            );
            return if is_named { report.fault(line) } else { report.warning(line) };
        }
    };
    let Some(mounts) = mounts else {
        return report.well(format!("staging: {}; not tried, the source does not answer", shown(staging)));
    };
    let Some(file) = regular_file(site, mounts) else {
        return report.well(format!("staging: {}; not tried, the source has no file", shown(staging)));
    };
    match link(&place, &file) {
        Ok(()) => report.well(format!("staging: {}: files of the source can be linked there", shown(staging))),
        Err(Errno::PERM) => report.warning(format!(
            "staging: {}: this user may not link files of other users (fs.protected_hardlinks), and {} is one: renamed files \
             are sent as new ones; run as their owner, or with CAP_FOWNER",
            shown(staging),
            shown(&file)
        )),
        Err(why) => {
            let why = std::io::Error::from(why);
            let line = format!(
                "staging: {}: {} cannot be linked there: {why}; renamed files are sent as new ones; write staging: \
                 \"/a/directory\" on the mount that wpath is on, or one in wpath that is excluded",
                shown(staging),
                shown(&file)
            );
            if is_named { report.fault(line) } else { report.warning(line) }
        }
    }
}

fn link(place: &Path, file: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place: OwnedFd = rustix::fs::open(place, flags, Mode::empty())?;
    let remove = || unlinkat(&place, NAME, AtFlags::empty());
    // Of a killed check.
    let _ = remove();
    linkat(CWD, file, &place, NAME, AtFlags::empty())?;
    remove()
}

/// The first regular file that is mirrored and is on the mount of the source.
fn regular_file(site: &Site, mounts: &FileSystems) -> Option<PathBuf> {
    let mut directories = vec![inosync_actors::path::RelPath::root()];
    let mut looked_at = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory.under(&site.wpath)).into_iter().flatten().flatten() {
            looked_at += 1;
            let (path, Ok(kind)) = (directory.join(&entry.file_name()), entry.file_type()) else { continue };
            if looked_at > MOST {
                return None;
            }
            match site.excludes.matching(&path, kind.is_dir()) {
                Some(_) => (),
                None if mounts.has(&path) => (),
                None if kind.is_file() => return Some(entry.path()),
                None if kind.is_dir() => directories.push(path),
                None => (),
            }
        }
    }
    None
}
