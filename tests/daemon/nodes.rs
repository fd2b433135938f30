//! What nodes need beyond a tree: directories that are made, ssh parameters of the user, receivers of any rsync.

use std::path::Path;
use std::process::Command;

use crate::support::{Local, Site, Ssh, program};

/// Debian's security update of rsync 3.2.7, whose receiver rejects the deletion of missing arguments (upstream issue
/// 910). `make test` puts it here where the package can be had.
const RSYNC_WITHOUT_MISSING_ARGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/rsync-3.2.7/usr/bin/rsync");

#[test]
fn a_mirror_is_made_with_the_directories_above_it() {
    let mut site = Site::new();
    site.mirror_at("deep/er/mirror");
    site.start_mirrored();
}

#[test]
fn the_path_of_a_mirror_may_hold_what_a_shell_would_act_on() {
    let mut site = Site::new();
    site.mirror_at("two words/it's #1; $HOME & (more)");
    site.start_mirrored();
    site.write("file", "x");
    site.expect_identical();
}

#[test]
fn a_mirror_that_vanishes_is_made_again_by_the_next_change() {
    let mut site = Site::new();
    site.start_mirrored();
    for node in site.live() {
        std::fs::remove_dir_all(site.mirror(node)).unwrap();
    }
    site.write("file", "x");
    site.expect_on_nodes("file", "x");
}

#[test]
fn the_remote_shell_of_the_user_is_used() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config(&format!("extra: {:?}", site.rsh()));
    // Only the parameter knows the way to our sshd now.
    program(&site.beside("bin/ssh"), "#!/bin/sh\nexec /usr/bin/ssh \"$@\"\n");
    site.start_mirrored();
    site.write("file", "x");
    site.expect_identical();
}

#[test]
fn an_ssh_with_options_of_the_user_is_shared_by_the_runs_and_has_those_of_the_daemon_too() {
    // A confined run starts its ssh through the daemon, and another one by itself.
    for confine in [true, false] {
        let mut site = Site::on(&[Ssh]);
        site.config(&format!("extra: {:?}, confine: {confine}", site.rsh()));
        let calls = site.beside("calls");
        let text = format!("#!/bin/sh\necho \"$*\" >>{}\nexec /usr/bin/ssh \"$@\"\n", calls.display());
        program(&site.beside("bin/ssh"), &text);
        site.start_warm();
        let ended = site.run(&["check"]);
        assert!(ended.stdout.contains("all is well"), "{}{}", ended.stdout, ended.log);
        let calls = std::fs::read_to_string(calls).unwrap();
        let config = format!("-F {}", site.beside("ssh_config").display());
        let is_right = |call: &&str| call.contains(&config) && call.contains("-o ServerAliveInterval=10");
        let wrong: Vec<&str> = calls.lines().filter(|call| !is_right(call)).collect();
        assert!(wrong.is_empty(), "confine: {confine}: {wrong:?}");
        let count = |words: &str| calls.lines().filter(|call| call.contains(words)).count();
        assert!(count("-o ControlMaster=yes") > 0, "{calls}");
        assert!(count("-o ControlPath=/") > 1, "a run goes over the connection: {calls}");
    }
}

