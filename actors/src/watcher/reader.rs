//! Reads the inotify queue on a thread of its own and hands the events on. Listens to changes of the mounts, of which
//! inotify tells only some. Waits for nothing but the kernel, and pauses in a burst ([`ReadPace`]): events that the watcher cannot keep up with are
//! dropped and reported as lost, as the kernel does when its own queue is full.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify};
use rustix::event::{PollFd, PollFlags, poll};

use crate::mounts;
use crate::read_pace::{ReadPace, Supply};

/// Events that may wait for the watcher, some 100 bytes each.
const BACKLOG: usize = 1_000_000;
/// Room for some 1,000 events with names of usual length.
const BUFFER: usize = 64 * 1024;
/// Bytes of events that one read brings only if there may be more.
const PLENTY: usize = BUFFER / 2;
/// Bytes of an event without a name: inotify(7).
const SHORTEST: usize = 16;
/// A queue that cannot be read (inotify(7) knows no such case) is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One event as the kernel gave it, on its own memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// The number of the watch, -1 if the event belongs to none.
    pub watch: i32,
    /// The kind of event.
    pub mask: EventMask,
    /// The same in both halves of a rename, else 0.
    pub cookie: u32,
    /// The entry in the watched directory; `None` for the directory itself.
    pub name: Option<OsString>,
}

impl From<inotify::Event<&OsStr>> for RawEvent {
    fn from(inotify::Event { wd, mask, cookie, name }: inotify::Event<&OsStr>) -> Self {
        RawEvent { watch: wd.get_watch_descriptor_id(), mask, cookie, name: name.map(OsStr::to_owned) }
    }
}

/// A message of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KernelSaid {
    /// One read(2) of the queue.
    Events(Vec<RawEvent>),
    /// The list of mounts is different, or was before the reader listened.
    Mounts,
}

/// The distance of the reader behind the kernel, and of the watcher behind the reader.
#[derive(Clone)]
pub(crate) struct Gauge {
    queue: Arc<OwnedFd>,
    waiting: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Gauge {
    /// Notes that the watcher has taken this many events.
    pub(crate) fn taken(&self, events: usize) {
        self.waiting.fetch_sub(events, Ordering::AcqRel);
        self.taken.fetch_add(events, Ordering::AcqRel);
    }

    /// An upper limit of the total that the watcher has taken once it has every event up to now.
    pub(crate) fn goal(&self) -> usize {
        // In the order in which events go their way, so that none is missed; some may be counted twice.
        let kernel = rustix::io::ioctl_fionread(&*self.queue).map_or(0, |bytes| bytes as usize / SHORTEST);
        let read = BUFFER / SHORTEST;
        kernel + read + self.waiting.load(Ordering::Acquire) + self.taken.load(Ordering::Acquire)
    }

    /// Tells if the watcher has taken this many events in all.
    pub(crate) fn has_taken(&self, goal: usize) -> bool {
        self.taken.load(Ordering::Acquire) >= goal
    }

    /// Returns the queue of the kernel's events.
    pub(crate) fn queue(&self) -> Arc<OwnedFd> {
        self.queue.clone()
    }

    /// Ends the reader at the next event: nobody listens any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Tells if no event waits, neither in the kernel nor between the reader and the watcher.
    pub(crate) fn is_drained(&self) -> bool {
        is_empty(&self.queue) && self.waiting.load(Ordering::Acquire) == 0
    }
}

/// Starts the reader. `deliver` gets each read as one batch and says whether anybody still listens; an event with
/// watch -1 and `Q_OVERFLOW` stands for events that were lost. Where the list of mounts cannot be listened to, changes of it
/// are not told. `held` is dropped after the queue.
///
/// # Errors
/// When the descriptor cannot be duplicated or the thread cannot be started (both: limits of the process).
pub(crate) fn start<H: Send + 'static>(
    mut inotify: Inotify,
    deliver: impl Fn(KernelSaid) -> bool + Send + 'static,
    held: H,
) -> io::Result<Gauge> {
    let queue = Arc::new(inotify.as_fd().try_clone_to_owned()?);
    let gauge = Gauge { queue, waiting: Arc::default(), taken: Arc::default(), ended: Arc::default() };
    let waiting = gauge.waiting.clone();
    let ended = gauge.ended.clone();
    thread::Builder::new().name("inotify".into()).spawn(move || {
        let mut buffer = vec![0; BUFFER];
        let mut table = File::open(mounts::TABLE).ok();
        // What was different before the table was opened.
        deliver(KernelSaid::Mounts);
        let mut pace = ReadPace::new(Instant::now());
        loop {
            let was_empty = is_empty(&inotify);
            match wait(&inotify, &mut table) {
                Some(Woken::Mounts) => {
                    deliver(KernelSaid::Mounts);
                    continue;
                }
                Some(Woken::Queue) => (),
                None => continue,
            }
            let mut batch: Vec<RawEvent> = match inotify.read_events(&mut buffer) {
                Ok(events) => events.map(RawEvent::from).collect(),
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                    continue;
                }
                Err(_) => {
                    thread::sleep(RETRY_AFTER);
                    vec![overflow()]
                }
            };
            let pause = pace.pause(supply(&batch, was_empty), Instant::now());
            if waiting.load(Ordering::Acquire) > BACKLOG {
                batch = vec![overflow()];
            }
            waiting.fetch_add(batch.len(), Ordering::AcqRel);
            if ended.load(Ordering::Acquire) || !deliver(KernelSaid::Events(batch)) {
                break;
            }
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        drop(inotify);
        drop(held);
    })?;
    Ok(gauge)
}

