//! `explain`: tells whether a path is mirrored, the pattern that excludes it, and what the running daemon knows of it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::patterns::rules;
use inosync_actors::root::reach::Reach;
use inosync_actors::status::{PathAtNode, PathFailure, PathInfo, UnixTime};
use serde::Serialize;

use crate::commands::once::print_json;
use crate::commands::target::{DaemonTarget, unexpected};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, Request};

/// Prints what is known of a path by the configuration and by the running daemon, if there is one. The configuration is the
/// one in force, or without a daemon that of the file.
pub async fn explain(target: &DaemonTarget, asked: &Path, json: bool) -> Exit {
    let (wpath, excludes) = match target.in_force().await {
        Ok(in_force) => in_force,
        Err(exit) => return exit,
    };
    let Some(path) = below(&wpath, asked) else {
        let asked = Escaped(asked.as_os_str().as_bytes());
        let wpath = Escaped(wpath.as_os_str().as_bytes());
        logging::print_error(&format!(
            "inosync: {asked} is not below {wpath}: name a path in it, absolute or relative to it"
        ));
        return Exit::Usage;
    };
    let facts = PathFacts::gather(&wpath, &excludes, &Reach::of(&wpath), &path);
    if !json {
        logging::print(by_configuration(&facts).trim_end());
    }
    let answer = target.ask(&Request::Explain { path: path.as_bytes().to_vec() }).await;
    let daemon = match &answer {
        Ok(Answer::Whereabouts(path_info)) => Some(path_info),
        _ => None,
    };
    if json {
        print_json(&PathInJson { facts: &facts, daemon });
    } else if let Some(path_info) = daemon {
        logging::print(by_daemon(path_info, facts.excluded.is_some()).trim_end());
    }
    match answer {
        Ok(Answer::Whereabouts(_)) => Exit::Done,
        Ok(_) => unexpected(),
        Err(exit) => exit,
    }
}

/// The facts of a path and what the daemon knows of it, for programs.
#[derive(Serialize)]
struct PathInJson<'a> {
    #[serde(flatten)]
    facts: &'a PathFacts,
    /// `null` if no daemon answers.
    daemon: Option<&'a PathInfo>,
}

/// The facts of a path that the disk and the configuration give.
#[derive(Serialize)]
struct PathFacts {
    path: String,
    wpath: String,
    kind: EntryKind,
    /// The pattern that excludes the path.
    excluded: Option<ExcludedBy>,
}

/// The kind of entry that a path is in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum EntryKind {
    Directory,
    Symlink,
    File,
    Special,
    Missing,
    /// Its file system does not answer.
    Unknown,
}

/// The pattern that excludes a path.
#[derive(Serialize)]
struct ExcludedBy {
    pattern: String,
    /// Its place in `rexcludes`.
    index: usize,
    /// The path that it matches: this one, or one above.
    matches: String,
    #[serde(skip)]
    rules: Vec<OsString>,
}

impl PathFacts {
    fn gather(wpath: &Path, excludes: &Excludes, reach: &Reach, path: &RelPath) -> PathFacts {
        let kind = EntryKind::of(reach, path);
        let excluded = excludes.deciding(path, kind == EntryKind::Directory).map(|(top, pattern)| ExcludedBy {
            pattern: Escaped(pattern.as_str().as_bytes()).to_string(),
            index: excludes.patterns().iter().position(|other| other == pattern).unwrap_or(0),
            matches: top.to_string(),
            rules: rules::of(pattern),
        });
        let wpath = Escaped(wpath.as_os_str().as_bytes()).to_string();
        PathFacts { path: path.to_string(), wpath, kind, excluded }
    }
}

impl EntryKind {
    fn of(reach: &Reach, path: &RelPath) -> EntryKind {
        match reach.look(path) {
            Ok(metadata) if metadata.is_dir() => EntryKind::Directory,
            Ok(metadata) if metadata.is_symlink() => EntryKind::Symlink,
            Ok(metadata) if metadata.is_file() => EntryKind::File,
            Ok(_) => EntryKind::Special,
            Err(error) if error.kind() == ErrorKind::TimedOut => EntryKind::Unknown,
            Err(_) => EntryKind::Missing,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            EntryKind::Directory => "a directory",
            EntryKind::Symlink => "a symlink, which is mirrored as one",
            EntryKind::File => "a file",
            EntryKind::Special => "a special file, which is mirrored only with -D or -a in `extra`",
            EntryKind::Missing => "not there now",
            EntryKind::Unknown => "not known: its file system does not answer",
        }
    }
}

/// The path relative to the watched directory. A relative path is taken to be relative to that directory already.
fn below(wpath: &Path, asked: &Path) -> Option<RelPath> {
    let resolved = || Some((wpath.canonicalize().ok()?, parent_resolved(asked)?));
    let tail = match asked.is_absolute() {
        false => asked.to_owned(),
        true => match asked.strip_prefix(wpath) {
            Ok(tail) => tail.to_owned(),
            Err(_) => resolved().and_then(|(wpath, asked)| asked.strip_prefix(wpath).ok().map(Path::to_owned))?,
        },
    };
    // `components` drops `.` and doubled slashes; `RelPath` refuses `..`.
    let tail: PathBuf = tail.components().filter(|part| *part != std::path::Component::CurDir).collect();
    RelPath::new(tail.as_os_str().as_bytes()).ok()
}

