//! Tables of nodes: how rsync reads them, and which are refused.

use super::*;

#[test]
fn a_node_and_rpath_are_joined_as_rsync_reads_them() {
    for (node, rpath, kind, dest, root) in [
        ("", "/m", Kind::Local, "/m/", "/m"),
        ("", "/m//n/", Kind::Local, "/m/n/", "/m/n"),
        ("/mnt/b", "/m", Kind::Local, "/mnt/b/m/", "/mnt/b/m"),
        ("/mnt/b/", "/", Kind::Local, "/mnt/b/", "/mnt/b"),
        ("/mnt/a:b", "/m", Kind::Local, "/mnt/a:b/m/", "/mnt/a:b/m"),
        ("", "/a [x]*", Kind::Local, "/a [x]*/", "/a [x]*"),
        ("h:", "/m", Kind::Ssh, "h:/m/", "/m"),
        ("u@h.org:", "/m/", Kind::Ssh, "u@h.org:/m/", "/m"),
        ("h:/base", "/", Kind::Ssh, "h:/base/", "/base"),
        ("h:back/up", "/m", Kind::Ssh, "h:back/up/m/", "back/up/m"),
        ("h:/a::b", "/m", Kind::Ssh, "h:/a::b/m/", "/a::b/m"),
        ("[::1]:", "/m", Kind::Ssh, "[::1]:/m/", "/m"),
        ("u@[fe80::1%eth0]:", "/m", Kind::Ssh, "u@[fe80::1%eth0]:/m/", "/m"),
        ("h::www", "/m", Kind::Daemon, "h::www/m/", "/m"),
        ("h::www", "/", Kind::Daemon, "h::www/", ""),
        ("u@h::www/sub/", "/m", Kind::Daemon, "u@h::www/sub/m/", "/sub/m"),
        ("[::1]::www", "/m", Kind::Daemon, "[::1]::www/m/", "/m"),
        ("rsync://h/www", "/m", Kind::Daemon, "rsync://h/www/m/", "/m"),
        ("RSYNC://u@h:8730/www/s", "/m", Kind::Daemon, "RSYNC://u@h:8730/www/s/m/", "/s/m"),
        ("rsync://u@[::1]:8730/www", "/m", Kind::Daemon, "rsync://u@[::1]:8730/www/m/", "/m"),
    ] {
        let parsed = Node::parse(node, rpath).unwrap_or_else(|error| panic!("{node:?} {rpath:?}: {error}"));
        assert_eq!(parsed.kind(), kind, "{node:?} {rpath:?}");
        assert_eq!(parsed.dest(), dest, "{node:?} {rpath:?}");
        assert_eq!(parsed.mirror_root(), root.as_bytes(), "{node:?} {rpath:?}");
        assert_eq!(parsed.local_path(), (kind == Kind::Local).then(|| Path::new(root)), "{node:?} {rpath:?}");
        assert_eq!(parsed.name(), if node.is_empty() { "local" } else { node });
    }
}

