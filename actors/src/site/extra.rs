//! The user's own rsync parameters (`extra`), checked against the daemon's use of rsync. rsync itself checks that it
//! knows a parameter and that the parameter suits the node.
//!
//! The daemon feeds each rsync a list of paths on standard input, reads the changes from its standard output, and
//! promises that source and mirror are equal at rest. A parameter that breaks one of these is refused, with advice on
//! what to write instead.

mod dirs;
mod options;
mod table;
#[cfg(test)]
mod tests;
mod without;

use std::fmt;

use crate::path::Shown;
pub use crate::site::extra::dirs::Keeps;
use crate::site::extra::options::{Opt, options};
use crate::site::extra::table::{DAEMON_ONLY, HIDES_LINES, is_one_of};

/// Checked rsync parameters, one argument each. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    words: Vec<String>,
    comparing: Vec<String>,
    rsh: Option<String>,
    reads_contents: bool,
    stores_late: bool,
    address_family: Option<&'static str>,
    daemon_only: Option<String>,
    keeps: Vec<Keeps>,
    places: Vec<(&'static str, String)>,
    warnings: Vec<(usize, ExtraWarning)>,
}

/// The reason why a parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraError {
    /// A quote is not closed.
    #[error("a quote is not closed")]
    Quote,
    /// The argument contains a NUL byte.
    #[error("`{0}` holds a NUL byte")]
    Nul(Shown),
    /// The word is neither an option nor the value of one.
    #[error("`{0}` is no option, so rsync would take it for one more source")]
    NoOption(Shown),
    /// The word begins with a dash as word processors write it.
    #[error("`{0}` begins with a typographic dash, so it is no option")]
    Dash(Shown),
    /// The name of an option contains a blank.
    #[error("`{0}` is one parameter with a blank in it, which rsync does not know")]
    Blank(Shown),
    /// A bundle of short options contains a character that is no option.
    #[error("`{0}` has `{1}` in it, which is no option")]
    NoLetter(Shown, char),
    /// The word is `--`, which ends the options, but the daemon's own options follow.
    #[error("`--` ends rsync's options, but the daemon adds its own")]
    EndOfOptions,
    /// The option lacks its value, and would take the daemon's next argument for it.
    #[error("`{0}` needs a value")]
    MissingValue(String),
    /// Backups would be stored in the mirror.
    #[error(
        "--backup without an absolute --backup-dir is refused: deleted files and directories would stay in the mirror \
         under other names"
    )]
    BackupInMirror,
    /// Temporary or partial files would be stored in a directory that depends on the run.
    #[error("{option}={dir} is refused: a relative path is below the directory that a run writes to, which differs")]
    RelativeDir {
        /// Name of the option.
        option: String,
        /// Value of the option.
        dir: Shown,
    },
    /// Changes in place would reach files that are hard-linked to another copy.
    #[error("--inplace with --link-dest is refused: a change would go through the hard link into the other copy")]
    InplaceLinks,
    /// The daemon cannot work with the option.
    #[error("{option}{} is refused: {reason}", PartOfWord(option, within))]
    Refused {
        /// Name of the option alone.
        option: String,
        /// The word that contains the option.
        within: Shown,
        /// The reason for the refusal.
        reason: &'static str,
        /// Advice on what to write instead.
        cure: &'static str,
    },
}

impl ExtraError {
    /// Returns advice on what to write instead.
    pub fn cure(&self) -> String {
        match self {
            ExtraError::Quote => "close it, or write a list with one string per parameter".into(),
            ExtraError::Nul(_) => "remove it".into(),
            ExtraError::NoOption(_) => "remove it, or write a value as `--option=value`".into(),
            ExtraError::Dash(word) => {
                format!("write the dashes of the keyboard: `--{}`", word.as_str().trim_start_matches(DASHES))
            }
            ExtraError::Blank(_) => {
                "write a list with one string per parameter, or one string without inner quotes".into()
            }
            ExtraError::NoLetter(..) => "write the parameters with a blank between them: \"-a -z\"".into(),
            ExtraError::EndOfOptions => "remove it".into(),
            ExtraError::MissingValue(_) => "write it behind the option".into(),
            ExtraError::BackupInMirror => "add --backup-dir=/DIR, a directory outside of the mirror".into(),
            ExtraError::RelativeDir { option, .. } => {
                format!("write an absolute path outside of the mirror: {option}=/DIR")
            }
            ExtraError::InplaceLinks => "leave one of them out, or use --copy-dest instead of --link-dest".into(),
            ExtraError::Refused { cure, .. } => (*cure).into(),
        }
    }
}

/// Shows the word if the option is only a part of it.
struct PartOfWord<'a>(&'a str, &'a Shown);

impl fmt::Display for PartOfWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1.as_str() { Ok(()) } else { write!(f, " (in `{}`)", self.1) }
    }
}

