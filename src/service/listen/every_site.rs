//! The answers about all sites of this machine. Each request asks all daemons at once; requests that come meanwhile share
//! what they tell.

use std::rc::Rc;
use std::time::Instant;

use hyper::{StatusCode, Uri};
use inosync_actors::status::Verdict;
use tokio::sync::Mutex;

use super::answer::{HttpAnswer, PageParts, Paths, json, site_with_verdicts, text};
use super::{metrics, one_site};
use crate::service::all_sites::{AllSites, SiteStatus, UnaskedSites};

const PAGE: PageParts = PageParts {
    html: include_str!("page/overview.html"),
    style: concat!(include_str!("page/page.css"), include_str!("page/overview.css")),
    script: concat!(include_str!("page/shared.js"), include_str!("page/overview.js")),
};

/// The source of all answers: the last look at all sites, and the time of its end.
#[derive(Default)]
pub(super) struct SitesPaths(Mutex<Option<(Instant, Rc<AllSites>)>>);

impl Paths for SitesPaths {
    async fn get(&self, uri: &Uri) -> Option<HttpAnswer> {
        Some(match uri.path() {
            "/" => PAGE.answer(),
            "/status.json" => {
                let all = self.look().await;
                let sites: Vec<_> = all.sites.iter().map(site_with_verdicts).collect();
                json(&serde_json::json!({ "sites": sites, "closed": all.closed }))
            }
            "/metrics" => metrics::answer(metrics::text_of_sites(&self.look().await.sites)),
            "/healthz" => {
                let all = self.look().await;
                health(&all)
            }
            _ => return None,
        })
    }
}

impl SitesPaths {
    /// Asks all sites, unless a look that was under way has told them since.
    async fn look(&self) -> Rc<AllSites> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((_, all)) = last.as_ref().filter(|(ended, _)| *ended >= asked) {
            return all.clone();
        }
        let all = Rc::new(UnaskedSites::find().ask().await);
        *last = Some((Instant::now(), all.clone()));
        all
    }
}

/// The health, for load balancers and monitoring: each site runs, and none fails.
fn health(all: &AllSites) -> HttpAnswer {
    let mut lines: Vec<String> = all.sites.iter().flat_map(troubles).collect();
    lines.extend(all.closed.iter().map(|dir| format!("{dir}: may not be read, so more sites may run")));
    if all.sites.is_empty() {
        lines.push("there is no site".to_owned());
    }
    match lines.as_slice() {
        [] => text(StatusCode::OK, "ok\n".to_owned()),
        lines => text(StatusCode::SERVICE_UNAVAILABLE, lines.join("\n") + "\n"),
    }
}

/// The reasons why a site is not well, one line each.
fn troubles(SiteStatus { site, answer }: &SiteStatus) -> Vec<String> {
    match (answer.status(), answer.silence()) {
        (Some(status), _) if status.verdict() == Verdict::Failing => {
            one_site::failing(status).map(|line| format!("{site}: {line}")).collect()
        }
        (_, Some((state, ""))) => vec![format!("{site}: {state}")],
        (_, Some((state, why))) => vec![format!("{site}: {state}: {why}")],
        _ => Vec::new(),
    }
}
