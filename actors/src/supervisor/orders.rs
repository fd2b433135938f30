//! Carries out what those outside the daemon order about nodes, and tells them which nodes are behind.

use std::time::Instant;

use actix::prelude::*;
use slog::{info, warn};

use super::SupervisorActor;
use super::lifecycle::{Lifecycle, Membership, Worker};
use super::slots::Slot;
use crate::messages::commands::{AskBehind, AskGathered, NodeDeed, NodeOrder};
use crate::messages::{Obey, TryNow};
use crate::status::{NodeBehind, NodeLack, OrderOutcome};
use crate::work_order::WorkOrder;

impl SupervisorActor {
    /// The members with this name, or all.
    fn named(&self, name: Option<&str>) -> Vec<&Slot> {
        let is_meant = |slot: &&Slot| name.is_none_or(|name| slot.node.name() == name || slot.node.dest() == name);
        self.slots.members().filter(is_meant).collect()
    }

    /// Carries out an order about one node. Returns false if the node is in a state in which the order means nothing.
    fn carry_out(&self, slot: &Slot, deed: NodeDeed) -> bool {
        let is_paused = self.paused.has(&slot.node);
        let actor = slot.worker.actor();
        match deed {
            NodeDeed::Pause => {
                self.set_paused(slot, true);
                actor.into_iter().for_each(|actor| actor.do_send(Obey(WorkOrder::Pause)));
            }
            NodeDeed::Resume => {
                self.set_paused(slot, false);
                if let Some(actor) = actor {
                    actor.do_send(Obey(WorkOrder::Work));
                    actor.do_send(TryNow);
                }
            }
            NodeDeed::Retry if is_paused => return false,
            NodeDeed::Retry => actor.into_iter().for_each(|actor| actor.do_send(TryNow)),
            NodeDeed::AllowDeletions => {
                if is_paused || slot.link.record.read().reconcile_held.is_none() {
                    return false;
                }
                info!(slot.link.log, "a reconcile may delete more than max_delete, once");
                let actor = actor.cloned();
                // What is told to the actor itself may overtake what is told to the transport.
                slot.link.transport.tell(move |transport| {
                    transport.allow_deletions();
                    actor.into_iter().for_each(|actor| actor.do_send(TryNow));
                });
            }
        }
        true
    }

    fn set_paused(&self, slot: &Slot, paused: bool) {
        match self.paused.set(&slot.node, paused) {
            Ok(false) => return,
            Ok(true) => (),
            Err(why) => warn!(slot.link.log, "the pause is not kept over a restart"; "why" => %why),
        }
        let what = if paused { "node paused: changes are collected" } else { "node resumed" };
        info!(slot.link.log, "{what}"; "pending" => slot.link.outbox.lock().len());
    }

    /// The relation of a node to the changes until a time.
    fn behind(&self, slot: &Slot, until: Instant) -> NodeLack {
        let outbox = slot.link.outbox.lock();
        // The reconcile of a node that has just come is not in its outbox yet.
        if slot.reconcile || slot.membership == Membership::Joining || slot.worker == Worker::None {
            return NodeLack::OnTheirWay;
        }
        if !outbox.may_lack_any(until) {
            return NodeLack::Nothing;
        }
        let is_held = slot.link.record.read().reconcile_held.is_some();
        if outbox.brings_any(until) {
            NodeLack::OnTheirWay
        } else if is_held {
            NodeLack::ReconcileHeld
        } else if outbox.on_its_way_since().is_none_or(|since| since > until) && outbox.failing().count() > 0 {
            NodeLack::Failing
        } else {
            NodeLack::OnTheirWay
        }
    }
}

impl Handler<NodeOrder> for SupervisorActor {
    type Result = Option<OrderOutcome>;

    fn handle(&mut self, NodeOrder { node, deed }: NodeOrder, _: &mut Self::Context) -> Option<OrderOutcome> {
        if self.phase.has_ended() {
            return None;
        }
        let slots = self.named(node.as_deref());
        let carried_out = slots.iter().filter(|slot| self.carry_out(slot, deed)).count();
        Some(match (slots.len(), carried_out) {
            (0, _) => OrderOutcome::NoSuchNode,
            (_, 0) => OrderOutcome::NothingToDo,
            _ => OrderOutcome::Done,
        })
    }
}

impl Handler<AskGathered> for SupervisorActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: AskGathered, _: &mut Self::Context) -> Self::Result {
        if self.phase != Lifecycle::Running {
            return Box::pin(async { false });
        }
        let passed = self.upstream.flush.passed();
        Box::pin(async move { passed.await.is_ok() })
    }
}

impl Handler<AskBehind> for SupervisorActor {
    type Result = Option<Vec<NodeBehind>>;

    fn handle(&mut self, AskBehind { node, until }: AskBehind, _: &mut Self::Context) -> Self::Result {
        if self.phase.has_ended() {
            return None;
        }
        let trouble = self.source.trouble();
        let nodes = self.named(node.as_deref()).into_iter().map(|slot| NodeBehind {
            name: slot.node.name().to_owned(),
            state: self.node(slot, trouble.as_deref()).state,
            behind: self.behind(slot, until),
        });
        Some(nodes.collect())
    }
}
