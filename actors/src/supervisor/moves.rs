//! What the log says of directory moves: what becomes of one when it is seen, and what it took at each node.

use std::time::Duration;

use actix::prelude::*;
use slog::{info, warn};

use super::SupervisorActor;
use crate::messages::{Compared, DirMove, Mirrored};
use crate::site::DirMoves;

/// What is moved within this time is told together, and not at all if it is moved back.
const GATHERS: Duration = Duration::from_secs(1);

/// What can be done about it.
const CURE: &str =
    "inosync --once makes them equal, as a restart or resync_every does; dir_moves: Replicate mirrors later moves";

impl Handler<DirMove> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, moved: DirMove, ctx: &mut Self::Context) {
        if self.edition.site.dir_moves == DirMoves::Log && !matches!(moved, DirMove::In { .. }) {
            ctx.run_later(GATHERS, |supervisor, _| supervisor.tell_unmirrored());
        }
        match (moved, self.edition.site.dir_moves) {
            (DirMove::Within { from, to }, DirMoves::Log) => {
                info!(self.log, "directory moved: not mirrored (dir_moves: Log), the nodes keep the old name"; "from" => %from, "to" => %to);
            }
            (DirMove::Within { from, to }, DirMoves::Replicate) => {
                info!(self.log, "directory moved: the nodes follow"; "from" => %from, "to" => %to);
            }
            (DirMove::Out { from }, DirMoves::Log) => {
                info!(self.log, "directory moved out of the tree or to an excluded name: not mirrored (dir_moves: Log), the nodes keep it"; "from" => %from);
            }
            (DirMove::Out { from }, DirMoves::Replicate) => {
                info!(self.log, "directory moved out of the tree or to an excluded name: the nodes are to delete it"; "from" => %from);
            }
            (DirMove::In { to }, DirMoves::Log | DirMoves::Replicate) => {
                info!(self.log, "directory moved into the tree: mirrored as new"; "to" => %to);
            }
        }
    }
}

impl SupervisorActor {
    /// Says once that nodes differ because they do not follow directory moves, until a comparison of everything left none.
    fn tell_unmirrored(&self) {
        let (mut nodes, mut count, mut first) = (0, 0, None);
        for slot in self.slots.members() {
            let mut outbox = slot.link.outbox.lock();
            let unmirrored = outbox.unmirrored();
            if unmirrored.is_to_be_told() {
                (nodes, count) = (nodes + 1, count.max(unmirrored.count()));
                first = first.or_else(|| unmirrored.iter().next().map(ToString::to_string));
            }
        }
        if nodes > 0 {
            warn!(self.log, "nodes differ from the source: directories were moved, which is not mirrored (dir_moves: Log)";
                "nodes" => nodes, "moves" => count, "first" => first, "cure" => CURE);
        }
    }
}

impl Handler<Compared> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Compared { dest, began }: Compared, _: &mut Self::Context) {
        for slot in self.slots.iter().filter(|slot| slot.node.shown_dest() == dest) {
            let mut outbox = slot.link.outbox.lock();
            let before = outbox.unmirrored().count();
            outbox.unmirrored().forget_before(began);
            let left = outbox.unmirrored().count();
            if left < before {
                info!(slot.link.log, "directory moves were mirrored by another process (--once)"; "moves" => before - left, "left" => left);
            }
        }
        self.unsaved.ring();
    }
}

impl Handler<Mirrored> for SupervisorActor {
    type Result = ();

    /// One line for each node and move.
    fn handle(&mut self, Mirrored { slot, moved }: Mirrored, _: &mut Self::Context) {
        let Some(slot) = self.slots.get(slot) else { return };
        info!(slot.link.log, "directory moved: mirrored, {} bytes sent", moved.bytes; "from" => %moved.from, "to" => %moved.to);
    }
}
