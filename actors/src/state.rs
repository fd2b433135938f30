//! The saved state: the tree as it was when the nodes had it, and the changes that each node still lacks. After a
//! restart, or after lost events, rsync looks only at the paths that differ from the state.
//!
//! One rule keeps the state true. A stamp is saved only if it was taken before a barrier: a moment at which every
//! change that the kernel had reported was in the outboxes. The contents of the outboxes are saved together with the
//! stamps. So an entry that still matches its stamp is at a node, or is among the changes that the node lacks. An old
//! state does no harm: more is sent.

mod compare;
mod listing;
pub(crate) mod memory;
mod moved;
mod own;
mod save;
pub(crate) mod stamp;
mod stamping;
mod stamps;
pub mod store;
mod varint;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use actix::prelude::*;
use slog::{Logger, info, warn};

use self::compare::{ComparisonGround, DirDoubt};
use self::memory::Memory;
use self::moved::{MovedEntry, RecentStamps, Unpaired};
use self::save::{Saves, StateFile};
use self::store::StoreError;
use crate::change::Change;
use crate::ending::EndsDaemon;
use crate::messages::{
    AskCompared, Barrier, Compare, FindMoved, Flush, Flushed, MovesFound, Observed, Recognise, Saved,
};
use crate::mounts::Mounts;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::outbox::unsaved::Unsaved;
use crate::path::{Escaped, RelPath};
use crate::patterns::excludes::Excludes;
use crate::root::Root;
use crate::site::options::GoneEntries;
use crate::site::{DeleteMode, DirMoves, Site};
use rustix::io::Errno;

/// Number of changes in one message to the filter.
const TOLD: usize = 1000;

/// SupervisorActor -> StateActor: the site's nodes and patterns, from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Keep {
    /// Nodes whose backlogs are saved.
    pub nodes: Vec<SavedBacklog>,
    /// Patterns of the paths that are not mirrored.
    pub excludes: Excludes,
    /// The treatment of entries that a comparison finds gone.
    pub gone: GoneEntries,
}

/// A node whose backlog is saved.
#[derive(Debug, Clone)]
pub(crate) struct SavedBacklog {
    /// Identifies the node together with its parameters; see [`key`].
    pub key: String,
    /// Changes that the node does not have yet.
    pub outbox: Outbox,
}

/// Recipients of the StateActor's messages.
#[derive(Clone)]
pub(crate) struct StateOutlets {
    /// Receives the differences from the state.
    pub changes: Recipient<Observed>,
    /// Receives the end of a flush.
    pub flushed: Recipient<Flushed>,
    /// Brings everything that the kernel has reported into the outboxes.
    pub barrier: Recipient<Barrier>,
    /// Asks which new names of files are of those that went.
    pub recognise: Recipient<Recognise>,
    /// Hears which new names have been told.
    pub moved: Recipient<MovesFound>,
    /// Receives the end of the last save.
    pub saved: Recipient<Saved>,
}

/// Keeps the saved state of one site.
///
/// Receives: [`Compare`] and [`Flush`] from the filter, [`Passed`](crate::messages::Passed) as the answer to its
/// [`Barrier`], [`FindMoved`] from the watcher,
/// [`Keep`], [`AskCompared`] and [`Save`](crate::messages::Save) from the supervisor. Sends to its
/// [`StateOutlets`]. Runs on a thread of its own, since it reads
/// the disk and writes the file while it handles a message; only the orderly stop waits for it. A panic ends the
/// daemon.
pub(crate) struct StateActor {
    root: Root,
    rules: ComparisonRules,
    file: StateFile,
    nodes: Vec<SavedBacklog>,
    /// Directories on which a file system is, or was, mounted: entries that are missing below are not deleted.
    mounts: BTreeSet<RelPath>,
    /// Old names of directories that moved in the last run and that the nodes still keep. They are removed after the
    /// first comparison, which finds the new names.
    away: BTreeSet<RelPath>,
    unsaved: Unsaved,
    recognised: RecentStamps,
    outlets: StateOutlets,
    saves: Saves,
    log: Logger,
    _guard: EndsDaemon,
}

