//! The log under systemd: entries with fields in the journal's native protocol, or lines with a priority.

use std::io::Write;
use std::os::unix::net::UnixDatagram;

use rustix::fs::fstat;
use slog::Level;

use super::line::LogLine;

/// The journal's socket for entries with fields.
const SOCKET: &str = "/run/systemd/journal/socket";

/// True if standard error is the journal: `$JOURNAL_STREAM` has its device and inode (systemd.exec(5)).
pub fn is_stderr() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let identity = fstat(std::io::stderr()).ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    stream.is_some() && stream == identity
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Gives a line on standard error its priority: sd-daemon(3).
pub fn mark(level: Level) -> String {
    format!("<{}>", priority(level))
}

/// Writes one entry. The journal adds the time and the process.
pub fn write(line: LogLine) -> std::io::Result<()> {
    let level = line.level;
    // The journal takes the identifier from the lines of standard error, but not from entries.
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER=inosync\n", priority(level));
    // One line for each field: `Line` has no control characters.
    for (key, value) in &line.fields {
        entry += &format!("{}={value}\n", field(key));
    }
    let text = text(line.for_people());
    entry += &format!("MESSAGE={text}\n");
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(entry.as_bytes(), SOCKET));
    match sent {
        Ok(_) => Ok(()),
        // A container may have no such socket, and an entry may be too long for it.
        Err(_) => std::io::stderr().write_all(format!("{}{text}\n", mark(level)).as_bytes()),
    }
}

/// The line as standard error has it, without time and level.
fn text(line: LogLine) -> String {
    let fields = line.fields.iter().map(|(key, value)| format!(", {key}: {value}"));
    fields.fold(line.message, |text, field| text + &field)
}

/// systemd.journal-fields(7): upper case letters, digits and underscores.
fn field(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("INOSYNC_{}", key.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_becomes_the_name_of_a_field() {
        for (key, expected) in
            [("node", "INOSYNC_NODE"), ("took_ms", "INOSYNC_TOOK_MS"), ("would send", "INOSYNC_WOULD_SEND")]
        {
            assert_eq!(field(key), expected);
        }
    }
}
