//! The entries about which a node is asked, and how a line of its answer is read. Looks at the source alone.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::path::RelPath;
use crate::root::reach::Reach;
use crate::root::reach::look::Meta;
use crate::rsync::report::output::Line;

/// Entries of each type that are asked about.
const EACH: usize = 20;
/// The most by which a time stamp of the file system that is made now may be older than the clock.
const TICK: Duration = Duration::from_millis(20);

/// A type of entry whose attributes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryType {
    File,
    Directory,
    Link,
}

/// The difference of the attributes of an entry that is otherwise equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differs {
    pub kind: EntryType,
    pub time: bool,
    pub permissions: bool,
}

/// The statement of a line about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The node does not have it.
    New(EntryType),
    /// The entry differs in these attributes.
    Differs(Differs),
}

/// The characters of `%i` are in rsync(1), `--itemize-changes`.
fn said(line: &[u8]) -> Option<(RelPath, Said)> {
    let [_, kind, content, size, time, permissions, ..] = *line.split(|&byte| byte == b'|').next()? else {
        return None;
    };
    let kind = match kind {
        b'f' => EntryType::File,
        b'd' => EntryType::Directory,
        b'L' => EntryType::Link,
        _ => return None,
    };
    let Line::Sent(path, _) = Line::parse(line) else { return None };
    match (content, size) {
        (b'+', b'+') => Some((path, Said::New(kind))),
        (b'.', b'.') => {
            let differs = Differs { kind, time: matches!(time, b't' | b'T'), permissions: permissions == b'p' };
            (differs.time || differs.permissions).then_some((path, Said::Differs(differs)))
        }
        _ => None,
    }
}

/// Returns the difference of an entry of which a line says that its attributes alone differ.
pub(crate) fn differs(line: &[u8]) -> Option<(RelPath, Differs)> {
    match said(line)? {
        (path, Said::Differs(differs)) => Some((path, differs)),
        (_, Said::New(_)) => None,
    }
}

/// Some of the entries that a comparison of the whole tree changed at the node.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    began: SystemTime,
    /// The node had them, with other times or permissions.
    changed: BTreeMap<RelPath, EntryType>,
    /// It did not have them.
    new: BTreeMap<RelPath, EntryType>,
}

impl Sample {
    /// Of a comparison that begins now.
    pub(crate) fn begin() -> Self {
        Sample { began: SystemTime::now(), changed: BTreeMap::new(), new: BTreeMap::new() }
    }

    /// One line of its output.
    pub(crate) fn hear(&mut self, line: &[u8]) {
        let (list, path, kind) = match said(line) {
            Some((path, Said::New(kind))) => (&mut self.new, path, kind),
            Some((path, Said::Differs(differs))) => (&mut self.changed, path, differs.kind),
            None => return,
        };
        if list.len() < 3 * EACH && list.values().filter(|&&other| other == kind).count() < EACH {
            list.insert(path, kind);
        }
    }

    /// Takes back what failed.
    pub(crate) fn leave_out(&mut self, failed: impl Fn(&RelPath) -> bool) {
        self.changed.retain(|path, _| !failed(path));
        self.new.retain(|path, _| !failed(path));
    }

    /// Tells if there is something to ask: what differed before may differ for ever, and of a new mirror nothing is
    /// known.
    pub(crate) fn is_worth_asking(&self, is_known: bool) -> bool {
        !self.changed.is_empty() || !is_known && !self.new.is_empty()
    }

    /// The entries that have not changed in the source since before the comparison began.
    pub(super) fn steady(&self, reach: &Reach) -> BTreeMap<RelPath, Meta> {
        let all = self.changed.keys().chain(self.new.keys());
        let metas = all.filter_map(|path| Some((path.clone(), reach.look(path).ok()?)));
        // The kernel may have put the time of a change a tick too early.
        metas.filter(|(_, meta)| meta.changed_at() + TICK < self.began).collect()
    }
}

/// The answer of a node about the steady entries of a sample: the difference of each, at one way to compare.
pub(crate) type SampleSeen = BTreeMap<RelPath, Differs>;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    /// A tree with a file of this year, one of 2100, a directory and a symlink.
    fn steady() -> (tempfile::TempDir, BTreeMap<RelPath, Meta>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for (name, seconds) in [("f", 1_800_000_000), ("late", 4_102_444_801)] {
            fs::write(dir.path().join(name), "x").unwrap();
            let time = UNIX_EPOCH + Duration::new(seconds, 5);
            fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
        }
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let metas = ["d", "f", "l", "late"].map(|name| (rel(name), Reach::of(dir.path()).look(&rel(name)).unwrap()));
        (dir, metas.into())
    }

    #[test]
    fn a_line_says_which_attributes_alone_differ() {
        let differs = |kind, time, permissions| Some(Said::Differs(Differs { kind, time, permissions }));
        for (line, expected) in [
            (">f..t......|2|45|n", differs(EntryType::File, true, false)),
            ("<f..tp.....|2|45|n", differs(EntryType::File, true, true)),
            (".f...p.....|2|0|n", differs(EntryType::File, false, true)),
            (".d..t......|2|0|n/", differs(EntryType::Directory, true, false)),
            (".L..T......|2|0|n", differs(EntryType::Link, true, false)),
            (">f+++++++++|2|45|n", Some(Said::New(EntryType::File))),
            ("cd+++++++++|2|0|n/", Some(Said::New(EntryType::Directory))),
            // The content may have changed.
            (">f.st......|2|45|n", None),
            (">fcst......|2|45|n", None),
            (".f....og...|2|0|n", None),
            (".f         |2|0|n", None),
            ("*deleting  |0|0|n", None),
            ("created directory /m", None),
            ("cS+++++++++|2|0|n", None),
        ] {
            assert_eq!(said(line.as_bytes()).map(|(_, said)| said), expected, "{line}");
        }
    }

    #[test]
    fn the_sample_has_some_of_each_type_and_nothing_that_failed_or_changed() {
        let (dir, _) = steady();
        let mut sample = Sample { began: SystemTime::now() + TICK * 2, ..Sample::begin() };
        for number in 0..5 * EACH {
            sample.hear(format!(">f+++++++++|1|1|{number:03}").as_bytes());
        }
        for line in ["cd+++++++++|1|0|d/", ">f..t......|1|1|f", ">f..t......|1|1|late"] {
            sample.hear(line.as_bytes());
        }
        assert_eq!((sample.new.len(), sample.changed.len()), (EACH + 1, 2));
        sample.leave_out(|path| *path == rel("late"));
        assert_eq!(sample.steady(&Reach::of(dir.path())).into_keys().collect::<Vec<_>>(), [rel("d"), rel("f")]);
        let earlier = Sample { began: SystemTime::now() - Duration::from_secs(60), ..sample };
        assert!(earlier.steady(&Reach::of(dir.path())).is_empty());
    }

    #[test]
    fn a_node_that_is_known_is_asked_only_about_what_it_may_not_hold() {
        let sample = |lines: &[&str]| {
            let mut sample = Sample::begin();
            lines.iter().for_each(|line| sample.hear(line.as_bytes()));
            sample
        };
        for (lines, is_known, expected) in [
            (&[][..], false, false),
            (&[">f+++++++++|1|1|f"], false, true),
            (&[">f+++++++++|1|1|f"], true, false),
            (&[">f..t......|1|1|f"], true, true),
        ] {
            assert_eq!(sample(lines).is_worth_asking(is_known), expected, "{lines:?} {is_known}");
        }
    }
}
