//! The key that somebody meant by an unknown one.

use super::KEYS;

/// A name that other programs, or people, use for something, and what to say of it.
enum Means {
    /// This key.
    Key(&'static str),
    /// There is no such key.
    Nothing(&'static str),
}

use Means::{Key, Nothing};

const NO_DELAY: &str =
    "there is no such key: the first change goes at once, and those that follow form batches by themselves";
const SWITCH: &str = "it is an option of the command line: inosync --help";
const EXTRA: &str = "such parameters of rsync go into `extra`, such as extra: \"-a\"";

/// In lower case, without `_` and `-`; several words with a blank between them.
const OTHER_NAMES: &[(&str, Means)] = &[
    ("source src from path watch watched watchdir dir directory root local localpath watchpath", Key("wpath")),
    ("target dest destination targetdir to remote remotepath remotedir mirror dst", Key("rpath")),
    ("node nodes host hosts server servers targets destinations mirrors remotes", Key("rnodes")),
    ("exclude excludes excluded ignore ignores ignored excludefrom filter filters skip", Key("rexcludes")),
    (
        "options option args arguments rsyncargs rsyncoptions rsyncopts opts extraargs params flags extraopts",
        Key("extra"),
    ),
    ("bwlimit speed limit ratelimit bandwidth", Key("rspeed")),
    ("rsyncpath binary rsyncbinary rsyncbin", Key("rsync")),
    ("rsynclog", Key("logfile")),
    ("init startup onstart initsync", Key("initial_sync")),
    ("moves renames", Key("dir_moves")),
    ("loglevel logformat logging level format logs", Key("log")),
    ("statefile cache database db", Key("state_dir")),
    ("socket control controlsocket", Key("socket_dir")),
    ("port metrics http page address bind", Key("listen")),
    ("hook hooks exec command oncomplete aftersync postsync", Key("on_synced")),
    ("resync interval fullsync rescan rescaninterval reconcile", Key("resync_every")),
    ("verify check verifyinterval", Key("verify_every")),
    ("grace shutdowntimeout", Key("stop_timeout")),
    ("maxdeletes maxdeletions", Key("max_delete")),
    ("settletime quiet stable", Key("settle")),
    ("edelay delay maxdelays debounce latency batchdelay", Nothing(NO_DELAY)),
    ("emask events", Nothing("there is no such key: which events count is fixed")),
    ("maxprocesses threads workers", Nothing("there is no such key: each node has its own runs; see `max_standbys`")),
    (
        "wpaths rpaths sites syncs",
        Nothing("one file mirrors one tree: write a file for each, and run one inosync for each"),
    ),
    ("delete deletion", Nothing("there is no such key: removals are mirrored; see `initial_sync` and `max_delete`")),
    ("insist retry retries", Nothing("there is no such key: a node may be down, and is tried again by itself")),
    ("dryrun verbose once onepass debug nodaemon daemon foreground", Nothing(SWITCH)),
    (
        "ssh sshopts sshargs identityfile identity key sshkey keyfile",
        Nothing("write it into ssh_config, or as extra: \"--rsh='ssh -i FILE'\""),
    ),
    ("passwordfile password timeout compress archive perms owner group checksum chown chmod", Nothing(EXTRA)),
    ("include import load", Nothing("a configuration is one file: write the keys into it")),
    ("user username", Nothing("write the user in front of the host: rnodes: [\"USER@HOST:\"]")),
];

/// Without what people write differently.
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

/// The example of a key, behind its name.
pub fn example(key: &str) -> &str {
    KEYS.iter().find(|(name, _)| *name == key).map_or(key, |(_, example)| example)
}

/// The key that is most likely meant by an unknown one.
pub fn meant(key: &str) -> Option<&'static str> {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let same = keys.iter().find(|known| bare(known) == bare(key)).copied();
    same.or_else(|| match other(key) {
        Some(Key(known)) => Some(*known),
        Some(Nothing(_)) => None,
        None => nearest(key, &keys),
    })
}

fn other(key: &str) -> Option<&'static Means> {
    let wanted = bare(key);
    OTHER_NAMES.iter().find(|(names, _)| names.split(' ').any(|name| name == wanted)).map(|(_, means)| means)
}

/// What to write instead of an unknown key.
pub fn key(key: &str) -> String {
    match (meant(key), other(key)) {
        (Some(known), _) => format!("did you mean `{known}`? For example {}", example(known)),
        (None, Some(Nothing(advice))) => (*advice).to_owned(),
        (None, _) => "inosync.ron(5) and docs/configuration.md have every key".to_owned(),
    }
}

/// What to write instead of an unknown key of a group, which has only these.
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
        for (names, means) in OTHER_NAMES {
            for name in names.split(' ') {
                assert_eq!(bare(name), name);
                assert!(!KEYS.iter().any(|(key, _)| bare(key) == name), "{name}");
            }
            assert!(matches!(means, Nothing(_)) || matches!(means, Key(key) if KEYS.iter().any(|(k, _)| k == key)));
        }
    }
}
