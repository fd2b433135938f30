//! The command line: its options, help, and errors. `main` acts on the options.

mod completions;
#[cfg(test)]
mod man_pages;
mod refused;

use std::io::Write;
use std::path::{Path, PathBuf};

use structopt::StructOpt;
use structopt::clap::{Error, ErrorKind};

use crate::config::DEFAULT_PATH;
use crate::exit::Exit;
use crate::logging;

const EXIT_CODES: &str = "\
EXIT CODES:
     0    done: stopped with nothing pending, or nothing is wrong
     1    --status: something wants attention; --verify: a node differs
     2    --status: a node fails, or everything is held
     3    --status, --explain, --pause, --resume: no daemon answers
    64    wrong command line
    69    something is missing, such as rsync or inotify; with --check also a node
    70    a defect of inosync
    75    some change is not on every node, and the next start catches up; --verify: not all was compared
    78    wrong or unreadable configuration

SIGTERM and SIGINT stop the daemon once what is pending has been sent, or after `stop_timeout` seconds.
SIGHUP makes it read the configuration file again. SIGUSR1 writes the status to the log.";

/// Mirrors a directory tree to its nodes, change by change, by inotify and narrow rsync runs.
///
/// Runs in the foreground until it is stopped. One process mirrors one tree; run one for each configuration file.
#[derive(Debug, Clone, PartialEq, Eq, StructOpt)]
#[structopt(name = "inosync", after_help = EXIT_CODES)]
pub struct Options {
    // Not clap's default_value: with it, a `-c` at the end of the line passes without its FILE.
    /// Configuration file: which tree goes to which nodes [default: /etc/inosync/default.ron]
    #[structopt(short, long, value_name = "FILE", parse(from_os_str))]
    config: Option<PathBuf>,

    /// Log more: each change that is seen and each batch that is sent
    #[structopt(short, long, parse(from_occurrences))]
    pub verbose: u8,

    /// Check the configuration, this machine and every node, where a probe is written and removed; say what would be run; and
    /// exit
    #[structopt(long, conflicts_with_all = &["once", "dry-run"])]
    pub check: bool,

    /// With --check: ask no node, and write nothing there
    #[structopt(long, requires = "check")]
    pub offline: bool,

    /// With --check: look at this node alone
    #[structopt(long, value_name = "NODE", requires = "check")]
    pub node: Option<String>,

    /// Make every node equal to the tree once, and exit
    #[structopt(long)]
    pub once: bool,

    /// Say what --once would send and delete, change nothing, and exit
    #[structopt(long)]
    pub dry_run: bool,

    /// Compare every node with the tree by checksum, say what differs, change nothing, and exit
    #[structopt(long, conflicts_with_all = &["check", "once", "dry-run"])]
    pub verify: bool,

    /// Print the daemon's status, and exit as a Nagios check does
    #[structopt(long, conflicts_with_all = &["check", "once", "dry-run", "verify"])]
    pub status: bool,

    /// With --status: print JSON
    #[structopt(long, requires = "status")]
    pub json: bool,

    /// Say whether a path is excluded, and by what; whether it is watched; and when it was last sent to which node
    #[structopt(long, value_name = "PATH", parse(from_os_str),
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status"])]
    pub explain: Option<PathBuf>,

    /// Let the running daemon send nothing more to a node; its changes are collected
    #[structopt(long, value_name = "NODE",
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status", "explain"])]
    pub pause: Option<String>,

    /// Let a paused node go on
    #[structopt(long, value_name = "NODE",
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status", "explain", "pause"])]
    pub resume: Option<String>,
}

impl Options {
    /// True for a question to a running daemon.
    pub fn asks_daemon(&self) -> bool {
        self.status || self.explain.is_some() || self.pause.is_some() || self.resume.is_some()
    }

    /// The path of the configuration file.
    pub fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }
}

