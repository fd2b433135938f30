//! The options in one word, and the check of a single option.

use crate::path::Shown;
use crate::site::extra::table::{REFUSED, REFUSED_AT_NODE, REFUSED_VALUES, Wrong, is_one_of, long_name, takes_value};
use crate::site::extra::{DASHES, Extra, ExtraError};

/// One option found in a word.
pub(super) struct Opt<'a> {
    /// The option as written in the word: `-n`, `--dry-run`.
    pub written: String,
    /// The long name; the letter itself for a short option that is neither refused nor takes a value.
    pub name: &'a str,
    /// The value, if it is in the same word.
    pub value: Option<&'a str>,
}

impl Opt<'_> {
    /// Tells if the next word is the value.
    pub(crate) fn wants_value(&self) -> bool {
        self.value.is_none() && takes_value(self.name)
    }

    /// Checks the option by itself; `value` may come from the next word.
    pub(crate) fn check(&self, value: Option<&str>, word: &str) -> Result<(), ExtraError> {
        let refuse = |reason, cure| ExtraError::Refused {
            option: self.written.clone(),
            within: Shown::from(word),
            reason,
            cure,
        };
        if let Some((_, reason, cure)) = REFUSED.iter().find(|(names, ..)| is_one_of(self.name, names)) {
            return Err(refuse(reason, cure));
        }
        if value.is_none() && takes_value(self.name) {
            return Err(ExtraError::MissingValue(self.written.clone()));
        }
        let is_wrong = |wrong: &Wrong| value.is_some_and(|value| wrong.is(value));
        let row = REFUSED_VALUES.iter().find(|(names, wrong, ..)| is_one_of(self.name, names) && is_wrong(wrong));
        if let Some((_, _, reason, cure)) = row {
            return Err(refuse(reason, cure));
        }
        match (value, self.name) {
            (Some(value), "remote-option") => check_remote(value, word),
            _ => Ok(()),
        }
    }
}

/// Checks an option for the remote rsync. A log file of its own is allowed; everything else that is refused here would
/// break the remote side too.
fn check_remote(option: &str, word: &str) -> Result<(), ExtraError> {
    if option.starts_with("--log-file=") {
        return Ok(());
    }
    let found = options(option)?;
    let refused = found.iter().find_map(|option| {
        let row = REFUSED_AT_NODE.iter().find(|(names, ..)| is_one_of(option.name, names))?;
        Some((option.written.clone(), row.1, row.2))
    });
    if let Some((option, reason, cure)) = refused {
        return Err(ExtraError::Refused { option, within: Shown::from(word), reason, cure });
    }
    let errors = Extra::from_words(vec![option.to_owned()]).err().unwrap_or_default();
    errors.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Returns the options in a word: one long option, or a bundle of letters that ends with the first that takes a value.
/// rsync does not accept abbreviated long names.
pub(super) fn options(word: &str) -> Result<Vec<Opt<'_>>, ExtraError> {
    if word == "--" {
        return Err(ExtraError::EndOfOptions);
    }
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        if name.contains(char::is_whitespace) {
            return Err(ExtraError::Blank(Shown::from(word)));
        }
        return Ok(vec![Opt { written: format!("--{name}"), name, value }]);
    }
    if word.starts_with(DASHES) {
        return Err(ExtraError::Dash(Shown::from(word)));
    }
    let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
        return Err(ExtraError::NoOption(Shown::from(word)));
    };
    let mut found = Vec::new();
    for (at, letter) in letters.char_indices() {
        let (here, rest) = letters[at..].split_at(letter.len_utf8());
        if letter.is_whitespace() {
            return Err(ExtraError::Blank(Shown::from(word)));
        }
        if !letter.is_alphanumeric() && letter != '@' {
            return Err(ExtraError::NoLetter(Shown::from(word), letter));
        }
        let name = long_name(letter).unwrap_or(here);
        let takes_value = takes_value(name);
        let value = (takes_value && !rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
        found.push(Opt { written: format!("-{letter}"), name, value });
        if takes_value {
            break;
        }
    }
    Ok(found)
}
