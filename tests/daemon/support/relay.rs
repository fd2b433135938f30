//! A line to a node that can be cut, be slow, and forget its connections, as a firewall does: whoever is at an end of it is
//! told nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::server;
use super::site::{Node, Site};

/// How much passes at a time.
const PIECE: usize = 4 * 1024;

/// The line to one node. Connections are passed on until the end of the test.
pub struct Relay(Arc<Line>);

#[derive(Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct State {
    cut: bool,
    /// How often the connections were forgotten.
    era: u32,
    /// How long a piece takes, during which no other one passes.
    delay: Duration,
    /// How long a piece is on its way, beside others.
    way: Duration,
}

impl Relay {
    /// From now on nothing passes.
    pub fn cut(&self) {
        self.0.set(|state| state.cut = true);
    }

    /// Everything passes again, also what was sent meanwhile.
    pub fn mend(&self) {
        self.0.set(|state| state.cut = false);
    }

    /// What is sent over the connections that are open now arrives nowhere. New ones work.
    pub fn forget(&self) {
        self.0.set(|state| state.era += 1);
    }

    /// So many bytes pass in a second, in each direction of each connection.
    pub fn slow_down(&self, bytes: u32) {
        self.0.set(|state| state.delay = Duration::from_secs(1) * PIECE as u32 / bytes);
    }

    /// Connections that are made from now on have this round trip.
    pub fn lengthen(&self, round_trip: Duration) {
        self.0.set(|state| state.way = round_trip / 2);
    }
}

impl Site {
    /// Puts a line between the daemon, from its next start on, and this node, whose server runs.
    pub fn relay(&mut self, node: Node) -> Relay {
        let (port, to) = (server::free_port(), self.server_port(node));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody listens there");
        let line = Arc::<Line>::default();
        let relay = Relay(Arc::clone(&line));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let line = Arc::clone(&line);
                thread::spawn(move || line.serve(&client, to));
            }
        });
        self.pass_by(node, port);
        relay
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits while nothing passes. How it is then.
    fn passes(&self) -> State {
        let state = self.changed.wait_while(self.state(), |state| state.cut);
        *state.unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, client: &TcpStream, to: u16) {
        let State { era, way, .. } = *self.state();
        self.passes();
        // Where nobody listens, the client finds its connection closed.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { return };
        for (from, to) in [(client, &server), (&server, client)] {
            let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor is free");
            let (line, from, to) = (Arc::clone(self), clone(from), clone(to));
            match way.is_zero() {
                true => thread::spawn(move || line.pass(from, to, era)),
                false => thread::spawn(move || travel(from, to, way)),
            };
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, era: u32) {
        let mut buffer = [0; PIECE];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let state = self.passes();
            thread::sleep(state.delay);
            if state.era != era {
                if read > 0 {
                    continue;
                }
                // Nor does the other side hear of the end.
                std::mem::forget(to);
                return;
            }
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

/// Passes on all of one direction, each piece when it has been on its way for so long.
fn travel(mut from: TcpStream, mut to: TcpStream, way: Duration) {
    let (sent, received) = mpsc::channel::<(Instant, Vec<u8>)>();
    let arrivals = thread::spawn(move || {
        for (at, piece) in received {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if sent.send((Instant::now() + way, buffer[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(sent);
    let _ = arrivals.join();
    let _ = from.shutdown(Shutdown::Read);
}
