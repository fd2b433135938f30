//! Checks the host that a request names. A foreign page, open in a browser on this machine, can give its own name the address
//! 127.0.0.1 (DNS rebinding) and read the answers as its own. The name in the request shows that.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::HOST;
use hyper::{Request, StatusCode};

/// The refusal of a foreign name, with the cure.
pub const REFUSAL: &str = "421: this address answers to an IP address or `localhost` only, so that no other site can read \
    it by a name of its own.\nOpen it as http://127.0.0.1:PORT/ or http://localhost:PORT/. A reverse proxy on this machine \
    has to send the address that it connects to as Host,\nwhich nginx and Apache do by default; in Caddy: header_up Host \
    {upstream_hostport}.\n";

/// The refusal of a request by a loopback address; `None` if the request is answered.
pub fn refuse<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    let hosts: Vec<&[u8]> = request.headers().get_all(HOST).iter().map(|value| value.as_bytes()).collect();
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if hosts.len() > 1 {
        return Some((StatusCode::BAD_REQUEST, "400: more than one Host\n"));
    }
    // A request without a host comes from no browser: HTTP/1.0, or a probe.
    let are_ours = hosts.into_iter().chain(named).all(is_ours);
    (!are_ours).then_some((StatusCode::MISDIRECTED_REQUEST, REFUSAL))
}

/// True for an IP address or `localhost`, with or without a port: nobody can give these names another address.
fn is_ours(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .is_some_and(|(address, port)| address.parse::<Ipv6Addr>().is_ok() && is_port(port));
    }
    let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
    let name = name.strip_suffix('.').unwrap_or(name);
    is_port(port) && (name.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost"))
}

/// True for no text, or a colon with or without a number.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_ours() {
        for (host, expected) in [
            ("127.0.0.1:9877", true),
            ("127.0.0.1", true),
            ("[::1]:9877", true),
            ("[::1]", true),
            ("localhost:9877", true),
            ("LOCALHOST.", true),
            ("192.168.1.7:80", true),
            ("", false),
            ("evil.example:9877", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:127.0.0.1", false),
            ("user@127.0.0.1", false),
            ("[::1", false),
            ("[::1].evil.example", false),
            ("::1", false),
            ("127.1", false),
        ] {
            assert_eq!(is_ours(host.as_bytes()), expected, "{host}");
        }
        assert!(!is_ours(b"\xff"));
    }

    #[test]
    fn a_request_must_name_us_wherever_it_names_a_host() {
        let request = |uri: &str, hosts: &[&str]| {
            let mut request = Request::get(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            refuse(&request.body(()).unwrap()).map(|(status, _)| status.as_u16())
        };
        assert_eq!(request("/", &["localhost"]), None);
        assert_eq!(request("/", &[]), None);
        assert_eq!(request("/", &["evil.example"]), Some(421));
        assert_eq!(request("http://evil.example/", &["localhost"]), Some(421));
        assert_eq!(request("/", &["localhost", "localhost"]), Some(400));
    }

    #[test]
    fn whatever_a_host_is_called_it_is_ours_only_as_an_address_or_localhost() {
        let pieces =
            ["127.0.0.1", "localhost", "[", "]", "::1", ":", "9877", ".", "@", "evil.example", " ", "/", "\u{e9}", "0"];
        let mut random = fastrand::Rng::with_seed(1);
        let mut ours = 0;
        for _ in 0..50_000 {
            let host: String = (0..random.usize(..5)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            if is_ours(host.as_bytes()) {
                ours += 1;
                let plain = host.to_ascii_lowercase().replace("localhost", "");
                assert!(plain.chars().all(|c| c.is_ascii_hexdigit() || ".:[]".contains(c)), "{host}");
            }
        }
        assert!(ours > 100, "{ours}");
    }
}
