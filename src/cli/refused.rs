//! The cure of a refused command line, where the parser has none.

use std::path::Path;

use structopt::clap::{Error, ErrorKind};

use super::Command;

/// Words and options of other programs, and the same in inosync.
const OTHER_WORDS: &[(&str, &str)] = &[
    (
        "start run mirror watch sync --start --run --foreground -f -F",
        "leave it out: without it the daemon runs, in the foreground",
    ),
    (
        "--daemon --daemonize --background -d -D -b",
        "leave it out: systemd runs it in the background (inosync@NAME.service)",
    ),
    ("-nodaemon --nodaemon -insist --insist", "leave it out: that is so always"),
    ("hup HUP --hup", "write: inosync reload"),
    ("restart", "write `systemctl restart inosync@NAME`"),
    ("stop quit", "write `kill PID`, or `systemctl stop inosync@NAME`"),
    ("-onepass --onepass", "write: inosync once"),
    ("test validate --test --validate -t", "write: inosync check"),
    ("-n --simulate --pretend", "write: inosync dry-run"),
    ("-q --quiet --silent", "write log: (level: Warning) into the configuration"),
    ("--debug --log-level -l --log --logfile", "write -v, or log: (level: Debug) into the configuration"),
    ("list info state", "write: inosync status"),
    ("--exclude --extra --rpath --wpath --rnodes", "write it into the configuration: see inosync.ron(5)"),
];

/// The long options, without dashes.
const OPTIONS: &[&str] = &["config", "verbose", "help", "version", "offline", "node", "json", "timeout"];

/// The error of a command line that says something twice.
pub fn twice(what: &str, kind: ErrorKind) -> Error {
    Error::with_description(what, kind)
}

/// The message for a refused command line of these arguments.
pub fn message(error: &Error, arguments: &[String]) -> String {
    let cure = match error.kind {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::UnrecognizedSubcommand => {
            let asked = error.info.as_ref().and_then(|info| info.first()).map_or("", String::as_str);
            // The parser names the first letter of a bundle alone.
            let whole = arguments.iter().find(|argument| asked.len() == 2 && argument.starts_with(asked));
            let asked = whole.map_or(asked, String::as_str);
            match meant(asked) {
                // The parser would suggest an older form.
                Some(cure) => return format!("error: `{asked}` is no command and no option here\n\n  {cure}"),
                None => None,
            }
        }
        ErrorKind::EmptyValue if error.message.contains("--config") => {
            Some("write the site behind it: inosync -c /etc/inosync/NAME.ron".to_owned())
        }
        ErrorKind::UnexpectedMultipleUsage => {
            Some("one process mirrors one tree: run one inosync for each file".to_owned())
        }
        _ => None,
    };
    cure.map_or_else(|| error.message.clone(), |cure| format!("{}\n\n  {cure}", error.message))
}

/// A long option with one dash, which the parser takes for letters and their values.
pub fn one_dash(arguments: &[String]) -> Option<String> {
    let name = |argument: &String| {
        let name = argument.strip_prefix('-').filter(|name| name.len() > 2 && !name.starts_with('-'))?;
        named(name)
    };
    let (argument, cure) =
        arguments.iter().take_while(|argument| *argument != "--").find_map(|one| Some((one, name(one)?)))?;
    Some(format!("error: `{argument}` has one dash\n\n  {cure}"))
}

/// The cure for a command or a long option that is written in another way.
fn named(name: &str) -> Option<String> {
    let joined = name.replace('_', "-").to_lowercase();
    let is_same = |known: &&&str| **known == joined || known.replace('-', "") == joined;
    let command = Command::NAMES.iter().find(is_same).map(|command| match *command {
        "explain" => "write: inosync explain PATH".to_owned(),
        "pause" | "resume" | "allow-deletes" => format!("write: inosync {command} NODE"),
        command => format!("write: inosync {command}"),
    });
    let option = || OPTIONS.iter().find(is_same).map(|option| format!("write --{option}"));
    command.or_else(option)
}

