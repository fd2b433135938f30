//! Sends a heartbeat: one file that is not in the source, in place, so that the directory that holds it keeps its time.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use slog::debug;
use tempfile::TempDir;

use super::runner::Runner;
use super::runner::process::Input;
use super::target::Target;
use crate::heartbeat::{Heartbeat, NAME};
use crate::rsync::recipe::Recipe;
use crate::rsync::report::claims::Claims;
use crate::rsync::report::failure;
use crate::rsync::report::output::{self, Line};
use crate::rsync::runner::run_order::{Ears, Order};
use crate::transport::failure::Failure;
use crate::transport::{BeatTurn, Beaten};

/// Sends a heartbeat; `None` if the node does not take it. A later one is sent only to a mirror that has one.
pub(super) async fn beat(
    target: Rc<Target>,
    runner: Rc<Runner>,
    heartbeat: Heartbeat,
    turn: BeatTurn,
) -> Option<Beaten> {
    let result = send_heartbeat(&target, &runner, &heartbeat, turn).await;
    result.inspect_err(|why| debug!(target.log, "no heartbeat"; "why" => %why)).ok()
}

async fn send_heartbeat(
    target: &Target,
    runner: &Rc<Runner>,
    heartbeat: &Heartbeat,
    turn: BeatTurn,
) -> Result<Beaten, Failure> {
    let state_file = target.site.state_file.as_deref().unwrap_or(Path::new("/"));
    let directory = written(state_file, heartbeat).map_err(|error| Failure::not_staged(&error))?;
    let opened = File::open(directory.path()).map_err(|error| Failure::not_staged(&error))?;
    let mut is_taken = false;
    let mut line = |said: &[u8]| {
        for line in output::parts(said) {
            is_taken |= matches!(&line, Line::Sent(path, _) if path.as_bytes() == NAME.as_bytes());
        }
    };
    let mut ears = Ears::to(&mut line);
    if turn == BeatTurn::First
        && let Some(failed) = runner.make_mirror(&Order::of(Recipe::Present), &mut ears).await?
    {
        return failure::of(&failed).map_or(Ok(Beaten::Gone), Err);
    }
    let arguments = runner.context(true).heartbeat(turn);
    let process = runner.process(opened.into(), &arguments).await?.over(runner.carrier(true));
    let patience = runner.patience(Recipe::Present, process.carrier());
    let list = [b"/", NAME.as_bytes(), b"\0"].concat();
    let share = runner.speed.small();
    let finished = runner.finish(process, Input::of(&list), &Claims::ANY, (patience, share), &mut ears).await?;
    failure::of(&finished).map_or(Ok(()), Err)?;
    Ok(if is_taken { Beaten::Taken } else { Beaten::Gone })
}

/// A directory of its own beside the state, with the file in it.
fn written(state_file: &Path, heartbeat: &Heartbeat) -> io::Result<TempDir> {
    let parent = state_file.parent().ok_or(io::ErrorKind::NotFound)?;
    let directory = tempfile::Builder::new().prefix("heartbeat-").tempdir_in(parent)?;
    let path = directory.path().join(NAME);
    fs::write(&path, heartbeat.encode())?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    File::options().write(true).open(&path)?.set_modified(heartbeat.time())?;
    Ok(directory)
}
