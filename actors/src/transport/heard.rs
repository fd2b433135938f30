//! What the rsync runs of one node said that they changed there, until somebody is told of it. A run that failed in the
//! end has changed something all the same, and the next one finds it done and says nothing of it. But rsync says it before
//! it is done: what such a run did not do has to be known from elsewhere, as the paths of a batch are, which stay pending. Of a
//! comparison of everything nothing is known: what it said is kept back until one succeeds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use crate::path::RelPath;
use crate::transport::rename::is_detour;

/// Paths that are kept for a run, and bytes of their names. Past it the run is told that its list is not complete.
pub const PATHS: usize = 100_000;

/// See [`PATHS`].
pub const BYTES: usize = 16 << 20;

/// Room for paths: neither too many nor too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    paths: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { paths: PATHS, bytes: BYTES }
    }
}

impl Room {
    /// Room for so many paths.
    pub fn of(paths: usize) -> Room {
        Room { paths, ..Room::default() }
    }

    /// Takes the room for a path, if there is some left.
    pub fn take(&mut self, path: &RelPath) -> bool {
        let bytes = path.as_bytes().len();
        let fits = self.paths > 0 && self.bytes >= bytes;
        if fits {
            (self.paths, self.bytes) = (self.paths - 1, self.bytes - bytes);
        }
        fits
    }

    /// A path has left.
    pub fn give_back(&mut self, path: &RelPath) {
        (self.paths, self.bytes) = (self.paths + 1, self.bytes + path.as_bytes().len());
    }
}

/// What was heard of one node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Heard(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether anybody is to be told.
    wanted: bool,
    sure: Kept,
    /// Perhaps.
    unsure: Kept,
}

/// News, as far as there is room.
#[derive(Debug, Default)]
struct Kept {
    news: News,
    room: Room,
}

/// What changed at a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The paths, each with the time at which the last run began that changed it: what was seen before that, is in it.
    pub paths: BTreeMap<RelPath, Instant>,
    /// When the last run began of which not all paths are here.
    pub cut: Option<Instant>,
}

/// What becomes of what a run said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It is news.
    News,
    /// It is news if a later run says so.
    Perhaps,
    /// It is news, and so is what was perhaps.
    Proof,
}

/// Listens to one run. What it heard counts when it is dropped, which is when the run has ended.
#[derive(Debug)]
pub struct Listener {
    worth: Worth,
    heard: Heard,
    since: Instant,
    paths: Vec<RelPath>,
    room: Room,
    cut: bool,
}

impl Heard {
    /// Whether anybody is to be told. If not, nothing is kept.
    pub fn want(&self, wanted: bool) {
        let mut inner = self.0.borrow_mut();
        inner.wanted = wanted;
        if !wanted {
            (inner.sure, inner.unsure) = Default::default();
        }
    }

    /// Listens to a run that begins now; `None` if nobody is to be told.
    pub fn listen(&self) -> Option<Listener> {
        let (since, room) = (Instant::now(), Room::default());
        let wanted = self.0.borrow().wanted;
        wanted.then(|| Listener { worth: Worth::News, heard: self.clone(), since, paths: Vec::new(), room, cut: false })
    }

    /// All that was heard since the last time.
    pub fn take(&self) -> News {
        std::mem::take(&mut self.0.borrow_mut().sure).news
    }
}

impl Listener {
    /// The run changed something. Names of the daemon's own are nobody's business.
    pub fn add(&mut self, path: RelPath) {
        if is_detour(&path) {
            return;
        }
        match self.room.take(&path) {
            true => self.paths.push(path),
            false => self.cut = true,
        }
    }

    /// Nothing counts before it is known to be done.
    pub fn needs_proof(mut self) -> Self {
        self.worth = Worth::Perhaps;
        self
    }

    /// All that was said is done, but what `failed`; and so is what was said before and needed proof.
    pub fn prove(&mut self, failed: impl Fn(&RelPath) -> bool) {
        self.paths.retain(|path| !failed(path));
        self.worth = Worth::Proof;
    }

    /// Whether there was no room for all.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Kept {
    fn add(&mut self, path: RelPath, since: Instant) {
        if let Some(last) = self.news.paths.get_mut(&path) {
            *last = since.max(*last);
        } else if self.room.take(&path) {
            self.news.paths.insert(path, since);
        } else {
            self.cut(since);
        }
    }

    fn cut(&mut self, since: Instant) {
        self.news.cut = self.news.cut.max(Some(since));
    }

    fn add_all(&mut self, other: Kept) {
        other.news.paths.into_iter().for_each(|(path, since)| self.add(path, since));
        other.news.cut.into_iter().for_each(|since| self.cut(since));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Inner { wanted, sure, unsure } = &mut *self.heard.0.borrow_mut();
        if !*wanted {
            return;
        }
        let to = if self.worth == Worth::Perhaps { &mut *unsure } else { &mut *sure };
        self.paths.drain(..).for_each(|path| to.add(path, self.since));
        if self.cut {
            to.cut(self.since);
        }
        if self.worth == Worth::Proof {
            sure.add_all(std::mem::take(unsure));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rename::detour;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_run_changed_counts_at_its_end_and_only_where_somebody_is_to_be_told() {
        let heard = Heard::default();
        assert!(heard.listen().is_none());
        heard.want(true);
        let (mut first, mut second) = (heard.listen().unwrap(), heard.listen().unwrap());
        let last = second.since;
        first.add(rel("a"));
        second.add(rel("a"));
        second.add(rel("b"));
        second.add(detour(&rel("b")));
        assert_eq!(heard.take(), News::default());
        drop((second, first));
        let news = heard.take();
        assert_eq!(news, News { paths: [(rel("a"), last), (rel("b"), last)].into(), cut: None });
        assert_eq!(heard.take(), News::default());
        let mut third = heard.listen().unwrap();
        third.add(rel("c"));
        heard.want(false);
        drop(third);
        assert_eq!(heard.take(), News::default());
    }

    #[test]
    fn what_there_is_no_room_for_is_told_as_such() {
        let heard = Heard::default();
        heard.want(true);
        heard.0.borrow_mut().sure.room = Room::of(1);
        let mut run = heard.listen().unwrap();
        let since = run.since;
        ["a", "b"].iter().for_each(|path| run.add(rel(path)));
        drop(run);
        assert_eq!(heard.take(), News { paths: [(rel("a"), since)].into(), cut: Some(since) });
        let mut run = heard.listen().unwrap();
        run.room = Room::of(0);
        run.add(rel("a"));
        assert!(run.is_cut());
        drop(run);
        assert!(heard.take().cut.is_some());
    }

    #[test]
    fn what_needs_proof_counts_when_a_later_run_succeeds_without_what_failed_in_that() {
        let heard = Heard::default();
        heard.want(true);
        let mut first = heard.listen().unwrap().needs_proof();
        let since = first.since;
        first.add(rel("a"));
        drop(first);
        let mut beside = heard.listen().unwrap();
        beside.add(rel("b"));
        drop(beside);
        assert_eq!(heard.take().paths.into_keys().collect::<Vec<_>>(), [rel("b")]);
        let mut second = heard.listen().unwrap().needs_proof();
        let later = second.since;
        second.add(rel("c"));
        second.add(rel("failed"));
        second.prove(|path| *path == rel("failed"));
        drop(second);
        assert_eq!(heard.take(), News { paths: [(rel("a"), since), (rel("c"), later)].into(), cut: None });
    }
}
