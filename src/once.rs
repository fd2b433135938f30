//! The commands that end by themselves: one reconcile of every node, or what it would change.

use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

use inosync_actors::path::RelPath;
use inosync_actors::root::{Root, RootError};
use inosync_actors::rsync::children::Children;
use inosync_actors::rsync::failure::Failure;
use inosync_actors::rsync::output::Line;
use inosync_actors::rsync::progress::Latest;
use inosync_actors::rsync::version::Version;
use inosync_actors::rsync::{Rsync, Shared};
use inosync_actors::site::Site;
use inosync_actors::sync::report::{log_delivery, log_failed};
use inosync_actors::sync::{Delivery, Transport};
use slog::{Logger, error, info, o, warn};
use tokio::task::{AbortHandle, JoinHandle};

use crate::bars::Bars;
use crate::exit::Exit;
use crate::logging::Log;
use crate::run::StopSignals;

/// Reconciles every node, all side by side, and ends.
pub async fn once(site: Site, version: Version, log: &Log) -> Exit {
    let (bars, log) = (log.bars.as_ref(), &log.logger);
    let root = match source(&site, "nothing is sent", log) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    let (site, children) = (Rc::new(site), Children::default());
    let shared = Shared::once(children.clone()).heard_by(Bars::audience(bars), log);
    let tasks: Vec<_> = site
        .nodes
        .iter()
        .map(|node| {
            let rsync = Rsync::new(site.clone(), root.clone(), node.clone(), version, shared.clone());
            let log = log.new(o!("node" => node.name().to_owned()));
            actix::spawn(reconcile(rsync, log))
        })
        .collect();
    let running: Vec<AbortHandle> = tasks.iter().map(JoinHandle::abort_handle).collect();
    let all = async {
        let mut complete = true;
        for task in tasks {
            complete &= task.await.unwrap_or(false);
        }
        complete
    };
    let complete = tokio::select! {
        complete = all => complete,
        () = interrupted(log) => {
            // A run that is ended here is no fault of its node, and nothing is tried again.
            running.iter().for_each(AbortHandle::abort);
            false
        }
    };
    children.end_all().await;
    if complete { Exit::Done } else { Exit::Pending }
}

/// Says what a reconcile of each node would change, one line each on standard output.
pub async fn dry_run(site: Site, version: Version, log: &Logger) -> Exit {
    let root = match source(&site, "nothing is compared", log) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    let (site, children) = (Rc::new(site), Children::default());
    let mut exit = Exit::Done;
    for node in &site.nodes {
        let rsync = Rsync::new(site.clone(), root.clone(), node.clone(), version, Shared::once(children.clone()));
        let (mut sends, mut deletes) = (0, 0);
        let count = |line| match line {
            Line::Sent(path, _) => (sends, _) = (sends + 1, print(node.name(), "would send", &path)),
            Line::Deleted(path) => (deletes, _) = (deletes + 1, print(node.name(), "would delete", &path)),
            Line::MadeMirror | Line::DeletionsSkipped | Line::Progress(_) | Line::Notice => (),
        };
        let result = tokio::select! {
            result = rsync.dry_run(count) => result,
            () = interrupted(log) => {
                children.end_all().await;
                return Exit::Pending;
            }
        };
        match result {
            Ok(()) => info!(log, "dry run"; "node" => node.name(), "would send" => sends, "would delete" => deletes),
            Err(why) => {
                error!(log, "dry run failed"; "node" => node.name(), "why" => %why);
                exit = Exit::Pending;
            }
        }
    }
    exit
}

/// The source, if it holds what it must.
pub fn sound_root(site: &Site) -> Result<Root, RootError> {
    let root = site.root()?;
    root.check().map(|()| root)
}

/// The source, if it holds what it must. Else the log says why, and what is therefore not done.
pub fn source(site: &Site, undone: &str, log: &Logger) -> Result<Root, Exit> {
    sound_root(site).map_err(|why| {
        error!(log, "{undone}"; "why" => %why);
        Exit::Environment
    })
}

/// Whether the node is equal to the source now. What broke on the way is tried once more.
async fn reconcile(rsync: Rc<Rsync>, log: Logger) -> bool {
    let mut result = reconcile_once(&rsync, &log).await;
    let broke = match &result {
        Ok(delivery) => delivery.failure.as_ref(),
        Err(why) => Some(why),
    };
    if let Some(why) = broke.filter(|why| !why.cause.is_lasting()) {
        info!(log, "trying once more"; "why" => %why);
        result = reconcile_once(&rsync, &log).await;
    }
    match result {
        Ok(delivery) => {
            log_failed(&log, &delivery);
            delivery.blamed.is_empty()
        }
        Err(why) => {
            error!(log, "not reconciled"; "why" => %why);
            false
        }
    }
}

async fn reconcile_once(rsync: &Rc<Rsync>, log: &Logger) -> Result<Delivery, Failure> {
    let started = Instant::now();
    let delivery = rsync.clone().reconcile(Vec::new(), Latest::default()).await?;
    log_delivery(log, "reconciled", delivery.tally.changes(), &delivery, started);
    Ok(delivery)
}

/// Ends when the command is to end.
pub async fn interrupted(log: &Logger) {
    match StopSignals::listen() {
        Ok(mut signals) => signals.next().await,
        // Without a handler the signal ends the process, and its children with it.
        Err(why) => {
            warn!(log, "signals cannot be handled"; "why" => %why);
            std::future::pending().await
        }
    }
}

fn print(node: &str, what: &str, path: &RelPath) {
    // A reader that went away, such as `head`, is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{node}: {what} {path}");
}
