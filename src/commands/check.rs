//! `check`: finds on this machine and at every node the faults that the first batch would meet. A probe is written to each
//! node and removed: nothing stays.

mod daemon;
mod listen;
mod mounts;
mod nodes;
mod places;
mod report;
mod source;
mod staging;
mod unit;

use std::path::Path;
use std::sync::Arc;

use inosync_actors::hook::fault_of;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::runner::confine::{Confined, Unconfined};
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;

use self::report::Report;
use crate::commands::once::sound_root;
use crate::commands::target::DaemonTarget;
use crate::config::{ConfigComplaint, Service, permissions};
use crate::exit::Exit;
use crate::service::control::{Answer, Request};

/// The extent of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckScope<'a> {
    /// True if no node is asked.
    pub offline: bool,
    /// The only node to check; `None` for this machine and every node.
    pub node: Option<&'a str>,
    /// True for a report in JSON.
    pub json: bool,
    /// Values of the configuration that are most likely not meant as they are written.
    pub warnings: &'a [ConfigComplaint],
}

/// Prints a report on standard output. Returns [`Exit::Environment`] if a fault would keep the daemon from its work.
pub async fn check(
    config: &Path,
    mut site: Site,
    service: &Service,
    (version, confined): (Version, Result<Confined, Unconfined>),
    scope: CheckScope<'_>,
) -> Exit {
    let mut report = if scope.json { Report::json() } else { Report::default() };
    scope.warnings.iter().for_each(|warning| report.remark(format!("warning: {warning}")));
    unit::look(config, &site, &mut report);
    report.well(format!("rsync: {} {version}", shown(&site.rsync)));
    match confined {
        Ok(confined) => report.well(format!("rsync: confined to what it mirrors, by {confined}")),
        Err(why @ Unconfined::Configured) => report.well(format!("rsync: not confined ({why})")),
        Err(why) => report.warning(format!("rsync: not confined: {why}")),
    }
    let running = match DaemonTarget::of(config).try_ask(&Request::Status).await {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    };
    match scope.node {
        None => {
            for found in permissions::find(&service.files, &site) {
                report.warning(format!("{found}; {}", permissions::cure()));
            }
            own(&site, service, running.as_ref().map(|status| status.process.pid), &mut report).await;
        }
        Some(name) => {
            let names: Vec<String> =
                site.nodes.iter().map(|node| Escaped(node.name().as_bytes()).to_string()).collect();
            site.nodes.retain(|node| node.name() == name || name.is_empty() && node.name() == "local");
            if site.nodes.is_empty() {
                let name = Escaped(name.as_bytes());
                let names = names.join(", ");
                crate::logging::print_error(&format!("inosync: there is no node `{name}`: name one of: {names}"));
                return Exit::Usage;
            }
        }
    }
    let again = site.clone();
    match mounts::in_time(move || sound_root(&again)).await {
        Some(Ok(root)) => nodes::look(Arc::new(site), root, version, scope.offline, &mut report).await,
        Some(Err(why)) => report.fault(format!("source: {}: {why}", shown(&site.wpath))),
        None => report.fault(format!("source: {}: its file system does not answer", shown(&site.wpath))),
    }
    if let Some(status) = running {
        daemon::report(&status, scope.node, &mut report);
    }
    report.end()
}

/// Checks the machine on which this command runs.
async fn own(site: &Site, service: &Service, running: Option<u32>, report: &mut Report) {
    let mounts = source::look(site, report).await;
    for (key, hook) in [("on_synced", &site.on_synced), ("on_all_synced", &site.on_all_synced)] {
        let Some(hook) = hook else { continue };
        let program = shown(&hook.program);
        match fault_of(&hook.program) {
            None => report.well(format!("{key}: {program} can be run")),
            Some(fault) => report.fault(format!("{key}: {program} {fault}")),
        }
    }
    if let Some(pid) = running {
        report.well(format!("daemon: it runs with this file, pid {pid}"));
    }
    places::state(site, report);
    places::sockets(service, running.is_some(), report);
    places::logfile(site, report);
    staging::look(site, mounts.as_ref(), report);
    listen::look(service, running, report);
}

/// A path, for people.
fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_encoded_bytes())
}
