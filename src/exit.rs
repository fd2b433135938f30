//! The exit codes: those of sysexits(3), and for questions to a daemon those of monitoring plugins (1 warning, 2 critical,
//! 3 unknown). systemd and scripts decide by them.

use std::process::ExitCode;

/// The reason why a command ends. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success: stopped with nothing pending, or `check` found no fault.
    Done = 0,
    /// `status`: something needs attention. `verify`: a node differs.
    Attention = 1,
    /// `status`: a node fails, or everything is held.
    Failing = 2,
    /// No daemon answers the question.
    NoAnswer = 3,
    /// The command line is wrong (EX_USAGE).
    Usage = 64,
    /// This machine lacks something that the daemon needs, such as rsync or inotify (EX_UNAVAILABLE).
    Environment = 69,
    /// A defect of inosync itself (EX_SOFTWARE).
    Internal = 70,
    /// Some change is not on every node, or `verify` could not compare everything (EX_TEMPFAIL); the next start catches
    /// up.
    Pending = 75,
    /// The configuration is wrong or cannot be read (EX_CONFIG).
    Config = 78,
}

impl Exit {
    /// Every exit code of the command.
    pub const ALL: [Exit; 9] = [
        Exit::Done,
        Exit::Attention,
        Exit::Failing,
        Exit::NoAnswer,
        Exit::Usage,
        Exit::Environment,
        Exit::Internal,
        Exit::Pending,
        Exit::Config,
    ];

    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_scripts_rely_on() {
        for (exit, code) in [
            (Exit::Done, 0),
            (Exit::Attention, 1),
            (Exit::Failing, 2),
            (Exit::NoAnswer, 3),
            (Exit::Usage, 64),
            (Exit::Environment, 69),
            (Exit::Internal, 70),
            (Exit::Pending, 75),
            (Exit::Config, 78),
        ] {
            assert_eq!(exit.code(), code);
            assert_eq!(ExitCode::from(exit), ExitCode::from(code));
        }
    }
}
