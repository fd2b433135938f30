//! The hooks of the site: one run at a time for each node, and one for all. What is told, and when, is decided in
//! [`hook`](crate::hook). Each run is a task of its own, so no SyncActor waits for one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use slog::{Logger, debug, info, warn};

use super::slots::{Slot, Slots};
use crate::children::Children;
use crate::hook::Occasion;
use crate::hook::barrier::{AwaitedNode, ReconcilePart};
use crate::hook::run::{Call, Failed};
use crate::hook::runner::HookNews;
use crate::hook::teller::Teller;
use crate::site::Site;
use crate::status::HookStatus;
use crate::timer::Timer;
use crate::transport::Tally;

/// The pause before the next portion of paths is looked at.
const TICK: Duration = Duration::from_millis(20);
/// The interval at which all that waits for a node is looked at, whatever settled.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The node that a hook is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// The one of this number.
    Node(usize),
    /// The hook of all nodes together.
    All,
}

impl Whose {
    fn occasion(self) -> Occasion {
        match self {
            Whose::Node(_) => Occasion::Synced,
            Whose::All => Occasion::AllSynced,
        }
    }

    /// The nodes that must have what the hook is told.
    fn awaited(self, slots: &Slots) -> Vec<AwaitedNode> {
        let is_awaited = |slot: &&Slot| self == Whose::All || self == Whose::Node(slot.link.slot);
        let awaited = slots.members().filter(is_awaited).map(|slot| AwaitedNode {
            number: slot.link.slot,
            outbox: slot.link.outbox.clone(),
            reconcile: match self {
                Whose::Node(_) => ReconcilePart::Ignored,
                Whose::All if slot.reconcile => ReconcilePart::Comes,
                Whose::All => ReconcilePart::Counted,
            },
        });
        awaited.collect()
    }
}

/// The hooks of the site.
pub(super) struct Hooks {
    hooks: BTreeMap<Whose, HookState>,
    children: Children,
    looked_again: Instant,
    /// Runs when the hooks are to be looked at again.
    timer: Timer,
}

struct HookState {
    teller: Teller,
    /// The name of the node.
    node: Option<String>,
    /// `true` if the node is gone: what it has got is still told.
    orphaned: bool,
    log: Logger,
}

/// A hook that runs.
pub(super) type HookRun = Pin<Box<dyn Future<Output = Result<(), Failed>>>>;

/// The result of a look at the hooks.
#[derive(Default)]
pub(super) struct Due {
    /// Hooks that run from now on.
    pub(super) runs: Vec<(Whose, HookRun)>,
    /// The time of the next look.
    pub(super) look_at: Option<Instant>,
}

impl Hooks {
    /// No hooks yet. They are started among these processes, and end with them.
    pub(super) fn new(children: Children) -> Self {
        Hooks { hooks: BTreeMap::new(), children, looked_again: Instant::now(), timer: Timer::default() }
    }

    /// `true` if there are no hooks.
    pub(super) fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    /// The timer of the next look.
    pub(super) fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    /// `true` while a hook runs, or has something to be told.
    pub(super) fn is_busy(&self) -> bool {
        self.hooks.values().any(|hook| hook.teller.is_busy())
    }

    /// The state of a hook, if there is one.
    pub(super) fn status(&self, whose: Whose) -> Option<HookStatus> {
        self.hooks.get(&whose).map(|hook| hook.teller.status())
    }

