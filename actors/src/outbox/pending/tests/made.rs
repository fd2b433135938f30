//! New directories of which each entry is told by itself: what is told of the directory itself.

use super::*;

fn made(path: &str) -> Change {
    Change::Made { path: rel(path), is_new: true }
}

fn subtree(path: &str) -> Change {
    Change::Subtree { path: rel(path) }
}

/// What waits of a path after all of this: its scope, and whether size and time prove nothing.
fn needed(set: &PendingSet, path: &str) -> Option<(Scope, bool)> {
    set.waiting.get(&rel(path)).map(|pending| (pending.scope, pending.proof.rewritten))
}

#[test]
fn a_new_directory_is_compared_with_all_below_it_if_the_node_may_have_something_by_its_name() {
    let moved_away = || [Change::MovedAway { path: rel("d") }, Change::MovedTo { from: rel("d"), to: rel("e") }];
    let renamed = || Change::Renamed { from: rel("f"), to: rel("d") };
    let alone = Some((Scope::Entry, false));
    for (before, expected) in [
        (vec![], alone),
        (vec![made("d")], alone),
        (vec![touched("d/f")], alone),
        (vec![made("d"), made("d/e"), touched("d/e/f")], alone),
        (vec![removed_dir("d")], Some((Scope::Subtree, true))),
        (vec![removed_dir("d"), touched("d")], Some((Scope::Subtree, true))),
        (vec![made("d"), removed_dir("d")], Some((Scope::Subtree, true))),
        (vec![removed_dir("d/below")], Some((Scope::Subtree, false))),
        (vec![renamed()], Some((Scope::Subtree, false))),
        (moved_away().into(), Some((Scope::Subtree, true))),
        (vec![Change::Level { path: RelPath::root() }], Some((Scope::Subtree, false))),
    ] {
        let mut set = set(&before);
        set.add(&made("d"), Instant::now());
        assert_eq!(needed(&set, "d"), expected, "{before:?}");
    }
}

#[test]
fn a_new_directory_is_compared_where_the_node_kept_one_of_its_name_in_an_earlier_run() {
    for (old, expected) in [("d", Scope::Subtree), ("d/e", Scope::Subtree), ("other", Scope::Entry)] {
        let mut set = PendingSet::default();
        set.away.resume(Some(rel(old)), None);
        set.add(&made("d"), Instant::now());
        assert_eq!(needed(&set, "d").map(|(scope, _)| scope), Some(expected), "{old}");
    }
}

#[test]
fn a_directory_is_new_at_the_node_only_if_nothing_was_told_of_it_before() {
    for is_new in [true, false] {
        let mut set = PendingSet::default();
        set.add(&Change::Made { path: rel("d"), is_new }, Instant::now());
        assert_eq!(needed(&set, "d"), Some((Scope::Entry, false)));
        assert_eq!(set.away.unmirrored.is_fresh(&rel("d")), is_new);
    }
}

#[test]
fn what_is_out_decides_too() {
    for (out, expected) in [
        (touched("other"), Scope::Entry),
        (made("a"), Scope::Entry),
        (made("a/d"), Scope::Entry),
        (Change::Touched { path: rel("a/d/f"), is_dir: false, rewritten: true }, Scope::Entry),
        (subtree("a"), Scope::Subtree),
        (subtree("a/d"), Scope::Subtree),
        (subtree("a/d/e"), Scope::Subtree),
        (removed_dir("a/d"), Scope::Subtree),
        (removed_dir("a/d/e"), Scope::Subtree),
        (removed_dir("a"), Scope::Subtree),
        (Change::Level { path: rel("a") }, Scope::Subtree),
        (Change::Level { path: RelPath::root() }, Scope::Subtree),
    ] {
        let mut set = set(std::slice::from_ref(&out));
        assert_eq!(lease(&mut set).len(), 1);
        set.add(&made("a/d"), Instant::now());
        assert_eq!(needed(&set, "a/d").map(|(scope, _)| scope), Some(expected), "{out}");
    }
    let mut set = PendingSet::default();
    set.want_reconcile();
    assert!(set.lease_reconcile(Instant::now()));
    set.add(&made("a/d"), Instant::now());
    assert_eq!(needed(&set, "a/d").map(|(scope, _)| scope), Some(Scope::Subtree), "a reconcile");
}
