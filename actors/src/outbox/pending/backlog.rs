//! A pending set in a form that outlives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::outbox::need::{Need, Pending, Scope};
use crate::outbox::pending::PendingSet;
use crate::path::RelPath;

/// What one node does not have, as it is kept on disk: without what is only of this run, such as times and failed tries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Whether the whole tree is to be compared.
    pub reconcile: bool,
    /// The paths, in order.
    pub paths: Vec<Kept>,
}

/// One path of a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The path.
    pub path: RelPath,
    /// How much of it is to be compared.
    pub scope: Scope,
    /// Whether its removal was reported, and nothing since.
    pub removed: bool,
    /// Whether its content is new.
    pub rewritten: bool,
    /// What it has to do with a directory move that the node does not follow.
    pub moved: Moved,
}

/// What a name of a backlog has to do with a directory move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Nothing: it waits.
    Not,
    /// A directory was moved away from it, and the node keeps it until a reconcile.
    Away,
    /// The node lacks the directory that was moved to it.
    To,
    /// The same, of the directory that was moved away from the name before it in the list.
    ToFromBefore,
}

impl Backlog {
    /// The names that directories were moved away from.
    pub fn away(&self) -> impl Iterator<Item = &RelPath> {
        self.paths.iter().filter(|kept| kept.moved == Moved::Away).map(|kept| &kept.path)
    }

    /// The bytes that [`Backlog::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.reconcile)];
        for Kept { path, scope, removed, rewritten, moved } in &self.paths {
            let scope = match scope {
                Scope::Entry => 0,
                Scope::Level => 1,
                Scope::Subtree => 2,
            };
            let moved = match moved {
                Moved::Not => 0,
                Moved::Away => 16,
                Moved::To => 32,
                Moved::ToFromBefore => 48,
            };
            bytes.push(scope | u8::from(*removed) << 2 | u8::from(*rewritten) << 3 | moved);
            bytes.extend(path.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// Reads what [`Backlog::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Backlog> {
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
                0 => Moved::Not,
                16 => Moved::Away,
                32 => Moved::To,
                _ => Moved::ToFromBefore,
            };
            paths.push(Kept { path, scope, removed, rewritten, moved });
            rest = &tail[end + 1..];
        }
        Some(Backlog { reconcile: reconcile != 0, paths })
    }
}

impl PendingSet {
    /// All that the node does not have yet: what waits and what is in flight.
    pub fn backlog(&self) -> Backlog {
        // It is tried again then.
        let reconcile = self.is_to_be_kept() || self.unset.has_more();
        let entry = |path: &RelPath| (path.clone(), Pending::new(Scope::Entry));
        let mut paths: BTreeMap<RelPath, Pending> = self.unset.paths().map(entry).collect();
        // What waits is newer than what is in flight.
        for (path, pending) in self.leases.iter().chain(self.waiting.iter()) {
            let older: Option<Pending> = paths.insert(path.clone(), *pending);
            if let Some(older) = older {
                paths.insert(path.clone(), older.followed_by(*pending));
            }
        }
        let kept = |(path, pending)| {
            let Pending { scope, need, proof, .. }: Pending = pending;
            // Where it came from is not kept.
            let rewritten = proof.rewritten || need == Need::Renamed;
            Kept { path, scope, removed: need == Need::Removal, rewritten, moved: Moved::Not }
        };
        let moves = self.moves().into_iter();
        let moves =
            moves.map(|(path, moved)| Kept { path, scope: Scope::Entry, removed: false, rewritten: false, moved });
        Backlog { reconcile, paths: paths.into_iter().map(kept).chain(moves).collect() }
    }

    /// The names of directory moves: each move, then what else was moved away.
    fn moves(&self) -> Vec<(RelPath, Moved)> {
        let (mut names, mut away) = (Vec::new(), BTreeSet::from_iter(self.away.below(&RelPath::root())));
        for moved in self.away.unmirrored.iter() {
            let new = if moved.old.is_some() { Moved::ToFromBefore } else { Moved::To };
            if let Some(old) = &moved.old {
                away.remove(old);
            }
            names.extend(moved.old.clone().map(|old| (old, Moved::Away)));
            names.extend(moved.new.clone().map(|path| (path, new)));
        }
        names.extend(away.into_iter().map(|path| (path, Moved::Away)));
        names
    }

    /// The attributes of the root are to be sent.
    pub fn touch_root(&mut self) {
        self.waiting.insert(RelPath::root(), Pending::new(Scope::Entry));
    }

    /// Takes up the backlog of an earlier run. What it did not mirror of directory moves counts until all that differs is told
    /// ([`Change::ComparedWithState`](crate::change::Change::ComparedWithState)): then that is pending.
    pub fn resume(&mut self, backlog: Backlog) {
        self.waiting.at(Instant::now());
        if backlog.reconcile {
            self.want_reconcile();
        }
        let mut old = None;
        for Kept { path, scope, removed, rewritten, moved } in backlog.paths {
            let new = match moved {
                Moved::Not => {
                    let need = if removed { Need::Removal } else { Need::Update };
                    self.waiting.insert(path, Pending { need, ..Pending::new(scope).rewritten(rewritten) });
                    continue;
                }
                Moved::Away => {
                    self.away.resume(old.replace(path), None);
                    continue;
                }
                Moved::To => {
                    self.away.resume(old.take(), None);
                    Some(path)
                }
                Moved::ToFromBefore => Some(path),
            };
            self.away.resume(old.take(), new);
        }
        self.away.resume(old, None);
        self.fold_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
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
        next.resume(backlog);
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
        next.resume(Backlog::decode(&set.backlog().encode()).unwrap());
        let kept = |set: &PendingSet| set.backlog().paths.into_iter().map(|kept| (kept.path, kept.removed)).collect();
        let told: Vec<(RelPath, bool)> = kept(&next);
        assert_eq!(told, [(rel("a"), false), (rel("b"), true)]);
        assert!(next.backlog().paths[0].rewritten);
        next.drop_detours(now);
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
