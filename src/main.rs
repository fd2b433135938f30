//! Compiles the parts: replaced by the real start-up.

mod cli;
mod config;
mod exit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match cli::parse() {
        Ok(options) => options,
        Err(exit) => return exit.into(),
    };
    match config::load(options.config()) {
        Ok(loaded) => {
            println!("{:#?}\n{:?}", loaded.site, loaded.warnings);
            exit::Exit::Done.into()
        }
        Err(error) => {
            eprintln!("{error}");
            error.exit_code().into()
        }
    }
}
