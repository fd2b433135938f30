//! Sends a heartbeat: one file that is not in the source, in place, so that the directory that holds it keeps its time.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use slog::debug;
use tempfile::TempDir;

use super::Deliverer;
use crate::heartbeat::{Heartbeat, NAME};
use crate::rsync::recipe::Recipe;
use crate::rsync::report::claims::Claims;
use crate::rsync::report::failure;
use crate::rsync::report::output::{self, Line};
use crate::rsync::runner::run_order::{Ears, Order};
use crate::transport::Beaten;
use crate::transport::failure::Failure;

impl Deliverer {
    /// Sends a heartbeat; `None` if the node does not take it.
    pub(in crate::rsync) async fn beat(self: Rc<Self>, heartbeat: Heartbeat) -> Option<Beaten> {
        let mut made_mirror = false;
        let result = self.send_heartbeat(&heartbeat, &mut made_mirror).await;
        match result.map(|failure| failure.map_or(Ok(()), Err)).and_then(|result| result) {
            Ok(()) => Some(Beaten { made_mirror }),
            Err(why) => {
                debug!(self.target.log, "no heartbeat"; "why" => %why);
                None
            }
        }
    }

    async fn send_heartbeat(
        self: &Rc<Self>,
        heartbeat: &Heartbeat,
        made_mirror: &mut bool,
    ) -> Result<Option<Failure>, Failure> {
        let Some(state_file) = &self.target.site.state_file else { return Ok(None) };
        let directory = written(state_file, heartbeat).map_err(|error| Failure::not_staged(&error))?;
        let opened = File::open(directory.path()).map_err(|error| Failure::not_staged(&error))?;
        let mut line = |said: &[u8]| {
            for line in output::parts(said) {
                self.note_made(Recipe::Present, &line);
                *made_mirror |= line == Line::MadeMirror;
            }
        };
        let mut ears = Ears::to(&mut line);
        if let Some(failed) = self.runner.make_mirror(&Order::of(Recipe::Present), &mut ears).await? {
            return Ok(failure::of(&failed));
        }
        let arguments = self.runner.context(true).heartbeat();
        let process = self.runner.process(opened.into(), &arguments).await?.over(self.runner.carrier(true));
        let patience = self.runner.patience(Recipe::Present, process.carrier());
        let list = [b"/", NAME.as_bytes(), b"\0"].concat();
        let share = self.runner.speed.small();
        let finished = self.runner.finish(process, &list, &Claims::ANY, (patience, share), &mut ears).await?;
        Ok(failure::of(&finished))
    }
}

/// A directory of its own beside the state, with the file in it.
fn written(state_file: &std::path::Path, heartbeat: &Heartbeat) -> io::Result<TempDir> {
    let parent = state_file.parent().ok_or(io::ErrorKind::NotFound)?;
    let directory = tempfile::Builder::new().prefix("heartbeat-").tempdir_in(parent)?;
    let path = directory.path().join(NAME);
    fs::write(&path, heartbeat.encode())?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    File::options().write(true).open(&path)?.set_modified(heartbeat.time())?;
    Ok(directory)
}
