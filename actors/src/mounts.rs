//! The file systems that are mounted below a directory, as the kernel lists them (proc(5), `/proc/pid/mountinfo`).
//! Reports mounts and their changes; the consequences are up to the callers.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::table::MountLine;
pub use self::table::{MountTable, Mounted};
use crate::bytes;
use crate::path::RelPath;

/// The kernel's list of the mounts that this process sees. poll(2) reports a change of the list as POLLPRI.
pub(crate) const TABLE: &str = "/proc/thread-self/mountinfo";

/// Kinds of file systems that another machine serves, as in `/proc/filesystems`.
const NETWORK: [&str; 22] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "prl_fs",
    "pvfs2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// Tells if a file system of this kind is served by another machine: it may not answer, and changes made elsewhere raise no
/// events here.
pub fn is_network(kind: &[u8]) -> bool {
    NETWORK.iter().any(|network| network.as_bytes() == kind)
}

/// Tells if a file system of this kind is served by a program of this machine, which may not answer.
pub fn is_fuse(kind: &[u8]) -> bool {
    matches!(kind, b"fuse" | b"fuseblk") || kind.starts_with(b"fuse.") || kind.starts_with(b"fuseblk.")
}

/// The mount points strictly below a directory, each with its mounts, as one mount may cover another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Mounts(BTreeMap<RelPath, BTreeSet<Mount>>);

/// The mount's number (the kernel reuses free numbers), its device, and the mounted directory of that device.
type Mount = (u64, Vec<u8>, Vec<u8>);

/// Watches the kernel's list for changes.
pub(crate) struct Changes(Option<File>);

impl Changes {
    /// Starts to watch the list.
    pub(crate) fn listen() -> Self {
        Changes(File::open(TABLE).ok())
    }

    /// Tells if the list has changed since the last call.
    pub(crate) fn heard(&mut self) -> bool {
        let Some(table) = &self.0 else { return false };
        let mut sources = [PollFd::new(table, PollFlags::PRI)];
        poll(&mut sources, Some(&Timespec::default())).is_ok() && sources[0].revents().contains(PollFlags::PRI)
    }
}

impl Mounts {
    /// Returns the mounts below `root`, which must be free of symlinks; `None` if the kernel's list cannot be read.
    pub(crate) fn below(root: &Path) -> Option<Mounts> {
        Some(Mounts::parse(&fs::read(TABLE).ok()?, root.as_os_str().as_bytes()))
    }

    /// Parses the kernel's list; `root` must be free of symlinks. Malformed lines are skipped.
    fn parse(table: &[u8], root: &[u8]) -> Mounts {
        let mut mounts = Mounts::default();
        for line in table.split(|&byte| byte == b'\n') {
            let Some(MountLine { number, device, directory, point, .. }) = MountLine::read(line) else { continue };
            if let Some(point) = below(&unescape(point), root) {
                mounts.0.entry(point).or_default().insert((number, device.to_owned(), directory.to_owned()));
            }
        }
        mounts
    }

    /// Returns the mount point on or below which a path lies; `None` on the mount of the root. A rename is only
    /// possible between two paths with the same mount point.
    pub(crate) fn holder(&self, path: &RelPath) -> Option<&RelPath> {
        let holds = |path: &RelPath| self.0.get_key_value(path).map(|(point, _)| point);
        if self.0.is_empty() {
            None
        } else {
            holds(path).or_else(|| path.ancestors().filter_map(|dir| holds(&dir)).last())
        }
    }

    /// Tells if a file system is mounted on this very path.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        self.0.contains_key(path)
    }

    /// Renames the mount points below a directory that was moved.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        let points: Vec<RelPath> = self.0.keys().filter(|point| point.is_below(from)).cloned().collect();
        for point in points {
            if let (Some(mounts), Some(new)) = (self.0.remove(&point), point.rebase(from, to)) {
                self.0.insert(new, mounts);
            }
        }
    }

    /// Forgets the mount points below a directory that left the tree.
    pub(crate) fn moved_out(&mut self, from: &RelPath) {
        self.0.retain(|point, _| !point.is_below(from));
    }

    /// Returns the mount points.
    pub(crate) fn points(&self) -> BTreeSet<RelPath> {
        self.0.keys().cloned().collect()
    }

    /// Forgets a mount point whose file system was unmounted.
    pub(crate) fn forget(&mut self, point: &RelPath) {
        self.0.remove(point);
    }

    /// Returns the mount points that are missing in `now`.
    pub(crate) fn gone(&self, now: &Mounts) -> Vec<RelPath> {
        self.0.keys().filter(|point| !now.0.contains_key(*point)).cloned().collect()
    }

    /// Returns the mount points of `now` that are new or have other mounts.
    pub(crate) fn new_in(&self, now: &Mounts) -> Vec<RelPath> {
        now.0.iter().filter(|(point, mounts)| self.0.get(*point) != Some(*mounts)).map(|(p, _)| p.clone()).collect()
    }
}

