//! A wait until the nodes have all that has changed until now: a question to the daemon that takes its time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use inosync_actors::status::{NodeBehind, NodeLack, NodeState};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout_at};

use super::{Answer, DaemonHandle};

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A node that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitedNode {
    /// Its name, as in the configuration or the log.
    pub name: String,
    /// The standing of the node.
    #[serde(flatten)]
    pub standing: NodeStanding,
}

/// The standing of a node towards the changes that are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum NodeStanding {
    /// The node has all of them.
    Has,
    /// The node gets what it lacks by itself.
    OnItsWay {
        /// The state of the node, in words.
        state: String,
    },
    /// The node does not get what it lacks before a person does something.
    Stuck {
        /// The reason, for people.
        why: String,
    },
}

impl From<NodeBehind> for WaitedNode {
    fn from(NodeBehind { name, state, behind }: NodeBehind) -> Self {
        let standing = match (behind, &state) {
            (NodeLack::Nothing, NodeState::Starting) => NodeStanding::OnItsWay { state: state.to_string() },
            (NodeLack::Nothing, _) => NodeStanding::Has,
            // A node that failed a moment ago is being tried again.
            (_, NodeState::Paused | NodeState::Held { .. } | NodeState::Backoff { is_failing: true, .. }) => {
                NodeStanding::Stuck { why: state.to_string() }
            }
            (NodeLack::Failing, _) => NodeStanding::Stuck { why: "some paths fail again and again".to_owned() },
            (NodeLack::ReconcileHeld, _) => NodeStanding::Stuck { why: "a reconcile is held by max_delete".to_owned() },
            (NodeLack::OnTheirWay, _) => NodeStanding::OnItsWay { state: state.to_string() },
        };
        WaitedNode { name, standing }
    }
}

/// True if there is nothing to wait for any more.
fn is_over(nodes: &[WaitedNode]) -> bool {
    !nodes.iter().any(|node| matches!(node.standing, NodeStanding::OnItsWay { .. }))
}

impl DaemonHandle {
    /// Waits until no node, or not this one, gets more of what has changed until now. At the end of the time, the answer is
    /// what is so then.
    pub(super) async fn wait(&self, node: Option<String>, timeout: Option<u32>) -> Answer {
        let end = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
        let until = Cell::new(None);
        let waits = self.until_over(node.clone(), &until);
        let result = match end {
            Some(end) => timeout_at(end.into(), waits).await.ok(),
            None => Some(waits.await),
        };
        let nodes = match result {
            Some(nodes) => nodes,
            None => self.look(node, until.get().unwrap_or_else(Instant::now)).await.unwrap_or_default(),
        };
        if nodes.is_empty() { self.no_such_node().await } else { Answer::Waited { nodes } }
    }

    /// Waits as long as a node gets more. Returns no node if there is none of this name. `since` is set to the time until
    /// which changes count.
    async fn until_over(&self, node: Option<String>, since: &Cell<Option<Instant>>) -> Vec<WaitedNode> {
        loop {
            // A daemon that starts anew is asked anew.
            if self.gathered().await {
                let until = Instant::now();
                since.set(Some(until));
                while let Some(nodes) = self.look(node.clone(), until).await {
                    if is_over(&nodes) {
                        return nodes;
                    }
                    sleep(LOOK_EVERY).await;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn gathered(&self) -> bool {
        match self.current() {
            Some(daemon) => daemon.gathered().await,
            None => false,
        }
    }

    /// The nodes as they are now. `None` while no daemon runs.
    async fn look(&self, node: Option<String>, until: Instant) -> Option<Vec<WaitedNode>> {
        let nodes = self.current()?.behind(node, until).await?;
        Some(nodes.into_iter().map(WaitedNode::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_waited_for_as_long_as_it_gets_more_by_itself() {
        let backoff = |is_failing| NodeState::Backoff { why: "gone".to_owned(), until: 0, is_failing };
        let held = NodeState::Held { why: "missing".to_owned() };
        for (behind, state, expected) in [
            (NodeLack::Nothing, NodeState::Idle, "has"),
            (NodeLack::Nothing, NodeState::Syncing, "has"),
            (NodeLack::Nothing, NodeState::Paused, "has"),
            (NodeLack::Nothing, backoff(true), "has"),
            (NodeLack::Nothing, NodeState::Starting, "on_its_way"),
            (NodeLack::OnTheirWay, NodeState::Syncing, "on_its_way"),
            (NodeLack::OnTheirWay, NodeState::Reconciling, "on_its_way"),
            (NodeLack::OnTheirWay, NodeState::Restarting, "on_its_way"),
            (NodeLack::OnTheirWay, backoff(false), "on_its_way"),
            (NodeLack::OnTheirWay, backoff(true), "stuck"),
            (NodeLack::OnTheirWay, NodeState::Paused, "stuck"),
            (NodeLack::OnTheirWay, held, "stuck"),
            (NodeLack::Failing, NodeState::Incomplete, "stuck"),
            (NodeLack::Failing, NodeState::Syncing, "stuck"),
            (NodeLack::ReconcileHeld, NodeState::Incomplete, "stuck"),
        ] {
            let shown = format!("{behind:?} {state:?}");
            let node = WaitedNode::from(NodeBehind { name: "n:".to_owned(), state, behind });
            let json = serde_json::to_value(&node).unwrap();
            assert_eq!(json["is"], expected, "{shown}");
            assert_eq!(is_over(&[node]), expected != "on_its_way", "{shown}");
        }
    }
}
