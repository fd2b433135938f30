//! Decides by how many runs beside each other a node is compared as a whole, or sent many directories: as many as help.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::node::Kind;

/// In a tree of fewer directories, one more run takes longer to start than it saves.
const FEW: u64 = 2000;
/// Processors that one run keeps busy: sender and receiver.
const BUSY: usize = 2;

/// The runs that go through very many directories now, of all nodes. Clones share the number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs(Arc<AtomicUsize>);

/// Some of these runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenJobs {
    jobs: Jobs,
    /// Their number.
    pub number: usize,
}

/// The facts that decide about the number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobGround {
    /// The kind of node.
    pub kind: Kind,
    /// The number that the user wants.
    pub wanted: Option<usize>,
    /// The work that is to be divided.
    pub work: JobWork,
    /// `true` if there can be one run alone.
    pub alone: bool,
}

/// A kind of work that is divided among runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobWork {
    /// A tree of so many directories is compared.
    Compare { directories: u64 },
    /// Many entries are sent, most of which the node has to store.
    Send {
        /// `true` if the runs yield to whatever else wants the processor.
        yields: bool,
    },
}

impl Jobs {
    fn at_work(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Takes as many runs as help a node now.
    pub(crate) fn take(&self, ground: JobGround) -> TakenJobs {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let busy = busy_processors(ground).max(self.at_work() * BUSY);
        let number = number(ground, processors.saturating_sub(busy));
        self.0.fetch_add(number, Ordering::AcqRel);
        TakenJobs { jobs: self.clone(), number }
    }
}

impl TakenJobs {
    /// Gives back all but so many, at least one.
    pub(crate) fn keep(&mut self, most: usize) {
        let kept = self.number.min(most.max(1));
        self.jobs.0.fetch_sub(self.number - kept, Ordering::AcqRel);
        self.number = kept;
    }
}

impl Drop for TakenJobs {
    fn drop(&mut self) {
        self.jobs.0.fetch_sub(self.number, Ordering::AcqRel);
    }
}

/// The number of runs, where so many processors are free. What there is to gain was measured with rsync 3.5.0 on 2 and on
/// 16 processors.
fn number(ground: JobGround, free: usize) -> usize {
    let JobGround { kind, wanted, work, alone } = ground;
    let most = match kind {
        Kind::Local => 8,
        // Each is a connection of its own, and the other end works as much.
        Kind::Ssh | Kind::Daemon => 4,
    };
    match (wanted, work) {
        _ if alone => 1,
        (Some(wanted), _) => wanted.max(1),
        (None, JobWork::Compare { directories }) if directories < FEW => 1,
        // Three ends wait for each other at each new entry.
        (None, JobWork::Send { .. }) if kind == Kind::Local => (free * 2).div_ceil(3).clamp(1, most),
        (None, JobWork::Compare { .. } | JobWork::Send { .. }) => (free / BUSY).clamp(1, most),
    }
}

/// The processors that were busy in the last minute; 0 where the kernel does not tell, and for runs on this machine that yield to
/// whatever keeps them busy.
fn busy_processors(ground: JobGround) -> usize {
    if ground.work == (JobWork::Send { yields: true }) && ground.kind == Kind::Local {
        return 0;
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    load.map_or(0, |load| load.round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_runs_as_help_unless_the_user_says_how_many() {
        let compare = |directories| JobWork::Compare { directories };
        let send = JobWork::Send { yields: true };
        for (kind, work, wanted, alone, free, expected) in [
            (Kind::Local, compare(FEW), None, false, 16, 8),
            (Kind::Local, compare(FEW), None, false, 7, 3),
            (Kind::Local, compare(FEW), None, false, 2, 1),
            (Kind::Local, compare(FEW), None, false, 0, 1),
            (Kind::Local, compare(FEW), None, false, 64, 8),
            (Kind::Local, compare(FEW - 1), None, false, 16, 1),
            (Kind::Ssh, compare(FEW), None, false, 16, 4),
            (Kind::Daemon, compare(FEW), None, false, 16, 4),
            (Kind::Ssh, compare(FEW), None, false, 4, 2),
            (Kind::Ssh, compare(1), Some(4), false, 0, 4),
            (Kind::Local, compare(1), Some(1), false, 16, 1),
            (Kind::Local, compare(FEW), Some(4), true, 16, 1),
            (Kind::Local, compare(FEW), None, true, 16, 1),
            (Kind::Local, send, None, false, 0, 1),
            (Kind::Local, send, None, false, 1, 1),
            (Kind::Local, send, None, false, 2, 2),
            (Kind::Local, send, None, false, 4, 3),
            (Kind::Local, send, None, false, 64, 8),
            (Kind::Local, send, Some(1), false, 2, 1),
            (Kind::Local, send, None, true, 2, 1),
            (Kind::Ssh, send, None, false, 2, 1),
            (Kind::Ssh, send, None, false, 8, 4),
        ] {
            let ground = JobGround { kind, wanted, work, alone };
            assert_eq!(number(ground, free), expected, "{ground:?} {free}");
        }
    }

    #[test]
    fn nodes_that_are_compared_at_the_same_time_share_the_processors() {
        let jobs = Jobs::default();
        let ground = JobGround {
            kind: Kind::Local,
            wanted: Some(1000),
            work: JobWork::Compare { directories: FEW },
            alone: false,
        };
        let mut many = jobs.take(ground);
        let others = || jobs.take(JobGround { wanted: None, ..ground }).number;
        assert_eq!((many.number, others()), (1000, 1));
        for (most, kept) in [(2000, 1000), (7, 7), (9, 7), (0, 1)] {
            many.keep(most);
            assert_eq!((many.number, jobs.at_work()), (kept, kept), "{most}");
        }
        drop(many);
        assert_eq!(jobs.at_work(), 0);
    }
}