/// Returns the kind of file system, the mounted directory and the source of the mount with this number. `None` if the
/// source identifies nothing, as for most file systems without a device.
pub(crate) fn source(mount: u64) -> Option<Vec<u8>> {
    source_in(&fs::read(TABLE).ok()?, mount)
}

fn source_in(table: &[u8], mount: u64) -> Option<Vec<u8>> {
    let mut lines = table.split(|&byte| byte == b'\n').filter_map(MountLine::read);
    let MountLine { directory, system: [kind, from, _], .. } = lines.find(|line| line.number == mount)?;
    // A path, or a host and its path: not a word such as `none` or `tmpfs`.
    let tells = from.contains(&b'/') || from.contains(&b':');
    tells.then(|| [kind, directory, from].join(&b' '))
}

/// Returns the kind of each file system of a tree, by the mount point and the number of the mount: of that which the root lies
/// on, as if mounted on the root, and of those mounted below. The root must be free of symlinks.
pub(crate) fn kinds(root: &Path) -> Vec<(RelPath, u64, String)> {
    kinds_in(&fs::read(TABLE).unwrap_or_default(), root.as_os_str().as_bytes())
}

fn kinds_in(table: &[u8], root: &[u8]) -> Vec<(RelPath, u64, String)> {
    let kind = |line: &MountLine<'_>| String::from_utf8_lossy(line.system[0]).into_owned();
    let mut kinds = Vec::new();
    let mut holder: Option<(usize, u64, String)> = None;
    for line in table.split(|&byte| byte == b'\n').filter_map(MountLine::read) {
        let point = unescape(line.point);
        if let Some(path) = below(&point, root) {
            kinds.push((path, line.number, kind(&line)));
        } else if (point == root || below(root, &point).is_some())
            // Of several on one point the last covers the others.
            && holder.as_ref().is_none_or(|(length, ..)| *length <= point.len())
        {
            holder = Some((point.len(), line.number, kind(&line)));
        }
    }
    kinds.extend(holder.map(|(_, number, kind)| (RelPath::root(), number, kind)));
    kinds
}

/// Returns the path below `root`; `None` for the root itself and for paths outside.
fn below(point: &[u8], root: &[u8]) -> Option<RelPath> {
    let rest = if root == b"/" { point.strip_prefix(b"/")? } else { point.strip_prefix(root)?.strip_prefix(b"/")? };
    RelPath::new(rest).ok().filter(|path| !path.is_root())
}

