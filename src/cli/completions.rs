//! `--completions SHELL`, for packages: a script that completes the command line in a shell, with the names of sites and nodes.

use std::ffi::OsString;
use std::path::PathBuf;

use structopt::StructOpt;
use structopt::clap::{AppSettings, Shell};

use super::command::{Command, SharedOptions};

/// The command line without its older forms.
#[derive(StructOpt)]
#[structopt(name = "inosync", setting = AppSettings::VersionlessSubcommands)]
struct Offered {
    #[structopt(flatten)]
    _common: SharedOptions,
    #[structopt(subcommand)]
    _command: Option<Command>,
}

/// Names that a script offers: it runs `inosync --names sites` or `inosync --names nodes [-c SITE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesAsked {
    /// The sites of this machine.
    Sites,
    /// The nodes of this site, or of the default one.
    Nodes(Option<PathBuf>),
}

/// The names that these arguments ask for, if they do. `--names` is not among the options: scripts would offer it.
pub fn names_asked(args: impl Iterator<Item = OsString>) -> Option<NamesAsked> {
    let args: Vec<OsString> = args.collect();
    match &args[..] {
        [option, what] if option == "--names" && what == "sites" => Some(NamesAsked::Sites),
        [option, what, site @ ..] if option == "--names" && what == "nodes" => match site {
            [] => Some(NamesAsked::Nodes(None)),
            [option, site] if option == "-c" => Some(NamesAsked::Nodes(Some(site.into()))),
            _ => None,
        },
        _ => None,
    }
}

/// The script, if these arguments ask for one. `--completions` is not among the options: scripts would offer it.
pub fn asked(args: impl Iterator<Item = OsString>) -> Option<Vec<u8>> {
    let args: Vec<OsString> = args.collect();
    let [option, shell] = &args[..] else { return None };
    let shell: Shell = if option == "--completions" { shell.to_str()?.parse().ok()? } else { return None };
    let mut script = Vec::new();
    Offered::clap().gen_completions_to("inosync", shell, &mut script);
    let script = String::from_utf8(script).ok()?;
    let script = match shell {
        Shell::Bash => with_names_in_bash(&script),
        Shell::Zsh => with_names_in_zsh(&script),
        Shell::Fish => script + FISH,
        _ => script,
    };
    Some(script.into_bytes())
}

/// Functions that print the names of sites and of nodes, the latter of the site that the line names.
const BASH: &str = r#"_inosync_sites() {
    inosync --names sites 2>/dev/null
}
_inosync_nodes() {
    local i site=()
    for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
        case "${COMP_WORDS[i]}" in
            -c|--config) site=(-c "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    inosync --names nodes "${site[@]}" 2>/dev/null
}
"#;

