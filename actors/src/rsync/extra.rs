//! The user's own rsync parameters (`extra`), checked against what would break the daemon's use of rsync.
//! Whether the installed rsync knows a parameter, and at which nodes it makes sense, is left to rsync.
//!
//! The daemon feeds each rsync a list of paths on stdin, reads what was done from stdout, and promises that source
//! and mirror are equal at rest. A parameter that breaks one of these is refused, with what to write instead.

use std::fmt;

use crate::path::Escaped;

/// Checked rsync parameters, one argument each. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    words: Vec<String>,
    sets_rsh: bool,
}

/// Why a parameter is refused. The text names the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraError {
    /// The shell quoting does not end.
    #[error("a quote is not closed: close it, or write a list with one string per parameter")]
    Quote,
    /// An argument of a process cannot hold a NUL byte.
    #[error("`{0}` holds a NUL byte: remove it")]
    Nul(Word),
    /// Neither an option nor the value of one.
    #[error(
        "`{0}` is no option, so rsync would take it for one more source: remove it, or write a value as \
         `--option=value`"
    )]
    NoOption(Word),
    /// `--` ends the options, and the daemon's own follow.
    #[error("`--` ends rsync's options, but the daemon adds its own: remove it")]
    EndOfOptions,
    /// The option would swallow the daemon's next argument.
    #[error("`{0}` needs a value: write it behind the option")]
    MissingValue(String),
    /// An option that the daemon cannot work with.
    #[error("{option}{} is refused: {reason}", Within(option, within))]
    Refused {
        /// The option alone.
        option: String,
        /// The word it was found in.
        within: Word,
        /// Why, and what to write instead.
        reason: &'static str,
    },
}

/// A word of the user's, shown on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = self.0.contains(char::is_control);
        if control { Escaped(self.0.as_bytes()).fmt(f) } else { f.write_str(&self.0) }
    }
}

/// Names the word when the option is only a part of it.
struct Within<'a>(&'a str, &'a Word);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1.0 { Ok(()) } else { write!(f, " (in `{}`)", self.1) }
    }
}

/// Options whose value may stand in the next word: those that rsync's manual lists with `=VALUE`, their short forms,
/// and the older names that rsync still takes.
const VALUED: &str = "\
    address backup-dir block-size bwlimit cc checksum-choice checksum-seed chmod chown compare-dest \
    compress-choice compress-level compress-threads config confine-root contimeout copy-as copy-dest debug \
    dparam early-input exclude exclude-from files-from filter groupmap iconv include include-from info link-dest \
    log-file log-file-format log-format max-alloc max-delete max-size min-size modify-window only-write-batch \
    out-format outbuf partial-dir password-file port protocol read-batch remote-option rsh rsync-path \
    skip-compress sockopts stderr stop-after stop-at suffix temp-dir time-limit timeout usermap write-batch zc \
    zl zt";

/// The long names of short options that take a value or are refused; -F and -P, which have none, by what they do.
const SHORT: &str = "\
    @=modify-window B=block-size M=remote-option T=temp-dir e=rsh f=filter 0=from0 C=cvs-exclude K=keep-dirlinks \
    L=copy-links V=version F=cvs-exclude P=progress h=human-readable i=itemize-changes k=copy-dirlinks \
    m=prune-empty-dirs n=dry-run q=quiet u=update x=one-file-system y=fuzzy";

const OWN_LIST: &str = "the daemon hands rsync its own list of paths, NUL-separated, on stdin; leave it out";
const OWN_MODE: &str = "it turns rsync into something else than a sender of changes; leave it out";
const OWN_DELETE: &str = "the daemon decides what is deleted on a node, and when; leave it out (`initial_sync: \
    Update` starts without deletions)";
const OWN_DIRS: &str =
    "each listed path must arrive where it is in the source, and directories one by one; leave it out";
const OWN_OUTPUT: &str = "the daemon reads rsync's output; leave it out (`logfile` makes rsync write a log of its own)";
const NARROW_FILTER: &str = "runs over single paths do not honour rsync's filters; use `rexcludes`";
const SYMLINKS: &str =
    "changes behind a symlink are not seen, and its copy would go stale; mirror what it points to as a site of its own";
const KEEPS_OLD: &str =
    "changes would be left out on a node without notice; use `rexcludes` for what shall not be mirrored";
const EARLY_END: &str =
    "a waiting rsync would end, and a mirror would be left half done; leave it out, or stop the daemon instead";

