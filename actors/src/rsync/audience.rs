//! Who hears how far a reconcile is: the log, once a minute, or whoever else the command knows, such as a terminal.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use slog::{Logger, info};

use crate::bytes::Bytes;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::root::reach::Reach;
use crate::transport::progress::Extent;
use crate::transport::progress::Latest;
use crate::transport::progress::Progress;
use crate::transport::progress::Roughly;

/// The interval at which the log tells the progress of a reconcile.
const OFTEN: Duration = Duration::from_secs(60);
/// So long before the first time, what there is to compare is counted: for what takes less it is not worth it.
const BEFORE: Duration = Duration::from_secs(20);

/// Does not end by itself: it is dropped at the end of the reconcile.
pub type Attending = Pin<Box<dyn Future<Output = Infallible>>>;

/// A listener for the progress of reconciles.
pub trait Audience: fmt::Debug + Send + Sync {
    /// Hears that a reconcile begins, and is told its end.
    fn attend(&self, reconcile: Reconcile) -> Attending;
}

/// A reconcile that goes on.
#[derive(Debug, Clone)]
pub struct Reconcile {
    /// The node, by its name.
    pub node: String,
    /// Its lines name the node.
    pub log: Logger,
    gauge: Latest,
    reach: Reach,
    excludes: Excludes,
    counter: Counter,
}

impl Reconcile {
    /// One of the tree of `reach`.
    pub(crate) fn new(
        node: &str,
        log: &Logger,
        gauge: &Latest,
        (reach, excludes): (&Reach, &Excludes),
        counter: &Counter,
    ) -> Self {
        Reconcile {
            node: node.to_owned(),
            log: log.clone(),
            gauge: gauge.clone(),
            reach: reach.clone(),
            excludes: excludes.clone(),
            counter: counter.clone(),
        }
    }

    /// Returns the progress; `None` if nothing is known of it.
    pub fn progress(&self) -> Option<Progress> {
        self.gauge.get()
    }

    /// Counts what there is, which rsync does not know before it is nearly done. From then on, [`Reconcile::progress`] knows.
    pub fn count(&self) -> Counting {
        self.counter.count(&self.reach, &self.excludes)
    }

    /// Takes over what was counted, if it was.
    pub fn note(&self, counting: &Counting) {
        if let (Some(mut progress), Some(extent)) = (self.gauge.get(), counting.get()) {
            progress.extent = Some(*extent);
            self.gauge.set(Some(progress));
        }
    }
}

/// A count that runs or has ended; it stops when nobody is interested any more.
pub(crate) type Counting = Arc<OnceLock<Extent>>;

/// Counts for all reconciles that go on at the same time.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Mutex<Weak<OnceLock<Extent>>>>);

impl Counter {
    fn count(&self, reach: &Reach, excludes: &Excludes) -> Counting {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = last.upgrade() {
            return running;
        }
        let counting = Counting::default();
        *last = Arc::downgrade(&counting);
        let (result, reach, excludes) = (last.clone(), reach.clone(), excludes.clone());
        // A thread of its own: a disk may be slow, and nobody waits for it. Without one, nothing is known, as before.
        let _ = thread::Builder::new().name("count".into()).spawn(move || {
            if let Some(extent) = extent(&reach, RelPath::root(), &excludes, &|| result.strong_count() > 0) {
                result.upgrade().map(|counting| counting.set(extent));
            }
        });
        counting
    }
}

/// Counts the entries in a directory of a tree, the directory included; `None` when nobody wants to know any more. A
/// directory that cannot be read counts for itself alone.
pub(super) fn extent(reach: &Reach, dir: RelPath, excludes: &Excludes, is_wanted: &dyn Fn() -> bool) -> Option<Extent> {
    let (mut left, mut found) = (vec![dir], Extent { entries: 1, bytes: 0 });
    while let Some(dir) = left.pop() {
        if !is_wanted() {
            return None;
        }
        for (name, kind) in reach.entries(&dir).unwrap_or_default() {
            let path = dir.join(&name);
            if excludes.matching(&path, kind == FileType::Directory).is_some() {
                continue;
            }
            found.entries += 1;
            match kind {
                FileType::Directory => left.push(path),
                FileType::RegularFile => found.bytes += reach.look(&path).map_or(0, |meta| meta.len()),
                _ => (),
            }
        }
    }
    Some(found)
}

/// Says it in the log.
#[derive(Debug, Clone, Copy)]
pub struct Minutes;

impl Audience for Minutes {
    fn attend(&self, reconcile: Reconcile) -> Attending {
        Box::pin(async move {
            tokio::time::sleep(OFTEN - BEFORE).await;
            let counting = reconcile.count();
            tokio::time::sleep(BEFORE).await;
            loop {
                reconcile.note(&counting);
                say(&reconcile.log, reconcile.progress());
                tokio::time::sleep(OFTEN).await;
            }
        })
    }
}

