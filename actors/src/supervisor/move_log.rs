//! The log of directory moves: what becomes of one when it is seen, and of those that are not mirrored.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slog::{Logger, info, warn};

use super::slots::{Slot, Slots};
use crate::messages::DirMove;
use crate::site::DirMoves;

/// Moves within this time are logged together, and not at all if they are undone.
pub(super) const GATHERS: Duration = Duration::from_secs(1);

/// The cure for moves that are not mirrored.
const CURE: &str =
    "inosync once makes them equal, as a restart or resync_every does; dir_moves: Replicate mirrors later moves";

/// Logs a directory move that was seen: a line for each way in which nodes follow it.
pub(super) fn log_move(log: &Logger, moved: &DirMove, dir_moves: &BTreeSet<DirMoves>) {
    let ways = if matches!(moved, DirMove::In { .. }) { 1 } else { dir_moves.len() };
    dir_moves.iter().take(ways).for_each(|way| log_way(log, moved, *way));
}

fn log_way(log: &Logger, moved: &DirMove, dir_moves: DirMoves) {
    match (moved, dir_moves) {
        (DirMove::Within { from, to }, DirMoves::Log) => {
            info!(log, "directory moved: not mirrored (dir_moves: Log), the nodes keep the old name"; "from" => %from, "to" => %to);
        }
        (DirMove::Within { from, to }, DirMoves::Replicate) => {
            info!(log, "directory moved: the nodes follow"; "from" => %from, "to" => %to);
        }
        (DirMove::Out { from }, DirMoves::Log) => {
            info!(log, "directory moved out of the tree or to an excluded name: not mirrored (dir_moves: Log), the nodes keep it"; "from" => %from);
        }
        (DirMove::Out { from }, DirMoves::Replicate) => {
            info!(log, "directory moved out of the tree or to an excluded name: the nodes are to delete it"; "from" => %from);
        }
        (DirMove::In { to }, DirMoves::Log | DirMoves::Replicate) => {
            info!(log, "directory moved into the tree: mirrored as new"; "to" => %to);
        }
    }
}

/// Says once that nodes differ because they do not follow directory moves, until a comparison of everything left none.
pub(super) fn log_unmirrored(log: &Logger, slots: &Slots) {
    let mut nodes = 0;
    let mut count = 0;
    let mut first = None;
    for slot in slots.members() {
        let mut outbox = slot.link.outbox.lock();
        let unmirrored = outbox.unmirrored();
        if unmirrored.is_to_be_told() {
            nodes += 1;
            count = count.max(unmirrored.count());
            first = first.or_else(|| unmirrored.iter().next().map(ToString::to_string));
        }
    }
    if nodes > 0 {
        warn!(log, "nodes differ from the source: directories were moved, which is not mirrored (dir_moves: Log)";
            "nodes" => nodes, "moves" => count, "first" => first, "cure" => CURE);
    }
}

/// Forgets the moves of a node that another process mirrored since then.
pub(super) fn forget_mirrored(slot: &Slot, began: Instant) {
    let mut outbox = slot.link.outbox.lock();
    let before = outbox.unmirrored().count();
    outbox.unmirrored().forget_before(began);
    let left = outbox.unmirrored().count();
    if left < before {
        info!(slot.link.log, "directory moves were mirrored by another process (inosync once)"; "moves" => before - left, "left" => left);
    }
}
