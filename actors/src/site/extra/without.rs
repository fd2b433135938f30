//! Parts of the user's parameters: without some of them, and those about the connection alone.

use crate::site::extra::{Extra, options};

/// Options that make rsync keep a copy of each deleted or replaced file.
const BACKUP: [&str; 3] = ["backup", "backup-dir", "suffix"];

/// Options that say how a node is reached.
const CONNECTION: [&str; 18] = [
    "rsh",
    "rsync-path",
    "remote-option",
    "address",
    "port",
    "sockopts",
    "password-file",
    "contimeout",
    "timeout",
    "ipv4",
    "ipv6",
    "4",
    "6",
    "protect-args",
    "secluded-args",
    "s",
    "old-args",
    "blocking-io",
];

impl Extra {
    /// Returns the arguments without those for backups, so that a removal leaves no copy at the node.
    pub(crate) fn without_backups(&self) -> Extra {
        self.only(|name| !BACKUP.contains(&name))
    }

    /// Returns the arguments without the remote shell.
    pub(crate) fn without_shell(&self) -> Extra {
        Extra { rsh: None, ..self.only(|name| name != "rsh") }
    }

    /// Returns the arguments that say how a node is reached.
    pub(crate) fn of_connection(&self) -> Extra {
        self.only(|name| CONNECTION.contains(&name))
    }

    /// Returns the arguments whose options are `wanted`, by their long names.
    fn only(&self, wanted: impl Fn(&str) -> bool) -> Extra {
        let words = only(&self.words, &wanted);
        let comparing = only(&self.comparing, &wanted);
        Extra { words, comparing, ..self.clone() }
    }
}

/// Returns the words whose options are `wanted`, by their long names.
fn only(words: &[String], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let parts = options(word).unwrap_or_default();
        if parts.iter().all(|part| wanted(part.name)) {
            kept.push(word.clone());
            if parts.last().is_some_and(|part| part.wants_value()) {
                kept.extend(rest.next().cloned());
            }
            continue;
        }
        for part in parts {
            let separate = if part.wants_value() { rest.next() } else { None };
            if wanted(part.name) {
                kept.push(format!("{}{}", part.written, part.value.unwrap_or_default()));
                kept.extend(separate.cloned());
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_backups_stays() {
        for (line, expected) in [
            ("-a --compress", "-a --compress"),
            ("-ab --backup-dir=/old -z", "-a -z"),
            ("--backup --backup-dir /old --suffix .1 --chmod D755", "--chmod D755"),
            ("-abT/tmp --backup-dir=/old", "-a -T/tmp"),
            ("-abT /tmp --backup-dir=/old -e ssh", "-a -T /tmp -e ssh"),
        ] {
            assert_eq!(Extra::parse(line).unwrap().without_backups().words().join(" "), expected, "{line}");
        }
    }

    #[test]
    fn only_what_says_how_a_node_is_reached_stays() {
        for (line, expected) in [
            ("-a --compress --partial-dir=.p", ""),
            ("-aAX -e 'ssh -p 1' --delay-updates", "-e ssh -p 1"),
            ("-a4 --rsync-path='sudo rsync' -M --fake-super", "-4 --rsync-path=sudo rsync -M --fake-super"),
            ("--password-file /etc/p --chmod D755 --port 5", "--password-file /etc/p --port 5"),
        ] {
            assert_eq!(Extra::parse(line).unwrap().of_connection().words().join(" "), expected, "{line}");
        }
    }

    #[test]
    fn all_but_the_remote_shell_stays() {
        for (line, expected) in [
            ("-a --rsh='ssh -p 1' -z", "-a -z"),
            ("-aze 'ssh -p 1' --chmod D755", "-a -z --chmod D755"),
            ("-a -e ssh --rsh ssh --link-dest=/x", "-a --link-dest=/x"),
        ] {
            let found = Extra::parse(line).unwrap().without_shell();
            assert_eq!((found.words().join(" "), found.rsh()), (expected.to_owned(), None), "{line}");
            assert!(!found.comparing().iter().any(|word| word.contains("ssh") || word == "-e"), "{line}");
        }
    }
}
