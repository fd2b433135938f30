//! What a SyncActor asks of the way to its node.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Rsync;
use super::audience::Reconcile;
use super::beat::beat;
use crate::heartbeat::Heartbeat;
use crate::node::Kind;
use crate::path::RelPath;
use crate::site::DeleteMode;
use crate::transport::Lane;
use crate::transport::failure::Cause;
use crate::transport::heard::Heard;
use crate::transport::plan::Plan;
use crate::transport::progress::Latest;
use crate::transport::{BeatTurn, Beating, NodeFacts, RemoteRsync, Running, Transport, Verifying, Worked};

impl Transport for Rsync {
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running {
        Box::pin(async move {
            let result = self.deliverer.clone().deliver_plan(plan, lane, worked).await;
            self.runner.keep_ready(result.is_ok());
            result
        })
    }

    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, gauge: Latest) -> Running {
        Box::pin(async move {
            let source = (self.target.root.reach(), &self.target.site.excludes);
            let reconcile = Reconcile::new(self.target.node.name(), &self.target.log, &gauge, source, &self.counter);
            let result = tokio::select! {
                result = self.reconciler.reconcile_all(&kept, gauge) => result,
                never = self.audience.attend(reconcile) => match never {},
            };
            if result.is_ok() {
                self.target.allow_deletions(false);
            }
            // A reconcile that would delete too much says nothing against the node.
            let well = result.as_ref().err().is_none_or(|failure| failure.cause == Cause::TooManyDeletions);
            self.runner.keep_ready(well);
            result
        })
    }

    fn verify(self: Rc<Self>, kept: Vec<RelPath>, is_pending: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        Box::pin(async move { self.compare(&kept, &*is_pending).await })
    }

    fn beat(self: Rc<Self>, heartbeat: &Heartbeat, turn: BeatTurn) -> Beating {
        Box::pin(beat(self.target.clone(), self.runner.clone(), heartbeat.clone(), turn))
    }

    fn bounds_deletions(&self) -> bool {
        self.target.site.max_delete.is_some()
    }

    fn links_hard(&self) -> bool {
        self.target.links_hard()
    }

    fn links_hard_again(&self) -> bool {
        self.target.learned.borrow_mut().takes_hard_links(Instant::now())
    }

    fn deletes_at_start_only(&self) -> bool {
        self.target.site.delete == DeleteMode::Startup
    }

    fn allow_deletions(&self) {
        self.target.allow_deletions(true);
    }

    fn warm(self: Rc<Self>) {
        self.runner.refill();
    }

    fn wake(self: Rc<Self>) {
        self.runner.wake();
    }

    fn facts(&self) -> NodeFacts {
        let learned = self.target.learned.borrow();
        let version = match self.target.node.kind() {
            Kind::Local => Some(self.target.version),
            Kind::Ssh | Kind::Daemon => learned.version(),
        };
        let version = version.map(|version| version.to_string());
        let remote = RemoteRsync { version, protocol: learned.protocol() };
        NodeFacts { remote, traits: self.target.known_traits() }
    }

    fn ask(self: Rc<Self>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        if self.target.node.kind() == Kind::Local || !self.target.learned.borrow_mut().ask_version() {
            return None;
        }
        Some(Box::pin(async move {
            // What it does not tell is not known; the next one who wants to know asks again.
            let _ = self.examiner.examine().await;
            self.target.learned.borrow_mut().asked_version();
        }))
    }

    fn report_to(&self, heard: &Heard) {
        self.runner.report_to(heard);
    }

    fn late(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        Some(Box::pin(self.runner.late_standby()?))
    }

    fn round_trip(&self) -> Option<Duration> {
        // Where two names may be one entry, runs beside each other may write to the same one.
        let may_be_one = self.target.site.extra.links_hard() || !self.target.learned.borrow().names().may_be_apart();
        self.runner.round_trip().filter(|_| self.target.node.kind() == Kind::Ssh && !may_be_one)
    }

    fn rest(&self) {
        self.runner.rest();
    }

    fn retire(&self) {
        self.runner.retire();
    }
}
