//! The terminal at which the daemon was started. The kernel sends SIGHUP also when the terminal goes away: then it asks for no
//! reload.

use std::fs::{self, File};

use tokio::signal::unix::SignalKind;

/// The relation of the daemon to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The daemon ends with its terminal.
    EndsDaemon,
    /// There is no terminal, or the daemon is to outlive it (nohup(1)).
    Independent,
}

impl Terminal {
    /// The relation at the start, before SIGHUP is handled.
    pub fn of_start() -> Self {
        if is_there() && !ignores_hangup() { Terminal::EndsDaemon } else { Terminal::Independent }
    }

    /// True if the daemon has to end because its terminal is gone.
    pub fn is_gone(self) -> bool {
        self == Terminal::EndsDaemon && !is_there()
    }
}

/// tty(4): a process whose terminal is gone cannot open it.
fn is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

fn ignores_hangup() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, SignalKind::hangup().as_raw_value()))
}

/// proc_pid_status(5): `SigIgn` is a mask in hexadecimal digits, in which signal 1 is the lowest bit.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_known_from_its_bit() {
        let status = |mask: &str| format!("SigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
        for (mask, signal, expected) in [
            ("0000000000000001", 1, true),
            ("0000000000000000", 1, false),
            ("0000000000001000", 13, true),
            ("0000000000001000", 1, false),
            ("no number", 1, false),
        ] {
            assert_eq!(is_ignored(&status(mask), signal), expected, "{mask} {signal}");
        }
        assert!(!is_ignored("", 1));
    }
}
