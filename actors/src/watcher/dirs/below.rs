//! The entries below a directory, of which no event may have told yet.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::Dirs;
use crate::path::RelPath;
use crate::root::reach::look::Meta;

impl Dirs {
    /// The entries below a watched directory, each before what is below it; `None` if they are more than `most`, or not all
    /// of them can be had. Directories that are not watched yet are left out: an event is to tell of them.
    pub(crate) fn entries_below(&mut self, top: &RelPath, most: usize) -> Option<Vec<(RelPath, Meta)>> {
        let mut found = Vec::new();
        let mut left = vec![top.clone()];
        while let Some(dir) = left.pop() {
            let node = self.find(&dir)?;
            let opened = self.reach.open(&dir, false).ok()?;
            // What another one holds that came to its name is told with that.
            if self.reach.point(&dir).is_some() || !self.is_at(node, &dir, &opened) {
                return None;
            }
            for name in self.reach.names_in(&opened, &dir).ok()? {
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
                    if self.blind.iter().any(|blind| *blind == path) {
                        return None;
                    }
                    continue;
                }
                if found.len() >= most {
                    return None;
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