/// A parameter that is accepted although it does less, or something else, than it seems to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtraWarning {
    /// The option `--fake-super`, here or at the node.
    #[error("--fake-super makes symlinks, devices and special files into plain files at the node")]
    FakeSuper,
    /// The option `--partial-dir` with a relative path and a plain name.
    #[error("a relative --partial-dir leaves each directory of its name out of comparisons, also one of the source")]
    PartialName,
}

impl ExtraWarning {
    /// Returns advice on what to write instead.
    pub fn cure(self) -> &'static str {
        match self {
            ExtraWarning::FakeSuper => "leave it out, unless the mirror is only ever read by rsync with --fake-super",
            ExtraWarning::PartialName => {
                "give it a name that nothing in the source has, such as --partial-dir=.rsync-partial"
            }
        }
    }
}

/// Option that cancels `-v`: with `-vv` rsync also names unchanged files, which the daemon would count as sent.
const QUIET: &str = "--no-verbose";

/// Dashes that word processors put in place of `--` and `-`.
const DASHES: [char; 4] = ['\u{2010}', '\u{2013}', '\u{2014}', '\u{2212}'];

impl Extra {
    /// Splits a line into words by the rules of a POSIX shell (quotes and backslashes; nothing is expanded).
    ///
    /// # Errors
    /// [`ExtraError`] for an unclosed quote.
    pub fn split(line: &str) -> Result<Vec<String>, ExtraError> {
        shell_words::split(line).map_err(|_| ExtraError::Quote)
    }

    /// Splits a line and checks its words.
    ///
    /// # Errors
    /// [`ExtraError`] as for [`Extra::split`] and, for the first word that is refused, [`Extra::from_words`].
    pub fn parse(line: &str) -> Result<Extra, ExtraError> {
        Extra::from_words(Extra::split(line)?)
            .map_err(|errors| errors.into_iter().next().map_or(ExtraError::Quote, |(_, error)| error))
    }

    /// Checks parameters, one argument each.
    ///
    /// # Errors
    /// Every word that is no option, lacks its value, or would break the daemon's use of rsync, with its index from 0.
    pub fn from_words(mut words: Vec<String>) -> Result<Extra, Vec<(usize, ExtraError)>> {
        let found = inspect(&words);
        if !found.errors.is_empty() {
            return Err(found.errors);
        }
        if found.verbose {
            words.push(QUIET.to_owned());
        }
        let shown = words.iter().enumerate().filter(|(at, _)| !found.hiding.contains(at));
        let comparing = shown.map(|(_, word)| word.clone()).collect();
        Ok(Extra {
            words,
            comparing,
            rsh: found.rsh,
            reads_contents: found.reads_contents,
            stores_late: found.stores_late,
            address_family: found.address_family,
            daemon_only: found.daemon_only,
            keeps: found.keeps,
            places: found.places,
            warnings: found.warnings,
        })
    }

    /// Returns the arguments for rsync. If `-v` is among them, the last one cancels it.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns the arguments for a run that only reports differences: without those that suppress reports.
    pub(crate) fn comparing(&self) -> &[String] {
        &self.comparing
    }

    /// Returns the directories at a node in which rsync keeps files that the source does not have.
    pub fn keeps(&self) -> &[Keeps] {
        &self.keeps
    }

    /// Returns the warnings, each with the index of its word.
    pub fn warnings(&self) -> &[(usize, ExtraWarning)] {
        &self.warnings
    }

    /// Returns the user's remote shell (`-e`, `--rsh`); `None` if there is none.
    pub fn rsh(&self) -> Option<&str> {
        self.rsh.as_deref()
    }

    /// Iterates over the files and directories that rsync opens by name, on this machine or at a local mirror, with the
    /// long name of each option.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.places.iter().map(|(option, path)| (*option, path.as_str()))
    }

    /// Tells if files are compared by content (`-c`, `--checksum`): both ends read all files, and send nothing
    /// meanwhile.
    pub(crate) fn reads_contents(&self) -> bool {
        self.reads_contents
    }

    /// Tells if the receiver keeps received files aside, and moves them into the mirror at the end of a run
    /// (`--delay-updates`).
    pub(crate) fn stores_late(&self) -> bool {
        self.stores_late
    }

    /// Tells if files that are one in the source are to be one at a node (`-H`, `--hard-links`).
    pub(crate) fn links_hard(&self) -> bool {
        let given = self.words.iter().filter_map(|word| options(word).ok()).flatten();
        let mut given = given.filter_map(|option| match option.name {
            "H" | "hard-links" => Some(true),
            "no-H" | "no-hard-links" => Some(false),
            _ => None,
        });
        given.next_back().unwrap_or(false)
    }

    /// Tells if files at a node are changed in place (`--inplace`), and so by all their names at once.
    pub(crate) fn writes_in_place(&self) -> bool {
        self.words.iter().any(|word| word.ends_with("--inplace"))
    }

    /// Tells if an option keeps rsync from reporting some of its changes.
    pub(crate) fn hides_lines(&self) -> bool {
        self.words.len() > self.comparing.len()
    }

    /// Returns `-4` or `-6`, which rsync passes on to ssh; the last one counts.
    pub(crate) fn address_family(&self) -> Option<&'static str> {
        self.address_family
    }

    /// Returns the last value of a long option such as `--rsync-path`, in either of its two forms.
    pub(crate) fn value_of(&self, option: &str) -> Option<&str> {
        let joined = self.words.iter().filter_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        let separate = self.words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str());
        joined.chain(separate).next_back()
    }

    /// Returns an option that only works with rsync daemons; `None` if there is none.
    pub fn daemon_only(&self) -> Option<&str> {
        self.daemon_only.as_deref()
    }
}

