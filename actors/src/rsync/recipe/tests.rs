use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::path::RelPath;
use crate::patterns::excludes::Excludes;
use crate::patterns::settle::Settle;
use crate::rsync::staging::Twins;
use crate::site::extra::Extra;
use crate::site::{DeleteMode, DirMoves, InitialSync, Priority};
use crate::transport::traits::Trait;

pub(crate) fn site(extra: &str, initial_sync: InitialSync) -> Site {
    Site {
        wpath: PathBuf::from("/src"),
        excludes: Excludes::new(vec!["*.tmp".to_owned()]).unwrap(),
        nodes: vec![],
        options: BTreeMap::new(),
        rsync: PathBuf::from("/usr/bin/rsync"),
        confine: false,
        extra: Extra::parse(extra).unwrap(),
        rspeed: 0.into(),
        priority: Priority::default(),
        logfile: None,
        initial_sync,
        dir_moves: DirMoves::Log,
        delete: DeleteMode::Always,
        standby: true,
        max_standbys: 4,
        ssh_master: false,
        bulk_size: 8,
        settle: Settle::default(),
        await_names: true,
        heartbeat: None,
        watch_poll: Duration::from_secs(60),
        state_file: None,
        staging: None,
        stop_timeout: Duration::from_secs(30),
        allow_empty: false,
        marker: None,
        max_delete: Some(5),
        reconcile_jobs: None,
        node_threads: None,
        resync_every: None,
        verify_every: None,
        on_synced: None,
        on_all_synced: None,
        hook_timeout: Duration::from_secs(60),
    }
}

fn words(arguments: &[OsString]) -> Vec<&str> {
    arguments.iter().map(|word| word.to_str().unwrap()).collect()
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn context<'a>(site: &'a Site, node: &'a Node) -> Context<'a> {
    Context {
        site,
        node,
        version: Version::new(3, 5, 0),
        make_path: false,
        reading: Duration::ZERO,
        limit: site.rspeed.now(),
        max_delete: site.max_delete,
        part: &[],
        rsh: None,
        traits: Traits::default(),
    }
}

const START: [&str; 4] = ["-ltp", "--modify-window=-1", "--timeout=60", Process::DEBUG];

#[test]
fn a_link_deletes_nothing_and_stays_what_it_is_whatever_the_user_adds() {
    let node = Node::parse("", "/mirror").unwrap();
    for extra in
        ["", "-a", "-azc", "-AX --no-hard-links", "-r --recursive", "--backup --backup-dir=/old", "--partial-dir=.p -W"]
    {
        let site = site(extra, InitialSync::Update);
        let list = twins([&Twins { file: rel("n"), has: rel("o"), gets: rel("d/n") }]);
        let Invocation { arguments, list } = context(&site, &node).invocation(Recipe::Link, list, &[]);
        let forced = ["--dirs", "--no-recursive", "--from0", "--files-from=-", "--hard-links", "--no-implied-dirs"];
        let end = ["--out-format=%i|%l|%b|%n", "--", ".", "/mirror/"];
        let extra = site.extra.words().iter().map(String::as_str);
        let expected: Vec<&str> = START.into_iter().chain(extra).chain(forced).chain(end).collect();
        assert_eq!(words(&arguments), expected);
        assert_eq!(list, b"/o\0/d/n\0");
    }
}

#[test]
fn rsync_is_told_of_one_remote_shell() {
    let given = |node: &str, extra: &str| {
        let (node, site) = (Node::parse(node, "/mirror").unwrap(), site(extra, InitialSync::Full));
        let context = context(&site, &node);
        let all = [Recipe::Full, Recipe::Present, Recipe::Verify]
            .map(|recipe| context.invocation(recipe, entries([&rel("f")], false), &[]).arguments);
        let all = all.into_iter().chain([context.heartbeat(BeatTurn::Later)]);
        let shells = |arguments: Vec<OsString>| -> Vec<String> {
            let words = words(&arguments).into_iter().map(str::to_owned);
            words.filter(|word| word.starts_with("--rsh") || word.starts_with("-e") || word.contains("ssh")).collect()
        };
        let mut found: Vec<Vec<String>> = all.map(shells).collect();
        found.dedup();
        found
    };
    for extra in ["-a --rsh='ssh -p 2'", "-e 'ssh -p 2' -z"] {
        let shells = given("h:", extra);
        let [[shell]] = shells.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] else { panic!("{shells:?}") };
        assert!(shell.starts_with("--rsh=ssh -p 2 -o BatchMode=yes "), "{shell}");
    }
    assert_eq!(given("h:", "--rsh='ssh -v'"), [["--rsh=ssh -v"]]);
    assert_eq!(given("h::m", "--rsh='ssh -p 2'"), [["--rsh=ssh -p 2"]]);
}

