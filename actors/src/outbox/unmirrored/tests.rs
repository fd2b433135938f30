//! What a user does to directories, as the watcher tells it, and the moves that the node does not follow then.

use std::time::Duration;

use super::*;
use crate::change::Change;
use crate::outbox::backlog::Backlog;
use crate::outbox::fate::Fate;
use crate::outbox::pending::PendingSet;
use crate::site::DirMoves;
use crate::transport::Lane;

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// The changes that follow from one command: `mv A B` and `mv A ^` (out of the tree) of a directory, `mkdir`, `rm` of a
/// directory, `write` of a file, `rescan` of a directory.
fn changes(command: &str) -> Vec<Change> {
    let words: Vec<&str> = command.split(' ').collect();
    let path = || rel(words[1]);
    match (words[0], words.get(2)) {
        ("mv", Some(&"^")) => vec![Change::MovedAway { path: path() }, Change::MovedOut { path: path() }],
        ("mv", Some(to)) => vec![Change::MovedAway { path: path() }, Change::MovedTo { from: path(), to: rel(to) }],
        ("mkdir", _) => vec![Change::Created { path: path() }],
        ("make", _) => vec![Change::Made { path: path(), is_new: true }],
        ("rm", _) => vec![Change::Removed { path: path(), is_dir: true }],
        ("write", _) => vec![Change::Touched { path: path(), is_dir: false, rewritten: true }],
        ("rescan", _) => vec![Change::Subtree { path: path() }],
        _ => panic!("{command}"),
    }
}

/// A node that has everything.
fn equal() -> PendingSet {
    let mut set = PendingSet::default();
    set.want_reconcile();
    compare(&mut set);
    set
}

fn compare(set: &mut PendingSet) {
    // What is reported just after a comparison may have been missed by it.
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    assert!(set.lease_reconcile(long_ago));
    set.settle_reconcile(long_ago);
}

/// All that waits reaches the node.
fn deliver(set: &mut PendingSet) {
    let later = Instant::now() + Duration::from_secs(60);
    while set.next_due(Lane::Fast, later).is_some_and(|at| at <= later) {
        let batch = set.lease(Lane::Fast, 99, 9999, later);
        // Long ago, so that nothing was compared a moment ago.
        set.settle(batch.id, later - Duration::from_secs(120), |_| Fate::Delivered, |_| Duration::ZERO);
    }
}

/// Carries out commands; `sent` lets all that waits reach the node, `compared` compares everything.
fn play(set: &mut PendingSet, commands: &[&str]) {
    for command in commands {
        match *command {
            "sent" => deliver(set),
            "compared" => {
                set.want_reconcile();
                compare(set);
            }
            command => changes(command).iter().for_each(|change| set.add(change, Instant::now())),
        }
    }
}

fn shown(set: &mut PendingSet) -> Vec<String> {
    set.unmirrored().iter().map(ToString::to_string).collect()
}

#[test]
fn a_move_counts_until_neither_name_is_wrong_at_the_node() {
    for (commands, expected) in [
        (&["mv a b"][..], &["a to b"][..]),
        (&["mv a ^"], &["a"]),
        (&["mv a b", "mv c d"], &["a to b", "c to d"]),
        // A move that goes on is one, and none when it comes back.
        (&["mv a b", "mv b c"], &["a to c"]),
        (&["mv a b", "mv b a"], &[]),
        (&["mv a b", "mv b c", "mv c a"], &[]),
        (&["mv a b", "mv b ^"], &["a"]),
        // What was sent by the name in between is left there.
        (&["mv a b", "write b/x", "sent", "mv b c"], &["a to c", "b"]),
        (&["mv a b", "write b/x", "sent", "mv b a"], &["b"]),
        (&["mv a b", "write b/x", "sent", "mv b ^"], &["a", "b"]),
        (&["write a/x", "mv a b", "sent", "mv b c"], &["a to c", "b"]),
        // What was not sent yet goes on with it.
        (&["mv a b", "write b/x", "mv b c"], &["a to c"]),
        (&["mv a b", "write b/x", "mv b a"], &[]),
        (&["write a/x", "mv a b", "mv b c"], &["a to c"]),
        // A directory that is compared again, such as a moment after a comparison, by a name that the node does not have.
        (&["rescan a", "mv a b", "mv b a"], &[]),
        (&["rescan a", "mv a b", "sent", "mv b a"], &["b"]),
        (&["rescan a", "mv a t", "mv b a", "mv t b"], &[]),
        // The old name exists again, and the new one is lacking.
        (&["mv a b", "mkdir a"], &["b"]),
        (&["mv a b", "write a"], &["b"]),
        (&["mv a b", "mkdir a", "mv b c"], &["c"]),
        (&["mv a ^", "mkdir a"], &[]),
        (&["mv a b", "mv c a"], &["b", "c"]),
        // The new name is sent, or gone, and the old one is kept.
        (&["mv a b", "rescan b"], &["a"]),
        (&["mv d/a b", "rescan d"], &["d/a to b"]),
        (&["mv a d/b", "rescan d"], &["a"]),
        // What comes to a name whose removal still waits is compared, not left out.
        (&["rm b", "mv a b"], &["a"]),
        (&["mv a b", "rm b"], &["a"]),
        (&["mv a d/b", "rm d"], &["a"]),
        (&["mv d/a b", "rm d"], &["d/a to b"]),
        (&["mv a b", "mkdir a", "rm b"], &[]),
        // What was moved on with a directory above it.
        (&["mv a d/b", "mv d e"], &["a to e/b", "d to e"]),
        (&["mv a b", "mv b/x c"], &["a to b", "c"]),
        (&["mv a b", "write b/x/f", "sent", "mv b/x c"], &["a to b", "b/x to c"]),
        (&["mv a b", "write b/x/f", "mv b/x c"], &["a to b", "c"]),
        (&["mv a b", "mv b/x ^"], &["a to b"]),
        (&["mv a d/b", "mv d ^"], &["a", "d"]),
        // What is new follows its name as long as the node has nothing of it.
        (&["mkdir n", "mv n m"], &[]),
        (&["mkdir n", "mv n m", "mv m o"], &[]),
        (&["mkdir n", "mv n/d n/e"], &[]),
        (&["mkdir n", "mv n ^"], &[]),
        (&["mkdir n", "sent", "mv n m"], &["n to m"]),
        (&["mkdir n", "mv a n/a"], &["a"]),
        (&["make n", "mv n m"], &[]),
        (&["make n", "write n/x", "mv n m", "mv m o"], &[]),
        (&["make n", "make n/d", "mv n/d n/e"], &[]),
        (&["make n", "sent", "mv n m"], &["n to m"]),
        (&["make n", "mv n m", "sent", "mv m o"], &["m to o"]),
        (&["rm n", "make n", "mv n m"], &["n"]),
        (&["mv a b", "make a"], &["b"]),
        (&["rm n", "mkdir n", "mv n m"], &["n"]),
        (&["mv n ^", "mkdir n", "mv n m"], &["n"]),
        (&["rescan n", "mv n m"], &["n"]),
        // A comparison of everything deals with all.
        (&["mv a b", "mv c ^", "compared"], &[]),
        (&["mv a b", "compared", "mv b c"], &["b to c"]),
        (&["mv a b", "sent"], &["a to b"]),
    ] {
        let mut set = equal();
        play(&mut set, commands);
        assert_eq!(shown(&mut set), expected, "{commands:?}");
    }
}

