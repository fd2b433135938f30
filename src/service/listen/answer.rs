//! The answer to each path.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use inosync_actors::path::Escaped;
use inosync_actors::status::{NodeStatus, Status, UnixTime, Verdict};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::Value;

use super::{AnswerSource, host, metrics};

/// The page, with marks for nonce, style and script.
const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(include_str!("page/plot.js"), include_str!("page/page.js"));

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// The answer while no daemon runs.
const ENDING: &str = "the daemon is starting or ending\n";

/// Answers a request. `is_local` is true for a connection by a loopback address.
pub async fn answer<B>(request: &Request<B>, is_local: bool, shared: &AnswerSource) -> Response<Full<Bytes>> {
    if let Some((status, why)) = is_local.then(|| host::refuse(request)).flatten() {
        return response(status, TEXT, why.to_owned());
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "405: only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/" => page(),
        "/status.json" => from_status(shared.status().await, |status| json(&with_verdicts(status))),
        "/history.json" => json(&shared.history.borrow().since(since(request.uri().query()))),
        "/metrics" => from_status(shared.status().await, |status| {
            let text = metrics::text(status);
            text.map_or_else(failed, |text| response(StatusCode::OK, metrics::CONTENT_TYPE, text))
        }),
        "/healthz" => from_status(shared.status().await, health),
        _ => response(StatusCode::NOT_FOUND, TEXT, "404: see /, /status.json, /metrics and /healthz\n".to_owned()),
    }
}

/// An answer from the status, if there is one.
fn from_status(status: Option<Status>, answer: impl FnOnce(&Status) -> Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    status.as_ref().map_or_else(|| response(StatusCode::SERVICE_UNAVAILABLE, TEXT, ENDING.to_owned()), answer)
}

fn page() -> Response<Full<Bytes>> {
    let mut random = [0; 16];
    if let Err(why) = getrandom(&mut random, GetRandomFlags::empty()) {
        return failed(why);
    }
    let nonce = format!("{:032x}", u128::from_ne_bytes(random));
    let page = PAGE.replace("@NONCE@", &nonce).replace("@STYLE@", STYLE).replace("@SCRIPT@", SCRIPT);
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

/// As `status --json`, with a `verdict` on the whole and on each node: `well`, `attention` or `failing`.
fn with_verdicts(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    let word = |verdict| match verdict {
        Verdict::Well => "well",
        Verdict::Attention => "attention",
        Verdict::Failing => "failing",
    };
    value["verdict"] = word(status.verdict()).into();
    for (shown, node) in value["nodes"].as_array_mut().into_iter().flatten().zip(&status.nodes) {
        shown["verdict"] = word(node.verdict()).into();
    }
    value
}

/// The health, for load balancers and monitoring.
fn health(status: &Status) -> Response<Full<Bytes>> {
    if status.verdict() < Verdict::Failing {
        return response(StatusCode::OK, TEXT, "ok\n".to_owned());
    }
    let failing = status.nodes.iter().filter(|node| node.verdict() == Verdict::Failing);
    let line = |node: &NodeStatus| format!("{}: {}\n", Escaped(node.name.as_bytes()), node.state);
    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, failing.map(line).collect())
}

/// `since=SECONDS`: the time of the last sample that the client has.
fn since(query: Option<&str>) -> UnixTime {
    let value = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("since=")));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    serde_json::to_string(value).map_or_else(failed, |text| response(StatusCode::OK, JSON, text))
}

fn failed(why: impl std::fmt::Display) -> Response<Full<Bytes>> {
    response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("500: {why}\n"))
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
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
