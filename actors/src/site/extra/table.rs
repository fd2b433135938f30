//! The table of rsync's options: the options that take a value, and those that are refused, with reasons. Taken from
//! the manual and the option table of rsync 3.5.0; names that older versions lack do no harm.

/// Options whose value may be the next word: those with `=VALUE` in rsync's manual, their short forms, and older names
/// that rsync still accepts.
const VALUED: &str = "\
    address backup-dir block-size bwlimit cc checksum-choice checksum-seed chmod chown compare-dest \
    compress-choice compress-level compress-threads config confine-root contimeout copy-as copy-dest debug \
    dparam early-input exclude exclude-from files-from filter groupmap iconv include include-from info link-dest \
    log-file log-file-format log-format max-alloc max-delete max-size min-size modify-window only-write-batch \
    out-format outbuf partial-dir password-file port protocol read-batch remote-option rsh rsync-path \
    skip-compress sockopts stderr stop-after stop-at suffix temp-dir time-limit timeout usermap write-batch zc \
    zl zt";

/// Long names of the short options that take a value or are refused; -F and -P have no long name and get one with the
/// same effect.
const SHORT: &str = "\
    @=modify-window B=block-size M=remote-option T=temp-dir e=rsh f=filter 0=from0 b=backup C=cvs-exclude K=keep-dirlinks \
    L=copy-links V=version F=cvs-exclude P=progress h=human-readable i=itemize-changes k=copy-dirlinks \
    m=prune-empty-dirs n=dry-run q=quiet u=update v=verbose x=one-file-system y=fuzzy";

/// A row of the table: names separated by blanks, the reason for the refusal, and advice on what to write instead.
pub(super) type OptionRow = (&'static str, &'static str, &'static str);

const LEAVE: &str = "leave it out";
const OWN_LIST: &str = "the daemon hands rsync its own list of paths, NUL-separated, on stdin";
const OWN_MODE: &str = "it turns rsync into something else than a sender of changes";
const OWN_DELETE: &str = "the daemon decides what is deleted on a node, and when";
const UPDATE: &str = "leave it out (`initial_sync: Update` starts without deletions)";
const OWN_DIRS: &str = "each listed path must arrive where it is in the source, and directories one by one";
const OWN_OUTPUT: &str = "the daemon reads rsync's output";
const LOGFILE: &str = "leave it out (`logfile` makes rsync write a log of its own)";
const NARROW_FILTER: &str = "runs over single paths do not honour rsync's filters";
const REXCLUDES: &str = "use `rexcludes`";
const SYMLINKS: &str = "changes behind a symlink are not seen, and its copy would go stale";
const OWN_SITE: &str = "mirror what it points to as a site of its own";
const KEEPS_OLD: &str = "changes would be left out on a node without notice";
const NOT_MIRRORED: &str = "use `rexcludes` for what shall not be mirrored";
const BY_SIZE: &str = "a file that grows or shrinks past the limit would stay old on a node without notice";
const BY_NAME: &str = "use `rexcludes`, which goes by names, such as rexcludes: [\"*.iso\"]";
const NO_SYMLINKS: &str = "symlinks would be left out on a node without notice, or stay as they were";
const BY_PATH: &str = "leave it out, and name in `rexcludes` the symlinks that shall not be mirrored";
const EARLY_END: &str = "a waiting rsync would end, and a mirror would be left half done";
const STOP: &str = "leave it out, or stop the daemon instead";
const SKIPS_EQUAL: &str = "the daemon asks rsync by this to send what was changed";
const UNPROTECTED: &str = "a path with a blank in it would be split by the shell of the node";

/// Refused options by long name, grouped by the harm that they do. All other options of rsync 3.5.0 do no harm: they
/// are about attributes, the connection, or the way in which a file is written.
pub(super) const REFUSED: &[OptionRow] = &[
    ("files-from from0 no-from0", OWN_LIST, LEAVE),
    ("daemon config dparam detach no-detach server sender", OWN_MODE, LEAVE),
    ("list-only version help", OWN_MODE, LEAVE),
    ("write-batch only-write-batch read-batch", "batch files bypass the nodes", LEAVE),
    ("dry-run", "nothing would ever be sent", "use `inosync dry-run`"),
    ("remove-source-files remove-sent-files", "it deletes from the source", LEAVE),
    ("ignore-missing-args delete del delete-before delete-during delete-delay", OWN_DELETE, UPDATE),
    ("delete-after delete-missing-args no-force", OWN_DELETE, UPDATE),
    ("max-delete", "a run over changed paths would stop half way", "use the key `max_delete`"),
    ("delete-excluded", "what is excluded is never touched on a node", LEAVE),
    ("ignore-errors", "what the source cannot read for a moment would be deleted on the nodes", LEAVE),
    ("prune-empty-dirs", "empty directories are mirrored too", LEAVE),
    ("exclude exclude-from include include-from filter cvs-exclude", NARROW_FILTER, REXCLUDES),
    ("one-file-system", "runs over single paths do not honour it", "name the mount points in `rexcludes`"),
    ("no-dirs no-d old-dirs old-d no-relative no-R", OWN_DIRS, LEAVE),
    ("no-implied-dirs no-i-d no-recursive no-r", OWN_DIRS, LEAVE),
    ("copy-links copy-unsafe-links copy-dirlinks", SYMLINKS, OWN_SITE),
    ("keep-dirlinks", "writes would follow symlinks of the node out of the mirror", LEAVE),
    ("no-links no-l safe-links", NO_SYMLINKS, BY_PATH),
    ("max-size min-size", BY_SIZE, BY_NAME),
    ("existing ignore-non-existing ignore-existing compare-dest", KEEPS_OLD, NOT_MIRRORED),
    ("drop-D", "devices and special files would be left out on a node without notice", "use --no-D"),
    ("update", "a restored or renamed file has an old time and would be left out without notice", LEAVE),
    ("size-only", "a change that keeps the size would be left out without notice", LEAVE),
    ("no-checksum no-c no-ignore-times no-I", SKIPS_EQUAL, LEAVE),
    ("append append-verify", "a rewritten file would be left out or torn on the node", LEAVE),
    ("no-times no-t", "without times each reconcile would send the whole tree again", LEAVE),
    ("copy-devices write-devices", "the content of devices is not mirrored", "use -D for the devices themselves"),
    ("fuzzy", "together with deletions it makes rsync abort a whole batch", LEAVE),
    ("iconv", "names are mirrored byte for byte", LEAVE),
    ("protocol", "the daemon chooses it", LEAVE),
    ("old-args", UNPROTECTED, LEAVE),
    ("stop-after time-limit stop-at", EARLY_END, STOP),
    ("no-timeout", "a dead connection would never be noticed", "use --timeout=SECONDS"),
    ("out-format log-format itemize-changes info debug stats", OWN_OUTPUT, LOGFILE),
    ("quiet human-readable stderr msgs2stderr no-msgs2stderr", OWN_OUTPUT, LOGFILE),
    ("progress", OWN_OUTPUT, "use --partial for what -P does besides"),
    ("log-file", "the daemon sets it", "use `logfile`"),
];

/// Options that are refused only for the node's rsync. The daemon itself cancels `-v` for the local rsync.
pub(super) const REFUSED_AT_NODE: &[OptionRow] = &[("verbose v", OWN_OUTPUT, LEAVE)];

/// Options that rsync refuses unless the node is an rsync daemon.
pub(super) const DAEMON_ONLY: &str = "password-file contimeout";

/// Options with which rsync does not report a file that it takes from the other directory, although the node's own file
/// differs.
pub(super) const HIDES_LINES: &str = "link-dest";

/// Options whose value is a file or directory that rsync opens.
const PLACES: [&str; 8] =
    ["backup-dir", "copy-dest", "early-input", "link-dest", "log-file", "partial-dir", "password-file", "temp-dir"];

/// Returns the name itself if the option is one of [`PLACES`].
pub(super) fn place(name: &str) -> Option<&'static str> {
    PLACES.into_iter().find(|place| *place == name)
}

