//! The user's parameters without the options for backups.

use crate::site::extra::{Extra, options};

/// Options that make rsync keep a copy of each deleted or replaced file.
const BACKUP: [&str; 3] = ["backup", "backup-dir", "suffix"];

impl Extra {
    /// Returns the arguments without those for backups, so that a removal leaves no copy at the node.
    pub(crate) fn without_backups(&self) -> Extra {
        let mut kept = Vec::new();
        let mut rest = self.words.iter();
        while let Some(word) = rest.next() {
            let parts = options(word).unwrap_or_default();
            if !parts.iter().any(|part| BACKUP.contains(&part.name)) {
                kept.push(word.clone());
                if parts.last().is_some_and(|part| part.wants_value()) {
                    kept.extend(rest.next().cloned());
                }
                continue;
            }
            for part in parts {
                let separate = if part.wants_value() { rest.next() } else { None };
                if !BACKUP.contains(&part.name) {
                    kept.push(format!("{}{}", part.written, part.value.unwrap_or_default()));
                    kept.extend(separate.cloned());
                }
            }
        }
        Extra { words: kept, ..self.clone() }
    }
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
}
