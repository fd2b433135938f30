//! The entries below a directory, of which no event may have told yet.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Attached, Dirs};
use crate::path::RelPath;
use crate::root::reach::look::Meta;

impl Dirs {
    /// The entries below a watched directory, each before what is below it; `None` if they are more than `most`, not all
    /// of them can be had, or one is or was a directory of another name. Adds the number that it looked at to `looked`.
    pub(crate) fn entries_below(
        &mut self,
        top: &RelPath,
        most: usize,
        looked: &mut usize,
    ) -> Option<Vec<(RelPath, Meta)>> {
        let mut found = Vec::new();
        let mut left = vec![top.clone()];
        while let Some(dir) = left.pop() {
            let node = self.find(&dir)?;
            let opened = self.reach.open(&dir, false).ok()?;
            // What another one holds that came to its name is told with that.
            if self.reach.point(&dir).is_some() || !self.is_at(node, &dir, &opened) {
                return None;
            }
            let names = self.reach.names_in(&opened, &dir).ok()?;
            if !self.tree.has_all_children_in(node, &names) {
                return None;
            }
            for name in names {
                if *looked >= most {
                    return None;
                }
                *looked += 1;
                let path = dir.join(&name);
                let meta = match self.reach.look_in(&opened, &dir, &name) {
                    Ok(meta) => meta,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(_) => return None,
                };
                if self.excludes.matching(&path, meta.is_dir()).is_some() {
                    continue;
                }
                if meta.is_dir() && !self.tree.has(&path) {
                    if self.is_left_alone(&path) || self.leaves_alone(&path, true) {
                        continue;
                    }
                    // Made since the scan, or moved here: the event of a move does not tell what is in it.
                    if self.attach_unknown(node, &name) != Attached::New {
                        return None;
                    }
                }
                left.extend(meta.is_dir().then(|| path.clone()));
                if meta.is_file() {
                    self.found_file(&dir, OsStr::from_bytes(path.name()));
                }
                found.push((path, meta));
            }
        }
        Some(found)
    }
}
