//! A pending set in a form that outlives the process.

use std::collections::{BTreeMap, BTreeSet};

use crate::outbox::away::Away;
use crate::outbox::need::{PathNeed, Pending, Proof, Scope};
use crate::outbox::unmirrored::Move;
use crate::path::RelPath;

/// All that one node does not have, as it is kept on disk: without times and failed tries, which are only of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// The whole tree is to be compared.
    pub reconcile: bool,
    /// The paths, in order.
    pub paths: Vec<BacklogEntry>,
}

/// One path of a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BacklogEntry {
    /// The path, relative to the root.
    pub path: RelPath,
    /// The part of it that is to be compared.
    pub scope: Scope,
    /// Its removal was reported, and nothing since.
    pub removed: bool,
    /// Its content is new.
    pub rewritten: bool,
    /// Its part in a directory move that the node does not follow.
    pub moved: MovePart,
}

/// The part that a name of a backlog has in a directory move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MovePart {
    /// None: the path waits.
    Not,
    /// A directory was moved away from it, and the node keeps it until a reconcile.
    Away,
    /// The node lacks the directory that was moved to it.
    To,
    /// The node lacks the directory that was moved to it from the name before it in the list.
    ToFromBefore,
}

impl BacklogEntry {
    fn new(path: RelPath, pending: Pending) -> Self {
        let Pending { scope, need, proof, .. } = pending;
        // Where it came from is not kept.
        let rewritten = proof != Proof::default() || need == PathNeed::Renamed;
        BacklogEntry { path, scope, removed: need == PathNeed::Removal, rewritten, moved: MovePart::Not }
    }

    /// A name of a directory move.
    fn of_move(path: RelPath, moved: MovePart) -> Self {
        BacklogEntry { path, scope: Scope::Entry, removed: false, rewritten: false, moved }
    }
}

impl Backlog {
    /// All that is pending, then each directory move that is not mirrored, then the other names that were moved away.
    pub(super) fn new(reconcile: bool, pending: BTreeMap<RelPath, Pending>, away: &Away) -> Self {
        let mut paths: Vec<BacklogEntry> =
            pending.into_iter().map(|(path, pending)| BacklogEntry::new(path, pending)).collect();
        let mut names = BTreeSet::from_iter(away.below(&RelPath::root()));
        for Move { old, new, .. } in away.unmirrored.iter() {
            let to = if old.is_some() { MovePart::ToFromBefore } else { MovePart::To };
            old.iter().for_each(|old| _ = names.remove(old));
            paths.extend(old.clone().map(|old| BacklogEntry::of_move(old, MovePart::Away)));
            paths.extend(new.clone().map(|new| BacklogEntry::of_move(new, to)));
        }
        paths.extend(names.into_iter().map(|name| BacklogEntry::of_move(name, MovePart::Away)));
        Backlog { reconcile, paths }
    }

    /// The paths that were pending.
    pub(super) fn pending(&self) -> impl Iterator<Item = (&RelPath, Pending)> {
        self.paths.iter().filter(|kept| kept.moved == MovePart::Not).map(
            |BacklogEntry { path, scope, removed, rewritten, .. }| {
                let need = if *removed { PathNeed::Removal } else { PathNeed::Update };
                (path, Pending { need, ..Pending::new(*scope).rewritten(*rewritten) })
            },
        )
    }

    /// The old and the new names of the directory moves, as far as they are known.
    pub(super) fn moves(&self) -> Vec<(Option<&RelPath>, Option<&RelPath>)> {
        let mut moves: Vec<(Option<&RelPath>, Option<&RelPath>)> = Vec::new();
        for BacklogEntry { path, moved, .. } in &self.paths {
            match (moved, moves.last_mut()) {
                (MovePart::Not, _) => (),
                (MovePart::Away, _) => moves.push((Some(path), None)),
                (MovePart::ToFromBefore, Some((Some(_), new @ None))) => *new = Some(path),
                (MovePart::To | MovePart::ToFromBefore, _) => moves.push((None, Some(path))),
            }
        }
        moves
    }

    /// The names that directories were moved away from.
    pub(crate) fn away(&self) -> impl Iterator<Item = &RelPath> {
        self.paths.iter().filter(|kept| kept.moved == MovePart::Away).map(|kept| &kept.path)
    }

