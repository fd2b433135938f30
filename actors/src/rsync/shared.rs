//! What the ways to all nodes share, made once for a daemon.

use std::rc::Rc;
use std::sync::Arc;

use slog::{Discard, Logger, o, warn};

use super::audience::{Audience, Counter, Minutes};
use super::jobs::Jobs;
use super::remote_shell::RemoteShell;
use super::staging::{self, Staging};
use crate::children::Children;
use crate::node::{Kind, Node};
use crate::rsync::runner::budget::Budget;
use crate::rsync::runner::crowd::Crowd;
use crate::rsync::runner::master::Master;
use crate::rsync::runner::master::login::Login;
use crate::rsync::runner::master::runtime_dir::RuntimeDir;
use crate::site::Site;

/// The parts that the transports to all nodes share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The rsync and ssh processes of the daemon.
    pub children: Children,
    /// The standbys that may still be started.
    pub(crate) budget: Budget,
    /// The standbys that are at work.
    pub(crate) crowd: Crowd,
    /// The directory in which renamed files are linked; `None` if there is no place for one.
    pub(crate) staging: Option<Arc<Staging>>,
    /// The directory with the sockets of shared ssh connections; `None` if connections are not shared.
    pub sockets: Option<Arc<RuntimeDir>>,
    /// `true` if there is no place for them.
    has_no_place: bool,
    /// `true` if a node has one run at a time.
    pub(super) alone: bool,
    /// The receiver of the progress of reconciles.
    pub audience: Arc<dyn Audience>,
    /// Counts what there is to compare.
    pub counter: Counter,
    /// The runs that compare whole trees now.
    pub(super) jobs: Jobs,
    /// For what concerns no node in particular.
    pub log: Logger,
}

impl Shared {
    /// For runs that are made once: nothing is kept ready.
    pub fn once(children: Children) -> Self {
        Shared {
            children,
            budget: Budget::new(0),
            crowd: Crowd::new(),
            staging: None,
            sockets: None,
            has_no_place: false,
            alone: true,
            audience: Arc::new(Minutes),
            counter: Counter::default(),
            jobs: Jobs::default(),
            log: Logger::root(Discard, o!()),
        }
    }

    /// The same, with another audience.
    pub fn heard_by(self, audience: Arc<dyn Audience>, log: &Logger) -> Self {
        Shared { audience, log: log.clone(), ..self }
    }

    /// Makes the shared parts of a daemon.
    pub fn new(children: Children, site: &Site, log: &Logger) -> Self {
        let budget = Budget::new(site.max_standbys);
        let staging = site.staging.as_ref().and_then(|path| match Staging::open(path, &site.wpath, log) {
            Ok(staging) => Some(Arc::new(staging)),
            Err(why) => {
                warn!(log, "{}", staging::unusable(path, &why));
                None
            }
        });
        let audience = Arc::new(Minutes);
        let counter = Counter::default();
        let jobs = Jobs::default();
        let log = log.clone();
        let mut shared = Shared {
            children,
            budget,
            crowd: Crowd::new(),
            staging,
            sockets: None,
            has_no_place: false,
            alone: false,
            audience,
            counter,
            jobs,
            log,
        };
        shared.adapt(site);
        shared
    }

    /// For another reading of the configuration. What was made of it before keeps what it has.
    pub(crate) fn adapt(&mut self, site: &Site) {
        if self.budget.total() != site.max_standbys {
            self.budget = Budget::new(site.max_standbys);
        }
        let shares = |node: &Node| node.kind() == Kind::Ssh && RemoteShell::of(&site.at(node)).ssh().is_some();
        if !site.ssh_master || !site.nodes.iter().any(shares) {
            self.sockets = None;
        } else if self.sockets.is_none() && !self.has_no_place {
            match RuntimeDir::new() {
                Ok(made) => self.sockets = Some(Arc::new(made)),
                Err(why) => {
                    self.has_no_place = true;
                    warn!(self.log, "each rsync logs in by itself: no place for ssh's sockets"; "why" => %why);
                }
            }
        }
    }

    /// The connection that the runs to a node share, if they are to.
    pub(super) fn master(&self, site: &Site, node: &Node) -> Option<Rc<Master>> {
        let ssh = RemoteShell::of(site).ssh()?;
        let login = Login::of(node, &site.extra)?;
        let log = self.log.new(o!("node" => node.name().to_owned()));
        Some(Master::new(self.children.clone(), self.sockets.clone()?, &ssh, login, log))
    }
}
