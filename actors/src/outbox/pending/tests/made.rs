//! New directories of which each entry is told by itself: what is told of the directory itself.

use super::*;

fn made(path: &str) -> Change {
    Change::Made { path: rel(path) }
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
    ] {
        let mut set = set(&before);
        set.add(&made("d"), Instant::now());
        assert_eq!(needed(&set, "d"), expected, "{before:?}");
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