#[test]
fn where_hard_links_are_kept_a_directory_with_other_names_beside_it_is_listed_as_a_whole() {
    let node = Node::parse("", "/mirror").unwrap();
    for (extra, recipe, expected) in [
        ("-H", Recipe::Subtrees, true),
        ("-aH --inc-recursive", Recipe::SubtreesRewritten, true),
        ("-H", Recipe::Present, false),
        ("-H", Recipe::Full, false),
        ("-a", Recipe::Subtrees, false),
        ("-H --no-H", Recipe::Subtrees, false),
    ] {
        let site = site(extra, InitialSync::Full);
        let arguments = context(&site, &node).invocation(recipe, entries([&rel("d")], false), &[]).arguments;
        let words = words(&arguments);
        let last = words.iter().rfind(|word| word.ends_with("inc-recursive"));
        assert_eq!(last == Some(&"--no-inc-recursive"), expected, "{extra} {recipe:?}");
    }
}

#[test]
fn a_file_by_an_old_name_is_sent_whole() {
    let (site, node) = (site("--no-whole-file", InitialSync::Full), Node::parse("", "/mirror").unwrap());
    let arguments = context(&site, &node).invocation(Recipe::Anew, entries([&rel("log")], false), &[]).arguments;
    let words = words(&arguments);
    let at = |word| words.iter().position(|one| *one == word).unwrap();
    assert!(at("--whole-file") > at("--no-whole-file"));
    for word in ["--ignore-times", "--ignore-missing-args", "--no-recursive", "--filter=- *.tmp", "--delete"] {
        assert!(words.contains(&word), "{word}");
    }
}

#[test]
fn the_second_way_of_removals_puts_at_risk_what_nothing_else_protects() {
    let node = Node::parse("", "/mirror").unwrap();
    for initial_sync in [InitialSync::Full, InitialSync::Update, InitialSync::Off] {
        let site = site("-a", initial_sync);
        let rules = ["- /kept", "R /d/x", "R /d/x/**", "P /d/**"].map(OsString::from);
        let Invocation { arguments, list } =
            context(&site, &node).invocation(Recipe::ByLevels, b"/d/\0".to_vec(), &rules);
        let words = words(&arguments);
        let filters: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("--filter=")).collect();
        let of_site = filters.iter().skip(2).take_while(|rule| rule.starts_with("- ")).count();
        assert!(of_site > 0 && filters[..2] == ["- /kept", "P /d/**"], "{filters:?}");
        assert_eq!(filters[2 + of_site..], ["R /d/x", "R /d/x/**", "P *"]);
        for word in ["--existing", "--ignore-existing", "--no-recursive", "--dirs", "--delete"] {
            assert!(words.iter().rposition(|one| one == &word) > words.iter().position(|one| *one == "-a"), "{word}");
        }
        assert_eq!(list, b"/d/\0");
    }
}

