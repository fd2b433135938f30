//! Requests to the page and the metrics, over plain TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{Site, server, wait};

/// What a request came to.
#[derive(Debug)]
pub struct Replied {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: String,
}

impl Replied {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A connection to this port, if somebody listens there.
pub fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the socket is ours");
    Some(stream)
}

/// Sends these bytes and reads until the connection is closed. `None` if nobody listens, or hangs up.
pub fn send(port: u16, request: &str) -> Option<Replied> {
    let mut stream = connect(port)?;
    stream.write_all(request.as_bytes()).ok()?;
    reply(&mut stream)
}

/// Reads a reply until the connection is closed.
pub fn reply(stream: &mut impl Read) -> Option<Replied> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Replied { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// As [`send`], a request of this kind for this path.
pub fn request(port: u16, method: &str, path: &str, host: &str) -> Option<Replied> {
    send(port, &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

impl Site {
    /// Lets the daemon serve its page; returns the port.
    pub fn listen(&mut self) -> u16 {
        let port = server::free_port();
        self.config(&format!("listen: \"127.0.0.1:{port}\""));
        port
    }

    /// Gets this path from the page at this port, as soon as it is served.
    #[track_caller]
    pub fn get(&self, port: u16, path: &str) -> Replied {
        let replied = wait::until(|| request(port, "GET", path, &format!("127.0.0.1:{port}")));
        replied.unwrap_or_else(|| self.fail(&format!("nothing is served at port {port}")))
    }

    /// The value of a metric, as it is written with its labels.
    #[track_caller]
    pub fn metric(&self, port: u16, name: &str) -> f64 {
        let text = self.get(port, "/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| self.fail(&format!("no {name} in\n{text}")))
    }
}
