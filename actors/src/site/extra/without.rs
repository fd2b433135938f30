//! The user's parameters without some of them.

use crate::site::extra::{Extra, options};

/// Options that make rsync keep a copy of each deleted or replaced file.
const BACKUP: [&str; 3] = ["backup", "backup-dir", "suffix"];

impl Extra {
    /// Returns the arguments without those for backups, so that a removal leaves no copy at the node.
    pub(crate) fn without_backups(&self) -> Extra {
        self.without(&BACKUP)
    }

    /// Returns the arguments without the remote shell.
    pub(crate) fn without_shell(&self) -> Extra {
        Extra { rsh: None, ..self.without(&["rsh"]) }
    }

    fn without(&self, names: &[&str]) -> Extra {
        let words = without(&self.words, names);
        let comparing = without(&self.comparing, names);
        Extra { words, comparing, ..self.clone() }
    }
}

/// Returns the words without these options, which have their long names here.
fn without(words: &[String], names: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let parts = options(word).unwrap_or_default();
        if !parts.iter().any(|part| names.contains(&part.name)) {
            kept.push(word.clone());
            if parts.last().is_some_and(|part| part.wants_value()) {
                kept.extend(rest.next().cloned());
            }
            continue;
        }
        for part in parts {
            let separate = if part.wants_value() { rest.next() } else { None };
            if !names.contains(&part.name) {
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
