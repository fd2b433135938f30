//! The metrics, in the text format of Prometheus, one row each. They are made of the status at each scrape, so that they agree
//! with `status`.

mod family;

use hyper::StatusCode;
use inosync_actors::status::{DeliveryTimes, NodeState, NodeStatus, Phase, ProcessUse, Status, Verdict};
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use self::family::{Labels, MetricRow, Read, Values};
use super::answer::{HttpAnswer, failed, response};
use crate::service::all_sites::{SiteAnswer, SiteStatus};

/// The content type of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const fn counter<T>(name: &'static str, help: &'static str, read: fn(&T) -> Option<f64>) -> MetricRow<T> {
    MetricRow { name, help, read: Read::Counter(read) }
}

const fn gauge<T>(name: &'static str, help: &'static str, read: fn(&T) -> Option<f64>) -> MetricRow<T> {
    MetricRow { name, help, read: Read::Gauge(read) }
}

const fn labelled<T>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: Values<T>,
) -> MetricRow<T> {
    MetricRow { name, help, read: Read::Labelled(labels, read) }
}

const fn histogram<T>(name: &'static str, help: &'static str, read: fn(&T) -> &DeliveryTimes) -> MetricRow<T> {
    MetricRow { name, help, read: Read::Histogram(read) }
}

/// Metrics of each site of a machine.
const OF_SITE: &[MetricRow<SiteStatus>] = &[gauge(
    "inosync_site_up",
    "1 if the daemon of the site answers, 0 if it does not run, does not answer or may not be asked.",
    |s| flag(matches!(s.answer, SiteAnswer::Running { .. })),
)];

/// Metrics of the process of the daemon, by their usual names.
const OF_PROCESS: &[MetricRow<ProcessUse>] = &[
    counter("process_cpu_seconds_total", "Time that processors worked for the daemon, without its rsyncs.", |p| {
        p.cpu_seconds
    }),
    gauge("process_resident_memory_bytes", "Memory that the daemon holds, without its rsyncs.", |p| {
        p.resident_bytes.and_then(number)
    }),
    gauge("process_open_fds", "Files that the daemon has open.", |p| p.open_fds.and_then(number)),
    gauge("process_max_fds", "The most files that the daemon may have open.", |p| p.max_fds.and_then(number)),
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", |p| p.process_started_at),
];

/// Metrics of the daemon and its source.
const OF_DAEMON: &[MetricRow<Status>] = &[
    labelled(
        "inosync_build_info",
        "1, with the versions of inosync and of the local rsync.",
        &["version", "rsync"],
        |s| vec![(vec![s.version.clone(), s.rsync.clone()], 1.0)],
    ),
    labelled("inosync_source_info", "1, with the directory that is mirrored.", &["wpath"], |s| {
        vec![(vec![s.wpath.clone()], 1.0)]
    }),
    gauge("inosync_start_time_seconds", "When the daemon started, in seconds since 1970.", |s| number(s.started_at)),
    gauge("inosync_running", "1 while it mirrors, 0 while it starts or ends.", |s| flag(s.phase == Phase::Running)),
    gauge(
        "inosync_verdict",
        "0: all is well, 1: something wants attention, 2: a node fails or nothing is sent.",
        |s| verdict(s.verdict()),
    ),
    gauge("inosync_source_ok", "0 while nothing is sent because of the source.", |s| flag(s.source.trouble.is_none())),
    gauge("inosync_watched_directories", "Directories that are watched.", |s| size(s.source.watched_directories)),
    gauge("inosync_unwatched_directories", "Directories that are not watched, each with all that is below it.", |s| {
        size(s.source.unwatched_directories)
    }),
    gauge("inosync_silent_mounts", "File systems in the source that do not answer: what is below them waits.", |s| {
        size(s.source.silent.len())
    }),
    gauge(
        "inosync_source_lag_seconds",
        "Age of what the source has of the first source, by its heartbeat; absent if the source is no mirror.",
        |s| s.source.upstream.as_ref().and_then(|upstream| upstream.lag),
    ),
    gauge("inosync_removals_held", "1 while removals wait for a source that is not complete.", |s| {
        flag(s.source.upstream.as_ref().is_some_and(|upstream| upstream.holds_removals))
    }),
    gauge("inosync_watch_limit", "Watches that the user may have, over all processes.", |s| {
        s.source.watch_limit.and_then(size)
    }),
    gauge("inosync_state_ok", "0 while the state of a restart cannot be kept.", |s| flag(s.state_trouble.is_none())),
    gauge("inosync_on_all_synced_fails", "1 while the hook on_all_synced fails; absent if there is none.", |s| {
        s.hook.as_ref().and_then(|hook| flag(hook.fails))
    }),
    counter("inosync_overflows_total", "How often the event queue of the kernel overflowed.", |s| {
        number(s.source.overflows)
    }),
    counter("inosync_rescans_total", "How often track of a directory was lost, overflows included.", |s| {
        number(s.source.rescans)
    }),
];

