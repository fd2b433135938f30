//! `Excludes` and real rsync agree on every path of random trees with hostile names, in every kind of run.
//! Deterministic: each run of the test sees the same trees. More of them: `PROPTEST_CASES=2000`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use inosync_actors::path::RelPath;
use inosync_actors::patterns::excludes::{Excludes, Pattern};
use inosync_actors::patterns::rules::{exact, exact_below, rules, rules_below};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

/// A case takes two runs of rsync, some 80 ms.
const CASES: u32 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Symlink,
}

/// Every path but the root. What is below a directory comes after it.
type Tree = BTreeMap<RelPath, Kind>;

#[derive(Debug, Clone)]
struct Case {
    tree: Tree,
    patterns: Vec<Pattern>,
    /// Excluded by [`exact`].
    held: Option<RelPath>,
}

impl Case {
    fn filters(&self) -> Vec<OsString> {
        let excludes = Excludes::from_patterns(self.patterns.clone());
        rules(&excludes).into_iter().chain(self.held.iter().flat_map(exact)).collect()
    }

    fn filters_below(&self, dir: &RelPath) -> Vec<OsString> {
        let excludes = Excludes::from_patterns(self.patterns.clone());
        let held = self.held.iter().flat_map(|held| exact_below(held, dir));
        rules_below(&excludes, dir).into_iter().chain(held).collect()
    }

    /// The directories that are sent, each with what is sent of it, relative to it. At most `most`, the deepest.
    fn sent_below(&self, most: usize) -> Vec<(RelPath, BTreeSet<RelPath>)> {
        let sent = self.sent();
        let mut dirs: Vec<_> = sent.iter().filter(|path| self.tree.get(path) == Some(&Kind::Directory)).collect();
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.depth()));
        dirs.truncate(most);
        let inside = |dir: &RelPath| {
            let inside = sent.iter().filter(|path| path.is_below(dir));
            inside.filter_map(|path| path.rebase(dir, &RelPath::root())).collect()
        };
        dirs.into_iter().map(|dir| (dir.clone(), inside(dir))).collect()
    }

    /// Every path that is not excluded.
    fn sent(&self) -> BTreeSet<RelPath> {
        let excludes = Excludes::from_patterns(self.patterns.clone());
        let is_held = |path: &RelPath| self.held.as_ref().is_some_and(|held| path == held || path.is_below(held));
        let is_excluded = |path: &RelPath, kind| is_held(path) || excludes.excludes(path, kind == Kind::Directory);
        self.tree.iter().filter(|&(path, &kind)| !is_excluded(path, kind)).map(|(path, _)| path.clone()).collect()
    }

    /// What is excluded, and the directories that cannot go because it is in them.
    fn kept(&self) -> BTreeSet<RelPath> {
        let sent = self.sent();
        let excluded = self.tree.keys().filter(|path| !sent.contains(path));
        excluded.flat_map(|path| path.ancestors().chain([path.clone()])).collect()
    }
}

#[test]
fn rsync_sends_exactly_what_is_not_excluded() {
    check(|case| {
        let (filters, sent) = (case.filters(), case.sent());
        let source = planted(&case.tree)?;

        let mirror = TempDir::new()?;
        rsync(&["-r", "-l"], &filters, [], source.path(), mirror.path())?;
        prop_assert_eq!(found(mirror.path())?, sent.clone(), "by a recursive run with {:?}", filters);

        let mirror = TempDir::new()?;
        rsync(&LISTED, &filters, case.tree.keys(), source.path(), mirror.path())?;
        prop_assert_eq!(found(mirror.path())?, sent, "by a list of all paths with {:?}", filters);
        Ok(())
    });
}

#[test]
fn rsync_deletes_nothing_that_is_excluded_and_all_else() {
    check(|case| {
        let (filters, kept) = (case.filters(), case.kept());
        let source = TempDir::new()?;

        let mirror = planted(&case.tree)?;
        let options = ["-ltp", "-r", "--delete", "--force"];
        rsync(&options, &filters, [], source.path(), mirror.path())?;
        prop_assert_eq!(found(mirror.path())?, kept.clone(), "by a recursive run with {:?}", filters);

        // The daemon lists nothing that is excluded; rsync could not know that a missing path was a directory.
        let sent = case.sent();
        let missing = sent.iter().filter(|path| path.depth() == 1);
        let mirror = planted(&case.tree)?;
        let options = [&LISTED[..], &["--delete-missing-args", "--delete", "--force"]].concat();
        rsync(&options, &filters, missing, source.path(), mirror.path())?;
        prop_assert_eq!(found(mirror.path())?, kept, "by a list of missing paths with {:?}", filters);
        Ok(())
    });
}

