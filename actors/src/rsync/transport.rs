//! What a SyncActor asks of the way to its node.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::Rsync;
use super::audience::Reconcile;
use crate::node::Kind;
use crate::path::RelPath;
use crate::transport::Lane;
use crate::transport::RemoteRsync;
use crate::transport::failure::Cause;
use crate::transport::heard::Heard;
use crate::transport::plan::Plan;
use crate::transport::progress::Latest;
use crate::transport::traits::Traits;
use crate::transport::{Running, Transport, Verifying, Worked};

impl Transport for Rsync {
    fn deliver(self: Rc<Self>, plan: Rc<Plan>, lane: Lane, worked: Worked) -> Running {
        Box::pin(async move {
            let result = self.clone().deliver_plan(plan, lane, worked).await;
            self.keep_ready(result.is_ok());
            result
        })
    }

    fn reconcile(self: Rc<Self>, kept: Vec<RelPath>, gauge: Latest) -> Running {
        Box::pin(async move {
            let source = (self.root.path(), &self.site.excludes);
            let reconcile = Reconcile::new(self.node.name(), &self.log, &gauge, source, &self.counter);
            let result = tokio::select! {
                result = self.reconcile_all(&kept, gauge) => result,
                never = self.audience.attend(reconcile) => match never {},
            };
            // A reconcile that would delete too much says nothing against the node.
            let well = result.as_ref().err().is_none_or(|failure| failure.cause == Cause::TooManyDeletions);
            self.keep_ready(well);
            result
        })
    }

    fn verify(self: Rc<Self>, kept: Vec<RelPath>, is_pending: Box<dyn Fn(&RelPath) -> bool>) -> Verifying {
        Box::pin(async move { self.compare(&kept, &*is_pending).await })
    }

    fn warm(self: Rc<Self>) {
        self.refill();
    }

    fn wake(self: Rc<Self>) {
        self.standbys.borrow_mut().succeeded();
        self.refill();
    }

    fn remote(&self) -> RemoteRsync {
        let learned = self.learned.borrow();
        let version = match self.node.kind() {
            Kind::Local => Some(self.version),
            Kind::Ssh | Kind::Daemon => learned.version(),
        };
        RemoteRsync { version: version.map(|version| version.to_string()), protocol: learned.protocol() }
    }

    fn traits(&self) -> Traits {
        self.known_traits()
    }

    fn ask(self: Rc<Self>) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        if self.node.kind() == Kind::Local || !self.learned.borrow_mut().ask_version() {
            return None;
        }
        Some(Box::pin(async move {
            // What it does not tell is not known; the next one who wants to know asks again.
            let _ = self.examine().await;
            self.learned.borrow_mut().asked_version();
        }))
    }

    fn report_to(&self, heard: &Heard) {
        self.heard.replace(heard.clone());
    }

    fn late(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        Some(Box::pin(self.late_standby()?))
    }

    fn rest(&self) {
        self.standbys.borrow_mut().clear();
        self.changed.notify_waiters();
    }

    fn retire(&self) {
        self.standbys.borrow_mut().retire();
        self.changed.notify_waiters();
    }
}
