//! The answers about the site of this daemon.

use std::cell::RefCell;

use hyper::{StatusCode, Uri};
use inosync_actors::path::Escaped;
use inosync_actors::status::{NodeStatus, Status, UnixTime, Verdict};

use super::answer::{HttpAnswer, PageParts, Paths, json, text, with_verdicts};
use super::history::History;
use super::metrics;
use crate::service::control::DaemonHandle;

const PAGE: PageParts = PageParts {
    html: include_str!("page/page.html"),
    style: include_str!("page/page.css"),
    script: concat!(include_str!("page/shared.js"), include_str!("page/plot.js"), include_str!("page/page.js")),
};
/// The answer while no daemon runs.
const ENDING: &str = "the daemon is starting or ending\n";

/// The source of all answers.
pub(super) struct DaemonPaths {
    pub daemon: DaemonHandle,
    pub history: RefCell<History>,
}

impl Paths for DaemonPaths {
    async fn get(&self, uri: &Uri) -> Option<HttpAnswer> {
        Some(match uri.path() {
            "/" => PAGE.answer(),
            "/status.json" => self.with_status(|status| json(&with_verdicts(status))).await,
            "/history.json" => json(&self.history.borrow().since(since(uri.query()))),
            "/metrics" => self.with_status(|status| metrics::answer(metrics::text(status))).await,
            "/healthz" => self.with_status(health).await,
            _ => return None,
        })
    }
}

impl DaemonPaths {
    /// An answer from the status, if there is one.
    async fn with_status(&self, answer: impl FnOnce(&Status) -> HttpAnswer) -> HttpAnswer {
        let status = self.daemon.status(false).await;
        status.as_ref().map_or_else(|| text(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned()), answer)
    }
}

/// The health, for load balancers and monitoring.
fn health(status: &Status) -> HttpAnswer {
    if status.verdict() < Verdict::Failing {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    text(StatusCode::SERVICE_UNAVAILABLE, failing(status).map(|line| line + "\n").collect())
}

/// The nodes that fail, each with the reason.
pub(super) fn failing(status: &Status) -> impl Iterator<Item = String> {
    let failing = status.nodes.iter().filter(|node| node.verdict() == Verdict::Failing);
    failing.map(|node: &NodeStatus| format!("{}: {}", Escaped(node.name.as_bytes()), node.state))
}

/// `since=SECONDS`: the time of the last sample that the client has.
fn since(query: Option<&str>) -> UnixTime {
    let value = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("since=")));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
