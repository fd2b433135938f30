//! Checks the places of the daemon's own files: state, control socket, log of rsync.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use inosync_actors::rsync::own_name;
use inosync_actors::site::Site;
use inosync_actors::state::store;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;

use super::report::Report;
use super::shown;
use super::source::may;
use crate::config::Service;

/// A directory that cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    /// The directory itself, or the nearest existing one above it.
    pub at: PathBuf,
    /// The kernel's reason for the refusal.
    pub why: io::ErrorKind,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cannot be written by {}: {}", shown(&self.at), own_name(), self.why)
    }
}

/// Tries whether files can be made in a directory, or the directory itself can be made. Returns the directory that was
/// tried.
pub(super) fn usable(directory: &Path) -> Result<PathBuf, Unusable> {
    let existing = directory.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let refused = |why| Unusable { at: existing.to_owned(), why };
    // A file without a name, so that nothing can stay; not every file system has that.
    match rustix::fs::open(existing, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(existing.to_owned()),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            may(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(refused).map(|()| existing.to_owned())
        }
        Err(errno) => Err(refused(io::Error::from(errno).kind())),
    }
}

/// Checks the file of the state.
pub fn state(site: &Site, report: &mut Report) {
    let Some(file) = &site.state_file else {
        return report.well("state: none is kept; each start compares everything".to_owned());
    };
    let directory = file.parent().unwrap_or(file);
    let wrong = match usable(directory) {
        Err(unusable) => Some(unusable.to_string()),
        Ok(_) => match store::inspect(file) {
            // The daemon mostly runs as another user, whose rights root cannot try.
            Err(refused) if refused.is_of_another_user() && rustix::process::geteuid().is_root() => {
                return report.well(format!(
                    "state: {} belongs to another user: if the daemon runs as that one, check as that one",
                    shown(file)
                ));
            }
            Err(refused) => {
                return report.fault(format!("state: {refused}: without the state each start compares everything"));
            }
            Ok(()) => match File::options().read(true).write(true).open(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Some(format!("{} cannot be opened by {}: {error}", shown(file), own_name()))
                }
                _ => None,
            },
        },
    };
    match wrong {
        None => report.well(format!("state: {}", shown(file))),
        Some(wrong) => report.fault(format!(
            "state: {}: {wrong}; chown it, or name another directory by `state_dir`: without the state each start compares \
             everything",
            shown(file)
        )),
    }
}

/// Finds the first directory in which the control socket can be.
pub fn sockets(service: &Service, is_running: bool, report: &mut Report) {
    if service.sockets.is_empty() {
        return report.well("control socket: none is wanted".to_owned());
    }
    if is_running {
        return;
    }
    let mut reasons = Vec::new();
    for place in &service.sockets {
        match usable(place) {
            Ok(_) => return report.well(format!("control socket: in {}", shown(place))),
            Err(unusable) => reasons.push(unusable.to_string()),
        }
    }
    report.fault(format!(
        "control socket: {}; run inosync as the user to whom it belongs, or name another directory by `socket_dir`: without \
         it inosync status, explain, pause and resume have nobody to ask",
        reasons.join("; ")
    ));
}

/// Checks rsync's own log file.
pub fn logfile(site: &Site, report: &mut Report) {
    let Some(file) = &site.logfile else { return };
    let wrong = match may(file, Access::WRITE_OK) {
        Ok(()) => None,
        Err(io::ErrorKind::NotFound) => {
            usable(file.parent().unwrap_or(file)).err().map(|unusable| unusable.to_string())
        }
        Err(why) => Some(format!("it cannot be written by {}: {why}", own_name())),
    };
    match wrong {
        None => report.well(format!("logfile: {}", shown(file))),
        Some(wrong) => report.fault(format!("logfile: {}: {wrong}; chown it, or name another file", shown(file))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_the_one_it_will_be_made_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (path, expected) in [
            (dir.path().to_owned(), Ok(dir.path().to_owned())),
            (dir.path().join("a/b"), Ok(dir.path().to_owned())),
            (file.join("x"), Err(file)),
        ] {
            assert_eq!(usable(&path).map_err(|unusable| unusable.at), expected, "{path:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays");
    }
}
