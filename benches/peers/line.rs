//! A long line in front of a server: what passes it on delays it, counts it, and can be cut.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::trouble::{At, Outcome};

/// The most bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// How often a line that is cut is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A port of the loopback that leads to another one over a long line.
pub struct Line {
    pub port: u16,
    wire: Arc<Wire>,
}

/// What all connections over a line share.
#[derive(Default)]
struct Wire {
    /// Half a round trip, in microseconds: it may be changed between two runs.
    half: AtomicU64,
    /// What has passed, there and back.
    bytes: AtomicU64,
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// Relays to the port `to` until the program ends.
    pub fn start(to: u16) -> Outcome<Line> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at("loopback")?;
        let port = listener.local_addr().at("loopback")?.port();
        let wire = Arc::<Wire>::default();
        let shared = Arc::clone(&wire);
        thread::spawn(move || serve(listener, port, to, &shared));
        Ok(Line { port, wire })
    }

    /// Sets the round trip.
    pub fn set(&self, round_trip: Duration) {
        let half = u64::try_from(round_trip.as_micros() / 2).unwrap_or(0);
        self.wire.half.store(half, Ordering::Relaxed);
    }

    /// All bytes so far, there and back.
    pub fn bytes(&self) -> u64 {
        self.wire.bytes.load(Ordering::Relaxed)
    }

    /// Closes all connections. None is accepted until [`Line::mend`], as by a machine on which nobody listens.
    pub fn cut(&self) {
        self.wire.is_cut.store(true, Ordering::SeqCst);
        // Whoever accepts connections sees it at the next one.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        for stream in self.wire.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.wire.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Wire {
    fn half(&self) -> Duration {
        Duration::from_micros(self.half.load(Ordering::Relaxed))
    }

    /// Remembers a connection, unless the line is cut.
    fn admit(&self, near: &TcpStream) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        // Those that are closed have no other end any more.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(near.try_clone()?);
        Ok(())
    }
}

/// Accepts connections while the line is not cut.
fn serve(mut listener: TcpListener, port: u16, to: u16, wire: &Arc<Wire>) {
    loop {
        for near in listener.incoming().flatten() {
            // One that cannot be relayed is closed, which its client reports.
            let _ = relay(&near, to, wire);
            if wire.is_cut.load(Ordering::SeqCst) {
                break;
            }
        }
        drop(listener);
        listener = loop {
            thread::sleep(LOOK);
            let is_mended = !wire.is_cut.load(Ordering::SeqCst);
            if let Some(Ok(again)) = is_mended.then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
                break again;
            }
        };
    }
}

fn relay(near: &TcpStream, to: u16, wire: &Arc<Wire>) -> io::Result<()> {
    wire.admit(near)?;
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    // The connection is made in a round trip, before its first byte goes.
    let made = Instant::now() + 2 * wire.half();
    for (from, to, not_before) in [(near, &far, made), (&far, near, Instant::now())] {
        from.set_nodelay(true)?;
        let (sent, received) = mpsc::channel();
        let (mut from, to) = (from.try_clone()?, to.try_clone()?);
        let wire = Arc::clone(wire);
        thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                wire.bytes.fetch_add(length as u64, Ordering::Relaxed);
                let arrives = Instant::now().max(not_before) + wire.half();
                let part = buffer.get(..length).unwrap_or_default().to_vec();
                if sent.send((arrives, part)).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Read);
        });
        thread::spawn(move || pass_on(&received, to));
    }
    Ok(())
}

/// Writes each part when it arrives. Either end may close; the other one learns of it.
fn pass_on(parts: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (arrives, part) in parts {
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        if to.write_all(&part).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