#[test]
fn rsync_sends_and_deletes_the_same_when_a_directory_is_a_run_of_its_own() {
    check(|case| {
        let source = planted(&case.tree)?;
        for (dir, sent) in case.sent_below(2) {
            let filters = case.filters_below(&dir);
            let mirror = TempDir::new()?;
            rsync(&["-r", "-l"], &filters, [], &dir.under(source.path()), mirror.path())?;
            prop_assert_eq!(found(mirror.path())?, sent, "of {} with {:?}", &dir, filters);

            let (empty, mirror) = (TempDir::new()?, planted(&case.tree)?);
            let kept = case.kept().iter().filter(|path| path.is_below(&dir)).cloned().collect::<BTreeSet<_>>();
            let kept: BTreeSet<_> = kept.iter().filter_map(|path| path.rebase(&dir, &RelPath::root())).collect();
            let options = ["-ltp", "-r", "--delete", "--force"];
            rsync(&options, &filters, [], empty.path(), &dir.under(mirror.path()))?;
            prop_assert_eq!(found(&dir.under(mirror.path()))?, kept, "kept of {} with {:?}", &dir, filters);
        }
        Ok(())
    });
}

#[test]
fn rsync_agrees_on_hundreds_of_paths_with_any_names_and_patterns() {
    let pattern = prop_oneof![any_pattern(), any_pattern(), Just(None)].prop_filter_map("refused", |pattern| pattern);
    let tree = tree(any_name().boxed(), 200..400);
    let case = (tree, vec(pattern, 1..4)).prop_map(|(tree, patterns)| Case { tree, patterns, held: None });
    check_all(case, CASES / 2, |case| {
        let source = planted(&case.tree)?;
        let mirror = TempDir::new()?;
        rsync(&LISTED, &case.filters(), case.tree.keys(), source.path(), mirror.path())?;
        prop_assert_eq!(found(mirror.path())?, case.sent(), "by a list of all paths with {:?}", case.filters());
        Ok(())
    });
}

/// Runs `agree` on the same random cases each time.
fn check(agree: impl Fn(Case) -> Result<(), TestCaseError>) {
    check_all(case(), CASES, agree);
}

fn check_all(case: impl Strategy<Value = Case>, cases: u32, agree: impl Fn(Case) -> Result<(), TestCaseError>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let failure = runner.run(&case, agree).err();
    assert!(failure.is_none(), "{}", failure.map(|failure| failure.to_string()).unwrap_or_default());
}

const LISTED: [&str; 5] = ["-ltp", "--dirs", "--no-recursive", "--from0", "--files-from=-"];

