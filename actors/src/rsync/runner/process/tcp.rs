//! The TCP connections of a process and of all that it started, as the kernel has them: whether the other end
//! acknowledges what is sent to it. Reads /proc alone (proc(5)), as far as it may; what follows from it is for others.
//!
//! A proxy, or a server that stands still, acknowledges too: what is seen here proves that a line is dead, never that
//! it is well.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The age up to which the table of this host's connections is used: all runs that are looked at share it.
const FRESH: Duration = Duration::from_millis(900);
/// With very many connections it takes much of a processor to read: it is read again after so many times that time.
const SPARING: u32 = 100;
/// But not later than this: what is in it counts as of now.
const OLDEST: Duration = Duration::from_secs(5);
/// Repeats in a row that a single lost packet does not explain.
const REPEATS: u32 = 2;
/// The state of a socket that only waits for connections (`TCP_LISTEN`).
const LISTENS: &str = "0A";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TcpConnection {
    /// The inode of its socket.
    socket: u64,
    /// Bytes that the other end has not acknowledged.
    unacknowledged: u64,
    /// Times in a row that the kernel has sent the same without an answer: data, the request for a connection, or the
    /// question whether the other end takes more. One that is slow, or takes nothing for long, answers.
    repeats: u32,
}

impl TcpConnection {
    fn moved_since(&self, before: &TcpConnection) -> bool {
        let waiting = self.unacknowledged.min(before.unacknowledged);
        self.socket == before.socket && waiting > 0 && self.unacknowledged != before.unacknowledged
    }
}

/// The connections of some processes at one moment; none where there are none, or none can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TcpConnections(Vec<TcpConnection>);

impl TcpConnections {
    /// The connections of these processes, and of all that they started.
    pub(crate) fn of(processes: impl IntoIterator<Item = i32>) -> TcpConnections {
        let mut sockets: Vec<u64> = processes.into_iter().flat_map(with_descendants).flat_map(sockets).collect();
        // What a process hands to those that it starts is one socket.
        sockets.sort_unstable();
        sockets.dedup();
        if sockets.is_empty() { TcpConnections::default() } else { TcpConnections(connections(&sockets)) }
    }

    #[cfg(test)]
    pub(crate) fn of_one(unacknowledged: u64, repeats: u32) -> TcpConnections {
        TcpConnections(vec![TcpConnection { socket: 1, unacknowledged, repeats }])
    }

    /// Tells if something is sent again and again, and the other end acknowledges nothing.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.0.iter().any(|connection| connection.repeats >= REPEATS)
    }

    /// Tells if the other end takes what was waiting for it then, and has not taken all. Little that is sent and taken
    /// in between is no sign of life: over a shared connection, others send too.
    pub(crate) fn moved_since(&self, before: &TcpConnections) -> bool {
        !self.is_unanswered() && self.0.iter().any(|now| before.0.iter().any(|before| now.moved_since(before)))
    }
}

/// A process, its children, theirs, and so on.
fn with_descendants(process: i32) -> Vec<i32> {
    let mut found = vec![process];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_ascii_whitespace().filter_map(|number| number.parse::<i32>().ok()));
        at += 1;
    }
    found
}

/// The inodes of the sockets that a process has open.
fn sockets(process: i32) -> Vec<u64> {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let named = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    open.flatten().filter_map(named).collect()
}

/// The TCP connections among these sockets.
fn connections(sockets: &[u64]) -> Vec<TcpConnection> {
    static LATEST: Mutex<Option<TcpTable>> = Mutex::new(None);
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let table = match latest.take().filter(|table| now < table.until) {
        Some(table) => table,
        None => TcpTable::read(now),
    };
    let table = latest.insert(table);
    sockets.iter().filter_map(|socket| table.connections.get(socket).copied()).collect()
}

/// All TCP connections of this host, by their inodes.
struct TcpTable {
    connections: HashMap<u64, TcpConnection>,
    /// The end of its use.
    until: Instant,
}

impl TcpTable {
    fn read(now: Instant) -> TcpTable {
        let began = processor_time();
        let texts =
            ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let connections = texts.iter().flat_map(|text| text.lines()).filter_map(parse).collect();
        TcpTable { connections, until: now + good_for(processor_time().saturating_sub(began)) }
    }
}

/// The time for which a table is used that cost so much of a processor.
fn good_for(cost: Duration) -> Duration {
    FRESH.max(cost * SPARING).min(OLDEST)
}

