//! inosync mirrors a directory tree to its nodes, change by change. Start-up order: options, configuration, log, rsync,
//! then one of the commands. The daemon itself is the library `inosync_actors`.

mod advice;
mod bars;
mod check;
mod cli;
mod config;
mod control;
mod exit;
mod explain;
mod exposed;
mod listen;
mod logging;
#[cfg(test)]
mod manual;
mod notify;
mod once;
mod program;
mod run;
mod status;
mod terminal;
mod verify;

use std::process::ExitCode;

use actix::System;
use inosync_actors::rsync::runner::shell;
use slog::error;

use crate::cli::Options;
use crate::config::{ConfigError, Configuration};
use crate::exit::Exit;
use crate::logging::Log;

fn main() -> ExitCode {
    if let Some(code) = shell::stand_in(std::env::args_os()) {
        return code.into();
    }
    let options = match cli::parse() {
        Ok(options) => options,
        Err(exit) => return exit.into(),
    };
    // Everything runs on this thread: rsync processes end with the thread that started them.
    let exit = if options.asks_daemon() {
        System::new().block_on(ask(&options))
    } else {
        System::new().block_on(start(&options))
    };
    exit.into()
}

/// What is asked of a daemon that runs already.
async fn ask(options: &Options) -> Exit {
    let path = options.config();
    let outline = match config::outline(path) {
        Ok(outline) => outline,
        Err(error) => return refused(&error),
    };
    match (&options.explain, &options.pause, &options.resume) {
        (Some(asked), ..) => explain::explain(path, &outline, asked).await,
        (_, Some(node), _) => status::pause(path, &outline, node, true).await,
        (_, _, Some(node)) => status::pause(path, &outline, node, false).await,
        _ => status::status(path, &outline, options.json).await,
    }
}

fn refused(error: &ConfigError) -> Exit {
    logging::say(&format!("inosync: {error}"));
    error.exit_code()
}

async fn start(options: &Options) -> Exit {
    let configuration = match config::load(options.config()) {
        Ok(configuration) => configuration,
        Err(error) => return refused(&error),
    };
    let log = Log::new(options.verbose, configuration.service.log);
    let exit = carry_out(options, configuration, &log).await;
    log.bars.as_ref().inspect(|bars| bars.clear());
    exit
}

async fn carry_out(options: &Options, configuration: Configuration, log: &Log) -> Exit {
    if options.check {
        advice::print(&configuration.warnings, &configuration.site);
    } else {
        advice::log(&configuration.warnings, &log.logger);
        exposed::log(options.config(), &configuration.site, &log.logger);
    }
    let version = match program::version(&configuration.site.rsync).await {
        Ok(version) => version,
        Err(why) => {
            error!(log.logger, "{why}");
            return Exit::Environment;
        }
    };
    let Configuration { mut site, service, warnings } = configuration;
    let confined = program::confine(&mut site).await;
    if options.check {
        let scope = check::Scope { offline: options.offline, node: options.node.as_deref() };
        return check::check(options.config(), site, &service, (version, confined), scope).await;
    }
    if !(options.dry_run || options.verify || options.once) {
        program::log_confined(&confined, &log.logger);
        return run::run(options.config(), Configuration { site, service, warnings }, version, log).await;
    }
    program::warn_unconfined(&confined, &log.logger);
    if options.dry_run {
        once::dry_run(site, version, &log.logger).await
    } else if options.verify {
        verify::verify(site, version, &log.logger).await
    } else {
        once::once(site, version, (options.config(), &service.sockets), log).await
    }
}
