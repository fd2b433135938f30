//! The page and the metrics: `listen`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::alerts::promtool;
use crate::support::http::{connect, request, send};
use crate::support::{Local, Node, Site, Ssh, free_port, wait};

#[test]
fn every_path_is_served_and_others_are_refused() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.start_mirrored();
    site.expect_state(Local, "idle");
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/history.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
    ] {
        let got = site.get(port, path);
        assert_eq!(got.status, 200, "{path}: {got:?}");
        for header in [
            format!("content-type: {kind}"),
            "cache-control: no-store".into(),
            "x-content-type-options: nosniff".into(),
            "referrer-policy: no-referrer".into(),
            "content-security-policy: default-src 'none'".into(),
        ] {
            assert!(got.head.contains(&header), "{path}: wanted {header}: {}", got.head);
        }
        let head = request(port, "HEAD", path, "localhost").unwrap();
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}: {head:?}");
        assert!(head.head.contains("content-length: "), "{path}: {head:?}");
    }
    assert_eq!(site.get(port, "/healthz").body, "ok\n");
    assert_eq!(site.get(port, "/status.jso").status, 404);
    assert_eq!(site.get(port, "/../etc/passwd").status, 404);
    let refused = request(port, "POST", "/", "localhost").unwrap();
    assert!(refused.status == 405 && refused.head.contains("allow: get, head"), "{refused:?}");
    assert!(!site.troubles().iter().any(|line| line.contains("listen")), "{:?}", site.troubles());
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_no_script_but_its_own() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.start();
    let (first, second) = (site.get(port, "/"), site.get(port, "/"));
    assert!(!first.body.contains("http://") && !first.body.contains("https://"), "no other address is in the page");
    let nonce = |page: &str| page.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let (first_nonce, second_nonce) = (nonce(&first.body).unwrap(), nonce(&second.body).unwrap());
    assert!(first.head.contains(&format!("script-src 'nonce-{first_nonce}'")), "{}", first.head);
    assert!(first_nonce.len() == 32 && first_nonce != second_nonce, "it can be guessed");
}

#[test]
fn a_name_of_somebody_elses_is_refused_on_loopback() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.start();
    site.get(port, "/healthz");
    for host in ["evil.example", "evil.example:9877", "localhost.evil.example"] {
        let refused = request(port, "GET", "/status.json", host).unwrap();
        assert_eq!(refused.status, 421, "{refused:?}");
        assert!(refused.body.contains("http://127.0.0.1:PORT/"), "{refused:?}");
    }
    assert_eq!(request(port, "GET", "/healthz", "localhost").unwrap().status, 200);
    assert_eq!(request(port, "GET", "/healthz", &format!("[::1]:{port}")).unwrap().status, 200);
    assert_eq!(send(port, "GET /healthz HTTP/1.0\r\n\r\n").unwrap().status, 200);
}

/// How long a client may say nothing before it is hung up on.
const SILENT_FOR: Duration = Duration::from_secs(5);

#[test]
fn a_slow_or_talkative_client_keeps_nobody_out() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.start_mirrored();
    site.get(port, "/healthz");
    let mut slow: Vec<_> = (0..20).map(|_| connect(port).unwrap()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"GET /healthz HTT").unwrap());
    assert_eq!(site.get(port, "/healthz").status, 200);
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(send(port, &large).is_none_or(|replied| replied.status == 431), "a head of any size is read");
    // More than are served at once: those that say nothing are hung up on.
    // More than are served at once: none has been silent for as long as it may be.
    slow.extend((0..200).filter_map(|_| connect(port)));
    let asked = Instant::now();
    assert_eq!(site.get(port, "/healthz").status, 200);
    let took = asked.elapsed();
    assert!(took < SILENT_FOR * 4 / 5, "it waited for those that say nothing: {took:?}");
    let mut answer = Vec::new();
    // What it had said may not have been read.
    let hung_up =
        slow[0].read_to_end(&mut answer).map_or_else(|why| why.kind() == ErrorKind::ConnectionReset, |_| true);
    assert!(hung_up, "it is kept");
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    site.write("file", "meanwhile");
    site.expect_on_node(Local, "file", "meanwhile");
}