/// The path without symlinks in its parent. The path itself may be a symlink, or be gone.
fn parent_resolved(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?.canonicalize().ok()?;
    Some(path.file_name().map_or(parent.clone(), |name| parent.join(name)))
}

/// The lines about the entry and the patterns.
fn by_configuration(PathFacts { path, wpath, kind, excluded }: &PathFacts) -> String {
    let mut text = format!("{path} in {wpath}\n");
    // A String takes every text.
    let _ = writeln!(text, "  it is: {}", kind.in_words());
    match excluded {
        None => text.push_str("  excluded: no\n"),
        Some(ExcludedBy { pattern, index, matches, rules }) => {
            let _ = writeln!(text, "  excluded: by `{pattern}` (rexcludes[{index}]), which matches {matches}");
            for rule in rules {
                let _ = writeln!(text, "  rule for rsync: --filter='{}'", Escaped(rule.as_bytes()));
            }
        }
    }
    text
}

/// The lines about what the daemon knows of the path.
fn by_daemon(path_info: &PathInfo, excluded: bool) -> String {
    let seen = match path_info.seen {
        _ if excluded => "no, it is excluded",
        Some(true) => "yes",
        Some(false) => "NO: changes are found by comparisons only",
        None => "not known: the watcher is busy",
    };
    let mut text = format!("  watched: {seen}\n");
    for PathAtNode { name, pending, failing, last_sent_at } in &path_info.nodes {
        let sent = match last_sent_at {
            _ if excluded => "never".to_owned(),
            Some(at) => format!("last {}", time(*at)),
            None => format!("not since {}, or too long ago to be remembered", time(path_info.since)),
        };
        let pending = if *pending && !excluded { "pending now; " } else { "" };
        let _ = writeln!(text, "  node {}: {pending}sent or compared: {sent}", Escaped(name.as_bytes()));
        if let Some(PathFailure { since, next, last_error }) = failing.as_ref().filter(|_| !excluded) {
            let next = next.map_or("now".to_owned(), time);
            let _ = writeln!(text, "    it fails again and again: lacking since {}, next try: {next}", time(*since));
            let _ = last_error.as_ref().map(|error| writeln!(text, "    last error of the node: {error}"));
        }
    }
    text
}

fn time(at: UnixTime) -> String {
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_may_be_given_absolute_relative_or_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("src/d")).unwrap();
        std::os::unix::fs::symlink(base.join("src"), base.join("link")).unwrap();
        let (src, link) = (base.join("src"), base.join("link"));
        for (wpath, asked, expected) in [
            (&src, src.join("d/f"), Some(rel("d/f"))),
            (&src, PathBuf::from("d/f"), Some(rel("d/f"))),
            (&src, PathBuf::from("./d//f/"), Some(rel("d/f"))),
            (&src, src.clone(), Some(RelPath::root())),
            (&src, link.join("d/f"), Some(rel("d/f"))),
            (&link, src.join("d/f"), Some(rel("d/f"))),
            (&src, base.join("other"), None),
            (&src, PathBuf::from("../other"), None),
        ] {
            assert_eq!(below(wpath, &asked), expected, "{}", asked.display());
        }
    }

    #[test]
    fn a_path_that_fails_is_told_with_its_next_try() {
        let failing = PathFailure { since: 0, next: Some(60), last_error: Some("rsync: mkstemp failed".to_owned()) };
        let at_node = |failing| PathAtNode { name: "n:".to_owned(), pending: true, failing, last_sent_at: None };
        let told = |failing, excluded| {
            by_daemon(&PathInfo { seen: Some(true), since: 0, nodes: vec![at_node(failing)] }, excluded)
        };
        let text = told(Some(failing.clone()), false);
        for line in [
            "    it fails again and again: lacking since 1970-01-01T00:00:00Z, next try: 1970-01-01T00:01:00Z",
            "    last error of the node: rsync: mkstemp failed",
        ] {
            assert!(text.lines().any(|found| found == line), "wanted {line}\n{text}");
        }
        assert!(told(Some(PathFailure { next: None, ..failing.clone() }), false).contains("next try: now\n"));
        assert!(!told(Some(failing), true).contains("fails") && !told(None, false).contains("fails"));
    }

    #[test]
    fn an_excluded_path_is_told_with_its_pattern_and_the_rules_for_rsync() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("cache")).unwrap();
        let excludes = Excludes::new(["*.tmp", "cache/"].map(str::to_owned).into()).unwrap();
        let facts = |path| PathFacts::gather(dir.path(), &excludes, &Reach::of(dir.path()), &rel(path));
        let text_of = |path| by_configuration(&facts(path));
        let text = text_of("cache/x");
        assert!(text.contains("excluded: by `cache/` (rexcludes[1]), which matches cache\n"), "{text}");
        assert!(text.contains("--filter='- cache/'") && text.contains("--filter='- cache/**'"), "{text}");
        assert!(text_of("x").contains("excluded: no"));
    }
}
