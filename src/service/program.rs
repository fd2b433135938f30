//! The rsync program of this machine: its version, and how it is confined.

use std::io;
use std::path::Path;

use inosync_actors::children::Children;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::local_version;
use inosync_actors::rsync::runner::confine;
use inosync_actors::rsync::runner::confine::{Confined, Unconfined};
use inosync_actors::site::Site;
use inosync_actors::site::version::Version;
use slog::{Logger, info, warn};

/// The reason why the program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The version is too old.
    #[error("rsync is too old: {program} is {version}: install {oldest} or newer", oldest = Version::OLDEST)]
    TooOld {
        /// The path of the program, for people.
        program: String,
        /// The version of the program.
        version: Version,
    },
    /// The program does not tell its version.
    #[error("rsync cannot be run: {program}: {cause}: install it, or name another by the key rsync")]
    Unusable {
        /// The path of the program, for people.
        program: String,
        /// The error of the run.
        #[source]
        cause: io::Error,
    },
}

/// The version of the program of a site. The versions of the programs that single nodes have are noted in the site.
///
/// # Errors
/// When one of them cannot be run or is too old.
pub async fn versions(site: &mut Site) -> Result<Version, ProgramError> {
    let of_site = version(&site.rsync).await?;
    for own in site.options.values_mut().filter_map(|options| options.rsync.as_mut()) {
        own.version = Some(version(&own.path).await?);
    }
    Ok(of_site)
}

/// The version of one program.
async fn version(program: &Path) -> Result<Version, ProgramError> {
    let shown = Escaped(program.as_os_str().as_encoded_bytes()).to_string();
    match local_version(&Children::default(), program).await {
        Ok(version) if version >= Version::OLDEST => Ok(version),
        Ok(version) => Err(ProgramError::TooOld { program: shown, version }),
        Err(cause) => Err(ProgramError::Unusable { program: shown, cause }),
    }
}

/// Finds out whether the rsyncs of a site can be confined, and sets `confine` of the site to that.
pub async fn confine(site: &mut Site) -> Result<Confined, Unconfined> {
    for node in site.nodes.clone() {
        let at = site.at(&node);
        let Some(own) = site.options.get_mut(node.name()).and_then(|options| options.rsync.as_mut()) else { continue };
        own.confine = confine::standing(&at).await.is_ok();
    }
    let found = confine::standing(site).await;
    site.confine = found.is_ok();
    found
}

/// Warns in the log if the rsyncs are not confined although they should be.
pub fn warn_unconfined(found: &Result<Confined, Unconfined>, log: &Logger) {
    if let Err(why) = found
        && *why != Unconfined::Configured
    {
        warn!(log, "rsync is not confined"; "why" => %why);
    }
}

/// Logs whether the rsyncs are confined.
pub fn log_confined(found: &Result<Confined, Unconfined>, log: &Logger) {
    match found {
        Ok(confined) => info!(log, "rsync is confined to what it mirrors"; "by" => %confined),
        Err(why @ Unconfined::Configured) => info!(log, "rsync is not confined"; "why" => %why),
        Err(_) => warn_unconfined(found, log),
    }
}
