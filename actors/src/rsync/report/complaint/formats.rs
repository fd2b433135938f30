//! The forms in which rsync complains of an entry, as its source prints them (3.1.3 to 3.5.0): the words in front of
//! the name, how the name is written, and the words behind it.

use crate::rsync::report::complaint::Act;
use crate::rsync::report::complaint::Act::{Attributes, Delete, Make, Other};
use crate::rsync::report::complaint::End;
use crate::rsync::report::complaint::End::{Node, Source};

/// The notation of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// In quotes; a daemon adds ` (in MODULE)`.
    Quoted,
    /// In quotes, and a second name in quotes follows it.
    Pair,
    /// In quotes, after more words and ` for `.
    For,
    /// As it is, up to the words behind it, or to the end of the line.
    Bare,
}
use Quoting::{Bare, For, Pair, Quoted};

/// The form of one kind of error message.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageForm {
    pub before: &'static [u8],
    pub style: Quoting,
    pub behind: &'static [u8],
    /// The end that says so, where the line itself does not tell.
    pub end: Option<End>,
    pub act: Act,
}

const fn form(before: &'static str, style: Quoting, behind: &'static str, end: Option<End>, act: Act) -> MessageForm {
    MessageForm { before: before.as_bytes(), style, behind: behind.as_bytes(), end, act }
}

