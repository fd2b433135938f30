//! Divides the limit of a node (`rspeed`) among its runs, so that together they never exceed it. rsync learns its limit
//! at its start and keeps it: while a long run goes on, each run has a share that leaves room for those that may begin
//! beside it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Of so many parts of the limit
const PARTS: u64 = 8;
/// these are for the first long run. A second one has one part, and small runs have another.
const FIRST: u64 = 6;
/// The time after a long run in which the next one is expected: small runs have one part meanwhile.
const NEXT: Duration = Duration::from_secs(5);

/// The limit of one node.
#[derive(Debug)]
pub(crate) struct Speed {
    /// In KiB/s; 0 is none.
    limit: u64,
    /// `true` if there is never more than one run.
    alone: bool,
    held: RefCell<TakenShares>,
    changed: Notify,
}

/// The parts of the limit that are taken.
#[derive(Debug, Default)]
struct TakenShares {
    /// Small runs that have the whole limit.
    whole: usize,
    /// `true` if the first and the second share of long runs are taken.
    long: [bool; 2],
    /// Long runs that wait for a share.
    waiting: usize,
    /// The time at which the last long run ended.
    ended: Option<Instant>,
}

/// The part of the limit that a run has, until the share is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    speed: Rc<Speed>,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Small,
    Long(usize),
}

/// A long run that waits, until it is dropped.
struct Waits<'s>(&'s Speed);

impl<'s> Waits<'s> {
    fn of(speed: &'s Speed) -> Self {
        speed.held.borrow_mut().waiting += 1;
        Waits(speed)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.held.borrow_mut().waiting -= 1;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.speed.held.borrow_mut();
        match self.part {
            Part::Whole => held.whole -= 1,
            Part::Small => (),
            Part::Long(number) => (held.long[number], held.ended) = (false, Some(Instant::now())),
        }
        drop(held);
        self.speed.changed.notify_waiters();
    }
}

impl Share {
    /// In KiB/s; 0 is no limit.
    pub(crate) fn limit(&self) -> u64 {
        self.speed.of(self.part)
    }
}

impl Speed {
    pub(crate) fn new(limit: u64, alone: bool) -> Rc<Speed> {
        Rc::new(Speed { limit, alone, held: RefCell::default(), changed: Notify::new() })
    }

    /// The limit of a small run that is started now.
    pub(crate) fn of_small(&self) -> u64 {
        self.of(if self.is_divided() { Part::Small } else { Part::Whole })
    }

    /// The share of a small run.
    pub(crate) fn small(self: &Rc<Self>) -> Share {
        let part = if self.is_divided() { Part::Small } else { Part::Whole };
        self.held.borrow_mut().whole += usize::from(part == Part::Whole);
        Share { speed: self.clone(), part }
    }

    /// The share of a long run: the first as soon as no small run has more than its own, the second beside it.
    pub(crate) async fn long(self: &Rc<Self>) -> Share {
        if self.limit == 0 || self.alone {
            return self.small();
        }
        let _waits = Waits::of(self);
        loop {
            let changed = self.changed.notified();
            let free =
                |held: &TakenShares| if held.whole > 0 { None } else { held.long.iter().position(|taken| !taken) };
            let number = free(&self.held.borrow());
            if let Some(number) = number {
                self.held.borrow_mut().long[number] = true;
                return Share { speed: self.clone(), part: Part::Long(number) };
            }
            changed.await;
        }
    }

    /// Tells if runs have parts of the limit.
    pub(crate) fn is_divided(&self) -> bool {
        let held = self.held.borrow();
        let is_expected = held.ended.is_some_and(|ended| ended.elapsed() < NEXT);
        self.limit > 0 && !self.alone && (held.waiting > 0 || held.long.contains(&true) || is_expected)
    }

    /// Waits until small runs have the whole limit again.
    pub(crate) async fn is_whole_again(&self) {
        while self.is_divided() {
            let _ = tokio::time::timeout(NEXT, self.changed.notified()).await;
        }
    }

    fn of(&self, part: Part) -> u64 {
        let parts = match part {
            _ if self.limit == 0 => return 0,
            Part::Whole => PARTS,
            Part::Long(0) => FIRST,
            Part::Small | Part::Long(_) => 1,
        };
        // 0 would be no limit.
        (self.limit * parts / PARTS).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The share that a long run gets at once; `None` if it waits.
    fn long(speed: &Rc<Speed>) -> Option<Share> {
        match pin!(speed.long()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(share) => Some(share),
            Poll::Pending => None,
        }
    }

    #[test]
    fn runs_beside_each_other_never_have_more_than_the_limit() {
        for limit in [8, 500, 5000, 1_000_003] {
            let speed = Speed::new(limit, false);
            let alone = speed.small();
            assert_eq!(alone.limit(), limit);
            assert!(long(&speed).is_none(), "a small run has it all");
            drop(alone);
            let first = long(&speed).unwrap();
            let (small, second) = (speed.small(), long(&speed).unwrap());
            assert_eq!(first.limit(), limit * 6 / 8);
            assert!(first.limit() + second.limit() + small.limit() <= limit, "{limit}");
            assert_eq!(speed.of_small(), small.limit());
            assert!(long(&speed).is_none(), "there are two already");
            drop(first);
            let next = long(&speed).unwrap();
            assert_eq!(next.limit(), limit * 6 / 8);
            drop((next, second));
            assert_eq!(speed.of_small(), limit / 8, "another long run may follow at once");
            speed.held.borrow_mut().ended = None;
            assert_eq!(speed.of_small(), limit);
        }
    }

    #[tokio::test]
    async fn a_long_run_gets_its_share_when_a_small_one_ends() {
        let speed = Speed::new(800, false);
        let small = speed.small();
        let ends = async {
            tokio::task::yield_now().await;
            assert_eq!(speed.of_small(), 100, "what begins now leaves room for the one that waits");
            drop(small);
        };
        let (share, ()) = tokio::join!(speed.long(), ends);
        assert_eq!(share.limit(), 600);
    }

    #[tokio::test]
    async fn small_runs_have_the_whole_limit_again_some_time_after_a_long_one() {
        let speed = Speed::new(800, false);
        let first = speed.long().await;
        let ends = async {
            tokio::task::yield_now().await;
            assert_eq!(speed.of_small(), 100);
            drop(first);
            speed.held.borrow_mut().ended = Instant::now().checked_sub(NEXT);
        };
        tokio::join!(speed.is_whole_again(), ends);
        assert_eq!(speed.of_small(), 800);
    }

    #[test]
    fn where_there_is_no_limit_or_one_run_nothing_is_divided() {
        for (limit, alone) in [(0, false), (500, true)] {
            let speed = Speed::new(limit, alone);
            let shares = [long(&speed).unwrap(), speed.small(), long(&speed).unwrap()];
            assert!(shares.iter().all(|share| share.limit() == limit));
        }
    }
}
