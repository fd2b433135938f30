//! Traits: properties of files that a node cannot store.

use std::collections::BTreeSet;
use std::fmt;

/// Tolerances, in whole seconds, with which times can be compared at a node.
pub(crate) const WINDOWS: [u8; 3] = [0, 1, 2];

/// One kind of property that a node cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// Times come back rounded: times that are at most this many whole seconds apart count as equal.
    CoarseTimes(u8),
    /// Files dated in this year come back with another time.
    NotDated(i64),
    /// Directories come back with other times.
    NoDirectoryTimes,
    /// Symlinks come back with other times.
    NoLinkTimes,
    /// Files come back with other permissions, and without an error.
    NoPermissions,
    /// Names that differ only in upper and lower case stand for one file.
    OneCase,
}

impl Trait {
    /// Returns the word that stands for the trait in the saved state.
    fn word(self) -> String {
        match self {
            Trait::CoarseTimes(window) => format!("times-within:{window}"),
            Trait::NotDated(year) => format!("not-dated:{year}"),
            Trait::NoDirectoryTimes => "no-directory-times".to_owned(),
            Trait::NoLinkTimes => "no-link-times".to_owned(),
            Trait::NoPermissions => "no-permissions".to_owned(),
            Trait::OneCase => "one-case".to_owned(),
        }
    }

    /// Parses a word that [`Trait::word`] returned; `None` for any other text.
    fn read(word: &str) -> Option<Trait> {
        Some(match word.split_once(':') {
            Some(("times-within", window)) => {
                Trait::CoarseTimes(window.parse().ok().filter(|window| WINDOWS.contains(window))?)
            }
            Some(("not-dated", year)) => Trait::NotDated(year.parse().ok()?),
            Some(_) => return None,
            None => match word {
                "no-directory-times" => Trait::NoDirectoryTimes,
                "no-link-times" => Trait::NoLinkTimes,
                "no-permissions" => Trait::NoPermissions,
                "one-case" => Trait::OneCase,
                _ => return None,
            },
        })
    }

    /// Returns the rsync option that leaves the property out of a comparison. The option for file times is set
    /// elsewhere, since the user may have set one.
    fn option(self) -> Option<&'static str> {
        match self {
            Trait::CoarseTimes(_) | Trait::NotDated(_) | Trait::OneCase => None,
            Trait::NoDirectoryTimes => Some("--omit-dir-times"),
            Trait::NoLinkTimes => Some("--omit-link-times"),
            Trait::NoPermissions => Some("--no-perms"),
        }
    }
}

/// Completes a sentence about the node.
impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trait::CoarseTimes(0) => f.write_str("times are coarse: they are compared by whole seconds"),
            Trait::CoarseTimes(window) => write!(f, "times are coarse: they are compared to within {window} s"),
            Trait::NotDated(year) => {
                write!(f, "files dated {year} get another time: each comparison of everything sends them again")
            }
            Trait::NoDirectoryTimes => f.write_str("times of directories are not kept, and not compared"),
            Trait::NoLinkTimes => f.write_str("times of symlinks are not kept, and not compared"),
            Trait::NoPermissions => f.write_str("permissions are not kept, and not compared"),
            Trait::OneCase => f.write_str("names that differ in upper and lower case alone are one"),
        }
    }
}

/// The known traits of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits(BTreeSet<Trait>);

impl Traits {
    /// Iterates over the traits in order.
    pub fn iter(&self) -> impl Iterator<Item = Trait> {
        self.0.iter().copied()
    }

    /// Tells if no trait is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells if the node has this trait.
    pub fn has(&self, one: Trait) -> bool {
        self.0.contains(&one)
    }

    /// Adds or removes a trait. Returns true if the set changed.
    pub(crate) fn set(&mut self, one: Trait, has: bool) -> bool {
        if has { self.0.insert(one) } else { self.0.remove(&one) }
    }

