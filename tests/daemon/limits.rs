//! The kernel's limits on inotify, lowered for the daemon alone in a user namespace of its own.

use crate::support::{Ended, Local, Site};

/// A site of 21 directories, run to its end after these shell commands in a namespace where they are allowed.
/// `None`, said in the output, where this machine allows no such namespace.
fn run_limited(limit: &str, options: &[&str]) -> Option<Ended> {
    let site = Site::on(&[Local]);
    for n in 0..20 {
        site.mkdir(format!("dir {n}"));
    }
    // What the daemon reads about its limit has to agree with what the kernel enforces.
    std::fs::write(site.beside("limit"), "5\n").unwrap();
    let shown = format!("mount --bind {} /proc/sys/fs/inotify/max_user_{limit}", site.beside("limit").display());
    let enforced = format!("echo {} > /proc/sys/user/max_inotify_{limit}", if limit == "watches" { 5 } else { 0 });
    let prepare = format!("{shown} && {enforced} && exec \"$@\"");
    let launcher = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &prepare, "sh"];
    let attempt = std::process::Command::new(launcher[0]).args(&launcher[1..]).arg("true").output().unwrap();
    if !attempt.status.success() {
        println!("not tested, no namespace here: {}", String::from_utf8_lossy(&attempt.stderr));
        return None;
    }
    let ended = site.run_by(&launcher, options);
    assert!(!site.mirror(Local).exists(), "something was mirrored");
    assert!(ended.left.is_empty(), "still running: {:?}", ended.left);
    Some(ended)
}

#[track_caller]
fn expect_said(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    let said = format!("{}{}", ended.stdout, ended.log);
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
}

#[test]
fn too_few_watches_end_the_start_with_the_limit_and_its_cure() {
    if let Some(ended) = run_limited("watches", &[]) {
        expect_said(&ended, &["fs.inotify.max_user_watches", "sysctl"]);
    }
}

#[test]
fn too_few_inotify_instances_end_the_start_with_the_limit_and_its_cure() {
    if let Some(ended) = run_limited("instances", &[]) {
        // That of the namespace binds, which is the smaller one.
        expect_said(&ended, &["user.max_inotify_instances is 0", "sysctl"]);
    }
}

#[test]
fn a_check_finds_that_the_watches_will_not_be_enough() {
    if let Some(ended) = run_limited("watches", &["check"]) {
        expect_said(&ended, &["fs.inotify.max_user_watches", "sysctl", "21"]);
    }
}

/// Sets the limit on watches in the namespace of the running daemon.
fn set_limit(site: &Site, watches: usize) {
    let set = format!("echo {watches} > /proc/sys/user/max_inotify_watches");
    let pid = site.daemon().id().to_string();
    let mut enter = std::process::Command::new("nsenter");
    let status = enter.args(["--target", &pid, "--user", "--preserve-credentials", "sh", "-c", &set]).status().unwrap();
    assert!(status.success(), "{enter:?}: {status}");
}

#[test]
fn past_the_watch_limit_changes_arrive_later_until_there_are_watches_again() {
    let limit = "echo 5 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let launcher = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"];
    let attempt = std::process::Command::new(launcher[0]).args(&launcher[1..]).arg("true").output().unwrap();
    if !attempt.status.success() {
        println!("not tested, no namespace here: {}", String::from_utf8_lossy(&attempt.stderr));
        return;
    }
    let mut site = Site::on(&[Local]);
    site.config("watch_poll: 1");
    site.mkdir("dir");
    site.start_by(&launcher, &[]);
    site.expect_identical();
    (0..12).for_each(|n| site.mkdir(format!("dir/{n}/deep")));
    site.expect_identical();
    site.expect_log_line(&["WARN", "directories are not watched", "compared every 1 s instead", "sysctl"]);
    for n in 0..12 {
        site.write(format!("dir/{n}/deep/file"), "nobody sees it");
    }
    site.expect_identical();
    set_limit(&site, 100);
    site.expect_log_line(&["INFO", "all directories are watched again"]);
    site.write("dir/11/deep/file", "seen at once");
    site.expect_identical();
    let troubles = site.troubles();
    assert!(troubles.len() <= 3, "said once, and once more when there were many more:\n{}", troubles.join("\n"));
}
