//! Notices that a run hangs: by what its process does, and by what the kernel knows of its line. The decision is a pure
//! function of what was seen and when.

use std::fs;
use std::time::{Duration, Instant};

use crate::rsync::runner::process::tcp::TcpConnections;

/// A run that does nothing for so long hangs. rsync's `--timeout` does not notice all of that: it takes its own
/// keep-alives for life, and does not cover a sender that waits to open a file, such as a FIFO.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// A line on which nothing is acknowledged for so long is dead. What is shorter, a router that starts anew, costs no
/// run.
const DEAD: Duration = Duration::from_secs(20);
/// The same of a connection that was there before: a new one is soon tried beside it.
const DEAD_BEFORE: Duration = Duration::from_secs(3);
/// The most that a run may say of what tells nothing, in bytes: two million complaints. A node whose text never ends
/// keeps a run alive, and the processor busy.
const TALK: u64 = 256 * 1024 * 1024;
/// The interval of the looks. A run that ends sooner, as nearly all do, costs nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes that a process may read after the greeting, beside its list, though the other end does not answer:
/// keep-alives, and what its libraries are configured by. The content of files is read when the other end has asked for
/// it.
const UNASKED: u64 = 64 * 1024;

/// The time for which a run is let be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Before the other end has answered to the list.
    first: Limits,
    later: Limits,
    /// Until both ends have greeted each other; `None` if nobody knows how long that takes.
    greeting: Option<Duration>,
    /// Bytes of text that tells nothing which the run may say.
    talk: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// While it does nothing, and its line is well as far as anybody knows.
    silence: Duration,
    /// While nothing is acknowledged on its line.
    dead: Duration,
}

impl Patience {
    /// With a run that may do nothing for the time of `silence`.
    pub(crate) const fn of(silence: Duration) -> Patience {
        let limits = Limits { silence, dead: DEAD };
        Patience { first: limits, later: limits, greeting: None, talk: TALK }
    }

    /// With a run whose ends greet each other within this time.
    pub(crate) fn greeting_within(self, greeting: Option<Duration>) -> Patience {
        Patience { greeting, ..self }
    }

    /// Bytes of text that tells nothing which the run may say.
    pub(super) const fn talk(self) -> u64 {
        self.talk
    }

    /// With a run that may say so much of what tells nothing, in bytes.
    #[cfg(test)]
    pub(crate) const fn talk_within(self, talk: u64) -> Patience {
        Patience { talk, ..self }
    }

    /// With a run in which either end may read for so long, and do nothing else.
    pub(crate) fn longer_by(mut self, reading: Duration) -> Patience {
        for limits in [&mut self.first, &mut self.later] {
            limits.silence += reading;
        }
        self
    }

    /// With a run over a connection that was there before. Once the other end has answered, it is as good as a new one.
    pub(crate) const fn over_old_connection(mut self) -> Patience {
        self.first.dead = DEAD_BEFORE;
        self
    }

    /// With a run whose list is answered within this time.
    pub(crate) const fn answered_within(mut self, silence: Duration) -> Patience {
        self.first.silence = silence;
        self
    }
}

/// The run that is watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// The id of the process that is watched.
    pub process: i32,
    /// Another one whose connection it uses.
    pub carrier: Option<i32>,
    /// Bytes that the process had read at the greeting, if that is over.
    pub read: Option<u64>,
    /// The length of its list.
    pub list: usize,
}

/// The furthest that the other end has come in what it said, from nothing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    Nothing,
    /// Both ends have greeted each other.
    Greeting,
    /// It asked for an entry of the list, or did something with one: rsync says so in a line of its own.
    Entry,
}

impl Reply {
    pub(super) fn of(has_greeted: bool, spoke_of_entry: bool) -> Reply {
        match (spoke_of_entry, has_greeted) {
            (true, _) => Reply::Entry,
            (false, true) => Reply::Greeting,
            (false, false) => Reply::Nothing,
        }
    }
}

/// The reason why a run is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    /// The process does nothing at all.
    Silent,
    /// Nothing is acknowledged on its line.
    Dead,
    /// The other end did not greet.
    NoGreeting,
    /// The text of the run never ends, and tells nothing.
    Talkative,
    /// A directory above what is listed is not what it was before rsync looked at the list.
    Changed,
}

impl Stall {
    /// In words, as if rsync had said it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Stall::Silent => "io timeout: rsync did nothing for a long time, and was ended",
            Stall::Dead => "io timeout: nothing that is sent is acknowledged, and rsync was ended",
            Stall::NoGreeting => "io timeout: the node's rsync does not begin, and the one here was ended",
            Stall::Talkative => "what the node says does not end, and rsync was ended",
            Stall::Changed => {
                "a directory above what is to be deleted is not what it was, and rsync was ended before it deleted"
            }
        }
    }
}

