//! Hard links that stay hard links at the nodes (`extra: "-H"`): names that come, go, move and are written, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::Signal;

use crate::support::{Local, Node, Rsyncd, Site, Ssh, Wire, tree, wait};

const KIB: u64 = 1 << 10;
const MIB: usize = 1 << 20;

/// A site of all kinds of nodes at which hard links are kept.
fn site() -> Site {
    let mut site = Site::new();
    site.config("extra: \"-H\"");
    site
}

/// The nodes have all content, and its names are linked as in the source.
#[track_caller]
fn expect_linked(site: &Site) {
    site.expect_identical();
    for node in site.live() {
        let differing = || tree::linked_otherwise(&site.source(), &site.mirror(node), |_| false);
        if wait::until(|| differing().is_empty().then_some(())).is_none() {
            site.fail(&format!("{node}: {}", differing().into_values().collect::<Vec<_>>().join("\n")));
        }
    }
    site.expect_identical();
}

/// As [`expect_linked`], also when all has come to rest.
#[track_caller]
fn expect_rests_linked(site: &Site) {
    expect_linked(site);
    site.settle();
    expect_linked(site);
    let troubles: Vec<_> = site.troubles().into_iter().filter(|line| !line.contains("not mirrored")).collect();
    assert_eq!(troubles, Vec::<String>::new());
}

fn large(word: &str) -> Vec<u8> {
    word.bytes().chain([b'\n']).cycle().take(MIB / 4).collect()
}

#[test]
fn a_new_name_of_a_file_is_the_same_file_at_the_nodes() {
    let mut site = site();
    site.mkdir("dir/deep");
    for (name, content) in [("small", b"1".to_vec()), ("large", large("1"))] {
        site.write(name, content);
    }
    site.start_mirrored();
    for name in ["small", "large"] {
        for other in ["dir/deep/", "a sorted first ", "z sorted last "] {
            site.hard_link(name, format!("{other}{name}"));
            expect_linked(&site);
        }
    }
    site.write("new", "2");
    site.hard_link("new", "dir/new");
    expect_rests_linked(&site);
}

#[test]
fn a_write_through_one_name_reaches_all_others() {
    let mut site = site();
    site.mkdir("dir");
    for (name, content) in [("small", b"1".to_vec()), ("large", large("1"))] {
        site.write(name, content);
        site.hard_link(name, format!("dir/{name}"));
        site.hard_link(name, format!("third {name}"));
    }
    site.start_mirrored();
    expect_linked(&site);
    for round in 0..3 {
        for name in ["small", "dir/small", "third large", "dir/large", "large"] {
            site.append(name, &format!("{name} {round}"));
            expect_linked(&site);
        }
    }
    site.chmod("dir/large", 0o600);
    site.touch("third small", std::time::Duration::from_secs(1_000_000));
    expect_rests_linked(&site);
}

#[test]
fn names_that_go_or_move_leave_the_others_as_they_are() {
    let mut site = site();
    site.config("bulk_size: 1");
    site.mkdir("dir");
    for (name, content) in [("small", b"1".to_vec()), ("large", large("1"))] {
        site.write(name, content);
        site.hard_link(name, format!("dir/{name}"));
        site.hard_link(name, format!("third {name}"));
    }
    site.start_mirrored();
    expect_linked(&site);
    // What went beside the first comparison is sent again after it.
    site.settle();
    expect_linked(&site);
    for name in ["small", "large"] {
        let third = format!("third {name}");
        let inodes = || site.live().map(|node| inode(&site, node, &third)).collect::<Vec<_>>();
        let kept = inodes();
        site.remove(name);
        expect_linked(&site);
        // `ln` and `rm`, and one by rename(2).
        site.hard_link(format!("dir/{name}"), format!("fourth {name}"));
        site.remove(format!("dir/{name}"));
        expect_linked(&site);
        site.rename(format!("fourth {name}"), format!("dir/fifth {name}"));
        expect_linked(&site);
        if name == "large" {
            assert_eq!(inodes(), kept, "nothing was sent again");
        }
        // Another file takes the name, and then the name is one of the first again.
        site.write("other", format!("another {name}"));
        site.rename("other", &third);
        expect_linked(&site);
        fs::remove_file(site.at(&third)).unwrap();
        site.hard_link(format!("dir/fifth {name}"), &third);
        expect_linked(&site);
    }
    expect_rests_linked(&site);
}