/// What the page says of a node, which is what `status` and the metrics say of it, too.
#[track_caller]
fn agreed(site: &Site, port: u16, node: Node) -> Value {
    let alike = |a: &Value, b: &Value| ["state", "pending", "totals", "recent"].iter().all(|key| a[key] == b[key]);
    let all = wait::until(|| {
        let asked = site.status_of(node);
        let page = site.get(port, "/status.json").json();
        let metrics = site.get(port, "/metrics").body;
        // A node that is down may have been tried between two of the questions.
        alike(&asked, &site.status_of(node)).then_some((asked, page, metrics))
    });
    let (asked, page, metrics) = all.unwrap_or_else(|| site.fail("the status never stays as it is"));
    let name = asked["name"].as_str().unwrap();
    let found = page["nodes"].as_array().unwrap().iter().find(|found| found["name"] == name).cloned();
    let found = found.unwrap_or_else(|| site.fail(&format!("no {name} in {page:#}")));
    for key in ["dest", "state", "pending", "last_error", "totals", "last_success_at", "recent"] {
        assert_eq!(found[key], asked[key], "{key}");
    }
    let metric = |metric: &str, more: &str| {
        let wanted = format!("{metric}{{node=\"{name}\"{more}}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {wanted}in\n{metrics}"))
    };
    for (name, key) in [
        ("inosync_entries_sent_total", "sent"),
        ("inosync_entries_deleted_total", "deleted"),
        ("inosync_bytes_sent_total", "bytes"),
        ("inosync_batches_total", "batches"),
        ("inosync_reconciles_total", "reconciles"),
        ("inosync_failures_total", "failures"),
        ("inosync_restarts_total", "restarts"),
    ] {
        assert_eq!(Some(metric(name, "")), asked["totals"][key].as_f64(), "{name}");
    }
    assert_eq!(Some(metric("inosync_pending_paths", "")), asked["pending"].as_f64());
    assert_eq!(metric("inosync_lag_seconds", "") > 0.0, !asked["lag"].is_null());
    let state = asked["state"]["is"].as_str().unwrap();
    assert_eq!(metric("inosync_node_state", &format!(",state=\"{state}\"")), 1.0);
    found
}

