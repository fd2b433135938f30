//! The input of an rsync: its list, whose end is held back where something has to be seen after rsync has looked at all that is
//! listed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

use super::watch::Stall;
use crate::rsync::runner::above::Above;

/// Time within which an rsync that is connected has read its list.
const READ_WITHIN: Duration = Duration::from_millis(2);
/// Time between two looks at how much of it is left.
const READ_EVERY: Duration = Duration::from_micros(50);

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

    /// Writes the list, and ends the input: its end is the end of the list. Returns only if the end must not be given: then the
    /// input stays open.
    pub(super) async fn feed(self, stdin: &mut Option<ChildStdin>) -> Stall {
        if let Some(open) = stdin {
            // EPIPE: rsync ended early; its code tells why.
            let _ = open.write_all(self.list).await;
            if let Some(above) = self.above {
                // rsync skips an empty name, and reads it byte by byte (`read_line` in its io.c) when it has looked at the last
                // entry: versions 3.1.3 to 3.5.0.
                let _ = open.write_all(b"\0").await;
                if !is_unchanged(open, above).await {
                    return Stall::Vanished;
                }
            }
        }
        stdin.take();
        std::future::pending().await
    }
}

/// Waits until an rsync has read all that was written, and looks at the directories.
async fn is_unchanged(stdin: &ChildStdin, above: &Arc<Above>) -> bool {
    loop {
        // The clone is closed before the end is given, and with what nobody waits for any more soon after.
        let Ok(pipe) = stdin.as_fd().try_clone_to_owned() else { return false };
        let above = Arc::clone(above);
        // Apart, since a look may take long, and since the timer of the runtime is coarse: rsync reads its list in less than 1 ms.
        let look = move || is_read_soon(&pipe).then(|| above.is_unchanged());
        match tokio::task::spawn_blocking(look).await {
            Ok(Some(is_unchanged)) => return is_unchanged,
            Ok(None) => tokio::time::sleep(READ_WITHIN).await,
            Err(_) => return false,
        }
    }
}

/// Waits a little until all that was written has been read, or nobody reads any more.
fn is_read_soon(pipe: &OwnedFd) -> bool {
    let start = Instant::now();
    let has_reader = || {
        let mut ends = [PollFd::new(pipe, PollFlags::empty())];
        let polled = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_ok() && !ends[0].revents().contains(PollFlags::ERR)
    };
    while rustix::io::ioctl_fionread(pipe).is_ok_and(|left| left > 0) && has_reader() {
        if start.elapsed() > READ_WITHIN {
            return false;
        }
        thread::sleep(READ_EVERY);
    }
    true
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
            ("rm -r \"$1\"/d; cat >/dev/null; echo end", Code::Signal(15), 0),
            ("rm -r \"$1\"/d; sleep 0.1; cat >/dev/null; echo end", Code::Signal(15), 0),
            ("exit 5", Code::Exit(5), 0),
        ] {
            let source = tempfile::tempdir().unwrap();
            fs::create_dir(source.path().join("d")).unwrap();
            let (finished, heard) = fed(source.path(), script).await;
            assert_eq!((finished.code, heard), (code, lines), "{script}");
            assert_eq!(finished.stderr.is_empty(), code != Code::Signal(15), "{script}: {finished:?}");
        }
    }
}
