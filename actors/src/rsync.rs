//! The rsync command: its arguments, its runs, and what its exit codes mean.

pub mod extra;
pub mod node;
