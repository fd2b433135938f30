//! The kernel's list of mounts as a whole (proc(5), `/proc/pid/mountinfo`): which mount a path leads to.

use std::collections::{HashMap, HashSet};
use std::{fs, io};

use super::{TABLE, below, unescape};
use crate::path::RelPath;

/// A line of the list, as it stands there.
pub(super) struct MountLine<'a> {
    pub number: u64,
    pub parent: &'a [u8],
    pub device: &'a [u8],
    pub directory: &'a [u8],
    pub point: &'a [u8],
    /// The kind of file system, where it is from, and its options. Empty where the line ends before.
    pub system: [&'a [u8]; 3],
}

impl<'a> MountLine<'a> {
    /// `None` for what is not understood.
    pub(super) fn read(line: &'a [u8]) -> Option<MountLine<'a>> {
        let mut fields = line.split(|&byte| byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let parent = fields.next()?;
        let device = fields.next()?;
        let directory = fields.next()?;
        let point = fields.next()?;
        // The options of the mount, and fields that not every mount has.
        let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
        let system = [(); 3].map(|()| tail.next().unwrap_or_default());
        Some(MountLine { number, parent, device, directory, point, system })
    }
}

/// One line of the kernel's table of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    number: u64,
    parent: Option<u64>,
    /// The number of the file system, of which there may be several mounts.
    pub device: Vec<u8>,
    /// The directory or file of the file system that is mounted: an absolute path in it.
    pub directory: Vec<u8>,
    /// The absolute path of the mount point.
    pub point: Vec<u8>,
    /// The kind of file system.
    pub kind: Vec<u8>,
    /// The source of the mount: a device, a host and a path, or a word.
    pub source: Vec<u8>,
    /// The options of the file system.
    pub options: Vec<u8>,
}

/// All mounts that this process can see.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Vec<Mounted>,
    /// The one at `/` that is on none of the others.
    top: Option<usize>,
    /// By the number of the mount that they are on, and the place.
    on: HashMap<(u64, Vec<u8>), usize>,
}

impl MountTable {
    /// Reads the list. Nothing that is mounted is looked at, so that it does not matter what answers.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn read() -> io::Result<MountTable> {
        Ok(MountTable::parse(&fs::read(TABLE)?))
    }

    /// Reads the text of a list.
    pub fn parse(table: &[u8]) -> MountTable {
        let lines = table.split(|&byte| byte == b'\n').filter_map(MountLine::read);
        let mounts: Vec<Mounted> = lines.map(|line| Mounted::of(&line)).collect();
        let place = |(at, mount): (usize, &Mounted)| Some(((mount.parent?, mount.point.clone()), at));
        let on = mounts.iter().enumerate().filter_map(place).collect();
        let numbers: HashSet<u64> = mounts.iter().map(|mount| mount.number).collect();
        let is_top = |mount: &Mounted| mount.point == b"/" && mount.parent.is_none_or(|on| !numbers.contains(&on));
        MountTable { top: mounts.iter().position(is_top), mounts, on }
    }

    /// The mount that an absolute path without symlinks leads to, past what is mounted over others.
    pub fn at(&self, path: &[u8]) -> Option<&Mounted> {
        let mut at = &self.mounts[self.top?];
        let ends = path.iter().enumerate().skip(1).filter_map(|(end, &byte)| (byte == b'/').then_some(end));
        for end in [1].into_iter().chain(ends).chain([path.len()]) {
            // Each of these covers the one before; no more of them than there are mounts.
            let mut left = self.mounts.len();
            while left > 0
                && let Some(&next) = self.on.get(&(at.number, path[..end].to_vec()))
            {
                (at, left) = (&self.mounts[next], left - 1);
            }
        }
        Some(at)
    }

    /// The mounts strictly below a directory that can be reached from it, with their places in it.
    pub fn below(&self, root: &[u8]) -> Vec<(RelPath, &Mounted)> {
        let place = |mount: &Mounted| below(&mount.point, root);
        let can_be_reached = |mount: &&Mounted| self.at(&mount.point).is_some_and(|top| top.number == mount.number);
        let mounts = self.mounts.iter().filter_map(|mount| Some((place(mount)?, mount)));
        mounts.filter(|(_, mount)| can_be_reached(mount)).collect()
    }
}

impl Mounted {
    fn of(line: &MountLine<'_>) -> Mounted {
        let [kind, source, options] = line.system.map(unescape);
        Mounted {
            number: line.number,
            parent: std::str::from_utf8(line.parent).ok().and_then(|digits| digits.parse().ok()),
            device: line.device.to_owned(),
            directory: unescape(line.directory),
            point: unescape(line.point),
            kind,
            source,
            options,
        }
    }

