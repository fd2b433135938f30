//! Tries the directories again that could not be watched. When, and what it means for the nodes, is the observer's
//! business.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Attached, Dirs, NodeId};
use crate::path::RelPath;

/// The result of [`Dirs::retry`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried {
    /// Directories that are watched from now on, with all below them.
    pub watched: Vec<RelPath>,
    /// `true` if the names in the tree are out of date.
    pub tangled: bool,
}

impl Dirs {
    /// Tries all directories again that are not watched, topmost first. What cannot be had once more is in
    /// [`Dirs::blind`] as before.
    pub(crate) fn retry(&mut self) -> Retried {
        let (refused, starved) = self.blind.begin_retry();
        let mut retried = Retried::default();
        for path in refused.iter().chain(starved.iter()) {
            self.retry_one(path, &mut retried);
        }
        self.blind.end_retry(&refused);
        retried
    }

    fn retry_one(&mut self, path: &RelPath, retried: &mut Retried) {
        let Some(parent) = path.parent() else {
            return self.retry_in(self.root(), retried);
        };
        if self.mounts.has(path) && self.is_file(path) {
            return self.watch_file(path);
        }
        // What is not watched above it is on the list itself, or gone.
        let Some(parent) = self.find(&parent) else { return };
        match self.attach(parent, OsStr::from_bytes(path.name())) {
            Attached::New => retried.watched.push(path.clone()),
            // It could not be listed, or stands for some that it holds.
            Attached::Known | Attached::Moved => {
                if let Some(dir) = self.find(path) {
                    self.retry_in(dir, retried);
                }
            }
            Attached::Tangled | Attached::Elsewhere => retried.tangled = true,
            Attached::Nothing | Attached::Blind => (),
        }
    }

    fn retry_in(&mut self, dir: NodeId, retried: &mut Retried) {
        let news = self.scan(dir);
        retried.watched.extend(news.tops);
        retried.tangled |= news.tangled;
    }
}
