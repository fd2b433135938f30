//! Serves the page and the metrics of all sites of this machine, in a process of its own.

use std::rc::Rc;

use slog::Logger;

use super::Task;
use super::every_site::SitesPaths;
use super::server::{self, HttpListener};

/// The page of all sites, served until this is dropped.
pub struct OverviewPage(Vec<Task>);

impl OverviewPage {
    /// Serves at these sockets from now on.
    pub fn open(listeners: Vec<HttpListener>, log: &Logger) -> Self {
        let paths = Rc::new(SitesPaths::default());
        let serve = |listener| {
            let paths = paths.clone();
            let log = log.clone();
            Task::spawn(async move { server::serve(&listener, paths, &log).await })
        };
        OverviewPage(listeners.into_iter().map(serve).collect())
    }

    /// Ends the page and all its connections.
    pub async fn close(self) {
        for task in self.0 {
            task.end().await;
        }
    }
}