/// The rules of the site by which the tree is compared with the state.
struct ComparisonRules {
    excludes: Excludes,
    gone: GoneEntries,
    /// The fate of directory moves: if all nodes mirror these, the old name of a moved directory is removed.
    dir_moves: DirMoves,
    /// The same, if any node mirrors these: what was away for a while may be deleted there.
    most_dir_moves: DirMoves,
}

/// Returns a text that identifies a node and the configuration that decides what the node has.
pub(crate) fn key(site: &Site, node: &Node) -> String {
    let site = site.at(node);
    let patterns: Vec<_> = site.excludes.patterns().iter().map(ToString::to_string).collect();
    let node = Escaped(node.dest().as_bytes());
    let delete = if site.delete == DeleteMode::Always { String::new() } else { format!("{:?} ", site.delete) };
    format!("{node} {delete}{:?} {:?} {patterns:?}", site.initial_sync, site.extra.words())
}

impl StateActor {
    /// Makes the actor for a site; [`Keep`] adds the nodes.
    pub(crate) fn new(
        site: &Site,
        Memory { root, store, mounts, away, unsaved, .. }: Memory,
        outlets: StateOutlets,
        log: Logger,
        guard: EndsDaemon,
    ) -> Self {
        StateActor {
            root,
            rules: ComparisonRules {
                excludes: site.excludes.clone(),
                gone: site.gone_entries(),
                dir_moves: site.least_dir_moves(),
                most_dir_moves: site.most_dir_moves(),
            },
            file: StateFile::Open(store),
            nodes: Vec::new(),
            mounts,
            away,
            unsaved,
            recognised: RecentStamps::default(),
            outlets,
            saves: Saves::default(),
            log,
            _guard: guard,
        }
    }

    fn note_mounts(&mut self) {
        let mounted = Mounts::below(&self.root.reach().resolved()).map(|mounts| mounts.points()).unwrap_or_default();
        self.mounts.retain(|path| !mounted.contains(path));
        let left: Vec<RelPath> = self.mounts.iter().filter(|path| self.may_be_dir(path)).cloned().collect();
        self.mounts = mounted.into_iter().chain(left).collect();
    }

    /// Tells if there is something at a path. What cannot be looked at is there: its file system may be dead, or not answer.
    fn exists(&self, path: &RelPath) -> bool {
        self.root.look_at(path).map_or_else(|error| !is_missing(&error), |_| true)
    }

    fn may_be_dir(&self, path: &RelPath) -> bool {
        self.root.look_at(path).map_or_else(|error| !is_missing(&error), |meta| meta.is_dir())
    }

    /// Reports all differences from the state to the filter, and returns their number.
    fn compare(&self, unsaved_names: bool) -> Result<usize, StoreError> {
        let Some(store) = self.file.store() else { return Ok(0) };
        let ComparisonRules { excludes, gone, dir_moves, most_dir_moves } = &self.rules;
        let deletes = *gone == GoneEntries::Removed;
        let arriving = self.root.arriving();
        let mut found = Vec::new();
        let mut count = 0;
        let mut tell = |change: Change| {
            let told = match &change {
                // The watcher reports it when it has its own name.
                _ if change.path().is_some_and(|path| arriving.holds(path)) => None,
                Change::Removed { path, .. } => match gone {
                    GoneEntries::Removed => Some(change),
                    GoneEntries::Compared => path.parent().map(|path| Change::Level { path }),
                    // Only removals that the watcher saw are mirrored.
                    GoneEntries::Kept => None,
                },
                _ => Some(change),
            };
            let Some(change) = told else { return };
            count += 1;
            found.push(change);
            if found.len() >= TOLD {
                self.outlets.changes.do_send(Observed(std::mem::take(&mut found)));
            }
        };
        let known = &store.known()?;
        let doubt = match most_dir_moves {
            _ if !unsaved_names => DirDoubt::None,
            DirMoves::Log => DirDoubt::Names,
            DirMoves::Replicate => DirDoubt::All,
        };
        let ground = ComparisonGround { reach: self.root.reach(), known, excludes, doubt, deletes };
        let result = compare::compare(ground, &mut tell);
        let away = self.away.iter().filter(|path| (deletes || *dir_moves == DirMoves::Replicate) && !self.exists(path));
        let away: Vec<Change> = away.map(|path| Change::Removed { path: path.clone(), is_dir: true }).collect();
        count += away.len();
        found.extend(away);
        self.outlets.changes.do_send(Observed(found));
        result.map(|()| count)
    }
}

