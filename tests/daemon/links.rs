//! A symlink goes after what it leads to, so that what can be read by it at the source can be read at the node.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::failures::Mount;
use crate::support::{Local, Node, Site, Ssh, wait};

const MIB: usize = 1 << 20;

/// Reads a file by a link as fast as it can until `over`. Returns how often it could not, although the link was the same
/// before and after: else the reader may have fallen between what the old one led to and the new one.
fn read_all_the_time(link: &Path, file: &Path, over: &AtomicBool) -> Vec<String> {
    let mut failed = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let before = fs::read_link(link);
        let Err(error) = fs::read(file) else { continue };
        match (before, fs::read_link(link)) {
            (Ok(before), Ok(after)) if before == after => failed.push(format!("{error}: {}", after.display())),
            (Ok(_), Ok(_)) => (),
            (before, after) => failed.push(format!("{error}: {before:?}, {after:?}")),
        }
    }
    failed
}

/// What `change` does to the source can be read at every node by a link at every moment.
#[track_caller]
fn readable_at_every_moment(site: &Site, link: &str, file: &str, change: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let failed: BTreeMap<String, Vec<String>> = thread::scope(|scope| {
        let readers: Vec<_> = site
            .live()
            .map(|node| {
                let (link, file) = (site.mirror(node).join(link), site.mirror(node).join(file));
                let over = &over;
                (node, scope.spawn(move || read_all_the_time(&link, &file, over)))
            })
            .collect();
        // A change that fails must not leave the readers behind.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        over.store(true, Ordering::Relaxed);
        let failed = readers.into_iter().map(|(node, reader)| (node.to_string(), reader.join().unwrap())).collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        failed
    });
    for (node, failed) in failed {
        if let Some(first) = failed.first() {
            site.fail(&format!("{node}: {} reads failed, the first: {first}", failed.len()));
        }
    }
}

/// A link is given another target in one step.
fn switch(site: &Site, link: &str, target: &str) {
    let made = format!("{link}.tmp");
    site.symlink(&made, target);
    site.rename(&made, link);
}

/// A new release, then the link to it, then the old one goes.
fn deploy(site: &Site, number: usize) {
    site.mkdir(format!("releases/{number}"));
    site.write(format!("releases/{number}/blob"), vec![b'a' + (number % 26) as u8; 2 * MIB]);
    site.write(format!("releases/{number}/index"), format!("release {number}"));
    switch(site, "current", &format!("releases/{number}"));
    if let Some(old) = number.checked_sub(1) {
        site.remove(format!("releases/{old}"));
    }
}

fn slow(nodes: &[Node]) -> Site {
    let mut site = Site::on(nodes);
    site.config("rspeed: 3000");
    site
}

#[test]
fn the_current_release_can_be_read_at_every_moment() {
    let mut site = slow(&[Local, Ssh]);
    deploy(&site, 0);
    site.start_mirrored();
    readable_at_every_moment(&site, "current", "current/index", || {
        for number in 1..=30 {
            deploy(&site, number);
            // Calmly, then in a hurry.
            if number < 15 || number == 30 {
                site.expect_on_nodes("current/index", &format!("release {number}"));
            }
        }
    });
    site.expect_identical();
}

#[test]
fn the_keys_of_a_kubernetes_volume_can_be_read_at_every_moment() {
    let mut site = Site::on(&[Local, Ssh]);
    site.config("rspeed: 100");
    let swap = |site: &Site, number: usize| {
        let data = format!("..2026_{number}");
        site.mkdir(&data);
        site.write(format!("{data}/host"), format!("db{number}"));
        site.write(format!("{data}/token"), vec![b't'; 20_000]);
        switch(site, "..data", &data);
        if let Some(old) = number.checked_sub(1) {
            site.remove(format!("..2026_{old}"));
        }
    };
    swap(&site, 0);
    site.symlink("host", "..data/host");
    site.symlink("token", "..data/token");
    site.start_mirrored();
    readable_at_every_moment(&site, "..data", "token", || {
        for number in 1..=20 {
            swap(&site, number);
            if number % 2 == 0 {
                site.expect_on_nodes("host", &format!("db{number}"));
            }
        }
    });
    site.expect_identical();
}

/// A file that takes two seconds to arrive.
const BIG: usize = 4 * MIB;

/// A site whose nodes get `dir/big` as soon as it is written, which takes a while.
fn with_bulk(nodes: &[Node]) -> Site {
    let mut site = Site::on(nodes);
    site.config("bulk_size: 1");
    site.config("rspeed: 2000");
    site.compare_without(|path| path.starts_with(b"dir/.big."));
    site.mkdir("dir");
    site.symlink("old", "dir");
    site.start_mirrored();
    site
}

#[track_caller]
fn expect_arriving(site: &Site, node: Node) {
    let is_big = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains("big");
    let arrives = || fs::read_dir(site.mirror(node).join("dir")).ok()?.flatten().any(is_big).then_some(());
    if wait::until(arrives).is_none() {
        site.fail(&format!("the large file does not come to {node}"));
    }
}