/// The time that this thread has worked. What it waits for a processor on a busy machine costs nobody anything.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// A line of the kernel's table, and the inode of the socket.
fn parse(line: &str) -> Option<(u64, TcpConnection)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, _, _, state, queues, _, resent, _, probes, inode, ..] = fields[..] else { return None };
    let (unacknowledged, _) = queues.split_once(':')?;
    let hex = |number: &str| u64::from_str_radix(number, 16).ok();
    if state == LISTENS {
        return None;
    }
    let repeats = u32::from_str_radix(resent, 16).ok()?.max(probes.parse().ok()?);
    let socket = inode.parse().ok()?;
    Some((socket, TcpConnection { socket, unacknowledged: hex(unacknowledged)?, repeats }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use rustix::process::{Pid, Signal};
    use tokio::net::TcpSocket;

    use super::*;

    #[test]
    fn a_connection_says_how_often_it_sent_the_same_in_vain() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(parse(head), None);
        let rest = "1 0000000061eac9ac 100 0 0 10 0";
        for (fields, expected) in [
            ("01 00000000:00000000 02:000000F0 00000000     0        0 1588", Some((0, 0))),
            // Data is sent again; a connection is asked for; the other end takes nothing, and does not say so either.
            ("01 0000002C:00000001 01:000000F0 00000005     0        0 1588", Some((44, 5))),
            ("02 00000001:00000000 01:000000F0 00000003     0        0 1588", Some((1, 3))),
            ("01 00001000:00000000 04:000000F0 00000000  1000        4 1588", Some((4096, 4))),
            ("0A 00000000:00000005 00:00000000 00000000     0        0 1588", None),
        ] {
            let text = format!("   7: 0100007F:9C41 0100007F:0016 {fields} {rest}");
            let expected = expected
                .map(|(unacknowledged, repeats)| (1588, TcpConnection { socket: 1588, unacknowledged, repeats }));
            assert_eq!(parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn the_table_is_read_again_before_it_is_old_however_much_it_costs() {
        for (millis, used_for) in [(0, 900), (5, 900), (20, 2000), (49, 4900), (51, 5000), (5000, 5000)] {
            assert_eq!(good_for(Duration::from_millis(millis)), Duration::from_millis(used_for), "{millis}");
        }
    }

    #[test]
    fn a_wait_is_not_taken_for_work() {
        let before = processor_time();
        std::thread::sleep(Duration::from_millis(50));
        assert!(processor_time() - before < Duration::from_millis(25));
    }

    #[test]
    fn only_what_is_sent_again_and_again_is_unanswered() {
        for (unacknowledged, repeats, expected) in
            [(0, 0, false), (9, 0, false), (9, 1, false), (9, 2, true), (0, 3, true)]
        {
            let line = TcpConnections::of_one(unacknowledged, repeats);
            assert_eq!(line.is_unanswered(), expected, "{unacknowledged} {repeats}");
        }
    }

    #[test]
    fn a_line_moves_while_the_other_end_takes_something() {
        let one = TcpConnections::of_one;
        let another = |unacknowledged| TcpConnections(vec![TcpConnection { socket: 2, unacknowledged, repeats: 0 }]);
        for (before, now, moved) in [
            (one(100, 0), one(100, 0), false),
            (one(100, 0), one(60, 0), true),
            (one(100, 0), one(160, 0), true),
            // What is only put behind what nobody takes.
            (one(100, 0), one(200, 4), false),
            // A packet that was lost, and the same when it has arrived.
            (one(100, 0), one(100, 1), false),
            (one(100, 1), one(100, 0), false),
            // A request for another session: seen before it is acknowledged, and after.
            (one(0, 0), one(100, 0), false),
            (one(100, 0), one(0, 0), false),
            // A table of the kernel that changed while it was read has not all of it.
            (one(100, 0), TcpConnections::default(), false),
            (TcpConnections::default(), one(100, 0), false),
            (one(100, 0), another(60), false),
        ] {
            assert_eq!(now.moved_since(&before), moved, "{before:?} {now:?}");
        }
    }

    #[test]
    fn the_connections_of_a_process_are_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_far, _) = listener.accept().unwrap();
        let near = File::from(OwnedFd::from(near));
        let idle = TcpConnection { socket: near.metadata().unwrap().ino(), unacknowledged: 0, repeats: 0 };
        let begun = Instant::now();
        loop {
            let found = TcpConnections::of([std::process::id() as i32]);
            if found.0.contains(&idle) {
                break;
            }
            // The connections of other tests come and go while the table is read, which then has not all of it.
            assert!(begun.elapsed() < Duration::from_secs(10), "{found:?}");
        }
        assert_eq!(TcpConnections::of([0]), TcpConnections::default());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_answers_is_seen_to_be_unanswered() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        // It has no room for another connection: the kernel drops all requests for one.
        let _listener = socket.listen(0).unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let _all: Vec<TcpStream> = std::iter::from_fn(connect).collect();
        let mut waits = Command::new("sh");
        waits.args(["-c", &format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}'; true", address.port())]);
        let mut waits = waits.spawn().unwrap();
        let begun = Instant::now();
        while !TcpConnections::of([waits.id() as i32]).is_unanswered() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", TcpConnections::of([waits.id() as i32]));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        with_descendants(waits.id() as i32).into_iter().rev().for_each(|process| {
            let _ = rustix::process::kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
        });
        waits.wait().unwrap();
    }
}
