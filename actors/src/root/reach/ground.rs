//! One file system that may hang: asked before a look, given up when one takes too long, silent until all that it was asked
//! is answered.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::helper::Helper;
use super::look::{Found, Look, Place};
use super::{EVERY, MountListener, MountNews, Silent, lock};
use crate::path::RelPath;

/// A file system that has answered so lately is not asked again before the next look.
const FRESH: Duration = Duration::from_millis(100);
/// Time for an answer. A mount that is slow but well may take longer: then each look there waits, which costs nothing but
/// time.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// After so long without an answer a run that reads there is broken off: a disk that starts to turn, or a server under load,
/// answers before.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Time before the same where the file system answers and one look there does not come back: under load, an entry in no
/// cache may take very long.
const PART_PATIENCE: Duration = Duration::from_secs(60);
/// Time for a look at a file system that answers otherwise: a part of the file system may hang.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Time for a listing, which may be long.
const LISTING: Duration = Duration::from_secs(30);
/// Processes that are kept for the next look.
const KEPT: usize = 4;

/// The parts that all file systems share: the listeners, and the processes that look.
#[derive(Default)]
pub(super) struct Common {
    pub listeners: Mutex<Vec<MountListener>>,
    pub said: Notify,
    pub idle: Mutex<Vec<Helper>>,
}

/// One file system that may hang.
pub(super) struct Ground {
    pub point: RelPath,
    on_disk: PathBuf,
    kind: String,
    pub number: u64,
    pub state: Mutex<GroundState>,
    changed: Condvar,
    common: Arc<Common>,
}

#[derive(Default)]
pub(super) struct GroundState {
    /// The time at which it last answered.
    pub answered: Option<Instant>,
    /// Since when it is asked, while it is.
    pub asked: Option<Instant>,
    /// Looks that were given up and have not come back.
    given_up: usize,
    /// `Some` while it does not answer.
    silent: Option<Silence>,
    /// `true` if something was not looked at since it last answered, because it did not.
    skipped: bool,
}

/// The time since when a file system does not answer.
#[derive(Debug, Clone, Copy)]
struct Silence {
    began: Instant,
    /// The same on the clock.
    since: SystemTime,
}

impl GroundState {
    /// Returns true if the silence lasts so long that a run which reads there is not waited for.
    fn is_given_up(&self, now: Instant) -> bool {
        let Some(silence) = self.silent else { return false };
        let lasts = |since: Instant, least| now.saturating_duration_since(since) >= least;
        lasts(silence.began, PART_PATIENCE) || self.asked.is_some_and(|asked| lasts(asked, PATIENCE))
    }
}

impl Common {
    /// Has a process carry out a look.
    pub(super) fn ask(&self, look: &Look) -> io::Result<Helper> {
        loop {
            let Some(helper) = lock(&self.idle).pop() else { break };
            // One that is gone is replaced.
            if helper.ask(look).is_ok() {
                return Ok(helper);
            }
        }
        let helper = Helper::start()?;
        helper.ask(look).map(|()| helper)
    }

    pub(crate) fn keep(&self, helper: Helper) {
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT {
            idle.push(helper);
        }
    }

    pub(crate) fn say(&self, heard: &MountNews) {
        lock(&self.listeners).iter().for_each(|listener| listener(heard));
        self.said.notify_waiters();
    }
}

impl Ground {
    pub(crate) fn new(point: RelPath, on_disk: PathBuf, kind: String, number: u64, common: Arc<Common>) -> Ground {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Ground { point, on_disk, kind, number, state, changed, common }
    }

    pub(crate) fn silent(&self) -> Option<Silent> {
        lock(&self.state).silent.map(|silence| self.silent_since(silence))
    }

    /// Returns the file system if a run that reads there is not to go on.
    pub(crate) fn given_up(&self) -> Option<Silent> {
        let state = lock(&self.state);
        let silence = state.silent.filter(|_| state.is_given_up(Instant::now()));
        silence.map(|silence| self.silent_since(silence))
    }

    fn silent_since(&self, Silence { since, .. }: Silence) -> Silent {
        Silent { path: self.point.clone(), kind: self.kind.clone(), since }
    }

    /// Notes that the file system is not mounted any more. Returns the file system if it did not answer.
    pub(crate) fn leave(&self) -> Option<Silent> {
        let silence = lock(&self.state).silent.take();
        silence.map(|silence| self.silent_since(silence))
    }

    /// Asks the file system, unless there is a question already, and waits for nothing.
    pub(crate) fn ask(self: &Arc<Ground>) {
        let mut state = lock(&self.state);
        match state.asked {
            Some(asked) if asked.elapsed() >= DEADLINE => self.falls_silent(state),
            Some(_) => (),
            None => {
                state.asked = Some(Instant::now());
                drop(state);
                let ground = self.clone();
                let asking = move || {
                    ground.wait_for_answer();
                    ground.came_back(|state| state.asked = None);
                };
                // Without a thread nothing is known; the next one asks again.
                if thread::Builder::new().name("ask".into()).spawn(asking).is_err() {
                    lock(&self.state).asked = None;
                }
            }
        }
    }

    /// Returns true if the file system answers. Asks, unless there was an answer just now.
    pub(crate) fn answers(self: &Arc<Ground>) -> bool {
        let is_known =
            |state: &GroundState| state.silent.is_some() || state.answered.is_some_and(|at| at.elapsed() < FRESH);
        {
            let state = lock(&self.state);
            if is_known(&state) {
                return state.silent.is_none();
            }
        }
        self.answers_now()
    }

