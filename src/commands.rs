//! The commands beside the daemon itself: each ends by itself, most ask the running daemon or the nodes.

pub mod check;
pub mod explain;
pub mod names;
pub mod once;
pub mod orders;
pub mod overview;
pub mod status;
pub mod target;
pub mod verify;
pub mod wait;