fn say(log: &Logger, progress: Option<Progress>) {
    let Some(progress) = progress else { return info!(log, "reconciling"; "files" => "none so far") };
    let done = progress.share().map_or("unknown".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let left = progress.left().map_or("unknown".to_owned(), |left| Roughly(left).to_string());
    info!(log, "reconciling"; "files" => %progress.entries(), "sent" => progress.files, "bytes" => %Bytes(progress.bytes),
        "done" => done, "rate" => format!("{}/s", Bytes(progress.rate)), "left" => left);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use slog::{Drain, KV, OwnedKVList, Record, Serializer, o};

    use super::*;
    use crate::transport::progress::Piece;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    struct Fields(Vec<String>);

    impl Serializer for Fields {
        fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
            self.0.push(format!(", {key}: {value}"));
            Ok(())
        }
    }

    impl Drain for Kept {
        type Ok = ();
        type Err = slog::Never;

        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
            let mut fields = Fields(Vec::new());
            record.kv().serialize(record, &mut fields).unwrap();
            let fields: String = fields.0.into_iter().rev().collect();
            self.0.lock().unwrap().push(format!("{}{fields}", record.msg()));
            Ok(())
        }
    }

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        std::fs::create_dir_all(at("d/e")).unwrap();
        std::fs::create_dir_all(at("cache/x")).unwrap();
        std::fs::write(at("d/e/f"), [b'x'; 100]).unwrap();
        std::fs::write(at("g"), [b'x'; 11]).unwrap();
        std::fs::write(at("cache/x/no"), [b'x'; 1000]).unwrap();
        std::fs::write(at("d/no.tmp"), [b'x'; 1000]).unwrap();
        std::os::unix::fs::symlink("/", at("d/link")).unwrap();
        tree
    }

    #[test]
    fn what_is_excluded_or_behind_a_symlink_is_not_counted() {
        let (tree, excludes) = (tree(), Excludes::new(vec!["*.tmp".into(), "cache/".into()]).unwrap());
        // The root, d, e, f, g and the link.
        assert_eq!(
            extent(&Reach::of(tree.path()), RelPath::root(), &excludes, &|| true),
            Some(Extent { entries: 6, bytes: 111 })
        );
        assert_eq!(extent(&Reach::of(tree.path()), RelPath::root(), &excludes, &|| false), None);
    }

    #[test]
    fn those_who_count_at_the_same_time_count_together() {
        let (tree, counter, excludes) = (tree(), Counter::default(), Excludes::default());
        let first = counter.count(&Reach::of(tree.path()), &excludes);
        assert!(Arc::ptr_eq(&first, &counter.count(&Reach::of(tree.path()), &excludes)));
        let old = Arc::downgrade(&first);
        drop(first);
        let next = counter.count(&Reach::of(tree.path()), &excludes);
        assert!(!Weak::ptr_eq(&old, &Arc::downgrade(&next)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_says_once_a_minute_how_far_a_reconcile_is() {
        let (kept, gauge, tree) = (Kept::default(), Latest::default(), tree());
        let log = Logger::root(kept.clone(), o!());
        let source = (&Reach::of(tree.path()), &Excludes::default());
        let reconcile = Reconcile::new("n", &log, &gauge, source, &Counter::default());
        let hear = |line: &str, at| {
            let (piece, _) = Piece::split_from(line.as_bytes()).unwrap();
            gauge.set(Some(Progress::after(gauge.get(), &piece, Duration::from_secs(at))));
        };
        let run = async {
            tokio::time::sleep(Duration::from_secs(61)).await;
            hear("1610612736  90%   10.00MB/s    0:02:00 (xfr#1234, ir-chk=1000/2234)", 62);
            tokio::time::sleep(Duration::from_secs(60)).await;
            hear("1610612736  45%   10.00MB/s    0:02:00 (xfr#1234, to-chk=18766/20000)", 122);
            hear("1610612736  45%   10.00MB/s    0:03:05", 122);
            tokio::time::sleep(Duration::from_secs(100)).await;
        };
        tokio::select! {
            () = run => (),
            never = Minutes.attend(reconcile) => match never {},
        }
        let said = kept.0.lock().unwrap().clone();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "reconciling, files: none so far");
        assert!(said[1].starts_with("reconciling, files: 1234/2234"), "{said:?}");
        let third =
            "reconciling, files: 1234/20000, sent: 1234, bytes: 1.5 GiB, done: 45 %, rate: 10.0 MiB/s, left: 3 min";
        assert_eq!(said[2], third);
    }
}
