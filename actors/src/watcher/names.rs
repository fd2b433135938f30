//! The names of the watched directories, in one piece of memory. It does not know whose they are: a name that is given
//! up leaves a hole, and the owner moves all names together when there are too many.

/// The most bytes of holes that are kept.
const SLACK: usize = 64 * 1024;

/// Lengths from this one take two bytes more. Most file systems have no names that are so long, exFAT and NTFS have.
const LONG: u8 = u8::MAX;

/// The position of a name in the common memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(u32);

/// The names, each behind its length. A heap block for each would take three times the memory, and more where blocks that
/// are soon freed lie between them.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Bytes that belong to no name any more.
    holes: usize,
}

impl Names {
    /// Adds a name to the memory.
    pub(crate) fn add(&mut self, name: &[u8]) -> Name {
        reserve(&mut self.bytes, name.len() + 3);
        let start = self.bytes.len() as u32;
        match u8::try_from(name.len()) {
            Ok(len) if len < LONG => self.bytes.push(len),
            _ => {
                self.bytes.push(LONG);
                self.bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(name);
        Name(start)
    }

    /// The bytes of a name that is kept here.
    pub(crate) fn get(&self, name: Name) -> &[u8] {
        self.find(name).unwrap_or_default()
    }

    fn find(&self, Name(start): Name) -> Option<&[u8]> {
        let (&len, rest) = self.bytes.get(start as usize..)?.split_first()?;
        if len < LONG {
            return rest.get(..len.into());
        }
        let (len, rest) = rest.split_first_chunk()?;
        rest.get(..u16::from_le_bytes(*len).into())
    }

    /// Gives a name up.
    pub(crate) fn forget(&mut self, name: Name) {
        let len = self.get(name).len();
        self.holes += len + if len < LONG.into() { 1 } else { 3 };
    }

    /// Tells if most of the memory is unused.
    pub(crate) fn is_sparse(&self) -> bool {
        self.holes > SLACK && self.holes > self.bytes.len() / 2
    }

    /// Moves the names that are still kept, which must be all of these, together.
    pub(crate) fn pack<'a>(&mut self, kept: impl Iterator<Item = &'a mut Name>) {
        let mut packed = Names { bytes: Vec::with_capacity(self.bytes.len().saturating_sub(self.holes)), holes: 0 };
        for name in kept {
            *name = packed.add(self.get(*name));
        }
        *self = packed;
    }
}

/// Makes room for `more` elements. Growing by an eighth takes less memory than doubling, and is nearly as fast.
pub(super) fn reserve<T>(elements: &mut Vec<T>, more: usize) {
    if elements.capacity() - elements.len() < more {
        elements.reserve_exact(more.max(elements.len() / 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_packing_and_holes_do_not() {
        let mut names = Names::default();
        let mut kept = Vec::new();
        let text = |number: usize| format!("{number}-").repeat(if number.is_multiple_of(1000) { 100 } else { 1 });
        for number in 0..20_000 {
            let name = names.add(text(number).as_bytes());
            if number % 4 == 0 { kept.push((name, number)) } else { names.forget(name) }
        }
        assert!(names.is_sparse());
        let before = names.bytes.len();
        names.pack(kept.iter_mut().map(|(name, _)| name));
        assert!(!names.is_sparse() && names.bytes.len() < before / 3);
        for (name, number) in kept {
            assert_eq!(names.get(name), text(number).as_bytes());
        }
    }
}
