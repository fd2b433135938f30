//! inosync mirrors a directory tree to its nodes, change by change. Start-up order: options, configuration, log, rsync,
//! then one of the commands. The daemon itself is the library `inosync_actors`.

mod bars;
mod check;
mod cli;
mod config;
mod exit;
mod logging;
mod once;
mod program;
mod run;
mod terminal;

use std::process::ExitCode;

use actix::System;
use inosync_actors::site::Site;
use slog::error;

use crate::bars::Bars;
use crate::cli::Options;
use crate::exit::Exit;

fn main() -> ExitCode {
    let options = match cli::parse() {
        Ok(options) => options,
        Err(exit) => return exit.into(),
    };
    let site = match config::load(options.config()) {
        Ok(site) => site,
        Err(error) => {
            logging::say(&format!("inosync: {error}"));
            return error.exit_code().into();
        }
    };
    // Everything runs on this thread: rsync processes end with the thread that started them.
    let bars = Bars::at_terminal();
    let exit = System::new().block_on(start(options, site, bars.as_ref()));
    bars.inspect(Bars::clear);
    exit.into()
}

async fn start(options: Options, site: Site, bars: Option<&Bars>) -> Exit {
    let log = logging::logger(options.verbose, bars);
    let version = match program::version(&site.rsync).await {
        Ok(version) => version,
        Err(why) => {
            error!(log, "{why}");
            return Exit::Environment;
        }
    };
    if options.check {
        check::check(&site, version).await
    } else if options.dry_run {
        once::dry_run(site, version, &log).await
    } else if options.once {
        once::once(site, version, bars, &log).await
    } else {
        run::run(options.config(), site, version, bars, &log).await
    }
}
