//! Reads what an rsync run says, and decides what came of it.

mod account;
pub(super) mod aside;
pub(super) mod blame;
pub(super) mod claims;
pub(super) mod complaint;
pub(super) mod failure;
#[cfg(test)]
mod fuzz;
pub(super) mod itemized;
pub(super) mod noise;
pub mod output;
pub(super) mod refusal;
pub(super) mod temporary;
pub(super) mod unset;
pub(super) mod untaken;
