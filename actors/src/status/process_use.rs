//! The use that a process makes of the machine.

use serde::{Deserialize, Serialize};

/// A process, and the use that it makes of the machine. A figure that the system does not tell is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// The id of the process.
    pub pid: u32,
    /// The time of its start, in seconds since 1970. A new start by a reload does not change it.
    pub process_started_at: Option<f64>,
    /// The time that processors worked for it, in seconds.
    pub cpu_seconds: Option<f64>,
    /// The memory that it holds, in bytes.
    pub resident_bytes: Option<u64>,
    /// The files that it has open.
    pub open_fds: Option<u64>,
    /// The most files that it may have open.
    pub max_fds: Option<u64>,
}