#[test]
fn a_probe_tells_of_what_it_lists_and_changes_nothing() {
    let (site, node) = (site("-a", InitialSync::Full), Node::parse("", "/mirror").unwrap());
    let list = |list: &[u8]| context(&site, &node).invocation(Recipe::Probe, list.to_vec(), &[]);
    let Invocation { arguments, list: listed } = list(b"./name\0/NAME\0");
    for word in ["--dry-run", "--delete-missing-args", "-ii"] {
        assert!(words(&arguments).contains(&word), "{word}");
    }
    assert_eq!((listed, list(b"").list), (b"./name\0/NAME\0".to_vec(), b"./.inosync-probe\0".to_vec()));
}

#[test]
fn a_comparison_says_how_far_it_is_whatever_the_user_adds() {
    let node = Node::parse("", "/mirror").unwrap();
    for extra in ["", "-av", "--no-progress --no-h"] {
        let site = site(extra, InitialSync::Full);
        let arguments = |recipe| context(&site, &node).invocation(recipe, Vec::new(), &[]).arguments;
        let end =
            ["--info=progress2", "--no-h", "--delete", "--force", "--out-format=%i|%l|%b|%n", "--", "./", "/mirror/"];
        assert!(words(&arguments(Recipe::Full)).ends_with(&end), "{extra}");
        for recipe in [Recipe::DryRun, Recipe::Subtrees, Recipe::Present] {
            assert!(!words(&arguments(recipe)).contains(&"--info=progress2"), "{recipe:?}");
        }
    }
}

#[test]
fn a_directory_is_built_out_of_another_one_of_the_node() {
    for (node, rpath, basis, dest) in [
        ("", "/m", "/m/o ld", "/m/d/new/"),
        ("h:", "/m", "/m/o ld", "h:/m/d/new/"),
        ("u@h:below/home", "/m", "../../o ld", "u@h:below/home/m/d/new/"),
        ("h::mod", "/m", "/m/o ld", "h::mod/m/d/new/"),
        ("rsync://h:87/mod/in", "/m", "/in/m/o ld", "rsync://h:87/mod/in/m/d/new/"),
        ("h::mod", "/", "/o ld", "h::mod/d/new/"),
    ] {
        let (site, node) = (site("-a", InitialSync::Full), Node::parse(node, rpath).unwrap());
        let moved = Relocation { to: rel("d/new"), from: rel("o ld"), doubt: Doubt::None };
        let Invocation { arguments, list } = context(&site, &node).build(&moved, &["- /x".into()]);
        let words = words(&arguments);
        let basis = format!("--link-dest={basis}");
        let motd: &[&str] = if node.kind() == Kind::Daemon { &["--no-motd"] } else { &[] };
        let plain = ["--recursive", "--no-links", "--no-devices", "--no-specials", "--delete", "--force"];
        let end = [&["-a"], motd, &plain[..], &["--out-format=%i|%l|%b|%n", &basis, "--", "./", dest]].concat();
        assert!(words.ends_with(&end), "{words:?}");
        assert!(words.contains(&"--filter=- /x") && words.contains(&"--filter=- *.tmp"));
        // A blank in the value of an option; the shell and some daemons take it otherwise.
        assert_eq!(words.contains(&"-s"), node.kind() != Kind::Local, "{words:?}");
        assert!(!words.iter().any(|word| word.starts_with("--max-delete") || word.starts_with("--files-from")));
        assert!(list.is_empty());
    }
}

#[test]
fn a_directory_is_built_with_the_care_of_its_comparison() {
    let node = Node::parse("", "/m").unwrap();
    for (initial_sync, doubt, expected) in [
        (InitialSync::Full, Doubt::None, [false, false, false]),
        (InitialSync::Full, Doubt::Changing, [true, false, false]),
        (InitialSync::Full, Doubt::Replaced, [false, true, false]),
        (InitialSync::Update, Doubt::None, [false, false, true]),
        (InitialSync::Off, Doubt::Replaced, [false, true, false]),
    ] {
        let site = site("", initial_sync);
        let moved = Relocation { to: rel("n"), from: rel("o"), doubt };
        let arguments = context(&site, &node).build(&moved, &[]).arguments;
        let has = |word| words(&arguments).contains(&word);
        let found = [has("--checksum"), has("--ignore-times"), has("--filter=P *")];
        assert_eq!(found, expected, "{initial_sync:?} {doubt:?}");
    }
}

