//! Runs the hooks: one at a time for each node, and one for all. What is told, and when, is decided in
//! [`hook`](crate::hook). Each run is a task of its own, so no SyncActor waits for one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::prelude::*;
use slog::{Logger, debug, info, warn};

use super::slots::{Slots, Stage};
use super::{Phase, SupervisorActor};
use crate::children::Children;
use crate::hook::Occasion;
use crate::hook::barrier::Nodes;
use crate::hook::run::{Call, Failed};
use crate::hook::runner::News;
use crate::hook::teller::Teller;
use crate::messages::{Rest, Settled};
use crate::outbox::Outbox;
use crate::path::RelPath;
use crate::status::HookStatus;
use crate::transport::Tally;

/// When the next portion of paths is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often all that waits for a node is looked at, whatever settled.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Whose a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The node's of this number.
    Node(usize),
    /// That of all nodes together.
    All,
}

impl Whose {
    fn occasion(self) -> Occasion {
        match self {
            Whose::Node(_) => Occasion::Synced,
            Whose::All => Occasion::AllSynced,
        }
    }
}

/// The hooks of the site.
pub struct Hooks {
    hooks: BTreeMap<Whose, Hook>,
    children: Children,
    timer: Option<SpawnHandle>,
    looked_again: Instant,
    /// Nothing more is sent: what is not told now never is.
    finishing: bool,
}

struct Hook {
    teller: Teller,
    /// The name of the node.
    node: Option<String>,
    /// Whether the node is gone: what it has got is still told.
    orphaned: bool,
    log: Logger,
}

impl Hooks {
    /// None yet. They are started among these processes, and end with them.
    pub fn new(children: Children) -> Self {
        Hooks { hooks: BTreeMap::new(), children, timer: None, looked_again: Instant::now(), finishing: false }
    }

    /// Whether nothing more is sent.
    pub fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// How one of them is doing, if there is one.
    pub fn status(&self, whose: Whose) -> Option<HookStatus> {
        self.hooks.get(&whose).map(|hook| hook.teller.status())
    }

    fn set(&mut self, whose: Whose, wanted: Option<&crate::site::Hook>, node: Option<&str>, log: &Logger) {
        let (Some(wanted), known) = (wanted, self.hooks.get_mut(&whose)) else {
            // One that runs is left to its end, lest the next one be run beside it.
            if let Some(hook) = self.hooks.get_mut(&whose) {
                hook.teller.clear();
            }
            self.hooks.retain(|of, hook| *of != whose || hook.teller.runs());
            return;
        };
        match known {
            Some(Hook { teller, .. }) if teller.hook == *wanted => (),
            Some(Hook { teller, .. }) => {
                teller.hook = wanted.clone();
                teller.hurry();
            }
            None => {
                let (teller, node) = (Teller::new(wanted.clone()), node.map(str::to_owned));
                self.hooks.insert(whose, Hook { teller, node, orphaned: false, log: log.clone() });
            }
        }
    }
}

/// What is asked of the outboxes.
struct View<'a> {
    numbers: &'a [usize],
    outboxes: &'a BTreeMap<usize, (Outbox, bool)>,
    /// Whether a reconcile counts that is owed or runs. It may take hours, and what is sent beside it is at the node.
    with_reconciles: bool,
}

impl Nodes for View<'_> {
    fn numbers(&self) -> &[usize] {
        self.numbers
    }

    fn lacks(&self, node: usize, path: &RelPath, at: Instant) -> bool {
        self.outboxes.get(&node).is_some_and(|(outbox, owes)| {
            let outbox = outbox.lock();
            match self.with_reconciles {
                true => *owes || outbox.may_lack(path, at),
                false => outbox.lacks(path, at),
            }
        })
    }

    fn lacks_any(&self, node: usize, at: Instant) -> bool {
        // What a node itself lacks of what it was sent, is sent again and told then.
        self.with_reconciles
            && self.outboxes.get(&node).is_some_and(|(outbox, owes)| *owes || outbox.lock().may_lack_any(at))
    }
}

/// The outboxes of the nodes that are to have everything, with whether a reconcile is to be put into it.
fn outboxes(slots: &Slots) -> BTreeMap<usize, (Outbox, bool)> {
    let staying = slots.iter().filter(|slot| slot.stage != Stage::Leaving);
    staying.map(|slot| (slot.link.slot, (slot.link.outbox.clone(), slot.reconcile))).collect()
}

impl SupervisorActor {
    /// Goes by the hooks of the edition of the moment.
    pub(super) fn adapt_hooks(&mut self) {
        let site = self.edition.site.clone();
        let is_wanted = site.on_synced.is_some() || site.on_all_synced.is_some();
        for slot in self.slots.iter() {
            slot.link.heard.want(is_wanted);
            if slot.stage != Stage::Leaving {
                let (whose, name) = (Whose::Node(slot.link.slot), slot.node.name());
                self.hooks.set(whose, site.on_synced.as_ref(), Some(name), &slot.link.log);
            }
        }
        self.hooks.set(Whose::All, site.on_all_synced.as_ref(), None, &self.log);
    }

