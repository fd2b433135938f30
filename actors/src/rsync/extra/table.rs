//! rsync's options, as far as they matter here: which take a value, which are refused, and why.
//! Taken from the manual and option table of rsync 3.5.0; names that older versions lack do no harm.

/// Options whose value may stand in the next word: those that rsync's manual lists with `=VALUE`, their short forms,
/// and the older names that rsync still takes.
const VALUED: &str = "\
    address backup-dir block-size bwlimit cc checksum-choice checksum-seed chmod chown compare-dest \
    compress-choice compress-level compress-threads config confine-root contimeout copy-as copy-dest debug \
    dparam early-input exclude exclude-from files-from filter groupmap iconv include include-from info link-dest \
    log-file log-file-format log-format max-alloc max-delete max-size min-size modify-window only-write-batch \
    out-format outbuf partial-dir password-file port protocol read-batch remote-option rsh rsync-path \
    skip-compress sockopts stderr stop-after stop-at suffix temp-dir time-limit timeout usermap write-batch zc \
    zl zt";

/// The long names of short options that take a value or are refused; -F and -P, which have none, by what they do.
const SHORT: &str = "\
    @=modify-window B=block-size M=remote-option T=temp-dir e=rsh f=filter 0=from0 b=backup C=cvs-exclude K=keep-dirlinks \
    L=copy-links V=version F=cvs-exclude P=progress h=human-readable i=itemize-changes k=copy-dirlinks \
    m=prune-empty-dirs n=dry-run q=quiet u=update x=one-file-system y=fuzzy";

const OWN_LIST: &str = "the daemon hands rsync its own list of paths, NUL-separated, on stdin; leave it out";
const OWN_MODE: &str = "it turns rsync into something else than a sender of changes; leave it out";
const OWN_DELETE: &str = "the daemon decides what is deleted on a node, and when; leave it out (`initial_sync: \
    Update` starts without deletions)";
const OWN_DIRS: &str =
    "each listed path must arrive where it is in the source, and directories one by one; leave it out";
const OWN_OUTPUT: &str = "the daemon reads rsync's output; leave it out (`logfile` makes rsync write a log of its own)";
const NARROW_FILTER: &str = "runs over single paths do not honour rsync's filters; use `rexcludes`";
const SYMLINKS: &str =
    "changes behind a symlink are not seen, and its copy would go stale; mirror what it points to as a site of its own";
const KEEPS_OLD: &str =
    "changes would be left out on a node without notice; use `rexcludes` for what shall not be mirrored";
const EARLY_END: &str =
    "a waiting rsync would end, and a mirror would be left half done; leave it out, or stop the daemon instead";

/// What is refused, by long name, and why; each reason ends with what to do instead. Grouped by what would break.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("files-from from0 no-from0", OWN_LIST),
    ("daemon config dparam detach no-detach server sender", OWN_MODE),
    ("list-only version help", OWN_MODE),
    ("write-batch only-write-batch read-batch", "batch files bypass the nodes; leave it out"),
    ("dry-run", "nothing would ever be sent; use `inosync --dry-run`"),
    ("remove-source-files remove-sent-files", "it deletes from the source; leave it out"),
    ("ignore-missing-args delete del delete-before delete-during delete-delay", OWN_DELETE),
    ("delete-after delete-missing-args no-delete no-force", OWN_DELETE),
    ("max-delete", "a run over changed paths would stop half way; use the key `max_delete`"),
    ("delete-excluded", "what is excluded is never touched on a node; leave it out"),
    ("ignore-errors", "what the source cannot read for a moment would be deleted on the nodes; leave it out"),
    ("prune-empty-dirs", "empty directories are mirrored too; leave it out"),
    ("exclude exclude-from include include-from filter cvs-exclude", NARROW_FILTER),
    ("one-file-system", "runs over single paths do not honour it; name the mount points in `rexcludes`"),
    ("no-dirs no-d old-dirs old-d no-relative no-R", OWN_DIRS),
    ("no-implied-dirs no-i-d no-recursive no-r", OWN_DIRS),
    ("copy-links copy-unsafe-links copy-dirlinks", SYMLINKS),
    ("keep-dirlinks", "writes would follow symlinks of the node out of the mirror; leave it out"),
    ("existing ignore-non-existing ignore-existing compare-dest", KEEPS_OLD),
    ("update", "a restored or renamed file has an old time and would be left out without notice; leave it out"),
    ("size-only", "a change that keeps the size would be left out without notice; leave it out"),
    ("append append-verify", "a rewritten file would be left out or torn on the node; leave it out"),
    ("no-times no-t", "without times each reconcile would send the whole tree again; leave it out"),
    ("copy-devices write-devices", "the content of devices is not mirrored; use -D for the devices themselves"),
    ("fuzzy", "together with deletions it makes rsync abort a whole batch; leave it out"),
    ("iconv", "names are mirrored byte for byte; leave it out"),
    ("protocol", "the daemon chooses it; leave it out"),
    ("stop-after time-limit stop-at", EARLY_END),
    ("no-timeout", "a dead connection would never be noticed; use --timeout=SECONDS"),
    ("out-format log-format itemize-changes info debug stats", OWN_OUTPUT),
    ("quiet human-readable stderr msgs2stderr no-msgs2stderr", OWN_OUTPUT),
    ("progress", "the daemon reads rsync's output; use --partial for what -P does besides"),
    ("log-file", "the daemon sets it; use `logfile`"),
];

/// rsync refuses these when the node is not an rsync daemon.
pub(super) const DAEMON_ONLY: &str = "password-file contimeout";

/// Values that are refused although the option is not.
pub(super) const REFUSED_VALUES: &[(&str, &str, &str)] = &[
    ("password-file", "-", "stdin carries the list of paths; name a file"),
    ("timeout", "0", "a dead connection would never be noticed; write the seconds"),
];

/// Whether an option, by its long name, takes a value.
pub(super) fn takes_value(name: &str) -> bool {
    is_one_of(name, VALUED)
}

/// The long name of a short option; `None` when it takes no value and is not refused.
pub(super) fn long_name(letter: char) -> Option<&'static str> {
    SHORT.split_whitespace().find_map(|pair| pair.strip_prefix(letter)?.strip_prefix('='))
}

/// Whether `names`, separated by blanks, has `name`.
pub(super) fn is_one_of(name: &str, names: &str) -> bool {
    names.split_whitespace().any(|one| one == name)
}
