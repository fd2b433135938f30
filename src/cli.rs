//! The command line: its commands, options, help, and errors. `main` acts on them.

mod command;
mod completions;
#[cfg(test)]
mod man_pages;
mod refused;

use std::io::Write;
use std::path::PathBuf;

use structopt::StructOpt;
use structopt::clap::{AppSettings, Error, ErrorKind};

pub use self::command::Command;
use self::command::{OlderForms, SharedOptions};
pub use self::completions::{NamesAsked, names_asked};
use crate::config::DEFAULT_PATH;
use crate::exit::Exit;
use crate::logging;

/// The help, with the commands in groups, which the parser cannot do.
const HELP: &str = include_str!("cli/help.txt");

/// The width of the help of a command.
const WIDTH: usize = 80;

/// The command line as the parser takes it.
#[derive(Debug, Clone, PartialEq, Eq, StructOpt)]
#[structopt(name = "inosync", template = HELP, max_term_width = WIDTH, setting = AppSettings::VersionlessSubcommands)]
struct Options {
    #[structopt(flatten)]
    common: SharedOptions,
    #[structopt(flatten)]
    older: OlderForms,
    #[structopt(subcommand)]
    command: Option<Command>,
}

/// The command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedLine {
    /// The site, as it is named; `None` if it is not.
    pub site: Option<PathBuf>,
    /// The times that more was wanted in the log.
    pub verbose: u8,
    /// The command; `None` to mirror until a signal asks for a stop.
    pub command: Option<Command>,
}

impl Options {
    /// Joins the options on both sides of the command, and takes an older form for its command.
    fn understood(self) -> Result<ParsedLine, Error> {
        let older = self.older.into_command();
        // An older form is never about all sites.
        let older_site = older.as_ref().map(|_| PathBuf::from(DEFAULT_PATH));
        let after = self.command.as_ref().map(Command::common);
        let site = match (self.common.config, after.and_then(|after| after.config.clone())) {
            (Some(_), Some(_)) => return Err(refused::twice("-c is given twice", ErrorKind::UnexpectedMultipleUsage)),
            (before, after) => before.or(after).or(older_site),
        };
        let verbose = self.common.verbose + after.map_or(0, |after| after.verbose);
        let command = match (self.command, older) {
            (Some(_), Some(_)) => {
                return Err(refused::twice("two commands are given: write one", ErrorKind::ArgumentConflict));
            }
            (command, older) => command.or(older),
        };
        Ok(ParsedLine { site, verbose, command })
    }
}

