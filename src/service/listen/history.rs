//! The last hour of each node, for the plots: a sample every ten seconds. The history is kept in memory: it outlives a reload,
//! and not the process.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use inosync_actors::status::{NodeState, NodeStatus, Status, Totals, UnixTime};
use serde::Serialize;

/// The time between two samples.
pub const EVERY: Duration = Duration::from_secs(10);
/// Samples of an hour; some 12 kB for each node.
const SAMPLES: usize = 360;

/// The samples of all nodes.
#[derive(Debug, Default)]
pub struct History {
    /// The time of each sample, the oldest first.
    at: VecDeque<UnixTime>,
    /// The start of the daemon that was last sampled: the counts of another daemon begin at 0.
    started_at: UnixTime,
    nodes: HashMap<String, NodeSamples>,
}

/// The samples of one node. The last ones belong to the last times; the first times may have none.
#[derive(Debug, Default)]
struct NodeSamples {
    samples: VecDeque<HistorySample>,
    /// The counts at the last sample.
    totals: Totals,
}

/// A node at one moment, and what was sent to it since the sample before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct HistorySample {
    lag: Option<f32>,
    bytes: u64,
    entries: u64,
    /// The index of the word in [`NodeState::WORDS`].
    state: u8,
}

/// The history as JSON.
#[derive(Debug, Serialize)]
pub struct HistoryJson<'a> {
    /// Seconds between two samples.
    every: u64,
    /// The words that `state` counts through.
    states: [&'static str; NodeState::WORDS.len()],
    /// The times of the samples, the oldest first.
    at: Vec<UnixTime>,
    nodes: Vec<NodeJson<'a>>,
}

/// The samples of a node. A node that came later has fewer than there are times: the first ones are missing.
#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    lag: Vec<Option<f32>>,
    bytes: Vec<u64>,
    entries: Vec<u64>,
    state: Vec<u8>,
}

impl History {
    /// Adds a sample of each node.
    pub fn add(&mut self, status: &Status) {
        let is_first = self.at.is_empty();
        let last = self.at.back().copied().unwrap_or(0);
        // A clock that was set back would order the samples wrongly.
        if last > status.at {
            *self = History::default();
            return self.add(status);
        }
        let is_same = self.started_at == status.started_at;
        // The counts of an older daemon are not those of the last ten seconds.
        let is_young = status.at.saturating_sub(status.started_at) <= EVERY.as_secs();
        self.at.push_back(status.at);
        self.started_at = status.started_at;
        trim(&mut self.at);
        let mut rows = std::mem::take(&mut self.nodes);
        for node in &status.nodes {
            let (row, base) = match rows.remove(&node.name) {
                Some(row) if is_same => {
                    let base = row.totals;
                    (row, base)
                }
                // A start anew counts from 0, and so does a node that came with a reload.
                Some(row) => (row, Totals::default()),
                None if is_first && !is_young => (NodeSamples::default(), node.totals),
                None => (NodeSamples::default(), Totals::default()),
            };
            let row = row.with(node, &base);
            self.nodes.insert(node.name.clone(), row);
        }
    }

    /// The samples after this time.
    pub fn since(&self, since: UnixTime) -> HistoryJson<'_> {
        let first = self.at.partition_point(|&at| at <= since);
        let at: Vec<UnixTime> = self.at.iter().skip(first).copied().collect();
        let mut nodes: Vec<NodeJson<'_>> = self.nodes.iter().map(|(name, row)| row.latest(name, at.len())).collect();
        nodes.sort_unstable_by_key(|node| node.name);
        HistoryJson { every: EVERY.as_secs(), states: NodeState::WORDS, at, nodes }
    }
}

