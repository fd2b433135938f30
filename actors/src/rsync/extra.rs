//! The user's own rsync parameters (`extra`), checked against what would break the daemon's use of rsync.
//! Whether the installed rsync knows a parameter, and at which nodes it makes sense, is left to rsync.
//!
//! The daemon feeds each rsync a list of paths on stdin, reads what was done from stdout, and promises that source
//! and mirror are equal at rest. A parameter that breaks one of these is refused, with what to write instead.

mod table;
mod without;

use std::fmt;

use crate::path::Shown;
use table::{DAEMON_ONLY, REFUSED, REFUSED_VALUES, is_one_of, long_name, takes_value};

/// Checked rsync parameters, one argument each. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    words: Vec<String>,
    sets_rsh: bool,
    address_family: Option<&'static str>,
    daemon_only: Option<String>,
}

/// Why a parameter is refused. The text names the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraError {
    /// The shell quoting does not end.
    #[error("a quote is not closed: close it, or write a list with one string per parameter")]
    Quote,
    /// An argument of a process cannot hold a NUL byte.
    #[error("`{0}` holds a NUL byte: remove it")]
    Nul(Shown),
    /// Neither an option nor the value of one.
    #[error(
        "`{0}` is no option, so rsync would take it for one more source: remove it, or write a value as \
         `--option=value`"
    )]
    NoOption(Shown),
    /// `--` ends the options, and the daemon's own follow.
    #[error("`--` ends rsync's options, but the daemon adds its own: remove it")]
    EndOfOptions,
    /// The option would swallow the daemon's next argument.
    #[error("`{0}` needs a value: write it behind the option")]
    MissingValue(String),
    /// Backups beside their files.
    #[error(
        "--backup without an absolute --backup-dir is refused: deleted files and directories would stay in the mirror \
         under other names; add --backup-dir=/DIR, a directory outside of the mirror"
    )]
    BackupInMirror,
    /// An option that the daemon cannot work with.
    #[error("{option}{} is refused: {reason}", Within(option, within))]
    Refused {
        /// The option alone.
        option: String,
        /// The word it was found in.
        within: Shown,
        /// Why, and what to write instead.
        reason: &'static str,
    },
}

/// Names the word when the option is only a part of it.
struct Within<'a>(&'a str, &'a Shown);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1.as_str() { Ok(()) } else { write!(f, " (in `{}`)", self.1) }
    }
}

impl Extra {
    /// Splits a line into words by the rules of a POSIX shell (quotes and backslashes; nothing is expanded) and
    /// checks them.
    ///
    /// # Errors
    /// [`ExtraError`] for an unclosed quote and as for [`Extra::from_words`].
    pub fn parse(line: &str) -> Result<Extra, ExtraError> {
        Extra::from_words(shell_words::split(line).map_err(|_| ExtraError::Quote)?)
    }

    /// Checks parameters, one argument each.
    ///
    /// # Errors
    /// [`ExtraError`] for the first one that is no option, lacks its value, or would break the daemon's use of rsync.
    pub fn from_words(words: Vec<String>) -> Result<Extra, ExtraError> {
        let found = inspect(&words).map_err(|(_, error)| error)?;
        let Found { sets_rsh, address_family, daemon_only, .. } = found;
        Ok(Extra { words, sets_rsh, address_family, daemon_only })
    }

    /// The first word that [`Extra::from_words`] would refuse, by its number from 0, and why.
    pub fn first_refused(words: &[String]) -> Option<(usize, ExtraError)> {
        inspect(words).err()
    }

    /// The arguments, as they go to rsync.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the remote shell is chosen here (`-e`, `--rsh`), so that the daemon leaves its own choice out.
    pub fn sets_rsh(&self) -> bool {
        self.sets_rsh
    }

    /// `-4` or `-6`, which rsync hands on to ssh; the last one counts.
    pub fn address_family(&self) -> Option<&'static str> {
        self.address_family
    }

    /// The last value of a long option, such as `--rsync-path`, in either of its two forms.
    pub fn value_of(&self, option: &str) -> Option<&str> {
        let joined = self.words.iter().filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        let separate = self.words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str());
        joined.chain(separate).next_back()
    }

    /// An option among them with which rsync reaches rsync daemons only.
    pub fn daemon_only(&self) -> Option<&str> {
        self.daemon_only.as_deref()
    }
}

