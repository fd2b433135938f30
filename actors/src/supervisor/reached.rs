//! File systems in the source that do not answer: what the log says of them, and who goes on when they do again.

use std::time::{Duration, SystemTime};

use slog::{Logger, info, warn};

use super::slots::Slots;
use crate::messages::Wake;
use crate::root::reach::{MountNews, Silent};

/// Logs what was heard of a mount. Where it answers again, or is gone, the nodes go on.
pub(super) fn reached(heard: MountNews, slots: &Slots, log: &Logger) {
    match heard {
        MountNews::Silent(Silent { path, kind, .. }) => {
            warn!(log, "a file system does not answer: what is below it waits, and the rest goes on; mend what \
                serves it, or unmount it (umount -l)"; "path" => %path, "kind" => kind);
        }
        MountNews::Answers { silent: Silent { path, since, .. }, missed } => {
            let what = if missed { ": what is below it is compared" } else { "" };
            info!(log, "a file system answers again{what}"; "path" => %path, "after" => silence(since));
            go_on(slots);
        }
        MountNews::Unmounted(Silent { path, since, .. }) => {
            info!(log, "a file system that did not answer is not mounted any more"; "path" => %path,
                "after" => silence(since));
            go_on(slots);
        }
    }
}

/// Something can be compared that could not be, and what failed meanwhile is tried at once.
fn go_on(slots: &Slots) {
    for slot in slots.iter() {
        slot.link.outbox.lock().try_now();
        slot.worker.actor().into_iter().for_each(|actor| actor.do_send(Wake));
    }
}

fn silence(since: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(since).unwrap_or(Duration::ZERO).as_secs();
    format!("{seconds} s")
}
