//! `status` without a site: one look at all sites of this machine, those that run and those that are only configured.

mod table;

use crate::commands::status;
use crate::commands::target::DaemonTarget;
use crate::config::{self, sites};
use crate::exit::Exit;
use crate::logging;
use crate::service::all_sites::{SiteAnswer, UnaskedSites};

/// Prints the status of all sites of this machine. Where the only one is the default site, its whole status.
pub async fn status_of_all(json: bool) -> Exit {
    let candidates = UnaskedSites::find();
    let default = sites::file_of(None).unwrap_or_else(|_| config::DEFAULT_PATH.into());
    if candidates.only().is_some_and(|only| *only == config::site_name(&default)) {
        return status::status(&DaemonTarget::of(&default), json).await;
    }
    if candidates.is_empty() {
        logging::print_error(
            "inosync: there is no site: no daemon runs, and there is no /etc/inosync/NAME.ron: write one \
             (inosync.ron(5)), or name the file with -c FILE",
        );
        return Exit::NoAnswer;
    }
    let all = candidates.ask().await;
    let text = if json { serde_json::to_string_pretty(&all).unwrap_or_default() } else { table::of(&all.sites) };
    logging::print(text.trim_end());
    let unasked = all.sites.iter().filter(|site| site.answer == SiteAnswer::NotAllowed).count();
    if unasked > 0 {
        logging::print_error(&format!(
            "inosync: {unasked} of {} sites may not be asked by this user: ask as root, or as the daemon's user",
            all.sites.len()
        ));
    } else if !all.closed.is_empty() {
        let closed = all.closed.join(", ");
        logging::print_error(&format!(
            "inosync: {closed} may not be read by this user, so more sites may run: ask as root"
        ));
    }
    let is_closed = (unasked > 0 || !all.closed.is_empty()).then_some(Exit::NoAnswer);
    all.sites.iter().map(|site| exit_of(&site.answer)).chain(is_closed).max_by_key(gravity).unwrap_or(Exit::NoAnswer)
}

/// The order of the exit codes: a node that fails is worse than a site of which nothing is known.
fn gravity(exit: &Exit) -> u8 {
    match exit {
        Exit::Failing => 3,
        Exit::NoAnswer => 2,
        Exit::Attention => 1,
        _ => 0,
    }
}

/// The exit code of a look at one site.
fn exit_of(answer: &SiteAnswer) -> Exit {
    answer.verdict().map_or(Exit::NoAnswer, status::exit_of)
}
