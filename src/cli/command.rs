//! The commands of the command line, and the older options that mean the same.

use std::path::PathBuf;

use structopt::StructOpt;

// Options that are accepted before and after the name of a command. As a doc comment, this would be the help of each command.
#[derive(Debug, Clone, Default, PartialEq, Eq, StructOpt)]
pub struct SharedOptions {
    // Not clap's default_value: with it, a `-c` at the end of the line passes without its SITE.
    /// Site: www for /etc/inosync/www.ron, or the path of a file [default: /etc/inosync/default.ron]
    #[structopt(short, long, value_name = "SITE", parse(from_os_str))]
    pub config: Option<PathBuf>,

    /// Log more: each change that is seen and each batch that is sent
    #[structopt(short, long, parse(from_occurrences))]
    pub verbose: u8,
}

/// The commands beside the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, StructOpt)]
pub enum Command {
    /// Check the configuration, this machine and every node, where a probe is written and removed; print the rsync commands
    /// of the daemon
    Check {
        #[structopt(flatten)]
        common: SharedOptions,
        /// Ask no node, and write nothing there
        #[structopt(long, conflicts_with = "node")]
        offline: bool,
        /// Check this node and nothing else
        #[structopt(long, value_name = "NODE")]
        node: Option<String>,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Print what the command once would send and delete, and change nothing
    DryRun {
        #[structopt(flatten)]
        common: SharedOptions,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Make every node equal to the tree once
    Once {
        #[structopt(flatten)]
        common: SharedOptions,
    },
    /// Compare every node with the tree by checksum, print the differences, and change nothing
    Verify {
        #[structopt(flatten)]
        common: SharedOptions,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Print the daemon's status, and exit as a Nagios check does; without -c, that of all sites of this machine
    Status {
        #[structopt(flatten)]
        common: SharedOptions,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Tell whether a path is excluded, and by which pattern; whether it is watched; and when it was last sent to each node
    Explain {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The path, absolute or relative to wpath
        #[structopt(value_name = "PATH", parse(from_os_str))]
        path: PathBuf,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Wait until every node, or one, has all that has changed until now
    Wait {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The node to wait for, named as in rnodes or in the log
        #[structopt(value_name = "NODE")]
        node: Option<String>,
        /// Wait no longer than this, and exit with 75
        #[structopt(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// Print JSON, for programs
        #[structopt(long)]
        json: bool,
    },
    /// Send nothing more to a node, and collect its changes
    Pause {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The node, named as in rnodes or in the log
        #[structopt(value_name = "NODE")]
        node: String,
    },
    /// Try at once what failed at a node, or at every node
    Retry {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The node, named as in rnodes or in the log
        #[structopt(value_name = "NODE")]
        node: Option<String>,
    },
    /// Let the comparison of a node that max_delete holds delete what it takes, once
    AllowDeletes {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The node, named as in rnodes or in the log
        #[structopt(value_name = "NODE")]
        node: String,
    },
    /// Make the daemon read its configuration again, and wait until that is in force
    Reload {
        #[structopt(flatten)]
        common: SharedOptions,
    },
    /// Resume a paused node, and try what failed there at once
    Resume {
        #[structopt(flatten)]
        common: SharedOptions,
        /// The node, named as in rnodes or in the log
        #[structopt(value_name = "NODE")]
        node: String,
    },
}

impl Command {
    /// The names of all commands.
    pub const NAMES: [&'static str; 12] = [
        "check",
        "dry-run",
        "once",
        "verify",
        "status",
        "explain",
        "wait",
        "pause",
        "resume",
        "retry",
        "allow-deletes",
        "reload",
    ];

    /// The options that were given after the name of the command.
    pub fn common(&self) -> &SharedOptions {
        match self {
            Command::Check { common, .. }
            | Command::DryRun { common, .. }
            | Command::Once { common }
            | Command::Verify { common, .. }
            | Command::Status { common, .. }
            | Command::Explain { common, .. }
            | Command::Pause { common, .. }
            | Command::Reload { common }
            | Command::Retry { common, .. }
            | Command::Wait { common, .. }
            | Command::AllowDeletes { common, .. }
            | Command::Resume { common, .. } => common,
        }
    }
}

// With names of their own: the parser takes an option for given if a command of its name is.
/// The options of earlier versions, one for each command of then.
#[derive(Debug, Clone, PartialEq, Eq, StructOpt)]
pub struct OlderForms {
    #[structopt(name = "--check", long = "check", hidden = true, conflicts_with_all = &["--once", "--dry-run"])]
    check: bool,
    #[structopt(name = "--offline", long = "offline", hidden = true, requires = "--check")]
    offline: bool,
    #[structopt(name = "--node", long = "node", hidden = true, requires = "--check")]
    node: Option<String>,
    #[structopt(name = "--once", long = "once", hidden = true)]
    once: bool,
    #[structopt(name = "--dry-run", long = "dry-run", hidden = true)]
    dry_run: bool,
    #[structopt(name = "--verify", long = "verify", hidden = true,
        conflicts_with_all = &["--check", "--once", "--dry-run"])]
    verify: bool,
    #[structopt(name = "--status", long = "status", hidden = true,
        conflicts_with_all = &["--check", "--once", "--dry-run", "--verify"])]
    status: bool,
    #[structopt(name = "--json", long = "json", hidden = true, requires = "--status")]
    json: bool,
    #[structopt(name = "--explain", long = "explain", hidden = true, parse(from_os_str),
        conflicts_with_all = &["--check", "--once", "--dry-run", "--verify", "--status"])]
    explain: Option<PathBuf>,
    #[structopt(name = "--pause", long = "pause", hidden = true,
        conflicts_with_all = &["--check", "--once", "--dry-run", "--verify", "--status", "--explain"])]
    pause: Option<String>,
    #[structopt(name = "--resume", long = "resume", hidden = true,
        conflicts_with_all = &["--check", "--once", "--dry-run", "--verify", "--status", "--explain", "--pause"])]
    resume: Option<String>,
}

impl OlderForms {
    /// The command that means the same.
    pub fn into_command(self) -> Option<Command> {
        let common = SharedOptions::default();
        Some(match self {
            OlderForms { check: true, offline, node, .. } => Command::Check { common, offline, node, json: false },
            OlderForms { dry_run: true, .. } => Command::DryRun { common, json: false },
            OlderForms { verify: true, .. } => Command::Verify { common, json: false },
            OlderForms { once: true, .. } => Command::Once { common },
            OlderForms { status: true, json, .. } => Command::Status { common, json },
            OlderForms { explain: Some(path), .. } => Command::Explain { common, path, json: false },
            OlderForms { pause: Some(node), .. } => Command::Pause { common, node },
            OlderForms { resume: Some(node), .. } => Command::Resume { common, node },
            _ => return None,
        })
    }
}
