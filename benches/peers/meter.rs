//! A relay in front of the ssh server that counts the bytes on the wire, as they are: encrypted, and in both directions.
//! It is the same for all contestants.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::trouble::{At, Outcome};

/// What one read takes at most.
const BUFFER: usize = 256 * 1024;
/// Nothing more is to come when nothing came for so long: more than a daemon of the comparison collects changes.
const REST: Duration = Duration::from_millis(2500);
/// How long it may take until then.
const REST_AT_LATEST: Duration = Duration::from_secs(60);

/// A port of the loopback that leads to another one.
pub struct Meter {
    pub port: u16,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// Relays to the port `to` until the program ends.
    pub fn start(to: u16) -> Outcome<Meter> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).at("loopback")?;
        let port = listener.local_addr().at("loopback")?.port();
        let bytes = Arc::new(AtomicU64::new(0));
        let total = Arc::clone(&bytes);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // One that cannot be relayed is closed, which its client reports.
                let _ = relay(near, to, &total);
            }
        });
        Ok(Meter { port, bytes })
    }

    /// All bytes so far, there and back.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until nothing passes any more, and returns all bytes so far.
    pub fn rest(&self) -> Outcome<u64> {
        rest(|| self.bytes())
    }
}

/// Waits until these bytes become no more, and returns them.
pub fn rest(bytes: impl Fn() -> u64) -> Outcome<u64> {
    let start = Instant::now();
    let (mut seen, mut since) = (bytes(), Instant::now());
    while since.elapsed() < REST {
        (start.elapsed() < REST_AT_LATEST).then_some(()).at("the connections do not come to rest")?;
        thread::sleep(REST / 50);
        let now = bytes();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(seen)
}

fn relay(near: TcpStream, to: u16, bytes: &Arc<AtomicU64>) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let bytes = Arc::clone(bytes);
        thread::spawn(move || pump(from, to, &bytes));
    }
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let Some(part) = buffer.get(..length) else { break };
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(part).is_err() {
            break;
        }
    }
    // Either end may have closed; the other one learns of it.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
