//! The argument lists of every kind of rsync run. Each option has a measured reason; none goes through a shell.

mod kind;
mod list;
pub(super) mod probe;

pub use self::kind::Recipe;
use self::list::nobody;
pub(crate) use self::list::{ancestors, deletions29, entries, levels, named, twins, verified};

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::node::{Kind, Node};
use crate::path::Escaped;
use crate::patterns::rules;
use crate::rsync::remote_shell::RemoteShell;
use crate::rsync::runner::process::Process;
use crate::site::Site;
use crate::site::extra::Extra;
use crate::site::version::Version;
use crate::transport::BeatTurn;
use crate::transport::rename::{Doubt, Relocation};
use crate::transport::traits::Traits;

/// Seconds without any traffic after which rsync ends by itself.
const TIMEOUT: u64 = 60;
/// An rsync daemon that takes longer than so many seconds to accept a connection does not answer; `--timeout` does not
/// cover that. Only for a connection that rsync makes itself: it is an error elsewhere.
const CONNECT_TIMEOUT: &str = "--contimeout=10";
/// The same of a comparison by content, at the least: it gives way to whatever else reads.
const VERIFY_TIMEOUT: u64 = 3600;
/// A file that is there again is sent as a new one: what the node has by its name may be one inode with what was
/// renamed from there, and must not get other attributes. Not `--ignore-existing`, which follows a symlink that is
/// planted above it.
const SENDS_ANEW: [&str; 2] = ["--ignore-times", "--whole-file"];
/// From this version on rsync protects arguments from the remote shell by itself (rsync 3.2.4 NEWS; 3.2.7 measured).
const PROTECTS_ARGUMENTS: Version = Version::new(3, 2, 7);

/// The question of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeQuestion {
    /// The protocol of the node's rsync.
    Protocol,
    /// The protocol, and the version where it runs behind a remote shell.
    Version,
}

/// The command line and the input of an rsync run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// The arguments, without the program.
    pub arguments: Vec<OsString>,
    /// The text for rsync's standard input.
    pub list: Vec<u8>,
}

/// The settings that do not change between the runs to one node.
#[derive(Debug, Clone)]
pub(crate) struct Context<'a> {
    /// The site whose configuration holds.
    pub site: &'a Site,
    /// The node that the run sends to.
    pub node: &'a Node,
    /// The version of the local rsync.
    pub version: Version,
    /// `true` if missing directories above the mirror are to be made.
    pub make_path: bool,
    /// The time that it may take to read what is compared by content.
    pub reading: Duration,
    /// The limit in KiB/s; 0 is no limit.
    pub limit: u64,
    /// The most entries that the run of a reconcile may delete; `None` if there is no limit.
    pub max_delete: Option<u64>,
    /// Filter rules that exclude the other parts of the tree. What is excluded anyway comes before them.
    pub part: &'a [OsString],
    /// The ssh, where it is not the usual one; of no use where the user chose another program.
    pub rsh: Option<String>,
    /// The traits of the node.
    pub traits: Traits,
}

