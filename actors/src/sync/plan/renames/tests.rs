use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::*;
use crate::change::Change;
use crate::outbox::pending::PendingSet;
use crate::patterns::excludes::Excludes;
use crate::site::DirMoves;
use crate::sync::disk::{BatchRoom, Disk};
use crate::sync::plan::{PlanGround, plan};
use crate::transport::Lane;

const BIG: u64 = 100 << 20;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// A disk on which these directories (with a trailing slash) and files exist; a file is large unless a size is given.
struct Table(HashMap<String, EntryOnDisk>);

impl Table {
    fn of(entries: &[&str]) -> Table {
        let entry = |entry: &&str| match (entry.strip_suffix('/'), entry.split_once('=')) {
            (Some(dir), _) => (dir.to_owned(), EntryOnDisk::Directory),
            (_, Some((file, size))) => (
                file.to_owned(),
                EntryOnDisk::File(FileVersion { size: size.parse().unwrap(), ..FileVersion::default() }),
            ),
            _ => ((*entry).to_owned(), EntryOnDisk::File(FileVersion { size: BIG, ..FileVersion::default() })),
        };
        Table(entries.iter().map(entry).collect())
    }
}

impl Disk for Table {
    fn look(&mut self, path: &RelPath) -> EntryOnDisk {
        self.0.get(&path.to_string()).copied().unwrap_or(EntryOnDisk::Missing)
    }

    fn fits(&mut self, dir: &RelPath, room: &mut BatchRoom) -> bool {
        let below = self.0.keys().filter(|path| path.starts_with(&format!("{dir}/")));
        below.map(|_| BIG).all(|size| room.take(size))
    }
}

fn renamed(from: &str, to: &str) -> [Change; 2] {
    [Change::Removed { path: rel(from), is_dir: false }, Change::Renamed { from: rel(from), to: rel(to) }]
}

fn moved(from: &str, to: &str) -> [Change; 2] {
    [Change::MovedAway { path: rel(from) }, Change::MovedTo { from: rel(from), to: rel(to) }]
}

fn written(path: &str) -> [Change; 1] {
    [Change::Touched { path: rel(path), is_dir: false, rewritten: true }]
}

fn subtree(path: &str) -> [Change; 1] {
    [Change::Subtree { path: rel(path) }]
}

/// What the next batch does with renames, in short: `new<old`, `new<(via)old`, `+present`, `*large`, `=closed`, `^anew`, `/subtree`,
/// `#subtree_rewritten`, `-missing`, `_parent`, `new/<old/`, `~bulk`.
fn next(set: &mut PendingSet, disk: &[&str], now: Instant) -> String {
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    let room = Some(BatchRoom { bytes: 8 << 20, entries: 2000 });
    let plan =
        plan(&batch.paths, PlanGround { set, excludes: &Excludes::default(), disk: &mut Table::of(disk), room, now });
    set.worked(batch.id);
    let links = plan.run.renamed.iter().map(|(new, rename)| match rename.via {
        Some(_) => format!("{new}<(via){}", rename.old),
        None => format!("{new}<{}", rename.old),
    });
    let builds = plan.run.moved.iter().map(|Relocation { to, from, .. }| format!("{to}/<{from}/"));
    let lists = [
        ('_', &plan.run.parents),
        ('+', &plan.run.present),
        ('*', &plan.run.large),
        ('=', &plan.run.closed),
        ('^', &plan.run.anew),
        ('/', &plan.run.subtrees),
        ('#', &plan.run.subtrees_rewritten),
        ('-', &plan.run.missing),
        ('~', &plan.paths.bulk),
    ];
    let words = lists.iter().flat_map(|(mark, list)| list.iter().map(move |path| format!("{mark}{path}")));
    links.chain(builds).chain(words).collect::<Vec<_>>().join(" ")
}

fn planned<const N: usize>(disk: &[&str], changes: [&[Change]; N]) -> String {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.set_dir_moves(DirMoves::Replicate);
    changes.into_iter().flatten().for_each(|change| set.add(change, now));
    next(&mut set, disk, now + Duration::from_secs(1))
}

#[test]
fn a_renamed_file_is_made_out_of_what_the_node_has() {
    for (from, to, plan) in [
        ("a", "b", "b<a *b -a"),
        ("b", "a", "a<(via)b *a -b"),
        ("a", "d/a", "d/a<a *d/a -a"),
        ("d/a", "a", "a<(via)d/a *a -d/a"),
    ] {
        assert_eq!(planned(&["d/", to], [&renamed(from, to)]), plan, "{from} {to}");
    }
    assert_eq!(planned(&["b=4096"], [&renamed("a", "b")]), "+b -a", "it is as cheap to send");
    assert_eq!(planned(&["b=4097"], [&renamed("a", "b")]), "b<a *b -a");
}