/// The signs that a process does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// Bytes that it read, from wherever, and that storage gave it (proc(5), `/proc/pid/io`).
    read: (u64, u64),
    /// Bytes that it wrote.
    written: u64,
    /// Ticks of the processor (proc(5), `/proc/pid/stat`).
    ticks: u64,
}

impl Life {
    /// Ticks that a process may use without doing anything.
    const IDLE_TICKS: u64 = 5;
    /// Bytes that a process may write without doing anything: its keep-alives, of 4 bytes every 2 seconds at the most,
    /// go on when the other end is dead. Over a slow network it reads a file 256 KiB at a time, and writes for minutes.
    const KEEP_ALIVES: u64 = 1024;

    /// `None` when the process is gone.
    fn of(process: i32) -> Option<Life> {
        let io = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
        let counter = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name of the program, in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let read = (counter("rchar:")?, counter("read_bytes:")?);
        let written = counter("wchar:")?;
        Some(Life { read, written, ticks: ticks(11)? + ticks(12)? })
    }

    /// Bytes that the process has read so far.
    pub(crate) fn read(process: i32) -> Option<u64> {
        Life::of(process).map(|life| life.read.0)
    }

    fn goes_on(self, now: Life) -> bool {
        self.read != now.read
            || now.written >= self.written + Life::KEEP_ALIVES
            || now.ticks >= self.ticks + Life::IDLE_TICKS
    }
}

/// The state of a run as seen at one moment.
#[derive(Debug, Clone)]
struct RunSnapshot {
    /// `None` when the process is gone.
    life: Option<Life>,
    line: TcpConnections,
    reply: Reply,
}

/// The looks at a run so far.
#[derive(Debug)]
struct Watch {
    subject: Subject,
    patience: Patience,
    begun: Instant,
    /// The time of the last sign of life, and the counters at that time.
    alive: (Instant, Option<Life>),
    line: TcpConnections,
    /// Since when nothing is acknowledged.
    unanswered: Option<Instant>,
}

impl Watch {
    fn new(subject: Subject, patience: Patience, now: Instant) -> Watch {
        Watch { subject, patience, begun: now, alive: (now, None), line: TcpConnections::default(), unanswered: None }
    }

    /// Tells if the other end has answered to the list, as far as can be told.
    fn is_answered(&mut self, life: Option<Life>, reply: Reply) -> bool {
        // Where files are small little is read, and whoever writes them may take long.
        if reply == Reply::Entry {
            return true;
        }
        let Some(Life { read: (read, _), .. }) = life.filter(|_| reply == Reply::Greeting) else { return false };
        let before = *self.subject.read.get_or_insert(read);
        read > before + self.subject.list as u64 + UNASKED
    }

    /// Takes another look; `Some` if the run hangs.
    fn look(&mut self, seen: RunSnapshot, now: Instant) -> Option<Stall> {
        let RunSnapshot { life, line, reply } = seen;
        let goes_on = match (self.alive.1, life) {
            (Some(before), Some(now)) => before.goes_on(now),
            _ => true,
        };
        if goes_on || line.moved_since(&self.line) {
            self.alive = (now, life);
        }
        self.unanswered = line.is_unanswered().then(|| self.unanswered.unwrap_or(now));
        self.line = line;
        let limits = if self.is_answered(life, reply) { self.patience.later } else { self.patience.first };
        let is_over = |since: Instant, patience: Duration| now.saturating_duration_since(since) >= patience;
        if self.unanswered.is_some_and(|since| is_over(since, limits.dead)) {
            return Some(Stall::Dead);
        }
        if reply == Reply::Nothing && self.patience.greeting.is_some_and(|patience| is_over(self.begun, patience)) {
            return Some(Stall::NoGreeting);
        }
        is_over(self.alive.0, limits.silence).then_some(Stall::Silent)
    }
}