#[test]
fn status_page_and_metrics_agree_while_a_node_is_down_and_after_it_returns() {
    let mut site = Site::on(&[Local, Ssh]);
    let port = site.listen();
    site.start_mirrored();
    site.expect_state(Ssh, "idle");
    site.stop_servers();
    site.write("file", "while it is down");
    site.expect_status(Ssh, "failing", |status| status["state"]["lasts"] == true);
    site.expect_state(Local, "idle");
    let found = agreed(&site, port, Ssh);
    assert_eq!((&found["verdict"], &found["state"]["is"]), (&"failing".into(), &"backoff".into()), "{found:#}");
    let health = site.get(port, "/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.body.starts_with(&format!("{}: backoff: ", site.name(Ssh))), "{health:?}");
    assert_eq!(health.body.lines().count(), 1, "only what fails is told");
    assert_eq!(site.get(port, "/status.json").json()["verdict"], "failing");
    assert_eq!(site.metric(port, "inosync_verdict"), 2.0);
    assert_eq!(site.ask(&["status"]).code, Some(2));

    site.start_servers();
    site.expect_identical();
    site.expect_state(Ssh, "idle");
    let found = agreed(&site, port, Ssh);
    assert_eq!((&found["verdict"], &found["pending"]), (&"well".into(), &0.into()), "{found:#}");
    assert!(found["totals"]["failures"].as_u64() >= Some(1), "{found:#}");
    agreed(&site, port, Local);
    assert_eq!(site.get(port, "/healthz").body, "ok\n");
    assert_eq!(site.metric(port, "inosync_verdict"), 0.0);
}

#[test]
fn what_is_sent_is_in_the_history_which_outlives_a_start_anew() {
    let mut site = Site::on(&[Local]);
    let port = site.listen();
    site.start_mirrored();
    site.write("file", "x".repeat(100_000));
    site.expect_identical();
    let bytes = |site: &Site| {
        let history = site.get(port, "/history.json").json();
        let list = history["nodes"][0]["bytes"].as_array().cloned().unwrap_or_default();
        (list.iter().filter_map(Value::as_u64).sum::<u64>(), list.len())
    };
    assert!(wait::until(|| (bytes(&site).0 >= 100_000).then_some(())).is_some(), "it is not sampled");
    let (_, samples) = bytes(&site);
    // The source of a new start is read anew, and the counts begin at 0.
    site.config("watch_poll: 7");
    site.reload();
    assert!(wait::until(|| (bytes(&site).1 > samples).then_some(())).is_some(), "it is sampled no more");
    assert!((100_000..300_000).contains(&bytes(&site).0), "{:?}", bytes(&site));
    let history = site.get(port, "/history.json").json();
    let last = history["at"].as_array().unwrap().last().unwrap().clone();
    let later = site.get(port, &format!("/history.json?since={last}")).json();
    assert!(later["at"].as_array().unwrap().len() <= 1, "{later}");
}

#[test]
fn a_reload_opens_the_page_moves_and_closes_it() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let port = site.listen();
    assert!(site.reload().ends_with("reloaded: changed listen"));
    assert_eq!(site.get(port, "/healthz").status, 200);
    let mut open = connect(port).unwrap();
    let other = site.listen();
    site.reload();
    assert_eq!(site.get(other, "/healthz").status, 200);
    assert!(wait::until(|| connect(port).is_none().then_some(())).is_some(), "the old port is still served");
    assert_eq!(open.read(&mut [0; 1]).unwrap_or(0), 0, "what was open is closed");
    site.config(&format!("listen: \"0.0.0.0:{other}\""));
    site.reload();
    site.expect_log_line(&["WARN", "`listen` is not a loopback address", &format!("0.0.0.0:{other}")]);
    assert_eq!(site.get(other, "/healthz").status, 200);
    assert_eq!(request(other, "GET", "/", "evil.example").unwrap().status, 421, "it came by the loopback address");
    site.forget_config();
    site.reload();
    assert!(wait::until(|| connect(other).is_none().then_some(())).is_some(), "the page is still served");
    site.write("file", "after all that");
    site.expect_on_node(Local, "file", "after all that");
}

#[test]
fn an_address_in_use_is_told_once_and_mirroring_goes_on_until_it_is_free() {
    let mut site = Site::on(&[Local]);
    let port = free_port();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    site.config(&format!("listen: \"127.0.0.1:{port}\""));
    site.start_mirrored();
    site.expect_log_line(&["ERRO", "`listen` cannot be opened", "a port of its own", &port.to_string(), "in use"]);
    site.write("file", "without a page");
    site.expect_on_node(Local, "file", "without a page");
    drop(taken);
    assert_eq!(site.get(port, "/healthz").status, 200);
    let told = site.troubles().into_iter().filter(|line| line.contains("listen")).count();
    assert_eq!(told, 1, "{:?}", site.troubles());
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let mut site = Site::on(&[Local, Ssh]);
    let port = site.listen();
    site.config("on_synced: [\"/bin/true\"]");
    site.config("on_all_synced: [\"/bin/true\"]");
    site.start_mirrored();
    let text = site.get(port, "/metrics").body;
    assert!(text.contains("inosync_on_synced_fails") && text.contains("inosync_on_all_synced_fails"), "{text}");
    let Some(mut promtool) = promtool(&["check", "metrics"]) else { return };
    let mut promtool = promtool.stdin(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(promtool.wait().unwrap().success(), "{text}");
}
