//! The patterns of a configuration: what they match, what they are for rsync, and which files wait for their writers.

pub mod excludes;
pub mod rules;
pub mod settle;
