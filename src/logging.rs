//! The log: entries with fields in the journal, or else lines on standard error in the configured format.

mod journal;
mod line;
pub mod progress_bars;

use std::io::{BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use slog::{Drain, FnValue, Level, Logger, OwnedKVList, PushFnValue, Record, info, o};

use self::line::LogLine;
use self::progress_bars::Bars;

/// Format and level of the log: the key `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStyle {
    /// Without effect where the log goes to the journal.
    pub format: Format,
    /// Less urgent lines are left out. `-v` is [`Level::Debug`].
    pub level: Level,
}

impl Default for LogStyle {
    fn default() -> Self {
        LogStyle { format: Format::Text, level: Level::Info }
    }
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A sentence with its fields, for people.
    Text,
    /// A JSON object, for programs.
    Json,
}

/// The log, whose style may change.
pub struct Log {
    /// The logger of the process.
    pub logger: Logger,
    /// The progress bars below the lines; `None` where nothing can be drawn.
    pub bars: Option<Bars>,
    style: Arc<Style>,
    verbose: bool,
}

/// The style in force, shared by all threads.
struct Style {
    /// By [`Level::as_usize`]; lines above the level are not written.
    level: AtomicUsize,
    json: AtomicBool,
}

impl Log {
    /// A log in this style; `verbose` adds changes and runs. A log that cannot be written does not stop mirroring.
    pub fn new(verbose: u8, style: LogStyle) -> Log {
        let shared = Arc::new(Style { level: AtomicUsize::new(0), json: AtomicBool::new(false) });
        let bars = Bars::at_terminal();
        let sink = Sink { style: shared.clone(), output: Output::of_process(), bars: bars.clone() };
        let log = Log { logger: Logger::root(sink.ignore_res(), o!()), bars, style: shared, verbose: verbose > 0 };
        log.set(style);
        log
    }

    /// Changes the style. Logged before the level changes, so that a stricter level cannot hide it. Returns true if the
    /// style differs.
    pub fn adapt(&self, style: LogStyle) -> bool {
        let (level, json) = self.values(style);
        let differs =
            (self.style.level.load(Ordering::Relaxed), self.style.json.load(Ordering::Relaxed)) != (level, json);
        if differs {
            info!(self.logger, "the log changes"; "format" => ?style.format, "level" => style.level.as_str());
            self.set(style);
        }
        differs
    }

    fn set(&self, style: LogStyle) {
        let (level, json) = self.values(style);
        self.style.level.store(level, Ordering::Relaxed);
        self.style.json.store(json, Ordering::Relaxed);
    }

    fn values(&self, LogStyle { format, level }: LogStyle) -> (usize, bool) {
        (if self.verbose { Level::Debug } else { level }.as_usize(), format == Format::Json)
    }
}

/// Prints a text on standard output.
pub fn print(text: &str) {
    // A reader that went away, such as `head`, is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error on standard error, for commands without a log.
pub fn print_error(text: &str) {
    let mark = if journal::is_stderr() { journal::mark(Level::Error) } else { String::new() };
    for line in text.lines() {
        // Without a reader the exit code is left.
        let _ = writeln!(std::io::stderr(), "{mark}{line}");
    }
}

/// Writes the lines of the level in force.
struct Sink {
    style: Arc<Style>,
    output: Output,
    /// The bars that lines must not tear.
    bars: Option<Bars>,
}

/// The place of the lines.
enum Output {
    Journal,
    Stderr { text: Logger, json: Logger },
}

impl Output {
    fn of_process() -> Output {
        if journal::is_stderr() {
            return Output::Journal;
        }
        let text = if std::io::stderr().is_terminal() {
            text(slog_term::TermDecorator::new().stderr().build())
        } else {
            text(slog_term::PlainSyncDecorator::new(std::io::stderr()))
        };
        // Each line is one write: other processes write there, too.
        Output::Stderr { text, json: json(BufWriter::new(std::io::stderr())) }
    }
}

fn text<D: slog_term::Decorator + Send + 'static>(decorator: D) -> Logger {
    Logger::root(Mutex::new(slog_term::FullFormat::new(decorator).build()).ignore_res(), o!())
}

fn json<W: Write + Send + 'static>(to: W) -> Logger {
    let now = FnValue(|_: &Record<'_>| humantime::format_rfc3339_micros(SystemTime::now()).to_string());
    let level = FnValue(|record: &Record<'_>| record.level().as_str());
    let message = PushFnValue(|record: &Record<'_>, to: slog::PushFnValueSerializer<'_>| to.emit(record.msg()));
    let json = slog_json::Json::new(to).set_flush(true);
    // One call for all three would write them in reverse.
    let json =
        json.add_key_value(o!("ts" => now)).add_key_value(o!("level" => level)).add_key_value(o!("msg" => message));
    Logger::root(Mutex::new(json.build()).ignore_res(), o!())
}

impl Sink {
    fn above(&self, write: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.above(write),
            None => write(),
        }
    }
}

