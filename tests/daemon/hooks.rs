//! Programs of the user that are told what arrived: what, when, and that nobody waits for them.

mod steady;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{self, Dead, Local, Node, Site, Ssh, wait};

/// Notes its environment and its input in a file for each run. While there is a file `hold` in its directory it waits, while
/// there is one `fail` it fails, while there is one `slow` it takes a second.
const SCRIPT: &str = r#"#!/bin/sh
out=$(mktemp "$1/tmp.XXXXXX")
{ echo "ARGUMENT=$2"; pwd; env | grep ^INOSYNC_; echo; cat; } > "$out"
mv "$out" "$1/$(date +%s.%N).begun.$$"
if [ -e "$1/slow" ]; then sleep 1; fi
while [ -e "$1/hold" ]; do sleep 0.02; done
if [ -e "$1/fail" ]; then echo "no $(printf '\033') cache" >&2; exit 3; fi
mv "$1"/*.begun.$$ "$(echo "$1"/*.begun.$$ | sed s/begun/done/)"
"#;

/// What one run was told.
#[derive(Debug)]
struct Told {
    done: bool,
    env: BTreeMap<String, String>,
    paths: Vec<Vec<u8>>,
}

impl Told {
    fn has(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|told| told == path)
    }

    fn count(&self, name: &str) -> usize {
        self.env[name].parse().unwrap()
    }
}

/// Configures a hook of this key, which keeps its notes beside the site.
fn hook(site: &mut Site, key: &str) {
    let (dir, program) = (site.beside(key), site.beside("hook.sh"));
    fs::create_dir_all(&dir).unwrap();
    if !program.exists() {
        support::program(&program, SCRIPT);
    }
    site.config(&format!("{key}: [{program:?}, {dir:?}, \"two  words $HOME *\"]"));
}

/// What the runs of a hook were told so far, oldest first.
fn told(site: &Site, key: &str) -> Vec<Told> {
    let entries = fs::read_dir(site.beside(key)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("/1")).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).ok()?;
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let text = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let env = text.lines().map(|line| line.split_once('=').unwrap_or(("PWD", line)));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let list = bytes[end + 2..].strip_suffix(b"\0").unwrap_or_default();
        let paths = list.split(|&byte| byte == 0).map(<[u8]>::to_vec).filter(|path| !path.is_empty()).collect();
        Some(Told { done: path.to_string_lossy().contains(".done."), env, paths })
    };
    files.iter().filter_map(read).collect()
}

/// Waits until the runs of a hook that ended well, of this node or of all, were told these paths, and returns all that they
/// were told.
#[track_caller]
fn expect_told(site: &Site, key: &str, node: Option<Node>, paths: &[&[u8]]) -> Vec<Told> {
    let name = node.map(|node| if node == Local { "local".to_owned() } else { site.name(node) });
    let is_of = |run: &Told| run.done && run.env.get("INOSYNC_NODE") == name.as_ref();
    let all = || -> Vec<Told> { told(site, key).into_iter().filter(|run| is_of(run)).collect() };
    let is_told = |path: &&[u8]| all().iter().any(|run| run.has(path));
    match wait::until(|| paths.iter().all(is_told).then(all)) {
        Some(runs) => runs,
        None => {
            let missing: Vec<_> = paths.iter().filter(|path| !is_told(path)).map(|path| path.escape_ascii()).collect();
            site.fail(&format!("{key} of {node:?} is not told of {missing:?}:\n{:#?}", told(site, key)))
        }
    }
}

fn hold(site: &Site, key: &str, what: &str) {
    fs::write(site.beside(key).join(what), "").unwrap();
}

fn release(site: &Site, key: &str, what: &str) {
    fs::remove_file(site.beside(key).join(what)).unwrap();
}

#[test]
fn each_node_tells_what_was_sent_and_deleted_there() {
    let mut site = Site::new();
    hook(&mut site, "on_synced");
    site.mkdir("d");
    site.write("d/old", "x");
    site.start_mirrored();
    for node in site.live().collect::<Vec<_>>() {
        let runs = expect_told(&site, "on_synced", Some(node), &[b".", b"seed", b"d", b"d/old"]);
        assert_eq!((runs[0].count("INOSYNC_BATCHES"), runs[0].count("INOSYNC_SENT")), (1, 4), "{runs:?}");
    }
    let names: [&[u8]; 3] = [b"new\nline", b"\xff\xfe \x1b", "na\u{ef}ve".as_bytes()];
    names.iter().for_each(|name| site.write(OsStr::from_bytes(name), "name"));
    site.write("d/new", "12345");
    site.remove("d/old");
    site.rename("seed", "d/seed");
    for node in site.live().collect::<Vec<_>>() {
        let wanted = [&names[..], &[b"d/new", b"d/seed"]].concat();
        expect_told(&site, "on_synced", Some(node), &wanted);
        let runs = || expect_told(&site, "on_synced", Some(node), &[]);
        let is_gone = |path: &[u8]| runs().iter().filter(|run| run.has(path)).count() == 2;
        assert!(wait::until(|| (is_gone(b"d/old") && is_gone(b"seed")).then_some(())).is_some(), "{:#?}", runs());
        // What a delivery did is counted when its rsync has ended, and so by a later run than the one that is told its paths.
        let sum = |count: &str| runs().iter().map(|run| run.count(&format!("INOSYNC_{count}"))).sum::<usize>();
        let is_counted = |round: usize| {
            let before = runs().len();
            site.write("last", format!("{node} {round}"));
            assert!(wait::until(|| (runs().len() > before).then_some(())).is_some(), "{:#?}", runs());
            sum("DELETED") == 2
        };
        assert!((0..10).any(is_counted), "{:#?}", runs());
        assert!(sum("SENT") >= 8 && sum("BYTES") > 5 && sum("BATCHES") >= 3, "{:#?}", runs());
        let runs = runs();
        for run in &runs {
            assert_eq!(run.count("INOSYNC_PATHS"), run.paths.len(), "{run:?}");
            for (name, expected) in [("COMPLETE", "1"), ("HOOK", "on_synced")] {
                assert_eq!(run.env[&format!("INOSYNC_{name}")], expected, "{run:?}");
            }
            assert_eq!((run.env["ARGUMENT"].as_str(), run.env["PWD"].as_str()), ("two  words $HOME *", "/"));
            assert_eq!(run.env["INOSYNC_WPATH"], site.source().display().to_string());
            let distinct: BTreeSet<_> = run.paths.iter().collect();
            assert_eq!(distinct.len(), run.paths.len(), "{run:?}");
        }
        let status = site.expect_status(node, "told", |status| {
            status["hook"]["running"] == false && status["hook"]["untold"] == 0 && status["hook"]["waiting"] == 0
        });
        assert_eq!((&status["hook"]["failures"], &status["hook"]["fails"]), (&0.into(), &false.into()), "{status:#}");
    }
    assert!(site.ask(&["status"]).stdout.contains("\n  on_synced: "));
}

#[test]
fn what_a_node_makes_of_what_it_has_is_told_and_no_name_of_our_own() {
    let mut site = Site::on(&[Local, Ssh]);
    hook(&mut site, "on_synced");
    site.config("dir_moves: Replicate");
    site.mkdir("d/deep");
    for n in 0..5 {
        site.write(format!("d/deep/{n}"), format!("{n}").repeat(200_000));
    }
    ["one", "two"].iter().for_each(|name| site.write(name, name.repeat(100_000)));
    site.symlink("d/link", "deep");
    site.start_mirrored();
    // A swap goes by a third name.
    site.rename("one", "three");
    site.rename("two", "one");
    site.rename("three", "two");
    site.expect_identical();
    site.rename("d", "e");
    for node in [Local, Ssh] {
        let wanted: [&[u8]; 8] = [b"e", b"e/link", b"e/deep", b"e/deep/0", b"e/deep/4", b"d", b"one", b"two"];
        for run in expect_told(&site, "on_synced", Some(node), &wanted) {
            let own = run.paths.iter().find(|path| path.windows(9).any(|nine| nine == b".-inosync"));
            assert_eq!(own, None, "{run:?}");
        }
    }
    site.expect_identical();
}

#[test]
fn what_comes_while_a_hook_runs_is_told_to_its_next_run() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    site.start_mirrored();
    expect_told(&site, "on_synced", Some(Local), &[b"seed"]);
    hold(&site, "on_synced", "hold");
    site.write("first", "x");
    wait::until(|| told(&site, "on_synced").iter().any(|run| !run.done).then_some(())).unwrap();
    let before = told(&site, "on_synced").len();
    for n in 0..20 {
        site.write(format!("file {n}"), "x");
        site.expect_on_nodes(format!("file {n}"), "x");
    }
    site.write("file 0", "again");
    site.settle();
    let waits = |status: &serde_json::Value| status["hook"]["untold"].as_u64() >= Some(21);
    site.expect_status(Local, "behind", waits);
    assert_eq!(told(&site, "on_synced").len(), before, "one at a time");
    release(&site, "on_synced", "hold");
    let names: Vec<String> = (0..20).map(|n| format!("file {n}")).collect();
    let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let runs = expect_told(&site, "on_synced", Some(Local), &names);
    assert_eq!(runs.iter().filter(|run| run.has(b"file 0")).count(), 1, "{runs:?}");
    assert!(runs.iter().any(|run| names.iter().all(|name| run.has(name)) && run.count("INOSYNC_BATCHES") > 1));
}

#[test]
fn a_hook_that_hangs_delays_nothing_and_is_ended() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    hold(&site, "on_synced", "hold");
    site.config("hook_timeout: 2");
    let start = Instant::now();
    site.start_mirrored();
    site.write("file", "x");
    site.expect_on_nodes("file", "x");
    let line = site.expect_log_line(&["hook fails", "on_synced", "it took longer than hook_timeout (2 s)"]);
    assert!(line.contains("node: local") && start.elapsed() >= Duration::from_secs(2), "{line}");
    let fails = |status: &serde_json::Value| status["hook"]["fails"] == true && status["state"]["is"] == "idle";
    site.expect_status(Local, "idle with a hook that fails", fails);
    assert_eq!(site.ask(&["status"]).code, Some(1));
    release(&site, "on_synced", "hold");
    // Whatever it was told is told again.
    expect_told(&site, "on_synced", Some(Local), &[b"seed", b"file"]);
    site.expect_log("hook recovered");
    let runs = || site.daemon().running("hook.sh").is_empty().then_some(());
    assert!(wait::until(runs).is_some(), "it runs on");
    assert_eq!(site.ask(&["status"]).code, Some(0));
}

#[test]
fn a_failure_is_told_once_and_nothing_is_lost_by_it() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    hold(&site, "on_synced", "fail");
    site.start_mirrored();
    site.write("file", "x");
    let twice = |status: &serde_json::Value| status["hook"]["failures"].as_u64() >= Some(3);
    let status = site.expect_status(Local, "failing thrice", twice);
    let error = status["hook"]["last_error"]["text"].as_str().unwrap();
    assert_eq!(error, "it ended with exit code 3: no \\x1b cache");
    let troubles = || -> Vec<String> { site.troubles().into_iter().filter(|line| line.contains("hook")).collect() };
    assert_eq!(troubles().len(), 1, "{:#?}", troubles());
    for words in ["hook fails", "node: local", "exit code 3", "no \\x1b cache"] {
        assert!(troubles()[0].contains(words), "{:#?}", troubles());
    }
    release(&site, "on_synced", "fail");
    expect_told(&site, "on_synced", Some(Local), &[b"seed", b"file"]);
    site.expect_log("hook recovered");
    assert_eq!(troubles().len(), 1);
}

#[test]
fn a_hook_whose_interpreter_is_missing_is_told_by_that_name() {
    let mut site = Site::on(&[Local]);
    let hook = site.beside("hook.sh");
    support::program(&hook, "#!/nonexistent/python3\n");
    site.config(&format!("on_synced: [{hook:?}]"));
    let words = "hook.sh names `/nonexistent/python3` in its first line: No such file";
    let checked = site.run(&["check"]);
    assert!(checked.code == Some(69) && checked.stdout.contains(words), "{}", checked.stdout);
    site.start_mirrored();
    site.expect_log_line(&["hook fails", "it cannot be started", words]);
    support::program(&hook, "#!/bin/sh\ncat >/dev/null\n");
    site.expect_log("hook recovered");
}

#[test]
fn what_every_node_has_is_told_when_the_last_of_them_has_it() {
    let mut site = Site::on(&[Local, Ssh]);
    hook(&mut site, "on_synced");
    hook(&mut site, "on_all_synced");
    site.start_mirrored();
    let runs = expect_told(&site, "on_all_synced", None, &[b"seed"]);
    assert_eq!(runs[0].env["INOSYNC_HOOK"], "on_all_synced", "{runs:?}");
    site.stop_servers();
    site.mkdir("d");
    site.write("d/file", "x");
    site.remove("seed");
    expect_told(&site, "on_synced", Some(Local), &[b"d/file", b"seed"]);
    let waits = |status: &serde_json::Value| status["hook"]["waiting"].as_u64() >= Some(3);
    wait::until(|| waits(&site.status()).then_some(())).unwrap_or_else(|| site.fail("nothing waits"));
    assert!(site.ask(&["status"]).stdout.contains("paths that a node lacks: "));
    let told_early = told(&site, "on_all_synced").iter().any(|run| run.has(b"d/file") || run.has(b"d"));
    assert!(!told_early, "{:#?}", told(&site, "on_all_synced"));
    site.start_servers();
    expect_told(&site, "on_all_synced", None, &[b"d", b"d/file"]);
    site.assert_on_nodes("d/file", "x");
    // It was told before, too, when it was sent.
    let is_gone = || told(&site, "on_all_synced").iter().filter(|run| run.has(b"seed")).count() >= 2;
    wait::until(|| is_gone().then_some(())).unwrap_or_else(|| site.fail("a removal is not told"));
    site.assert_absent("seed");
}

#[test]
fn a_paused_node_holds_back_what_it_lacks_and_nothing_else() {
    let mut site = Site::on(&[Local, Ssh]);
    hook(&mut site, "on_all_synced");
    site.start_mirrored();
    site.write("before", "x");
    expect_told(&site, "on_all_synced", None, &[b"seed", b"before"]);
    assert_eq!(site.ask(&["pause", "local"]).code, Some(0));
    site.write("after", "x");
    site.expect_on_node(Ssh, "after", "x");
    wait::until(|| (site.status()["hook"]["waiting"].as_u64() >= Some(1)).then_some(())).unwrap();
    assert!(!told(&site, "on_all_synced").iter().any(|run| run.has(b"after")));
    assert_eq!(site.ask(&["resume", "local"]).code, Some(0));
    expect_told(&site, "on_all_synced", None, &[b"after"]);
    site.assert_on_nodes("after", "x");
}

#[test]
fn a_node_that_is_removed_holds_back_nothing_and_other_hooks_hold_at_once() {
    let mut site = Site::on(&[Local, Dead]);
    hook(&mut site, "on_all_synced");
    site.start();
    site.write("file", "x");
    site.expect_on_node(Local, "file", "x");
    site.serve(&[Local]);
    let line = site.reload();
    assert!(line.contains("removed"), "{line}");
    expect_told(&site, "on_all_synced", None, &[b"seed", b"file"]);
    site.forget_config();
    hook(&mut site, "on_synced");
    let line = site.reload();
    assert!(line.contains("changed on_synced on_all_synced"), "{line}");
    site.write("later", "x");
    expect_told(&site, "on_synced", Some(Local), &[b"later"]);
    assert!(!told(&site, "on_all_synced").iter().any(|run| run.has(b"later")));
    assert!(site.status()["hook"].is_null() && !site.status_of(Local)["hook"].is_null());
}

#[test]
fn what_is_delivered_during_a_stop_is_told_before_its_end() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    hook(&mut site, "on_all_synced");
    site.start_mirrored();
    site.write("last", "x");
    let ended = site.stop();
    assert_eq!((ended.code, ended.left.len()), (Some(0), 0), "{}", ended.log);
    expect_told(&site, "on_synced", Some(Local), &[b"last"]);
    expect_told(&site, "on_all_synced", None, &[b"last"]);
}

#[test]
fn a_hook_that_hangs_delays_a_stop_no_longer_than_its_timeout() {
    let mut site = Site::on(&[Local]);
    hook(&mut site, "on_synced");
    hold(&site, "on_synced", "hold");
    site.config("stop_timeout: 1");
    site.start_mirrored();
    wait::until(|| told(&site, "on_synced").iter().any(|run| run.has(b"seed")).then_some(())).unwrap();
    let start = Instant::now();
    let ended = site.stop();
    // It would be waited for for a minute.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((ended.code, ended.left.len()), (Some(0), 0), "{}", ended.log);
    assert!(ended.log.contains("stopped before a hook was told of all paths"), "{}", ended.log);
}

#[test]
fn what_fails_alone_in_a_comparison_is_told_when_the_node_has_it() {
    let mut site = Site::on(&[Local]);
    let keys = [("on_synced", Some(Local)), ("on_all_synced", None)];
    keys.iter().for_each(|(key, _)| hook(&mut site, key));
    ["stuck", "other"].iter().for_each(|name| site.write(name, "new"));
    let stuck = site.mirror(Local).join("stuck");
    fs::create_dir_all(site.mirror(Local)).unwrap();
    fs::write(&stuck, "was here").unwrap();
    let change =
        |flag: &str| Command::new("chattr").arg(flag).arg(&stuck).status().is_ok_and(|status| status.success());
    if !change("+i") {
        return println!("not tested: no file can be made immutable here");
    }
    site.start();
    site.expect_log_line(&["some paths failed", "stuck"]);
    keys.iter().for_each(|(key, node)| drop(expect_told(&site, key, *node, &[b"other"])));
    site.write("later", "x");
    keys.iter().for_each(|(key, node)| drop(expect_told(&site, key, *node, &[b"later"])));
    let early: Vec<_> = keys.iter().filter(|(key, _)| told(&site, key).iter().any(|run| run.has(b"stuck"))).collect();
    assert!(change("-i"));
    assert!(early.is_empty(), "{early:?}");
    keys.iter().for_each(|(key, node)| drop(expect_told(&site, key, *node, &[b"stuck"])));
    site.assert_on_nodes("stuck", "new");
}