const ZSH: &str = r#"_inosync_sites() {
    local -a sites
    sites=(${(f)"$(inosync --names sites 2>/dev/null)"})
    compadd -a sites
    _files
}
_inosync_nodes() {
    local -a nodes site
    local i
    for ((i = 1; i < ${#words}; i++)); do
        [[ ${words[i]} == (-c|--config) ]] && site=(-c ${words[i + 1]})
    done
    nodes=(${(f)"$(inosync --names nodes $site 2>/dev/null)"})
    compadd -a nodes
}
"#;

const FISH: &str = r#"function __inosync_nodes
    set -l words (commandline -opc)
    set -l at (contains -i -- -c $words; or contains -i -- --config $words)
    and inosync --names nodes -c $words[(math $at + 1)] 2>/dev/null
    or inosync --names nodes 2>/dev/null
end
complete -c inosync -s c -l config -r -a "(inosync --names sites 2>/dev/null)"
complete -c inosync -n "__fish_seen_subcommand_from check" -l node -x -a "(__inosync_nodes)"
complete -c inosync -n "__fish_seen_subcommand_from pause resume retry wait allow-deletes" -f -a "(__inosync_nodes)"
"#;

fn with_names_in_bash(script: &str) -> String {
    let mut option = "";
    let lines = script.lines().map(|line| {
        let word = line.trim();
        if let Some(name) = word.strip_suffix(')').filter(|name| name.starts_with('-')) {
            option = name;
        }
        match (word.starts_with("COMPREPLY=($(compgen -f"), option) {
            (true, "-c" | "--config") => line.replace("compgen -f", "compgen -W \"$(_inosync_sites)\" -f --"),
            (true, "--node") => line.replace("compgen -f", "compgen -W \"$(_inosync_nodes)\" --"),
            _ => line.replace("<NODE>", "$(_inosync_nodes)"),
        }
    });
    BASH.to_owned() + &lines.map(|line| line + "\n").collect::<String>()
}

/// clap leaves out the completion of the value of an option.
fn with_names_in_zsh(script: &str) -> String {
    let lines = script.lines().map(|line| {
        let is_of = |names: [&str; 2]| names.iter().any(|name| line.starts_with(name));
        match line.strip_suffix("]' \\") {
            Some(option) if is_of(["'-c+[", "'--config=["]) => format!("{option}]:SITE:_inosync_sites' \\"),
            Some(option) if line.starts_with("'--node=[") => format!("{option}]:NODE:_inosync_nodes' \\"),
            _ if is_of(["':node ", "'::node "]) => line.replace(":_files'", ":_inosync_nodes'"),
            _ => line.to_owned(),
        }
    });
    // The first line says what the script is for.
    let (head, rest) = lines
        .map(|line| line + "\n")
        .collect::<String>()
        .split_once('\n')
        .map_or_else(|| (String::new(), String::new()), |(head, rest)| (head.to_owned(), rest.to_owned()));
    format!("{head}\n{ZSH}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_in(shell: &str) -> Option<String> {
        asked(["--completions", shell].into_iter().map(OsString::from)).map(|script| String::from_utf8(script).unwrap())
    }

    #[test]
    fn each_shell_can_complete_commands_sites_and_nodes() {
        let of_commands = Command::NAMES.len();
        for (shell, command, sites, nodes) in [
            ("bash", "dry-run", "compgen -W \"$(_inosync_sites)\" -f --", "$(_inosync_nodes)"),
            ("zsh", "\"dry-run:Print", "]:SITE:_inosync_sites' \\\n", ":_inosync_nodes' \\\n"),
            ("fish", "-a \"dry-run\"", "(inosync --names sites 2>/dev/null)", "(__inosync_nodes)"),
        ] {
            let script = asked_in(shell).unwrap();
            assert!(script.contains(command) && !script.contains("completions"), "{shell}\n{script}");
            assert!(!script.contains('`'), "a shell would run what is between backticks\n{script}");
            let least = if shell == "fish" { 1 } else { 2 * (1 + of_commands) };
            assert_eq!(script.matches(sites).count(), least, "{shell}\n{script}");
            let least = if shell == "fish" { 2 } else { 6 };
            assert_eq!(script.matches(nodes).count(), least, "{shell}\n{script}");
            assert!(!script.contains("<NODE>"), "{shell}");
        }
    }

    #[test]
    fn the_scripts_are_sound_for_their_shells() {
        for shell in ["bash", "zsh", "fish"] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, asked_in(shell).unwrap().as_bytes()).unwrap();
            match std::process::Command::new(shell).arg("-n").arg(file.path()).output() {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
                Err(_) => println!("not tested: {shell} is not there"),
            }
        }
    }

    #[test]
    fn names_are_asked_for_by_the_scripts_alone() {
        let names = |line: &str| names_asked(line.split(' ').map(OsString::from));
        assert_eq!(names("--names sites"), Some(NamesAsked::Sites));
        assert_eq!(names("--names nodes"), Some(NamesAsked::Nodes(None)));
        assert_eq!(names("--names nodes -c www"), Some(NamesAsked::Nodes(Some("www".into()))));
        assert_eq!((names("--names"), names("status"), names("--names nodes www")), (None, None, None));
    }

    #[test]
    fn whatever_else_is_asked_is_for_the_options() {
        assert_eq!(asked_in("csh"), None);
        assert_eq!(asked(["-c", "bash"].into_iter().map(OsString::from)), None);
    }
}
