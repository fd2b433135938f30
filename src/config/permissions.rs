//! Finds files with too open permissions among those that control the daemon: the files of the configuration and the
//! programs that the daemon starts.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;
use inosync_actors::rsync::own_name;
use inosync_actors::site::Site;
use slog::{Logger, warn};

/// The user and the group of this process.
#[derive(Debug, Clone, Copy)]
struct Own {
    user: u32,
    group: u32,
}

/// Owner, group and mode of a file or directory.
#[derive(Debug, Clone, Copy)]
struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Access {
    fn of(meta: &Metadata) -> Access {
        Access { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() }
    }
}

/// The others who may write a file, or make files in a directory. The group of the daemon and that of root count as the
/// daemon: an administrator chose their members.
fn writer(Access { uid, gid, mode }: Access, own: Own) -> Option<&'static str> {
    const STICKY: u32 = 0o1000;
    match () {
        () if uid != own.user && uid != 0 => Some("another user owns it"),
        () if mode & STICKY != 0 => None,
        () if mode & 0o002 != 0 => Some("everybody may write it"),
        () if mode & 0o020 != 0 && gid != own.group && gid != 0 => Some("its group may write it"),
        () => None,
    }
}

/// The file or its directory, with the reason, if others may write it. A symlink is followed.
fn writable_by_others(file: &Path, own: Own) -> Option<String> {
    let real = fs::canonicalize(file).ok()?;
    [Some(&*real), real.parent()].into_iter().flatten().find_map(|path| {
        let why = writer(Access::of(&fs::metadata(path).ok()?), own)?;
        Some(format!("{}: {why}", Escaped(path.as_os_str().as_encoded_bytes())))
    })
}

/// One sentence for each file that others may write. `configuration` are the files that the site was read from.
pub fn find(configuration: &[PathBuf], site: &Site) -> Vec<String> {
    let own = Own { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() };
    let hooks = [("on_synced", &site.on_synced), ("on_all_synced", &site.on_all_synced)];
    let programs = hooks.into_iter().filter_map(|(key, hook)| Some((key, hook.as_ref()?.program.as_path())));
    let read = configuration.iter().map(|file| ("configuration", file.as_path()));
    read.chain(programs)
        .filter_map(|(what, file)| Some(format!("{what}: {}", writable_by_others(file, own)?)))
        .collect()
}

/// The cure for all of these files.
pub fn cure() -> String {
    format!("whoever writes it decides what {} does: chown it, and chmod go-w", own_name())
}

/// Warns of these files in the log.
pub fn log(configuration: &[PathBuf], site: &Site, log: &Logger) {
    for found in find(configuration, site) {
        warn!(log, "others may decide what this daemon does"; "where" => found, "cure" => cure());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_all_but_root_the_daemon_and_their_groups() {
        let own = Own { user: 7, group: 70 };
        for (uid, gid, mode, expected) in [
            (7, 70, 0o600, false),
            (0, 0, 0o644, false),
            (0, 0, 0o664, false),
            (0, 70, 0o664, false),
            (7, 50, 0o644, false),
            (7, 50, 0o664, true),
            (0, 0, 0o646, true),
            (8, 70, 0o600, true),
            (0, 0, 0o1777, false),
            (8, 0, 0o1777, true),
        ] {
            assert_eq!(writer(Access { uid, gid, mode }, own).is_some(), expected, "{uid} {gid} {mode:o}");
        }
    }
}