impl Drain for Sink {
    type Ok = ();
    type Err = slog::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Error> {
        if record.level().as_usize() > self.style.level.load(Ordering::Relaxed) {
            return Ok(());
        }
        let line = LogLine::of(record, values)?;
        match &self.output {
            Output::Journal => journal::write(line)?,
            Output::Stderr { json, .. } if self.style.json.load(Ordering::Relaxed) => self.above(|| line.write(json)),
            Output::Stderr { text, .. } => self.above(|| line.for_people().write(text)),
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.as_usize() <= self.style.level.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use slog::warn;

    use super::*;

    /// Keeps the written bytes.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn log() -> (Log, Kept) {
        let (kept, style) = (Kept::default(), Arc::new(Style { level: 0.into(), json: false.into() }));
        let text = text(slog_term::PlainSyncDecorator::new(kept.clone()));
        let output = Output::Stderr { text, json: json(BufWriter::new(kept.clone())) };
        let logger = Logger::root(Sink { style: style.clone(), output, bars: None }.ignore_res(), o!());
        let log = Log { logger, bars: None, style, verbose: false };
        log.set(LogStyle::default());
        (log, kept)
    }

    fn json_of(line: &str) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_for_people_has_its_fields_in_their_order_with_units() {
        let (log, kept) = log();
        let log = log.logger.new(o!("node" => "h:")).new(o!("batch" => 7));
        info!(log, "mirrored"; "paths" => 2, "bytes" => 2048u64, "took_ms" => 31u64, "why" => %"it did");
        let lines = kept.lines();
        assert!(
            lines[0]
                .ends_with(" INFO mirrored, node: h:, batch: 7, paths: 2, bytes: 2.0 KiB, took: 31 ms, why: it did"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_line_for_programs_is_one_object_whose_numbers_are_numbers() {
        let (log, kept) = log();
        log.set(LogStyle { format: Format::Json, level: Level::Info });
        let child = log.logger.new(o!("node" => "h:"));
        info!(child, "mirrored {}", "x"; "paths" => 2, "bytes" => 2048u64, "took_ms" => 31u64, "crashed" => true, "n" => -1);
        warn!(child, "\"quoted\"");
        let lines = kept.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("{\"ts\":\"20"), "{lines:?}");
        let expected = "\"level\":\"INFO\",\"msg\":\"mirrored x\",\"node\":\"h:\",\"paths\":2,\"bytes\":2048,\"took_ms\":31,\
                        \"crashed\":true,\"n\":-1}";
        assert!(lines[0].ends_with(expected), "{lines:?}");
        let (first, second) = (json_of(&lines[0]), json_of(&lines[1]));
        assert!(humantime::parse_rfc3339(first["ts"].as_str().unwrap()).is_ok(), "{first:?}");
        assert_eq!((second["level"].as_str(), second["msg"].as_str()), (Some("WARNING"), Some("\"quoted\"")));
    }

    #[test]
    fn no_control_character_reaches_the_log() {
        let wild = "a\nNov 22 20:00:00.000 CRIT forged\u{1b}[31m\u{7f}\r\t\u{9b}\\";
        let shown = "a\\x0aNov 22 20:00:00.000 CRIT forged\\x1b[31m\\x7f\\x0d\\x09\\xc2\\x9b\\";
        let (log, kept) = log();
        for format in [Format::Text, Format::Json] {
            log.set(LogStyle { format, level: Level::Info });
            let child = log.logger.new(o!("node" => wild));
            info!(child, "{}", wild; "first" => wild, "why" => %wild);
            let lines = kept.lines();
            assert_eq!(lines.len(), 1, "{lines:?}");
            let shown = if format == Format::Json { shown.replace('\\', "\\\\") } else { shown.to_owned() };
            assert_eq!(lines[0].matches(&shown).count(), 4, "{lines:?}");
            assert!(!lines[0].contains(char::is_control), "{lines:?}");
        }
    }

    #[test]
    fn the_level_may_change_and_being_verbose_overrides_it() {
        let (mut log, kept) = log();
        for _ in 0..2 {
            log.adapt(LogStyle { format: Format::Text, level: Level::Warning });
        }
        info!(log.logger, "not said");
        warn!(log.logger, "said");
        assert!(!log.logger.is_info_enabled() && log.logger.is_warning_enabled());
        log.verbose = true;
        log.adapt(LogStyle::default());
        assert!(log.logger.is_debug_enabled());
        let lines = kept.lines();
        assert!(lines[0].ends_with(" INFO the log changes, format: Text, level: WARNING"), "{lines:?}");
        assert!(lines[1].ends_with(" WARN said") && lines.len() == 2, "{lines:?}");
    }
}