/// Returns when a run hangs. `reply`: how far the other end has come. `shell`: its remote shell, if that is no process of its
/// own.
pub(super) async fn stalled(
    subject: Subject,
    patience: Patience,
    reply: impl Fn() -> Reply,
    shell: impl Fn() -> Option<i32>,
) -> Stall {
    let mut watch = Watch::new(subject, patience, Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let on_the_way: Vec<i32> = [subject.process].into_iter().chain(subject.carrier).chain(shell()).collect();
        // The kernel takes long for its table of connections where the host has much memory.
        let look = move || (Life::of(subject.process), TcpConnections::of(on_the_way));
        // Only an end of the daemon gives it up.
        let Ok((life, line)) = tokio::task::spawn_blocking(look).await else { continue };
        if let Some(stall) = watch.look(RunSnapshot { life, line, reply: reply() }, Instant::now()) {
            return stall;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_only_keeps_alive_does_nothing() {
        let before = Life { read: (10, 10), written: 5000, ticks: 7 };
        for (now, goes_on) in [
            (Life { written: 5000 + 4 * 90, ticks: 9, ..before }, false),
            (Life { read: (11, 10), ..before }, true),
            (Life { read: (10, 4096), ..before }, true),
            (Life { ticks: 12, ..before }, true),
            // Slowly, from what it read before.
            (Life { written: 5000 + 8 * 1024, ..before }, true),
        ] {
            assert_eq!(before.goes_on(now), goes_on, "{now:?}");
        }
    }

    const STILL: Life = Life { read: (10, 10), written: 5000, ticks: 7 };

    /// The verdict on a run that is seen like this every second, and after how many.
    fn ends(patience: Patience, seen: impl Fn(u64) -> RunSnapshot) -> Option<(Stall, u64)> {
        let begun = Instant::now();
        let subject = Subject { process: 0, carrier: None, read: Some(STILL.read.0), list: 100 };
        let mut watch = Watch::new(subject, patience, begun);
        (1..=600).find_map(|second| {
            let stall = watch.look(seen(second), begun + Duration::from_secs(second))?;
            Some((stall, second))
        })
    }

    #[test]
    fn a_run_hangs_when_it_does_nothing_for_too_long() {
        let patience = Patience::of(PATIENCE);
        let works = |second: u64| Life { ticks: 7 + 6 * second, ..STILL };
        let sight = |life, line| RunSnapshot { life: Some(life), line, reply: Reply::Greeting };
        for (what, end, seen) in [
            (
                "still",
                Some((Stall::Silent, 181)),
                &(|_| sight(STILL, TcpConnections::default())) as &dyn Fn(u64) -> RunSnapshot,
            ),
            ("works", None, &|second| sight(works(second), TcpConnections::default())),
            // The node takes what the kernel has of it, at 30 KB/s: rsync has nothing to do.
            ("is taken slowly", None, &|second| sight(STILL, TcpConnections::of_one(30_000_000 - 30_000 * second, 0))),
            ("takes nothing, and says so", Some((Stall::Silent, 181)), &|_| {
                sight(STILL, TcpConnections::of_one(900, 0))
            }),
            ("dead", Some((Stall::Dead, 21)), &|_| sight(STILL, TcpConnections::of_one(900, 3))),
            ("dead, and fills the buffer", Some((Stall::Dead, 21)), &|second| {
                sight(works(second), TcpConnections::of_one(900 * second, 3))
            }),
            ("comes back", None, &|second| {
                sight(works(second), TcpConnections::of_one(900, if second % 20 == 0 { 0 } else { 5 }))
            }),
        ] {
            assert_eq!(ends(patience, seen), end, "{what}");
        }
    }

    #[test]
    fn an_old_connection_is_given_up_sooner_and_a_greeting_is_not_waited_for_longer() {
        let silent = |reply, repeats| {
            move |_| RunSnapshot { life: Some(STILL), line: TcpConnections::of_one(900, repeats), reply }
        };
        use Reply::{Greeting, Nothing};
        let patience = Patience::of(PATIENCE);
        assert_eq!(ends(patience.over_old_connection(), silent(Greeting, 2)), Some((Stall::Dead, 4)));
        let soon = patience.greeting_within(Some(Duration::from_secs(10)));
        assert_eq!(ends(soon, silent(Nothing, 0)), Some((Stall::NoGreeting, 10)));
        assert_eq!(ends(soon, silent(Greeting, 0)), Some((Stall::Silent, 181)));
    }

    #[test]
    fn a_run_that_was_answered_is_let_be_as_long_as_any_other() {
        let patience = Patience::of(PATIENCE).over_old_connection().answered_within(Duration::from_secs(10));
        let seen = |more: u64, repeats, reply| {
            let life = Life { read: (STILL.read.0 + more, 0), ..STILL };
            move |_| RunSnapshot { life: Some(life), line: TcpConnections::of_one(900, repeats), reply }
        };
        let has_read = |more, repeats| seen(more, repeats, Reply::Greeting);
        // Its list and no more; then the beginning of a file that the node has asked for.
        assert_eq!(ends(patience, has_read(100, 0)), Some((Stall::Silent, 11)));
        assert_eq!(ends(patience, has_read(100, 2)), Some((Stall::Dead, 4)));
        assert_eq!(ends(patience, has_read(300_000, 0)), Some((Stall::Silent, 181)));
        assert_eq!(ends(patience, has_read(300_000, 2)), Some((Stall::Dead, 21)));
        // Small files: rsync has said of one that it goes.
        assert_eq!(ends(patience, seen(100, 0, Reply::Entry)), Some((Stall::Silent, 181)));
        assert_eq!(ends(patience, seen(100, 2, Reply::Entry)), Some((Stall::Dead, 21)));
    }
}
