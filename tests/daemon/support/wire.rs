//! What goes over the wire to a node, counted on its way: by a stand-in for the remote shell that runs the command on
//! this machine, or by a proxy in front of the rsync daemon.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::site::{Node, Site};
use super::{program, server, wait};

/// How long nothing may go over the wire before it is at rest.
const REST: Duration = Duration::from_millis(500);

/// The counter of a wire, for all its connections together.
pub struct Wire {
    bytes: Arc<AtomicU64>,
    _tap: Tap,
}

/// What counts, kept for as long as it has to.
enum Tap {
    /// The test's own ends of the pipes to which the stand-in copies what it passes on.
    Pipes {
        _ends: [File; 2],
    },
    Proxy(Proxy),
}

impl Wire {
    /// The bytes that went over it so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Waits until nothing went over it for a while.
    fn expect_rest(&self) {
        let mut last = (self.bytes(), Instant::now());
        let rested = wait::until(|| {
            let now = self.bytes();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() > REST).then_some(())
        });
        assert!(rested.is_some(), "the wire does not come to rest");
    }
}

impl Site {
    /// Counts what goes to the node behind ssh, which from the next start on is reached by a stand-in for ssh: the sshd
    /// of the site is not needed. The key `extra` is taken by it, with these parameters beside it.
    pub fn count_ssh(&mut self, extra: &str) -> Wire {
        let bytes = Arc::<AtomicU64>::default();
        let ends = ["up", "down"].map(|name| tap(&self.beside(name), &bytes));
        let shell = self.beside("counting-shell");
        let [up, down] = ["up", "down"].map(|name| self.beside(name).display().to_string());
        // Unlike a pipeline, this ends when the command ends, as ssh does, and as the command does.
        let script = format!(
            "#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done; shift\nexec 3<&0\n\
             sh -c \"$*\" < <(exec tee {up} <&3) > >(exec tee {down})\n"
        );
        program(&shell, &script);
        self.config(&format!("extra: {:?}", format!("--rsh={} {extra}", shell.display())));
        Wire { bytes, _tap: Tap::Pipes { _ends: ends } }
    }

    /// Counts what goes to the rsync daemon, which runs, from the next start on.
    pub fn count_rsyncd(&mut self) -> Wire {
        let bytes = Arc::<AtomicU64>::default();
        let proxy = Proxy::start(self.rsyncd_port(), &bytes);
        self.pass_by(Node::Rsyncd, proxy.port);
        Wire { bytes, _tap: Tap::Proxy(proxy) }
    }

    /// The bytes that it takes to mirror this change, from one moment of rest to the next. There is one node, and the
    /// daemon was started with `-v`.
    #[track_caller]
    pub fn cost(&self, wire: &Wire, change: impl FnOnce()) -> u64 {
        self.expect_rest(wire);
        let before = wire.bytes();
        change();
        self.expect_rest(wire);
        wire.bytes() - before
    }

    /// Nothing is to be sent, what waits at the node is connected, and nothing goes over the wire.
    #[track_caller]
    pub fn expect_rest(&self, wire: &Wire) {
        self.expect_identical();
        self.expect_only_waiting();
        wire.expect_rest();
    }

    /// Makes the mirror on this node by hand as the source is, which takes no room for holes and no wire.
    pub fn copy_to(&self, node: Node) {
        let mut copy = std::process::Command::new("cp");
        copy.args(["-a", "--sparse=always", "-T"]).arg(self.source()).arg(self.mirror(node));
        let status = copy.status().expect("cp runs");
        assert!(status.success(), "{copy:?}: {status}");
    }
}

/// Makes a pipe of this name and counts what is written to it, for as long as it is open anywhere.
fn tap(path: &Path, bytes: &Arc<AtomicU64>) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory of the site is writable");
    let end = OpenOptions::new().read(true).write(true).open(path).expect("the pipe is ours");
    let (mut pipe, bytes) = (File::open(path).expect("the pipe is ours"), Arc::clone(bytes));
    thread::spawn(move || pass(&mut pipe, &mut io::sink(), &bytes));
    end
}

/// Passes on what comes and counts it, to the end of either side.
fn pass(from: &mut impl Read, to: &mut impl Write, bytes: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// Passes on connections to a port of this machine, until it is dropped.
struct Proxy {
    port: u16,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn start(to: u16, bytes: &Arc<AtomicU64>) -> Self {
        let port = server::free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody listens there");
        let (over, bytes) = (Arc::<AtomicBool>::default(), Arc::clone(bytes));
        let proxy = Proxy { port, over: Arc::clone(&over) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // Where nobody listens, the client finds its connection closed.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) {
                    join(&client, &server, &bytes);
                    join(&server, &client, &bytes);
                }
            }
        });
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Passes on, beside the test, what comes from one connection to the other.
fn join(from: &TcpStream, to: &TcpStream, bytes: &Arc<AtomicU64>) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor is free");
    let (mut from, mut to, bytes) = (clone(from), clone(to), Arc::clone(bytes));
    thread::spawn(move || {
        pass(&mut from, &mut to, &bytes);
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}