/// What is refused, by long name, and why; each reason ends with what to do instead. Grouped by what would break.
const REFUSED: &[(&str, &str)] = &[
    ("files-from from0 no-from0", OWN_LIST),
    ("daemon config dparam detach no-detach server sender", OWN_MODE),
    ("list-only version help", OWN_MODE),
    ("write-batch only-write-batch read-batch", "batch files bypass the nodes; leave it out"),
    ("dry-run", "nothing would ever be sent; use `inosync --dry-run`"),
    ("remove-source-files remove-sent-files", "it deletes from the source; leave it out"),
    ("ignore-missing-args delete del delete-before delete-during delete-delay", OWN_DELETE),
    ("delete-after delete-missing-args no-delete max-delete no-force", OWN_DELETE),
    ("delete-excluded", "what is excluded is never touched on a node; leave it out"),
    ("ignore-errors", "what the source cannot read for a moment would be deleted on the nodes; leave it out"),
    ("prune-empty-dirs", "empty directories are mirrored too; leave it out"),
    ("exclude exclude-from include include-from filter cvs-exclude", NARROW_FILTER),
    ("one-file-system", "runs over single paths do not honour it; name the mount points in `rexcludes`"),
    ("no-dirs no-d old-dirs old-d no-relative no-R", OWN_DIRS),
    ("no-implied-dirs no-i-d no-recursive no-r", OWN_DIRS),
    ("copy-links copy-unsafe-links copy-dirlinks", SYMLINKS),
    ("keep-dirlinks", "writes would follow symlinks of the node out of the mirror; leave it out"),
    ("existing ignore-non-existing ignore-existing compare-dest", KEEPS_OLD),
    ("update", "a restored or renamed file has an old time and would be left out without notice; leave it out"),
    ("size-only", "a change that keeps the size would be left out without notice; leave it out"),
    ("append append-verify", "a rewritten file would be left out or torn on the node; leave it out"),
    ("no-times no-t", "without times each reconcile would send the whole tree again; leave it out"),
    ("copy-devices write-devices", "the content of devices is not mirrored; use -D for the devices themselves"),
    ("fuzzy", "together with deletions it makes rsync abort a whole batch; leave it out"),
    ("iconv", "names are mirrored byte for byte; leave it out"),
    ("protocol", "the daemon chooses it; leave it out"),
    ("stop-after time-limit stop-at", EARLY_END),
    ("no-timeout", "a dead connection would never be noticed; use --timeout=SECONDS"),
    ("out-format log-format itemize-changes info debug stats", OWN_OUTPUT),
    ("quiet human-readable stderr msgs2stderr no-msgs2stderr", OWN_OUTPUT),
    ("progress", "the daemon reads rsync's output; use --partial for what -P does besides"),
    ("log-file", "the daemon sets it; use `logfile`"),
];

/// Values that are refused although the option is not.
const REFUSED_VALUES: &[(&str, &str, &str)] = &[
    ("password-file", "-", "stdin carries the list of paths; name a file"),
    ("timeout", "0", "a dead connection would never be noticed; write the seconds"),
];

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
        match sets_rsh(&words) {
            Ok(sets_rsh) => Ok(Extra { words, sets_rsh }),
            Err((_, error)) => Err(error),
        }
    }

    /// The first word that [`Extra::from_words`] would refuse, by its number from 0, and why.
    pub fn first_refused(words: &[String]) -> Option<(usize, ExtraError)> {
        sets_rsh(words).err()
    }

    /// The arguments, as they go to rsync.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the remote shell is chosen here (`-e`, `--rsh`), so that the daemon leaves its own choice out.
    pub fn sets_rsh(&self) -> bool {
        self.sets_rsh
    }
}

/// Checks the words, and says whether one of them chooses the remote shell.
fn sets_rsh(words: &[String]) -> Result<bool, (usize, ExtraError)> {
    let mut found = false;
    let mut rest = words.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        for option in options(word).map_err(|error| (at, error))? {
            let separate = if option.wants_value() { rest.next() } else { None };
            let value = option.value.or(separate.map(|(_, value)| value.as_str()));
            option.check(value, word).map_err(|error| (at, error))?;
            found |= option.name == "rsh";
        }
    }
    let nul = words.iter().position(|word| word.contains('\0'));
    nul.map_or(Ok(found), |at| Err((at, ExtraError::Nul(Word(words[at].clone())))))
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
        let refuse =
            |reason| ExtraError::Refused { option: self.written.clone(), within: Word(word.to_owned()), reason };
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
        return Err(ExtraError::NoOption(Word(word.to_owned())));
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

fn takes_value(name: &str) -> bool {
    is_one_of(name, VALUED)
}

fn long_name(letter: char) -> Option<&'static str> {
    SHORT.split_whitespace().find_map(|pair| pair.strip_prefix(letter)?.strip_prefix('='))
}

fn is_one_of(name: &str, names: &str) -> bool {
    names.split_whitespace().any(|one| one == name)
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
            |--rsync-path 'sudo rsync'|-M--fake-super|-M --log-file=/var/log/x|--remote-option=--fake-super|-b
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
            ("what is deleted on a node, and when", "--max-delete=5|--max-delete 5|--no-force"),
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
