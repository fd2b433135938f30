//! The daemon of inosync, without its command line.

pub mod filter;
pub mod path;
pub mod rsync;
pub mod site;