/// Reads the command line of this process. Help, version, completions and errors are printed here.
///
/// # Errors
/// The exit to end with at once: [`Exit::Done`] after help, version or completions, [`Exit::Usage`] after an error.
pub fn parse() -> Result<Options, Exit> {
    if let Some(script) = completions::asked(std::env::args_os().skip(1)) {
        return Err(written(std::io::stdout().write_all(&script).and_then(|()| std::io::stdout().flush())));
    }
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(message) = refused::one_dash(&arguments) {
        logging::print_error(&message);
        return Err(Exit::Usage);
    }
    parse_from(std::env::args_os()).map_err(|error| match exit_of(&error) {
        Exit::Done => written(writeln!(std::io::stdout(), "{}", error.message)),
        // clap has not kept the reason.
        Exit::Environment => written(writeln!(std::io::stdout(), "inosync {}", env!("CARGO_PKG_VERSION"))),
        exit => {
            logging::print_error(&refused::message(&error, &arguments));
            exit
        }
    })
}

/// Fails if the output is not complete: a package would hold half of a script. A reader that went away is no failure.
fn written(result: std::io::Result<()>) -> Exit {
    match result {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            logging::print_error(&format!("inosync: standard output cannot be written: {why}"));
            Exit::Environment
        }
        _ => Exit::Done,
    }
}

fn parse_from<I>(args: I) -> Result<Options, Error>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    Options::from_iter_safe(args)
}

fn exit_of(error: &Error) -> Exit {
    match error.kind {
        ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Exit::Done,
        // clap prints the version by itself.
        ErrorKind::Io => Exit::Environment,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, Exit> {
        parse_from([&["inosync"], args].concat()).map_err(|error| exit_of(&error))
    }

    #[test]
    fn without_arguments_the_default_site_is_mirrored() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.config(), Path::new(DEFAULT_PATH));
        assert_eq!((options.verbose, options.check, options.once, options.dry_run), (0, false, false, false));
    }

    #[test]
    fn every_option_has_its_spellings() {
        for (args, expected) in [
            (&["-c", "x.ron"][..], "x.ron 0 false false false"),
            (&["-cx.ron", "-vv"], "x.ron 2 false false false"),
            (&["--config=x.ron", "-v", "--verbose"], "x.ron 2 false false false"),
            (&["--check", "-c", "x.ron"], "x.ron 0 true false false"),
            (&["--once", "--dry-run", "-c", "x.ron"], "x.ron 0 false true true"),
        ] {
            let o = parse(args).unwrap();
            let found = format!("{} {} {} {} {}", o.config().display(), o.verbose, o.check, o.once, o.dry_run);
            assert_eq!(found, expected, "{args:?}");
        }
    }

    #[test]
    fn a_file_name_may_be_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let name = std::ffi::OsString::from_vec(b"\xff.ron".to_vec());
        let options = parse_from(["inosync".into(), "-c".into(), name.clone()]).unwrap();
        assert_eq!(options.config(), Path::new(&name));
    }

    #[test]
    fn wrong_usage_and_requests_for_help_end_differently() {
        for (args, expected) in [
            (&["--help"][..], Exit::Done),
            (&["-h"], Exit::Done),
            (&["--version"], Exit::Done),
            (&["-V"], Exit::Done),
            (&["--no-such"], Exit::Usage),
            (&["-c"], Exit::Usage),
            (&["stray"], Exit::Usage),
            (&["--check", "--once"], Exit::Usage),
            (&["--check", "--dry-run"], Exit::Usage),
            (&["--offline"], Exit::Usage),
            (&["--node", "a:"], Exit::Usage),
            (&["--check", "--node"], Exit::Usage),
            (&["--verify", "--once"], Exit::Usage),
            (&["--verify", "--status"], Exit::Usage),
            (&["--verify", "--pause", "a:"], Exit::Usage),
            (&["-c", "a", "-c", "b"], Exit::Usage),
        ] {
            assert_eq!(parse(args), Err(expected), "{args:?}");
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = parse_from(["inosync", "--help"]).unwrap_err().message;
        for exit in Exit::ALL {
            assert!(help.contains(&format!("\n    {:>2}    ", exit.code())), "{exit:?}\n{help}");
        }
        assert!(help.contains(DEFAULT_PATH), "{help}");
    }
}
