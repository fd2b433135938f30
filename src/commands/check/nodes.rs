//! Checks the nodes, all side by side: asks each for its rsync and writes a probe to it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use inosync_actors::children::Children;
use inosync_actors::node::Node;
use inosync_actors::path::Escaped;
use inosync_actors::root::Root;
use inosync_actors::rsync::recipe::Recipe;
use inosync_actors::rsync::{Examination, Finding, Probe, ProbePlace, Probed, Rsync, Shared, own_name};
use inosync_actors::site::version::Version;
use inosync_actors::site::{InitialSync, Site};
use inosync_actors::transport::failure::Cause;

use super::report::Report;
use super::shown;

/// Time limit for one node. A dead node holds up no other.
const LIMIT: Duration = Duration::from_secs(60);
/// CAP_FOWNER (capabilities(7)): its holder has the rights of the owner.
const FOWNER: u32 = 3;
/// The mode bit of a directory in which nobody deletes the files of others (inode(7)).
const STICKY: u32 = 0o1000;

/// Checks all nodes of the site. The lines of a node stay together, in the order of the configuration.
pub async fn look(site: Arc<Site>, root: Root, version: Version, offline: bool, report: &mut Report) {
    let children = Children::default();
    let rsync =
        |node: &Node| Rsync::new(site.clone(), root.clone(), node.clone(), version, Shared::once(children.clone()));
    if offline {
        for node in &site.nodes {
            report.well(format!("node {}: not asked (--offline)", Escaped(node.name().as_bytes())));
            commands(&rsync(node), site.initial_sync, report);
        }
        return;
    }
    let probe = match Probe::new(&site) {
        Ok(probe) => Some(Rc::new(probe)),
        Err(why) => {
            report.fault(format!("probe: it cannot be made in {}: {why}", shown(&std::env::temp_dir())));
            None
        }
    };
    let visits: Vec<_> = site
        .nodes
        .iter()
        .map(|node| (node, actix::spawn(visit(rsync(node), node.clone(), probe.clone(), site.initial_sync))))
        .collect();
    for (node, visit) in visits {
        match visit.await {
            Ok(part) => report.add(part),
            Err(why) => report.fault(format!("node {}: {why}", Escaped(node.name().as_bytes()))),
        }
    }
    if let Some(probe) = probe.and_then(Rc::into_inner) {
        probe.close().await;
    }
    children.end_all().await;
}

async fn visit(rsync: Rc<Rsync>, node: Node, probe: Option<Rc<Probe>>, initial_sync: InitialSync) -> Report {
    let mut report = Report::kept();
    if tokio::time::timeout(LIMIT, ask(&rsync, &node, probe.as_deref(), &mut report)).await.is_err() {
        let name = Escaped(node.name().as_bytes());
        report.fault(format!(
            "node {name}: not all was answered within {} s: the node or the line to it hangs, or is very slow",
            LIMIT.as_secs()
        ));
    }
    commands(&rsync, initial_sync, &mut report);
    report
}

async fn ask(rsync: &Rc<Rsync>, node: &Node, probe: Option<&Probe>, report: &mut Report) {
    let name = Escaped(node.name().as_bytes());
    let examined = match rsync.examiner().examine().await {
        Ok(examined) => examined,
        Err(why) if why.cause == Cause::TargetRefused => {
            return report.fault(format!("node {name}: {why} (it is {})", rsync.examiner().writer().await));
        }
        Err(why) => return report.fault(format!("node {name}: {why}")),
    };
    let Examination { version, protocol, deletions29, .. } = examined;
    let version = version.map_or("rsync".into(), |version| format!("rsync {version}"));
    let protocol = protocol.map_or(String::new(), |number| format!(", protocol {number}"));
    let deletions = if deletions29 { ", deletions in protocol 29 (its rsync rejects them otherwise)" } else { "" };
    report.well(format!("node {name}: reachable: {version}{protocol}{deletions}"));
    let Some(probe) = probe else { return };
    match rsync.examiner().probe_writing(probe, &examined).await {
        Ok(probed) => {
            tell(&probed, node, report);
            let known = rsync.known_traits();
            for limit in known.iter().chain(probed.limits.iter().filter(|limit| !known.has(*limit))) {
                report.well(format!("  limit:     {limit}"));
            }
            if let Some(owner) = node.local_path().and_then(limits_of_owner) {
                report.warning(format!("node {name}: {owner}"));
            }
        }
        Err(why) => report.fault(format!("node {name}: {why}")),
    }
}

fn tell(probed: &Probed, node: &Node, report: &mut Report) {
    let there = node.shown_dest();
    // Success is only said of what was seen to succeed.
    let is_sound = !probed.findings.iter().any(Finding::is_unproven);
    match &probed.place {
        ProbePlace::Mirror if is_sound => report.well(format!("  mirror:    {there} can be written")),
        ProbePlace::Above(above) if is_sound => {
            report
                .well(format!("  mirror:    {there} does not exist yet; it will be made, and {above} can be written"));
        }
        ProbePlace::Nowhere => {
            report.well(format!("  mirror:    {there} does not exist yet; it will be made (not tried)"))
        }
        ProbePlace::Mirror | ProbePlace::Above(_) => (),
    }
    let name = Escaped(node.name().as_bytes());
    for finding in &probed.findings {
        match finding.is_fault() {
            true => report.fault(format!("node {name}: {finding}")),
            false => report.warning(format!("node {name}: {finding}")),
        }
    }
}

/// The limits in a mirror that belongs to another user, although this user may write there.
fn limits_of_owner(mirror: &Path) -> Option<String> {
    let meta = mirror.metadata().ok()?;
    if meta.uid() == rustix::process::geteuid().as_raw() || is_capable(FOWNER) {
        return None;
    }
    let mirror = shown(mirror);
    let user = own_name();
    let sticky =
        if meta.mode() & STICKY == 0 { "" } else { ", and what others have in it cannot be replaced or deleted" };
    Some(format!("{mirror} belongs to another user: {user} cannot set its times and permissions{sticky}; chown it"))
}

/// True if this process has a capability in effect.
fn is_capable(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> capability & 1 == 1)
}

/// Shows the commands that the daemon would run.
fn commands(rsync: &Rsync, initial_sync: InitialSync, report: &mut Report) {
    match initial_sync {
        InitialSync::Off => report.well("  at start:  nothing (initial_sync: Off)".to_owned()),
        InitialSync::Full | InitialSync::Update => report.well(format!("  at start:  {}", rsync.shown(Recipe::Full))),
    }
    report.well(format!("  a change:  {}", rsync.shown(Recipe::Present)));
}
