//! The file itself, and what it names to be read with it: found, read, and text.

use std::io::{Error, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;

use super::DEFAULT_PATH;
use super::complaint::ConfigComplaint;
use super::paths::other_notation;
use super::value::{ConfigText, Value};

/// In bytes: no configuration is so large, and a device has no end.
const LARGEST: u64 = 1 << 20;

/// The usual directory of configurations.
const USUAL_DIR: &str = "/etc/inosync";

/// A text file that has been read into memory.
pub struct TextFile {
    pub path: PathBuf,
    text: String,
}

impl TextFile {
    #[cfg(test)]
    pub fn of_text(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.to_owned() }
    }

    /// The text, with the name of its file.
    pub fn source(&self) -> ConfigText<'_> {
        ConfigText { file: &self.path, text: &self.text }
    }
}

/// Reads the configuration that the command line names.
pub fn configuration(path: &Path) -> Result<TextFile, ConfigComplaint> {
    let bytes = match read_bounded(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let what = "cannot read the configuration: it is larger than 1 MiB, so it is none";
            return Err(ConfigComplaint::of(path, what, "name the configuration with -c FILE"));
        }
        Err(error) => {
            let what = format!("cannot read the configuration: {error}");
            return Err(ConfigComplaint::of(path, what, cure(path, &error)));
        }
    };
    text_of(path, &bytes)
}

/// Reads a file that a value names, from the directory of the file that the value is in. The name, for people, is in each
/// complaint.
pub fn named(value: &Value<'_>) -> Result<TextFile, ConfigComplaint> {
    let name = value.string()?;
    let home = name.starts_with(['~', '$']).then(|| other_notation(&name, value.key(), "/")).flatten();
    if let Some((what, cure)) = home {
        return Err(value.complaint(what, cure));
    }
    let path = value.file().parent().unwrap_or(Path::new("")).join(&name);
    let refuse = |why: &str, cure: &str| {
        let shown = Escaped(path.as_os_str().as_bytes());
        value.complaint(format!("`{}`: {shown} {why}", value.key()), cure)
    };
    let relative = "name a readable file; a relative path begins at the directory of the file that it is written in";
    // To open what is no file, such as a pipe, might wait for ever.
    let read = path.metadata().and_then(|found| if found.is_file() { read_bounded(&path).map(Some) } else { Ok(None) });
    match read {
        Ok(Some(Some(bytes))) => text_of(&path, &bytes),
        Ok(Some(None)) => Err(refuse("is larger than 1 MiB", "name a text of this size or less")),
        Ok(None) => Err(refuse("is not a file", relative)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(refuse(&format!("cannot be read: {error}"), "let the user of the daemon read the file"))
        }
        Err(error) => Err(refuse(&format!("cannot be read: {error}"), relative)),
    }
}

fn text_of(path: &Path, bytes: &[u8]) -> Result<TextFile, ConfigComplaint> {
    match std::str::from_utf8(bytes) {
        // Some editors put a mark before the first character.
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
            Ok(TextFile { path: path.to_owned(), text })
        }
        Err(error) => {
            let (what, cure) = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                ("the file is UTF-16, this byte is not UTF-8", "save the file as UTF-8")
            } else if bytes.contains(&0) {
                ("the file is no text: this byte is not UTF-8", "name a text, which is saved as UTF-8")
            } else {
                ("this byte is not UTF-8", "save the file as UTF-8; a path that is not UTF-8 cannot be written here")
            };
            let at = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes);
            Err(ConfigText { file: path, text: &text }.complaint(at..at + 1, what, cure))
        }
    }
}

/// The content of a file; `None` if it is too large or has no end.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LARGEST).then_some(bytes))
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
