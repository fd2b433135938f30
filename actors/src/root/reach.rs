//! The file systems of the source that may hang: network and FUSE mounts in the source, or the mount that the source lies on.
//! A look at an entry there happens where it holds up nobody else: in a process that is given up when the look takes too
//! long. Then the mount counts as silent, and nothing is looked at there, until the mount has answered each question.

mod entries;
mod ground;
pub mod helper;
pub(crate) mod look;
mod meta;
pub(crate) mod named;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use self::ground::{Common, Ground, PATIENCE};
use self::look::{Found, Look, Place};
use rustix::fs::FileType;

use crate::mounts;
use crate::path::RelPath;
use crate::root::sighting::Sighting;

/// Time between two questions while a run may read there, and before another one where the asking was broken off.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two looks for such a file system while a run goes on and there is none.
const RARELY: Duration = Duration::from_secs(10);

/// Tells if a look at a file system of this kind waits for another machine or process.
fn may_hang(kind: &str) -> bool {
    mounts::is_network(kind.as_bytes()) || mounts::is_fuse(kind.as_bytes())
}

/// A mounted file system that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// The mount point; the root if the source lies on it.
    pub path: RelPath,
    /// Its kind, as the kernel lists it.
    pub kind: String,
    /// The time of the question without an answer.
    pub since: SystemTime,
}

/// News of a file system that may hang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountNews {
    /// It does not answer.
    Silent(Silent),
    /// The file system answers again.
    Answers {
        /// The file system, as it was while it did not answer.
        silent: Silent,
        /// `true` if somebody went on without a look there, or the silence was long.
        missed: bool,
    },
    /// It is not mounted any more, and never answered.
    Unmounted(Silent),
}

/// The names in a directory, each with its kind.
type NamesWithKinds = Vec<(OsString, FileType)>;
type MountListener = Box<dyn Fn(&MountNews) + Send + Sync>;

/// The processes that look at what belongs to no tree. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Onlookers(Arc<Common>);

impl Onlookers {
    /// Has another process carry out a look, and waits until the file system answers.
    ///
    /// # Errors
    /// The error of the kernel; `BrokenPipe` if somebody ended the process.
    pub(crate) fn carry_out(&self, look: &Look) -> io::Result<Found> {
        let helper = self.0.ask(look)?;
        let found = helper.answer();
        self.0.keep(helper);
        found
    }
}

impl std::fmt::Debug for Onlookers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Onlookers")
    }
}

/// Knows which file systems of a tree answer. Clones share it.
#[derive(Clone)]
pub struct Reach(Arc<Grounds>);

struct Grounds {
    root: PathBuf,
    /// The same without symlinks, as far as that could be looked at.
    resolved: Mutex<PathBuf>,
    mounts: Mutex<BTreeMap<RelPath, Arc<Ground>>>,
    /// `true` if there is any: mostly there is none.
    any: AtomicBool,
    common: Arc<Common>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reach").field(&self.0.root).finish()
    }
}

impl Reach {
    /// Finds the file systems of the tree at `root`: that which the root lies on, and those mounted below.
    pub fn of(root: &Path) -> Reach {
        let (root, resolved, mounts) = (root.to_owned(), Mutex::new(root.to_owned()), Mutex::default());
        let grounds = Grounds { root, resolved, mounts, any: AtomicBool::new(false), common: Arc::default() };
        let reach = Reach(Arc::new(grounds));
        reach.refresh();
        reach
    }

    /// The root without symlinks, as it was last seen.
    pub(crate) fn resolved(&self) -> PathBuf {
        lock(&self.0.resolved).clone()
    }

    /// Finds the file systems anew, as something was mounted or unmounted.
    pub(crate) fn refresh(&self) {
        // By the name that is known, so that the mount that the root lies on is known before that is resolved.
        self.read_table();
        let found = self.carry_out(&RelPath::root(), Look::Resolved(self.place(&RelPath::root())));
        let resolved = found.ok().map(|found| PathBuf::from(OsString::from_vec(found.text)));
        if let Some(resolved) = resolved.filter(|resolved| *resolved != self.resolved()) {
            *lock(&self.0.resolved) = resolved;
            self.read_table();
        }
    }

    fn read_table(&self) {
        // Of several on one point the last covers the others.
        let kinds: BTreeMap<RelPath, (u64, String)> =
            mounts::kinds(&self.resolved()).into_iter().map(|(point, number, kind)| (point, (number, kind))).collect();
        let mut mounts = lock(&self.0.mounts);
        let is_there = |ground: &Ground| kinds.get(&ground.point).is_some_and(|(number, _)| *number == ground.number);
        let gone: Vec<Arc<Ground>> = mounts.values().filter(|ground| !is_there(ground)).cloned().collect();
        mounts.retain(|_, ground| is_there(ground));
        for (point, (number, kind)) in kinds.into_iter().filter(|(_, (_, kind))| may_hang(kind)) {
            let (on_disk, common) = (point.under(&self.0.root), self.0.common.clone());
            mounts.entry(point.clone()).or_insert_with(|| Arc::new(Ground::new(point, on_disk, kind, number, common)));
        }
        self.0.any.store(!mounts.is_empty(), Ordering::Release);
        drop(mounts);
        // What it is asked still has an answer that nobody waits for.
        for silent in gone.iter().filter_map(|ground| ground.leave()) {
            self.0.common.say(&MountNews::Unmounted(silent));
        }
    }

    /// Tells `listener` from now on. It is called by any thread, and must not wait.
    pub(crate) fn listen(&self, listener: impl Fn(&MountNews) + Send + Sync + 'static) {
        lock(&self.0.common.listeners).push(Box::new(listener));
    }