fn supply(batch: &[RawEvent], was_empty: bool) -> Supply {
    let size = |event: &RawEvent| SHORTEST + event.name.as_ref().map_or(0, |name| name.len());
    match batch.iter().map(size).sum() {
        PLENTY.. => Supply::Plenty,
        _ if was_empty => Supply::Nothing,
        _ => Supply::Something,
    }
}

fn is_empty(queue: impl AsFd) -> bool {
    rustix::io::ioctl_fionread(queue).is_ok_and(|bytes| bytes == 0)
}

/// The reason why the reader woke up.
enum Woken {
    Queue,
    Mounts,
}

/// Waits for an event or a change of the mounts; `None`: for nothing in particular.
fn wait(inotify: &Inotify, table: &mut Option<File>) -> Option<Woken> {
    let mut queue = [PollFd::new(inotify, PollFlags::IN)];
    let Some(mounts) = table else { return poll(&mut queue, None).is_ok().then_some(Woken::Queue) };
    // The kernel marks a change by POLLPRI (proc(5)); readable the table is always.
    let [queue] = queue;
    let mut sources = [queue, PollFd::new(mounts, PollFlags::PRI)];
    match poll(&mut sources, None) {
        Err(rustix::io::Errno::INTR) => return None,
        Ok(_) if sources[1].revents().contains(PollFlags::PRI) => return Some(Woken::Mounts),
        Ok(_) if sources[1].revents().is_empty() => return Some(Woken::Queue),
        Ok(_) | Err(_) => (),
    }
    // It would wake the reader for ever.
    *table = None;
    None
}

fn overflow() -> RawEvent {
    RawEvent { watch: -1, mask: EventMask::Q_OVERFLOW, cookie: 0, name: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_fills_half_of_the_buffer_may_have_left_more_whatever_the_length_of_names() {
        let events = |count, length| {
            let name = Some("n".repeat(length).into());
            vec![RawEvent { watch: 1, mask: EventMask::CREATE, cookie: 0, name }; count]
        };
        for (count, length, expected) in [
            (1, 1, Supply::Something),
            (100, 200, Supply::Something),
            (240, 255, Supply::Plenty),
            (400, 128, Supply::Plenty),
            (1500, 10, Supply::Plenty),
        ] {
            assert_eq!(supply(&events(count, length), false), expected, "{count} {length}");
        }
        assert_eq!(supply(&events(3, 10), true), Supply::Nothing);
    }
}
