//! `once` and `dry-run`: one reconcile of every node, or a list of its changes.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use inosync_actors::children::Children;
use inosync_actors::node::Node;
use inosync_actors::path::RelPath;
use inosync_actors::root::{Root, RootError};
use inosync_actors::rsync::report::output::Line;
use inosync_actors::rsync::{Rsync, Shared};
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use inosync_actors::sync::report::{log_failed, log_reconcile};
use inosync_actors::transport::failure::Failure;
use inosync_actors::transport::progress::Latest;
use inosync_actors::transport::{Delivery, Transport};
use serde::Serialize;
use slog::{Logger, error, info, o, warn};
use tokio::task::{AbortHandle, JoinHandle};

use crate::commands::target::DaemonTarget;
use crate::exit::Exit;
use crate::logging::Log;
use crate::logging::progress_bars::Bars;
use crate::service::control::Request;
use crate::service::signals::StopSignals;

/// Reconciles every node, all side by side, and ends.
///
/// A daemon that runs with the same file is told which nodes are equal.
pub async fn once(site: Site, version: Version, daemon: &DaemonTarget, log: &Log) -> Exit {
    let bars = log.bars.as_ref();
    let log = &log.logger;
    let root = match source(&site, "nothing is sent", log) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    let site = Arc::new(site);
    let children = Children::default();
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
        for (task, node) in tasks.into_iter().zip(&site.nodes) {
            match task.await {
                Ok(Some(began)) => tell_daemon(node, began, daemon).await,
                Ok(None) | Err(_) => complete = false,
            }
        }
        complete
    };
    let complete = tokio::select! {
        complete = all => complete,
        () = broken_off(&root, log) => {
            // Aborted, a run is neither counted as a failure of its node nor repeated.
            running.iter().for_each(AbortHandle::abort);
            false
        }
    };
    children.end_all().await;
    if complete { Exit::Done } else { Exit::Pending }
}

/// The changes that a reconcile would make at a node.
#[derive(Default, Serialize)]
struct NodeDryRun {
    node: String,
    would_send: Vec<String>,
    would_delete: Vec<String>,
    /// The reason why the list is not complete.
    error: Option<String>,
}

/// Prints each change that a reconcile would make at each node on standard output, one line each, or all as JSON.
pub async fn dry_run(site: Site, version: Version, json: bool, log: &Logger) -> Exit {
    let root = match source(&site, "nothing is compared", log) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    let site = Arc::new(site);
    let children = Children::default();
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for node in &site.nodes {
        let rsync = Rsync::new(site.clone(), root.clone(), node.clone(), version, Shared::once(children.clone()));
        let mut found = NodeDryRun { node: node.name().to_owned(), ..NodeDryRun::default() };
        let mut sends = 0;
        let mut deletes = 0;
        let count = |line| match line {
            Line::Sent(path, _) if json => found.would_send.push(path.to_string()),
            Line::Deleted(path) if json => found.would_delete.push(path.to_string()),
            Line::Sent(path, _) => {
                sends += 1;
                print(node.name(), "would send", &path);
            }
            Line::Deleted(path) => {
                deletes += 1;
                print(node.name(), "would delete", &path);
            }
            Line::MadeMirror | Line::DeletionsSkipped | Line::Progress(_) | Line::Notice => (),
        };
        let result = tokio::select! {
            result = rsync.dry_run(count) => result,
            () = broken_off(&root, log) => {
                children.end_all().await;
                return Exit::Pending;
            }
        };
        match result {
            Ok(()) => info!(log, "dry run"; "node" => node.name(), "would send" => sends + found.would_send.len(),
                "would delete" => deletes + found.would_delete.len()),
            Err(why) => {
                error!(log, "dry run failed"; "node" => node.name(), "why" => %why);
                found.error = Some(why.to_string());
                exit = Exit::Pending;
            }
        }
        all.push(found);
    }
    if json {
        print_json(&all);
    }
    exit
}

/// Prints a value as JSON on standard output.
pub fn print_json(value: &impl Serialize) {
    // A reader that went away, such as `head`, is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

/// The source, if it holds what it must.
pub fn sound_root(site: &Site) -> Result<Root, RootError> {
    let root = site.root()?;
    // rsync looks at every mount point, also at what is excluded.
    root.reach().ask_all().map_err(RootError::Silent)?;
    root.check().map(|()| root)
}

/// The source, if it holds what it must. Otherwise the log gets the reason, and the word for what is not done.
pub fn source(site: &Site, undone: &str, log: &Logger) -> Result<Root, Exit> {
    sound_root(site).map_err(|why| {
        error!(log, "{undone}"; "why" => %why);
        Exit::Environment
    })
}

/// Tells the daemon that runs with the same file, if there is one, that a node equals the source of that moment.
async fn tell_daemon(node: &Node, began: Instant, daemon: &DaemonTarget) {
    let dest = node.shown_dest();
    let began_ms_ago = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Mostly there is none.
    let _ = daemon.try_ask(&Request::Compared { dest, began_ms_ago }).await;
}

/// The start of the comparison that made the node equal to the source; `None` if the node is not equal. A run that broke off
/// is repeated once.
async fn reconcile(rsync: Rc<Rsync>, log: Logger) -> Option<Instant> {
    let mut began = Instant::now();
    let mut result = reconcile_once(&rsync, &log).await;
    let broke = match &result {
        Ok(delivery) => delivery.failure.as_ref(),
        Err(why) => Some(why),
    };
    if let Some(why) = broke.filter(|why| !why.cause.is_lasting()) {
        info!(log, "trying once more"; "why" => %why);
        began = Instant::now();
        result = reconcile_once(&rsync, &log).await;
    }
    match result {
        Ok(delivery) => {
            log_failed(&log, &delivery);
            (delivery.blamed.is_empty() && delivery.unset.is_empty()).then_some(began)
        }
        Err(why) => {
            error!(log, "not reconciled"; "why" => %why);
            None
        }
    }
}

async fn reconcile_once(rsync: &Rc<Rsync>, log: &Logger) -> Result<Delivery, Failure> {
    let started = Instant::now();
    let delivery = rsync.clone().reconcile(Vec::new(), Latest::default()).await?;
    log_reconcile(log, &delivery, started);
    Ok(delivery)
}

/// Returns when a signal asks the command to end, or when a file system of the source does not answer.
pub async fn broken_off(root: &Root, log: &Logger) {
    tokio::select! {
        () = interrupted(log) => (),
        silent = root.reach().clone().falls_silent(|_| true) => {
            error!(log, "broken off"; "why" => %RootError::Silent(silent));
        }
    }
}

/// Returns when a signal asks the command to end.
async fn interrupted(log: &Logger) {
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
