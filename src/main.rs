//! inosync mirrors a directory tree to its nodes, change by change. Start-up order: options, configuration, log, rsync,
//! then one of the commands. The daemon itself is the library `inosync_actors`.

mod cli;
mod commands;
mod config;
mod exit;
mod logging;
mod service;

use std::path::Path;
use std::process::ExitCode;

use actix::System;
use inosync_actors::root::reach::helper;
use inosync_actors::rsync::runner::shell;
use slog::error;

use crate::cli::{Command, DaemonQuestion, Options};
use crate::commands::{check, explain, once, status, verify};
use crate::config::{ConfigError, Configuration, permissions};
use crate::exit::Exit;
use crate::logging::Log;
use crate::service::{config_warnings, program, run};

fn main() -> ExitCode {
    if let Some(code) = shell::stand_in(std::env::args_os()).or_else(|| helper::stand_in(std::env::args_os())) {
        return code.into();
    }
    let options = match cli::parse() {
        Ok(options) => options,
        Err(exit) => return exit.into(),
    };
    // Everything runs on this thread: rsync processes end with the thread that started them.
    let system = System::new();
    let exit = match options.command() {
        Command::Ask(question) => system.block_on(ask(options.config(), question)),
        command => system.block_on(start(&options, command)),
    };
    helper::end_all();
    exit.into()
}

/// Puts a question to the running daemon.
async fn ask(path: &Path, question: DaemonQuestion<'_>) -> Exit {
    let outline = match config::outline(path) {
        Ok(outline) => outline,
        Err(error) => return refused(&error),
    };
    match question {
        DaemonQuestion::Status { json } => status::status(path, &outline, json).await,
        DaemonQuestion::Explain(asked) => explain::explain(path, &outline, asked).await,
        DaemonQuestion::Pause { node, paused } => status::pause(path, &outline, node, paused).await,
    }
}

fn refused(error: &ConfigError) -> Exit {
    logging::print_error(&format!("inosync: {error}"));
    error.exit_code()
}

/// Carries out a command that needs the whole configuration.
async fn start(options: &Options, command: Command<'_>) -> Exit {
    let configuration = match config::load(options.config()) {
        Ok(configuration) => configuration,
        Err(error) => return refused(&error),
    };
    let log = Log::new(options.verbose, configuration.service.log);
    let exit = carry_out(command, options.config(), configuration, &log).await;
    log.bars.as_ref().inspect(|bars| bars.clear());
    exit
}

async fn carry_out(command: Command<'_>, path: &Path, mut configuration: Configuration, log: &Log) -> Exit {
    let Configuration { site, warnings, .. } = &mut configuration;
    if let Command::Check { .. } = command {
        config_warnings::print(warnings);
    } else {
        config_warnings::log(warnings, &log.logger);
        permissions::log(path, site, &log.logger);
    }
    let version = match program::version(&site.rsync).await {
        Ok(version) => version,
        Err(why) => {
            error!(log.logger, "{why}");
            return Exit::Environment;
        }
    };
    let confined = program::confine(site).await;
    if let Command::Once | Command::DryRun | Command::Verify = command {
        program::warn_unconfined(&confined, &log.logger);
    }
    let Configuration { site, service, warnings } = configuration;
    match command {
        Command::Check { offline, node } => {
            let scope = check::CheckScope { offline, node };
            check::check(path, site, &service, (version, confined), scope).await
        }
        Command::Once => once::once(site, version, (path, &service.sockets), log).await,
        Command::DryRun => once::dry_run(site, version, &log.logger).await,
        Command::Verify => verify::verify(site, version, &log.logger).await,
        Command::Run | Command::Ask(_) => {
            program::log_confined(&confined, &log.logger);
            run::run(path, Configuration { site, service, warnings }, version, log).await
        }
    }
}
