//! `check`: it finds what the first batch would find, on this machine and at each node, and nothing stays anywhere.

mod here;
mod mounts;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Dead, Ended, Local, Rsyncd, Site, Ssh, free_port, plant, program, tree, wait};

/// Takes from root the rights over files of others.
const WITHOUT_RIGHTS: &str = "setpriv --bounding-set=-dac_override,-dac_read_search,-fowner";
/// What the names of probes begin with, at the nodes and on this machine.
const PROBES: [&str; 2] = [".inosync-probe", "inosync-check-"];

/// See `nodes.rs`.
const RSYNC_WITHOUT_MISSING_ARGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/rsync-3.2.7/usr/bin/rsync");

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As a user whom permissions bind.
fn run_bound(site: &Site, options: &[&str]) -> Ended {
    let launcher: Vec<&str> = if is_root() { WITHOUT_RIGHTS.split(' ').collect() } else { Vec::new() };
    site.run_by(&launcher, options)
}

/// Lets the user of no node write past permissions either.
fn bind_receivers(site: &mut Site) {
    if is_root() {
        site.config(&format!("extra: \"--rsync-path='{WITHOUT_RIGHTS} rsync'\""));
        site.module_option("uid = nobody\ngid = nogroup");
    }
}

/// A mirror that is there and may not be written.
fn forbid(mirror: &Path) {
    fs::create_dir_all(mirror).unwrap();
    fs::set_permissions(mirror, PermissionsExt::from_mode(0o555)).unwrap();
}

/// The names of probes that are in a directory or below it.
fn probes_in(dir: &Path) -> Vec<String> {
    let names = tree::read(dir, |_| false).into_keys().map(|path| String::from_utf8_lossy(&path).into_owned());
    names.filter(|path| PROBES.iter().any(|start| path.rsplit('/').next().unwrap_or(path).starts_with(start))).collect()
}

#[track_caller]
fn expect_line(ended: &Ended, words: &[&str]) {
    let found = ended.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "no line with {words:?} in:\n{}{}", ended.stdout, ended.log);
}

#[test]
fn a_check_of_a_sound_site_names_every_node_and_starts_nothing() {
    let site = Site::new();
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    let said = ended.stdout + &ended.log;
    for word in [site.name(Ssh), site.name(Rsyncd), site.mirror(Local).display().to_string()] {
        assert!(said.contains(&word), "{word}:\n{said}");
    }
    assert!(said.contains("max_user_watches"), "{said}");
    assert!(said.contains("all is well"), "{said}");
    site.live().for_each(|node| assert!(!site.mirror(node).exists(), "{node}"));
    assert!(ended.left.is_empty());
}

#[test]
fn a_check_finds_a_node_that_cannot_be_reached() {
    let site = Site::on(&[Local, Dead]);
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    assert!((ended.stdout + &ended.log).contains(&site.name(Dead)));
}