impl Context<'_> {
    /// The run for a recipe. `list` is what [`entries`], [`deletions29`] or nothing gives; `rules` are filter rules for
    /// this run alone, as [`rules::exact`] and [`rules::kept`] give them.
    pub(crate) fn invocation(&self, recipe: Recipe, list: Vec<u8>, rules: &[OsString]) -> Invocation {
        let list = match recipe {
            Recipe::Root | Recipe::Probe if list.is_empty() => nobody(),
            _ => list,
        };
        let mut arguments = self.shared(recipe, &[self.node.dest()]);
        if matches!(recipe, Recipe::Present | Recipe::Similar | Recipe::Anew | Recipe::SubtreesRewritten) {
            arguments.push("--ignore-times".into());
        }
        if self.keeps(recipe) {
            // Protects everything from deletion; without --delete the receiver would not learn the exclusions.
            arguments.push("--filter=P *".into());
        }
        // What is linked was looked at one by one, and without --delete the receiver would not learn them.
        let excludes = if recipe == Recipe::Link { Vec::new() } else { rules::rules(&self.site.excludes) };
        // The first rule that matches counts: nothing that is excluded is at risk.
        let (at_risk, rules): (Vec<&OsString>, Vec<_>) = rules.iter().partition(|rule| rules::puts_at_risk(rule));
        let rules = rules.into_iter().chain(&excludes).chain(at_risk).chain(self.part);
        arguments.extend(rules.map(|rule| option("--filter=", rule)));
        if recipe == Recipe::ByLevels {
            arguments.push("--filter=P *".into());
        }
        let extra = self.extra();
        let extra = if recipe.only_looks() { extra.comparing() } else { extra.words() };
        arguments.extend(extra.iter().map(OsString::from));
        if let (Recipe::Full | Recipe::Prune, Some(most)) = (recipe, self.max_delete) {
            // What would be deleted was counted before; this is for what has changed since.
            arguments.push(format!("--max-delete={most}").into());
        }
        arguments.extend(self.forced(recipe).into_iter().map(OsString::from));
        arguments.push("--".into());
        // rsync is started in the source: whatever happens to its name meanwhile, this is the directory that was checked.
        // With a list, `./` would make it enter the source once more by its name; without one, `.` would send it as a name.
        arguments.push(if recipe.is_listed() { "." } else { "./" }.into());
        arguments.push(self.node.dest().to_owned());
        Invocation { arguments, list }
    }

    /// The run for [`Recipe::Gather`], in the directory itself; `list` names what is in it.
    pub(crate) fn gather(&self, moved: &Relocation, list: Vec<u8>) -> Invocation {
        let dest = self.node.dest_of(&moved.to);
        let basis = self.node.named_at(&moved.from, &moved.to);
        let mut arguments = self.shared(Recipe::Gather, &[&dest, &basis]);
        // Whatever the node has by the new names: what is the same is linked, and nothing else is.
        arguments.push("--checksum".into());
        arguments.extend(self.extra().words().iter().map(OsString::from));
        arguments.extend(self.forced(Recipe::Gather).into_iter().map(OsString::from));
        arguments.extend([option("--link-dest=", &basis), "--".into(), ".".into(), dest]);
        Invocation { arguments, list }
    }

    /// The run for [`Recipe::Build`], in the directory itself. `rules` are filter rules for this run alone, as if it
    /// were the whole tree.
    pub(crate) fn build(&self, moved: &Relocation, rules: &[OsString]) -> Invocation {
        let dest = self.node.dest_of(&moved.to);
        let basis = self.node.named_at(&moved.from, &moved.to);
        let mut arguments = self.shared(Recipe::Build, &[&dest, &basis]);
        match moved.doubt {
            Doubt::None => (),
            Doubt::Changing => arguments.push("--checksum".into()),
            Doubt::Replaced => arguments.push("--ignore-times".into()),
        }
        if self.site.keeps_extras() && moved.doubt != Doubt::Replaced {
            arguments.push("--filter=P *".into());
        }
        let excludes = rules::rules_below(&self.site.excludes, &moved.to);
        arguments.extend(rules.iter().chain(&excludes).map(|rule| option("--filter=", rule)));
        arguments.extend(self.extra().words().iter().map(OsString::from));
        arguments.extend(self.forced(Recipe::Build).into_iter().map(OsString::from));
        arguments.extend([option("--link-dest=", &basis), "--".into(), "./".into(), dest]);
        Invocation { arguments, list: Vec::new() }
    }

    /// The arguments of the run that sends a heartbeat, in the directory of that file. In place: the directory that holds
    /// it keeps its time. Of the user's parameters only those about the connection hold.
    pub(crate) fn heartbeat(&self, turn: BeatTurn) -> Vec<OsString> {
        let mut arguments = self.shared(Recipe::Present, &[self.node.dest()]);
        arguments.extend(self.extra().of_connection().words().iter().map(OsString::from));
        let silent = (self.node.kind() == Kind::Daemon).then_some("--no-motd");
        let forced =
            ["--dirs", "--no-recursive", "--from0", "--files-from=-", "--ignore-times", "--inplace", "--whole-file"];
        let existing = (turn == BeatTurn::Later).then_some("--existing");
        arguments.extend(silent.into_iter().chain(existing).chain(forced).map(OsString::from));
        arguments.extend(["--out-format=%i|%l|%b|%n", "--", "."].map(OsString::from));
        arguments.push(self.node.dest().to_owned());
        arguments
    }

    /// A probe that makes the node tell about itself.
    pub(crate) fn question(&self, question: ProbeQuestion) -> Invocation {
        let mut invocation = self.invocation(Recipe::Probe, Vec::new(), &[]);
        let mut options = Vec::new();
        if question == ProbeQuestion::Version && self.node.kind() == Kind::Ssh {
            let path = self.site.extra.value_of("--rsync-path").unwrap_or("rsync");
            // The remote shell runs both; the version goes to the error output, which is passed on as it is.
            options.push(format!("--rsync-path={path} --version >&2; {path}").into());
        }
        let end = invocation.arguments.iter().rposition(|word| word == "--").unwrap_or(0);
        invocation.arguments.splice(end..end, options);
        invocation
    }

    /// Returns the options that the user's own parameters may override. `paths` are those that the arguments will name
    /// at the node.
    fn shared(&self, recipe: Recipe, paths: &[&OsStr]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            vec!["-ltp".into(), self.window(recipe).into(), format!("--timeout={TIMEOUT}").into()];
        if self.limit > 0 {
            arguments.push(format!("--bwlimit={}", self.limit).into());
        }
        if let Some(logfile) = &self.site.logfile
            && !recipe.only_looks()
        {
            arguments.push(option("--log-file=", logfile.as_os_str()));
        }
        arguments.extend(self.remote_shell());
        if self.node.kind() == Kind::Daemon && self.site.extra.rsh().is_none() {
            arguments.push(CONNECT_TIMEOUT.into());
        }
        // In the value of an option the newer ones take it for protected, and some daemons do not.
        let unprotected = self.version < PROTECTS_ARGUMENTS || matches!(recipe, Recipe::Build | Recipe::Gather);
        if self.node.kind() != Kind::Local && unprotected && !paths.iter().all(|path| is_plain(path)) {
            arguments.push("-s".into());
        }
        if self.make_path {
            arguments.push("--mkpath".into());
        }
        arguments.push(Process::DEBUG.into());
        arguments
    }

    /// Returns the option by which rsync starts ssh; `None` if the user chose another program.
    fn remote_shell(&self) -> Option<OsString> {
        let ssh = RemoteShell::of(self.site).ssh().filter(|_| self.node.kind() == Kind::Ssh)?;
        Some(format!("--rsh={}", self.rsh.as_deref().unwrap_or(&ssh)).into())
    }

    /// Returns the user's parameters, without the ssh that is a part of the option above: of two, rsync takes the last one.
    fn extra(&self) -> Cow<'_, Extra> {
        match self.site.extra.rsh().and_then(|_| self.remote_shell()) {
            Some(_) => Cow::Owned(self.site.extra.without_shell()),
            None => Cow::Borrowed(&self.site.extra),
        }
    }

    /// Returns the options that even the user's own parameters must not change.
    fn forced(&self, recipe: Recipe) -> Vec<String> {
        // A message of the day would stand among rsync's own lines.
        let silent = (self.node.kind() == Kind::Daemon).then_some("--no-motd");
        let passed_over = self.traits.options().filter(|_| recipe.compares());
        // rsync 3.5.0 waits until its time is up where names of one file are both listed and below a listed directory, unless
        // it knows the whole list before it begins.
        let whole_list = (recipe.sends_trees() && self.site.extra.links_hard()).then_some("--no-inc-recursive");
        let options = silent.into_iter().chain(forced(recipe)).chain(passed_over).chain(whole_list).map(str::to_owned);
        options.chain(self.timeout(recipe).map(|seconds| format!("--timeout={seconds}"))).collect()
    }

    /// The seconds without any traffic after which rsync ends, where they are more than usual or than the user says: it
    /// says nothing while either end reads a file for its checksum.
    fn timeout(&self, recipe: Recipe) -> Option<u64> {
        let usual = self.site.extra.value_of("--timeout").and_then(|seconds| seconds.parse().ok()).unwrap_or(TIMEOUT);
        let seconds = if recipe.reads_much() { VERIFY_TIMEOUT.max(usual) } else { usual } + self.reading.as_secs();
        (seconds > usual).then_some(seconds)
    }

    /// Returns how far times may be apart. As a rule not at all: a file that is written again within a second is
    /// another one.
    fn window(&self, recipe: Recipe) -> String {
        let window = self.traits.window().filter(|_| recipe.compares()).map_or(-1, i16::from);
        format!("--modify-window={window}")
    }

    /// Tells if a run must not delete what only the node has.
    fn keeps(&self, recipe: Recipe) -> bool {
        let keeps_removed = self.site.delete.keeps_removed();
        match () {
            () if recipe.finds_clashes() => true,
            // What the source lost is counted by itself.
            () if recipe.verifies() && keeps_removed => false,
            () if recipe.deletes_extras() && self.site.keeps_extras() => true,
            // The comparison at the start is told what to keep.
            () if recipe.covers_tree() => false,
            () => keeps_removed && recipe.deletes(),
        }
    }
}

