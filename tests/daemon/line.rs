//! Lines to nodes that die, come back, are slow, or lead nowhere: what is dead is soon known to be, and nothing else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Node, Relay, Rsyncd, Site, Ssh, signal, wait};

/// How soon a node that does not answer is said to be failing, where it answers soon otherwise.
const NOTICED: Duration = Duration::from_secs(30);
/// rsync itself notices it then.
const NOTICED_BY_RSYNC: Duration = Duration::from_secs(60);
/// So many times what a greeting took the next one may take.
const SLOWER: u32 = 3;
/// No timeout has passed.
const SOON: Duration = Duration::from_secs(8);

/// A site whose nodes are behind lines, warm.
fn behind_lines() -> (Site, [Relay; 2]) {
    let mut site = Site::on(&[Ssh, Rsyncd]);
    let relays = [Ssh, Rsyncd].map(|node| site.relay(node));
    site.start_warm();
    (site, relays)
}

/// How soon it is noticed here: a node whose greeting took long, as on a busy machine, is given more time for the next one.
fn noticed(site: &Site) -> Duration {
    let took = |line: &String| line.rsplit_once("took: ")?.1.strip_suffix(" ms")?.parse::<u64>().ok();
    let reconciled = site.log_lines().into_iter().filter(|line| line.contains("reconciled"));
    let slowest = Duration::from_millis(reconciled.filter_map(|line| took(&line)).max().unwrap_or_default());
    (NOTICED + slowest * SLOWER).min(NOTICED_BY_RSYNC - Duration::from_secs(2))
}

/// The lines of the log that say this of the node.
fn told(site: &Site, node: Node, what: &str) -> usize {
    let name = site.shown(node);
    site.log_lines().iter().filter(|line| line.contains(what) && line.contains(&name)).count()
}

#[test]
fn a_line_that_is_cut_is_noticed_and_told_once_and_its_return_is_noticed_at_once() {
    let (site, relays) = behind_lines();
    let noticed = noticed(&site);
    relays.iter().for_each(Relay::cut);
    site.write("file", "during");
    let all_fail = || [Ssh, Rsyncd].iter().all(|&node| told(&site, node, "node failing") > 0).then_some(());
    if wait::until_within(noticed, all_fail).is_none() {
        site.fail("not noticed");
    }
    assert_eq!(site.ask(&["status"]).code, Some(2));
    relays.iter().for_each(Relay::mend);
    site.live().for_each(|node| site.expect_within(SOON, node, "file", "during"));
    site.write("file", "after");
    site.live().for_each(|node| site.expect_within(SOON, node, "file", "after"));
    for node in [Ssh, Rsyncd] {
        let said = ["node failing", "node recovered"].map(|what| told(&site, node, what));
        assert_eq!(said, [1, 1], "{node}: {:?}", site.log_lines());
        site.expect_waiting(node);
    }
}