/// The findings of a pass over all words.
#[derive(Default)]
struct ExtraFindings {
    errors: Vec<(usize, ExtraError)>,
    verbose: bool,
    rsh: Option<String>,
    reads_contents: bool,
    stores_late: bool,
    address_family: Option<&'static str>,
    daemon_only: Option<String>,
    keeps: Vec<Keeps>,
    places: Vec<(&'static str, String)>,
    warnings: Vec<(usize, ExtraWarning)>,
    /// Indices of the words that keep rsync from reporting differences.
    hiding: Vec<usize>,
    risky: RiskyWords,
}

/// Indices of the words that are refused without, or beside, another word.
#[derive(Default)]
struct RiskyWords {
    /// It asks for backups.
    backup: Option<usize>,
    /// It asks for links to another copy.
    links: Option<usize>,
    /// It asks for changes in place.
    inplace: Option<usize>,
}

/// Checks the words one by one, and then in combination.
fn inspect(words: &[String]) -> ExtraFindings {
    let mut found = ExtraFindings::default();
    let mut rest = words.iter().enumerate();
    while let Some((at, word)) = rest.next() {
        if word.contains('\0') {
            found.errors.push((at, ExtraError::Nul(Shown::from(word.as_str()))));
            continue;
        }
        let options = match options(word) {
            Ok(options) => options,
            Err(error) => {
                found.errors.push((at, error));
                continue;
            }
        };
        for option in options {
            let separate = if option.wants_value() { rest.next() } else { None };
            let value = option.value.or(separate.map(|(_, value)| value.as_str()));
            match option.check(value, word) {
                Ok(()) => found.note(&option, value, at, separate.map(|(at, _)| at)),
                Err(error) => found.errors.push((at, error)),
            }
        }
    }
    found.check_together();
    found
}

impl ExtraFindings {
    /// Records an option that is acceptable by itself. `separate` is the index of the word that holds its value.
    fn note(&mut self, option: &Opt<'_>, value: Option<&str>, at: usize, separate: Option<usize>) {
        match option.name {
            "rsh" => self.rsh = value.map(str::to_owned),
            "c" | "checksum" => self.reads_contents = true,
            "delay-updates" => self.stores_late = true,
            "no-delay-updates" => self.stores_late = false,
            "4" | "ipv4" => self.address_family = Some("-4"),
            "6" | "ipv6" => self.address_family = Some("-6"),
            "verbose" => self.verbose = true,
            "backup" => self.risky.backup = Some(at),
            "inplace" => self.risky.inplace = Some(at),
            "no-inplace" => self.risky.inplace = None,
            "fake-super" => self.warnings.push((at, ExtraWarning::FakeSuper)),
            "remote-option" if value == Some("--fake-super") => self.warnings.push((at, ExtraWarning::FakeSuper)),
            name if is_one_of(name, DAEMON_ONLY) => self.daemon_only = Some(option.written.clone()),
            name if is_one_of(name, HIDES_LINES) => {
                self.risky.links = Some(at);
                self.hiding.extend([at].into_iter().chain(separate));
            }
            _ => {}
        }
        // For a local mirror, the options for the other end name places on this machine too.
        let remote = value.filter(|_| option.name == "remote-option");
        let remote = remote.and_then(|word| word.strip_prefix("--")?.split_once('='));
        let named = remote.or_else(|| Some((option.name, value?)));
        self.places.extend(named.and_then(|(name, path)| Some((table::place(name)?, path.to_owned()))));
        let Some(keeps) = value.and_then(|value| Keeps::of(option, value, at)) else { return };
        if let Some(warning) = keeps.warning() {
            self.warnings.push((at, warning));
        }
        if let Err(error) = keeps.check() {
            self.errors.push((at, error));
        }
        self.keeps.push(keeps);
    }

    fn check_together(&mut self) {
        let to_dir = self.keeps.iter().any(Keeps::is_backup);
        if let (Some(at), false) = (self.risky.backup, to_dir) {
            self.errors.push((at, ExtraError::BackupInMirror));
        }
        if let (Some(_), Some(at)) = (self.risky.links, self.risky.inplace) {
            self.errors.push((at, ExtraError::InplaceLinks));
        }
        self.errors.sort_by_key(|(at, _)| *at);
    }
}