#[test]
fn a_comparison_by_content_writes_nowhere_whatever_the_user_adds() {
    let node = Node::parse("", "/mirror").unwrap();
    for extra in ["", "-a", "-a --timeout=9", "-acI --no-dry-run"] {
        let mut site = site(extra, InitialSync::Full);
        site.logfile = Some(PathBuf::from("/log"));
        for (recipe, reads, first) in [
            (Recipe::Verify, true, "--recursive"),
            (Recipe::VerifyEntries, true, "--no-recursive"),
            (Recipe::VerifyLevels, false, "--no-recursive"),
        ] {
            let Invocation { arguments, .. } = context(&site, &node).invocation(recipe, Vec::new(), &[]);
            let words = words(&arguments);
            let last = |one: &str, other: &str| {
                words.iter().rposition(|word| *word == one) > words.iter().rposition(|word| *word == other)
            };
            assert!(last("--dry-run", "--no-dry-run") && last("--timeout=3600", "--timeout=9"), "{words:?}");
            assert_eq!(last("--checksum", "--no-checksum"), reads, "{words:?}");
            assert!(words.contains(&first) && words.contains(&"--delete"), "{words:?}");
            assert!(!words.iter().any(|word| word.starts_with("--log-file")), "{words:?}");
        }
    }
}

#[test]
fn a_comparison_by_content_asks_for_what_is_only_there_if_that_is_to_be_deleted() {
    let node = Node::parse("", "/mirror").unwrap();
    for (initial_sync, keeps) in [(InitialSync::Full, false), (InitialSync::Update, true), (InitialSync::Off, true)] {
        let site = site("", initial_sync);
        for recipe in [Recipe::Verify, Recipe::VerifyEntries, Recipe::VerifyLevels] {
            let invocation = context(&site, &node).invocation(recipe, Vec::new(), &[]);
            assert_eq!(words(&invocation.arguments).contains(&"--filter=P *"), keeps, "{recipe:?}");
        }
    }
}

#[test]
fn the_root_is_looked_at_again_without_what_is_in_it() {
    for (paths, expected) in
        [(&["a", "b/c"][..], &b"/a\0/b/c\0"[..]), (&["", "a"], b"./a\0"), (&[""], b"./.inosync-probe\0")]
    {
        let paths: Vec<RelPath> = paths.iter().map(|path| rel(path)).collect();
        assert_eq!(verified(&paths), expected, "{paths:?}");
    }
}

#[test]
fn where_contents_are_read_the_timeout_is_longer_than_any_other() {
    let node = Node::parse("", "/mirror").unwrap();
    for (extra, recipe, reading, expected) in [
        ("", Recipe::Full, 0, "--timeout=60"),
        ("--timeout=9", Recipe::Full, 0, "--timeout=9"),
        ("-c", Recipe::Full, 1000, "--timeout=1060"),
        ("-c --timeout=9", Recipe::Present, 1000, "--timeout=1009"),
        ("", Recipe::Verify, 0, "--timeout=3600"),
        ("--timeout=5000", Recipe::VerifyEntries, 7, "--timeout=5007"),
    ] {
        let site = site(extra, InitialSync::Full);
        let context = Context { reading: Duration::from_secs(reading), ..context(&site, &node) };
        let arguments = context.invocation(recipe, Vec::new(), &[]).arguments;
        let last = words(&arguments).into_iter().rfind(|word| word.starts_with("--timeout="));
        assert_eq!(last, Some(expected), "{extra} {recipe:?}");
    }
}