#[test]
fn what_rsync_would_misread_is_refused_with_a_cure() {
    for (node, rpath, message) in [
        ("h:", "m/n", "rpath `m/n` is relative: write an absolute path, such as `/m/n`"),
        ("h:", "", "is relative"),
        ("h:", "/m/../n", "`/m/../n` has a `.` or `..` component"),
        ("", "/./m", "has a `.` or `..` component"),
        ("h:/a/..", "/m", "`h:/a/..` has a `.` or `..` component"),
        ("h::..", "/m", "has a `.` or `..` component"),
        ("", "/a\nb", "`/a\\x0ab` holds a control character"),
        ("h\t:", "/m", "`h\\x09:` holds a control character"),
        ("h:", "/a*", "`/a*` holds `*`, which the remote side of node `h:` would expand"),
        ("h::m", "/a[b", "holds `[`"),
        ("h::m?", "/a", "`h::m?` holds `?`"),
        ("h:", "/a\\b", "holds `\\`"),
        ("h:", "/a`id`", "holds ``"),
        ("mirror", "/m", "write `mirror:` for a host reached by ssh, `mirror::MODULE` for an rsync daemon"),
        ("./a:b", "/m", "names neither a host nor an absolute path"),
        ("a/b:", "/m", "names neither a host nor an absolute path"),
        (":", "/m", "has no host in front of its colon"),
        ("::www", "/m", "has no host in front of its colon"),
        ("u@:", "/m", "has no host"),
        ("@h:", "/m", "has no host"),
        ("[]:", "/m", "has no host"),
        ("rsync:///www", "/m", "has no host"),
        ("-h:", "/m", "begins with `-`"),
        ("-u@h:", "/m", "begins with `-`"),
        ("u@-h:", "/m", "begins with `-`"),
        ("--log-file=x", "/m", "begins with `-`"),
        ("rsync://-h/www", "/m", "begins with `-`"),
        ("u @h:", "/m", "with a blank or bracket"),
        ("[::1", "/m", "node `[::1` has no host|with a blank or bracket"),
        ("::1::m", "/m", "IPv6 address without brackets: write `[::1]`"),
        ("2001:db8::1:", "/m", "write `[2001:db8::1]`"),
        ("u@fe80::1::www", "/m", "write `[fe80::1]`"),
        ("rsync://2001:db8::1/www", "/m", "write `[2001:db8::1]`"),
        ("h::", "/m", "names an rsync daemon but no module"),
        ("h::/www", "/m", "no module"),
        ("rsync://h", "/www", "no module"),
        ("rsync://h/", "/www", "no module"),
        ("rsync://h//www", "/m", "no module"),
        ("rsync://h/", "www", "no module"),
        ("rsync://h:0/www", "/m", "port that is not a number from 1 to 65535"),
        ("rsync://h:x/www", "/m", "port that is not a number"),
        ("rsync://h:/www", "/m", "port that is not a number"),
        ("rsync://h:+1/www", "/m", "port that is not a number"),
        ("", "/", "is the root directory of the machine"),
        ("h:", "//", "is the root directory of the machine"),
        ("h:/", "/", "is the root directory of the machine"),
    ] {
        let error = Node::parse(node, rpath).expect_err(&format!("{node:?} {rpath:?}"));
        let error = format!("{error}: {}", error.cure());
        assert!(message.split('|').any(|message| error.contains(message)), "{node:?} {rpath:?}: {error}");
    }
}

#[test]
fn two_spellings_of_one_destination_are_equal() {
    let node = |node, rpath| Node::parse(node, rpath).unwrap();
    assert_eq!(node("h:", "/m"), node("h:/", "/m/"));
    assert_eq!(node("", "/mnt/b/m"), node("/mnt/b", "//m"));
    assert_ne!(node("h:", "/m"), node("h::m", "/m"));
    assert_ne!(node("h:", "/m"), node("u@h:", "/m"));
}

#[test]
fn a_node_below_another_is_enclosed_by_it() {
    let encloses = |outer, inner| Node::parse(outer, "/m").unwrap().encloses(&Node::parse(inner, "/m").unwrap());
    for (outer, inner, expected) in [
        ("", "/m", true),
        ("/m", "", false),
        ("h:", "h:/m", true),
        ("h::www", "h::www/m", true),
        ("h:", "h:", false),
        ("h:", "h:/mm", false),
        ("h:", "i:/m", false),
    ] {
        assert_eq!(encloses(outer, inner), expected, "{outer:?} {inner:?}");
    }
}

#[test]
fn an_error_knows_whether_rpath_is_to_blame() {
    for (node, rpath, about_rpath) in
        [("h:", "/a*", true), ("h:*", "/a", false), ("h:/..", "/a", false), ("", "/", true), ("x", "/a", false)]
    {
        assert_eq!(Node::parse(node, rpath).unwrap_err().is_about_rpath(rpath), about_rpath, "{node} {rpath}");
    }
}

#[test]
fn a_path_that_the_remote_side_would_expand_cannot_be_named() {
    for (path, remote) in
        [("a b", true), ("$(x)", true), ("a*", false), ("[x]", false), ("a\\b", false), ("a`", false), ("a\nb", false)]
    {
        let path = RelPath::new(path.as_bytes()).unwrap();
        let can = |node| Node::parse(node, "/m").unwrap().can_name(&path);
        assert_eq!((can(""), can("h:"), can("h::mod")), (true, remote, remote), "{path}");
    }
}

#[test]
fn a_directory_above_the_mirror_is_named_as_far_as_the_text_goes() {
    for (node, rpath, levels, expected) in [
        ("", "/srv/a/b", 1, Some("/srv/a/")),
        ("", "/srv/a/b", 3, Some("/")),
        ("", "/srv", 2, None),
        ("h:", "/a/b", 2, Some("h:/")),
        ("h:home", "/b", 1, Some("h:home/")),
        ("h:home", "/b", 2, Some("h:./")),
        ("h::m", "/a", 1, Some("h::m/")),
        ("h::m", "/a", 2, None),
        ("rsync://h/m", "/a/b", 1, Some("rsync://h/m/a/")),
    ] {
        let node = Node::parse(node, rpath).unwrap();
        let found = node.above(levels).map(|above| above.dest().to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), expected, "{} {rpath} {levels}", node.name());
    }
}