/// The kinds of values that are refused although the option is not.
pub(super) enum Wrong {
    /// The value itself, letter for letter.
    Value(&'static str),
    /// A list with this name in it, in upper or lower case.
    Among(&'static str),
    /// A number greater than this one.
    Over(u64),
}

impl Wrong {
    /// Tells if `value` is refused.
    pub(super) fn is(&self, value: &str) -> bool {
        match self {
            Wrong::Value(refused) => value == *refused,
            Wrong::Among(refused) => value.split(',').any(|name| name.eq_ignore_ascii_case(refused)),
            Wrong::Over(most) => value.parse::<u64>().is_ok_and(|number| number > *most),
        }
    }
}

pub(super) const REFUSED_VALUES: &[(&str, Wrong, &str, &str)] = &[
    ("password-file", Wrong::Value("-"), "stdin carries the list of paths", "name a file"),
    ("timeout", Wrong::Value("0"), "a dead connection would never be noticed", "write the seconds"),
    (
        "checksum-choice cc",
        Wrong::Among("none"),
        "files could not be compared by content, nor checked as they are sent",
        "leave it out, or name a checksum: --checksum-choice=xxh64",
    ),
    // FAT has the coarsest times of all file systems: two seconds apart.
    (
        "modify-window",
        Wrong::Over(2),
        "a change that keeps the size would be left out when it is made within that time",
        "write 2 or less: FAT keeps every other second",
    ),
];

/// Tells if an option, given by its long name, takes a value.
pub(super) fn takes_value(name: &str) -> bool {
    is_one_of(name, VALUED)
}

/// Returns the long name of a short option; `None` if the option takes no value and is not refused.
pub(super) fn long_name(letter: char) -> Option<&'static str> {
    SHORT.split_whitespace().find_map(|pair| pair.strip_prefix(letter)?.strip_prefix('='))
}

/// Tells if `name` is one of `names`, which are separated by blanks.
pub(super) fn is_one_of(name: &str, names: &str) -> bool {
    names.split_whitespace().any(|one| one == name)
}
