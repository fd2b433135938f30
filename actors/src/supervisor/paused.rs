//! Which nodes are paused, by their names: it outlives the daemon that was told, since a reload may start another one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use actix::prelude::*;
use slog::info;

use super::slots::{Slot, Stage};
use super::{Phase, SupervisorActor};
use crate::messages::{Pause, TryNow, Wake};
use crate::node::Node;
use crate::status::record::Record;

/// The names of the nodes that somebody paused. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Paused(Rc<RefCell<BTreeSet<String>>>);

impl Paused {
    fn has(&self, node: &Node) -> bool {
        self.0.borrow().contains(node.name())
    }

    fn set(&self, node: &Node, paused: bool) {
        let (mut names, name) = (self.0.borrow_mut(), node.name());
        if paused {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
    }
}

impl SupervisorActor {
    /// The same, whose nodes of these names are paused from the start.
    pub fn pausing(mut self, paused: Paused) -> Self {
        self.paused = paused;
        for slot in self.slots.iter() {
            slot.link.record.pause(self.paused.has(&slot.node));
        }
        self
    }

    /// The record of a node that is new.
    pub(super) fn record(&self, node: &Node) -> Record {
        let record = Record::default();
        record.pause(self.paused.has(node));
        record
    }
}

impl Handler<Pause> for SupervisorActor {
    type Result = Option<bool>;

    fn handle(&mut self, Pause { node, paused }: Pause, _: &mut Self::Context) -> Option<bool> {
        if self.phase == Phase::Ended {
            return None;
        }
        let staying = self.slots.iter().filter(|slot| slot.stage != Stage::Leaving);
        let is_meant = |slot: &&Slot| slot.node.name() == node || slot.node.dest() == node.as_str();
        let slots: Vec<&Slot> = staying.filter(is_meant).collect();
        for slot in &slots {
            self.paused.set(&slot.node, paused);
            if slot.link.record.pause(paused) {
                let what = if paused { "node paused: changes are collected" } else { "node resumed" };
                info!(slot.link.log, "{what}"; "pending" => slot.link.outbox.lock().len());
                if !paused && slot.actor.is_some() && slot.link.record.read().health.is_well() {
                    slot.link.transport.clone().wake();
                }
            }
            match &slot.actor {
                Some(actor) if paused => actor.do_send(Wake),
                Some(actor) => actor.do_send(TryNow),
                None => (),
            }
        }
        Some(!slots.is_empty())
    }
}
