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

use crate::cli::{Command, ParsedLine};
use crate::commands::overview::WantedPlace;
use crate::commands::target::DaemonTarget;
use crate::commands::{all_sites, check, explain, names, once, orders, overview, status, verify, wait};
use crate::config::{ConfigError, Configuration, permissions, sites};
use crate::exit::Exit;
use crate::logging::Log;
use crate::service::{allocator, config_warnings, program, run};

/// The work that needs the whole configuration.
enum SiteWork {
    /// Mirror until a signal asks for a stop.
    Run,
    Check {
        offline: bool,
        node: Option<String>,
        json: bool,
    },
    Once,
    DryRun {
        json: bool,
    },
    Verify {
        json: bool,
    },
}

fn main() -> ExitCode {
    if let Some(code) = shell::stand_in(std::env::args_os()).or_else(|| helper::stand_in(std::env::args_os())) {
        return code.into();
    }
    if let Some(names) = cli::names_asked(std::env::args_os().skip(1)) {
        return System::new().block_on(names::print(names)).into();
    }
    let invocation = match cli::parse() {
        Ok(invocation) => invocation,
        Err(exit) => return exit.into(),
    };
    allocator::limit_pools();
    // Everything runs on this thread: rsync processes end with the thread that started them.
    let system = System::new();
    let exit = system.block_on(act(invocation));
    helper::end_all();
    exit.into()
}

/// Carries out the command.
async fn act(ParsedLine { site, verbose, command }: ParsedLine) -> Exit {
    if let (None, Some(Command::Status { json, .. })) = (&site, &command) {
        return all_sites::status_of_all(*json).await;
    }
    let config = match sites::file_of(site.as_deref()) {
        Ok(config) => config,
        Err(unknown) => return refused(&unknown.into()),
    };
    let daemon = || DaemonTarget::of(&config);
    match command {
        None => start(&config, verbose, SiteWork::Run).await,
        Some(Command::Check { offline, node, json, .. }) => {
            start(&config, verbose, SiteWork::Check { offline, node, json }).await
        }
        Some(Command::Once { .. }) => start(&config, verbose, SiteWork::Once).await,
        Some(Command::DryRun { json, .. }) => start(&config, verbose, SiteWork::DryRun { json }).await,
        Some(Command::Verify { json, .. }) => start(&config, verbose, SiteWork::Verify { json }).await,
        Some(Command::Status { json, .. }) => status::status(&daemon(), json).await,
        Some(Command::Overview { listen, socket, .. }) => {
            overview::overview(&WantedPlace { address: listen, path: socket }, verbose).await
        }
        Some(Command::Explain { path, json, .. }) => explain::explain(&daemon(), &path, json).await,
        Some(Command::Pause { node, .. }) => orders::pause(&daemon(), node, true).await,
        Some(Command::Resume { node, .. }) => orders::pause(&daemon(), node, false).await,
        Some(Command::Retry { node, .. }) => orders::retry(&daemon(), node).await,
        Some(Command::AllowDeletes { node, .. }) => orders::allow_deletions(&daemon(), node).await,
        Some(Command::Reload { .. }) => orders::reload(&daemon()).await,
        Some(Command::Wait { node, timeout, json, .. }) => wait::wait(&daemon(), node, timeout, json).await,
    }
}

fn refused(error: &ConfigError) -> Exit {
    logging::print_error(&format!("inosync: {error}"));
    error.exit_code()
}

/// Carries out a command that needs the whole configuration.
async fn start(path: &Path, verbose: u8, work: SiteWork) -> Exit {
    let configuration = match config::load(path) {
        Ok(configuration) => configuration,
        Err(error) => return refused(&error),
    };
    let log = Log::new(verbose, configuration.service.log);
    let exit = carry_out(work, path, configuration, &log).await;
    log.bars.as_ref().inspect(|bars| bars.clear());
    exit
}

async fn carry_out(work: SiteWork, path: &Path, mut configuration: Configuration, log: &Log) -> Exit {
    let Configuration { site, service, warnings } = &mut configuration;
    if !matches!(work, SiteWork::Check { .. }) {
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
    if let SiteWork::Once | SiteWork::DryRun { .. } | SiteWork::Verify { .. } = work {
        program::warn_unconfined(&confined, &log.logger);
    }
    let Configuration { site, service, warnings } = configuration;
    match work {
        SiteWork::Check { offline, node, json } => {
            let scope = check::CheckScope { offline, node: node.as_deref(), json, warnings: &warnings };
            check::check(path, site, &service, (version, confined), scope).await
        }
        SiteWork::Once => once::once(site, version, &DaemonTarget::of(path), log).await,
        SiteWork::DryRun { json } => once::dry_run(site, version, json, &log.logger).await,
        SiteWork::Verify { json } => verify::verify(site, version, json, &log.logger).await,
        SiteWork::Run => {
            program::log_confined(&confined, &log.logger);
            run::run(path, Configuration { site, service, warnings }, version, log).await
        }
    }
}
