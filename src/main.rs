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

use crate::cli::{Command, Invocation};
use crate::commands::target::Target;
use crate::commands::{check, explain, once, orders, overview, status, verify};
use crate::config::{ConfigError, Configuration, permissions, sites};
use crate::exit::Exit;
use crate::logging::Log;
use crate::service::{config_warnings, program, run};

/// The work that needs the whole configuration.
enum Work {
    /// Mirror until a signal asks for a stop.
    Run,
    Check {
        offline: bool,
        node: Option<String>,
    },
    Once,
    DryRun,
    Verify,
}

fn main() -> ExitCode {
    if let Some(code) = shell::stand_in(std::env::args_os()).or_else(|| helper::stand_in(std::env::args_os())) {
        return code.into();
    }
    let invocation = match cli::parse() {
        Ok(invocation) => invocation,
        Err(exit) => return exit.into(),
    };
    // Everything runs on this thread: rsync processes end with the thread that started them.
    let system = System::new();
    let exit = system.block_on(act(invocation));
    helper::end_all();
    exit.into()
}

/// Carries out the command.
async fn act(Invocation { site, verbose, command }: Invocation) -> Exit {
    if let (None, Some(Command::Status { json, .. })) = (&site, &command) {
        return overview::overview(*json).await;
    }
    let config = match sites::file_of(site.as_deref()) {
        Ok(config) => config,
        Err(unknown) => return refused(&unknown.into()),
    };
    let daemon = || Target::of(&config);
    match command {
        None => start(&config, verbose, Work::Run).await,
        Some(Command::Check { offline, node, .. }) => start(&config, verbose, Work::Check { offline, node }).await,
        Some(Command::Once { .. }) => start(&config, verbose, Work::Once).await,
        Some(Command::DryRun { .. }) => start(&config, verbose, Work::DryRun).await,
        Some(Command::Verify { .. }) => start(&config, verbose, Work::Verify).await,
        Some(Command::Status { json, .. }) => status::status(&daemon(), json).await,
        Some(Command::Explain { path, .. }) => explain::explain(&daemon(), &path).await,
        Some(Command::Pause { node, .. }) => orders::pause(&daemon(), node, true).await,
        Some(Command::Resume { node, .. }) => orders::pause(&daemon(), node, false).await,
        Some(Command::Reload { .. }) => orders::reload(&daemon()).await,
    }
}

fn refused(error: &ConfigError) -> Exit {
    logging::print_error(&format!("inosync: {error}"));
    error.exit_code()
}

/// Carries out a command that needs the whole configuration.
async fn start(path: &Path, verbose: u8, work: Work) -> Exit {
    let configuration = match config::load(path) {
        Ok(configuration) => configuration,
        Err(error) => return refused(&error),
    };
    let log = Log::new(verbose, configuration.service.log);
    let exit = carry_out(work, path, configuration, &log).await;
    log.bars.as_ref().inspect(|bars| bars.clear());
    exit
}

async fn carry_out(work: Work, path: &Path, mut configuration: Configuration, log: &Log) -> Exit {
    let Configuration { site, service, warnings } = &mut configuration;
    if let Work::Check { .. } = work {
        config_warnings::print(warnings);
    } else {
        config_warnings::log(warnings, &log.logger);
        permissions::log(&service.files, site, &log.logger);
    }
    let version = match program::versions(site).await {
        Ok(version) => version,
        Err(why) => {
            error!(log.logger, "{why}");
            return Exit::Environment;
        }
    };
    let confined = program::confine(site).await;
    if let Work::Once | Work::DryRun | Work::Verify = work {
        program::warn_unconfined(&confined, &log.logger);
    }
    let Configuration { site, service, warnings } = configuration;
    match work {
        Work::Check { offline, node } => {
            let scope = check::CheckScope { offline, node: node.as_deref() };
            check::check(path, site, &service, (version, confined), scope).await
        }
        Work::Once => once::once(site, version, &Target::of(path), log).await,
        Work::DryRun => once::dry_run(site, version, &log.logger).await,
        Work::Verify => verify::verify(site, version, &log.logger).await,
        Work::Run => {
            program::log_confined(&confined, &log.logger);
            run::run(path, Configuration { site, service, warnings }, version, log).await
        }
    }
}
