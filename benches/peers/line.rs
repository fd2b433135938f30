//! A long line in front of the ssh server: a relay that delays what it passes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::trouble::{At, Outcome};

/// The most bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// A port of the loopback that leads to another one over a long line.
pub struct Line {
    pub port: u16,
    /// Half a round trip, in microseconds: it may be changed between two runs.
    half: Arc<AtomicU64>,
}

impl Line {
    /// Relays to the port `to` until the program ends.
    pub fn start(to: u16) -> Outcome<Line> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at("loopback")?;
        let port = listener.local_addr().at("loopback")?.port();
        let half = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&half);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // One that cannot be relayed is closed, which its client reports.
                let _ = relay(&near, to, &delay);
            }
        });
        Ok(Line { port, half })
    }

    /// Sets the round trip.
    pub fn set(&self, round_trip: Duration) {
        let half = u64::try_from(round_trip.as_micros() / 2).unwrap_or(0);
        self.half.store(half, Ordering::Relaxed);
    }
}

fn relay(near: &TcpStream, to: u16, half: &Arc<AtomicU64>) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    // The connection is made in a round trip, before its first byte goes.
    let made = Instant::now() + Duration::from_micros(2 * half.load(Ordering::Relaxed));
    for (from, to, not_before) in [(near, &far, made), (&far, near, Instant::now())] {
        from.set_nodelay(true)?;
        let (sent, received) = mpsc::channel();
        let (mut from, to) = (from.try_clone()?, to.try_clone()?);
        let half = Arc::clone(half);
        thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let arrives = Instant::now().max(not_before) + Duration::from_micros(half.load(Ordering::Relaxed));
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
