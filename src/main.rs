//! inosync mirrors a directory tree to its nodes, change by change. Start-up order: options, configuration, log, rsync,
//! then one of the commands. The daemon itself is the library `inosync_actors`.

mod check;
mod cli;
mod config;
mod exit;
mod logging;
#[cfg(test)]
mod manual;
mod notify;
mod once;
mod program;
mod run;
mod terminal;

use std::process::ExitCode;

use actix::System;
use slog::error;

use crate::cli::Options;
use crate::config::Configuration;
use crate::exit::Exit;
use crate::logging::Log;

fn main() -> ExitCode {
    let options = match cli::parse() {
        Ok(options) => options,
        Err(exit) => return exit.into(),
    };
    let configuration = match config::load(options.config()) {
        Ok(configuration) => configuration,
        Err(error) => {
            logging::say(&format!("inosync: {error}"));
            return error.exit_code().into();
        }
    };
    // Everything runs on this thread: rsync processes end with the thread that started them.
    System::new().block_on(start(options, configuration)).into()
}

async fn start(options: Options, Configuration { site, service }: Configuration) -> Exit {
    let log = Log::new(options.verbose, service.log);
    let version = match program::version(&site.rsync).await {
        Ok(version) => version,
        Err(why) => {
            error!(log.logger, "{why}");
            return Exit::Environment;
        }
    };
    if options.check {
        check::check(&site, version).await
    } else if options.dry_run {
        once::dry_run(site, version, &log.logger).await
    } else if options.once {
        once::once(site, version, &log.logger).await
    } else {
        run::run(options.config(), site, version, &log).await
    }
}