fn inode(site: &Site, node: Node, path: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    site.mirror(node).join(path).metadata().unwrap().ino()
}

#[test]
fn names_of_two_files_that_are_exchanged_change_their_files() {
    let mut site = site();
    site.mkdir("dir");
    for (name, content) in [("a", large("a")), ("b", large("b")), ("c", b"c".to_vec()), ("d", b"d".to_vec())] {
        site.write(name, content);
        site.hard_link(name, format!("dir/{name}"));
    }
    site.start_mirrored();
    expect_linked(&site);
    for (one, other) in [("a", "b"), ("c", "d"), ("dir/a", "b"), ("dir/c", "dir/a")] {
        renameat_with(CWD, site.at(one), CWD, site.at(other), RenameFlags::EXCHANGE).unwrap();
        expect_linked(&site);
    }
    expect_rests_linked(&site);
}

/// A directory whose files are linked with each other, and with others beside it.
fn plant(site: &Site, dir: &str) {
    site.mkdir(format!("{dir}/deep"));
    for (name, content) in [("small", dir.as_bytes().to_vec()), ("large", large(dir))] {
        site.write(format!("{dir}/{name}"), &content);
        site.hard_link(format!("{dir}/{name}"), format!("{dir}/deep/{name}"));
        site.write(format!("{dir}/out {name}"), &content);
        site.hard_link(format!("{dir}/out {name}"), format!("{dir} out {name}"));
    }
}

#[test]
fn a_new_directory_of_links_is_linked_with_what_is_there() {
    let mut site = site();
    plant(&site, "dir");
    site.start_mirrored();
    expect_linked(&site);
    let copied = std::process::Command::new("cp").arg("-al").arg(site.at("dir")).arg(site.at("copy")).status().unwrap();
    assert!(copied.success());
    expect_linked(&site);
    fs::create_dir(site.beside("outside")).unwrap();
    fs::hard_link(site.at("dir/large"), site.beside("outside/large")).unwrap();
    fs::rename(site.beside("outside"), site.at("inside")).unwrap();
    expect_linked(&site);
    site.append("copy/deep/large", "more");
    site.append("dir/small", "more");
    expect_rests_linked(&site);
}

#[test]
fn a_directory_of_links_that_is_moved_keeps_them() {
    let mut site = site();
    site.config("dir_moves: Replicate");
    plant(&site, "dir");
    site.start_mirrored();
    expect_linked(&site);
    for (from, to) in [("dir", "a moved"), ("a moved", "dir out"), ("dir out", "z")] {
        site.rename(from, to);
        expect_linked(&site);
        site.append(format!("{to}/deep/large"), to);
        site.append("dir out small", to);
        expect_linked(&site);
        // In one go.
        site.append(format!("{to}/out large"), to);
        site.hard_link(format!("{to}/small"), format!("{to}/deep/fourth {to}"));
        site.rename(format!("{to}/deep"), format!("{to}/deep too"));
        site.rename(format!("{to}/deep too"), format!("{to}/deep"));
        expect_linked(&site);
    }
    expect_rests_linked(&site);
}

#[test]
fn a_directory_of_links_whose_move_is_only_logged_is_linked_by_the_next_start() {
    let mut site = site();
    plant(&site, "dir");
    site.start_mirrored();
    expect_linked(&site);
    site.rename("dir", "moved");
    site.expect_log("dir_moves");
    site.append("moved/deep/large", "more");
    site.append("dir out small", "more");
    site.settle();
    assert_eq!(site.stop().code, Some(0));
    site.start();
    expect_rests_linked(&site);
}

#[test]
fn what_was_linked_while_no_daemon_ran_is_linked_by_the_next_with_and_without_a_state() {
    for keeps_state in [true, false] {
        let mut site = site();
        plant(&site, "dir");
        site.start_mirrored();
        expect_linked(&site);
        assert_eq!(site.stop().code, Some(0));
        if !keeps_state {
            fs::remove_dir_all(site.beside("state")).unwrap();
        }
        site.hard_link("dir/large", "new large");
        site.append("dir/deep/small", "more");
        site.remove("dir/deep/large");
        site.rename("dir out large", "dir/renamed large");
        site.write("replaced", "another file");
        site.rename("replaced", "dir out small");
        site.start();
        expect_linked(&site);
        // Nobody has told this daemon of any name.
        site.append("dir/small", "more");
        site.append("new large", "more");
        expect_rests_linked(&site);
    }
}