    /// Goes by the hooks that the configuration has now.
    pub(super) fn adapt(&mut self, site: &Site, slots: &Slots, log: &Logger) {
        let is_wanted = site.on_synced.is_some() || site.on_all_synced.is_some();
        slots.iter().for_each(|slot| slot.link.heard.want(is_wanted));
        for slot in slots.members() {
            let whose = Whose::Node(slot.link.slot);
            self.set(whose, site.on_synced.as_ref(), Some(slot.node.name()), &slot.link.log);
        }
        self.set(Whose::All, site.on_all_synced.as_ref(), None, log);
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
            Some(HookState { teller, .. }) if teller.hook == *wanted => (),
            Some(HookState { teller, .. }) => {
                teller.hook = wanted.clone();
                teller.hurry();
            }
            None => {
                let teller = Teller::new(wanted.clone());
                let node = node.map(str::to_owned);
                self.hooks.insert(whose, HookState { teller, node, orphaned: false, log: log.clone() });
            }
        }
    }

    /// Tells what there is to tell. `is_last`: nothing more is sent, and what is not told now never is.
    pub(super) fn advance(&mut self, site: &Site, slots: &Slots, is_last: bool, now: Instant) -> Due {
        let mut due = Due::default();
        if self.hooks.is_empty() {
            return due;
        }
        let again = now.saturating_duration_since(self.looked_again) >= LOOK_AGAIN;
        if again {
            self.looked_again = now;
        }
        for (&whose, hook) in &mut self.hooks {
            if again {
                hook.teller.settled(None);
            }
            hook.teller.look(now, &whose.awaited(slots), is_last || hook.orphaned);
            if let Some(call) = hook.call(whose, site, now) {
                due.runs.push((whose, Box::pin(call.run(self.children.clone()))));
            }
            let tick = hook.teller.is_due().then(|| now + TICK);
            let later = hook.teller.waits().then(|| now + LOOK_AGAIN);
            due.look_at = [due.look_at, tick, later, hook.teller.run_due(now)].into_iter().flatten().min();
        }
        due
    }

    /// The run of a hook that began then has ended.
    pub(super) fn ended(&mut self, whose: Whose, result: Result<(), Failed>, started: Instant) {
        let Some(hook) = self.hooks.get_mut(&whose) else { return };
        let HookState { teller, log, .. } = hook;
        let name = whose.occasion().name();
        let failed = result.clone().err();
        let took = format!("{} ms", started.elapsed().as_millis());
        let news = teller.ended(result, Instant::now(), fastrand::f64());
        match (news, failed) {
            (HookNews::Fails, Some(Failed { fault, said })) => {
                warn!(log, "hook fails: what it was told is told again, within a minute or so"; "hook" => name,
                    "untold" => teller.untold(), "why" => %fault, "said" => said);
            }
            (HookNews::Recovered { failures }, _) => {
                info!(log, "hook recovered"; "hook" => name, "failures" => failures)
            }
            (_, Some(Failed { fault, said })) => {
                debug!(log, "hook fails"; "hook" => name, "took" => took, "why" => %fault, "said" => said);
            }
            (_, None) => debug!(log, "hook ran"; "hook" => name, "took" => took),
        }
    }

    /// A node is gone. What it has got is still told.
    pub(super) fn orphan(&mut self, at: usize) {
        for (whose, hook) in &mut self.hooks {
            hook.teller.settled(Some(at));
            hook.orphaned |= *whose == Whose::Node(at);
        }
    }

    /// Forgets the hooks of nodes that are gone, once they are told of everything.
    pub(super) fn forget_orphans(&mut self) {
        self.hooks.retain(|_, hook| !hook.orphaned || hook.teller.is_busy());
    }

    /// Takes what the runs for a node changed since the last time. A run that failed told it, too, and nobody says that
    /// it has ended.
    pub(super) fn hear(&mut self, slot: &Slot, tally: Tally) {
        let at = slot.link.slot;
        let news = slot.link.heard.take();
        for (_, hook) in self.hooks.iter_mut().filter(|(whose, _)| [Whose::Node(at), Whose::All].contains(whose)) {
            hook.teller.hear(&news, tally);
            hook.teller.settled(Some(at));
        }
    }

    /// Prepares for the end: each hook is run once more, at once, for all that is told by then.
    pub(super) fn finish(&mut self) {
        for hook in self.hooks.values_mut() {
            hook.teller.settled(None);
            hook.teller.hurry();
        }
    }

    /// Says at the end which hooks were not told of everything.
    pub(super) fn give_up(&self) {
        for (whose, hook) in self.hooks.iter().filter(|(_, hook)| hook.teller.untold() > 0) {
            warn!(hook.log, "stopped before a hook was told of all paths"; "hook" => whose.occasion().name(),
                "untold" => hook.teller.untold());
        }
    }
}

impl HookState {
    /// The run that may start now, if any.
    fn call(&mut self, whose: Whose, site: &Site, now: Instant) -> Option<Call> {
        let list = self.teller.start(now)?;
        Some(Call {
            hook: self.teller.hook.clone(),
            occasion: whose.occasion(),
            node: self.node.clone(),
            wpath: site.wpath.clone(),
            list,
            patience: site.hook_timeout,
        })
    }
}
