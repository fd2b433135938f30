//! The metrics, in the text format of Prometheus, one row each. They are made of the status at each scrape, so that they agree
//! with `status`.

use inosync_actors::status::{NodeState, NodeStatus, Phase, Status, Verdict};
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric of the daemon or of a node.
struct Metric<T: 'static> {
    /// The name; that of a counter ends in `_total`.
    name: &'static str,
    help: &'static str,
    read: Read<T>,
}

/// The kind of a metric, with a function that reads the value.
enum Read<T: 'static> {
    /// A number that only grows until the daemon restarts.
    Counter(fn(&T) -> u64),
    /// A number that goes up and down; the metric is left out for `None`.
    Gauge(fn(&T) -> Option<f64>),
    /// A gauge for each set of values of these labels.
    Labelled(&'static [&'static str], Values<T>),
}

/// Sets of label values, each with the value of its gauge.
type Values<T> = fn(&T) -> Vec<(Vec<String>, f64)>;

const fn counter<T>(name: &'static str, help: &'static str, read: fn(&T) -> u64) -> Metric<T> {
    Metric { name, help, read: Read::Counter(read) }
}

const fn gauge<T>(name: &'static str, help: &'static str, read: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, help, read: Read::Gauge(read) }
}

const fn labelled<T>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: Values<T>,
) -> Metric<T> {
    Metric { name, help, read: Read::Labelled(labels, read) }
}

/// Metrics of the daemon and its source.
const OF_DAEMON: &[Metric<Status>] = &[
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
    counter("inosync_overflows_total", "How often the event queue of the kernel overflowed.", |s| s.source.overflows),
    counter("inosync_rescans_total", "How often track of a directory was lost, overflows included.", |s| {
        s.source.rescans
    }),
];

/// Metrics of each node, with its name as the label `node`.
const OF_NODE: &[Metric<NodeStatus>] = &[
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
    counter("inosync_batches_total", "Batches of changes that succeeded.", |n| n.totals.batches),
    counter("inosync_reconciles_total", "Comparisons of the whole tree that succeeded.", |n| n.totals.reconciles),
    counter("inosync_entries_sent_total", "Entries that were sent, or got other attributes.", |n| n.totals.sent),
    counter("inosync_entries_deleted_total", "Entries that were deleted.", |n| n.totals.deleted),
    counter("inosync_bytes_sent_total", "Bytes that went over the wire for entries.", |n| n.totals.bytes),
    counter("inosync_failures_total", "Runs that failed as a whole.", |n| n.totals.failures),
    counter("inosync_restarts_total", "Times that the node's actor ended without being asked.", |n| n.totals.restarts),
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

/// All metrics.
///
/// # Errors
/// When a table is wrong.
pub fn text(status: &Status) -> prometheus::Result<String> {
    let registry = Registry::new();
    for metric in OF_DAEMON {
        metric.register(&registry, &[], &[(&[], status)])?;
    }
    let nodes: Vec<([&str; 1], &NodeStatus)> = status.nodes.iter().map(|node| ([node.name.as_str()], node)).collect();
    let nodes: Vec<(&[&str], &NodeStatus)> = nodes.iter().map(|(name, node)| (name.as_slice(), *node)).collect();
    for metric in OF_NODE {
        metric.register(&registry, &["node"], &nodes)?;
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

impl<T> Metric<T> {
    /// Registers the metric with a value for each of these things, which are told apart by these labels.
    fn register(&self, registry: &Registry, labels: &[&str], things: &[(&[&str], &T)]) -> prometheus::Result<()> {
        let options = Opts::new(self.name, self.help);
        match self.read {
            Read::Counter(read) => {
                let family = CounterVec::new(options, labels)?;
                for (values, thing) in things {
                    family.get_metric_with_label_values(values)?.inc_by(read(thing) as f64);
                }
                registry.register(Box::new(family))
            }
            Read::Gauge(read) => {
                let family = GaugeVec::new(options, labels)?;
                for (values, thing) in things {
                    if let Some(value) = read(thing) {
                        family.get_metric_with_label_values(values)?.set(value);
                    }
                }
                registry.register(Box::new(family))
            }
            Read::Labelled(own, read) => {
                let family = GaugeVec::new(options, &[labels, own].concat())?;
                for (values, thing) in things {
                    for (more, value) in read(thing) {
                        let more: Vec<&str> = more.iter().map(String::as_str).collect();
                        family.get_metric_with_label_values(&[values, more.as_slice()].concat())?.set(value);
                    }
                }
                registry.register(Box::new(family))
            }
        }
    }
}

#[cfg(test)]
mod tests;
