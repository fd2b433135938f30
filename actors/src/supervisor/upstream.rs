//! The source as a mirror: what its heartbeat says, and what follows when that file is gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::heartbeat::{Heartbeat, MirrorProgress};
use crate::root::Root;
use crate::status::UpstreamStatus;

/// A source whose heartbeat is older is treated as one that is being filled.
const OLD: Duration = Duration::from_secs(3600);

/// The knowledge of what is before this daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Before {
    /// The source is no mirror, as far as is known.
    #[default]
    Nothing,
    /// The source is a mirror, which says this.
    Mirror(Heartbeat),
    /// The source was a mirror that said this, and is not what it was: it was emptied, or is on another disk.
    Lost(Heartbeat),
}

impl Before {
    /// Follows from what is `found`. `is_usable`: the source is there, with something in it.
    fn next(self, found: Option<Heartbeat>, is_usable: bool) -> Before {
        match (found, self) {
            (Some(heartbeat), _) => Before::Mirror(heartbeat),
            (None, Before::Mirror(last)) if !is_usable => Before::Lost(last),
            // Somebody deleted it, and nothing else.
            (None, Before::Mirror(_)) => Before::Nothing,
            (None, before) => before,
        }
    }

    /// Tells if removals must wait.
    fn holds_removals(&self, now: SystemTime) -> bool {
        match self {
            Before::Nothing => false,
            Before::Mirror(heartbeat) => heartbeat.holds_removals(now, OLD),
            Before::Lost(_) => true,
        }
    }

    /// The heartbeat on which that of each node is based.
    pub(super) fn heartbeat(&self) -> Option<Heartbeat> {
        match self {
            Before::Nothing => None,
            Before::Mirror(heartbeat) => Some(heartbeat.clone()),
            Before::Lost(last) => Some(Heartbeat { state: MirrorProgress::Reconciling, until: None, ..last.clone() }),
        }
    }

    /// The source as a mirror; `None` if it is none.
    pub(super) fn status(&self, holds_removals: bool) -> Option<UpstreamStatus> {
        let heartbeat = self.heartbeat()?;
        Some(UpstreamStatus {
            source: heartbeat.source.clone(),
            hops: heartbeat.hops,
            lag: heartbeat.age(SystemTime::now()).map(|age| age.as_secs_f64()),
            reconciles: heartbeat.state == MirrorProgress::Reconciling,
            holds_removals,
        })
    }
}

/// What is before this daemon, which is remembered from one run to the next in a file.
#[derive(Debug, Default)]
pub(super) struct KnownUpstream {
    pub(super) before: Before,
    /// The file; `None` without a state.
    file: Option<PathBuf>,
    /// The first source that the file names.
    remembered: Option<String>,
}

impl KnownUpstream {
    /// Takes up what was remembered beside the state. Nobody knows what the source is by now, until its heartbeat is seen.
    pub(super) fn remembered(state_file: &Path) -> KnownUpstream {
        let file = state_file.with_extension("upstream");
        let last: Option<Heartbeat> = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let remembered = last.as_ref().map(|last| last.source.clone());
        KnownUpstream { before: last.map_or(Before::Nothing, Before::Lost), file: Some(file), remembered }
    }

    /// Looks at the source. Returns true if removals must wait.
    pub(super) fn look(&mut self, root: &Root) -> bool {
        let is_usable = root.check().is_ok();
        // A source that does not answer is not looked at, and what cannot be read says nothing.
        let found = if is_usable { Heartbeat::in_directory(root.path()) } else { Ok(None) };
        if let Ok(found) = found {
            self.before = std::mem::take(&mut self.before).next(found, is_usable);
        }
        self.before.holds_removals(SystemTime::now())
    }

    /// Remembers the source for the next run, if it is another one than before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn remember(&mut self) -> io::Result<()> {
        let heartbeat = self.before.heartbeat();
        let source = heartbeat.as_ref().map(|heartbeat| heartbeat.source.clone());
        let Some(file) = self.file.as_ref().filter(|_| source != self.remembered) else { return Ok(()) };
        match heartbeat {
            // Whole or not at all: a part of it would say that the source is no mirror.
            Some(heartbeat) => {
                let new = file.with_extension("upstream.new");
                fs::write(&new, heartbeat.encode())?;
                fs::rename(new, file)?;
            }
            None => fs::remove_file(file)?,
        }
        self.remembered = source;
        Ok(())
    }

    /// The file by which the source is remembered.
    pub(super) fn file(&self) -> String {
        self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(until: u64) -> Heartbeat {
        let state = MirrorProgress::Complete;
        Heartbeat { source: "a:/s".into(), state, until: Some(until), hops: 1, via: Vec::new() }
    }

    #[test]
    fn a_heartbeat_that_somebody_deletes_is_no_more_and_one_that_goes_with_all_else_is_waited_for() {
        let (mirror, lost) = (Before::Mirror(beat(1)), Before::Lost(beat(1)));
        for (before, found, is_usable, next) in [
            (Before::Nothing, None, true, Before::Nothing),
            (Before::Nothing, None, false, Before::Nothing),
            (Before::Nothing, Some(beat(1)), true, mirror.clone()),
            (mirror.clone(), Some(beat(2)), true, Before::Mirror(beat(2))),
            (mirror.clone(), None, true, Before::Nothing),
            (mirror.clone(), None, false, lost.clone()),
            (lost.clone(), None, true, lost.clone()),
            (lost.clone(), None, false, lost.clone()),
            (lost.clone(), Some(beat(3)), true, Before::Mirror(beat(3))),
        ] {
            let told = format!("{before:?} {found:?} {is_usable}");
            assert_eq!(before.next(found, is_usable), next, "{told}");
        }
    }

    #[test]
    fn what_was_a_mirror_holds_removals_and_is_passed_on_as_incomplete() {
        let lost = Before::Lost(beat(1));
        assert!(lost.holds_removals(SystemTime::now()));
        let told = lost.heartbeat().unwrap();
        assert_eq!((told.state, told.until), (MirrorProgress::Reconciling, None));
    }

    #[test]
    fn a_source_that_was_a_mirror_is_known_in_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let (state, source) = (dir.path().join("state.redb"), dir.path().join("source"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join(crate::heartbeat::NAME), beat(crate::status::unix(SystemTime::now())).encode()).unwrap();
        let root = Root::of(&source).unwrap();
        let mut upstream = KnownUpstream::remembered(&state);
        assert_eq!(upstream.before, Before::Nothing);
        assert!(!upstream.look(&root));
        upstream.remember().unwrap();
        let mut next = KnownUpstream::remembered(&state);
        assert!(matches!(next.before, Before::Lost(_)));
        assert!(!next.look(&root), "it is there");
        fs::remove_file(source.join(crate::heartbeat::NAME)).unwrap();
        assert!(!next.look(&root));
        next.remember().unwrap();
        assert_eq!(KnownUpstream::remembered(&state).before, Before::Nothing, "somebody deleted it");
    }
}
