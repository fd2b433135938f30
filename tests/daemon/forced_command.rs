//! Keys that can do nothing but mirror, as docs/operating.md has them: rrsync, and an rsync daemon behind the key.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Rsyncd, Site, Ssh};

/// Lets the key of the site run this command and no other one.
fn force(site: &Site, command: &str) {
    let keys = site.beside("authorized_keys");
    let key = fs::read_to_string(&keys).unwrap();
    fs::write(keys, format!("restrict,command=\"{command}\" {key}")).unwrap();
}

/// What goes by a standby, what by a run of its own, and both kinds of moves, for which nothing is sent.
fn mirror_everything(site: &mut Site) {
    let (large, larger) = ("x".repeat(300_000), "y".repeat(400_000));
    site.config("dir_moves: Replicate");
    site.mkdir("dir");
    site.write("dir/large", &large);
    site.write("file", &larger);
    site.start();
    site.expect_log("reconciled");
    site.settle();
    site.assert_on_nodes("dir/large", &large);
    site.write("dir/small", "new");
    site.expect_on_nodes("dir/small", "new");
    site.rename("file", "renamed");
    site.expect_gone("file");
    site.assert_on_nodes("renamed", &larger);
    let linked = site.expect_log_line(&["mirrored", "bytes: 0 B"]);
    assert!(!linked.contains("WARN"), "{linked}");
    site.rename("dir", "moved");
    site.expect_log("directory moved: mirrored, 0 bytes sent");
    site.expect_gone("dir");
    site.assert_on_nodes("moved/large", &large);
    site.remove("moved/large");
    site.expect_gone("moved/large");
    assert_eq!(site.troubles(), Vec::<String>::new());
}

#[test]
fn rrsync_lets_everything_pass_with_the_options_that_the_manual_names() {
    let rrsync = Command::new("/usr/bin/rrsync").arg("-h").output();
    if !rrsync.is_ok_and(|output| output.status.success()) {
        println!("not tested: rrsync, or the python3 that it is written in, is not there");
        return;
    }
    let mut site = Site::on(&[Ssh]);
    let base = site.beside("");
    let base = base.to_str().unwrap().trim_end_matches('/');
    // What a path names is below the directory of rrsync: there it leads back.
    let inside = site.beside(base.trim_start_matches('/'));
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    symlink(base, inside).unwrap();
    force(&site, &format!("/usr/bin/rrsync -wo -no-lock {base}"));
    site.config("extra: \"--modify-window=0\"");
    mirror_everything(&mut site);
}

#[test]
fn an_rsync_daemon_may_be_started_by_the_key_alone() {
    let mut site = Site::on(&[Ssh, Rsyncd]);
    site.serve(&[Rsyncd]);
    // The one that listens is not what is reached.
    site.stop_server(Rsyncd);
    force(&site, &format!("rsync --server --daemon --config={} .", site.beside("rsyncd.conf").display()));
    let config = site.beside("ssh_config");
    let text = fs::read_to_string(&config).unwrap().replace("Host mirror", "Host 127.0.0.1 mirror");
    let any_name = site.beside("ssh_config.any");
    fs::write(&any_name, text).unwrap();
    site.config(&format!("extra: \"--rsh='ssh -F {}'\"", any_name.display()));
    mirror_everything(&mut site);
}
