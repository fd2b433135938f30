//! The heartbeat: a small file at the root of each mirror, which says up to which time the mirror has everything. A relay
//! reads that of its source, and passes on what it says.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// The name of the file.
pub(crate) const NAME: &str = ".inosync-heartbeat";
/// The pattern by which no run over the tree sends or deletes the file.
pub(crate) const PATTERN: &str = "/.inosync-heartbeat";

/// The size of the file, or a multiple: it is written in place, and must not be cut off while somebody reads it.
const SIZE: usize = 512;
/// No larger file is a heartbeat.
const LARGEST: u64 = 64 * 1024;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The first source: its host and directory.
    pub(crate) source: String,
    /// The progress of the mirror.
    pub(crate) state: MirrorProgress,
    /// The mirror has everything that was changed in the first source until then, in seconds since 1970; `None` if nothing
    /// is known yet.
    pub(crate) until: Option<u64>,
    /// The number of daemons between the first source and the mirror, that of the source included.
    pub(crate) hops: u32,
    /// The relays between them, in order.
    #[serde(default)]
    pub(crate) via: Vec<String>,
}

/// The progress of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MirrorProgress {
    /// The mirror has all but the latest changes.
    Complete,
    /// The mirror is compared with its source, or one before it is: it may lack anything.
    Reconciling,
}

impl Heartbeat {
    /// The heartbeat of a mirror of this source, by the daemon that is called `own`. `upstream` is that of the source, if it
    /// is a mirror itself.
    pub(crate) fn of(own: &str, upstream: Option<&Heartbeat>, reconciles: bool, until: Option<u64>) -> Heartbeat {
        let is_complete = upstream.is_none_or(|upstream| upstream.state == MirrorProgress::Complete) && !reconciles;
        let state = if is_complete { MirrorProgress::Complete } else { MirrorProgress::Reconciling };
        match upstream {
            None => Heartbeat { source: own.to_owned(), state, until, hops: 1, via: Vec::new() },
            Some(upstream) => Heartbeat {
                source: upstream.source.clone(),
                state,
                until,
                hops: upstream.hops.saturating_add(1),
                via: upstream.via.iter().cloned().chain([own.to_owned()]).collect(),
            },
        }
    }

    /// The content of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        let size = (text.len() + 1).next_multiple_of(SIZE);
        text.resize(size - 1, b' ');
        text.push(b'\n');
        text
    }

    /// Reads the heartbeat in a directory; `None` if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or is no heartbeat.
    pub(crate) fn in_directory(directory: &Path) -> io::Result<Option<Heartbeat>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match File::options().read(true).custom_flags(flags).open(directory.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// The time of the file.
    pub(crate) fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.until.unwrap_or(0))
    }

    /// The age of what the mirror has; `None` if nothing is known.
    pub(crate) fn age(&self, now: SystemTime) -> Option<Duration> {
        self.until.map(|_| now.duration_since(self.time()).unwrap_or_default())
    }

    /// Tells if removals must wait: what the source lacks may not have arrived there yet. `limit`: nobody knows any more what
    /// happens before it when the heartbeat is older.
    pub(crate) fn holds_removals(&self, now: SystemTime, limit: Duration) -> bool {
        self.state == MirrorProgress::Reconciling || self.age(now).is_none_or(|age| age > limit)
    }
}

/// The name of the daemon that mirrors a directory of this host.
pub(crate) fn own_name(directory: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), directory.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(state: MirrorProgress, until: Option<u64>) -> Heartbeat {
        Heartbeat { source: "a:/s".into(), state, until, hops: 1, via: Vec::new() }
    }

    #[test]
    fn a_heartbeat_is_read_as_it_was_written_and_its_size_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        assert_eq!(Heartbeat::in_directory(dir.path()).unwrap(), None);
        let mut sizes = Vec::new();
        for beat in [beat(MirrorProgress::Complete, Some(7)), beat(MirrorProgress::Reconciling, None)] {
            std::fs::write(&file, beat.encode()).unwrap();
            sizes.push(beat.encode().len());
            assert_eq!(Heartbeat::in_directory(dir.path()).unwrap(), Some(beat));
        }
        assert_eq!(sizes, [SIZE, SIZE]);
        for other in ["", "{}", "no json"] {
            std::fs::write(&file, other).unwrap();
            assert!(Heartbeat::in_directory(dir.path()).is_err(), "{other}");
        }
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(Heartbeat::in_directory(dir.path()).is_err());
    }

    #[test]
    fn a_relay_adds_a_hop_and_is_complete_only_if_its_source_is() {
        use MirrorProgress::{Complete, Reconciling};
        for (upstream, reconciles, state) in [
            (Complete, false, Complete),
            (Complete, true, Reconciling),
            (Reconciling, false, Reconciling),
            (Reconciling, true, Reconciling),
        ] {
            let first = beat(upstream, Some(5));
            let next = Heartbeat::of("b:/s", Some(&first), reconciles, Some(5));
            assert_eq!((next.state, next.hops, next.source.as_str()), (state, 2, "a:/s"));
            let last = Heartbeat::of("c:/s", Some(&next), false, None);
            assert_eq!((last.hops, last.via, last.until), (3, vec!["b:/s".to_owned(), "c:/s".to_owned()], None));
        }
        let own = Heartbeat::of("a:/s", None, true, None);
        assert_eq!((own.source.as_str(), own.hops, own.state), ("a:/s", 1, Reconciling));
    }

    #[test]
    fn removals_wait_for_a_source_that_is_filled_or_silent() {
        use MirrorProgress::{Complete, Reconciling};
        let (now, limit) = (UNIX_EPOCH + Duration::from_secs(10_000), Duration::from_secs(3600));
        for (state, until, waits) in [
            (Complete, Some(9_999), false),
            (Complete, Some(6_400), false),
            (Complete, Some(6_399), true),
            (Complete, Some(20_000), false),
            (Complete, None, true),
            (Reconciling, Some(9_999), true),
        ] {
            assert_eq!(beat(state, until).holds_removals(now, limit), waits, "{state:?} {until:?}");
        }
    }
}
