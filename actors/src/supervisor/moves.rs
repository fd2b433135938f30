//! What the log says of directory moves: what becomes of one when it is seen, and what it took at each node.

use actix::prelude::*;
use slog::info;

use super::SupervisorActor;
use crate::messages::{DirMove, Mirrored};
use crate::site::DirMoves;

impl Handler<DirMove> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, moved: DirMove, _: &mut Self::Context) {
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

impl Handler<Mirrored> for SupervisorActor {
    type Result = ();

    /// One line for each node and move.
    fn handle(&mut self, Mirrored { slot, moved }: Mirrored, _: &mut Self::Context) {
        let Some(slot) = self.slots.get(slot) else { return };
        info!(slot.link.log, "directory moved: mirrored, {} bytes sent", moved.bytes; "from" => %moved.from, "to" => %moved.to);
    }
}
