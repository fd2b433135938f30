//! File systems in the source that do not answer: what the log says of them, and who goes on when they do again.

use std::time::{Duration, SystemTime};

use actix::prelude::*;
use slog::{info, warn};

use super::SupervisorActor;
use crate::messages::{Reached, Wake};
use crate::root::reach::{MountNews, Silent};

impl SupervisorActor {
    /// Something can be compared that could not be, and what failed meanwhile is tried at once.
    fn go_on(&self) {
        for slot in self.slots.iter() {
            slot.link.outbox.lock().try_now();
            slot.worker.actor().into_iter().for_each(|actor| actor.do_send(Wake));
        }
    }
}

fn silence(since: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(since).unwrap_or(Duration::ZERO).as_secs();
    format!("{seconds} s")
}

impl Handler<Reached> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Reached(heard): Reached, _: &mut Self::Context) {
        match heard {
            MountNews::Silent(Silent { path, kind, .. }) => {
                warn!(self.log, "a file system does not answer: what is below it waits, and the rest goes on; mend what \
                    serves it, or unmount it (umount -l)"; "path" => %path, "kind" => kind);
            }
            MountNews::Answers { silent: Silent { path, since, .. }, missed } => {
                let what = if missed { ": what is below it is compared" } else { "" };
                info!(self.log, "a file system answers again{what}"; "path" => %path, "after" => silence(since));
                self.go_on();
            }
            MountNews::Unmounted(Silent { path, since, .. }) => {
                info!(self.log, "a file system that did not answer is not mounted any more"; "path" => %path,
                    "after" => silence(since));
                self.go_on();
            }
        }
    }
}