#[test]
fn connections_that_died_without_a_word_cost_one_change_a_moment_and_the_next_one_nothing() {
    let (site, relays) = behind_lines();
    relays.iter().for_each(Relay::forget);
    site.write("first", "x");
    // The 10 s for which a run that waited may do nothing.
    site.live().for_each(|node| site.expect_within(Duration::from_secs(20), node, "first", "x"));
    for next in ["second", "third"] {
        site.write(next, "x");
        site.live().for_each(|node| site.expect_within(SOON, node, next, "x"));
    }
    assert_eq!(told(&site, Ssh, "a session over it does not answer"), 1, "{:?}", site.log_lines());
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_host_that_swallows_requests_for_connections_does_not_answer() {
    let mut site = Site::on(&[Rsyncd]);
    let swallows = Swallows::start();
    site.pass_by(Rsyncd, swallows.address.port());
    site.start();
    let fails = || (told(&site, Rsyncd, "the node does not answer") > 0).then_some(());
    assert!(wait::until_within(NOTICED, fails).is_some(), "{:?}", site.log_lines());
}

#[test]
fn a_slow_line_is_not_taken_for_a_dead_one() {
    let (site, relays) = behind_lines();
    // 600 KiB that go by what waits at each node: longer than one that does nothing may take.
    relays.iter().for_each(|relay| relay.slow_down(40_000));
    for file in 0..10 {
        let noise: String = (0..60_000).map(|_| fastrand::alphanumeric()).collect();
        site.write(format!("file {file}"), noise);
    }
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
    assert_eq!(site.live().map(|node| told(&site, node, "hung")).sum::<usize>(), 0, "{:?}", site.log_lines());
}

/// The node's disk hangs, or its machine does for a while: the kernel there acknowledges all the same.
#[test]
fn a_receiver_that_stands_still_for_a_while_is_not_taken_for_dead() {
    let (site, relays) = behind_lines();
    relays.iter().for_each(|relay| relay.slow_down(1_000_000));
    site.write("large", std::iter::repeat_with(|| fastrand::u8(..)).take(4 << 20).collect::<Vec<u8>>());
    let receives = |node: Node| {
        let partial = |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".large.");
        fs::read_dir(site.mirror(node)).is_ok_and(|entries| entries.flatten().any(partial))
    };
    assert!(wait::until(|| site.live().all(receives).then_some(())).is_some(), "the transfer does not begin");
    let sending = site.own_rsyncs();
    let frozen: Vec<u32> = site.live().flat_map(|node| site.far_side(node)).collect();
    frozen.iter().for_each(|&pid| signal(pid, Signal::STOP));
    let failed = wait::until_within(Duration::from_secs(25), || site.troubles().first().cloned());
    let left = site.own_rsyncs();
    frozen.iter().for_each(|&pid| signal(pid, Signal::CONT));
    assert_eq!(failed, None);
    assert!(sending.iter().all(|pid| left.contains(pid)), "{sending:?} were ended: {:?}", site.log_lines());
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

/// The node's disk is busy: it has been sent all of many small files, and writes on.
#[test]
fn a_receiver_that_is_slow_with_small_files_is_not_taken_for_dead() {
    let (site, relays) = behind_lines();
    relays.iter().for_each(|relay| relay.slow_down(10_000));
    // One batch of all: another one might wait for its first answer while the node stands still.
    let many = site.beside("many");
    fs::create_dir(&many).unwrap();
    (0..400).for_each(|number| fs::write(many.join(format!("small {number}")), "x".repeat(50)).unwrap());
    fs::rename(&many, site.at("many")).unwrap();
    let receives = |node: Node| {
        let is_small = |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"small ");
        fs::read_dir(site.mirror(node).join("many")).is_ok_and(|entries| entries.flatten().any(is_small))
    };
    assert!(wait::until(|| site.live().all(receives).then_some(())).is_some(), "the transfer does not begin");
    let frozen: Vec<u32> = site.live().flat_map(|node| site.far_side(node)).collect();
    frozen.iter().for_each(|&pid| signal(pid, Signal::STOP));
    // Longer than what waits at the node may be silent that has not answered.
    let ended = || site.log_lines().into_iter().find(|line| line.contains("hung") || line.contains(" WARN "));
    let ended = wait::until_within(Duration::from_secs(15), ended);
    frozen.iter().for_each(|&pid| signal(pid, Signal::CONT));
    assert_eq!(ended, None);
    relays.iter().for_each(|relay| relay.slow_down(1_000_000));
    site.expect_identical();
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

/// Listens, and has no room for another connection: the kernel drops all requests for one.
struct Swallows {
    address: SocketAddr,
    _kept: (tokio::runtime::Runtime, tokio::net::TcpListener, Vec<TcpStream>),
}

impl Swallows {
    fn start() -> Swallows {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let guard = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = socket.listen(0).unwrap();
        drop(guard);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let connections = std::iter::from_fn(connect).collect();
        Swallows { address, _kept: (runtime, listener, connections) }
    }
}