/// Decodes the kernel's `\ooo`, which stands for a blank, a tab, a newline or a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    bytes::unescape(field, b"\\")
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
    fn a_path_is_held_by_the_deepest_mount_point_at_or_above_it() {
        let mounted = mounts(&[("/srv/www/a", 1), ("/srv/www/a/b/c", 2)]);
        let rel = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        for (path, expected) in [
            ("", None),
            ("b", None),
            ("ab", None),
            ("a", Some("a")),
            ("a/b", Some("a")),
            ("a/b/c", Some("a/b/c")),
            ("a/b/c/d/e", Some("a/b/c")),
        ] {
            assert_eq!(mounted.holder(&rel(path)).cloned(), expected.map(rel), "{path}");
        }
        assert_eq!(mounts(&[]).holder(&rel("a")), None);
    }

    #[test]
    fn mount_points_go_where_the_directory_goes_that_holds_them() {
        let mut mounted = mounts(&[("/srv/www/a", 1), ("/srv/www/a/b", 2), ("/srv/www/ab/c", 3)]);
        let rel = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        mounted.moved(&rel("ab"), &rel("x/y"));
        assert_eq!(mounted, mounts(&[("/srv/www/a", 1), ("/srv/www/a/b", 2), ("/srv/www/x/y/c", 3)]));
        mounted.moved_out(&rel("x"));
        assert_eq!(mounted, mounts(&[("/srv/www/a", 1), ("/srv/www/a/b", 2)]));
    }

    #[test]
    fn what_is_mounted_is_told_where_it_tells_anything() {
        let table = b"66 61 0:39 / /m rw shared:1 - fuse /srv/b rw,user_id=0\n\
            67 61 0:39 /d /n rw - nfs4 host:/export rw\n68 61 0:40 / /o rw - overlay overlay rw,lowerdir=/l\n6 61 0:4";
        let told = |mount| source_in(table, mount).map(|source| String::from_utf8(source).unwrap());
        assert_eq!(told(66).as_deref(), Some("fuse / /srv/b"));
        assert_eq!(told(67).as_deref(), Some("nfs4 /d host:/export"));
        assert_eq!([told(68), told(6), told(7)], [None, None, None]);
    }

    #[test]
    fn another_mount_that_got_the_number_of_one_that_is_gone_is_told_from_it() {
        let on = |directory: &str| {
            Mounts::parse(format!("36 21 0:5 {directory} /srv/www/c rw - tmpfs x rw\n").as_bytes(), b"/srv/www")
        };
        assert_eq!(names(&on("/a").new_in(&on("/b"))), ["c"]);
        assert!(on("/a").new_in(&on("/a")).is_empty());
    }

    #[test]
    fn what_was_mounted_and_unmounted_is_told_by_point_and_number() {
        for (before, now, gone, new) in [
            (&[("/srv/www/a", 1)][..], &[("/srv/www/a", 1)][..], &[][..], &[][..]),
            (&[("/srv/www/a", 1), ("/srv/www/b", 2)], &[("/srv/www/b", 2)], &["a"], &[]),
            (&[], &[("/srv/www/b", 2)], &[], &["b"]),
            // A mount was covered by another, and uncovered.
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

    #[test]
    fn any_table_is_read_and_no_mount_point_is_outside_of_the_root() {
        let line = b"23 22 0:21 / /srv/www/d\\040e rw,nosuid shared:3 - tmpfs tmpfs rw\n";
        let mut random = fastrand::Rng::with_seed(1);
        let mut found = 0;
        for _ in 0..20_000 {
            let mut table = line.repeat(random.usize(1..4));
            for _ in 0..random.usize(..6) {
                let at = random.usize(..table.len());
                match random.u8(..3) {
                    0 => table[at] = random.u8(..),
                    1 => _ = table.remove(at),
                    _ => table.insert(at, b"\\/ .\n\0"[random.usize(..6)]),
                }
            }
            for point in Mounts::parse(&table, b"/srv/www").points() {
                found += 1;
                let mut names = point.as_bytes().split(|&byte| byte == b'/');
                assert!(names.all(|name| !matches!(name, b"" | b"." | b"..")), "{point} in {}", table.escape_ascii());
            }
        }
        assert!(found > 10_000, "{found}");
    }

    #[test]
    fn of_each_mount_of_a_tree_the_kind_is_known() {
        let table = b"66 61 0:39 / /srv/www/m\\040n rw shared:1 - fuse.sshfs host:/b rw,user_id=0\n\
            61 1 0:9 / / rw - xfs /dev/sdb rw\n67 61 0:39 /d /srv/www rw - nfs4 host:/export rw\n\
            68 61 0:40 / /srv/www/o rw - ext4 /dev/sda rw\n69 61 0:41 / /srv/ww rw - ceph x rw\nx";
        let kinds = |root: &[u8]| {
            let kinds =
                kinds_in(table, root).into_iter().map(|(point, number, kind)| (point.to_string(), number, kind));
            kinds.collect::<Vec<_>>()
        };
        let kind = |point: &str, number, kind: &str| (point.to_owned(), number, kind.to_owned());
        let all = [kind("m n", 66, "fuse.sshfs"), kind("o", 68, "ext4"), kind(".", 67, "nfs4")];
        assert_eq!(kinds(b"/srv/www"), all);
        assert_eq!(kinds(b"/srv/www/o/d"), [kind(".", 68, "ext4")]);
        assert_eq!(kinds(b"/srv/www2"), [kind(".", 61, "xfs")]);
        assert_eq!(kinds(b"/").len(), 5);
    }
}