#[test]
fn many_links_that_are_made_written_and_removed_at_once_end_as_in_the_source() {
    let mut site = site();
    site.config("bulk_size: 1");
    site.config("dir_moves: Replicate");
    site.start_mirrored();
    for round in 0..4 {
        for n in 0..40 {
            site.mkdir(format!("{}/{}", n % 5, n % 3));
            let content = if n % 7 == 0 { large(&format!("{n}")) } else { format!("{n} {round}").into_bytes() };
            site.write(format!("{}/file {n}", n % 5), content);
            for other in 0..n % 4 {
                let name = format!("{}/{}/{n}.{other}", (n + other) % 5, n % 3);
                site.mkdir(format!("{}/{}", (n + other) % 5, n % 3));
                let _ = fs::remove_file(site.at(&name));
                site.hard_link(format!("{}/file {n}", n % 5), name);
            }
        }
        for n in (0..40).step_by(3) {
            site.append(format!("{}/file {n}", n % 5), "more");
        }
        site.rename(format!("{round}"), "moved");
        site.rename("moved", format!("{round}"));
        (0..40).step_by(11).for_each(|n| site.remove(format!("{}/file {n}", n % 5)));
    }
    expect_rests_linked(&site);
}

/// Beside a file that has to wait, as one of its names is being worked on, another one has no room. In its place it has.
#[test]
fn a_file_that_takes_the_place_of_one_that_waits_reaches_all_its_names() {
    let mut site = Site::on(&[Local]);
    site.config("extra: \"-H\"");
    site.config("bulk_size: 1");
    site.config("rspeed: 2000");
    for name in ["a", "b"] {
        site.write(name, vec![b'1'; 600 << 10]);
        site.hard_link(name, format!("z sorted last {name}"));
    }
    site.start_mirrored();
    expect_linked(&site);
    fs::create_dir(site.beside("outside")).unwrap();
    fs::write(site.beside("outside/huge"), vec![b'1'; 20 * MIB]).unwrap();
    fs::rename(site.beside("outside"), site.at("worked on")).unwrap();
    let is_worked_on = || site.mirror(Local).join("worked on").exists().then_some(());
    assert!(wait::until(is_worked_on).is_some());
    // All of it is told at a time.
    site.daemon().signal(Signal::STOP);
    site.append("a", "more");
    site.append("b", "more");
    site.hard_link("a", "worked on/a");
    site.daemon().signal(Signal::CONT);
    expect_rests_linked(&site);
}

#[test]
fn names_that_are_excluded_or_outside_of_the_source_are_left_out() {
    let mut site = site();
    site.config("rexcludes: [\"hidden\", \"/dir/skipped/\"]");
    site.compare_without(|path| path == b"hidden" || path.starts_with(b"dir/skipped"));
    site.mkdir("dir/skipped");
    site.write("file", large("1"));
    site.write("outer", large("2"));
    for other in ["hidden", "dir/skipped/file", "dir/file"] {
        site.hard_link("file", other);
    }
    site.start_mirrored();
    fs::hard_link(site.at("outer"), site.beside("outside")).unwrap();
    site.hard_link("outer", "dir/outer");
    for round in 0..2 {
        site.append("file", &format!("{round}"));
        site.append("dir/outer", &format!("{round}"));
        site.expect_identical();
        for node in site.live() {
            for [one, other] in [["file", "dir/file"], ["outer", "dir/outer"]] {
                let is_one = || (inode(&site, node, one) == inode(&site, node, other)).then_some(());
                assert!(wait::until(is_one).is_some(), "{node}: {one}");
            }
            assert!(!site.mirror(node).join("hidden").exists() && !site.mirror(node).join("dir/skipped").exists());
        }
    }
}

#[test]
fn without_the_option_each_name_is_a_file_of_its_own() {
    let mut site = Site::new();
    site.write("file", large("1"));
    site.start_mirrored();
    site.hard_link("file", "other");
    site.expect_identical();
    site.settle();
    for node in site.live() {
        assert_ne!(inode(&site, node, "file"), inode(&site, node, "other"), "{node}");
    }
}

