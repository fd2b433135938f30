//! The answer to a request, whoever knows it: what is refused, what every answer says, and the page.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use inosync_actors::status::{Status, Verdict};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::Value;

use super::host;
use crate::service::all_sites::{SiteAnswer, SiteStatus};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// An answer with all that it says.
pub(super) type HttpAnswer = Response<Full<Bytes>>;

/// The answers to the paths of one server.
pub(super) trait Paths: 'static {
    /// The answer at this path; `None` if there is nothing.
    async fn get(&self, uri: &Uri) -> Option<HttpAnswer>;
}

/// A page, with marks for nonce, style and script.
pub(super) struct PageParts {
    pub html: &'static str,
    pub style: &'static str,
    pub script: &'static str,
}

/// Answers a request. `is_local` is true for a connection by a loopback address.
pub(super) async fn answer<B>(request: &Request<B>, is_local: bool, paths: &impl Paths) -> HttpAnswer {
    if let Some((status, why)) = is_local.then(|| host::refuse(request)).flatten() {
        return text(status, why.to_owned());
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "405: only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let found = paths.get(request.uri()).await;
    found.unwrap_or_else(|| text(StatusCode::NOT_FOUND, "404: see /, /status.json, /metrics and /healthz\n".to_owned()))
}

impl PageParts {
    /// The page, which runs no other script than its own and loads nothing from elsewhere.
    pub(super) fn answer(&self) -> HttpAnswer {
        let mut random = [0; 16];
        if let Err(why) = getrandom(&mut random, GetRandomFlags::empty()) {
            return failed(why);
        }
        let nonce = format!("{:032x}", u128::from_ne_bytes(random));
        let page = self.html.replace("@NONCE@", &nonce).replace("@STYLE@", self.style);
        let page = page.replace("@SCRIPT@", self.script);
        let mut answer = response(StatusCode::OK, HTML, page);
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        answer
    }
}

/// As `status --json`, with a `verdict` on the whole and on each node: `well`, `attention` or `failing`.
pub(super) fn with_verdicts(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["verdict"] = word(status.verdict()).into();
    for (shown, node) in value["nodes"].as_array_mut().into_iter().flatten().zip(&status.nodes) {
        shown["verdict"] = word(node.verdict()).into();
    }
    value
}

/// A site as `status --json` has it, with a `verdict` on all of it, which is `unknown` if the daemon tells nothing.
pub(super) fn site_with_verdicts(site: &SiteStatus) -> Value {
    let mut value = serde_json::to_value(site).unwrap_or_default();
    value["verdict"] = site.answer.verdict().map_or("unknown", word).into();
    if let SiteAnswer::Running { status } = &site.answer {
        value["answer"]["status"] = with_verdicts(status);
    }
    value
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "well",
        Verdict::Attention => "attention",
        Verdict::Failing => "failing",
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> HttpAnswer {
    serde_json::to_string(value).map_or_else(failed, |text| response(StatusCode::OK, JSON, text))
}

pub(super) fn text(status: StatusCode, said: String) -> HttpAnswer {
    response(status, TEXT, said)
}

/// The answer of a server that cannot make the answer.
pub(super) fn failed(why: impl std::fmt::Display) -> HttpAnswer {
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("500: {why}\n"))
}

/// An answer with the headers of all.
pub(super) fn response(status: StatusCode, kind: &'static str, text: String) -> HttpAnswer {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    let own = header::HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(own, HeaderValue::from_static("same-origin"));
    response
}
