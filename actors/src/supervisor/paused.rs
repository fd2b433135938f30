//! Which nodes are paused, by their names: it outlives the daemon that was told, since a reload may start another one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use actix::prelude::*;
use slog::info;

use super::SupervisorActor;
use super::slots::Slot;
use crate::messages::{Obey, Pause, TryNow};
use crate::node::Node;
use crate::order::Order;

/// The names of the nodes that somebody paused. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Paused(Rc<RefCell<BTreeSet<String>>>);

impl Paused {
    /// Returns true if this node is paused.
    pub(super) fn has(&self, node: &Node) -> bool {
        self.0.borrow().contains(node.name())
    }

    /// Pauses this node, or lets it go on. Returns true if that is news.
    fn set(&self, node: &Node, paused: bool) -> bool {
        let mut names = self.0.borrow_mut();
        if paused { names.insert(node.name().to_owned()) } else { names.remove(node.name()) }
    }
}

impl SupervisorActor {
    /// The same, whose nodes of these names are paused from the start.
    pub fn pausing(mut self, paused: Paused) -> Self {
        self.paused = paused;
        self
    }
}

impl Handler<Pause> for SupervisorActor {
    type Result = Option<bool>;

    fn handle(&mut self, Pause { node, paused }: Pause, _: &mut Self::Context) -> Option<bool> {
        if self.phase.has_ended() {
            return None;
        }
        let is_meant = |slot: &&Slot| slot.node.name() == node || slot.node.dest() == node.as_str();
        let slots: Vec<&Slot> = self.slots.members().filter(is_meant).collect();
        for slot in &slots {
            if self.paused.set(&slot.node, paused) {
                let what = if paused { "node paused: changes are collected" } else { "node resumed" };
                info!(slot.link.log, "{what}"; "pending" => slot.link.outbox.lock().len());
                if !paused && slot.worker.actor().is_some() && slot.link.record.read().health.is_well() {
                    slot.link.transport.clone().wake();
                }
            }
            match slot.worker.actor() {
                Some(actor) if paused => actor.do_send(Obey(Order::Pause)),
                Some(actor) => {
                    actor.do_send(Obey(Order::Work));
                    actor.do_send(TryNow);
                }
                None => (),
            }
        }
        Some(!slots.is_empty())
    }
}
