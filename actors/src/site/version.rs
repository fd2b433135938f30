//! The version of an rsync program, and the features that depend on it.

use std::fmt;

/// Version number of rsync: major, minor and patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Oldest rsync that supports all that the daemon needs: `--modify-window=-1` came with 3.1.3 (rsync NEWS).
    pub const OLDEST: Version = Version::new(3, 1, 3);
    /// First rsync with `--mkpath` (rsync NEWS).
    pub(crate) const MAKES_PATHS: Version = Version::new(3, 2, 3);

    /// Makes a version from its numbers.
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Version { major, minor, patch }
    }

    /// Parses the first line of `rsync --version`: `rsync  version 3.2.7  protocol version 31`.
    pub(crate) fn parse(output: &str) -> Option<Self> {
        let word = output.lines().next()?.strip_prefix("rsync")?.trim_start().strip_prefix("version ")?;
        let mut numbers = word.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        Some(Version { major: number()?, minor: number()?, patch: number().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        for (output, version) in [
            ("rsync  version 3.2.7  protocol version 31\nmore", Some(Version::new(3, 2, 7))),
            ("rsync  version v3.4.0dev  protocol version 32", Some(Version::new(3, 4, 0))),
            ("rsync  version 3.5  protocol version 32", Some(Version::new(3, 5, 0))),
            ("openrsync: protocol version 29", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(output), version, "{output}");
        }
    }
}
