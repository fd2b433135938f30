//! The log under systemd: entries with fields in the journal's own protocol, or lines with a priority.

use std::io::Write;

use libsystemd::logging::{Priority, connected_to_journal, journal_send};
use slog::Level;

use super::line::Line;

/// Whether standard error is the journal: systemd.exec(5), `$JOURNAL_STREAM`.
pub fn is_stderr() -> bool {
    connected_to_journal()
}

/// What gives a line on standard error its priority: sd-daemon(3).
pub fn mark(level: Level) -> &'static str {
    match priority(level) {
        Priority::Emergency | Priority::Alert | Priority::Critical => "<2>",
        Priority::Error => "<3>",
        Priority::Warning => "<4>",
        Priority::Notice | Priority::Info => "<6>",
        Priority::Debug => "<7>",
    }
}

fn priority(level: Level) -> Priority {
    match level {
        Level::Critical => Priority::Critical,
        Level::Error => Priority::Error,
        Level::Warning => Priority::Warning,
        Level::Info => Priority::Info,
        Level::Debug | Level::Trace => Priority::Debug,
    }
}

/// Writes one entry. The journal adds the time, and what process it was.
pub fn write(line: Line) -> std::io::Result<()> {
    let level = line.level;
    let fields: Vec<_> = line.fields.iter().map(|(key, value)| (field(key), value.to_string())).collect();
    // The journal takes this from what it reads from standard error, but not from here.
    let identifier = ("SYSLOG_IDENTIFIER".to_owned(), "inosync".to_owned());
    let text = text(line.for_people());
    let sent = journal_send(priority(level), &text, fields.into_iter().chain([identifier]));
    match sent {
        Ok(()) => Ok(()),
        // Its socket is not there, in a container for one; standard error is.
        Err(_) => std::io::stderr().write_all(format!("{}{text}\n", mark(level)).as_bytes()),
    }
}

/// As a line for people reads, without time and level.
fn text(line: Line) -> String {
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

    #[test]
    fn the_mark_of_a_line_is_its_priority() {
        for level in [Level::Critical, Level::Error, Level::Warning, Level::Info, Level::Debug] {
            assert_eq!(mark(level), format!("<{}>", u8::from(priority(level))));
        }
    }
}