/// What a pass over all words finds.
#[derive(Default)]
struct Found {
    sets_rsh: bool,
    address_family: Option<&'static str>,
    daemon_only: Option<String>,
    /// Where backups are asked for.
    backup: Option<usize>,
    /// Whether they leave the mirror.
    backup_dir: bool,
}

/// Checks the words one by one, and then what matters of them together.
fn inspect(words: &[String]) -> Result<Found, (usize, ExtraError)> {
    let mut found = Found::default();
    let mut rest = words.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        for option in options(word).map_err(|error| (at, error))? {
            let separate = if option.wants_value() { rest.next() } else { None };
            let value = option.value.or(separate.map(|(_, value)| value.as_str()));
            option.check(value, word).map_err(|error| (at, error))?;
            match option.name {
                "rsh" => found.sets_rsh = true,
                "4" | "ipv4" => found.address_family = Some("-4"),
                "6" | "ipv6" => found.address_family = Some("-6"),
                "backup" => found.backup = Some(at),
                // It implies --backup.
                "backup-dir" => {
                    (found.backup, found.backup_dir) = (Some(at), value.is_some_and(|dir| dir.starts_with('/')))
                }
                name if is_one_of(name, DAEMON_ONLY) => found.daemon_only = Some(option.written),
                _ => {}
            }
        }
    }
    if let (Some(at), false) = (found.backup, found.backup_dir) {
        return Err((at, ExtraError::BackupInMirror));
    }
    let nul = words.iter().enumerate().find(|(_, word)| word.contains('\0'));
    nul.map_or(Ok(found), |(at, word)| Err((at, ExtraError::Nul(Shown::from(word.as_str())))))
}

/// One option found in a word.
struct Opt<'a> {
    /// As in the word: `-n`, `--dry-run`.
    written: String,
    /// The long name; the letter itself for a short option that is neither refused nor takes a value.
    name: &'a str,
    /// The value in the same word.
    value: Option<&'a str>,
}

impl Opt<'_> {
    /// Whether the next word is its value.
    fn wants_value(&self) -> bool {
        self.value.is_none() && takes_value(self.name)
    }

    fn check(&self, value: Option<&str>, word: &str) -> Result<(), ExtraError> {
        let refuse = |reason| ExtraError::Refused { option: self.written.clone(), within: Shown::from(word), reason };
        if let Some((_, reason)) = REFUSED.iter().find(|(names, _)| is_one_of(self.name, names)) {
            return Err(refuse(reason));
        }
        if value.is_none() && takes_value(self.name) {
            return Err(ExtraError::MissingValue(self.written.clone()));
        }
        let same = |&&(name, refused, _): &&(&str, &str, &str)| name == self.name && value == Some(refused);
        if let Some((_, _, reason)) = REFUSED_VALUES.iter().find(same) {
            return Err(refuse(reason));
        }
        if let (Some(value), "remote-option") = (value, self.name) {
            check_remote(value)?;
        }
        Ok(())
    }
}

/// The remote rsync may have a log file of its own; all else that is refused here would break it there too.
fn check_remote(word: &str) -> Result<(), ExtraError> {
    if word.starts_with("--log-file=") { Ok(()) } else { Extra::from_words(vec![word.to_owned()]).map(|_| ()) }
}

