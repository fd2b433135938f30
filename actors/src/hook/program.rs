//! Explains why a program cannot be started. If its interpreter is missing, the kernel's own error blames the program.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::path::Escaped;

/// Number of bytes of the first line that the kernel reads (execve(2)).
const FIRST_LINE: u64 = 256;

/// Returns the fault and its cure, as the end of a sentence that begins with the program; `None` if the program can be
/// started.
pub fn fault_of(program: &Path) -> Option<String> {
    let may = |path: &Path| accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS);
    match program.metadata() {
        Err(error) => return Some(format!("cannot be found: {error}")),
        Ok(meta) if !meta.is_file() => return Some("is no file".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => return Some("is not executable: chmod +x".to_owned()),
        Ok(_) => (),
    }
    if let Err(error) = may(program) {
        return Some(format!("may not be run by this user: {error}"));
    }
    let interpreter = interpreter(program)?;
    let error = may(Path::new(std::ffi::OsStr::from_bytes(&interpreter))).err()?;
    let cure = match interpreter.ends_with(b"\r") {
        true => "the line ends as in Windows: remove the carriage returns",
        false => "correct that line, or install it",
    };
    Some(format!("names `{}` in its first line: {error}; {cure}", Escaped(&interpreter)))
}

/// Returns the interpreter in the first line of a script (execve(2)).
fn interpreter(program: &Path) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(File::open(program).ok()?.take(FIRST_LINE)).read_until(b'\n', &mut line).ok()?;
    let named = line.strip_suffix(b"\n")?.strip_prefix(b"#!")?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = named.split(is_blank).find(|word| !word.is_empty())?;
    Some(name.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_keeps_a_program_from_being_started_is_told_with_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        for (text, mode, expected) in [
            (&b"#!/bin/sh\n"[..], 0o755, None),
            (b"#! /bin/sh -e\n", 0o755, None),
            (b"cat\n", 0o755, None),
            (b"#!/bin/sh\n", 0o644, Some("is not executable: chmod +x")),
            (b"#!/bin/shh\n", 0o755, Some("names `/bin/shh` in its first line: No such file or directory")),
            (b"#!/bin/sh\r\n", 0o755, Some("remove the carriage returns")),
        ] {
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
            let fault = fault_of(&program);
            let is_so = match (&fault, expected) {
                (Some(fault), Some(words)) => fault.contains(words),
                (None, None) => true,
                _ => false,
            };
            assert!(is_so, "{}: {fault:?}", text.escape_ascii());
        }
        assert_eq!(fault_of(dir.path()).as_deref(), Some("is no file"));
        assert!(fault_of(&dir.path().join("none")).unwrap().starts_with("cannot be found"));
    }
}
