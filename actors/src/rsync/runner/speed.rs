//! Divides the limit of a node (`rspeed`) among its runs, so that together they never exceed it. rsync learns its limit
//! at its start and keeps it: while a long run goes on, each run has a share that leaves room for those that may begin
//! beside it. rsync sends the first tenth of a second's worth at once, and many small runs follow each other: a run waits
//! while those before sent more than the limit allows. A long run whose share falls, as a window of the day begins, is
//! ended and begins anew.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::rsync::report::output::Line;
use crate::site::speed_limit::SpeedLimit;

/// Of so many parts of the limit
const PARTS: u64 = 8;
/// these are for the first long run. A second one has one part, and small runs have another.
const FIRST: u64 = 6;
/// The time after a long run in which the next one is expected: small runs have one part meanwhile.
const NEXT: Duration = Duration::from_secs(5);
/// The most that may have been sent too early when a run begins, as the time that it takes at the limit: a single small
/// change never waits.
const EARLY: Duration = Duration::from_millis(100);
/// The interval at which long runs look at the clock: it may be set at any time.
const LOOK: Duration = Duration::from_secs(1);

/// The limit of one node.
#[derive(Debug)]
pub(crate) struct Speed {
    limit: SpeedLimit,
    /// The limit that was in force at the last look at the standbys.
    seen: Cell<u64>,
    /// `true` if there is never more than one run.
    alone: bool,
    held: RefCell<TakenShares>,
    /// The times at which all that was sent too early would have been sent at the limit: by small runs, by the first and by
    /// the second long run.
    even_at: Cell<[Option<Instant>; 3]>,
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
    /// In KiB/s; 0 is no limit.
    limit: u64,
    /// `true` if the run may be ended and made again.
    may_end: bool,
    began: Instant,
    sent: SentBytes,
}

/// The bytes that a run has sent. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentBytes(Rc<Cell<u64>>);

impl SentBytes {
    /// Counts what a line of output tells.
    pub(crate) fn hear(&self, said: &[u8]) {
        if let Line::Sent(_, bytes) = Line::parse(said) {
            self.0.set(self.0.get() + bytes);
        }
    }

    /// Returns the time that the bytes take at a limit in KiB/s.
    fn time_at(&self, limit: u64) -> Duration {
        if limit == 0 { Duration::ZERO } else { Duration::from_secs_f64(self.0.get() as f64 / 1024.0 / limit as f64) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Small,
    Long(usize),
}

impl Part {
    /// The runs of which each begins when the one before is done.
    fn row(self) -> usize {
        match self {
            Part::Whole | Part::Small => 0,
            Part::Long(number) => 1 + number,
        }
    }
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
        // At the limit, what was sent by this run would have followed what was sent by those before.
        let mut even_at = self.speed.even_at.get();
        let at = &mut even_at[self.part.row()];
        *at = Some(at.map_or(self.began, |at| at.max(self.began)) + self.sent.time_at(self.limit));
        self.speed.even_at.set(even_at);
        self.speed.changed.notify_waiters();
    }
}

impl Share {
    /// In KiB/s; 0 is no limit.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the count of what the run sends.
    pub(crate) fn sent(&self) -> SentBytes {
        self.sent.clone()
    }

    /// Waits while earlier runs of this kind sent more than the limit allows.
    pub(crate) async fn free(mut self) -> Share {
        if let Some(at) = self.speed.even_at.get()[self.part.row()].and_then(|at| at.checked_sub(EARLY)) {
            tokio::time::sleep_until(at.into()).await;
        }
        self.began = Instant::now();
        self
    }

    /// The same, of a run that may be ended and made again.
    pub(crate) fn ending(mut self, may_end: bool) -> Share {
        self.may_end = may_end;
        self
    }

