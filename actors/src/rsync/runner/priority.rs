//! Lets the processes of large runs yield the processor and the disk to whatever else wants them.
//!
//! Each rsync leads a session, and the kernel may share the processor out among sessions first (sched(7), autogroup): then
//! the nice value of a process counts only among those of its session, and the session has one of its own. Both are set.
//! The priority at the disk follows that of the process (ioprio_set(2)).

use std::fs::{self, File};
use std::io::{self, Write};
use std::time::Duration;

use rustix::process::{Pid, getpriority_pgrp, setpriority_pgrp};

/// The kernel takes one new value of a session in a tenth of a second, except from root.
const BETWEEN: Duration = Duration::from_millis(110);
const TRIES: usize = 5;

/// Lets the session that this process leads yield to others.
pub(super) fn lower(leader: i32, nice: i32) {
    if let Some(group) = Pid::from_raw(leader) {
        // ESRCH: it ended already. EPERM: the service may not (SystemCallFilter). Less than before is always allowed.
        let _ = setpriority_pgrp(Some(group), nice);
    }
    // The open file stands for this process, even if another one has its number later.
    let Ok(session) = File::options().write(true).open(autogroup(leader)) else { return };
    if is_too_soon(&session, nice) {
        tokio::task::spawn_local(async move {
            for _ in 0..TRIES {
                tokio::time::sleep(BETWEEN).await;
                if !is_too_soon(&session, nice) {
                    break;
                }
            }
        });
    }
}

/// Lets the session of one process yield as that of another one does.
pub(super) fn lower_like(other: i32, leader: i32) {
    let of_session = fs::read_to_string(autogroup(other)).ok().and_then(|text| nice_in(&text));
    let of_process = getpriority_pgrp(Pid::from_raw(other)).ok();
    if let Some(nice) = of_session.max(of_process).filter(|&nice| nice > 0) {
        lower(leader, nice);
    }
}

fn autogroup(process: i32) -> String {
    format!("/proc/{process}/autogroup")
}

/// Sets the nice value of a session. Returns true if the kernel takes none so soon after the last one.
fn is_too_soon(mut session: &File, nice: i32) -> bool {
    let written = session.write_all(nice.to_string().as_bytes());
    written.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads `/autogroup-25 nice 10`.
fn nice_in(text: &str) -> Option<i32> {
    text.trim_end().rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nice_value_of_a_session_is_the_last_word() {
        for (text, expected) in
            [("/autogroup-25 nice 10\n", Some(10)), ("/autogroup-1 nice -5\n", Some(-5)), ("", None)]
        {
            assert_eq!(nice_in(text), expected, "{text}");
        }
    }
}