/// Runs rsync with `list` on its standard input.
fn rsync<'a>(
    options: &[&str],
    filters: &[OsString],
    list: impl IntoIterator<Item = &'a RelPath>,
    source: &Path,
    mirror: &Path,
) -> Result<(), TestCaseError> {
    let filter = |rule: &OsString| [OsStr::new("--filter="), rule].into_iter().collect::<OsString>();
    let missing = |error| format!("rsync does not start ({error}): run `make test`, which installs it");
    let mut child = Command::new("rsync")
        .args(options)
        .args(filters.iter().map(filter))
        .arg("--")
        .args([source.join(""), mirror.join("")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| TestCaseError::fail(missing(error)))?;
    let list: Vec<u8> = list.into_iter().flat_map(|path| [b"/", path.as_bytes(), b"\0"].concat()).collect();
    let fed = child.stdin.take().map(|mut stdin| stdin.write_all(&list));
    let output = child.wait_with_output()?;
    prop_assert!(output.status.success(), "rsync: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    fed.transpose()?;
    Ok(())
}

/// A directory with this tree in it.
fn planted(tree: &Tree) -> io::Result<TempDir> {
    let root = TempDir::new()?;
    for (path, kind) in tree {
        let path = path.under(root.path());
        match kind {
            Kind::Directory => fs::create_dir(path),
            Kind::File => fs::write(path, "x"),
            Kind::Symlink => symlink(".", path),
        }?;
    }
    Ok(root)
}

/// Every path below `root`.
fn found(root: &Path) -> io::Result<BTreeSet<RelPath>> {
    let mut paths = BTreeSet::new();
    let mut unread = vec![RelPath::root()];
    while let Some(dir) = unread.pop() {
        for entry in fs::read_dir(dir.under(root))? {
            let entry = entry?;
            let path = dir.join(&entry.file_name());
            if entry.file_type()?.is_dir() {
                unread.push(path.clone());
            }
            paths.insert(path);
        }
    }
    Ok(paths)
}

fn case() -> impl Strategy<Value = Case> {
    tree(name().boxed(), 10..50).prop_flat_map(|tree| {
        let paths: Vec<RelPath> = tree.keys().cloned().collect();
        (Just(tree), vec(pattern(paths.clone()), 1..5), proptest::option::weighted(0.3, select(paths)))
            .prop_map(|(tree, patterns, held)| Case { tree, patterns, held })
    })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let letters: [&[u8]; 15] =
        [b"a", b"b", b"[", b"]", b"\\", b"*", b"?", b"!", b"#", b";", b" ", b"\n", "é".as_bytes(), b"\xff", b"-"];
    vec(select(letters.to_vec()), 1..4).prop_map(|letters| letters.concat())
}

/// Mostly of few letters, so that patterns meet names; else any bytes that a name may have.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no byte of a name", |byte| !matches!(byte, 0 | b'/'));
    let bytes = vec(byte, 1..20).prop_filter("no name", |name| !matches!(&name[..], b"." | b".."));
    prop_oneof![3 => name(), 1 => bytes]
}

/// Any text of what means something in a pattern, here or in rsync; `None` if it is refused.
fn any_pattern() -> impl Strategy<Value = Option<Pattern>> {
    let letters =
        ["a", "b", "*", "*", "?", "/", "[", "]", "!", "\\", "**", "-", "+ ", "#", ";", " ", "\n", "é", "{", "^"];
    vec(select(letters.to_vec()), 1..6).prop_map(|letters| Pattern::parse(&letters.concat()).ok())
}

/// Each entry goes into a directory before it, so that there is depth.
fn tree(name: BoxedStrategy<Vec<u8>>, size: Range<usize>) -> impl Strategy<Value = Tree> {
    let kind = prop_oneof![3 => Just(Kind::Directory), 3 => Just(Kind::File), 1 => Just(Kind::Symlink)];
    vec((any::<Index>(), name, kind), size).prop_map(|entries| {
        let mut tree = Tree::new();
        let mut dirs = vec![RelPath::root()];
        for (dir, name, kind) in entries {
            let path = dir.get(&dirs).join(OsStr::from_bytes(&name));
            if tree.contains_key(&path) {
                continue;
            }
            if kind == Kind::Directory {
                dirs.push(path.clone());
            }
            tree.insert(path, kind);
        }
        tree
    })
}

/// A pattern that was one of the paths, or a part of it, before some of its bytes were made wild. Not one that
/// `Pattern::parse` refuses.
fn pattern(paths: Vec<RelPath>) -> impl Strategy<Value = Pattern> {
    let form = select(vec!["name", "anchored", "floating", "tail"]);
    let wild = (any::<Index>(), select(vec!["?", "*", "**", "insert"]));
    let parts = (select(paths), form, any::<Index>(), vec(wild, 0..4), any::<bool>());
    let text = parts.prop_map(|(path, form, cut, wild, slash)| {
        let mut text = match form {
            "name" => path.name().to_vec(),
            "anchored" => [b"/", path.as_bytes()].concat(),
            "floating" => [b"*/", path.as_bytes()].concat(),
            _ => [b"*", &path.as_bytes()[cut.index(path.as_bytes().len())..]].concat(),
        };
        for (at, wild) in wild {
            let at = at.index(text.len());
            match wild {
                "insert" => text.insert(at, b'*'),
                wild => drop(text.splice(at..=at, wild.bytes())),
            }
        }
        text.extend(slash.then_some(b'/'));
        in_utf8(&text)
    });
    text.prop_filter_map("refused", |text| Pattern::parse(&text).ok())
}

/// With `?` for each byte that a configuration cannot hold.
fn in_utf8(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &"?".repeat(chunk.invalid().len())).collect()
}
