//! The stamps of the entries of one directory, by their names.

use std::ops::Range;

use super::stamp::Stamp;

/// Stamps of the entries of a directory by their names, in the order of the names. All names are in one buffer: a comparison
/// with the state fills such lists for each of many directories.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    names: Vec<u8>,
    /// Each stamp, with the place of its name.
    stamps: Vec<(Range<usize>, Stamp)>,
}

impl Stamps {
    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Takes out all entries, and keeps the room for others.
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.stamps.clear();
    }

    /// Adds an entry. Its name comes after all others, unless [`Stamps::sort`] follows.
    pub(super) fn push(&mut self, name: &[u8], stamp: Stamp) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.stamps.push((start..self.names.len(), stamp));
    }

    /// Puts the entries in the order of their names.
    pub(super) fn sort(&mut self) {
        let Stamps { names, stamps } = self;
        stamps.sort_unstable_by(|(one, _), (other, _)| names[one.clone()].cmp(&names[other.clone()]));
    }

    /// Iterates over the names and the stamps.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Stamp)> {
        self.stamps.iter().map(|(name, stamp)| (&self.names[name.clone()], *stamp))
    }

    /// Iterates over what two sorted lists have, in the order of the names.
    pub(super) fn pairs<'n>(&'n self, known: &'n Stamps) -> impl Iterator<Item = Pair<'n>> {
        let mut entries = self.iter().peekable();
        let mut known = known.iter().peekable();
        std::iter::from_fn(move || match (entries.peek(), known.peek()) {
            (Some((name, _)), Some((other, _))) if name == other => {
                entries.next().zip(known.next()).map(|((name, stamp), (_, before))| Pair::Both { name, stamp, before })
            }
            (Some((name, _)), other) if other.is_none_or(|(other, _)| name < other) => {
                entries.next().map(|(name, stamp)| Pair::New { name, stamp })
            }
            _ => known.next().map(|(name, before)| Pair::Gone { name, before }),
        })
    }
}

/// An entry on disk, in the state, or in both.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pair<'n> {
    Both { name: &'n [u8], stamp: Stamp, before: Stamp },
    New { name: &'n [u8], stamp: Stamp },
    Gone { name: &'n [u8], before: Stamp },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::stamp::stamp;

    fn stamps(entries: &[(&str, i64)]) -> Stamps {
        let mut stamps = Stamps::default();
        entries.iter().for_each(|&(name, size)| stamps.push(name.as_bytes(), stamp(size, 7)));
        stamps
    }

    #[test]
    fn entries_are_put_in_the_order_of_their_names() {
        let mut list = stamps(&[("b", 2), ("ab", 3), ("a", 1)]);
        list.sort();
        assert_eq!(
            list.iter().collect::<Vec<_>>(),
            stamps(&[("a", 1), ("ab", 3), ("b", 2)]).iter().collect::<Vec<_>>()
        );
        list.clear();
        assert_eq!(list.iter().count(), 0);
    }

    #[test]
    fn two_lists_are_joined_in_the_order_of_the_names() {
        let (one, two) = (stamps(&[("a", 1), ("b", 2), ("bb", 3), ("d", 4)]), stamps(&[("b", 5), ("c", 6), ("e", 7)]));
        let told = |one: &Stamps, two: &Stamps| -> Vec<String> {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            let tell = |pair| match pair {
                Pair::Both { name, stamp: now, before } => {
                    assert_eq!((now, before), (stamp(2, 7), stamp(5, 7)));
                    format!("={}", text(name))
                }
                Pair::New { name, .. } => format!("+{}", text(name)),
                Pair::Gone { name, .. } => format!("-{}", text(name)),
            };
            one.pairs(two).map(tell).collect()
        };
        assert_eq!(told(&one, &two), ["+a", "=b", "+bb", "-c", "+d", "-e"]);
        assert_eq!(told(&one, &Stamps::default()), ["+a", "+b", "+bb", "+d"]);
        assert_eq!(told(&Stamps::default(), &two), ["-b", "-c", "-e"]);
    }
}
