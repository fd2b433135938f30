//! The file systems that are mounted below a directory, as the kernel lists them (proc(5), `/proc/pid/mountinfo`).
//! Says what is there and what is different; what follows from it is for others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::path::RelPath;

/// The kernel's list of what this process sees mounted. poll(2) reports a change of it as POLLPRI.
pub const TABLE: &str = "/proc/self/mountinfo";

/// The mount points strictly below a directory, each with the numbers of the mounts on it: one may cover another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mounts(BTreeMap<RelPath, BTreeSet<u64>>);

impl Mounts {
    /// What is mounted below `root` now; `None` where that cannot be told.
    pub fn below(root: &Path) -> Option<Mounts> {
        let resolved = root.canonicalize().ok()?;
        Some(Mounts::parse(&fs::read(TABLE).ok()?, resolved.as_os_str().as_bytes()))
    }

    /// Reads the kernel's list. `root` is without symlinks. Lines that are not understood count for nothing.
    fn parse(table: &[u8], root: &[u8]) -> Mounts {
        let mut mounts = Mounts::default();
        for line in table.split(|&byte| byte == b'\n') {
            // The number of the mount, that of its parent, device, root in the file system, mount point.
            let mut fields = line.split(|&byte| byte == b' ');
            let (Some(number), Some(point)) = (fields.next(), fields.nth(3)) else { continue };
            let number = std::str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
            if let (Some(number), Some(point)) = (number, below(&unescape(point), root)) {
                mounts.0.entry(point).or_default().insert(number);
            }
        }
        mounts
    }

    /// The mount points.
    pub fn points(&self) -> BTreeSet<RelPath> {
        self.0.keys().cloned().collect()
    }

    /// A file system was unmounted from there.
    pub fn forget(&mut self, point: &RelPath) {
        self.0.remove(point);
    }

    /// The mount points that `now` has no more.
    pub fn gone(&self, now: &Mounts) -> Vec<RelPath> {
        self.0.keys().filter(|point| !now.0.contains_key(*point)).cloned().collect()
    }

    /// The mount points that `now` has and these have not, or with other mounts on them.
    pub fn new_in(&self, now: &Mounts) -> Vec<RelPath> {
        now.0.iter().filter(|(point, mounts)| self.0.get(*point) != Some(*mounts)).map(|(p, _)| p.clone()).collect()
    }
}

/// The path below `root`; `None` for the root itself and for what lies elsewhere.
fn below(point: &[u8], root: &[u8]) -> Option<RelPath> {
    let rest = if root == b"/" { point.strip_prefix(b"/")? } else { point.strip_prefix(root)?.strip_prefix(b"/")? };
    RelPath::new(rest).ok().filter(|path| !path.is_root())
}

/// Reverses the kernel's `\ooo` for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(points: &[(&str, u64)]) -> Mounts {
        let lines = points.iter().map(|(point, number)| format!("{number} 21 0:5 / {point} rw - tmpfs x rw\n"));
        Mounts::parse(lines.collect::<String>().as_bytes(), b"/srv/www")
    }

    fn names(points: &[RelPath]) -> Vec<String> {
        points.iter().map(RelPath::to_string).collect()
    }

    #[test]
    fn of_the_kernels_list_the_mount_points_below_the_root_count() {
        let table = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            22 21 0:20 / /srv/www rw - tmpfs tmpfs rw\n\
            23 22 0:21 / /srv/www/d rw,nosuid shared:3 master:2 - tmpfs tmpfs rw\n\
            24 23 8:1 /x\\040y /srv/www/d/a\\040b\\134c\\011\\012 rw - ext4 /dev/sda1 rw\n\
            25 21 0:22 / /srv/www2 rw - tmpfs tmpfs rw\n\
            26 21 0:23 / /srv/other rw - tmpfs tmpfs rw\n\
            not a line\n27 21 0:24\nx 21 0:24 / /srv/www/n rw - tmpfs tmpfs rw\n\
            28 22 0:25 / /srv/www/\xff rw - tmpfs tmpfs rw\n";
        for (root, expected) in [
            (&b"/srv/www"[..], vec![&b"d"[..], b"d/a b\\c\t\n", b"\xff"]),
            (b"/srv/www/d", vec![b"a b\\c\t\n"]),
            (b"/none", vec![]),
            (b"/srv/other", vec![]),
        ] {
            let expected: BTreeSet<RelPath> = expected.iter().map(|path| RelPath::new(path).unwrap()).collect();
            assert_eq!(Mounts::parse(table, root).points(), expected, "{}", root.escape_ascii());
        }
        assert_eq!(Mounts::parse(table, b"/").points().len(), 7 - 1);
    }

    #[test]
    fn what_was_mounted_and_unmounted_is_told_by_point_and_number() {
        for (before, now, gone, new) in [
            (&[("/srv/www/a", 1)][..], &[("/srv/www/a", 1)][..], &[][..], &[][..]),
            (&[("/srv/www/a", 1), ("/srv/www/b", 2)], &[("/srv/www/b", 2)], &["a"], &[]),
            (&[], &[("/srv/www/b", 2)], &[], &["b"]),
            // Covered by another, and uncovered.
            (&[("/srv/www/a", 1)], &[("/srv/www/a", 1), ("/srv/www/a", 2)], &[], &["a"]),
            (&[("/srv/www/a", 1), ("/srv/www/a", 2)], &[("/srv/www/a", 1)], &[], &["a"]),
        ] {
            let (before, now) = (mounts(before), mounts(now));
            assert_eq!((names(&before.gone(&now)), names(&before.new_in(&now))), (to_owned(gone), to_owned(new)));
        }
    }

    fn to_owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }
}