    /// Tells what there is to tell, and looks again when more may be.
    pub(super) fn advance_hooks(&mut self, ctx: &mut Context<Self>) {
        self.hooks.timer.take().map(|timer| ctx.cancel_future(timer));
        if matches!(self.phase, Phase::Saving | Phase::Ended) || self.hooks.hooks.is_empty() {
            return;
        }
        let now = Instant::now();
        let again = now.saturating_duration_since(self.hooks.looked_again) >= LOOK_AGAIN;
        if again {
            self.hooks.looked_again = now;
        }
        let outboxes = outboxes(&self.slots);
        let all: Vec<usize> = outboxes.keys().copied().collect();
        let (mut due, mut calls) = (None, Vec::new());
        for (&whose, hook) in &mut self.hooks.hooks {
            let Hook { teller, node, orphaned, .. } = hook;
            let own = if let Whose::Node(at) = whose { [at] } else { [0] };
            let numbers = match whose {
                Whose::All => &all[..],
                Whose::Node(_) if *orphaned => &[],
                Whose::Node(_) => &own[..],
            };
            if again {
                teller.settled(None);
            }
            let view = View { numbers, outboxes: &outboxes, with_reconciles: whose == Whose::All };
            teller.look(now, &view, self.hooks.finishing || *orphaned);
            if let Some(list) = teller.start(now) {
                let (hook, wpath) = (teller.hook.clone(), self.edition.site.wpath.clone());
                let (occasion, patience) = (whose.occasion(), self.edition.site.hook_timeout);
                calls.push((whose, Call { hook, occasion, node: node.clone(), wpath, list, patience }));
            }
            let (tick, later) = (teller.is_due().then(|| now + TICK), teller.waits().then(|| now + LOOK_AGAIN));
            due = [due, tick, later, teller.run_due(now)].into_iter().flatten().min();
        }
        for (whose, call) in calls {
            let run = call.run(self.hooks.children.clone()).into_actor(self);
            ctx.spawn(run.map(move |result, supervisor, ctx| supervisor.hook_ended(whose, result, now, ctx)));
        }
        self.hooks.timer = due.map(|at| {
            ctx.run_later(at.saturating_duration_since(Instant::now()), |supervisor, ctx| {
                supervisor.hooks.timer = None;
                supervisor.advance_hooks(ctx);
            })
        });
    }

    fn hook_ended(&mut self, whose: Whose, result: Result<(), Failed>, started: Instant, ctx: &mut Context<Self>) {
        let Some(hook) = self.hooks.hooks.get_mut(&whose).filter(|_| self.phase != Phase::Ended) else { return };
        let (Hook { teller, log, .. }, name) = (hook, whose.occasion().name());
        let (failed, took) = (result.clone().err(), format!("{} ms", started.elapsed().as_millis()));
        let news = teller.ended(result, Instant::now(), fastrand::f64());
        match (news, failed) {
            (News::Fails, Some(Failed { fault, said })) => {
                warn!(log, "hook fails: what it was told is told again, within a minute or so"; "hook" => name,
                    "untold" => teller.untold(), "why" => %fault, "said" => said);
            }
            (News::Recovered { failures }, _) => info!(log, "hook recovered"; "hook" => name, "failures" => failures),
            (_, Some(Failed { fault, said })) => {
                debug!(log, "hook fails"; "hook" => name, "took" => took, "why" => %fault, "said" => said);
            }
            (_, None) => debug!(log, "hook ran"; "hook" => name, "took" => took),
        }
        self.adapt_hooks();
        self.advance_hooks(ctx);
        self.hooks.hooks.retain(|_, hook| !hook.orphaned || hook.teller.is_busy());
        self.end_if_drained(ctx);
    }

    /// A node is gone. What it has got is told.
    pub(super) fn orphan_hook(&mut self, at: usize, ctx: &mut Context<Self>) {
        for (whose, hook) in &mut self.hooks.hooks {
            hook.teller.forget(at);
            hook.orphaned |= *whose == Whose::Node(at);
        }
        self.advance_hooks(ctx);
        self.hooks.hooks.retain(|_, hook| !hook.orphaned || hook.teller.is_busy());
    }

    /// What the runs for this node changed since the last time is to be told. A run that failed said it, too, and nobody
    /// says that it has ended.
    pub(super) fn hear(&mut self, at: usize, tally: Tally) {
        let Some(slot) = self.slots.get(at) else { return };
        let news = slot.link.heard.take();
        for (_, hook) in self.hooks.hooks.iter_mut().filter(|(whose, _)| [Whose::Node(at), Whose::All].contains(whose))
        {
            hook.teller.hear(&news, tally);
            hook.teller.settled(Some(at));
        }
    }

    /// All nodes are drained: nothing more is sent, so that what there is to tell comes to an end. Tells all that can be
    /// told, each hook once more. Whether that is done.
    pub(super) fn have_hooks_finished(&mut self, ctx: &mut Context<Self>) -> bool {
        if self.hooks.hooks.is_empty() {
            return true;
        }
        if !std::mem::replace(&mut self.hooks.finishing, true) {
            self.slots.iter().filter_map(|slot| slot.actor.as_ref()).for_each(|actor| actor.do_send(Rest));
            for hook in self.hooks.hooks.values_mut() {
                hook.teller.settled(None);
                hook.teller.hurry();
            }
        }
        self.slots.numbers(|_| true).into_iter().for_each(|at| self.hear(at, Tally::default()));
        self.advance_hooks(ctx);
        !self.hooks.hooks.values().any(|hook| hook.teller.is_busy())
    }

    /// The end: says what was not told.
    pub(super) fn give_up_hooks(&self) {
        for (whose, hook) in self.hooks.hooks.iter().filter(|(_, hook)| hook.teller.untold() > 0) {
            warn!(hook.log, "stopped before a hook was told of all paths"; "hook" => whose.occasion().name(),
                "untold" => hook.teller.untold());
        }
    }
}

impl Handler<Settled> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Settled { slot: at, tally }: Settled, ctx: &mut Self::Context) {
        if !self.hooks.hooks.is_empty() {
            self.hear(at, tally);
            self.advance_hooks(ctx);
        }
    }
}
