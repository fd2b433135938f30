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

    /// Check the configuration, this machine and every node, where a probe is written and removed; show the commands of the
    /// daemon; and exit
    #[structopt(long, conflicts_with_all = &["once", "dry-run"])]
    check: bool,

    /// With --check: ask no node, and write nothing there
    #[structopt(long, requires = "check")]
    offline: bool,

    /// With --check: look at this node alone
    #[structopt(long, value_name = "NODE", requires = "check")]
    node: Option<String>,

    /// Make every node equal to the tree once, and exit
    #[structopt(long)]
    once: bool,

    /// Print what --once would send and delete, change nothing, and exit
    #[structopt(long)]
    dry_run: bool,

    /// Compare every node with the tree by checksum, print the differences, change nothing, and exit
    #[structopt(long, conflicts_with_all = &["check", "once", "dry-run"])]
    verify: bool,

    /// Print the daemon's status, and exit as a Nagios check does
    #[structopt(long, conflicts_with_all = &["check", "once", "dry-run", "verify"])]
    status: bool,

    /// With --status: print JSON
    #[structopt(long, requires = "status")]
    json: bool,

    /// Tell whether a path is excluded, and by which pattern; whether it is watched; and when it was last sent to each node
    #[structopt(long, value_name = "PATH", parse(from_os_str),
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status"])]
    explain: Option<PathBuf>,

    /// Pause a node: the running daemon sends nothing more to it, and collects its changes
    #[structopt(long, value_name = "NODE",
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status", "explain"])]
    pause: Option<String>,

    /// Resume a paused node
    #[structopt(long, value_name = "NODE",
        conflicts_with_all = &["check", "once", "dry-run", "verify", "status", "explain", "pause"])]
    resume: Option<String>,
}

/// One command of the command line, with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Mirror until a signal asks for a stop.
    Run,
    /// The option `--check`, without a daemon.
    Check {
        /// True if no node is asked.
        offline: bool,
        /// The only node to check.
        node: Option<&'a str>,
    },
    /// The option `--once`, without a daemon.
    Once,
    /// The option `--dry-run`, without a daemon.
    DryRun,
    /// The option `--verify`, without a daemon.
    Verify,
    /// A question to the running daemon.
    Ask(DaemonQuestion<'a>),
}

/// The questions to a running daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonQuestion<'a> {
    /// The option `--status`, which asks the running daemon.
    Status {
        /// True for an answer in JSON.
        json: bool,
    },
    /// `--explain` of a path.
    Explain(&'a Path),
    /// The options `--pause` and `--resume`, which ask the running daemon.
    Pause {
        /// The name of the node.
        node: &'a str,
        /// `true` for `--pause`, `false` for `--resume`.
        paused: bool,
    },
}

impl Options {
    /// The command that the options name. The parser refuses options that exclude each other.
    pub fn command(&self) -> Command<'_> {
        match self {
            Options { check: true, offline, node, .. } => Command::Check { offline: *offline, node: node.as_deref() },
            Options { dry_run: true, .. } => Command::DryRun,
            Options { verify: true, .. } => Command::Verify,
            Options { once: true, .. } => Command::Once,
            Options { status: true, json, .. } => Command::Ask(DaemonQuestion::Status { json: *json }),
            Options { explain: Some(path), .. } => Command::Ask(DaemonQuestion::Explain(path)),
            Options { pause: Some(node), .. } => Command::Ask(DaemonQuestion::Pause { node, paused: true }),
            Options { resume: Some(node), .. } => Command::Ask(DaemonQuestion::Pause { node, paused: false }),
            _ => Command::Run,
        }
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
        assert_eq!((options.verbose, options.command()), (0, Command::Run));
    }

    #[test]
    fn every_option_has_its_spellings() {
        for (args, expected) in [
            (&["-c", "x.ron"][..], "x.ron 0 Run"),
            (&["-cx.ron", "-vv"], "x.ron 2 Run"),
            (&["--config=x.ron", "-v", "--verbose"], "x.ron 2 Run"),
            (&["--check", "-c", "x.ron"], "x.ron 0 Check { offline: false, node: None }"),
            (&["--check", "--node", "", "-c", "x.ron"], "x.ron 0 Check { offline: false, node: Some(\"\") }"),
            (&["--once", "--dry-run", "-c", "x.ron"], "x.ron 0 DryRun"),
            (&["--once", "-c", "x.ron"], "x.ron 0 Once"),
            (&["--verify", "-c", "x.ron"], "x.ron 0 Verify"),
            (&["--status", "--json", "-c", "x.ron"], "x.ron 0 Ask(Status { json: true })"),
            (&["--explain", "d/f", "-c", "x.ron"], "x.ron 0 Ask(Explain(\"d/f\"))"),
            (&["--pause", "a:", "-c", "x.ron"], "x.ron 0 Ask(Pause { node: \"a:\", paused: true })"),
            (&["--resume", "a:", "-c", "x.ron"], "x.ron 0 Ask(Pause { node: \"a:\", paused: false })"),
        ] {
            let options = parse(args).unwrap();
            let found = format!("{} {} {:?}", options.config().display(), options.verbose, options.command());
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