    /// The path in the file system of a path that leads to this mount.
    pub fn inside(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = tail(path, &self.point)?;
        Some(join(&self.directory, rest))
    }

    /// The path that leads to a path in the file system by way of this mount, if it shows that.
    pub fn outside(&self, inside: &[u8]) -> Option<Vec<u8>> {
        let rest = tail(inside, &self.directory)?;
        Some(join(&self.point, rest))
    }

    /// Tells mounts of one file system.
    pub fn shares_with(&self, other: &Mounted) -> bool {
        self.device == other.device
    }

    /// The value of an option of the file system.
    pub fn option(&self, name: &str) -> Option<&[u8]> {
        let mut options = self.options.split(|&byte| byte == b',');
        options.find_map(|option| option.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// The rest of a path that is at or below another, without its first slash.
fn tail<'a>(path: &'a [u8], top: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(top)?;
    if rest.is_empty() || top == b"/" { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn join(top: &[u8], rest: &[u8]) -> Vec<u8> {
    match (top, rest) {
        (top, b"") => top.to_owned(),
        (b"/", rest) => [b"/", rest].concat(),
        (top, rest) => [top, b"/", rest].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 8:2 /www /srv/www rw - ext4 /dev/sda2 rw\n\
        23 22 0:5 / /srv/www/a rw master:2 - tmpfs x\\040y rw,size=1k\n\
        24 23 0:6 / /srv/www/a/b rw - overlay overlay rw,lowerdir=/l:/m,upperdir=/u,workdir=/w\n\
        25 22 8:2 /www/c /srv/www/d rw - ext4 /dev/sda2 rw\n\
        26 25 0:7 / /srv/www/d rw - fuse.sshfs host:/x rw\n\
        27 22 0:8 / /srv/www/e/f rw - tmpfs x rw\n\
        28 22 0:9 / /srv/www/e rw - tmpfs x rw\nnot a line\n29 22 0:10\n";

    #[test]
    fn a_path_leads_to_the_topmost_mount_and_what_is_covered_cannot_be_reached() {
        let table = MountTable::parse(LIST);
        for (path, number) in [
            ("/", 21),
            ("/srv", 21),
            ("/srv/www", 22),
            ("/srv/www2", 21),
            ("/srv/www/a/x", 23),
            ("/srv/www/a/b/c", 24),
            ("/srv/www/d", 26),
            ("/srv/www/e/f/g", 28),
        ] {
            assert_eq!(table.at(path.as_bytes()).map(|mount| mount.number), Some(number), "{path}");
        }
        let below = |root: &[u8]| -> Vec<String> {
            table.below(root).iter().map(|(path, mount)| format!("{path} {}", mount.number)).collect()
        };
        assert_eq!(below(b"/srv/www"), ["a 23", "a/b 24", "d 26", "e 28"]);
        assert_eq!(below(b"/srv/www/a"), ["b 24"]);
        assert!(below(b"/none").is_empty() && MountTable::parse(b"").at(b"/").is_none());
    }

    #[test]
    fn what_is_mounted_over_itself_without_end_is_read() {
        let table = MountTable::parse(
            b"1 0 0:1 / / rw - tmpfs x rw\n2 2 0:1 / /a rw - tmpfs x rw\n3 4 0:1 / /b rw\n4 3 0:1 / /b rw\n",
        );
        assert_eq!(table.at(b"/a").map(|mount| mount.number), Some(1));
        assert!(table.below(b"/").is_empty());
    }

    #[test]
    fn a_path_is_found_in_a_file_system_and_back() {
        let table = MountTable::parse(LIST);
        let [root, part] = [21, 25].map(|number| table.mounts.iter().find(|mount| mount.number == number).unwrap());
        assert_eq!(part.inside(b"/srv/www/d/x"), Some(b"/www/c/x".to_vec()));
        assert_eq!(part.outside(b"/www/c"), Some(b"/srv/www/d".to_vec()));
        assert_eq!((part.outside(b"/www/cc"), part.outside(b"/www")), (None, None));
        assert_eq!((root.inside(b"/srv"), root.outside(b"/")), (Some(b"/srv".to_vec()), Some(b"/".to_vec())));
        let overlay = table.at(b"/srv/www/a/b").unwrap();
        assert_eq!((overlay.option("upperdir"), overlay.option("dir")), (Some(&b"/u"[..]), None));
        assert_eq!(table.at(b"/srv/www/a").unwrap().source, b"x y");
    }
}
