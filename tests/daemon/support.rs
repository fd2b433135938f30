//! What the tests share: [`Site`] is the environment of a test, with the verbs that it is written in.

mod ask;
mod changes;
mod daemon;
pub mod disk;
pub mod http;
mod mount;
mod process;
#[path = "../../actors/tests/programs/mod.rs"]
mod programs;
mod relay;
mod server;
mod site;
mod standbys;
pub mod tree;
pub mod wait;
mod wire;

pub use changes::plant;
pub use daemon::Ended;
pub use mount::{Mount, Served};
pub use process::{descendants, marked, signal};
pub use programs::program;
pub use relay::Relay;
pub use server::free_port;
pub use site::Node::{self, Dead, Local, Rsyncd, Ssh};
pub use site::Site;
pub use wire::Wire;
