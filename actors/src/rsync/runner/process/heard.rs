//! Keeps what an rsync says on its error output, and bounds how much of it tells nothing.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

use super::lines::{Lines, Text};
use super::watch::Patience;
use crate::rsync::report::claims::Bearing;
use crate::rsync::report::complaint::Complaint;
use crate::rsync::report::noise::is_noise;
use crate::rsync::report::unset::is_unset;

/// Bytes of the error output that are kept; the rest is read and dropped.
const STDERR_LIMIT: usize = 256 * 1024;
/// Stands for what was dropped: a complaint that names no path, so that none passes for delivered.
const MORE_WAS_SAID: &[u8] = b"\nrsync: more was said than is kept\n";
/// Bytes that are kept of complaints about attributes: there may be one for each entry of the tree, and what did not
/// arrive must still be told.
const ATTRIBUTES_LIMIT: usize = STDERR_LIMIT / 2;
/// Stands for those that were dropped.
pub(crate) const MORE_ATTRIBUTES: &[u8] = b"rsync: more attributes could not be set than are told\n";
/// By so much what no rsync ever says counts for more than what tells nothing.
const NEVER_SAID: u64 = 64;
/// So many bytes are read before others on this thread have a turn: one that floods is always ready.
const TURN: u64 = 32 * 1024;
/// The error output of a run, as far as it is kept.
#[derive(Default)]
pub(super) struct ErrorOutput {
    text: RefCell<Vec<u8>>,
    dropped: Cell<bool>,
    attributes: Cell<usize>,
}

impl ErrorOutput {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.borrow().is_empty()
    }

    /// Takes the lines that were kept.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.text.take()
    }

    /// One line. What is not kept tells nothing; nobody but rsync has so much to say.
    pub(crate) fn hear(&self, line: &[u8]) -> Bearing {
        let mut text = self.text.borrow_mut();
        let attributes = self.attributes.get() + if is_unset(line) { line.len() + 1 } else { 0 };
        let was_full = self.attributes.replace(attributes) > ATTRIBUTES_LIMIT;
        let is_one_more = attributes > ATTRIBUTES_LIMIT && is_unset(line);
        let is_kept = !is_noise(line) && !is_one_more && text.len() + line.len() < STDERR_LIMIT;
        if is_kept {
            text.extend([line, b"\n"].concat());
        } else if is_one_more {
            text.extend(if was_full { b"" } else { MORE_ATTRIBUTES });
        } else if !is_noise(line) && !self.dropped.replace(true) {
            text.extend(MORE_WAS_SAID);
        }
        match () {
            () if is_kept => Bearing::Ours,
            () if is_noise(line) || Complaint::read(line).is_some() => Bearing::Nothing,
            () => Bearing::Foreign,
        }
    }
}

/// Bounds the text of a run that tells nothing. The node may say what it likes, and as much as it likes.
pub(super) struct Talk {
    left: Cell<u64>,
    over: Notify,
}

impl Talk {
    pub(crate) fn new(patience: Patience) -> Talk {
        Talk { left: Cell::new(patience.talk()), over: Notify::new() }
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.left.set(self.left.get().saturating_sub(bytes));
        if self.left.get() == 0 {
            self.over.notify_one();
        }
    }

    pub(crate) async fn is_too_much(&self) {
        self.over.notified().await;
    }
}

/// Hands each line to `line`, which says how it bears on the run.
pub(super) async fn listen(lines: Option<Lines>, mut line: impl FnMut(&[u8]) -> Bearing, talk: &Talk) {
    let Some(mut lines) = lines else { return };
    let mut read = 0;
    while let Some(text) = lines.next().await {
        let bytes = text.len();
        match text {
            Text::Line(text) => match line(text) {
                Bearing::Ours => (),
                Bearing::Nothing => talk.add(bytes),
                Bearing::Foreign => talk.add(bytes * NEVER_SAID),
            },
            Text::Dropped(_) => talk.add(bytes * NEVER_SAID),
        }
        read += bytes;
        if read >= TURN {
            read = 0;
            tokio::task::yield_now().await;
        }
    }
}
