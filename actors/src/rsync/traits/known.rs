//! What is known of the nodes of a site, in a file beside the state: a few words for each. Not in the state itself, which the
//! daemon has for itself as long as it runs, while each command needs to know this.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::node::Node;
use crate::path::Escaped;
use crate::transport::traits::Traits;

/// The first line. A file that begins otherwise is of another version: nothing is taken from it.
const VERSION: &str = "inosync nodes 1";

/// Held while the file is read and replaced.
static FILE: Mutex<()> = Mutex::new(());

/// Reads the traits that are known of a node; `None` if nothing is known. `state` is the file of the saved state.
pub(crate) fn of(state: &Path, node: &Node) -> Option<Traits> {
    let known = read(&beside(state));
    known.get(&key(node)).map(|words| Traits::read(words.split('\t')))
}

/// Keeps what is known of a node, in place of what was.
///
/// # Errors
/// When it cannot be written; then what was known is kept.
pub(crate) fn keep(state: &Path, node: &Node, traits: Option<&Traits>) -> io::Result<()> {
    // The nodes of a daemon are on several threads.
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = beside(state);
    let mut known = read(&file);
    match traits {
        Some(traits) => drop(known.insert(key(node), traits.words().collect::<Vec<_>>().join("\t"))),
        None => drop(known.remove(&key(node))),
    }
    let mut text = format!("{VERSION}\n");
    for (node, words) in known {
        text.extend([node.as_str(), "\t", words.as_str(), "\n"]);
    }
    let Some(directory) = file.parent() else { return Ok(()) };
    // A command may be what is run first.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut written = tempfile::NamedTempFile::new_in(directory)?;
    written.write_all(text.as_bytes())?;
    written.persist(&file)?;
    Ok(())
}

/// The words of each node. What cannot be read is not known.
fn read(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('\n')).unwrap_or_default().lines();
    lines.filter_map(|line| line.split_once('\t')).map(|(node, words)| (node.to_owned(), words.to_owned())).collect()
}

fn beside(state: &Path) -> PathBuf {
    state.with_extension("nodes")
}

/// The place that it mirrors to, on one line.
fn key(node: &Node) -> String {
    Escaped(node.dest().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::traits::Trait;

    fn node(rpath: &str) -> Node {
        Node::parse("", rpath).unwrap()
    }

    #[test]
    fn each_node_has_what_was_kept_of_it_last() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new/site.redb");
        let (one, other) = (node("/one disk"), node("/other"));
        assert_eq!(of(&state, &one), None);
        let traits: Traits = [Trait::CoarseTimes(0), Trait::OneCase].into_iter().collect();
        keep(&state, &one, Some(&Traits::default())).unwrap();
        keep(&state, &other, Some(&traits)).unwrap();
        assert_eq!((of(&state, &one), of(&state, &other)), (Some(Traits::default()), Some(traits.clone())));
        keep(&state, &one, Some(&traits)).unwrap();
        keep(&state, &other, None).unwrap();
        assert_eq!((of(&state, &one), of(&state, &other)), (Some(traits), None));
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn of_a_file_of_another_version_nothing_is_taken_and_words_of_another_one_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (state, node) = (dir.path().join("site.redb"), node("/m"));
        let key = key(&node);
        for (text, expected) in [
            (format!("{VERSION}\n{key}\tone-case\tof-tomorrow\n"), Some([Trait::OneCase].into_iter().collect())),
            (format!("inosync nodes 2\n{key}\tone-case\n"), None),
            (format!("{VERSION}\n{key}"), None),
            (String::new(), None),
        ] {
            fs::write(state.with_extension("nodes"), &text).unwrap();
            assert_eq!(of(&state, &node), expected, "{text}");
        }
    }
}
