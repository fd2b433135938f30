//! The daemon that a command asks: found by the path of its configuration file, although the file may be broken by now.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use inosync_actors::patterns::excludes::Excludes;

use crate::config::{self, ConfigError, Outline};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, AskError, Request, ask};

/// The daemon of one configuration file.
pub struct DaemonTarget {
    /// The configuration file of the daemon.
    pub config: PathBuf,
    /// Directories in which its socket may be.
    places: Vec<PathBuf>,
    outline: Result<Outline, ConfigError>,
    /// True once it was told that the file is broken.
    is_told: Cell<bool>,
}

impl DaemonTarget {
    /// The daemon of this file.
    pub fn of(config: &Path) -> Self {
        let outline = config::outline(config);
        let mut places = config::usual_sockets(config);
        // A file that was changed since may name another directory than the one in which the daemon has its socket.
        let named = outline.iter().flat_map(|outline| &outline.sockets).filter(|place| !places.contains(place));
        let named: Vec<PathBuf> = named.cloned().collect();
        places.extend(named);
        DaemonTarget { config: config.to_owned(), places, outline, is_told: Cell::new(false) }
    }

    /// Asks the daemon, and prints nothing.
    ///
    /// # Errors
    /// When no daemon answers.
    pub async fn try_ask(&self, request: &Request) -> Result<Answer, AskError> {
        match ask(&self.config, &self.places, request).await {
            Err(AskError::NoDaemon { config, .. }) if self.has_no_socket() => Err(AskError::NoSocket { config }),
            answer => answer,
        }
    }

    fn has_no_socket(&self) -> bool {
        self.outline.as_ref().is_ok_and(|outline| outline.sockets.is_empty())
    }

    /// Asks the daemon. Prints the reason why there is no answer; if there is one, that the file is broken by now.
    ///
    /// # Errors
    /// The exit code when there is no answer.
    pub async fn ask(&self, request: &Request) -> Result<Answer, Exit> {
        match (self.try_ask(request).await, &self.outline) {
            (Ok(Answer::Refused { why }), _) => Err(complain(&why)),
            (Ok(answer), Ok(_)) => Ok(answer),
            (Ok(answer), Err(broken)) => {
                if !self.is_told.replace(true) {
                    let why = broken.in_one_line();
                    logging::print_error(&format!(
                        "inosync: the daemon goes on with what it read before, but its file is wrong by now: {why}"
                    ));
                }
                Ok(answer)
            }
            (Err(AskError::NoDaemon { .. }), Err(broken)) => {
                logging::print_error(&format!("inosync: {broken}"));
                Err(broken.exit_code())
            }
            (Err(why), _) => Err(complain(&why.to_string())),
        }
    }

    /// The source and the patterns in force: those of the daemon, or without one those of the file.
    ///
    /// # Errors
    /// The exit code when there is no daemon and the file is wrong, which is printed.
    pub async fn in_force(&self) -> Result<(PathBuf, Excludes), Exit> {
        use std::os::unix::ffi::OsStringExt;
        if let Ok(Answer::InForce(source)) = self.try_ask(&Request::InForce).await
            && let Ok(excludes) = Excludes::new(source.rexcludes)
        {
            return Ok((std::ffi::OsString::from_vec(source.wpath).into(), excludes));
        }
        match &self.outline {
            Ok(outline) => Ok((outline.wpath.clone(), outline.excludes.clone())),
            Err(broken) => {
                logging::print_error(&format!("inosync: {broken}"));
                Err(broken.exit_code())
            }
        }
    }
}

/// Prints the reason why a daemon did not do what it was asked for.
pub fn complain(why: &str) -> Exit {
    logging::print_error(&format!("inosync: {why}"));
    Exit::NoAnswer
}

/// Prints that an answer is not one to the question.
pub fn unexpected() -> Exit {
    complain("the daemon answers something else: if inosync was upgraded, restart it")
}