#[test]
fn a_chain_of_names_leads_back_to_what_the_node_has() {
    let chain = [renamed("a", "b"), renamed("b", "c"), renamed("c", "d")].concat();
    assert_eq!(planned(&["d"], [&chain]), "d<a *d -a -b -c");
    assert_eq!(planned(&["a=9000000"], [&renamed("a", "b"), &renamed("b", "a")]), "~a ~b");
    let exchange = [renamed("a", "b"), renamed("b", "a")].concat();
    assert_eq!(planned(&["a=8000000"], [&exchange]), "=a -b", "it is back");
    assert_eq!(planned(&["a=3000000", "b=3000000"], [&exchange]), "=a ^b", "another one is there");
    let third = [&renamed("c", "b")[..], &exchange];
    assert_eq!(planned(&["a=3000000", "b=3000000"], third), "=a ^b -c", "what it was exchanged for came there before");
}

#[test]
fn what_was_renamed_from_nobody_knows_where_is_in_doubt_under_its_next_name() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    renamed("a", "b").iter().for_each(|change| set.add(change, now));
    set.want_reconcile();
    let now = now + Duration::from_secs(1);
    // It may have brought b, or not, and nobody knows any more that b was a.
    assert!(set.lease_reconcile(now));
    set.settle_reconcile(now);
    renamed("b", "c").iter().for_each(|change| set.add(change, now));
    assert_eq!(next(&mut set, &["c=500000"], now + Duration::from_secs(1)), "c<b +c -a", "its content is compared");
}

#[test]
fn rotations_and_swaps_overwrite_nothing_that_is_needed() {
    let rotation = [renamed("log.1", "log.2"), renamed("log", "log.1")].concat();
    assert_eq!(
        planned(&["log=99", "log.1", "log.2"], [&rotation, &written("log")]),
        "log.1<(via)log log.2<log.1 *log.1 *log.2 ^log"
    );
    let swap = [renamed("a", "t"), renamed("b", "a"), renamed("t", "b")].concat();
    assert_eq!(planned(&["a", "b"], [&swap]), "a<(via)b b<(via)a *a *b -t");
}

#[test]
fn what_is_written_after_it_was_renamed_is_sent_whatever_size_and_time_say() {
    assert_eq!(planned(&["b"], [&renamed("a", "b"), &written("b")]), "b<a +b");
    assert_eq!(planned(&["b"], [&written("a"), &renamed("a", "b")]), "~b", "the node may have nothing of it");
    assert_eq!(planned(&["b=8000000"], [&written("a"), &renamed("a", "b")]), "b<a +b");
    assert_eq!(planned(&["b=65536"], [&renamed("a", "b"), &written("b")]), "+b", "of little use when it is small");
    let removed = [Change::Removed { path: rel("b"), is_dir: false }];
    assert_eq!(planned(&["b"], [&renamed("a", "b"), &removed, &written("b")]), "~a ~b", "it is another file");
}

#[test]
fn what_a_reconcile_may_have_changed_is_sent() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    renamed("a", "b").iter().for_each(|change| set.add(change, now));
    set.want_reconcile();
    let now = now + Duration::from_secs(1);
    assert!(set.lease_reconcile(now));
    assert_eq!(next(&mut set, &["b=5000"], now), "+b -a");
    renamed("b", "c").iter().for_each(|change| set.add(change, now));
    assert_eq!(next(&mut set, &["c=500000"], now), "c<b +c", "what is in doubt is compared");
}

#[test]
fn a_file_in_a_new_directory_is_linked_when_the_directory_is_there() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    [&subtree("d")[..], &renamed("a", "d/e/b")].concat().iter().for_each(|change| set.add(change, now));
    let batch = set.lease(Lane::Bulk, 99, 9999, now);
    assert!(batch.paths.is_empty());
    let batch = set.lease(Lane::Fast, 99, 9999, now);
    let disk = ["d/", "d/e/", "d/e/b"];
    let fast = plan(
        &batch.paths,
        PlanGround { set: &set, excludes: &Excludes::default(), disk: &mut Table::of(&disk), room: None, now },
    );
    assert_eq!(fast.run.renamed.keys().cloned().collect::<Vec<_>>(), [rel("d/e/b")]);
    assert_eq!(fast.run.parents, BTreeSet::from([rel("d"), rel("d/e")]));
}

#[test]
fn a_moved_directory_is_made_out_of_the_old_one_before_that_is_deleted() {
    let (mut set, now) = (PendingSet::default(), Instant::now());
    set.set_dir_moves(DirMoves::Replicate);
    moved("a", "b").iter().for_each(|change| set.add(change, now));
    let now = now + Duration::from_secs(1);
    assert_eq!(next(&mut set, &["b/", "b/x"], now), "b/<a/ /b -a");
}

#[test]
fn moved_directories_are_made_in_an_order_in_which_each_is_used_before_it_is_replaced() {
    let release = [moved("current", "previous"), moved("new", "current")].concat();
    assert_eq!(planned(&["current/", "previous/"], [&release]), "previous/<current/ current/<new/ /previous #current");
    let nested = [moved("a/x", "b"), moved("a", "c")].concat();
    assert_eq!(planned(&["b/", "c/"], [&nested]), "b/<a/x/ c/<a/ /b /c -a");
}
