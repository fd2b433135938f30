//! Checks that the page can be served at the address of `listen`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use inosync_actors::path::Escaped;

use super::report::Report;
use crate::config::Service;
use crate::service::listen::cure;

/// Opens the address and closes it again. The daemon that runs with this file may have it open.
pub fn look(service: &Service, running: Option<u32>, report: &mut Report) {
    let Some(address) = service.listen else { return };
    let why = match TcpListener::bind(address) {
        Ok(_) => return report.well(format!("listen: {address} is free")),
        Err(why) => why,
    };
    let owner = if why.kind() == io::ErrorKind::AddrInUse { owner(address) } else { None };
    match (owner, running) {
        (Some((pid, _)), Some(daemon)) if pid == daemon => report.well(format!("listen: {address}, by the daemon")),
        (Some((pid, name)), _) => {
            report.fault(format!("listen: {address}: {why}: {name}, pid {pid}, has it; {}", cure(why.kind())));
        }
        // Another user's process does not tell what it has; the running daemon most likely has its own page.
        (None, Some(_)) if why.kind() == io::ErrorKind::AddrInUse => {
            report.warning(format!(
                "listen: {address} is in use, by the daemon itself perhaps: this user may not see by whom"
            ));
        }
        (None, _) => report.fault(format!("listen: {address}: {why}; {}", cure(why.kind()))),
    }
}

/// The process that listens at an address, as far as this user may see that (proc(5)): its number and name.
fn owner(address: SocketAddr) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| listening(line, address))?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .into_iter()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
    };
    let pid = numbers.find(has)?;
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, Escaped(name.trim_ascii()).to_string()))
}

/// The inode of the socket of a line of `/proc/net/tcp`, if that listens where `address` would.
fn listening(line: &str, address: SocketAddr) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let state = fields.get(3)?;
    let inode = fields.get(9)?;
    let ip = ip_of(ip)?.to_canonical();
    let overlaps = ip == address.ip().to_canonical() || ip.is_unspecified() || address.ip().is_unspecified();
    let is_it = *state == LISTEN && u16::from_str_radix(port, 16) == Ok(address.port()) && overlaps;
    is_it.then_some(*inode)
}

/// An address as the kernel writes it: words of four bytes in the order of this machine.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        for (at, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let port = listener.local_addr().unwrap().port();
            let found = owner(SocketAddr::new(asked.parse().unwrap(), port));
            assert_eq!(found.map(|(pid, _)| pid), Some(std::process::id()), "{at}");
        }
        assert_eq!(owner("127.0.0.1:1".parse().unwrap()), None);
    }
}
