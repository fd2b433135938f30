//! `inosync overview`: one page and one scrape for all sites of a machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::alerts::promtool;
use crate::json::faults_of;
use crate::support::http::{Replied, reply, request};
use crate::support::{Dead, Local, Site, free_port, signal, wait};

/// A process that serves the overview.
struct Overview(Child);

impl Drop for Overview {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Overview {
    fn start(mut command: Command) -> Self {
        Overview(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Ends it as a service manager does. Returns the exit code and what was said.
    fn stop(mut self) -> (Option<i32>, String) {
        signal(self.0.id(), Signal::TERM);
        let code = self.0.wait().unwrap().code();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

#[track_caller]
fn get(port: u16, path: &str) -> Replied {
    let replied = wait::until(|| request(port, "GET", path, &format!("127.0.0.1:{port}")));
    replied.unwrap_or_else(|| panic!("nothing is served at port {port}"))
}

/// Gets a path at a Unix socket, for a host of any name.
fn get_at(socket: &std::path::Path, path: &str, host: &str) -> Option<Replied> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    reply(&mut stream)
}

/// Two sites of one machine: one that is well, and one with a node that is down.
fn two_sites() -> (Site, Site) {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.expect_state(Local, "idle");
    let mut other = Site::on(&[Local, Dead]);
    symlink(site.beside("run"), other.beside("run")).unwrap();
    other.start();
    other.expect_status(Dead, "failing", |status| status["state"]["lasts"] == true);
    (site, other)
}

/// The sites of `/status.json`, by their names.
fn told(port: u16) -> BTreeMap<String, Value> {
    let all = get(port, "/status.json").json();
    let sites = all["sites"].as_array().unwrap().clone();
    sites.into_iter().map(|site| (site["site"].as_str().unwrap().to_owned(), site)).collect()
}

#[test]
fn one_page_and_one_scrape_tell_of_all_sites_also_while_one_hangs() {
    let (site, other) = two_sites();
    fs::copy(site.config_file(), site.beside("idle.ron")).unwrap();
    let port = free_port();
    let overview = Overview::start(site.command(&["overview", "--listen", &format!("127.0.0.1:{port}")]));
    let page = get(port, "/");
    assert!(page.status == 200 && page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
    assert!(!page.body.contains("http://") && !page.body.contains("https://"), "no other address is in the page");
    assert_eq!(request(port, "GET", "/", "evil.example").unwrap().status, 421);
    assert_eq!(get(port, "/history.json").status, 404);

    let faults = faults_of(&get(port, "/status.json").json(), "overview");
    assert!(faults.is_empty(), "{faults:?}");
    let others_name = other.config_file().display().to_string();
    let verdicts = |told: &BTreeMap<String, Value>| {
        ["site", "idle", &others_name].map(|name| told[name]["verdict"].as_str().unwrap().to_owned())
    };
    // A busy machine may keep one of them from answering in time.
    let expected = ["well", "unknown", "failing"];
    let are_so = wait::until(|| (verdicts(&told(port)) == expected).then_some(()));
    assert!(are_so.is_some(), "{:?}", verdicts(&told(port)));
    let health = get(port, "/healthz");
    assert_eq!(health.status, 503);
    assert!(health.body.contains("idle: not running\n"), "{health:?}");
    assert!(health.body.contains(&format!("{others_name}: {}: backoff: ", other.name(Dead))), "{health:?}");

    site.write("file", "counted");
    site.expect_identical();
    let count = "inosync_delivery_seconds_count{node=\"local\",site=\"site\"} ";
    let counted = wait::until(|| {
        let text = get(port, "/metrics").body;
        let value = text.lines().find_map(|line| line.strip_prefix(count))?.parse::<f64>().ok()?;
        (value >= 1.0).then_some(text)
    });
    let text = counted.unwrap_or_else(|| panic!("no {count}in {}", get(port, "/metrics").body));
    assert!(text.contains("inosync_site_up{site=\"idle\"} 0\n"), "{text}");
    assert!(
        text.contains(&format!("inosync_node_verdict{{node=\"{}\",site=\"{others_name}\"}} 2\n", other.name(Dead))),
        "{text}"
    );
    assert!(text.contains("process_resident_memory_bytes{site=\"site\"} "), "{text}");
    if let Some(mut promtool) = promtool(&["check", "metrics"]) {
        let mut promtool = promtool.stdin(Stdio::piped()).spawn().unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(promtool.wait().unwrap().success(), "{text}");
    }

    other.daemon().signal(Signal::STOP);
    let soon = wait::until(|| {
        let asked = Instant::now();
        let hangs = told(port);
        (hangs["site"]["verdict"] == "well" && asked.elapsed() < Duration::from_secs(3)).then_some(hangs)
    });
    other.daemon().signal(Signal::CONT);
    let hangs = soon.expect("the other one is told, and soon");
    assert_eq!(hangs[&others_name]["answer"]["is"], "no_answer", "{hangs:#?}");
    assert!(wait::until(|| (told(port)[&others_name]["answer"]["is"] == "running").then_some(())).is_some());
    let (code, said) = overview.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_proxy_reaches_the_overview_by_a_unix_socket_under_any_name() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let socket = site.beside("overview.sock");
    let path = socket.display().to_string();
    let overview = Overview::start(site.command(&["overview", "--socket", &path]));
    let served = wait::until(|| get_at(&socket, "/status.json", "status.example"));
    assert_eq!(served.unwrap().json()["sites"][0]["site"], "site");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let second = site.ask_all(&["overview", "--socket", &path]);
    assert_eq!(second.code, Some(69), "{second:?}");
    assert!(second.stderr.contains("end the process that serves there"), "{second:?}");
    assert_eq!(get_at(&socket, "/metrics", "status.example").unwrap().status, 200);
    // What a killed process leaves is replaced, and an end leaves nothing.
    drop(overview);
    assert!(socket.exists());
    let overview = Overview::start(site.command(&["overview", "--socket", &path]));
    assert!(wait::until(|| get_at(&socket, "/healthz", "x")).is_some());
    assert_eq!(overview.stop().0, Some(0));
    assert!(!socket.exists());
    fs::write(&socket, "a file of somebody").unwrap();
    let refused = site.ask_all(&["overview", "--socket", &path]);
    assert_eq!(refused.code, Some(69), "{refused:?}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file of somebody");
}

#[test]
fn the_service_manager_may_pass_open_sockets() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = site.command(&[]);
    let mut launcher = Command::new("/bin/sh");
    let script = "exec 3<&0; exec 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" overview";
    launcher.args(["-c", script, env!("CARGO_BIN_EXE_inosync")]).current_dir("/");
    launcher.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    launcher.stdin(std::os::fd::OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::piped());
    let overview = Overview(launcher.spawn().unwrap());
    assert_eq!(told(port)["site"]["verdict"], "well");
    assert_eq!(overview.stop().0, Some(0));
}

#[test]
fn without_a_place_to_serve_at_nothing_starts() {
    let site = Site::on(&[Local]);
    for (arguments, code, said) in [
        (&["overview"][..], 64, "write --listen 127.0.0.1:9876 or --socket PATH"),
        (&["overview", "--listen", "9876"], 64, "write an IP address and a port"),
        (&["overview", "--listen", "127.0.0.1:9876", "--socket", "/x"], 64, "cannot be used with"),
        (&["-c", "site", "overview", "--listen", "127.0.0.1:9876"], 64, "leave -c out"),
        (&["overview", "--socket", "/no/such/dir/socket"], 69, "create the directory"),
        (&["overview", "--listen", "192.0.2.1:9876"], 69, "name an address of this machine"),
    ] {
        let asked = site.ask_all(arguments);
        assert_eq!(asked.code, Some(code), "{asked:?}");
        assert!(asked.stderr.contains(said), "{said}: {asked:?}");
    }
}
