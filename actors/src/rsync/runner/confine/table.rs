//! The files of this machine that an rsync needs beside the tree: each is named here, and nothing else can be read.
//!
//! None of them is a secret. A symlink stands for what it leads to, and what does not exist is left out.

use super::domain::Need;

/// Paths, what may be done with them, and why.
pub(super) type AccessRow = (&'static [&'static str], Need, &'static str);

/// The files that every rsync needs.
pub(super) const SYSTEM: &[AccessRow] = &[
    (
        &["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"],
        Need::Run,
        "rsync, and the shell that starts the program of RSYNC_CONNECT_PROG",
    ),
    (
        &["/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32"],
        Need::Run,
        "the dynamic loader, shared libraries, character sets",
    ),
    (&["/usr/local/lib", "/usr/local/lib64", "/nix/store", "/gnu/store"], Need::Run, "libraries elsewhere"),
    (&["/etc/ld.so.cache", "/etc/ld.so.preload"], Need::Read, "where the dynamic loader finds libraries"),
    (&["/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone"], Need::Read, "the time in rsync's log"),
    (&["/usr/share/locale", "/usr/share/i18n"], Need::Read, "the language of messages"),
    (&["/etc/popt", "/etc/popt.d"], Need::Read, "the aliases of rsync's options"),
    (
        &["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/var/lib/extrausers", "/etc/userdb", "/run/userdb"],
        Need::Read,
        "the names of owners and groups",
    ),
    (&["/var/lib/sss/mc", "/run/nscd", "/var/run/nscd"], Need::Read, "the caches of sssd and nscd"),
    (
        &["/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols"],
        Need::Read,
        "the address of an rsync daemon",
    ),
    (
        &[
            "/etc/ssl/openssl.cnf",
            "/etc/pki/tls/openssl.cnf",
            "/etc/pki/tls/openssl.d",
            "/etc/pki/tls/fips_local.cnf",
            "/etc/crypto-policies",
            "/usr/share/crypto-policies",
            "/proc/sys/crypto",
        ],
        Need::Read,
        "the configuration of the library that makes checksums",
    ),
    (&["/dev/null", "/dev/zero"], Need::Device, "to drop what is not wanted"),
    (&["/dev/random", "/dev/urandom"], Need::Read, "the names of temporary files"),
];