fn has_link(site: &Site, node: Node, link: &str) -> bool {
    site.mirror(node).join(link).symlink_metadata().is_ok()
}

#[test]
fn a_link_comes_after_what_it_leads_to_however_it_does() {
    let site = with_bulk(&[Local, Ssh]);
    site.write("dir/big", vec![b'x'; BIG]);
    let links = [
        ("itself", "dir/big".into()),
        ("directory", "dir".into()),
        ("chain", "itself".into()),
        ("absolute", site.at("dir/big").display().to_string()),
        ("through", "old/big".into()),
        ("back", "old/../dir/./big".into()),
    ];
    for (link, target) in &links {
        site.symlink(link, target);
    }
    switch(&site, "renamed", "chain");
    let names = || links.iter().map(|(link, _)| *link).chain(["renamed"]);
    for node in site.live() {
        let all = wait::until(|| {
            let there: Vec<&str> = names().filter(|link| has_link(&site, node, link)).collect();
            let big = site.mirror(node).join("dir/big").metadata();
            if !there.is_empty() && big.is_err() {
                site.fail(&format!("{node} has {there:?} before what they lead to"));
            }
            (there.len() == names().count()).then_some(())
        });
        assert!(all.is_some(), "the links do not come to {node}");
    }
    site.expect_identical();
}

#[test]
fn a_link_that_leads_to_nothing_pending_does_not_wait() {
    // A busy machine takes longer for links, but not for a file of which the speed is limited.
    let overtakes = [4, 16, 64].into_iter().any(|mib| {
        let mut site = Site::on(&[Local]);
        site.config("bulk_size: 1");
        site.config("rspeed: 2000");
        site.config("rexcludes: [\"/dir/skipped\"]");
        site.compare_without(|path| path.starts_with(b"dir/"));
        site.mkdir("dir/skipped");
        site.start_mirrored();
        site.write("dir/big", vec![b'x'; mib * MIB]);
        for (link, target) in [
            ("circle", "elcric"),
            ("elcric", "circle"),
            ("itself", "itself"),
            ("outside", "../dir/big"),
            ("far", "/dir/big"),
            ("excluded", "dir/skipped/file"),
            ("there", "seed"),
            ("nowhere", "none"),
        ] {
            site.symlink(link, target);
            let came = wait::until(|| has_link(&site, Local, link).then_some(()));
            assert!(came.is_some(), "{link} does not come");
        }
        let overtakes = !has_link(&site, Local, "dir/big");
        site.expect_identical();
        overtakes
    });
    assert!(overtakes, "they wait");
}

#[test]
fn what_the_old_link_leads_to_goes_after_the_new_link() {
    let site = with_bulk(&[Local, Ssh]);
    site.write("one", "1");
    site.symlink("link", "one");
    site.expect_identical();
    readable_at_every_moment(&site, "link", "link", || {
        site.write("dir/big", vec![b'x'; BIG]);
        switch(&site, "link", "dir/big");
        // By now the link waits.
        site.live().for_each(|node| expect_arriving(&site, node));
        site.remove("one");
        site.expect_gone("one");
    });
    site.expect_identical();
}

#[test]
fn a_link_that_is_switched_while_its_target_is_sent_waits_for_the_next_one() {
    let site = &mut slow(&[Local, Ssh]);
    // The link goes with its target, in the same batch.
    site.config("bulk_size: 64");
    site.write("1", "first");
    site.symlink("link", "1");
    site.mkdir("dir");
    site.start_mirrored();
    readable_at_every_moment(site, "link", "link", || {
        site.write("dir/big", vec![b'x'; BIG]);
        switch(site, "link", "dir/big");
        site.live().for_each(|node| expect_arriving(site, node));
        site.write("big", vec![b'y'; BIG]);
        switch(site, "link", "big");
        site.expect_identical();
    });
}

#[test]
fn a_stop_sends_what_a_link_leads_to_and_then_the_link() {
    let mut site = with_bulk(&[Local]);
    site.write("one", "1");
    site.symlink("link", "one");
    site.expect_identical();
    let (link, over) = (site.mirror(Local).join("link"), AtomicBool::new(false));
    let failed = thread::scope(|scope| {
        let reader = scope.spawn(|| read_all_the_time(&link, &link, &over));
        site.write("dir/big", vec![b'x'; BIG]);
        switch(&site, "link", "dir/big");
        site.remove("one");
        let ended = site.stop();
        site.assert_identical(&ended.log);
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert_eq!(failed, Vec::<String>::new());
}

#[test]
fn a_link_to_what_the_node_refuses_comes_when_that_has_failed_twice() {
    let mut site = Site::on(&[Local]);
    site.compare_without(|path| path.starts_with(b"refused"));
    site.write("old", "x");
    site.start_mirrored();
    // No file takes the place of a file system.
    let Some(_mount) = Mount::new(&site.mirror(Local).join("refused"), "size=1m") else { return };
    site.write("refused", "x");
    site.symlink("link", "refused");
    site.remove("old");
    site.expect_identical();
    site.expect_log_line(&["some paths failed", "refused"]);
}
