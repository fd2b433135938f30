use inosync_actors::status::{
    DeliveryTimes, Event, HookStatus, Phase, ProcessUse, ReconcileProgress, SourceStatus, Verified,
};
use inosync_actors::transport::RemoteRsync;

use super::*;

fn sample(state: NodeState) -> Status {
    let node = NodeStatus {
        name: "h:".into(),
        dest: "h:/m/".into(),
        state,
        pending: 3,
        failing_paths: 0,
        failing_oldest: None,
        failing_first: Vec::new(),
        lag: Some(75.4),
        unmirrored_moves: 0,
        keeps_removed: false,
        unmirrored_first: Vec::new(),
        attributes_unset: 0,
        attributes_unset_first: Vec::new(),
        attributes_unset_why: None,
        limits: Vec::new(),
        progress: Some(ReconcileProgress { checked: 5, total: Some(9), bytes: 4096 }),
        reconcile_held: None,
        last_success_at: Some(900),
        last_error: Some(Event { at: 990, text: "the node is full: x".into(), is_error: true }),
        verified: Some(Verified { at: 940, took_seconds: 2.4, drift: 5, complete: true, reconciled_since: true }),
        delivery: DeliveryTimes::default(),
        totals: Totals { sent: 7, bytes: 2048, ..Totals::default() },
        rsync: RemoteRsync { version: Some("3.2.7".into()), protocol: Some(31) },
        hook: None,
        recent: Vec::new(),
    };
    let source = SourceStatus { watched_directories: 12, watch_limit: Some(1000), ..SourceStatus::default() };
    Status {
        version: "1".to_owned(),
        rsync: "3.5.0".to_owned(),
        wpath: "/src".to_owned(),
        config: "/etc/inosync/www.ron".to_owned(),
        process: ProcessUse { pid: 9, ..ProcessUse::default() },
        started_at: 0,
        at: 1000,
        phase: Phase::Running,
        state_trouble: None,
        source,
        nodes: vec![node],
        hook: None,
    }
}

#[test]
fn a_node_that_fails_is_told_with_its_lag_and_its_next_try() {
    let text = shown(&sample(NodeState::Backoff { why: "the node is full".into(), until: 1030, is_failing: true }));
    for line in [
        "inosync 1, /src, pid 9, up 16m 40s",
        "source: watched directories: 12 (limit 1000)",
        "node h:: backoff: the node is full; next try in 30s",
        "  pending: 3 paths, oldest unsent change: 1m 15s",
        "  comparing: 5 of 9 entries, 4.0 KiB sent",
        "  last success: 1m 40s ago; sent: 7,",
        "  verified: 1m ago, before the last reconcile: entries that differ: 5, took 2s",
        "  last error: 10s ago: the node is full: x",
        "  rsync: 3.5.0 here, 3.2.7 there, protocol 31",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "wanted {line}\n{text}");
    }
}

#[test]
fn a_source_that_is_a_mirror_is_told_with_what_it_lacks() {
    let upstream = |lag, reconciles, holds_removals| {
        let source = "first:/srv/www".to_owned();
        let upstream = Some(UpstreamStatus { source, hops: 2, lag, reconciles, holds_removals });
        let status = sample(NodeState::Idle);
        shown(&Status { source: SourceStatus { upstream, ..status.source.clone() }, ..status })
    };
    for (lag, reconciles, holds, expected) in [
        (Some(75.0), false, false, &["  mirror of: first:/srv/www, hops: 2, 1m 15s behind"][..]),
        (
            None,
            true,
            true,
            &["hops: 2, nothing known of it yet", "  removals WAIT: it is being compared with its own source"],
        ),
        (Some(4000.0), false, true, &["  removals WAIT: its heartbeat is old"]),
    ] {
        let text = upstream(lag, reconciles, holds);
        assert!(expected.iter().all(|line| text.contains(line)), "wanted {expected:?}\n{text}");
        assert_eq!(text.contains("WAIT"), holds, "{text}");
    }
}

#[test]
fn what_does_not_arrive_by_itself_is_told_apart_from_what_is_on_its_way() {
    let first = || vec!["a:b".to_owned(), "c?".to_owned()];
    let status = sample(NodeState::Incomplete);
    let node = NodeStatus {
        pending: 2,
        failing_paths: 2,
        failing_oldest: Some(259_200.7),
        failing_first: first(),
        lag: None,
        unmirrored_moves: 4,
        unmirrored_first: vec!["old to new".into(), "gone".into()],
        attributes_unset: 3,
        attributes_unset_first: vec!["a".into()],
        attributes_unset_why: Some("attributes cannot be set at the node: no; drop -A".into()),
        limits: vec!["times are coarse".into(), "permissions are not kept".into()],
        ..status.nodes[0].clone()
    };
    let text = shown(&Status { nodes: vec![node.clone()], ..status.clone() });
    assert!(!text.contains("pending"), "{text}");
    for line in [
        "node h:: incomplete",
        "  failing paths: 2, oldest: 3days; tried again at intervals: a:b, c?",
        "  NOT mirrored: directory moves: 4 (dir_moves: Log); first: old to new, gone",
        "  NOT set: attributes of 3 paths; first: a; attributes cannot be set at the node: no; drop -A",
        "  limit there: times are coarse",
        "  limit there: permissions are not kept",
    ] {
        assert!(text.lines().any(|found| found == line), "wanted {line}\n{text}");
    }
    let node = NodeStatus { state: NodeState::Syncing, pending: 3, lag: Some(0.5), ..node };
    let text = shown(&Status { nodes: vec![node], ..status });
    assert!(text.contains("\n  pending: 3 paths, oldest unsent change: 0.5s\n  failing paths: 2, "), "{text}");
}

#[test]
fn hooks_are_told_with_what_they_were_not_told() {
    let last_error = Some(Event { at: 940, text: "it ended with exit code 3".into(), is_error: true });
    let hook = HookStatus { runs: 4, failures: 2, fails: true, untold: 7, last_error, ..HookStatus::default() };
    let all = HookStatus { running: true, waiting: 5, ..HookStatus::default() };
    let status = Status { hook: Some(all), ..sample(NodeState::Idle) };
    let nodes = status.nodes.iter().cloned().map(|node| NodeStatus { hook: Some(hook.clone()), ..node }).collect();
    let text = shown(&Status { nodes, ..status });
    for line in [
        "  on_synced: FAILS; runs: 4, failures: 2; paths not told yet: 7",
        "    last error: 1m ago: it ended with exit code 3",
        "on_all_synced: running; runs: 0, failures: 0; paths that a node lacks: 5",
    ] {
        assert!(text.lines().any(|found| found == line), "wanted {line}\n{text}");
    }
}

#[test]
fn the_status_passes_through_json_unchanged() {
    let status = sample(NodeState::Held { why: "the source is missing".into() });
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.contains("{\"is\":\"held\",\"why\":\"the source is missing\"}"), "{json}");
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}