impl NodeSamples {
    /// The row with one sample more. `base` has the counts at the sample before.
    fn with(mut self, node: &NodeStatus, base: &Totals) -> Self {
        // As in Prometheus: a count that is lower than before has begun at 0 again.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let entries = |totals: &Totals| totals.sent + totals.deleted;
        let word = NodeState::WORDS.iter().position(|word| *word == node.state.word());
        self.samples.push_back(HistorySample {
            lag: node.lag.map(|seconds| (seconds * 10.0).round() as f32 / 10.0),
            bytes: since(node.totals.bytes, base.bytes),
            entries: since(entries(&node.totals), entries(base)),
            state: word.and_then(|at| u8::try_from(at).ok()).unwrap_or(0),
        });
        trim(&mut self.samples);
        self.totals = node.totals;
        self
    }

    /// The last `count` samples, or all.
    fn latest<'a>(&'a self, name: &'a str, count: usize) -> NodeJson<'a> {
        let last = || self.samples.iter().skip(self.samples.len().saturating_sub(count));
        NodeJson {
            name,
            lag: last().map(|sample| sample.lag).collect(),
            bytes: last().map(|sample| sample.bytes).collect(),
            entries: last().map(|sample| sample.entries).collect(),
            state: last().map(|sample| sample.state).collect(),
        }
    }
}

fn trim<T>(samples: &mut VecDeque<T>) {
    while samples.len() > SAMPLES {
        samples.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::listen::tests::{node, status};

    /// A status at this time of a daemon that started then, with nodes of these names and bytes.
    fn at(time: UnixTime, started: UnixTime, nodes: &[(&str, u64)]) -> Status {
        let of =
            |&(name, bytes): &(&str, u64)| NodeStatus { totals: Totals { bytes, ..Totals::default() }, ..node(name) };
        Status { at: time, started_at: started, nodes: nodes.iter().map(of).collect(), ..status() }
    }

    fn bytes(history: &History, name: &str) -> Vec<u64> {
        history.since(0).nodes.into_iter().find(|node| node.name == name).unwrap().bytes
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        for n in 0..500 {
            history.add(&at(1000 + n * 10, 1000, &[("a", n * 7)]));
        }
        let told = history.since(0);
        assert_eq!((told.at.len(), told.nodes[0].bytes.len(), told.nodes[0].lag.len()), (360, 360, 360));
        assert_eq!((told.at[0], told.at[359]), (1000 + 1400, 1000 + 4990));
        assert!(bytes(&history, "a").iter().all(|&bytes| bytes == 7));
        let told = history.since(1000 + 4970);
        assert_eq!((told.at, told.nodes[0].bytes.len()), (vec![5980, 5990], 2));
    }

    #[test]
    fn what_counts_from_zero_again_is_no_negative_throughput() {
        let mut history = History::default();
        history.add(&at(1010, 1000, &[("a", 100)]));
        history.add(&at(1020, 1000, &[("a", 150)]));
        history.add(&at(1030, 1025, &[("a", 20)]));
        history.add(&at(1040, 1036, &[("a", 60)]));
        history.add(&at(1050, 1036, &[("a", 50)]));
        assert_eq!(bytes(&history, "a"), [100, 50, 20, 60, 50]);
    }

    #[test]
    fn what_was_done_before_anybody_listened_does_not_count() {
        let mut history = History::default();
        history.add(&at(9000, 1000, &[("a", 100)]));
        history.add(&at(9010, 1000, &[("a", 101), ("new", 5)]));
        assert_eq!((bytes(&history, "a"), bytes(&history, "new")), (vec![0, 1], vec![5]));
    }

    #[test]
    fn a_node_that_is_gone_is_forgotten_and_a_clock_set_back_begins_anew() {
        let mut history = History::default();
        history.add(&at(1010, 1000, &[("a", 1), ("b", 1)]));
        history.add(&at(1020, 1000, &[("b", 2)]));
        assert_eq!(history.since(0).nodes.len(), 1);
        history.add(&at(500, 1000, &[("b", 3)]));
        assert_eq!(history.since(0).at, [500]);
    }
}
