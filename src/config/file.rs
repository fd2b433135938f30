//! The file itself: found, read, and text.

use std::io::{Error, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;

use super::ConfigError;
use super::DEFAULT_PATH;
use super::complaint::ConfigComplaint;
use super::value::ConfigText;

/// In bytes: no configuration is so large, and a device has no end.
const LARGEST: u64 = 1 << 20;

/// The usual directory of configurations.
const USUAL_DIR: &str = "/etc/inosync";

/// Reads the file and hands its text over.
pub fn with_source<T>(
    path: &Path,
    read: impl FnOnce(ConfigText<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let bytes = read_bounded(path)?;
    match std::str::from_utf8(&bytes) {
        // Some editors put a mark before the first character.
        Ok(text) => read(ConfigText { file: path, text: text.strip_prefix('\u{feff}').unwrap_or(text) }),
        Err(error) => {
            let (what, cure) = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                ("the file is UTF-16, this byte is not UTF-8", "save the file as UTF-8")
            } else if bytes.contains(&0) {
                ("the file is no text: this byte is not UTF-8", "name a configuration with -c FILE; save it as UTF-8")
            } else {
                ("this byte is not UTF-8", "save the file as UTF-8; a path that is not UTF-8 cannot be written here")
            };
            let at = error.valid_up_to();
            let text = String::from_utf8_lossy(&bytes);
            Err(ConfigText { file: path, text: &text }.complaint(at..at + 1, what, cure).into())
        }
    }
}

/// The content of the file, unless it has no end.
fn read_bounded(path: &Path) -> Result<Vec<u8>, ConfigComplaint> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= LARGEST => Ok(bytes),
        Ok(_) => {
            let what = "cannot read the configuration: it is larger than 1 MiB, so it is none";
            Err(ConfigComplaint::of(path, what, "name the configuration with -c FILE"))
        }
        Err(error) => {
            Err(ConfigComplaint::of(path, format!("cannot read the configuration: {error}"), cure(path, &error)))
        }
    }
}

fn cure(path: &Path, error: &Error) -> String {
    let shown = |path: &Path| Escaped(path.as_os_str().as_bytes()).to_string();
    match error.kind() {
        ErrorKind::IsADirectory => match configurations(path).as_slice() {
            [] => "name a file with -c FILE, not a directory".to_owned(),
            files => {
                let files: Vec<String> = files.iter().map(|file| format!("-c {}", shown(file))).collect();
                format!("name a file in it: {}", files.join(" or "))
            }
        },
        ErrorKind::NotFound => match other_place(path) {
            Some(there) => format!("did you mean -c {}?", shown(&there)),
            None if path == Path::new(DEFAULT_PATH) => {
                "make it (docs/configuration.md, config.ron.example), or name another one with -c FILE".to_owned()
            }
            None => "name a readable file with -c FILE".to_owned(),
        },
        ErrorKind::PermissionDenied => {
            "run it as a user that may read the file (sudo), or let this user read it".to_owned()
        }
        _ => "name a readable file with -c FILE".to_owned(),
    }
}

/// Files of a directory that look like configurations; the first few.
fn configurations(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "ron")).collect();
    files.sort();
    files.truncate(3);
    files
}

/// The path of a file that has nearly this name.
fn other_place(path: &Path) -> Option<PathBuf> {
    let mut with_end = path.as_os_str().to_owned();
    with_end.push(".ron");
    let named = [PathBuf::from(&with_end), Path::new(USUAL_DIR).join(path), Path::new(USUAL_DIR).join(&with_end)];
    named.into_iter().find(|other| other != path && other.is_file())
}
