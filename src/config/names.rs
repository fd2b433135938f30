//! The key that is most likely meant by an unknown one.

use super::keys::{KEYS, Key};

/// The answer to a name that other programs, or people, use.
enum Meaning {
    /// This key is meant.
    Is(&'static str),
    /// There is no such key; the text says what to write instead.
    None(&'static str),
}

const NO_DELAY: &str =
    "there is no such key: the first change goes at once, and those that follow form batches by themselves";
const SWITCH: &str = "it is an option of the command line: inosync --help";
const EXTRA: &str = "such parameters of rsync go into `extra`, such as extra: \"-a\"";

/// In lower case, without `_` and `-`; several words with a blank between them.
const OTHER_NAMES: &[(&str, Meaning)] = &[
    ("source src from path watch watched watchdir dir directory root local localpath watchpath", Meaning::Is("wpath")),
    ("target dest destination targetdir to remote remotepath remotedir mirror dst", Meaning::Is("rpath")),
    ("node nodes host hosts server servers targets destinations mirrors remotes", Meaning::Is("rnodes")),
    ("exclude excludes excluded ignore ignores ignored filter filters skip", Meaning::Is("rexcludes")),
    (
        "options option args arguments rsyncargs rsyncoptions rsyncopts opts extraargs params flags extraopts",
        Meaning::Is("extra"),
    ),
    ("bwlimit speed limit ratelimit bandwidth", Meaning::Is("rspeed")),
    ("nice ionice niceness prio cpuweight", Meaning::Is("priority")),
    ("rsyncpath binary rsyncbinary rsyncbin", Meaning::Is("rsync")),
    ("rsynclog", Meaning::Is("logfile")),
    ("init startup onstart initsync", Meaning::Is("initial_sync")),
    ("moves renames", Meaning::Is("dir_moves")),
    ("loglevel logformat logging level format logs", Meaning::Is("log")),
    ("statefile cache database db", Meaning::Is("state_dir")),
    ("socket control controlsocket", Meaning::Is("socket_dir")),
    ("port metrics http page address bind", Meaning::Is("listen")),
    ("hook hooks exec command oncomplete aftersync postsync", Meaning::Is("on_synced")),
    ("resync interval fullsync rescan rescaninterval reconcile", Meaning::Is("resync_every")),
    ("verify check verifyinterval", Meaning::Is("verify_every")),
    ("grace shutdowntimeout", Meaning::Is("stop_timeout")),
    ("maxdeletes maxdeletions", Meaning::Is("max_delete")),
    ("settletime quiet stable", Meaning::Is("settle")),
    ("tempnames temporarynames skiptemp", Meaning::Is("await_names")),
    ("beat pulse heartbeatinterval", Meaning::Is("heartbeat")),
    ("edelay delay maxdelays debounce latency batchdelay", Meaning::None(NO_DELAY)),
    ("emask events", Meaning::None("there is no such key: which events count is fixed")),
    ("jobs parallel parallelism reconcilethreads reconcileruns", Meaning::Is("reconcile_jobs")),
    ("threads workers arbiters", Meaning::Is("node_threads")),
    ("maxprocesses", Meaning::None("there is no such key: each node has its own runs; see `max_standbys`")),
    (
        "wpaths rpaths sites syncs",
        Meaning::None("one file mirrors one tree: write a file for each, and run one inosync for each"),
    ),
    ("deletion deletions deletes", Meaning::Is("delete")),
    ("insist retry retries", Meaning::None("there is no such key: a node may be down, and is tried again by itself")),
    ("dryrun verbose once onepass debug nodaemon daemon foreground", Meaning::None(SWITCH)),
    (
        "ssh sshopts sshargs identityfile identity key sshkey keyfile",
        Meaning::None("write it into ssh_config, or as extra: \"--rsh='ssh -i FILE'\""),
    ),
    ("passwordfile password timeout compress archive perms owner group checksum chown chmod", Meaning::None(EXTRA)),
    ("includes import imports load common shared", Meaning::Is("include")),
    ("excludesfrom excludefile ignorefile ignorefrom", Meaning::Is("exclude_from")),
    ("user username", Meaning::None("write the user in front of the host: rnodes: [\"USER@HOST:\"]")),
];

/// The name without case, `_` and `-`, which people write differently.
fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The one of `known` that looks most like `name`.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let wanted = bare(name);
    let close = |known: &&'k str| {
        let distance = strsim::osa_distance(&wanted, &bare(known));
        (distance <= (wanted.chars().count() / 3).max(1)).then_some((distance, *known))
    };
    let nearest = known.iter().filter_map(close).min_by_key(|(distance, _)| *distance);
    let begins = || {
        let mut begin = known.iter().filter(|known| wanted.len() >= 4 && bare(known).starts_with(&wanted));
        begin.next().filter(|_| begin.next().is_none()).copied()
    };
    nearest.filter(|_| wanted.len() > 1).map(|(_, known)| known).or_else(begins)
}

