//! The cure of a refused command line, where the parser has none.

use std::path::Path;

use structopt::StructOpt;
use structopt::clap::{Error, ErrorKind};

use super::Options;

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
    ("reload", "write `kill -HUP PID`, or `systemctl reload inosync@NAME`"),
    ("restart", "write `systemctl restart inosync@NAME`"),
    ("stop quit", "write `kill PID`, or `systemctl stop inosync@NAME`"),
    ("-onepass --onepass", "write --once"),
    ("test validate --test --validate -t", "write --check"),
    ("-n --simulate --pretend", "write --dry-run"),
    ("-q --quiet --silent", "write log: (level: Warning) into the configuration"),
    ("--debug --log-level -l --log --logfile", "write -v, or log: (level: Debug) into the configuration"),
    ("list info state", "write --status"),
    ("--exclude --extra --rpath --wpath --rnodes", "write it into the configuration: see inosync.ron(5)"),
];

/// The message for a refused command line of these arguments.
pub fn message(error: &Error, arguments: &[String]) -> String {
    let cure = match error.kind {
        ErrorKind::UnknownArgument => {
            let asked = error.info.as_ref().and_then(|info| info.first()).map_or("", String::as_str);
            // The parser names the first letter of a bundle alone.
            let whole = arguments.iter().find(|argument| asked.len() == 2 && argument.starts_with(asked));
            meant(whole.map_or(asked, String::as_str))
        }
        ErrorKind::EmptyValue if error.message.contains("--config") => {
            Some("write the file behind it: inosync -c /etc/inosync/NAME.ron".to_owned())
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
    let name = |argument: &'_ String| {
        let name = argument.strip_prefix('-').filter(|name| name.len() > 2 && !name.starts_with('-'))?;
        long_options().iter().find(|option| option.as_str() == name).cloned()
    };
    let option = arguments.iter().take_while(|argument| *argument != "--").find_map(name)?;
    Some(format!("error: `-{option}` has one dash\n\n  write --{option}"))
}

/// The cure of an unknown argument.
fn meant(argument: &str) -> Option<String> {
    let bare = argument.trim_start_matches(['-', '\u{2013}', '\u{2014}', '\u{2212}']);
    if let Some((_, cure)) = OTHER_WORDS.iter().find(|(words, _)| words.split(' ').any(|word| word == argument)) {
        return Some((*cure).to_owned());
    }
    let options = long_options();
    let joined = bare.replace('_', "-").to_lowercase();
    let same = options.iter().find(|option| **option == joined || option.replace('-', "") == joined);
    if let Some(option) = same {
        let value =
            if ["explain", "pause", "resume", "config"].contains(&option.as_str()) { " and its value" } else { "" };
        return Some(format!("write --{option}{value}"));
    }
    if argument.starts_with('-') {
        // The parser says what is nearest.
        return None;
    }
    let near = |option: &&String| bare.len() > 3 && strsim::osa_distance(option, &joined) <= 2;
    if let Some(option) = options.iter().find(near) {
        return Some(format!("did you mean --{option}?"));
    }
    let usual = format!("/etc/inosync/{argument}.ron");
    match argument {
        file if file.ends_with(".ron") || Path::new(file).exists() => {
            Some(format!("name the file with -c: inosync -c {file}"))
        }
        _ if Path::new(&usual).exists() => Some(format!("name the file with -c: inosync -c {usual}")),
        _ => Some("options begin with `--`, and the configuration is named with -c FILE".to_owned()),
    }
}

/// The names of all long options, without dashes.
fn long_options() -> Vec<String> {
    let mut help = Vec::new();
    // A String takes every text.
    let _ = Options::clap().write_long_help(&mut help);
    let help = String::from_utf8_lossy(&help).into_owned();
    let words = help.lines().filter(|line| line.trim_start().starts_with('-'));
    words
        .filter_map(|line| line.split([' ', ',']).find_map(|word| word.strip_prefix("--")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let Some(message) = one_dash(&arguments) {
            return message;
        }
        let error = Options::from_iter_safe(std::iter::once(&"inosync".to_owned()).chain(&arguments)).expect_err(line);
        message(&error, &arguments)
    }

    #[test]
    fn a_refused_command_line_says_what_to_write() {
        for (line, cure) in [
            ("status", "write --status"),
            ("check", "write --check"),
            ("once", "write --once"),
            ("verify", "write --verify"),
            ("dry-run", "write --dry-run"),
            ("dryrun", "write --dry-run"),
            ("--dryrun", "write --dry-run"),
            ("--dry_run", "write --dry-run"),
            ("pause a:", "write --pause and its value"),
            ("resume a:", "write --resume and its value"),
            ("-c x.ron explain a", "write --explain and its value"),
            ("help", "write --help"),
            ("version", "write --version"),
            ("reload", "kill -HUP PID"),
            ("stop", "systemctl stop inosync@NAME"),
            ("start", "leave it out"),
            ("www.ron", "name the file with -c: inosync -c www.ron"),
            ("www", "the configuration is named with -c FILE"),
            ("-c", "inosync -c /etc/inosync/NAME.ron"),
            ("-c --check", "inosync -c /etc/inosync/NAME.ron"),
            ("-c a -c b", "one inosync for each file"),
            ("--stauts", "Did you mean --status?"),
            ("--chek", "Did you mean --check?"),
            ("stauts", "did you mean --status?"),
            ("-status", "write --status"),
            ("-check", "write --check"),
            ("-once -c x", "write --once"),
            ("\u{2014}check", "write --check"),
            ("--CHECK", "write --check"),
            ("--daemon", "systemd runs it"),
            ("-n", "write --dry-run"),
            ("-onepass", "write --once"),
            ("-q", "level: Warning"),
            ("-d", "systemd runs it"),
            ("--debug", "write -v"),
        ] {
            let message = message_of(line);
            assert!(message.contains(cure), "{line}: wanted {cure}\n{message}");
        }
    }

    #[test]
    fn what_is_said_to_write_is_an_option() {
        let options = long_options();
        assert!(options.len() > 10, "{options:?}");
        for (words, cure) in OTHER_WORDS {
            let named = cure.split([' ', ',']).filter_map(|word| word.strip_prefix("--"));
            named.for_each(|option| assert!(options.iter().any(|known| known == option), "{cure}"));
            assert!(
                !words.split(' ').any(|word| options.iter().any(|option| format!("--{option}") == word)),
                "{words}"
            );
        }
    }
}