    /// Waits until the part of the limit is less than when the run began, if the run may be ended; else for ever. A run that
    /// has the least is never ended: else a file that takes longer than a window would never arrive.
    pub(crate) fn falls(&self) -> impl Future<Output = ()> + 'static {
        let speed = self.speed.clone();
        let part = self.part;
        let began = self.limit;
        let may_end = self.may_end && speed.limit.changes();
        async move {
            if !may_end {
                return std::future::pending().await;
            }
            loop {
                tokio::time::sleep(LOOK).await;
                let limit = speed.of(part);
                if limit > 0 && (began == 0 || limit < began) {
                    return;
                }
            }
        }
    }
}

impl Speed {
    pub(crate) fn new(limit: SpeedLimit, alone: bool) -> Rc<Speed> {
        let seen = Cell::new(limit.now());
        Rc::new(Speed {
            limit,
            seen,
            alone,
            held: RefCell::default(),
            even_at: Cell::default(),
            changed: Notify::new(),
        })
    }

    /// Returns true once when there is another limit than at the last call: what waits has the one before.
    pub(crate) fn has_turned(&self) -> bool {
        let now = self.limit.now();
        self.seen.replace(now) != now
    }

    /// Tells if there is a limit now.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.now() > 0
    }

    /// The limit of a small run that is started now.
    pub(crate) fn of_small(&self) -> u64 {
        self.of(if self.is_divided() { Part::Small } else { Part::Whole })
    }

    /// The share of a small run.
    pub(crate) fn small(self: &Rc<Self>) -> Share {
        let part = if self.is_divided() { Part::Small } else { Part::Whole };
        self.held.borrow_mut().whole += usize::from(part == Part::Whole);
        self.share(part)
    }

    /// The share of a long run: the first as soon as no small run has more than its own, the second beside it.
    pub(crate) async fn long(self: &Rc<Self>) -> Share {
        if !self.is_limited() || self.alone {
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
                return self.share(Part::Long(number));
            }
            changed.await;
        }
    }

    /// Tells if runs have parts of the limit.
    pub(crate) fn is_divided(&self) -> bool {
        let held = self.held.borrow();
        let is_expected = held.ended.is_some_and(|ended| ended.elapsed() < NEXT);
        self.is_limited() && !self.alone && (held.waiting > 0 || held.long.contains(&true) || is_expected)
    }

    /// Waits until small runs have the whole limit again.
    pub(crate) async fn is_whole_again(&self) {
        while self.is_divided() {
            let _ = tokio::time::timeout(NEXT, self.changed.notified()).await;
        }
    }

    fn share(self: &Rc<Self>, part: Part) -> Share {
        Share {
            speed: self.clone(),
            part,
            limit: self.of(part),
            may_end: false,
            began: Instant::now(),
            sent: SentBytes::default(),
        }
    }

    fn of(&self, part: Part) -> u64 {
        let limit = self.limit.now();
        let parts = match part {
            _ if limit == 0 => return 0,
            Part::Whole => PARTS,
            Part::Long(0) => FIRST,
            Part::Small | Part::Long(_) => 1,
        };
        // 0 would be no limit.
        (limit * parts / PARTS).max(1)
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
            let speed = Speed::new(limit.into(), false);
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
        let speed = Speed::new(800.into(), false);
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
        let speed = Speed::new(800.into(), false);
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

    #[tokio::test(start_paused = true)]
    async fn runs_that_send_at_once_what_they_have_wait_for_each_other() {
        let speed = Speed::new(1000.into(), false);
        let began = tokio::time::Instant::now();
        for (kib, waited) in [(1, 0), (99, 0), (50, 0), (50, 50), (0, 100)] {
            let share = speed.small().free().await;
            let passed = began.elapsed().as_millis();
            assert!((waited.max(3) - 3..waited + 3).contains(&passed), "{passed} ms before {kib} KiB");
            share.sent().hear(format!("<f.st......|9|{}|name", kib * 1024).as_bytes());
        }
    }

    #[test]
    fn where_there_is_no_limit_or_one_run_nothing_is_divided() {
        for (limit, alone) in [(0, false), (500, true)] {
            let speed = Speed::new(limit.into(), alone);
            let shares = [long(&speed).unwrap(), speed.small(), long(&speed).unwrap()];
            assert!(shares.iter().all(|share| share.limit() == limit));
        }
    }
}