/// The key that is most likely meant by this name, with its example; or the name alone.
pub fn shown(name: &str) -> String {
    meant(name).and_then(Key::named).map_or(name.to_owned(), Key::shown)
}

/// True if the example of the key that is meant has this in it.
pub fn example_has(name: &str, part: &str) -> bool {
    meant(name).and_then(Key::named).is_some_and(|key| key.example.contains(part))
}

/// The key that is most likely meant by an unknown one.
pub fn meant(key: &str) -> Option<&'static str> {
    let keys: Vec<&'static str> = KEYS.iter().map(|key| key.name).collect();
    let same = keys.iter().find(|known| bare(known) == bare(key)).copied();
    same.or_else(|| match other(key) {
        Some(Meaning::Is(known)) => Some(*known),
        Some(Meaning::None(_)) => None,
        None => nearest(key, &keys),
    })
}

fn other(key: &str) -> Option<&'static Meaning> {
    let wanted = bare(key);
    OTHER_NAMES.iter().find(|(names, _)| names.split(' ').any(|name| name == wanted)).map(|(_, meaning)| meaning)
}

/// The cure of an unknown key.
pub fn key(key: &str) -> String {
    match (meant(key), other(key)) {
        (Some(known), _) => format!("did you mean `{known}`? For example {}", shown(known)),
        (None, Some(Meaning::None(instead))) => (*instead).to_owned(),
        (None, _) => "inosync.ron(5) and docs/configuration.md have every key".to_owned(),
    }
}

/// The cure of an unknown key in a group, which has only the known ones.
pub fn part(key: &str, known: &[&str]) -> String {
    let allowed = format!("allowed: {}", known.join(", "));
    nearest(key, known).map_or(allowed.clone(), |near| format!("did you mean `{near}`? {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_leads_to_the_one_that_is_meant() {
        for (written, expected) in [
            ("wPath", "`wpath`"),
            ("w-path", "`wpath`"),
            ("w_path", "`wpath`"),
            ("WPATH", "`wpath`"),
            ("wapth", "`wpath`"),
            ("source", "`wpath`"),
            ("rnode", "`rnodes`"),
            ("r-nodes", "`rnodes`"),
            ("hosts", "`rnodes`"),
            ("exclude", "`rexcludes`"),
            ("excluds", "`rexcludes`"),
            ("rexclude", "`rexcludes`"),
            ("stateDir", "`state_dir`"),
            ("initialSync", "`initial_sync`"),
            ("log_file", "`logfile`"),
            ("logLevel", "`log`"),
            ("dirmoves", "`dir_moves`"),
            ("bwlimit", "`rspeed`"),
            ("resync", "`resync_every`"),
            ("max_deletes", "`max_delete`"),
            ("edelay", "form batches by themselves"),
            ("wpaths", "one file mirrors one tree"),
            ("dry-run", "command line"),
            ("ssh_key", "--rsh='ssh -i FILE'"),
            ("colour", "inosync.ron(5)"),
            ("x", "inosync.ron(5)"),
        ] {
            assert!(key(written).contains(expected), "{written}: {}", key(written));
        }
    }

    #[test]
    fn each_other_name_is_of_a_key_and_is_no_key() {
        for (names, meaning) in OTHER_NAMES {
            for name in names.split(' ') {
                assert_eq!(bare(name), name);
                assert!(!KEYS.iter().any(|key| bare(key.name) == name), "{name}");
            }
            assert!(
                matches!(meaning, Meaning::None(_)) || matches!(meaning, Meaning::Is(key) if Key::named(key).is_some())
            );
        }
    }
}
