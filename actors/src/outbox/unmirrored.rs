//! Directory moves that a node does not follow (`dir_moves: Log`): what differs there because of them, until the name
//! is sent, deleted, or the whole tree was compared. A plain data structure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use crate::path::RelPath;

/// Moves that are remembered by name, the latest; and new directories.
const REMEMBERED: usize = 10_000;

/// A move that is not mirrored. One of the names at least is wrong at the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    /// The name that the node has, and the source has not.
    pub old: Option<RelPath>,
    /// The name that the source has, and of which the node lacks content.
    pub new: Option<RelPath>,
    /// Some of it may have been sent by the new name nevertheless.
    partial: bool,
    at: Instant,
}

/// The names, for people.
impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{old} to {new}"),
            (Some(name), None) | (None, Some(name)) => write!(f, "{name}"),
            (None, None) => Ok(()),
        }
    }
}

/// The moves that one node does not follow.
#[derive(Debug, Default)]
pub(crate) struct Unmirrored {
    /// By the order in which they were made.
    moves: BTreeMap<u64, Move>,
    olds: BTreeMap<RelPath, u64>,
    news: BTreeMap<RelPath, u64>,
    /// Moves that are only counted, and the last of them.
    dropped: (usize, u64),
    /// Of an earlier run: those up to this one.
    resumed: u64,
    /// New directories that wait as a whole: the node has nothing of them, so that it misses no move of one.
    fresh: BTreeSet<RelPath>,
    /// The log has told that there are some.
    is_told: bool,
}

impl Unmirrored {
    /// The number of moves that the node does not follow.
    pub(crate) fn count(&self) -> usize {
        self.moves.len() + self.dropped.0
    }