/// The options of one word: one long option, or a bundle of letters that ends with the first that takes a value.
fn options(word: &str) -> Result<Vec<Opt<'_>>, ExtraError> {
    if word == "--" {
        return Err(ExtraError::EndOfOptions);
    }
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return Ok(vec![Opt { written: format!("--{name}"), name, value }]);
    }
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
        return Err(ExtraError::NoOption(Shown::from(word)));
    };
    let mut found = Vec::new();
    for (at, letter) in letters.char_indices() {
        let (here, rest) = letters[at..].split_at(letter.len_utf8());
        let name = long_name(letter).unwrap_or(here);
        let takes_value = takes_value(name);
        let value = (takes_value && !rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
        found.push(Opt { written: format!("-{letter}"), name, value });
        if takes_value {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mirror_can_use_passes_unchanged() {
        let lines =
            "-a|-avz|--rsh=ssh -a|-e ssh|-aHAXS --numeric-ids|-r --recursive --relative -d --dirs|-O -J -U -N -46
            |--chmod=F644 --chmod D755|--timeout 30|--modify-window=0|-@ 1|-@1|--bwlimit 100|--bwlimit=1m|-B 1024|-W
            |--password-file=/etc/secret|--port 8730|--contimeout=5|--partial --partial-dir .rsync-partial|-T /tmp|-s
            |--rsync-path 'sudo rsync'|-M--fake-super|-M --log-file=/var/log/x|--remote-option=--fake-super
            |-ab --backup-dir=/old|--backup-dir /old
            |--backup --backup-dir /old --suffix .1|--link-dest /x|--max-size 1g|--inplace --no-whole-file|--fsync
            |--no-perms --no-o --no-g --no-links|--outbuf=L|-c|--checksum|-I|--delay-updates|--no-motd --motd|-8
            |--secluded-args|--mkpath|--safe-links|--skip-compress gz/bz2|--compress-level 9 --zc zstd --zl 3
            |--usermap *:www|--chown www:www|--no-h --no-i --no-progress|--force|--no-such-option|--sparse|";
        for line in lines.split('|').map(str::trim) {
            let extra = Extra::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(extra.words(), shell_words::split(line).unwrap(), "{line}");
        }
    }

    #[test]
    fn what_breaks_the_mirror_is_refused_in_every_spelling() {
        for (message, lines) in [
            ("its own list of paths", "--files-from=x|--files-from x|--from0|-0|-az0|--no-from0|-M --from0"),
            ("something else than a sender", "--daemon|--config=x|--dparam x|--detach|--no-detach|--server|--sender"),
            ("something else than a sender", "--list-only|--version|-V|--help"),
            ("batch files", "--write-batch=x|--only-write-batch x|--read-batch=x"),
            ("use `inosync --dry-run`", "-n|--dry-run|-avzn"),
            ("deletes from the source", "--remove-source-files|--remove-sent-files"),
            (
                "what is deleted on a node, and when",
                "--ignore-missing-args|--delete|--del|--delete-before|--delete-during",
            ),
            ("what is deleted on a node, and when", "--delete-delay|--delete-after|--delete-missing-args|--no-delete"),
            ("what is deleted on a node, and when", "--no-force"),
            ("use the key `max_delete`", "--max-delete=5|--max-delete 5"),
            ("never touched on a node", "--delete-excluded|-M--delete-excluded"),
            ("cannot read for a moment", "--ignore-errors"),
            ("empty directories", "-m|--prune-empty-dirs"),
            ("use `rexcludes`", "--exclude=x|--exclude x|--exclude-from=x|--include=x|--include-from x|--filter=x"),
            ("use `rexcludes`", "-f x|-f-x|-F|-aFF|-C|--cvs-exclude"),
            ("mount points", "-x|--one-file-system"),
            ("must arrive where it is", "--no-dirs|--no-d|--old-dirs|--old-d|--no-relative|--no-R|--no-implied-dirs"),
            ("must arrive where it is", "--no-i-d|--no-recursive|--no-r"),
            ("behind a symlink", "-L|--copy-links|--copy-unsafe-links|-k|--copy-dirlinks"),
            ("out of the mirror", "-K|--keep-dirlinks"),
            ("without notice", "--existing|--ignore-non-existing|--ignore-existing|--compare-dest=/x|-u|--update"),
            ("keeps the size", "--size-only"),
            ("torn on the node", "--append|--append-verify"),
            ("the whole tree again", "--no-times|--no-t"),
            ("use -D", "--copy-devices|--write-devices"),
            ("abort a whole batch", "-y|--fuzzy"),
            ("byte for byte", "--iconv=utf8|--iconv utf8"),
            ("daemon chooses it", "--protocol=29"),
            ("left half done", "--stop-after=1|--time-limit 1|--stop-at=12:00"),
            ("use --timeout=SECONDS", "--no-timeout"),
            ("write the seconds", "--timeout=0|--timeout 0"),
            (
                "reads rsync's output",
                "--out-format=%n|--log-format=%n|-i|--itemize-changes|--info=progress2|--debug=ALL",
            ),
            ("reads rsync's output", "--stats|-q|--quiet|-avh|--human-readable|--stderr=all|--msgs2stderr"),
            ("use --partial", "-P|--progress|-avP"),
            ("use `logfile`", "--log-file=/x|--log-file /x"),
            ("stdin carries", "--password-file=-|--password-file -"),
        ] {
            for line in lines.split('|') {
                let error = Extra::parse(line).expect_err(line).to_string();
                assert!(error.contains(" is refused: ") && error.contains(message), "{line}: {error}");
            }
        }
    }

    #[test]
    fn backups_must_leave_the_mirror() {
        for line in ["-b", "--backup", "-ab --suffix=.old", "-b --backup-dir=old", "--backup-dir ../old"] {
            assert_eq!(Extra::parse(line), Err(ExtraError::BackupInMirror), "{line}");
        }
    }

    #[test]
    fn an_option_for_rsync_daemons_only_is_known() {
        let daemon_only = |line| Extra::parse(line).unwrap().daemon_only().map(str::to_owned);
        assert_eq!(daemon_only("-a --password-file=/s -v").as_deref(), Some("--password-file"));
        assert_eq!(daemon_only("--contimeout 5").as_deref(), Some("--contimeout"));
        assert_eq!(daemon_only("-a --timeout=5 --rsync-path --contimeout"), None);
    }

    #[test]
    fn every_refusal_is_of_an_option_and_says_what_to_do_instead() {
        for (names, reason) in REFUSED {
            assert!(reason.contains("; "), "{reason}");
            for name in names.split_whitespace() {
                let error = Extra::parse(&format!("--{name}")).expect_err(name).to_string();
                assert_eq!(error, format!("--{name} is refused: {reason}"));
            }
        }
        let bundle = Extra::parse("-avzn").unwrap_err().to_string();
        assert!(bundle.starts_with("-n (in `-avzn`) is refused: "), "{bundle}");
        let value = Extra::parse("--iconv=utf8").unwrap_err().to_string();
        assert!(value.starts_with("--iconv (in `--iconv=utf8`) is refused: "), "{value}");
    }

    #[test]
    fn a_word_that_is_no_option_would_be_a_source() {
        for (line, message) in [
            ("-a /etc", "`/etc` is no option, so rsync would take it for one more source"),
            ("-v 1", "`1` is no option"),
            ("-", "`-` is no option"),
            ("''", "`` is no option"),
            ("-a -- x", "`--` ends rsync's options"),
            ("--chmod=F644 D755", "`D755` is no option"),
            ("-Mx", "`x` is no option"),
            ("-e", "`-e` needs a value"),
            ("-a --timeout", "`--timeout` needs a value"),
            ("-e 'ssh", "a quote is not closed"),
        ] {
            let error = Extra::parse(line).expect_err(line).to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
        assert_eq!(
            Extra::from_words(vec!["-a\0".into()]).unwrap_err().to_string(),
            "`-a\\x00` holds a NUL byte: remove it"
        );
    }

    #[test]
    fn a_value_is_not_looked_into() {
        for (line, words) in [
            ("-e 'ssh -n -p 1'", vec!["-e", "ssh -n -p 1"]),
            ("-avzessh", vec!["-avzessh"]),
            ("-T -n", vec!["-T", "-n"]),
            ("--rsh --delete", vec!["--rsh", "--delete"]),
            ("--rsync-path=--daemon", vec!["--rsync-path=--daemon"]),
        ] {
            assert_eq!(Extra::parse(line).unwrap().words(), words, "{line}");
        }
    }

    #[test]
    fn the_remote_shell_is_seen_in_every_spelling() {
        for (line, expected) in [
            ("-e ssh", true),
            ("-e ssh -av", true),
            ("-essh", true),
            ("-e=ssh", true),
            ("-avze 'ssh -p 1'", true),
            ("--rsh=ssh", true),
            ("--rsh ssh", true),
            ("", false),
            ("-a", false),
            ("-Te", false),
            ("--rsync-path -e", false),
            ("--existing-e", false),
        ] {
            assert_eq!(Extra::parse(line).unwrap().sets_rsh(), expected, "{line}");
        }
        assert_eq!(Extra::default(), Extra::parse("").unwrap());
    }

    #[test]
    fn the_address_family_is_the_last_one_asked_for() {
        for (line, expected) in
            [("", None), ("-a4", Some("-4")), ("--ipv6", Some("-6")), ("-6 --ipv4", Some("-4")), ("-T -4", None)]
        {
            assert_eq!(Extra::parse(line).unwrap().address_family(), expected, "{line}");
        }
    }

    #[test]
    fn every_option_that_rsync_lists_with_a_value_is_known_to_take_one() {
        let help = std::process::Command::new("rsync").arg("--help").output().unwrap().stdout;
        let help = String::from_utf8_lossy(&help).into_owned();
        let listed: Vec<&str> =
            help.lines().filter_map(|line| line.strip_prefix("--")?.split_once('=')).map(|(n, _)| n).collect();
        let listed: Vec<&str> = listed.into_iter().filter(|name| !name.contains([' ', ','])).collect();
        assert!(listed.len() > 30, "{help}");
        for name in listed {
            assert!(takes_value(name), "{name}");
        }
    }
}