    /// The bytes that [`Backlog::decode`] reads.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.reconcile)];
        for BacklogEntry { path, scope, removed, rewritten, moved } in &self.paths {
            let scope = match scope {
                Scope::Entry => 0,
                Scope::Level => 1,
                Scope::Subtree => 2,
            };
            let moved = match moved {
                MovePart::Not => 0,
                MovePart::Away => 16,
                MovePart::To => 32,
                MovePart::ToFromBefore => 48,
            };
            bytes.push(scope | u8::from(*removed) << 2 | u8::from(*rewritten) << 3 | moved);
            bytes.extend(path.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// Reads what [`Backlog::encode`] wrote; `None` if it is something else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Backlog> {
        let (&reconcile, mut rest) = bytes.split_first()?;
        let mut paths = Vec::new();
        while let Some((&flags, tail)) = rest.split_first() {
            let end = tail.iter().position(|&b| b == 0)?;
            let scope = match flags & 3 {
                0 => Scope::Entry,
                1 => Scope::Level,
                2 => Scope::Subtree,
                _ => return None,
            };
            let path = RelPath::new(&tail[..end]).ok()?;
            let [removed, rewritten] = [4, 8].map(|flag| flags & flag != 0);
            let moved = match flags & 48 {
                0 => MovePart::Not,
                16 => MovePart::Away,
                32 => MovePart::To,
                _ => MovePart::ToFromBefore,
            };
            paths.push(BacklogEntry { path, scope, removed, rewritten, moved });
            rest = &tail[end + 1..];
        }
        Some(Backlog { reconcile: reconcile != 0, paths })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::change::Change;
    use crate::outbox::pending::PendingSet;
    use crate::transport::Lane;
    use crate::transport::rename::detour;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path.as_bytes()).unwrap()
    }

    fn touched(path: &str) -> Change {
        Change::Touched { path: rel(path), is_dir: false, rewritten: true }
    }

    #[test]
    fn what_waits_and_what_is_in_flight_is_taken_up_by_the_next_run() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&touched("a\nb"), now);
        set.add(&Change::Subtree { path: rel("d") }, now);
        set.lease(Lane::Fast, 9, 9999, now);
        set.add(&Change::Removed { path: rel("d"), is_dir: true }, now);
        set.add(&Change::Level { path: rel("e") }, now);
        set.want_reconcile();
        let backlog = Backlog::decode(&set.backlog().encode()).unwrap();
        assert_eq!(backlog, set.backlog());
        let mut next = PendingSet::default();
        next.resume(&backlog);
        assert_eq!(next.len(), 4, "{next:?}");
        assert!(next.is_reported_removed(&rel("d")) && next.reconcile_due(now).is_some());
        assert_eq!(next.backlog(), set.backlog());
    }

    #[test]
    fn a_name_that_was_moved_away_is_told_to_the_next_run() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&Change::MovedAway { path: rel("a") }, now);
        assert_eq!(set.len(), 0);
        let backlog = Backlog::decode(&set.backlog().encode()).unwrap();
        assert_eq!(Vec::from_iter(backlog.away()), [&rel("a")]);
        assert_eq!(backlog.paths.len(), 1);
    }

    #[test]
    fn a_rename_is_told_to_the_next_run_as_new_content_and_after_a_crash_its_detour_is_removed() {
        let (mut set, now) = (PendingSet::default(), Instant::now());
        set.add(&Change::Removed { path: rel("b"), is_dir: false }, now);
        set.add(&Change::Renamed { from: rel("b"), to: rel("a") }, now);
        let mut next = PendingSet::default();
        next.resume(&Backlog::decode(&set.backlog().encode()).unwrap());
        let kept = |set: &PendingSet| set.backlog().paths.into_iter().map(|kept| (kept.path, kept.removed)).collect();
        let told: Vec<(RelPath, bool)> = kept(&next);
        assert_eq!(told, [(rel("a"), false), (rel("b"), true)]);
        assert!(next.backlog().paths[0].rewritten);
        next.drop_detours();
        let told: Vec<(RelPath, bool)> = kept(&next);
        assert_eq!(told[0], (detour(&rel("a")), true));
    }

    #[test]
    fn other_bytes_are_no_backlog() {
        let whole = Backlog { reconcile: false, paths: vec![] }.encode();
        for bytes in [&[][..], &[0, 3, b'a', 0], &[0, 0, b'a'], &[0, 0, b'/', 0]] {
            assert_eq!(Backlog::decode(bytes), None, "{bytes:?}");
        }
        assert_eq!(Backlog::decode(&whole), Some(Backlog::default()));
    }

    #[test]
    fn any_bytes_are_a_backlog_that_is_written_so_again_or_none() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut read = 0;
        for _ in 0..20_000 {
            let bytes: Vec<u8> =
                (0..random.usize(..24)).map(|_| b"\0\0\0\x01\x04\x10\x1e/.ab"[random.usize(..11)]).collect();
            let Some(backlog) = Backlog::decode(&bytes) else { continue };
            read += 1;
            assert_eq!(Backlog::decode(&backlog.encode()), Some(backlog), "{}", bytes.escape_ascii());
        }
        assert!(read > 100, "{read}");
    }
}
