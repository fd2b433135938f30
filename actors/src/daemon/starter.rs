//! Starts the actors in front of the SyncActors, each on its thread, and connects them.

use std::path::Path;

use actix::prelude::*;
use slog::Logger;
use tokio::sync::mpsc;

use super::Threads;
use crate::ending::EndsDaemon;
use crate::filter::{self, FilterActor};
use crate::outbox::Outbox;
use crate::root::Root;
use crate::site::Site;
use crate::state::memory::Memory;
use crate::state::{self, StateActor};
use crate::supervisor::{Flushes, StateHandle, SupervisorActor, Upstream};
use crate::watcher::coverage::WatchCoverage;
use crate::watcher::{self, WatchSettings, WatcherActor};

/// Starts the actors in front of the SyncActors.
pub(super) struct Starter<'a> {
    pub site: &'a Site,
    pub root: &'a Root,
    pub supervisor: Addr<SupervisorActor>,
    pub log: &'a Logger,
    pub guard: &'a EndsDaemon,
}

impl Starter<'_> {
    /// Starts the watcher, the filter and what keeps the state, which report to the supervisor.
    pub(super) fn start(
        self,
        outboxes: &[Outbox],
        memory: Option<Memory>,
        threads: &Threads,
        holds: mpsc::Sender<()>,
    ) -> Upstream {
        let site = self.site;
        let supervisor = &self.supervisor;
        let thread = threads.front.handle();
        let outlets = filter::FilterOutlets {
            rescans: supervisor.clone().recipient(),
            moves: supervisor.clone().recipient(),
            flushed: supervisor.clone().recipient(),
            excluded: supervisor.clone().recipient(),
        };
        let seats = outboxes.iter().cloned().enumerate();
        let filter = FilterActor::new(site.excludes.clone(), seats, outlets, self.log.clone(), self.guard.clone());
        let filter = FilterActor::start_in_arbiter(&thread, |_| filter);
        let coverage = WatchCoverage::default();
        let outlets = watcher::WatcherOutlets {
            changes: filter.clone().recipient(),
            rescans: filter.clone().recipient(),
            moves: filter.clone().recipient(),
            flush: filter.clone().recipient(),
            exclude: filter.clone().recipient(),
            passed: filter.clone().recipient(),
            reported: filter.clone().recipient(),
            reports: supervisor.clone().recipient(),
            coverage: coverage.clone(),
        };
        let aside = memory.as_ref().and(site.state_file.as_deref()).and_then(Path::parent);
        let settings = WatchSettings {
            excludes: site.excludes.clone(),
            poll: site.watch_poll,
            settle: site.settle.clone(),
            awaits_names: site.await_names,
            aside: aside.map(Path::to_owned),
        };
        let watcher = WatcherActor::new(self.root.clone(), outlets, settings, holds.clone(), self.guard.clone());
        let watcher = WatcherActor::start_in_arbiter(&thread, |_| watcher);
        let unsaved = memory.as_ref().map(|memory| memory.unsaved.clone()).unwrap_or_default();
        let state = memory.zip(threads.state.as_ref());
        let state = state.map(|(memory, thread)| self.start_state(memory, thread, holds, &filter, &watcher));
        Upstream {
            serve: filter.clone().recipient(),
            vacate: filter.clone().recipient(),
            flush: Flushes::by(watcher.clone().recipient()),
            exclude: watcher.clone().recipient(),
            audit: watcher.clone().recipient(),
            seen: watcher.clone().recipient(),
            reported: watcher.clone().recipient(),
            coverage,
            alive: [watcher.recipient(), filter.recipient()],
            unsaved,
            state,
        }
    }

    fn start_state(
        &self,
        mut memory: Memory,
        thread: &Arbiter,
        holds: mpsc::Sender<()>,
        filter: &Addr<FilterActor>,
        watcher: &Addr<WatcherActor>,
    ) -> StateHandle {
        let outlets = state::StateOutlets {
            changes: filter.clone().recipient(),
            flushed: filter.clone().recipient(),
            barrier: watcher.clone().recipient(),
            recognise: watcher.clone().recipient(),
            moved: watcher.clone().recipient(),
            saved: self.supervisor.clone().recipient(),
        };
        let past = memory.past.take();
        let unsaved = memory.unsaved.clone();
        let log = self.log.clone();
        let actor = StateActor::new(self.site, memory, outlets, log, self.guard.clone());
        let state = StateActor::start_in_arbiter(&thread.handle(), |_| actor);
        // Dropped with the thread, if the actor does not end before.
        thread.spawn(async move {
            let _holds = holds;
            std::future::pending::<()>().await;
        });
        filter.do_send(filter::StateKept(filter::Keeper {
            unsaved,
            compare: state.clone().recipient(),
            flush: state.clone().recipient(),
            passed: state.clone().recipient(),
        }));
        StateHandle {
            past,
            keep: state.clone().recipient(),
            compare: filter.clone().recipient(),
            compared: state.clone().recipient(),
            save: state.recipient(),
        }
    }
}
