//! The input of an rsync: its list, whose end is held back where something has to be seen after rsync has looked at all that is
//! listed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::oneshot;

use super::watch::Stall;
use crate::rsync::runner::above::Above;

/// Time within which an rsync that is connected has read its list.
const READ_WITHIN: Duration = Duration::from_millis(2);
/// Time between two looks at how much of it is left.
const READ_EVERY: Duration = Duration::from_micros(50);
/// The longest time between two looks while it connects.
const CONNECTS_EVERY: Duration = Duration::from_millis(20);

/// The list for an rsync.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    list: &'a [u8],
    /// The directories that must be what they were when rsync has looked at all that is listed.
    above: Option<&'a Arc<Above>>,
}

impl<'a> Input<'a> {
    /// A list that is given to the end.
    pub(crate) fn of(list: &'a [u8]) -> Self {
        Input { list, above: None }
    }

    /// The same, whose end is held back until the directories above what is listed were seen once more.
    pub(crate) fn below(self, above: Option<&'a Arc<Above>>) -> Self {
        Input { above, ..self }
    }

    /// The size of the list in bytes.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Writes the list, and ends the input: its end is the end of the list. If that must not be given, tells `refuse`, and keeps
    /// the input open for ever.
    pub(super) async fn feed(self, stdin: &mut Option<ChildStdin>, refuse: oneshot::Sender<Stall>) {
        if let Some(open) = stdin {
            // EPIPE: rsync ended early; its code tells why.
            let _ = open.write_all(self.list).await;
            if let Some(above) = self.above.filter(|above| !above.is_empty()) {
                // rsync skips an empty name, and reads it byte by byte (`read_line` in its io.c) when it has looked at the last
                // entry: versions 3.1.3 to 3.5.0.
                let _ = open.write_all(b"\0").await;
                if !may_end(open, above).await {
                    let _ = refuse.send(Stall::Changed);
                    return std::future::pending().await;
                }
            }
        }
        stdin.take();
    }
}

/// The state of a pipe that was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipeState {
    /// Something is left in it.
    Holds,
    /// All was read.
    Empty,
    /// Nobody reads.
    Closed,
}

/// Waits until an rsync has read all that was written, and tells if its input may end: the directories are as they were, or nobody
/// reads.
async fn may_end(stdin: &ChildStdin, above: &Arc<Above>) -> bool {
    let mut pause = READ_WITHIN;
    loop {
        // The clone is closed before the end is given, and with what nobody waits for any more soon after.
        let Ok(pipe) = stdin.as_fd().try_clone_to_owned() else { return false };
        let above = Arc::clone(above);
        // Apart, since a look may take long, and since the timer of the runtime is coarse: rsync reads its list in less than 1 ms.
        let look = move || match soon(&pipe)? {
            PipeState::Holds => Ok(None),
            PipeState::Empty => Ok(Some(above.is_unchanged())),
            PipeState::Closed => Ok(Some(true)),
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(Some(may_end))) => return may_end,
            // An rsync that connects takes longer.
            Ok(Ok(None)) => tokio::time::sleep(pause).await,
            Ok(Err::<_, Errno>(_)) | Err(_) => return false,
        }
        pause = (2 * pause).min(CONNECTS_EVERY);
    }
}

/// Waits a little until nothing is left in a pipe, or nobody reads any more.
fn soon(pipe: &OwnedFd) -> Result<PipeState, Errno> {
    let start = Instant::now();
    loop {
        let state = state(pipe)?;
        if state != PipeState::Holds || start.elapsed() > READ_WITHIN {
            return Ok(state);
        }
        thread::sleep(READ_EVERY);
    }
}

fn state(pipe: &OwnedFd) -> Result<PipeState, Errno> {
    if ioctl_fionread(pipe)? == 0 {
        return Ok(PipeState::Empty);
    }
    let mut ends = [PollFd::new(pipe, PollFlags::empty())];
    match poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) if ends[0].revents().contains(PollFlags::ERR) => Ok(PipeState::Closed),
        Ok(_) | Err(Errno::INTR) => Ok(PipeState::Holds),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::children::Children;
    use crate::path::RelPath;
    use crate::root::reach::Reach;
    use crate::rsync::report::claims::Bearing;
    use crate::rsync::runner::process::{Code, Finished, PATIENCE, Patience, Process};

    /// The end of a script that gets the list of an entry in `d`, and how many of its lines were heard.
    async fn fed(source: &Path, script: &str) -> (Finished, usize) {
        let above = Arc::new(Above::of(&Reach::of(source), [&RelPath::new(b"d/gone").unwrap()]));
        let arguments = ["-c".into(), script.into(), "sh".into(), source.into()];
        let process = Process::start(&Children::default(), Path::new("/bin/sh"), None, &arguments, None).unwrap();
        let mut heard = 0;
        let line = |_: &[u8]| {
            heard += 1;
            Bearing::Nothing
        };
        let input = Input::of(b"/d/gone\0").below(Some(&above));
        (process.finish(input, Patience::of(PATIENCE), line, || ()).await.unwrap(), heard)
    }

    #[tokio::test]
    async fn the_end_of_a_list_is_given_when_the_directories_above_were_seen_once_more() {
        for (script, code, lines) in [
            ("cat >/dev/null; echo end", Code::Exit(0), 1),
            ("rm -r \"$1\"/d; cat >/dev/null; echo end", Code::Signal(9), 0),
            ("rm -r \"$1\"/d; sleep 0.1; cat >/dev/null; echo end", Code::Signal(9), 0),
            ("exit 5", Code::Exit(5), 0),
        ] {
            let source = tempfile::tempdir().unwrap();
            fs::create_dir(source.path().join("d")).unwrap();
            let (finished, heard) = fed(source.path(), script).await;
            assert_eq!((finished.code, heard), (code, lines), "{script}");
            assert_eq!(finished.stderr.is_empty(), code != Code::Signal(9), "{script}: {finished:?}");
        }
    }
}