/// Returns the options that even the user's own parameters must not change, whatever the node is.
fn forced(recipe: Recipe) -> Vec<&'static str> {
    use Recipe::{
        Anew, Build, ByLevels, Clash, ClashAll, ClashBelow, Closed, Deletions29, DryRun, Frame, Full, Gather, Large,
        Levels, Link, Missing, Present, Probe, Prune, Recall, Root, Similar, Subtrees, SubtreesRewritten, Verify,
        VerifyEntries, VerifyLevels,
    };
    let mut options = match recipe {
        Present | Similar | Gather | Anew | Large | Closed | Frame | Link | Missing | ByLevels | Clash | Levels
        | Root | Deletions29 | Probe | Recall | VerifyEntries | VerifyLevels => {
            vec!["--dirs", "--no-recursive"]
        }
        Subtrees | SubtreesRewritten | ClashBelow | ClashAll | Build | Full | Prune | DryRun | Verify => {
            vec!["--recursive"]
        }
    };
    if recipe.is_listed() {
        options.extend(["--from0", "--files-from=-"]);
    }
    match recipe {
        Missing => options.extend(["--delete-missing-args"].into_iter().chain(SENDS_ANEW)),
        // Also what is at the node as it is here is told.
        Probe => options.extend(["--delete-missing-args", "-ii"]),
        ByLevels => options.extend(["--ignore-missing-args", "--existing", "--ignore-existing"]),
        Prune => options.extend(["--existing", "--ignore-existing"]),
        // Of what the node has, only what it has as another kind of entry would be made anew.
        Clash | ClashBelow => options.extend(["--ignore-missing-args", "--existing"]),
        ClashAll => options.push("--existing"),
        Present | Large | Closed | Frame | Levels | Root | Gather | Recall | VerifyEntries | VerifyLevels => {
            options.push("--ignore-missing-args")
        }
        Anew => options.extend(["--ignore-missing-args", "--whole-file"]),
        Similar => options.extend(["--ignore-missing-args", "--fuzzy", "--no-whole-file"]),
        Link => options.extend(["--hard-links", "--no-implied-dirs"]),
        Deletions29 => {
            options.extend(["--delete-missing-args", "--protocol=29", "--no-implied-dirs", "--omit-dir-times"]);
            options.extend(SENDS_ANEW);
        }
        // rsync would link all that is no directory, and later change one of two names of a symlink in its place.
        Build => options.extend(["--no-links", "--no-devices", "--no-specials"]),
        Subtrees | SubtreesRewritten | Full | DryRun | Verify => (),
    }
    if recipe == Full {
        options.extend(crate::transport::progress::OPTIONS);
    }
    if matches!(recipe, Verify | VerifyEntries | Closed) {
        options.push("--checksum");
    }
    if recipe.only_looks() {
        options.push("--dry-run");
    }
    // --delete always: without it the receiver does not learn the exclusions and deletes what they protect.
    if recipe.deletes() {
        options.extend(["--delete", "--force"]);
    }
    options.push("--out-format=%i|%l|%b|%n");
    options
}

/// A command line for people to read; it can be pasted into a shell.
pub(crate) fn shown(site: &Site, arguments: &[OsString]) -> String {
    let words = |words: &mut dyn Iterator<Item = &OsStr>| {
        shell_words::join(words.map(|word| Escaped(word.as_encoded_bytes()).to_string()))
    };
    let run = words(&mut std::iter::once(site.rsync.as_os_str()).chain(arguments.iter().map(OsString::as_os_str)));
    format!("cd {} && {run}", words(&mut std::iter::once(site.wpath.as_os_str())))
}

fn option(name: &str, value: &OsStr) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

fn is_plain(dest: &OsStr) -> bool {
    dest.as_encoded_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_./:@[]+,=%".contains(b))
}

#[cfg(test)]
pub(crate) mod tests;