/// Reads the command line of this process. Help, version, completions and errors are printed here.
///
/// # Errors
/// The exit to end with at once: [`Exit::Done`] after help, version or completions, [`Exit::Usage`] after an error.
pub fn parse() -> Result<ParsedLine, Exit> {
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

fn parse_from<I>(args: I) -> Result<ParsedLine, Error>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    Options::from_iter_safe(args)?.understood()
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
    use std::path::Path;

    use super::*;

    fn parse(args: &[&str]) -> Result<ParsedLine, Exit> {
        parse_from([&["inosync"], args].concat()).map_err(|error| exit_of(&error))
    }

    #[test]
    fn without_arguments_the_default_site_is_mirrored() {
        let expected = ParsedLine { site: None, verbose: 0, command: None };
        assert_eq!(parse(&[]).unwrap(), expected);
    }

    /// A command line in short: the site, how often `-v` is in it, and the command.
    fn shown(args: &str) -> String {
        let invocation = parse(&args.split(' ').collect::<Vec<_>>()).unwrap_or_else(|exit| panic!("{args}: {exit:?}"));
        let command = invocation.command.map_or("Run".to_owned(), |command| format!("{command:?}"));
        let common = command.find("common: ").and_then(|from| Some((from, from + command[from..].find('}')? + 1)));
        let own = common.map_or(command.clone(), |(from, to)| format!("{}{}", &command[..from], &command[to..]));
        let own = own.replace("{  }", "").replace("{ , ", "{ ");
        format!("{} {} {}", invocation.site.unwrap_or_default().display(), invocation.verbose, own.trim())
    }

    #[test]
    fn options_stand_before_or_after_the_command_and_older_forms_mean_the_same() {
        for (args, expected) in [
            ("-c x.ron", "x.ron 0 Run"),
            ("-cx.ron -vv", "x.ron 2 Run"),
            ("--config=x.ron -v --verbose", "x.ron 2 Run"),
            ("-c x.ron -v check -v", "x.ron 2 Check { offline: false, node: None, json: false }"),
            ("check -c x.ron", "x.ron 0 Check { offline: false, node: None, json: false }"),
            ("--check -c x.ron", "x.ron 0 Check { offline: false, node: None, json: false }"),
            ("check --offline -c x.ron", "x.ron 0 Check { offline: true, node: None, json: false }"),
            ("-c x.ron check --node n", "x.ron 0 Check { offline: false, node: Some(\"n\"), json: false }"),
            ("--check --node= -c x.ron", "x.ron 0 Check { offline: false, node: Some(\"\"), json: false }"),
            ("--once --dry-run -c x.ron", "x.ron 0 DryRun { json: false }"),
            ("dry-run -c x.ron", "x.ron 0 DryRun { json: false }"),
            ("dry-run --json -c x.ron", "x.ron 0 DryRun { json: true }"),
            ("once -c x.ron", "x.ron 0 Once"),
            ("--once -c x.ron", "x.ron 0 Once"),
            ("-c x.ron verify", "x.ron 0 Verify { json: false }"),
            ("--verify -c x.ron", "x.ron 0 Verify { json: false }"),
            ("status --json -c x.ron", "x.ron 0 Status { json: true }"),
            ("--status --json -c x.ron", "x.ron 0 Status { json: true }"),
            ("-c x.ron explain d/f", "x.ron 0 Explain { path: \"d/f\", json: false }"),
            ("--explain d/f -c x.ron", "x.ron 0 Explain { path: \"d/f\", json: false }"),
            ("pause a: -c x.ron", "x.ron 0 Pause { node: \"a:\" }"),
            ("--pause a: -c x.ron", "x.ron 0 Pause { node: \"a:\" }"),
            ("-c x.ron resume a:", "x.ron 0 Resume { node: \"a:\" }"),
            ("reload -c x.ron", "x.ron 0 Reload"),
            ("retry -c x.ron", "x.ron 0 Retry { node: None }"),
            ("-c x.ron retry a:", "x.ron 0 Retry { node: Some(\"a:\") }"),
            ("-c x.ron allow-deletes a:", "x.ron 0 AllowDeletes { node: \"a:\" }"),
            ("-c x.ron wait", "x.ron 0 Wait { node: None, timeout: None, json: false }"),
            ("wait --timeout 5 a: -c x.ron", "x.ron 0 Wait { node: Some(\"a:\"), timeout: Some(5), json: false }"),
            ("status", " 0 Status { json: false }"),
            ("--status", "/etc/inosync/default.ron 0 Status { json: false }"),
            ("--resume a: -c x.ron", "x.ron 0 Resume { node: \"a:\" }"),
        ] {
            assert_eq!(shown(args), expected, "{args:?}");
        }
    }

    #[test]
    fn a_file_name_may_be_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let name = std::ffi::OsString::from_vec(b"\xff.ron".to_vec());
        let invocation = parse_from(["inosync".into(), "-c".into(), name.clone()]).unwrap();
        assert_eq!(invocation.site.as_deref(), Some(Path::new(&name)));
    }

    #[test]
    fn wrong_usage_and_requests_for_help_end_differently() {
        for (args, expected) in [
            (&["--help"][..], Exit::Done),
            (&["-h"], Exit::Done),
            (&["--version"], Exit::Done),
            (&["-V"], Exit::Done),
            (&["help"], Exit::Done),
            (&["help", "status"], Exit::Done),
            (&["status", "--help"], Exit::Done),
            (&["--no-such"], Exit::Usage),
            (&["-c"], Exit::Usage),
            (&["stray"], Exit::Usage),
            (&["pause"], Exit::Usage),
            (&["status", "stray"], Exit::Usage),
            (&["status", "--offline"], Exit::Usage),
            (&["check", "once"], Exit::Usage),
            (&["check", "--offline", "--node", "a:"], Exit::Usage),
            (&["--check", "status"], Exit::Usage),
            (&["--check", "--once"], Exit::Usage),
            (&["--check", "--dry-run"], Exit::Usage),
            (&["--offline"], Exit::Usage),
            (&["--node", "a:"], Exit::Usage),
            (&["--check", "--node"], Exit::Usage),
            (&["--verify", "--once"], Exit::Usage),
            (&["--verify", "--status"], Exit::Usage),
            (&["--verify", "--pause", "a:"], Exit::Usage),
            (&["-c", "a", "-c", "b"], Exit::Usage),
            (&["-c", "a", "status", "-c", "b"], Exit::Usage),
        ] {
            assert_eq!(parse(args), Err(expected), "{args:?}");
        }
    }

    fn help(args: &[&str]) -> String {
        parse_from([&["inosync"], args].concat()).unwrap_err().message
    }

    #[test]
    fn help_names_every_exit_code_and_every_command() {
        let help = help(&["--help"]);
        for exit in Exit::ALL {
            assert!(help.contains(&format!("\n    {:>2}    ", exit.code())), "{exit:?}\n{help}");
        }
        assert!(help.contains(DEFAULT_PATH), "{help}");
        for name in Command::NAMES {
            assert!(help.contains(&format!("\n    {name} ")), "{name}\n{help}");
        }
    }

    #[test]
    fn every_help_fits_a_terminal_and_every_command_has_one() {
        let of_commands = Command::NAMES.map(|name| help(&[name, "--help"]));
        for text in of_commands.iter().chain([&help(&["--help"])]) {
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(text.contains("--config"), "{text}");
        }
    }
}
