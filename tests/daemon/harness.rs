//! The tests' own tools: the servers serve, and the comparison sees what it has to see.

use std::process::Command;
use std::time::Duration;

use crate::support::{Node, Site, tree};

fn rsync(site: &Site, node: Node) {
    let target = match node {
        Node::Ssh | Node::Rsyncd => format!("{}{}/", site.name(node), site.mirror(Node::Local).display()),
        Node::Local | Node::Dead => format!("{}/", site.mirror(Node::Local).display()),
    };
    let mut rsync = Command::new("rsync");
    rsync.args(["-a", "--delete", "--modify-window=-1"]).arg(site.source().join("")).arg(target);
    if node == Node::Ssh {
        rsync.arg("-e").arg(site.beside("bin/ssh"));
    }
    let output = rsync.output().unwrap();
    assert!(output.status.success(), "{node}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn plain_rsync_reaches_each_kind_of_node() {
    let site = Site::new();
    site.mkdir("dir");
    site.symlink("dir/link", "/absolute/target");
    site.live().for_each(|node| rsync(&site, node));
    site.expect_identical();
}

#[test]
fn a_server_comes_back_where_it_was() {
    let mut site = Site::new();
    let before = site.name(Node::Rsyncd);
    site.stop_servers();
    site.start_servers();
    assert_eq!(site.name(Node::Rsyncd), before);
    site.live().for_each(|node| rsync(&site, node));
    site.expect_identical();
}

#[test]
fn every_kind_of_difference_is_seen_and_shown() {
    let site = Site::on(&[Node::Local]);
    let differences = || tree::differences(&site.source(), &site.mirror(Node::Local), |_| false, 20);
    assert!(!differences().is_empty(), "no mirror at all");
    let mirror = site.mirror(Node::Local);
    site.mkdir("dir");
    site.write("file", "aaa");
    site.symlink("link", "target");
    type Change = fn(&Site, &std::path::Path);
    let cases: [(&str, Change); 6] = [
        ("missing  dir", |_, mirror| std::fs::remove_dir(mirror.join("dir")).unwrap()),
        ("extra    more", |_, mirror| std::fs::write(mirror.join("more"), "").unwrap()),
        ("differs  file", |site, _| site.chmod("file", 0o600)),
        ("differs  link", |site, _| {
            site.remove("link");
            site.symlink("link", "other");
        }),
        ("differs  file", |site, _| site.touch("file", Duration::new(1_700_000_000, 1))),
        ("content  file", |_, mirror| {
            let file = mirror.join("file");
            let mtime = file.metadata().unwrap().modified().unwrap();
            std::fs::write(&file, "bbb").unwrap();
            std::fs::File::open(&file).unwrap().set_modified(mtime).unwrap();
        }),
    ];
    for (expected, change) in cases {
        rsync(&site, Node::Local);
        assert!(differences().is_empty(), "{:?}", differences());
        change(&site, &mirror);
        let found = differences();
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:?}");
    }
}