impl Actor for StateActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(ctx);
        if self.rules.gone == GoneEntries::Removed {
            self.outlets.recognise.do_send(Recognise(ctx.address().recipient()));
        }
    }
}

impl Handler<Keep> for StateActor {
    type Result = ();

    fn handle(&mut self, Keep { nodes, excludes, gone }: Keep, ctx: &mut Self::Context) {
        if excludes != self.rules.excludes {
            // The state has no stamps for paths that were excluded until now.
            self.unsaved.fill();
        }
        self.nodes = nodes;
        self.rules = ComparisonRules { excludes, gone, ..self.rules };
        self.save_soon(ctx);
    }
}

impl Handler<Compare> for StateActor {
    type Result = ();

    fn handle(&mut self, Compare { unsaved_names }: Compare, ctx: &mut Self::Context) {
        let started = Instant::now();
        // This save took its stamps before the events were lost.
        if let Some(saving) = self.saves.take() {
            self.abort(saving);
        }
        let compared = self.reopen().and_then(|is_known| match is_known {
            true => self.compare(unsaved_names),
            false => Err(StoreError::Damaged),
        });
        self.away.clear();
        match compared {
            Ok(count) => info!(self.log, "compared with the state"; "differences" => count,
                "took_ms" => started.elapsed().as_millis()),
            Err(why) => {
                warn!(self.log, "the state is of no use: comparing everything"; "why" => %why);
                self.outlets.changes.do_send(Observed(vec![Change::Subtree { path: RelPath::root() }]));
            }
        }
        self.outlets.changes.do_send(Observed(vec![Change::ComparedWithState]));
        self.save_soon(ctx);
    }
}

impl Handler<Flush> for StateActor {
    type Result = ();

    /// Answers; all changes found earlier reach the filter before this answer.
    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.outlets.flushed.do_send(Flushed);
    }
}

impl Handler<FindMoved> for StateActor {
    type Result = ();

    fn handle(&mut self, names: FindMoved, _: &mut Self::Context) {
        let reach = self.root.reach();
        let known = self.file.store().and_then(|store| store.known().ok());
        let unpaired = known.map(|known| Unpaired::of(names, &known, &mut self.recognised, reach));
        let moved = unpaired.map(|mut unpaired| unpaired.take_moved(reach, true)).unwrap_or_default();
        moved.iter().for_each(|moved| self.recognised.add(&moved.to));
        let new = moved.iter().map(|moved| moved.to.path.clone()).collect();
        let renamed = moved.into_iter().map(|MovedEntry { from, to }| Change::Renamed { from, to: to.path });
        let renamed: Vec<Change> = renamed.collect();
        if !renamed.is_empty() {
            self.outlets.changes.do_send(Observed(renamed));
        }
        // The watcher asks no second time before this answer.
        self.outlets.moved.do_send(MovesFound(new));
    }
}

impl Handler<AskCompared> for StateActor {
    type Result = ();

    fn handle(&mut self, AskCompared(answer): AskCompared, _: &mut Self::Context) {
        // Nobody listens any more when it took too long.
        let _ = answer.send(());
    }
}

/// Tells if an error means that nothing is there.
fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| matches!(errno, Errno::NOENT | Errno::NOTDIR))
}

#[cfg(test)]
mod tests;
