//! `--completions SHELL`, for packages: a script that completes the command line in a shell.

use std::ffi::OsString;

use structopt::StructOpt;
use structopt::clap::AppSettings;

use super::command::{Command, Common};

/// The command line without its older forms.
#[derive(StructOpt)]
#[structopt(name = "inosync", setting = AppSettings::VersionlessSubcommands)]
struct Offered {
    #[structopt(flatten)]
    _common: Common,
    #[structopt(subcommand)]
    _command: Option<Command>,
}

/// The script, if these arguments ask for one. `--completions` is not among the options: scripts would offer it.
pub fn asked(args: impl Iterator<Item = OsString>) -> Option<Vec<u8>> {
    let args: Vec<OsString> = args.collect();
    let [option, shell] = &args[..] else { return None };
    let shell = if option == "--completions" { shell.to_str()?.parse().ok()? } else { return None };
    let mut script = Vec::new();
    Offered::clap().gen_completions_to("inosync", shell, &mut script);
    Some(with_files(&script))
}

/// Adds the completion of file names for zsh, which clap leaves out.
fn with_files(script: &[u8]) -> Vec<u8> {
    let lines = script.split_inclusive(|&byte| byte == b'\n').map(|line| match line.strip_suffix(b"]' \\\n") {
        Some(option) if [&b"'-c+"[..], b"'--config="].iter().any(|name| option.starts_with(name)) => {
            [option, b"]:FILE:_files' \\\n"].concat()
        }
        _ => line.to_owned(),
    });
    lines.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_in(shell: &str) -> Option<String> {
        asked(["--completions", shell].into_iter().map(OsString::from)).map(|script| String::from_utf8(script).unwrap())
    }

    #[test]
    fn each_shell_can_complete_the_options() {
        for (shell, option, files) in
            [("bash", "dry-run", 0), ("zsh", "\"dry-run:Print", 2), ("fish", "-a \"dry-run\"", 0)]
        {
            let script = asked_in(shell).unwrap();
            assert!(script.contains(option) && !script.contains("completions"), "{shell}\n{script}");
            assert!(!script.contains('`'), "a shell would run what is between backticks\n{script}");
            assert_eq!(script.matches("]:FILE:_files' \\\n").count(), files * (1 + Command::NAMES.len()), "{script}");
        }
    }

    #[test]
    fn whatever_else_is_asked_is_for_the_options() {
        assert_eq!(asked_in("csh"), None);
        assert_eq!(asked(["-c", "bash"].into_iter().map(OsString::from)), None);
    }
}