    /// Returns true if the file system answers now; an earlier answer does not count.
    pub(crate) fn answers_now(self: &Arc<Ground>) -> bool {
        if lock(&self.state).silent.is_some() {
            return false;
        }
        self.ask();
        self.answers_within(DEADLINE)
    }

    /// Waits for the answer, no longer than `most` after the question. Returns true if the file system answers.
    pub(crate) fn answers_within(&self, most: Duration) -> bool {
        let state = lock(&self.state);
        let left = state.asked.map_or(Duration::ZERO, |asked| most.saturating_sub(asked.elapsed()));
        let waits = |state: &mut GroundState| state.asked.is_some();
        let (state, _) = self.changed.wait_timeout_while(state, left, waits).unwrap_or_else(PoisonError::into_inner);
        let answers = state.asked.is_none() && state.silent.is_none();
        if state.asked.is_some() {
            self.falls_silent(state);
        }
        answers
    }

    pub(crate) fn falls_silent(&self, mut state: MutexGuard<'_, GroundState>) {
        if state.silent.is_some() {
            return;
        }
        let (now, clock) = (Instant::now(), SystemTime::now());
        let began = state.asked.or_else(|| now.checked_sub(DEADLINE)).unwrap_or(now);
        let silence = Silence { began, since: clock.checked_sub(now - began).unwrap_or(clock) };
        state.silent = Some(silence);
        drop(state);
        self.changed.notify_all();
        self.common.say(&MountNews::Silent(self.silent_since(silence)));
    }

    /// Notes that a question has an answer.
    fn came_back(&self, settle: impl FnOnce(&mut GroundState)) {
        let mut state = lock(&self.state);
        settle(&mut state);
        let has_all = state.asked.is_none() && state.given_up == 0;
        state.answered = Some(Instant::now()).filter(|_| has_all);
        let silence = if has_all { state.silent.take() } else { None };
        let skipped = has_all && std::mem::take(&mut state.skipped);
        drop(state);
        self.changed.notify_all();
        if let Some(silence) = silence {
            let missed = skipped || silence.began.elapsed() >= PATIENCE;
            self.common.say(&MountNews::Answers { silent: self.silent_since(silence), missed });
        }
    }

    /// Asks whether there is an answer, and waits for it.
    fn wait_for_answer(&self) {
        let look = Look::Answer(Place::at(&self.on_disk));
        loop {
            let answer = self.common.ask(&look).and_then(|helper| {
                let answer = helper.answer();
                self.common.keep(helper);
                answer
            });
            match answer {
                Ok(_) => return,
                // It was killed, or there is no process to be had.
                Err(_) => thread::sleep(EVERY),
            }
        }
    }

    pub(crate) fn carry_out(self: &Arc<Ground>, look: &Look) -> io::Result<Found> {
        let found = if self.answers() {
            self.try_once(look).or_else(|error| match error.kind() {
                // Somebody killed the process.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.try_once(look),
                _ => Err(error),
            })
        } else {
            Err(io::ErrorKind::TimedOut.into())
        };
        // Whoever asks for the source itself waits until that answers, and has missed nothing then.
        let is_of_entry = !matches!(look, Look::Root { .. } | Look::Resolved(_));
        if is_of_entry && found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.note_skipped();
        }
        found
    }

    /// Notes that somebody goes on without a look there.
    pub(crate) fn note_skipped(&self) {
        lock(&self.state).skipped = true;
    }

    fn try_once(self: &Arc<Ground>, look: &Look) -> io::Result<Found> {
        let most =
            if matches!(look, Look::Names(..) | Look::Entries(_) | Look::Directories(_)) { LISTING } else { LOOK };
        let (helper, begun) = (self.common.ask(look)?, Instant::now());
        while !helper.answers_within(DEADLINE) {
            // Nothing can be sent without the source's own file system: as long as that answers, slow looks are waited for.
            let is_part = !self.point.is_root();
            if is_part && begun.elapsed() + DEADLINE > most || !self.answers() {
                self.give_up(helper);
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let found = helper.answer();
        lock(&self.state).answered = Some(Instant::now());
        self.common.keep(helper);
        found
    }

    /// A look takes too long: nobody waits for it but a thread.
    fn give_up(self: &Arc<Ground>, helper: Helper) {
        let mut state = lock(&self.state);
        state.given_up += 1;
        self.falls_silent(state);
        let ground = self.clone();
        let waiting = move || {
            let _ = helper.answer();
            ground.came_back(|state| state.given_up -= 1);
        };
        // Without a thread nobody tells when it comes back: the next one to ask finds out.
        if thread::Builder::new().name("wait".into()).spawn(waiting).is_err() {
            self.came_back(|state| state.given_up -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_file_system_is_not_given_up_and_a_part_of_one_not_before_it_must_be_lost() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        for (silent, asked, expected) in [
            (None, None, false),
            // It is asked, and may answer yet.
            (None, Some(60), false),
            (Some(9), Some(9), false),
            (Some(10), Some(10), true),
            // A look there does not come back, and all that it is asked has an answer.
            (Some(59), None, false),
            (Some(59), Some(1), false),
            (Some(60), None, true),
        ] {
            let silent = silent.map(|seconds| Silence { began: ago(seconds), since: SystemTime::now() });
            let state = GroundState { silent, asked: asked.map(ago), ..GroundState::default() };
            assert_eq!(state.is_given_up(now), expected, "{silent:?} {asked:?}");
        }
    }
}