#[test]
fn a_mirror_that_its_user_may_not_write_is_named_with_user_path_and_cure() {
    let mut site = Site::new();
    bind_receivers(&mut site);
    site.live().for_each(|node| forbid(&site.mirror(node)));
    let ended = run_bound(&site, &["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    let user = if is_root() { "root" } else { "" };
    let (local, ssh) = (site.mirror(Local).display().to_string(), site.mirror(Ssh).display().to_string());
    expect_line(&ended, &[&local, "cannot be written by", user, "Permission denied", "chown it"]);
    expect_line(&ended, &[&ssh, "cannot be written by", user, "at the node", "chown it there"]);
    expect_line(&ended, &["/m/", "cannot be written by the module's user", "chown it there"]);
    assert!(ended.stdout.contains("not ready"), "{}", ended.stdout);
}

#[test]
fn a_mirror_that_cannot_be_made_is_found_at_the_directory_above_it() {
    let mut site = Site::new();
    bind_receivers(&mut site);
    site.live().for_each(|node| forbid(&site.mirror(node)));
    let mirrors: Vec<_> = site.live().map(|node| site.mirror(node)).collect();
    site.mirror_at("deep/er");
    let ended = run_bound(&site, &["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    let found = ended.stdout.lines().filter(|line| line.contains("the mirror cannot be made: ")).count();
    assert_eq!(found, 3, "{}", ended.stdout);
    mirrors.iter().for_each(|mirror| assert_eq!(fs::read_dir(mirror).unwrap().count(), 0, "{mirror:?}"));
}

#[test]
fn a_mirror_that_is_a_symlink_to_nowhere_is_told_and_not_taken_for_one_that_will_be_made() {
    let mut site = Site::new();
    let links: Vec<_> = site.live().map(|node| site.mirror(node).join("link")).collect();
    site.mirror_at("link/mirror");
    for link in &links {
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("nowhere", link).unwrap();
    }
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    let told = ended.stdout.lines().filter(|line| line.contains("/link is a symlink that leads nowhere")).count();
    assert_eq!(told, links.len(), "{}", ended.stdout);
    links.iter().for_each(|link| fs::create_dir(link.parent().unwrap().join("nowhere")).unwrap());
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
}

#[test]
fn a_mirror_that_may_not_even_be_entered_or_is_a_file_is_told() {
    let site = Site::on(&[Local]);
    fs::create_dir_all(site.mirror(Local)).unwrap();
    fs::set_permissions(site.mirror(Local), PermissionsExt::from_mode(0o0)).unwrap();
    let ended = run_bound(&site, &["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(
        &ended,
        &["the mirror cannot be entered", &site.mirror(Local).display().to_string(), "Permission denied"],
    );
    fs::remove_dir(site.mirror(Local)).unwrap();
    fs::write(site.mirror(Local), "a file").unwrap();
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["the mirror cannot be entered", "Not a directory"]);
    assert_eq!(fs::read_to_string(site.mirror(Local)).unwrap(), "a file");
}

#[test]
fn a_mirror_of_another_user_that_can_be_written_all_the_same_is_warned_of() {
    if !is_root() {
        println!("not tested: only root can give a directory away");
        return;
    }
    let site = Site::on(&[Local]);
    fs::create_dir_all(site.mirror(Local)).unwrap();
    std::os::unix::fs::chown(site.mirror(Local), Some(1), None).unwrap();
    fs::set_permissions(site.mirror(Local), PermissionsExt::from_mode(0o1777)).unwrap();
    let ended = run_bound(&site, &["check"]);
    expect_line(&ended, &["warning", "belongs to another user", "cannot be replaced or deleted", "chown it"]);
    let ended = site.run(&["check"]);
    assert!(!ended.stdout.contains("warning"), "root may: {}", ended.stdout);
}

#[test]
fn a_receiver_that_rejects_missing_entries_gets_its_mirror_from_no_check_either() {
    if !Path::new(RSYNC_WITHOUT_MISSING_ARGS).exists() {
        println!("not tested: {RSYNC_WITHOUT_MISSING_ARGS} is not there");
        return;
    }
    let mut site = Site::on(&[Ssh]);
    site.config(&format!("extra: \"--rsync-path={RSYNC_WITHOUT_MISSING_ARGS}\""));
    for is_there in [false, true] {
        let ended = site.run(&["check"]);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
        expect_line(&ended, &["deletions in protocol 29"]);
        assert_eq!(ended.stdout.contains("does not exist yet"), !is_there, "{}", ended.stdout);
        assert_eq!(site.mirror(Ssh).exists(), is_there);
        assert_eq!(probes_in(&site.beside("")), Vec::<String>::new());
        fs::create_dir_all(site.mirror(Ssh)).unwrap();
    }
}

#[test]
fn a_program_that_is_not_rsync_is_named() {
    let mut site = Site::on(&[Ssh]);
    let other = site.beside("openrsync");
    let says = "echo 'openrsync: protocol version 29, rsync version 2.6.9 compatible'; exit 0";
    let script = format!("#!/bin/sh\ncase $1 in --version) {says};; esac\necho 'unrecognized option' >&2\nexit 1\n");
    program(&other, &script);
    site.config(&format!("extra: \"--rsync-path={}\"", other.display()));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["openrsync", "install rsync itself", "--rsync-path"]);
}

#[test]
fn a_check_leaves_each_mirror_as_it_was() {
    let mut site = Site::new();
    site.config("extra: \"-b --backup-dir=/old\"");
    // What the patterns of the site match is tried as well.
    site.config(r#"rexcludes: [".*"]"#);
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let images = |site: &Site| site.live().map(|node| tree::read(&site.mirror(node), |_| false)).collect::<Vec<_>>();
    let before = images(&site);
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    assert_eq!(ended.stdout.matches("can be written").count(), 3, "{}", ended.stdout);
    assert!(images(&site) == before, "something of a mirror is another");
    assert_eq!(probes_in(&site.beside("")), Vec::<String>::new());
    let verified = site.run(&["verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.log);
}

#[test]
fn a_check_that_is_killed_leaves_nothing() {
    let mut site = Site::new();
    site.live().for_each(|node| fs::create_dir_all(site.mirror(node)).unwrap());
    for round in 0..20 {
        site.launch_with(&["check"]);
        // The moment of the kill.
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..700)));
        site.daemon().signal(Signal::KILL);
        // What was begun goes on to its end.
        let ended = site.wait();
        assert_eq!(ended.left, Vec::<u32>::new(), "round {round}");
        let gone = wait::until_within(Duration::from_secs(20), || {
            let found = probes_in(&site.beside(""));
            found.is_empty().then_some(())
        });
        assert!(gone.is_some(), "round {round}: {:?}", probes_in(&site.beside("")));
    }
}

#[test]
fn what_an_earlier_check_left_goes_with_the_next_one() {
    let mut site = Site::on(&[Local]);
    let seen = site.beside("seen");
    // It tells the names of what it is given.
    let slow = site.beside("telling-rsync");
    let tell = format!("for list in \"$@\"; do case $list in .) ls -A . >> {};; esac; done", seen.display());
    program(&slow, &format!("#!/bin/sh\n{tell}\nexec rsync \"$@\"\n"));
    site.config(&format!("rsync: {slow:?}"));
    fs::create_dir_all(site.mirror(Local)).unwrap();
    site.run(&["check"]);
    let names = fs::read_to_string(&seen).unwrap();
    let names: Vec<&str> = names.lines().filter(|name| name.starts_with(PROBES[0])).collect();
    assert!(names.len() >= 3, "{names:?}");
    names.iter().for_each(|name| plant(&site.mirror(Local).join(name), "left"));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    assert_eq!(probes_in(&site.mirror(Local)), Vec::<String>::new());
}

#[test]
fn a_running_daemon_and_its_node_notice_nothing_of_a_check() {
    let mut site = Site::new();
    site.config(&format!("listen: \"127.0.0.1:{}\"", free_port()));
    site.start_mirrored();
    site.settle();
    let asked = site.ask(&["check"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let pid = site.daemon().id().to_string();
    for words in [["daemon: it runs with this file", pid.as_str()], ["listen", "by the daemon"]] {
        let found = asked.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} {asked:?}");
    }
    site.settle();
    site.expect_identical();
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn a_check_that_finds_nothing_does_not_hide_what_the_daemon_has_found() {
    let mut site = Site::on(&[Local, Ssh]);
    let hook = site.beside("hook.sh");
    program(&hook, "#!/bin/sh\ncat >/dev/null; exit 3\n");
    site.config(&format!("on_synced: [{hook:?}]"));
    site.start_mirrored();
    site.expect_log("hook fails");
    assert_eq!(site.ask(&["pause", &site.name(Ssh)]).code, Some(0));
    let ended = site.ask(&["check"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for words in [["node local: on_synced fails: ", "exit code 3"], [&site.name(Ssh), "paused"]] {
        let is_it = |line: &str| line.starts_with("warning: the daemon says: ");
        let found = ended.stdout.lines().any(|line| is_it(line) && words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("all is well"), "{}", ended.stdout);
    let ended = site.ask(&["check", "--node", "local"]);
    let tells = |words: &str| ended.stdout.contains(words);
    assert!(tells("warning: the daemon says: node local: ") && !tells("paused"), "{}", ended.stdout);
}

#[test]
fn offline_no_node_is_touched() {
    let site = Site::on(&[Local, Ssh, Dead]);
    let ended = site.run(&["check", "--offline"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &[&site.name(Dead), "not asked"]);
    assert!(!ended.stdout.contains("reachable"), "{}", ended.stdout);
}

#[test]
fn one_node_is_looked_at_alone() {
    let site = Site::on(&[Local, Rsyncd, Dead]);
    let ended = site.run(&["check", "--node", &site.name(Rsyncd)]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    assert!(!ended.stdout.contains(&site.name(Dead)), "{}", ended.stdout);
    let ended = site.run(&["check", "--node", &site.name(Dead)]);
    assert_eq!(ended.code, Some(69), "{}", ended.stdout);
    let ended = site.run(&["check", "--node", "no such node"]);
    assert_eq!(ended.code, Some(64), "{}", ended.stdout);
    assert!(ended.log.contains("name one of: local, "), "{}", ended.log);
}

#[test]
fn a_module_that_refuses_deletions_or_is_read_only_is_found_and_nothing_is_written() {
    for (option, words) in [("refuse options = delete", "refuse"), ("read only = yes", "read-only")] {
        let site = Site::on(&[Rsyncd]);
        fs::create_dir_all(site.mirror(Rsyncd)).unwrap();
        site.module_option(option);
        let ended = site.run(&["check"]);
        assert_eq!(ended.code, Some(69), "{option}\n{}{}", ended.stdout, ended.log);
        expect_line(&ended, &[words]);
        assert_eq!(fs::read_dir(site.mirror(Rsyncd)).unwrap().count(), 0, "{option}");
    }
}

#[test]
fn a_module_with_one_connection_and_one_that_hides_the_probe_are_told() {
    let site = Site::on(&[Rsyncd]);
    fs::create_dir_all(site.mirror(Rsyncd)).unwrap();
    let lock = site.beside("rsyncd.lock");
    site.module_option(&format!("max connections = 1\nlock file = {}", lock.display()));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["warning", "max connections"]);
    expect_line(&ended, &["can be written"]);
    let site = Site::on(&[Rsyncd]);
    fs::create_dir_all(site.mirror(Rsyncd)).unwrap();
    site.module_option("exclude = .*");
    let ended = site.run(&["check"]);
    expect_line(&ended, &["warning", "not tried to write", "exclude"]);
    assert!(!ended.stdout.contains("can be written"), "{}", ended.stdout);
    assert_eq!(probes_in(&site.beside("")), Vec::<String>::new());
}

#[test]
fn what_was_not_seen_to_be_written_is_not_told_as_written() {
    let mut site = Site::on(&[Local]);
    let hides = site.beside("hiding-rsync");
    // It sends none of the entries that it is given.
    program(
        &hides,
        "#!/bin/sh\ncase \"$*\" in *--ignore-times*) exec rsync --exclude='*' \"$@\";; esac\nexec rsync \"$@\"\n",
    );
    site.config(&format!("rsync: {hides:?}"));
    fs::create_dir_all(site.mirror(Local)).unwrap();
    let ended = site.run(&["check"]);
    expect_line(&ended, &["warning", "not tried to write"]);
    assert!(!ended.stdout.contains("can be written"), "{}", ended.stdout);
}

/// What becomes of symlinks at an rsync daemon, as its module is set, and what is said of it.
#[test]
fn a_module_that_rewrites_symlinks_is_told_by_check_and_by_verify() {
    let cases = [
        ("use chroot = no\nmunge symlinks = yes", Some("/rsyncd-munged//etc/hostname")),
        ("use chroot = no\nmunge symlinks = no", Some("etc/hostname")),
        ("use chroot = yes\nmunge symlinks = yes", Some("/rsyncd-munged//etc/hostname")),
        ("use chroot = yes\nmunge symlinks = no", None),
    ];
    for (module, stored) in cases.into_iter().filter(|(module, _)| is_root() || module.contains("chroot = no")) {
        let site = Site::on(&[Rsyncd]);
        site.module_option(module);
        site.symlink("link", "/etc/hostname");
        site.symlink("plain", "seed");
        let ended = site.run(&["once"]);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let found = fs::read_link(site.mirror(Rsyncd).join("link")).unwrap();
        assert_eq!(found.to_str(), stored.or(Some("/etc/hostname")), "{module}");
        let checked = site.run(&["check"]);
        assert_eq!(checked.code, Some(0), "{module}\n{}{}", checked.stdout, checked.log);
        assert_eq!(checked.stdout.contains("symlink"), stored.is_some(), "{module}\n{}", checked.stdout);
        let verified = site.run(&["verify"]);
        let code = if stored.is_some() { 1 } else { 0 };
        assert_eq!(verified.code, Some(code), "{module}\n{}{}", verified.stdout, verified.log);
        if let Some(stored) = stored {
            let line = format!("differs: link (symlink `/etc/hostname`, there `{stored}`)");
            assert!(verified.stdout.contains(&line), "{module}\n{}", verified.stdout);
            assert!(verified.log.contains("symlinks are not what they are in the source"), "{}", verified.log);
        }
    }
}

#[test]
fn nodes_are_asked_side_by_side_and_told_in_their_order() {
    let mut site = Site::on(&[Local, Ssh, Rsyncd]);
    // The one that is told first takes longest.
    let slow = site.beside("slow-rsync");
    program(
        &slow,
        "#!/bin/sh\ncase \"$*\" in *mirror:*|*rsync://*) ;; *--debug=PROTO*) sleep 2;; esac\nexec rsync \"$@\"\n",
    );
    site.config(&format!("rsync: {slow:?}"));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("node ")).collect();
    let expected = ["local", &site.name(Ssh), &site.name(Rsyncd)].map(|name| format!("node {name}: reachable"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    lines.iter().zip(expected).for_each(|(line, start)| assert!(line.starts_with(&start), "{lines:?}"));
}
