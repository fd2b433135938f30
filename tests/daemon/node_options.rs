//! Nodes with settings of their own: what each says holds for it alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, plant, program, wait};

/// A file gets this mode at a node.
#[track_caller]
fn expect_mode(site: &Site, node: Node, path: &str, expected: u32) {
    let mode = || site.mirror(node).join(path).metadata().map_or(0, |meta| meta.permissions().mode() & 0o777);
    if wait::until(|| (mode() == expected).then_some(())).is_none() {
        site.fail(&format!("{path} on {node} has mode {:o}, not {expected:o}", mode()));
    }
}

/// Three nodes, each with a name and a mode of files.
fn with_modes() -> Site {
    let mut site = Site::new();
    site.config("extra: \"--chmod=F644\"");
    site.own(Local, "here", "extra: \"--chmod=F600\"");
    site.own(Ssh, "paris", "extra: \"--chmod=F640\"");
    site.write("file", "x");
    site
}

#[test]
fn each_node_has_its_own_settings_and_a_reload_of_one_leaves_the_others_alone() {
    let mut site = with_modes();
    site.start_with(&["-v"]);
    for (node, mode) in [(Local, 0o600), (Ssh, 0o640), (Rsyncd, 0o644)] {
        expect_mode(&site, node, "file", mode);
        site.expect_waiting(node);
    }
    let waiting = [Local, Rsyncd].map(|node| site.waiting(node));
    site.own(Ssh, "paris", "extra: \"--chmod=F660\", rspeed: 100000");
    assert!(site.reload().contains("reloaded: changed extra rspeed"));
    expect_mode(&site, Ssh, "file", 0o660);
    assert_eq!([Local, Rsyncd].map(|node| site.waiting(node)), waiting, "others lost their standbys");
    site.write("second", "x");
    for (node, mode) in [(Local, 0o600), (Ssh, 0o660), (Rsyncd, 0o644)] {
        expect_mode(&site, node, "second", mode);
    }
    let reconciles = || site.log_lines().iter().filter(|line| line.contains("reconciled")).count();
    assert!(wait::until(|| (reconciles() == 4).then_some(())).is_some(), "{}", site.log_lines().join("\n"));
    // What the site says counts where a node says nothing.
    site.config("extra: \"--chmod=F604\"");
    assert!(site.reload().contains("reloaded: changed extra"));
    expect_mode(&site, Rsyncd, "file", 0o604);
    expect_mode(&site, Local, "file", 0o600);
}

#[test]
fn a_node_is_named_by_its_name_everywhere() {
    let mut site = with_modes();
    let notes = site.beside("notes");
    let hook = site.beside("hook.sh");
    program(&hook, &format!("#!/bin/sh\necho \"$INOSYNC_NODE\" >> {}\n", notes.display()));
    site.config(&format!("on_synced: [{hook:?}]"));
    let port = site.listen();
    site.start();
    for node in [Local, Ssh] {
        site.expect_state(node, "idle");
        site.expect_log_line(&["reconciled", "node: ", &site.shown(node)]);
    }
    assert!(wait::until(|| fs::read_to_string(&notes).ok().filter(|text| text.contains("paris\n"))).is_some());
    let metrics = site.get(port, "/metrics").body;
    assert!(metrics.contains("node=\"paris\"") && !metrics.contains("node=\"mirror:"), "{metrics}");

    assert_eq!(site.ask(&["--pause", "paris"]).code, Some(0));
    site.expect_state(Ssh, "paused");
    site.write("second", "x");
    site.expect_on_node(Local, "second", "x");
    assert_eq!(site.ask(&["--resume", "paris"]).code, Some(0));
    site.expect_on_nodes("second", "x");
    let asked = site.ask(&["--check", "--node", "paris"]);
    assert!(asked.code == Some(0) && asked.stdout.contains("node paris: reachable"), "{asked:?}");
}

#[test]
fn a_remote_shell_for_the_ssh_nodes_does_not_reach_an_rsync_daemon() {
    let mut site = Site::new();
    site.config(&format!("extra: {:?}", site.rsh()));
    // Only the parameter knows the way to our sshd now.
    program(&site.beside("bin/ssh"), "#!/bin/sh\nexec /usr/bin/ssh \"$@\"\n");
    site.start_mirrored();
    site.write("file", "x");
    site.expect_identical();
    site.expect_log("the remote shell of `extra` is for the ssh nodes: this rsync daemon is reached without it");
}

#[test]
fn an_rsync_daemon_is_reached_through_the_shell_that_its_own_settings_name() {
    let mut site = Site::new();
    let shell = site.beside("shell");
    let conf = site.beside("rsyncd.conf");
    // As a server that starts an rsync daemon for each login.
    let server = format!(
        "#!/bin/sh\necho used >> {0}.log\nexec rsync --server --daemon --config={1} .\n",
        shell.display(),
        conf.display()
    );
    program(&shell, &server);
    site.own(Rsyncd, "daemon", &format!("extra: \"--rsh={}\"", shell.display()));
    site.write("file", "x");
    site.start();
    site.expect_on_nodes("file", "x");
    assert!(fs::read_to_string(site.beside("shell.log")).unwrap().contains("used"));
}

#[test]
fn a_node_may_have_its_own_rsync_program_and_its_own_directory() {
    let mut site = Site::new();
    let other = site.beside("own rsync");
    let notes = site.beside("notes");
    program(&other, &format!("#!/bin/sh\necho \"$*\" >> {:?}\nexec rsync \"$@\"\n", notes));
    site.config("confine: false");
    site.own(Local, "here", &format!("rsync: {other:?}"));
    site.start_mirrored();
    site.write("file", "x");
    site.expect_identical();
    let runs = fs::read_to_string(&notes).unwrap();
    let place = format!("{}/", site.mirror(Local).display());
    let to_node = runs.lines().filter(|run| run.contains(" -- "));
    assert!(runs.contains("--version") && to_node.clone().count() > 0, "{runs}");
    assert!(to_node.into_iter().all(|run| run.ends_with(&place)), "{runs}");
}

#[test]
fn each_node_follows_moves_of_directories_in_its_own_way() {
    let mut site = Site::new();
    site.own(Local, "here", "dir_moves: Replicate");
    site.own(Rsyncd, "daemon", "dir_moves: Replicate");
    site.mkdir("old");
    site.write("old/file", "x");
    site.start_mirrored();
    site.rename("old", "new");
    for node in [Local, Rsyncd] {
        site.expect_on_node(node, "new/file", "x");
        let is_gone = || (!site.mirror(node).join("old").exists()).then_some(());
        assert!(wait::until(is_gone).is_some(), "{node} keeps the old name");
    }
    site.expect_log_line(&["directory moved: not mirrored (dir_moves: Log)", "old"]);
    site.expect_log_line(&["directory moved: the nodes follow", "old"]);
    site.settle();
    assert!(site.mirror(Ssh).join("old/file").exists(), "this node keeps the old name");
    // A start makes all equal, also where the state is taken up.
    site.stop();
    plant(&site.at("more"), "x");
    site.start();
    site.expect_identical();
}