#[test]
fn what_is_moved_while_everything_is_compared_counts_afterwards() {
    let mut set = equal();
    play(&mut set, &["mv a b"]);
    set.want_reconcile();
    assert!(set.lease_reconcile(Instant::now()));
    play(&mut set, &["mv c d", "mv b e"]);
    assert_eq!(set.unmirrored().count(), 2);
    set.roll_back_reconcile();
    assert_eq!(set.unmirrored().count(), 2, "it came to nothing");
    assert!(set.lease_reconcile(Instant::now()));
    play(&mut set, &["mv x y"]);
    set.settle_reconcile(Instant::now());
    assert_eq!(set.unmirrored().iter().map(|moved| moved.old.clone()).collect::<Vec<_>>(), [Some(rel("x"))]);
}

#[test]
fn where_nodes_follow_nothing_is_counted() {
    let mut set = equal();
    set.set_dir_moves(DirMoves::Replicate);
    play(&mut set, &["mv a b", "mv c ^", "mkdir d", "mv d e"]);
    assert_eq!(shown(&mut set), [""; 0]);
}

#[test]
fn the_next_run_counts_the_same_until_all_that_differs_is_told() {
    let mut set = equal();
    play(&mut set, &["mv a b", "mv c ^", "mv e f", "mkdir e", "mv d g", "mkdir d", "sent"]);
    let expected = ["a to b", "c", "f", "g"];
    assert_eq!(shown(&mut set), expected);
    let mut next = PendingSet::default();
    next.resume(&Backlog::decode(&set.backlog().encode()).unwrap());
    assert_eq!(shown(&mut next), expected);
    assert_eq!(next.backlog(), set.backlog(), "it may be killed before that");
    assert!(next.is_empty() && !next.unmirrored().is_to_be_told());
    play(&mut next, &["rescan b", "mv x y"]);
    assert_eq!(shown(&mut next), ["a", "c", "f", "g", "x to y"]);
    next.add(&Change::ComparedWithState, Instant::now());
    assert_eq!(shown(&mut next), ["x to y"]);
    next.add(&Change::ComparedWithState, Instant::now());
    assert_eq!(shown(&mut next), ["x to y"], "events were lost");
}

#[test]
fn moves_are_told_once_until_a_comparison_of_everything() {
    let mut set = equal();
    for (command, expected) in [
        ("write x", false),
        ("mv a b", true),
        ("mv c d", false),
        ("mv b a", false),
        ("mv d c", false),
        ("mv a b", false),
        ("compared", false),
        ("mv c d", true),
    ] {
        play(&mut set, &[command]);
        assert_eq!(set.unmirrored().is_to_be_told(), expected, "{command}");
    }
}

#[test]
fn moves_that_are_too_many_to_be_remembered_are_counted() {
    let mut set = equal();
    for n in 0..REMEMBERED + 5 {
        set.unmirrored().moved_out(&rel(&format!("d{n}")), n as u64, Instant::now());
    }
    assert_eq!((set.unmirrored().count(), set.unmirrored().iter().count()), (REMEMBERED + 5, REMEMBERED));
    set.unmirrored().forget_first(2);
    assert_eq!(set.unmirrored().count(), REMEMBERED + 5);
    set.unmirrored().forget_first(u64::MAX);
    assert_eq!(set.unmirrored().count(), 0);
}

#[test]
fn another_process_that_compared_everything_dealt_with_what_was_moved_before_it_began() {
    let mut set = equal();
    play(&mut set, &["mv a b"]);
    let began = Instant::now() + Duration::from_millis(1);
    changes("mv c d").iter().for_each(|change| set.add(change, began));
    set.unmirrored().forget_before(began);
    assert_eq!(shown(&mut set), ["c to d"]);
}