#[test]
fn a_node_without_hard_links_gets_every_name() {
    let mut site = Site::on(&[Local]);
    if !site.mirror_on(Local, crate::support::disk::Kind::Exfat) {
        return;
    }
    site.config("extra: \"-H --no-perms --modify-window=2\"");
    site.write("file", large("1"));
    site.start_mirrored();
    site.hard_link("file", "other");
    site.expect_identical();
    // It is one name again, which takes no link.
    site.remove("file");
    site.append("other", "more");
    site.expect_identical();
    site.settle();
    site.expect_identical();
}

/// The bytes of a site whose one node has `large`, 20 MiB, at rest.
fn counted(node: Node) -> (Site, Wire) {
    let mut site = Site::with_servers_down(&[node]);
    let wire = if node == Rsyncd {
        site.start_servers();
        site.config("extra: \"-H\"");
        site.count_rsyncd()
    } else {
        site.count_ssh("-H")
    };
    let mut file = File::create(site.at("large")).unwrap();
    file.write_all(b"large").unwrap();
    file.set_len(20 * MIB as u64).unwrap();
    site.mkdir("dir");
    site.copy_to(node);
    site.start_with(&["-v"]);
    site.expect_rest(&wire);
    (site, wire)
}

fn a_new_name_of_a_large_file_costs_next_to_nothing(node: Node) {
    let (site, wire) = counted(node);
    let tree = ["dir/name", "a name, sorted first", "another"];
    for name in tree {
        let cost = site.cost(&wire, || site.hard_link("large", name));
        println!("{node}: a new name: {cost} bytes");
        assert!(cost < 16 * KIB, "{name}: {cost} bytes");
        expect_linked(&site);
    }
    type Change<'s> = (&'static str, Box<dyn Fn() + 's>);
    let changes: [Change; 4] = [
        ("a rename", Box::new(|| site.rename("another", "dir/renamed"))),
        ("a removal", Box::new(|| site.remove("large"))),
        (
            "ln and rm",
            Box::new(|| {
                site.hard_link("dir/name", "large");
                site.remove("dir/name");
            }),
        ),
        (
            "cp -al",
            Box::new(|| {
                // What comes to a directory while that is being sent is sent with it: a busy machine may take that long.
                site.daemon().signal(Signal::STOP);
                site.mkdir("copy");
                site.hard_link("large", "copy/large");
                site.hard_link("large", "copy/too");
                site.daemon().signal(Signal::CONT);
            }),
        ),
    ];
    for (what, change) in changes {
        let cost = site.cost(&wire, change);
        println!("{node}: {what}: {cost} bytes");
        if cost >= 16 * KIB {
            site.fail(&format!("{what}: {cost} bytes"));
        }
        expect_linked(&site);
    }
    assert!(site.troubles().is_empty(), "{:?}", site.troubles());
}

#[test]
fn a_new_name_of_a_large_file_costs_next_to_nothing_by_a_remote_shell() {
    a_new_name_of_a_large_file_costs_next_to_nothing(Ssh);
}

#[test]
fn a_new_name_of_a_large_file_costs_next_to_nothing_at_an_rsync_daemon() {
    a_new_name_of_a_large_file_costs_next_to_nothing(Rsyncd);
}

#[test]
fn what_is_linked_otherwise_is_found() {
    let site = Site::on(&[Local]);
    let mirror = site.mirror(Local);
    fs::create_dir_all(&mirror).unwrap();
    for (names, linked) in [(["a", "b"], [true, true]), (["c", "d"], [true, false]), (["e", "f"], [false, true])] {
        for (root, linked) in [site.source(), mirror.clone()].into_iter().zip(linked) {
            fs::write(root.join(names[0]), "").unwrap();
            match linked {
                true => fs::hard_link(root.join(names[0]), root.join(names[1])).unwrap(),
                false => fs::write(root.join(names[1]), "").unwrap(),
            }
        }
    }
    let found: BTreeMap<_, _> = tree::linked_otherwise(&site.source(), &mirror, |_| false);
    let names: BTreeSet<&[u8]> = found.keys().map(Vec::as_slice).collect();
    assert_eq!(names, BTreeSet::from([&b"c"[..], b"d", b"e", b"f"]));
}