/// Metrics of each node, with its name as the label `node`.
const OF_NODE: &[MetricRow<NodeStatus>] = &[
    labelled(
        "inosync_node_info",
        "1, with the destination and the rsync at the node.",
        &["dest", "rsync", "protocol"],
        |n| {
            let protocol = n.rsync.protocol.map(|number| number.to_string()).unwrap_or_default();
            vec![(vec![n.dest.clone(), n.rsync.version.clone().unwrap_or_default(), protocol], 1.0)]
        },
    ),
    labelled("inosync_node_state", "1 for the state that the node is in, 0 for the others.", &["state"], |n| {
        let value = |word: &str| f64::from(u8::from(word == n.state.word()));
        NodeState::WORDS.iter().map(|&word| (vec![word.to_owned()], value(word))).collect()
    }),
    gauge(
        "inosync_node_verdict",
        "0: the node is well, 1: it wants attention, 2: it fails or nothing is sent to it.",
        |n| verdict(n.verdict()),
    ),
    gauge("inosync_pending_paths", "Paths that the node does not have yet; a reconcile counts as one.", |n| {
        size(n.pending)
    }),
    gauge(
        "inosync_failing_paths",
        "Paths of these that failed again although nothing changed, while the rest arrives.",
        |n| size(n.failing_paths),
    ),
    gauge(
        "inosync_failing_paths_oldest_seconds",
        "Age of the oldest change of a failing path, 0 if there is none.",
        |n| Some(n.failing_oldest.unwrap_or(0.0)),
    ),
    gauge(
        "inosync_lag_seconds",
        "Age of the oldest change that the node does not have and can still get by itself, 0 if there is none.",
        |n| Some(n.lag.unwrap_or(0.0)),
    ),
    gauge(
        "inosync_unmirrored_moves",
        "Directory moves that the node does not follow (dir_moves: Log), since the last comparison of the whole tree.",
        |n| size(n.unmirrored_moves),
    ),
    gauge(
        "inosync_attributes_unset_paths",
        "Paths that the node has without some of their attributes, which it refuses to set.",
        |n| size(n.attributes_unset),
    ),
    gauge("inosync_reconcile_held", "1 while the comparison of the whole tree is held (max_delete).", |n| {
        flag(n.reconcile_held.is_some())
    }),
    gauge("inosync_on_synced_fails", "1 while the hook on_synced fails for the node; absent if there is none.", |n| {
        n.hook.as_ref().and_then(|hook| flag(hook.fails))
    }),
    gauge("inosync_drift_entries", "Entries that differed when the node was last verified.", |n| {
        n.verified.and_then(|verified| number(verified.drift))
    }),
    gauge("inosync_verified_timestamp_seconds", "When the node was last verified, in seconds since 1970.", |n| {
        n.verified.and_then(|verified| number(verified.at))
    }),
    gauge("inosync_last_success_timestamp_seconds", "When a run last succeeded, in seconds since 1970.", |n| {
        n.last_success_at.and_then(number)
    }),
    histogram(
        "inosync_delivery_seconds",
        "Time from when a change was seen until the node had it; what a comparison of the whole tree brings is not counted.",
        |n| &n.delivery,
    ),
    counter("inosync_batches_total", "Batches of changes that succeeded.", |n| number(n.totals.batches)),
    counter("inosync_reconciles_total", "Comparisons of the whole tree that succeeded.", |n| {
        number(n.totals.reconciles)
    }),
    counter("inosync_entries_sent_total", "Entries that were sent, or got other attributes.", |n| {
        number(n.totals.sent)
    }),
    counter("inosync_entries_deleted_total", "Entries that were deleted.", |n| number(n.totals.deleted)),
    counter("inosync_bytes_sent_total", "Bytes that went over the wire for entries.", |n| number(n.totals.bytes)),
    counter("inosync_failures_total", "Runs that failed as a whole.", |n| number(n.totals.failures)),
    counter("inosync_restarts_total", "Times that the node's actor ended without being asked.", |n| {
        number(n.totals.restarts)
    }),
];

