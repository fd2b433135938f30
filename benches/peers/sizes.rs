//! How much work each scenario does.

/// The numbers of a run.
pub struct Sizes {
    /// Each contestant's turns; they alternate.
    pub rounds: usize,
    /// Measured changes in a turn,
    pub changes: usize,
    /// and where each takes long.
    pub slow_changes: usize,
    /// Files beside a changed one.
    pub siblings: usize,
    /// Seconds of steady load, and its files.
    pub load_seconds: u64,
    pub load_files: usize,
    pub burst_dirs: usize,
    pub burst_files: usize,
    pub start_dirs: usize,
    pub many_start_dirs: usize,
    /// Files that the state of a restart has; a fiftieth of it are directories.
    pub state_files: usize,
    /// Bytes of the file that keeps a node busy.
    pub bulk: u64,
    pub nodes: usize,
    /// Bytes of a moved file; twice as many of a moved directory,
    pub move_file: u64,
    /// with so many files.
    pub move_files: u64,
    pub idle_seconds: u64,
    /// Nodes behind a relay that many are measured with, and changes of each kind through relays.
    pub fan_out: usize,
    pub relayed_changes: usize,
}

impl Sizes {
    pub const FULL: Sizes = Sizes {
        rounds: 2,
        changes: 20,
        slow_changes: 8,
        siblings: 100_000,
        load_seconds: 15,
        load_files: 1_000,
        burst_dirs: 2_000,
        burst_files: 20_000,
        start_dirs: 50_000,
        many_start_dirs: 150_000,
        state_files: 1_000_000,
        bulk: 2 << 30,
        nodes: 100,
        move_file: 100 << 20,
        move_files: 1_000,
        idle_seconds: 10,
        fan_out: 100,
        relayed_changes: 7,
    };

    /// To see that everything works; the figures say little.
    pub const QUICK: Sizes = Sizes {
        rounds: 1,
        changes: 8,
        slow_changes: 3,
        siblings: 10_000,
        load_seconds: 4,
        load_files: 200,
        burst_dirs: 200,
        burst_files: 2_000,
        start_dirs: 5_000,
        many_start_dirs: 15_000,
        state_files: 50_000,
        bulk: 512 << 20,
        nodes: 20,
        move_file: 20 << 20,
        move_files: 40,
        idle_seconds: 3,
        fan_out: 20,
        relayed_changes: 2,
    };
}