#[test]
fn an_ipv6_address_in_brackets_is_a_host() {
    let site = Site::on(&[Ssh]);
    site.write("file", "x");
    let config = std::fs::read_to_string(site.config_file()).unwrap();
    let ipv6 = site.beside("ipv6.ron");
    std::fs::write(&ipv6, config.replace("\"mirror:", "\"[::1]:")).unwrap();
    let ended = site.run_plain(&["-c", ipv6.to_str().unwrap(), "once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("[::1]:"), "{}", ended.log);
    site.assert_on_nodes("file", "x");
}

#[test]
fn parameters_of_the_user_are_used() {
    let mut site = Site::new();
    site.config(r#"extra: ["-a", "--chmod=F600"]"#);
    site.write("file", "x");
    site.chmod("file", 0o644);
    site.start();
    site.expect_on_nodes("file", "x");
    for node in site.live() {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&site.mirror(node).join("file").metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{node}");
    }
}

#[test]
fn rsync_keeps_a_log_of_its_own_when_asked_to() {
    let mut site = Site::on(&[Local]);
    site.config(&format!("logfile: {:?}", site.beside("rsync.log")));
    site.start_mirrored();
    site.write("file", "x");
    site.expect_identical();
    assert_eq!(site.stop().code, Some(0));
    let log = std::fs::read_to_string(site.beside("rsync.log")).unwrap();
    assert!(log.contains("file"), "{log}");
}

#[test]
fn a_receiver_that_rejects_the_deletion_of_missing_arguments_is_served_too() {
    if !Path::new(RSYNC_WITHOUT_MISSING_ARGS).exists() {
        println!("not tested: {RSYNC_WITHOUT_MISSING_ARGS} is not there, this Debian does not have that package");
        return;
    }
    let mut site = Site::on(&[Ssh]);
    assert!(rejects_missing_args(&site), "the receiver under test is not the one that the test is about");
    site.config(&format!("extra: \"--rsync-path={RSYNC_WITHOUT_MISSING_ARGS}\""));
    site.mkdir("dir/deep/er");
    for path in ["file", "dir/file", "dir/other", "dir/deep/er/file", "- x", "dir/#x"] {
        site.write(path, "x");
    }
    site.start_mirrored();
    site.remove("file");
    site.remove("dir/file");
    site.remove("dir/deep");
    site.remove("- x");
    site.remove("dir/#x");
    site.write("dir/new", "in the same moment");
    site.expect_identical();
    site.remove("dir");
    site.write("dir", "a file now");
    site.expect_identical();
}

/// Asks the receiver as rsync would be asked by hand; changes nothing.
#[test]
fn a_receiver_that_rejects_missing_arguments_is_not_starved_by_files_that_are_replaced() {
    if !Path::new(RSYNC_WITHOUT_MISSING_ARGS).exists() {
        println!("not tested: {RSYNC_WITHOUT_MISSING_ARGS} is not there, this Debian does not have that package");
        return;
    }
    let mut site = Site::on(&[Ssh]);
    site.config(&format!("extra: \"--rsync-path={RSYNC_WITHOUT_MISSING_ARGS}\""));
    (0..20).for_each(|n| site.mkdir(format!("{n}")));
    site.start_mirrored();
    // The temporary name is gone before rsync looks for it, again and again.
    let replace = |round: usize| {
        for n in 0..20 {
            site.write(format!("{n}/file~"), format!("round {round}"));
            std::fs::rename(site.at(format!("{n}/file~")), site.at(format!("{n}/file"))).unwrap();
        }
    };
    (0..50).for_each(replace);
    site.write("another", "x");
    let mut round = 50;
    while !site.mirror(Ssh).join("another").exists() {
        assert!(round < 20_000, "starved:\n{}", site.log_lines().join("\n"));
        replace(round);
        round += 1;
    }
    site.expect_identical();
}

fn rejects_missing_args(site: &Site) -> bool {
    let list = site.beside("list");
    std::fs::write(&list, b"./no-such-path\0").unwrap();
    let mut rsync = Command::new("rsync");
    rsync.args(["-n", "-d", "--from0", "--delete-missing-args"]).arg(format!("--files-from={}", list.display()));
    rsync.arg("-e").arg(site.beside("bin/ssh")).arg(format!("--rsync-path={RSYNC_WITHOUT_MISSING_ARGS}"));
    rsync.arg(site.source().join("")).arg(format!("mirror:{}/", site.mirror(Ssh).display()));
    // The connection may end before the words have come through.
    (0..10).any(|_| String::from_utf8_lossy(&rsync.output().unwrap().stderr).contains("invalid file mode 00"))
}
