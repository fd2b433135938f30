//! The names of the watched directories, in one piece of memory. It does not know whose they are: a name that is given
//! up leaves a hole, and the owner moves all names together when there are too many.

/// The most bytes of holes that are kept.
const SLACK: usize = 64 * 1024;

/// The position of a name in the common memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    start: u32,
    len: u32,
}

/// The names. A heap block for each would take three times the memory, and more where blocks that are soon freed lie
/// between them.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Bytes that belong to no name any more.
    holes: usize,
}

impl Names {
    /// Adds a name to the memory.
    pub(crate) fn add(&mut self, name: &[u8]) -> Name {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name);
        Name { start, len: name.len() as u32 }
    }

    /// The bytes of a name that is kept here.
    pub(crate) fn get(&self, name: Name) -> &[u8] {
        let start = name.start as usize;
        self.bytes.get(start..start + name.len as usize).unwrap_or_default()
    }

    /// Gives a name up.
    pub(crate) fn forget(&mut self, name: Name) {
        self.holes += name.len as usize;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_packing_and_holes_do_not() {
        let mut names = Names::default();
        let mut kept = Vec::new();
        for number in 0..20_000 {
            let name = names.add(format!("name-{number}").as_bytes());
            if number % 4 == 0 { kept.push((name, number)) } else { names.forget(name) }
        }
        assert!(names.is_sparse());
        let before = names.bytes.len();
        names.pack(kept.iter_mut().map(|(name, _)| name));
        assert!(!names.is_sparse() && names.bytes.len() < before / 3);
        for (name, number) in kept {
            assert_eq!(names.get(name), format!("name-{number}").as_bytes());
        }
    }
}