    /// The moves, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Move> {
        self.moves.values()
    }

    /// Tells if there are moves that the log has not told. It tells them once until a comparison of everything left
    /// none.
    pub(crate) fn is_to_be_told(&mut self) -> bool {
        let is_news = self.count() > 0 && !self.is_told;
        self.is_told |= is_news;
        is_news
    }

    /// A directory is at `to` that was at `from`, of which the node keeps the old name. A move that goes on is one
    /// move; `orders` are for it and for a name in between.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath, orders: [u64; 2], at: Instant) {
        self.clear_new(to);
        self.rebase_below(from, to);
        if self.is_fresh(from) {
            return self.forget_fresh(from);
        }
        self.forget_fresh(from);
        let new = Some(to.clone());
        let partial = false;
        let Some(before) = self.news.get(from).copied().and_then(|before| self.take(before)) else {
            let old = self.is_at_node(from).then(|| from.clone());
            return self.insert(orders[0], Move { old, new, partial, at });
        };
        self.insert(orders[0], Move { old: before.old, new, partial, at });
        if before.partial {
            self.insert(orders[1], Move { old: Some(from.clone()), new: None, partial: false, at });
        }
    }

    /// The directory that was at `from` left the tree, and the node keeps the name.
    pub(crate) fn moved_out(&mut self, from: &RelPath, order: u64, at: Instant) {
        if self.is_fresh(from) {
            return self.forget_fresh(from);
        }
        let is_at_node = self.is_at_node(from);
        self.removed(from);
        if is_at_node {
            self.insert(order, Move { old: Some(from.clone()), new: None, partial: false, at });
        }
    }

    /// Tells if the node keeps a directory that was moved away from this name, or from one below it.
    pub(crate) fn has_old(&self, path: &RelPath) -> bool {
        self.olds.contains_key(path) || self.olds.range(path.below()).next().is_some()
    }

    /// Ends the use of an old name: the new entry there is sent, or its removal is.
    pub(crate) fn returned(&mut self, path: &RelPath) {
        if let Some(order) = self.olds.remove(path) {
            self.change(order, |moved| moved.old = None);
        }
    }

    /// A directory waits to be compared with all that is below it.
    pub(crate) fn compared(&mut self, dir: &RelPath) {
        self.returned(dir);
        self.clear_new(dir);
        self.clear_news_below(dir);
    }

    /// A directory is gone: the node is to delete what it has of it.
    pub(crate) fn removed(&mut self, dir: &RelPath) {
        self.forget_fresh(dir);
        self.clear_new(dir);
        self.clear_news_below(dir);
    }

    /// A directory was made of which the node has nothing.
    pub(crate) fn created(&mut self, dir: &RelPath) {
        if self.fresh.len() < REMEMBERED && !self.is_fresh(dir) {
            self.fresh.insert(dir.clone());
        }
    }

    /// Tells if the node has nothing of a directory, for it is new and waits.
    pub(crate) fn is_fresh(&self, dir: &RelPath) -> bool {
        !self.fresh.is_empty() && (self.fresh.contains(dir) || dir.ancestors().any(|dir| self.fresh.contains(&dir)))
    }

    /// The node is about to get a path.
    pub(crate) fn begins(&mut self, path: &RelPath) {
        if !self.news.is_empty() {
            let above = path.ancestors().chain([path.clone()]).filter_map(|dir| self.news.get(&dir).copied());
            let above: Vec<u64> = above.collect();
            above.into_iter().for_each(|order| self.change(order, |moved| moved.partial = true));
        }
        if !self.fresh.is_empty() {
            self.forget_fresh(path);
            path.ancestors().for_each(|dir| {
                self.fresh.remove(&dir);
            });
        }
    }

    /// The node is about to get anything.
    pub(crate) fn begins_all(&mut self) {
        self.fresh.clear();
    }

    /// A comparison of everything dealt with what was moved until then.
    pub(crate) fn forget_first(&mut self, order: u64) {
        self.forget(|number, _| number <= order);
        if self.dropped.1 <= order {
            self.dropped = (0, 0);
        }
        self.is_told &= self.count() > 0;
    }

    /// Another process compared everything, and began at this time.
    pub(crate) fn forget_before(&mut self, began: Instant) {
        self.forget(|_, moved| moved.at < began);
        if self.moves.values().all(|moved| moved.at >= began) {
            self.dropped = (0, 0);
        }
        self.is_told &= self.count() > 0;
    }

    /// Takes up a move of an earlier run.
    pub(crate) fn resume(&mut self, old: Option<RelPath>, new: Option<RelPath>, order: u64) {
        if old.is_none() && new.is_none() {
            return;
        }
        self.insert(order, Move { old, new, partial: true, at: Instant::now() });
        (self.resumed, self.is_told) = (order, true);
    }

    /// All that differs since the last run waits to be sent.
    pub(crate) fn forget_resumed(&mut self) {
        let resumed = std::mem::take(&mut self.resumed);
        self.forget(|number, _| number <= resumed);
        self.is_told &= self.count() > 0;
    }

    fn forget_fresh(&mut self, dir: &RelPath) {
        if dir.is_root() {
            return self.fresh.clear();
        }
        let below: Vec<RelPath> = self.fresh.range(dir.below()).cloned().chain([dir.clone()]).collect();
        for dir in below {
            self.fresh.remove(&dir);
        }
    }

    /// Tells if the node has anything by the name that a directory leaves: of a directory that was moved there, or
    /// below, it has only what was sent since.
    fn is_at_node(&self, from: &RelPath) -> bool {
        let mut moved = from.ancestors().chain([from.clone()]).filter_map(|dir| self.moves.get(self.news.get(&dir)?));
        moved.all(|moved| moved.partial)
    }

    /// Moves the new names below a directory on with it.
    fn rebase_below(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<(RelPath, u64)> =
            self.news.range(from.below()).map(|(new, order)| (new.clone(), *order)).collect();
        for (old, order) in moved {
            self.news.remove(&old);
            let Some(new) = old.rebase(from, to) else { continue };
            self.news.insert(new.clone(), order);
            self.change(order, |moved| moved.new = Some(new));
        }
    }

    fn clear_new(&mut self, path: &RelPath) {
        if let Some(order) = self.news.remove(path) {
            self.change(order, |moved| moved.new = None);
        }
    }

    fn clear_news_below(&mut self, dir: &RelPath) {
        let below: Vec<RelPath> = match dir.is_root() {
            true => self.news.keys().cloned().collect(),
            false => self.news.range(dir.below()).map(|(new, _)| new.clone()).collect(),
        };
        below.iter().for_each(|new| self.clear_new(new));
    }

    fn insert(&mut self, order: u64, moved: Move) {
        if moved.old.is_none() && moved.new.is_none() {
            return;
        }
        self.olds.extend(moved.old.clone().map(|old| (old, order)));
        self.news.extend(moved.new.clone().map(|new| (new, order)));
        self.moves.insert(order, moved);
        if self.moves.len() > REMEMBERED
            && let Some((oldest, _)) = self.moves.first_key_value().map(|(order, moved)| (*order, moved.at))
        {
            self.take(oldest);
            self.dropped = (self.dropped.0 + 1, oldest);
        }
    }

    fn take(&mut self, order: u64) -> Option<Move> {
        let moved = self.moves.remove(&order)?;
        if let Some(old) = &moved.old {
            self.olds.remove(old);
        }
        if let Some(new) = &moved.new {
            self.news.remove(new);
        }
        Some(moved)
    }

    /// Changes a move, which is over when neither name is wrong any more.
    fn change(&mut self, order: u64, change: impl FnOnce(&mut Move)) {
        let Some(moved) = self.moves.get_mut(&order) else { return };
        change(moved);
        if moved.old.is_none() && moved.new.is_none() {
            self.moves.remove(&order);
        }
    }

    fn forget(&mut self, is_over: impl Fn(u64, &Move) -> bool) {
        let over: Vec<u64> =
            self.moves.iter().filter(|(order, moved)| is_over(**order, moved)).map(|(order, _)| *order).collect();
        over.into_iter().for_each(|order| drop(self.take(order)));
    }
}

#[cfg(test)]
mod tests;
