//! Names are bytes. No name is a pattern, an option, a comment or a command to any of the programs on the way.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::Site;

const NAMES: [&[u8]; 42] = [
    b"two words",
    b" leading blank",
    b"trailing blank ",
    b" ",
    b"new\nline",
    b"\n",
    b"tab\tand\rreturn",
    b"-dash",
    b"--delete",
    b"#x",
    b";x",
    b"!",
    b"!x",
    b"+ x",
    b"- x",
    b"*",
    b"a*b",
    b"?",
    b"[x]",
    b"[!x]",
    b"{a,b}",
    b"back\\slash",
    b"\\",
    b"\\[",
    b"\\#012",
    b"'quoted'",
    b"\"quoted\"",
    b"$(id)",
    b"`id`",
    b"$HOME",
    b"~",
    b"a:b",
    b"host::module",
    b"rsync:x",
    b"|&;<>",
    b"%s%n",
    b"...",
    b"***",
    b"\x7f\x01\x1b[0m",
    b"\xff\xfe not utf-8 \x80",
    "na\u{ef}ve \u{65e5}\u{672c}".as_bytes(),
    &[b'n'; 255],
];

fn path(directory: &str, name: &[u8]) -> PathBuf {
    Path::new(directory).join(OsStr::from_bytes(name))
}

#[test]
fn files_of_any_name_come_and_go() {
    let mut site = Site::new();
    site.mkdir("sub");
    site.start_mirrored();
    for directory in ["", "sub"] {
        NAMES.iter().for_each(|name| site.write(path(directory, name), name));
    }
    site.expect_identical();
    for directory in ["", "sub"] {
        NAMES.iter().for_each(|name| site.remove(path(directory, name)));
    }
    site.expect_identical();
}

#[test]
fn directories_of_any_name_come_and_go() {
    let mut site = Site::new();
    site.start_mirrored();
    for name in NAMES {
        site.mkdir(path("", name));
        site.write(path("", name).join("child"), name);
    }
    site.expect_identical();
    for name in NAMES {
        site.write(path("", name).join("child"), "seen through its own watch");
    }
    site.expect_identical();
    NAMES.iter().for_each(|name| site.remove(path("", name)));
    site.expect_identical();
}

#[test]
fn any_name_can_be_renamed_to_any_other() {
    let mut site = Site::new();
    for (name, second) in NAMES.iter().zip(1_000_000_000..) {
        site.write(path("", name), name);
        // Some names have the same length: without a time of its own, one such file would be taken for another.
        site.touch(path("", name), Duration::from_secs(second));
    }
    site.start_mirrored();
    let mut spare = b"spare".as_slice();
    for name in NAMES {
        site.rename(path("", name), path("", spare));
        spare = name;
    }
    site.expect_identical();
}

#[test]
fn two_thousand_names_in_one_directory_arrive_byte_for_byte() {
    let mut site = Site::new();
    site.mkdir("dir");
    site.start_mirrored();
    // Every byte but NUL and slash, in changing company, unique by the number.
    let bytes: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
    for n in 0..2000 {
        let (one, other) = (bytes[n % bytes.len()], bytes[(n * 7 + n / bytes.len()) % bytes.len()]);
        let name = [&[one, other], n.to_string().as_bytes(), &[other]].concat();
        site.write(path("dir", &name), &name);
    }
    site.expect_identical();
}