    /// The file systems that do not answer.
    pub(crate) fn silent(&self) -> Vec<Silent> {
        self.grounds().iter().filter_map(|ground| ground.silent()).collect()
    }

    /// Asks the file system on which the root itself lies, if it may hang; one that sleeps is waited for as long as by a run.
    ///
    /// # Errors
    /// The file system does not answer.
    pub(super) fn ask_root_patiently(&self) -> Result<(), Silent> {
        let Some(ground) = self.holder(&RelPath::root()) else { return Ok(()) };
        ground.ask();
        if ground.answers_within(PATIENCE) { Ok(()) } else { ground.silent().map_or(Ok(()), Err) }
    }

    /// Looks at a directory that may be the root: its identity and at most so many names in it, with the kind of each. `None`
    /// if it may not be read.
    ///
    /// # Errors
    /// As for [`Reach::look`].
    pub(super) fn see(&self, path: &Path, most: u64) -> io::Result<(Sighting, Option<NamesWithKinds>)> {
        let look = Look::Root { place: Place::at(path), most, opens: false };
        let found = self.carry_out(&RelPath::root(), look)?;
        let seen = Sighting::decode(found.facts);
        Ok((seen, (found.number == 0).then(|| found.entries())))
    }

    /// Opens the directory that is at the path of the root, and looks at it.
    ///
    /// # Errors
    /// As for [`Reach::look`], and when it may not be read.
    pub(super) fn see_opened(&self) -> io::Result<(Sighting, OwnedFd)> {
        let look = Look::Root { place: self.place(&RelPath::root()), most: 0, opens: true };
        let found = self.carry_out(&RelPath::root(), look)?;
        if let Some(refused) = i32::try_from(found.number).ok().filter(|number| *number != 0) {
            return Err(io::Error::from_raw_os_error(refused));
        }
        Ok((Sighting::decode(found.facts), found.opened.ok_or(io::ErrorKind::InvalidData)?))
    }

    /// The file system on which the root itself lies, if it is known not to answer.
    pub(super) fn root_silent(&self) -> Option<Silent> {
        self.holder(&RelPath::root()).and_then(|ground| ground.silent())
    }

    /// Returns true if the file system on which the root itself lies is known not to answer.
    pub(crate) fn is_root_silent(&self) -> bool {
        self.root_silent().is_some()
    }

    /// Returns true if some file system does not answer.
    pub(crate) fn is_silent(&self) -> bool {
        self.grounds().iter().any(|ground| ground.silent().is_some())
    }

    /// Returns true if one that is mounted on `dir` or below does not answer.
    pub(crate) fn is_silent_below(&self, dir: &RelPath) -> bool {
        let is_below = |ground: &Ground| ground.point == *dir || ground.point.is_below(dir) || dir.is_root();
        self.grounds().iter().any(|ground| is_below(ground) && ground.silent().is_some())
    }

    /// Returns true if the entry at `path` can be looked at: the file system there answers, and is asked if need be.
    pub fn answers(&self, path: &RelPath) -> bool {
        self.holder(path).is_none_or(|ground| {
            let answers = ground.answers();
            if !answers {
                ground.note_skipped();
            }
            answers
        })
    }

    /// Asks all that may hang, and waits for the answers as long as a run would.
    ///
    /// # Errors
    /// The first that does not answer.
    pub fn ask_all(&self) -> Result<(), Silent> {
        let grounds = self.grounds();
        grounds.iter().for_each(|ground| ground.ask());
        let is_silent = |ground: &Arc<Ground>| if ground.answers_within(PATIENCE) { None } else { ground.silent() };
        grounds.iter().find_map(is_silent).map_or(Ok(()), Err)
    }

    /// The mount point of the file system that may hang and on which a path lies.
    pub(crate) fn point(&self, path: &RelPath) -> Option<RelPath> {
        self.holder(path).map(|ground| ground.point.clone())
    }

    /// Carries out work that `reads` what is mounted at some points, until one of these has not answered for so long that
    /// the work would wait for ever.
    ///
    /// # Errors
    /// The file system that does not answer.
    pub(crate) async fn while_it_answers<T>(
        self,
        reads: impl Fn(&RelPath) -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, Silent> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            silent = self.falls_silent(reads) => Err(silent),
        }
    }

    /// Asks, of what is mounted at the points that somebody `reads`, again and again, until something is given up.
    pub async fn falls_silent(self, reads: impl Fn(&RelPath) -> bool) -> Silent {
        let touched = || {
            self.grounds()
                .into_iter()
                .filter(|ground| ground.point.is_root() || reads(&ground.point))
                .collect::<Vec<_>>()
        };
        loop {
            if let Some(silent) = touched().iter().find_map(|ground| ground.given_up()) {
                return silent;
            }
            // One may be mounted while the work goes on.
            if !self.0.any.load(Ordering::Acquire) {
                tokio::time::sleep(RARELY).await;
                continue;
            }
            let _ = tokio::time::timeout(EVERY, self.0.common.said.notified()).await;
            touched().iter().for_each(|ground| ground.ask());
        }
    }

    fn grounds(&self) -> Vec<Arc<Ground>> {
        if !self.0.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        lock(&self.0.mounts).values().cloned().collect()
    }

    /// The file system that may hang and on which a path lies.
    fn holder(&self, path: &RelPath) -> Option<Arc<Ground>> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        let mounts = lock(&self.0.mounts);
        let deepest = || path.ancestors().filter_map(|dir| mounts.get(&dir)).max_by_key(|ground| ground.point.depth());
        mounts.get(path).or_else(deepest).or_else(|| mounts.get(&RelPath::root())).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
