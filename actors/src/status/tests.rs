use std::time::Instant;

use super::*;
use crate::health::Health;
use crate::root::RootError;
use crate::transport::failure::Cause;

fn backing_off(failures: u32, until: Instant) -> Health {
    Health::BackingOff { failures, cause: Cause::TargetFull, told: vec![], at: until, until }
}

#[test]
fn the_state_of_a_node_is_the_worst_that_is_true_of_it() {
    let now = Instant::now();
    let (well, full) = (Health::default(), backing_off(2, now));
    let held = Health::Held { why: RootError::Missing, at: now, until: now };
    let facts = Facts {
        phase: Phase::Running,
        service: NodeService::Served,
        paused: false,
        trouble: None,
        health: &well,
        reconciles: false,
        pending: 0,
        failing: 0,
    };
    for (facts, word) in [
        (facts, "idle"),
        (Facts { pending: 1, ..facts }, "syncing"),
        (Facts { pending: 3, failing: 2, ..facts }, "syncing"),
        (Facts { pending: 2, failing: 2, ..facts }, "incomplete"),
        (Facts { pending: 2, failing: 2, reconciles: true, ..facts }, "reconciling"),
        (Facts { pending: 2, failing: 2, paused: true, ..facts }, "paused"),
        (Facts { health: &full, pending: 2, failing: 2, ..facts }, "backoff"),
        (Facts { pending: 1, reconciles: true, ..facts }, "reconciling"),
        (Facts { health: &full, pending: 1, ..facts }, "backoff"),
        (Facts { health: &full, service: NodeService::BrokenOff, ..facts }, "restarting"),
        (Facts { service: NodeService::NotYet, ..facts }, "starting"),
        (Facts { health: &held, ..facts }, "held"),
        (Facts { paused: true, health: &full, ..facts }, "paused"),
        (Facts { paused: true, health: &held, ..facts }, "paused"),
        (Facts { paused: true, trouble: Some("it is gone"), ..facts }, "held"),
        (Facts { trouble: Some("it is gone"), ..facts }, "held"),
        (Facts { phase: Phase::Starting, health: &held, ..facts }, "starting"),
        (Facts { phase: Phase::Stopping, pending: 1, ..facts }, "syncing"),
    ] {
        assert_eq!(NodeState::of(facts, now).word(), word, "{facts:?}");
    }
}

#[test]
fn a_state_in_words_says_why() {
    let now = Instant::now();
    let full = backing_off(1, now + Duration::from_secs(60));
    let facts = Facts {
        phase: Phase::Running,
        service: NodeService::Served,
        paused: false,
        trouble: None,
        health: &full,
        reconciles: false,
        pending: 1,
        failing: 0,
    };
    let state = NodeState::of(facts, now);
    assert_eq!(state.to_string(), "backoff: the node is full");
    let NodeState::Backoff { until, is_failing, .. } = state else { panic!("{state:?}") };
    let in_a_minute = unix(SystemTime::now()) + 60;
    assert!(is_failing && (in_a_minute - 2..=in_a_minute + 2).contains(&until));
}

#[test]
fn a_person_should_look_at_what_does_not_pass_by_itself() {
    let backoff = |is_failing| NodeState::Backoff { why: String::new(), until: 0, is_failing };
    for (state, held, drift, expected) in [
        (NodeState::Idle, false, None, Verdict::Well),
        (NodeState::Syncing, false, None, Verdict::Well),
        (NodeState::Incomplete, false, None, Verdict::Attention),
        (NodeState::Starting, false, None, Verdict::Well),
        (NodeState::Idle, true, None, Verdict::Attention),
        (NodeState::Idle, false, Some(0), Verdict::Well),
        (NodeState::Idle, false, Some(1), Verdict::Attention),
        (NodeState::Paused, false, None, Verdict::Attention),
        (backoff(false), false, None, Verdict::Well),
        (backoff(true), false, Some(1), Verdict::Failing),
        (NodeState::Held { why: String::new() }, false, None, Verdict::Failing),
        (NodeState::Restarting, false, None, Verdict::Failing),
    ] {
        let node = NodeStatus {
            name: "n".into(),
            dest: "n:/m/".into(),
            state,
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
            reconcile_held: held.then(String::new),
            last_success_at: None,
            last_error: None,
            verified: drift.map(|drift| Verified {
                at: 0,
                took_seconds: 0.5,
                drift,
                complete: true,
                reconciled_since: false,
            }),
            totals: Totals::default(),
            rsync: RemoteRsync::default(),
            hook: None,
            recent: Vec::new(),
        };
        assert_eq!(node.verdict(), expected, "{:?}", node.state);
        for known in [
            NodeStatus { failing_paths: 1, ..node.clone() },
            NodeStatus { unmirrored_moves: 1, ..node.clone() },
            NodeStatus { attributes_unset: 1, ..node.clone() },
        ] {
            assert_eq!(known.verdict(), expected.max(Verdict::Attention), "{known:?}");
        }
        let fails = Some(HookStatus { fails: true, ..HookStatus::default() });
        let with_hook = NodeStatus { hook: fails, ..node };
        assert_eq!(with_hook.verdict(), expected.max(Verdict::Attention), "{:?}", with_hook.state);
    }
}