    /// Returns the known traits after a sample file has shown the traits `found`. A sample can miss traits, so known
    /// ones stay; an empty `found` proves that the node stores all properties but the case of names, which another test
    /// checks.
    pub(crate) fn followed_by(&self, found: &Traits) -> Traits {
        let is_kept = |one: &Trait| match one {
            Trait::OneCase => true,
            // One trait of each of these kinds is enough.
            Trait::NotDated(_) => !found.is_empty() && !found.iter().any(|other| matches!(other, Trait::NotDated(_))),
            Trait::CoarseTimes(window) => !found.is_empty() && found.window().is_none_or(|other| other < *window),
            _ => !found.is_empty(),
        };
        let mut traits: Traits = self.iter().filter(is_kept).collect();
        let window = traits.window();
        let is_new = |one: &Trait| !matches!(one, Trait::CoarseTimes(_)) || window.is_none();
        traits.0.extend(found.iter().filter(is_new));
        traits
    }

    /// Returns the tolerance for times in whole seconds, if times are coarse.
    pub(crate) fn window(&self) -> Option<u8> {
        self.iter().find_map(|one| if let Trait::CoarseTimes(window) = one { Some(window) } else { None })
    }

    /// Returns the rsync options that leave the properties out of a comparison.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static str> {
        self.iter().filter_map(Trait::option)
    }

    /// Returns the words that stand for the traits in the saved state.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.iter().map(Trait::word)
    }

    /// Parses the words that [`Traits::words`] returned. Unknown words, such as those of another version, are skipped.
    pub(crate) fn read<'w>(words: impl Iterator<Item = &'w str>) -> Traits {
        Traits(words.filter_map(Trait::read).collect())
    }
}

impl FromIterator<Trait> for Traits {
    fn from_iter<I: IntoIterator<Item = Trait>>(traits: I) -> Self {
        Traits(traits.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Trait; 6] = [
        Trait::CoarseTimes(1),
        Trait::NotDated(2100),
        Trait::NoDirectoryTimes,
        Trait::NoLinkTimes,
        Trait::NoPermissions,
        Trait::OneCase,
    ];

    #[test]
    fn what_was_written_down_is_read_again_and_other_words_are_passed_over() {
        let traits: Traits = ALL.into_iter().collect();
        let words: Vec<String> = traits.words().collect();
        assert_eq!(Traits::read(words.iter().map(String::as_str)), traits);
        for word in ["", "times-within:9", "times-within:", "not-dated:soon", "one-case:1", "of-tomorrow"] {
            assert!(Traits::read([word].into_iter()).is_empty(), "{word}");
        }
    }

    #[test]
    fn a_sample_shows_a_part_and_one_that_came_back_whole_that_all_is_kept() {
        use Trait::{CoarseTimes, NoLinkTimes, NotDated, OneCase};
        for (known, found, expected) in [
            (&[][..], &[CoarseTimes(0)][..], &[CoarseTimes(0)][..]),
            (&[CoarseTimes(0), OneCase], &[NotDated(2100)], &[CoarseTimes(0), OneCase, NotDated(2100)]),
            (&[CoarseTimes(0)], &[CoarseTimes(1)], &[CoarseTimes(1)]),
            (&[CoarseTimes(1)], &[CoarseTimes(0), NoLinkTimes], &[CoarseTimes(1), NoLinkTimes]),
            (&[NotDated(2100)], &[NotDated(2050)], &[NotDated(2050)]),
            (&[CoarseTimes(1), NotDated(2100), OneCase], &[], &[OneCase]),
        ] {
            let [known, found, expected] = [known, found, expected].map(|all| all.iter().copied().collect::<Traits>());
            assert_eq!(known.followed_by(&found), expected, "{known:?} {found:?}");
        }
    }

    #[test]
    fn only_a_node_with_coarse_times_has_a_window() {
        let all: Traits = ALL.into_iter().collect();
        assert_eq!((all.window(), Traits::default().window()), (Some(1), None));
        assert_eq!(all.options().collect::<Vec<_>>(), ["--omit-dir-times", "--omit-link-times", "--no-perms"]);
    }
}