/// The first that fits holds; a longer one stands before its beginning.
pub(super) const FORMATS: &[MessageForm] = &[
    // The receiver.
    form("mkstemp ", Quoted, " failed", Some(Node), Make),
    // With --inplace; of a file that cannot be made it names the first try, so the error number may tell little.
    form("open ", Quoted, " failed", Some(Node), Other),
    form("write failed on ", Quoted, "", Some(Node), Other),
    form("ftruncate failed on ", Quoted, "", Some(Node), Other),
    form("fsync failed on ", Quoted, "", Some(Node), Other),
    form("close failed on ", Quoted, "", Some(Node), Other),
    form("lseek of ", Quoted, " returned", Some(Node), Other),
    form("rename failed for ", Quoted, " (from", Some(Node), Other),
    form("rename ", Pair, " -> ", Some(Node), Other),
    form("copy ", Pair, " -> ", Some(Node), Other),
    form("fstat ", Quoted, " failed", None, Other),
    form("fstat ", Quoted, "", None, Other),
    form("temporary filename too long: ", Bare, "", Some(Node), Other),
    form("recv_files: ", Quoted, " is a directory", Some(Node), Other),
    form("ERROR: daemon refused to receive file ", Quoted, "", Some(Node), Other),
    form("ERROR: daemon refused to receive directory ", Quoted, "", Some(Node), Other),
    form("ERROR: rejecting file transfer request for daemon excluded file: ", Bare, "", Some(Node), Other),
    form("ERROR: rejecting excluded file-list name: ", Bare, "", Some(Node), Other),
    // The generator.
    form("recv_generator: mkdir ", Quoted, " failed", Some(Node), Make),
    form("recv_generator: failed to stat ", Quoted, "", Some(Node), Other),
    form("mkdir ", Quoted, " failed", Some(Node), Make),
    form("failed to re-stat ", Quoted, "", None, Other),
    form("failed to modify permissions on ", Quoted, "", Some(Node), Attributes),
    form("symlink ", Pair, " -> ", Some(Node), Make),
    form("mknod ", Quoted, " failed", Some(Node), Make),
    form("link ", Quoted, " => ", Some(Node), Make),
    form("link ", Pair, " -> ", Some(Node), Make),
    form("failed to open ", Quoted, ", continuing", Some(Node), Other),
    form("stat ", Quoted, " failed", None, Other),
    form("unlink ", Quoted, "", Some(Node), Delete),
    form("backup lstat ", Quoted, " failed", Some(Node), Other),
    form("backup stat ", Quoted, " failed", Some(Node), Other),
    form("backup mkdir ", Quoted, " failed", Some(Node), Other),
    form("keep_backup failed: ", Pair, " -> ", Some(Node), Other),
    form("delete_file: rmdir(", Bare, ") failed", Some(Node), Delete),
    form("delete_file: unlink(", Bare, ") failed", Some(Node), Delete),
    form("could not make way for new directory: ", Bare, "", Some(Node), Other),
    form("could not make way for new regular file: ", Bare, "", Some(Node), Other),
    form("could not make way for new symlink: ", Bare, "", Some(Node), Other),
    form("could not make way for new hard-link: ", Bare, "", Some(Node), Other),
    form("could not make way for new device file: ", Bare, "", Some(Node), Other),
    form("could not make way for new special file: ", Bare, "", Some(Node), Other),
    // Attributes.
    form("failed to set times on ", Quoted, "", Some(Node), Attributes),
    form("failed to set permissions on ", Quoted, "", Some(Node), Attributes),
    form("chown ", Quoted, " failed", Some(Node), Attributes),
    form("chgrp ", Quoted, " failed", Some(Node), Attributes),
    form("uid 4294967295 (-1) is impossible to set on ", Quoted, "", Some(Node), Attributes),
    form("gid 4294967295 (-1) is impossible to set on ", Quoted, "", Some(Node), Attributes),
    form("rsync_xal_set: lsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("rsync_xal_set: fsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("rsync_xal_set: lremovexattr(", Quoted, ",", Some(Node), Attributes),
    form("rsync_xal_set: fremovexattr(", Quoted, ",", Some(Node), Attributes),
    form("set_xattr_acl: lsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("set_xattr_acl: fsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("copy_xattrs: lsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("copy_xattrs: fsetxattr(", Quoted, ",", Some(Node), Attributes),
    form("get_xattr_names: llistxattr(", Quoted, ",", None, Attributes),
    form("get_xattr_data: lgetxattr(", Quoted, ",", None, Attributes),
    form("failed to write xattr ", For, "", Some(Node), Attributes),
    form("failed to read xattr ", For, "", None, Attributes),
    form("failed to re-read xattr ", For, "", None, Attributes),
    form("gen_entry_copy_xattrs: openat(", Quoted, ") failed", Some(Node), Attributes),
    form("gen_entry_copy_xattrs: secure open of ", Quoted, " failed", Some(Node), Attributes),
    form("gen_entry_copy_xattrs: secure open of basis ", Quoted, " failed", Some(Node), Attributes),
    form("delete of stat xattr failed", For, "", Some(Node), Attributes),
    form("set_acl: sys_acl_delete_def_file(", Bare, ")", Some(Node), Attributes),
    form("set_acl: sys_acl_set_file(", Bare, ", ", Some(Node), Attributes),
    form("set_acl: sys_acl_set_fd_type(", Bare, ", ", Some(Node), Attributes),
    form("set_acl: acl_set_file_at(", Bare, ", ", Some(Node), Attributes),
    form("set_acl: xacl_set(", Bare, ", ", Some(Node), Attributes),
    form("set_acl: refusing path-based ACL on ", Bare, " (no held fd)", Some(Node), Attributes),
    form("get_acl: sys_acl_get_file(", Bare, ", ", None, Attributes),
    form("get_acl: sys_acl_get_fd_type(", Bare, ", ", None, Attributes),
    form("get_acl: acl_get_file_at(", Bare, ", ", None, Attributes),
    form("get_acl: xacl_get(", Bare, ", ", None, Attributes),
    form("get_acl: unpack_smb_acl(", Bare, ")", None, Attributes),
    // The sender.
    form("send_files failed to open ", Quoted, "", Some(Source), Other),
    form("read errors mapping ", Quoted, "", Some(Source), Other),
    form("link_stat ", Quoted, " failed", None, Other),
    form("readlink_stat(", Quoted, ") failed", None, Other),
    form("opendir ", Quoted, " failed", None, Other),
    form("readdir(", Quoted, ")", None, Other),
    form("change_dir ", Quoted, " failed", None, Other),
    form("file has vanished: ", Quoted, "", Some(Source), Other),
    form("directory has vanished: ", Quoted, "", Some(Source), Other),
    form("symlink has no referent: ", Quoted, "", Some(Source), Other),
    form("cannot send file with empty name in ", Quoted, "", Some(Source), Other),
    form("path too long: ", Bare, "", Some(Source), Other),
    form("skipping overly long name: ", Bare, "", Some(Source), Other),
    form("open ", Quoted, "", None, Other),
    form("read ", Quoted, "", None, Other),
    form("write ", Quoted, "", None, Other),
    form("ftruncate ", Quoted, "", None, Other),
];

/// The beginnings of lines that come without `rsync: ` in front.
pub(super) const UNMARKED: &[&[u8]] = &[
    b"file has vanished: ",
    b"directory has vanished: ",
    b"symlink has no referent: ",
    b"skipping overly long name: ",
    b"filename overflows max-path len ",
    b"cannot send file with empty name in ",
    b"path too long: ",
    b"could not make way for ",
    b"temporary filename too long: ",
    b"recv_files: ",
    b"uid 4294967295 ",
    b"gid 4294967295 ",
    b"ERROR: ",
];
