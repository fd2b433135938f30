//! The rsync program of this machine: whether it is one that the daemon can work with.

use std::io;
use std::path::Path;

use inosync_actors::path::Escaped;
use inosync_actors::rsync::children::Children;
use inosync_actors::rsync::local_version;
use inosync_actors::rsync::version::Version;

/// Why it cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Too old.
    #[error("rsync is too old: {program} is {version}: install {oldest} or newer", oldest = Version::OLDEST)]
    TooOld {
        /// Its path, for people.
        program: String,
        /// What it says it is.
        version: Version,
    },
    /// It does not even tell its version.
    #[error("rsync cannot be run: {program}: {cause}: install it, or name another by the key rsync")]
    Unusable {
        /// Its path, for people.
        program: String,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
}

/// The version of the program.
///
/// # Errors
/// When it cannot be run or is too old.
pub async fn version(program: &Path) -> Result<Version, ProgramError> {
    let shown = Escaped(program.as_os_str().as_encoded_bytes()).to_string();
    match local_version(&Children::default(), program).await {
        Ok(version) if version >= Version::OLDEST => Ok(version),
        Ok(version) => Err(ProgramError::TooOld { program: shown, version }),
        Err(cause) => Err(ProgramError::Unusable { program: shown, cause }),
    }
}