fn number(value: u64) -> Option<f64> {
    Some(value as f64)
}

fn size(value: usize) -> Option<f64> {
    Some(value as f64)
}

fn flag(is_so: bool) -> Option<f64> {
    Some(f64::from(u8::from(is_so)))
}

fn verdict(verdict: Verdict) -> Option<f64> {
    Some(match verdict {
        Verdict::Well => 0.0,
        Verdict::Attention => 1.0,
        Verdict::Failing => 2.0,
    })
}

/// The answer with these metrics.
pub(super) fn answer(text: prometheus::Result<String>) -> HttpAnswer {
    text.map_or_else(failed, |text| response(StatusCode::OK, CONTENT_TYPE, text))
}

/// All metrics of one daemon.
///
/// # Errors
/// When a table is wrong.
pub fn text(status: &Status) -> prometheus::Result<String> {
    encoded(families(&[(Vec::new(), status)]))
}

/// All metrics of these sites, with their names as the label `site`.
///
/// # Errors
/// When a table is wrong.
pub fn text_of_sites(sites: &[SiteStatus]) -> prometheus::Result<String> {
    let all: Vec<(Labels<'_>, &SiteStatus)> = sites.iter().map(|site| (of_site(site), site)).collect();
    let running: Vec<(Labels<'_>, &Status)> =
        sites.iter().filter_map(|site| Some((of_site(site), site.answer.status()?))).collect();
    let of_sites = OF_SITE.iter().filter_map(|row| row.family(&all));
    encoded(of_sites.chain(families(&running)).collect())
}

fn of_site(site: &SiteStatus) -> Labels<'_> {
    vec![("site", &site.site)]
}

/// The metrics of these daemons, each with its labels.
fn families(daemons: &[(Labels<'_>, &Status)]) -> Vec<MetricFamily> {
    let mut processes: Vec<(Labels<'_>, &ProcessUse)> = Vec::new();
    let mut nodes: Vec<(Labels<'_>, &NodeStatus)> = Vec::new();
    for (labels, status) in daemons {
        processes.push((labels.clone(), &status.process));
        nodes.extend(status.nodes.iter().map(|node| ([labels.as_slice(), &[("node", &node.name)]].concat(), node)));
    }
    let of_daemons = OF_DAEMON.iter().filter_map(|row| row.family(daemons));
    let of_processes = OF_PROCESS.iter().filter_map(|row| row.family(&processes));
    of_daemons.chain(of_processes).chain(OF_NODE.iter().filter_map(|row| row.family(&nodes))).collect()
}

fn encoded(mut families: Vec<MetricFamily>) -> prometheus::Result<String> {
    families.sort_by(|one, other| one.name().cmp(other.name()));
    TextEncoder::new().encode_to_string(&families)
}

#[cfg(test)]
mod tests;
