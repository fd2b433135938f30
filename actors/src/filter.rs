//! Decides which changes reach the nodes. Never touches the disk.

pub mod excludes;
pub mod rules;
