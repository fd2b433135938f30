//! The remote shell by which ssh nodes are reached: ssh with options of its own behind those of the user, unless the user
//! chose another program.

use std::ffi::{OsStr, OsString};

use crate::site::Site;

/// ssh must never ask anybody, must notice a dead peer within half a minute (three intervals), and says nothing but
/// what is wrong: no banner of the server.
const OPTIONS: &str =
    "-o BatchMode=yes -o LogLevel=ERROR -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=2";
/// Options of ssh(1) without a value that hold for a connection, whoever uses it.
const FLAGS: &str = "46aCkqTx";
/// The same of those with a value.
const VALUES: &str = "BFJbcilmop";
/// Keys of ssh_config(5) by which the user sets up what the daemon would, or by which a session is not one for rsync.
const OF_USER: [&str; 7] = [
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forkafterauthentication",
    "remotecommand",
    "sessiontype",
    "stdinnull",
];

/// The remote shell of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RemoteShell {
    /// OpenSSH's ssh by this command, so that the runs to a node can share a connection.
    Ssh(String),
    /// What the user chose, as it is.
    Other(OsString),
}

impl RemoteShell {
    /// The remote shell by `extra`, or by the environment of the daemon.
    pub(super) fn of(site: &Site) -> RemoteShell {
        let variable = || std::env::var_os("RSYNC_RSH").filter(|shell| !shell.is_empty());
        let chosen = site.extra.rsh().map(OsString::from).or_else(variable);
        chosen.map_or_else(|| RemoteShell::chosen(OsStr::new("ssh")), |shell| RemoteShell::chosen(&shell))
    }

    fn chosen(shell: &OsStr) -> RemoteShell {
        match shell.to_str().filter(|shell| is_plain_ssh(shell)) {
            // The first value of an option counts.
            Some(ssh) => RemoteShell::Ssh(format!("{ssh} {OPTIONS}")),
            None => RemoteShell::Other(shell.to_owned()),
        }
    }

    /// The command of ssh; `None` of another program.
    pub(super) fn ssh(self) -> Option<String> {
        match self {
            RemoteShell::Ssh(command) => Some(command),
            RemoteShell::Other(_) => None,
        }
    }
}

/// Tells if a command is ssh with options that hold for the connection. Quotes are for rsync to read.
fn is_plain_ssh(command: &str) -> bool {
    let is_quoted = command.contains(|c: char| matches!(c, '\'' | '"' | '\\') || c.is_whitespace() && c != ' ');
    let mut words = command.split(' ').filter(|word| !word.is_empty());
    if is_quoted || words.next().is_none_or(|program| program.rsplit('/').next() != Some("ssh")) {
        return false;
    }
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-') else { return false };
        let rest = letters.trim_start_matches(|letter| FLAGS.contains(letter));
        let mut rest = rest.chars();
        match rest.next() {
            // Flags alone, of which there must be one.
            None if letters.is_empty() => return false,
            None => (),
            Some(letter) if VALUES.contains(letter) => {
                let attached = Some(rest.as_str()).filter(|value| !value.is_empty());
                let Some(value) = attached.or_else(|| words.next()) else { return false };
                let (key, value) = match letter {
                    'o' => value.split_once('=').unwrap_or((value, "")),
                    'F' | 'i' => ("file", value),
                    _ => ("", value),
                };
                if OF_USER.iter().any(|of_user| key.eq_ignore_ascii_case(of_user)) || is_relative_file(key, value) {
                    return false;
                }
            }
            Some(_) => return false,
        }
    }
    true
}

/// Tells if the value of a key names a file from the working directory: that is the source for a run, and another one for the
/// connection that runs share.
fn is_relative_file(key: &str, value: &str) -> bool {
    key.to_ascii_lowercase().ends_with("file") && value != "none" && !value.starts_with(['/', '~', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssh_with_options_of_the_connection_gets_those_of_the_daemon_behind_them() {
        for shell in [
            "ssh",
            "/usr/bin/ssh",
            "ssh -p 2222 -i /etc/key -l mirror",
            "ssh  -p2222 -4C -x",
            "ssh -F /etc/inosync/ssh_config -J bastion",
            "ssh -F none -i ~/.ssh/key -o UserKnownHostsFile=/dev/null",
            "ssh -o StrictHostKeyChecking=yes -oPort=22 -Tq -o ConnectTimeout=60",
        ] {
            let command = RemoteShell::chosen(OsStr::new(shell)).ssh().unwrap();
            assert!(command.starts_with(&format!("{shell} -o BatchMode=yes ")), "{command}");
        }
    }

    #[test]
    fn another_program_and_an_ssh_that_the_user_set_up_for_more_are_left_as_they_are() {
        for shell in [
            "rsh",
            "sshpass -f /etc/password ssh",
            "ssh -i '/etc/my key'",
            "ssh -i \"/etc/key\"",
            "ssh\t-p 22",
            "ssh -p",
            "ssh -",
            "ssh -v",
            "ssh -N",
            "ssh -S /run/socket",
            "ssh -M",
            "ssh -4S /run/socket",
            "ssh bastion ssh",
            "ssh -p 22 bastion",
            "ssh -o ControlPath=/run/socket",
            "ssh -ocontrolmaster=auto",
            "ssh -o RemoteCommand=none",
            "ssh -i keys/id",
            "ssh -4Fssh_config",
            "ssh -o IdentityFile=id",
            " ",
        ] {
            assert_eq!(RemoteShell::chosen(OsStr::new(shell)), RemoteShell::Other(shell.into()), "{shell}");
        }
    }
}
