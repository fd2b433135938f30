//! The words for the file systems of the source: a line for each thing that is not as on an ordinary disk.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use inosync_actors::mounts::{Mounted, is_fuse, is_network};
use inosync_actors::path::{Escaped, RelPath};

use super::{FileSystems, MountContent};
use crate::commands::check::report::Report;
use crate::commands::check::shown;

/// The number of places that a line names.
const NAMES: usize = 3;
/// Kinds that the kernel makes up.
const MADE_UP: [&str; 15] = [
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "nsfs",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A kind of file system, by what it tells of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FileSystemKind {
    /// All that changes in it is told.
    Local,
    Overlay,
    Network,
    /// A program serves it, from what others may change.
    Fuse,
    MadeUp,
}

impl FileSystemKind {
    fn of(mount: &Mounted) -> FileSystemKind {
        let is_made_up = || MADE_UP.iter().any(|kind| kind.as_bytes() == mount.kind);
        match &*mount.kind {
            b"overlay" => FileSystemKind::Overlay,
            // `fuseblk` has a device to itself.
            kind if is_fuse(kind) && kind != b"fuseblk" => FileSystemKind::Fuse,
            kind if is_network(kind) => FileSystemKind::Network,
            _ if is_made_up() => FileSystemKind::MadeUp,
            _ => FileSystemKind::Local,
        }
    }
}

impl FileSystems {
    /// Says what is seen and what is not. `subvolumes` were found while the tree was walked through.
    pub fn tell(&self, subvolumes: &BTreeSet<RelPath>, report: &mut Report) {
        self.tell_mirrors(report);
        self.tell_kinds(report);
        self.tell_inside(report);
        self.tell_second_names(report);
        self.tell_encryption(report);
        if !subvolumes.is_empty() {
            report.well(format!(
                "source: {}: subvolumes or snapshots of btrfs: each is mirrored whole, as a directory with as many watches and \
                 as much room at the nodes as it has itself; exclude snapshots by `rexcludes`",
                names(subvolumes.iter().map(|place| self.named(place)))
            ));
        }
    }

    /// A mirror in its own source grows without end.
    fn tell_mirrors(&self, report: &mut Report) {
        for (mirror, place) in &self.mirrors {
            report.fault(format!(
                "source: {}: a mount shows the mirror {} there, which would be mirrored into itself; exclude it: rexcludes: \
                 [\"/{place}/\"]",
                self.named(place),
                shown(mirror)
            ));
        }
    }

    fn tell_kinds(&self, report: &mut Report) {
        let inside = self.inside.iter().map(|(place, (mount, _))| (place.clone(), mount));
        let mut kinds: BTreeMap<FileSystemKind, Vec<String>> = BTreeMap::new();
        for (place, mount) in self.own.iter().map(|own| (RelPath::root(), own)).chain(inside) {
            let system =
                if FileSystemKind::of(mount) == FileSystemKind::Overlay { layers(mount) } else { system(mount) };
            kinds.entry(FileSystemKind::of(mount)).or_default().push(format!("{} ({system})", self.named(&place)));
        }
        for (kind, places) in kinds {
            let places = names(places.into_iter());
            match kind {
                FileSystemKind::Local => (),
                FileSystemKind::Overlay => report.well(format!(
                    "source: {places}: what is changed in the layers of an overlay and not by this name raises no event and is not \
                     seen; change it by this name"
                )),
                FileSystemKind::Network => self.tell_of_others(
                    report,
                    format!("source: {places}: what other machines change raises no event here and is not seen"),
                    "run inosync where the files are",
                ),
                FileSystemKind::Fuse => self.tell_of_others(
                    report,
                    format!("source: {places}: what is changed past a FUSE file system raises no event here and is not seen"),
                    "change it by this name alone",
                ),
                FileSystemKind::MadeUp => report.warning(format!(
                    "source: {places}: the kernel makes up what is in it: changes raise no event, and files have no size; exclude it \
                     by `rexcludes`"
                )),
            }
        }
    }

    /// Tells of changes by others, which a comparison finds.
    fn tell_of_others(&self, report: &mut Report, what: String, cure: &str) {
        match self.resync_every {
            Some(every) => {
                report.well(format!("{what} until `resync_every` compares, after {} s each time", every.as_secs()));
            }
            None => report.warning(format!("{what}; {cure}, or write `resync_every: 600`")),
        }
    }

    fn tell_inside(&self, report: &mut Report) {
        let of = |wanted: MountContent| {
            let found = self.inside.iter().filter(move |(_, (_, answer))| *answer == wanted);
            found.map(|(place, (mount, _))| format!("{} ({})", self.named(place), system(mount)))
        };
        for (answer, what) in [
            (
                MountContent::Directory,
                "mounted in the source and mirrored with it; when it is unmounted the nodes keep what it held, and files that are \
                 renamed in it are sent as new ones",
            ),
            (MountContent::File, "a file that is mounted over another: what is written to it by any name is seen"),
            (MountContent::Other, "mounted there without content of its own: not watched"),
        ] {
            let places: Vec<String> = of(answer).collect();
            if !places.is_empty() {
                report.well(format!("source: {}: {what}", names(places.into_iter())));
            }
        }
    }

    fn tell_second_names(&self, report: &mut Report) {
        let pairs = self.second_names();
        if !pairs.is_empty() {
            let pairs = pairs.iter().map(|[one, other]| format!("{} = {}", self.named(one), self.named(other)));
            report.well(format!(
                "source: {}: one directory at two names, by a mount: what is changed by one of them is seen at both, and the nodes \
                 have it twice; if once is enough, exclude one by `rexcludes`",
                names(pairs)
            ));
        }
    }

    /// The places at which the same directory stands, the topmost of what two mounts both show.
    fn second_names(&self) -> BTreeSet<[RelPath; 2]> {
        let root = self.own.as_ref().and_then(|own| Some((own, own.inside(self.wpath.as_os_str().as_bytes())?)));
        let inside = self.inside.values().map(|(mount, _)| (mount, mount.directory.clone()));
        let views: Vec<(&Mounted, Vec<u8>)> = root.into_iter().chain(inside).collect();
        let mut pairs = BTreeSet::new();
        for (at, (one, one_shows)) in views.iter().enumerate() {
            for (other, other_shows) in views[at + 1..].iter().filter(|(other, _)| other.shares_with(one)) {
                // The deeper one is in both, if it is in any.
                let shared = if one_shows.len() > other_shows.len() { one_shows } else { other_shows };
                let place = |mount: &Mounted| {
                    let path = mount.outside(shared).filter(|path| self.table.at(path) == Some(mount))?;
                    self.place(&path)
                };
                if let (Some(first), Some(second)) = (place(one), place(other))
                    && first != second
                {
                    pairs.insert(if first < second { [first, second] } else { [second, first] });
                }
            }
        }
        pairs
    }

    fn tell_encryption(&self, report: &mut Report) {
        if self.is_encrypted {
            let what = format!(
                "source: {}: encrypted by its file system (fscrypt): the watches of a daemon keep the key in use, so stop it \
                 before you lock it",
                shown(&self.wpath)
            );
            match self.has_marker {
                true => report.well(format!("{what}; while it is locked `marker` holds everything")),
                false => report.warning(format!(
                    "{what}; while it is locked all names are others, and are mirrored as such: write `marker` with the name of a \
                     file in it, so that everything is held until it is there"
                )),
            }
        }
    }

    fn named(&self, place: &RelPath) -> String {
        shown(&place.under(&self.wpath)).to_string()
    }
}

/// The first ones, and how many there are more.
fn names(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    match all.len().checked_sub(NAMES) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..NAMES].join(", ")),
    }
}

fn system(mount: &Mounted) -> String {
    format!("{}, {}", Escaped(&mount.kind), Escaped(&mount.source))
}

/// The directories of the layers of an overlay, as far as the overlay tells them.
fn layers(mount: &Mounted) -> String {
    let names = ["lowerdir", "lowerdir+", "datadir+", "upperdir"];
    let layers = names.into_iter().filter_map(|name| Some(format!("{name} {}", Escaped(mount.option(name)?))));
    ["overlay".to_owned()].into_iter().chain(layers).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