#[test]
fn what_a_list_names_is_found_in_it() {
    let paths = ["#a", "d/b\n"].map(rel);
    for root in [true, false] {
        assert_eq!(named(&entries(&paths, root)), (paths.to_vec(), root));
    }
    assert_eq!(named(&levels(&[RelPath::root(), rel("d")])), (vec![RelPath::root(), rel("d")], true));
}

#[test]
fn what_makes_room_deletes_what_a_comparison_may_and_sends_nothing() {
    let node = Node::parse("", "/mirror").unwrap();
    for (initial, protects) in [(InitialSync::Full, false), (InitialSync::Update, true)] {
        let site = site("", initial);
        let arguments = context(&site, &node).invocation(Recipe::Prune, Vec::new(), &[]).arguments;
        let has = |word: &str| words(&arguments).contains(&word);
        assert!(["--recursive", "--delete", "--existing", "--ignore-existing"].into_iter().all(has), "{arguments:?}");
        assert_eq!(has("--filter=P *"), protects, "{arguments:?}");
    }
}

#[test]
fn what_a_node_keeps_is_protected_in_every_run_that_could_delete_it() {
    use Recipe::{
        Anew, Clash, ClashAll, ClashBelow, Closed, DryRun, Full, Large, Levels, Present, Prune, Root, Similar,
        Subtrees, SubtreesRewritten, Verify, VerifyLevels,
    };
    let node = Node::parse("", "/mirror").unwrap();
    let live = [Present, Large, Closed, Anew, Similar, Subtrees, SubtreesRewritten, Levels, Root];
    let looks = [Clash, ClashBelow, ClashAll];
    let whole = [Full, Prune, DryRun];
    let verifies = [Verify, VerifyLevels];
    let compares = [Subtrees, Levels, Full, Prune, DryRun, Verify, VerifyLevels, Clash, ClashBelow, ClashAll];
    for recipe in live.into_iter().chain(looks).chain(whole).chain(verifies) {
        for (delete, expected) in [
            (DeleteMode::Always, looks.contains(&recipe)),
            (DeleteMode::Never, !verifies.contains(&recipe)),
            // The comparison at the start deletes.
            (DeleteMode::Startup, !verifies.contains(&recipe) && !whole.contains(&recipe)),
            (DeleteMode::Running, compares.contains(&recipe)),
        ] {
            let site = Site { delete, ..site("", InitialSync::Full) };
            let arguments = context(&site, &node).invocation(recipe, Vec::new(), &[]).arguments;
            assert_eq!(words(&arguments).contains(&"--filter=P *"), expected, "{recipe:?} {delete:?}");
        }
    }
}

#[test]
fn only_what_compares_without_a_report_passes_over_what_the_node_cannot_hold() {
    use Recipe::{
        Anew, DryRun, Full, Large, Levels, Link, Missing, Present, Probe, Recall, Root, Similar, Subtrees,
        SubtreesRewritten, Verify, VerifyEntries, VerifyLevels,
    };
    let (site, node) = (site("-a", InitialSync::Full), Node::parse("", "/mirror").unwrap());
    let traits = Traits::from_iter([Trait::CoarseTimes(1), Trait::NoPermissions, Trait::OneCase]);
    let context = Context { traits, ..context(&site, &node) };
    let compares = [Full, DryRun, Verify, VerifyEntries, VerifyLevels, Recall, Probe, Levels];
    let reported = [Present, Large, Similar, Anew, Subtrees, SubtreesRewritten, Missing, Root, Link];
    for recipe in compares.into_iter().chain(reported) {
        let arguments = context.invocation(recipe, Vec::new(), &[]).arguments;
        let has = |word: &str| words(&arguments).contains(&word);
        let passes_over = compares.contains(&recipe);
        assert_eq!((has("--modify-window=1"), has("--no-perms")), (passes_over, passes_over), "{recipe:?}");
        assert_eq!(has("--modify-window=-1"), !passes_over, "{recipe:?}");
    }
}
