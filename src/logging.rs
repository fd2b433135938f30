//! Where the log goes: standard error, in the form that fits what is behind it.

use std::fmt::Arguments;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use slog::{Drain, KV, Level, Logger, OwnedKVList, Record, Serializer, o};

use crate::bars::Bars;

/// A logger; `verbose` lets changes and runs through. Its lines come above the bars. A log that cannot be written is no
/// reason to stop mirroring.
pub fn logger(verbose: u8, bars: Option<&Bars>) -> Logger {
    let level = if verbose > 0 { Level::Debug } else { Level::Info };
    if is_journal() {
        return Logger::root(Journal.filter_level(level).ignore_res(), o!());
    }
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        let decorator = slog_term::TermDecorator::new().stderr().build();
        let drain = slog_term::FullFormat::new(decorator).use_original_order().build();
        let drain = Above { bars: bars.cloned(), drain };
        return Logger::root(Mutex::new(drain).filter_level(level).ignore_res(), o!());
    }
    let decorator = slog_term::PlainSyncDecorator::new(std::io::stderr());
    let drain = slog_term::FullFormat::new(decorator).use_original_order().build();
    Logger::root(drain.filter_level(level).ignore_res(), o!())
}

/// Says something before there is a log.
pub fn say(line: &str) {
    // Nobody reads: the exit code tells.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether standard error is the journal: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    stream.zip(stderr).is_some_and(|(stream, meta)| stream == format!("{}:{}", meta.dev(), meta.ino()))
}

/// Lines that do not tear the progress bars.
struct Above<D> {
    bars: Option<Bars>,
    drain: D,
}

impl<D: Drain> Drain for Above<D> {
    type Ok = D::Ok;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<D::Ok, D::Err> {
        let log = || self.drain.log(record, values);
        self.bars.as_ref().map_or_else(log, |bars| bars.above(log))
    }
}

/// Lines for the journal: a priority in front (sd-daemon(3)), and no time, which the journal adds.
struct Journal;

impl Drain for Journal {
    type Ok = ();
    type Err = std::io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> std::io::Result<()> {
        let priority = match record.level() {
            Level::Critical => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let mut line = format!("<{priority}>{}", record.msg());
        for fields in [values as &dyn KV, &record.kv()] {
            let mut said = Fields(Vec::new());
            fields.serialize(record, &mut said).map_err(std::io::Error::other)?;
            // slog gives the last field first.
            line.extend(said.0.into_iter().rev());
        }
        line.push('\n');
        std::io::stderr().write_all(line.as_bytes())
    }
}

/// The fields of a line in the making.
struct Fields(Vec<String>);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: slog::Key, value: &Arguments<'_>) -> slog::Result {
        self.0.push(format!(", {key}: {value}"));
        Ok(())
    }
}