/// The cure for an unknown argument.
fn meant(argument: &str) -> Option<String> {
    let bare = argument.trim_start_matches(['-', '\u{2013}', '\u{2014}', '\u{2212}']);
    if let Some((_, cure)) = OTHER_WORDS.iter().find(|(words, _)| words.split(' ').any(|word| word == argument)) {
        return Some((*cure).to_owned());
    }
    let near = || {
        let distance = |known: &str| strsim::osa_distance(known, &bare.to_lowercase());
        let known = Command::NAMES.iter().chain(OPTIONS).min_by_key(|known| distance(known))?;
        let is_option = OPTIONS.contains(known);
        let is_near = bare.len() > 3 && distance(known) <= 2;
        is_near.then(|| format!("did you mean {}{known}?", if is_option { "--" } else { "inosync " }))
    };
    named(bare).or_else(near).or_else(|| if argument.starts_with('-') { None } else { Some(site_of(argument)) })
}

/// The cure for a word that may be meant as a site.
fn site_of(argument: &str) -> String {
    let is_site = crate::config::sites::file_of(Some(Path::new(argument))).is_ok();
    match argument {
        file if file.ends_with(".ron") || Path::new(file).exists() => {
            format!("name the file with -c: inosync -c {file}")
        }
        _ if is_site => format!("name the site with -c: inosync -c {argument}"),
        _ => format!("the commands are {}; a site is named with -c", Command::NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse_from;

    fn message_of(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(message) = one_dash(&arguments) {
            return message;
        }
        let error = parse_from(std::iter::once(&"inosync".to_owned()).chain(&arguments)).expect_err(line);
        message(&error, &arguments)
    }

    #[test]
    fn a_refused_command_line_says_what_to_write() {
        for (line, cure) in [
            ("dryrun", "write: inosync dry-run"),
            ("--dryrun", "write: inosync dry-run"),
            ("--dry_run", "write: inosync dry-run"),
            ("stauts", "did you mean inosync status?"),
            ("--stauts", "did you mean inosync status?"),
            ("-c x.ron pasue a:", "did you mean inosync pause?"),
            ("--chek", "did you mean inosync check?"),
            ("status --jsonn", "did you mean --json?"),
            ("--status --verbos", "did you mean --verbose?"),
            ("--reload", "write: inosync reload"),
            ("hup", "write: inosync reload"),
            ("stop", "systemctl stop inosync@NAME"),
            ("start", "leave it out"),
            ("www.ron", "name the file with -c: inosync -c www.ron"),
            ("status www.ron", "name the file with -c: inosync -c www.ron"),
            ("www", "the commands are check, dry-run"),
            ("-c", "inosync -c /etc/inosync/NAME.ron"),
            ("-c --check", "inosync -c /etc/inosync/NAME.ron"),
            ("-c a -c b", "one inosync for each file"),
            ("-c a status -c b", "one inosync for each file"),
            ("--check status", "two commands"),
            ("-status", "write: inosync status"),
            ("-once -c x", "write: inosync once"),
            ("-pause a:", "write: inosync pause NODE"),
            ("-explain a", "write: inosync explain PATH"),
            ("-config x", "write --config"),
            ("\u{2014}check", "write: inosync check"),
            ("--CHECK", "write: inosync check"),
            ("Check", "write: inosync check"),
            ("--daemon", "systemd runs it"),
            ("-n", "write: inosync dry-run"),
            ("-onepass", "write: inosync once"),
            ("-q", "level: Warning"),
            ("-d", "systemd runs it"),
            ("--debug", "write -v"),
        ] {
            let message = message_of(line);
            assert!(message.contains(cure), "{line}: wanted {cure}\n{message}");
        }
    }

    #[test]
    fn what_is_said_to_write_is_a_command_or_an_option() {
        for (words, cure) in OTHER_WORDS {
            let commands = cure.split("inosync ").skip(1).filter_map(|rest| rest.split(' ').next());
            commands.for_each(|command| assert!(Command::NAMES.contains(&command), "{cure}"));
            let is_known = |word: &str| Command::NAMES.contains(&word.trim_start_matches('-'));
            assert!(!words.split(' ').any(is_known), "{words}");
        }
    }

    #[test]
    fn every_command_and_every_option_is_known_here() {
        let helps = Command::NAMES.map(|name| parse_from(["inosync", name, "--help"]).unwrap_err().message);
        let words = helps.iter().flat_map(|help| help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
        for option in words.filter_map(|word| word.strip_prefix("--")).filter(|option| !option.is_empty()) {
            assert!(OPTIONS.contains(&option), "{option}");
        }
    }
}
