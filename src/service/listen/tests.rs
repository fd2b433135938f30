//! What the tests of the page and of the metrics speak about.

use inosync_actors::status::{
    DeliveryTimes, Event, HookStatus, NodeState, NodeStatus, Phase, ProcessUse, SourceStatus, Status, Totals,
    UpstreamStatus, Verified,
};
use inosync_actors::transport::RemoteRsync;

/// A node at rest, of which nothing is known.
pub fn node(name: &str) -> NodeStatus {
    NodeStatus {
        name: name.to_owned(),
        dest: "/srv/mirror/".to_owned(),
        state: NodeState::Idle,
        pending: 0,
        failing_paths: 0,
        failing_oldest: None,
        failing_first: Vec::new(),
        lag: None,
        unmirrored_moves: 0,
        keeps_removed: false,
        unmirrored_first: Vec::new(),
        attributes_unset: 0,
        attributes_unset_first: Vec::new(),
        attributes_unset_why: None,
        limits: Vec::new(),
        progress: None,
        reconcile_held: None,
        verified: None,
        hook: None,
        last_success_at: None,
        last_error: None,
        totals: Totals::default(),
        delivery: DeliveryTimes::default(),
        rsync: RemoteRsync::default(),
        recent: Vec::new(),
    }
}

/// A daemon with a node at rest and one that fails.
pub fn status() -> Status {
    let (at, took_seconds, complete, reconciled_since) = (1_700_000_050, 12.5, true, false);
    let at_rest = NodeStatus {
        hook: Some(HookStatus::default()),
        verified: Some(Verified { at, took_seconds, drift: 0, complete, reconciled_since }),
        last_success_at: Some(1_700_000_090),
        delivery: DeliveryTimes {
            count: 4,
            seconds: 700.25,
            buckets: [("0.05".to_owned(), 2), ("0.5".to_owned(), 1), ("+Inf".to_owned(), 1)].into(),
        },
        totals: Totals {
            batches: 3,
            reconciles: 1,
            sent: 12,
            deleted: 2,
            bytes: 5_000_000_000,
            failures: 0,
            restarts: 0,
        },
        rsync: RemoteRsync { version: Some("3.2.7".to_owned()), protocol: Some(31) },
        ..node("local")
    };
    let why = "the node cannot be reached".to_owned();
    let failing = NodeStatus {
        dest: "mirror:/srv/".to_owned(),
        state: NodeState::Backoff { why: why.clone(), until: 1_700_000_130, is_failing: true },
        pending: 4,
        failing_paths: 1,
        failing_oldest: Some(3600.5),
        failing_first: vec!["odd:name".to_owned()],
        lag: Some(62.25),
        unmirrored_moves: 2,
        unmirrored_first: vec!["old to new".to_owned(), "gone".to_owned()],
        attributes_unset: 3,
        attributes_unset_first: vec!["one".to_owned()],
        attributes_unset_why: Some("attributes cannot be set at the node: set_acl; drop -A".to_owned()),
        limits: vec!["times are coarse: they are compared by whole seconds".to_owned()],
        last_error: Some(Event { at: 1_700_000_099, text: why, is_error: true }),
        totals: Totals { failures: 7, restarts: 1, ..Totals::default() },
        ..node("mirror:\"odd\\name\"")
    };
    Status {
        version: "0.1.0".to_owned(),
        rsync: "3.4.1".to_owned(),
        wpath: "/srv/www".to_owned(),
        process: ProcessUse {
            pid: 4711,
            process_started_at: Some(1_699_999_999.5),
            cpu_seconds: Some(1.25),
            resident_bytes: Some(5_242_880),
            open_fds: Some(17),
            max_fds: Some(65_536),
        },
        started_at: 1_700_000_000,
        at: 1_700_000_100,
        phase: Phase::Running,
        state_trouble: None,
        config: String::new(),
        source: SourceStatus {
            trouble: None,
            watched_directories: 1234,
            watch_limit: Some(65536),
            unwatched_directories: 1,
            unwatched: vec!["d/secret".to_owned()],
            silent: Vec::new(),
            overflows: 2,
            rescans: 3,
            upstream: Some(UpstreamStatus {
                source: "first:/srv/www".to_owned(),
                hops: 1,
                lag: Some(12.0),
                reconciles: false,
                holds_removals: false,
            }),
        },
        nodes: vec![at_rest, failing],
        hook: Some(HookStatus { fails: true, ..HookStatus::default() }),
    }
}
