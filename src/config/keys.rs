//! The keys of a configuration file, one row each: name, example, type, default, limits, and the field that the key sets.

use std::path::{Path, PathBuf};

use inosync_actors::node::Node;
use inosync_actors::patterns::excludes::Excludes;
use inosync_actors::site::Site;
use inosync_actors::site::extra::Extra;
use inosync_actors::site::options::NodeOptions;

use super::complaint::ConfigComplaints;
use super::exclude_from::PatternFile;
use super::node_record::NodeEntry;
use super::nodes;
use super::places;
use super::record::Record;
use super::value::Value;
use super::values::{
    DIR_MOVES, INITIAL_SYNC, PRIORITY, address, boolean, delete, extra, heartbeat, hook, interval, log_style, marker,
    number, or_default, or_none, patterns, seconds, settle, speed_limit,
};
use super::warnings::warnings;
use super::{Configuration, Service};

/// One key of a configuration file.
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// A value as it is written. Messages show it, and tell from it whether the key takes a list or a text.
    pub example: &'static str,
    check: Check,
}

/// Checks a value and sets the field of the draft. `None` stands for a key that is left out.
enum Check {
    Required(CheckRequired),
    Optional(CheckOptional),
}

type CheckRequired = for<'a> fn(&mut Draft<'a>, Value<'a>) -> Result<(), ConfigComplaints>;
type CheckOptional = for<'a> fn(&mut Draft<'a>, Option<Value<'a>>) -> Result<(), ConfigComplaints>;

const fn required(name: &'static str, example: &'static str, check: CheckRequired) -> Key {
    Key { name, example, check: Check::Required(check) }
}

const fn key(name: &'static str, example: &'static str, check: CheckOptional) -> Key {
    Key { name, example, check: Check::Optional(check) }
}

const DAY: u64 = 86_400;
const HOOK: &str = "[\"/usr/local/bin/program\", \"argument\"]";

/// Every key, in the order in which they are read: the checks of a key may need the keys above it. `d` is the draft, `v` the
/// value. The limits of `rspeed` and `max_delete` are those of an int, in which rsync keeps them.
pub const KEYS: &[Key] = &[
    // Read before all others: see `include.rs`.
    key("include", "\"common.ron\"", |_, _| Ok(())),
    required("wpath", "\"/var/www\", the directory to watch", |d, v| d.set_wpath(&v)),
    key("rexcludes", "[\"*.tmp\"]", |d, v| d.set_excludes(v)),
    key("exclude_from", "\"excludes.txt\"", |d, v| d.set_pattern_files(v)),
    key("initial_sync", "Full", |d, v| put(or_default(v, |v| v.choice(INITIAL_SYNC)), &mut d.site.initial_sync)),
    required("rpath", "\"/var/www\", the directory on each node", |d, v| d.set_rpath(v)),
    required("rnodes", "[\"user@host:\"], what the tree is mirrored to", |d, v| d.set_nodes(&v)),
    key("extra", "\"-a\"", |d, v| put(or_default(v, |v| d.extra_of_all(v)), &mut d.site.extra)),
    key("rspeed", "0", |d, v| put(or_default(v, speed_limit), &mut d.site.rspeed)),
    key("priority", "Low", |d, v| put(or_default(v, |v| v.choice(PRIORITY)), &mut d.site.priority)),
    key("rsync", "\"/usr/bin/rsync\"", |d, v| put(places::rsync(v), &mut d.site.rsync)),
    key("confine", "true", |d, v| put(boolean(v, true), &mut d.site.confine)),
    key("logfile", "\"/var/log/inosync/rsync.log\"", |d, v| put(or_none(v, |v| d.logfile(v)), &mut d.site.logfile)),
    key("delete", "Always", |d, v| put(or_default(v, |v| delete(v, d.site.initial_sync)), &mut d.site.delete)),
    key("dir_moves", "Log", |d, v| put(or_default(v, |v| v.choice(DIR_MOVES)), &mut d.site.dir_moves)),
    key("standby", "true", |d, v| put(boolean(v, true), &mut d.site.standby)),
    // One for each of the usual handful of nodes, and more where much changes; each takes some 1.5 MB.
    key("max_standbys", "128", |d, v| {
        put(number(v, 128, 0..=10_000, "processes").map(|count| count as usize), &mut d.site.max_standbys)
    }),
    key("ssh_master", "true", |d, v| put(boolean(v, true), &mut d.site.ssh_master)),
    // In MiB; 8 are some 0.1 s of a fast line.
    key("bulk_size", "8", |d, v| put(number(v, 8, 0..=1 << 20, "MiB").map(|size| size << 20), &mut d.site.bulk_size)),
    key("state_dir", "\"/var/lib/inosync\"", |d, v| put(d.state_file(v), &mut d.site.state_file)),
    key("staging", "\"/srv/inosync-staging\"", |d, v| put(d.staging(v), &mut d.site.staging)),
    // systemd kills a service that takes longer than its own TimeoutStopSec, 90 by default.
    key("stop_timeout", "30", |d, v| put(seconds(v, 30, 0..=DAY), &mut d.site.stop_timeout)),
    key("allow_empty", "false", |d, v| put(boolean(v, false), &mut d.site.allow_empty)),
    key("marker", "\".inosync-marker\"", |d, v| {
        put(or_none(v, |v| marker(v, d.excludes.as_ref())), &mut d.site.marker)
    }),
    key("max_delete", "1000", |d, v| {
        put(or_none(v, |v| v.number(0..=2_000_000_000, "entries")), &mut d.site.max_delete)
    }),
    key("reconcile_jobs", "4", |d, v| {
        let jobs = or_none(v, |v| v.number(1..=64, "runs").map(|number| number as usize));
        put(jobs, &mut d.site.reconcile_jobs)
    }),
    key("node_threads", "4", |d, v| {
        let threads = or_none(v, |v| v.number(0..=64, "threads").map(|number| number as usize));
        put(threads, &mut d.site.node_threads)
    }),
    key("watch_poll", "60", |d, v| put(seconds(v, 60, 1..=DAY), &mut d.site.watch_poll)),
    key("settle", "[(\"*.part\", 30)]", |d, v| put(or_default(v, |v| settle(v, 1..=DAY)), &mut d.site.settle)),
    key("await_names", "true", |d, v| put(boolean(v, true), &mut d.site.await_names)),
    key("heartbeat", "10", |d, v| {
        put(or_none(v, |v| heartbeat(v, d.site.state_file.is_some(), 1..=DAY)), &mut d.site.heartbeat)
    }),
    key("resync_every", "86400", |d, v| put(or_default(v, interval), &mut d.site.resync_every)),
    key("verify_every", "604800", |d, v| put(or_default(v, interval), &mut d.site.verify_every)),
    key("on_synced", HOOK, |d, v| put(or_default(v, hook), &mut d.site.on_synced)),
    key("on_all_synced", HOOK, |d, v| put(or_default(v, hook), &mut d.site.on_all_synced)),
    key("hook_timeout", "60", |d, v| put(seconds(v, 60, 1..=DAY), &mut d.site.hook_timeout)),
    key("socket_dir", "\"/run/inosync\"", |d, v| put(d.sockets(v), &mut d.service.sockets)),
    key("listen", "\"127.0.0.1:9877\"", |d, v| put(or_none(v, address), &mut d.service.listen)),
    key("log", "(format: Text, level: Info)", |d, v| put(or_default(v, log_style), &mut d.service.log)),
];

fn put<T>(value: Result<T, impl Into<ConfigComplaints>>, field: &mut T) -> Result<(), ConfigComplaints> {
    *field = value.map_err(Into::into)?;
    Ok(())
}

impl Key {
    /// The key of this name.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// True if every file has to give the key.
    pub fn is_required(&self) -> bool {
        matches!(self.check, Check::Required(_))
    }

    /// The key with its example.
    pub fn shown(&self) -> String {
        format!("{}: {}", self.name, self.example)
    }
}

/// A configuration in the making. A field whose key is wrong keeps an empty value, and what depends on it is not checked.
#[derive(Default)]
pub struct Draft<'a> {
    pub site: Site,
    pub service: Service,
    /// The path of the configuration file.
    pub file: PathBuf,
    /// The watched directory without symlinks in it.
    pub watched: Option<PathBuf>,
    /// `None` while the patterns are not known.
    pub excludes: Option<Excludes>,
    /// The files of patterns.
    pub pattern_files: Vec<PatternFile>,
    /// The value, and the text in it.
    rpath: Option<(Value<'a>, String)>,
    /// The entries of `rnodes`, one for each node of the site.
    pub entries: Vec<NodeEntry<'a>>,
    /// The rsync programs of single nodes, which this machine has to have.
    pub programs: Vec<(Value<'a>, PathBuf)>,
}

impl<'a> Draft<'a> {
    /// Reads every key. Complaints are left with the record.
    pub fn of(record: &mut Record<'a>, file: &Path) -> Self {
        let mut draft = Draft { file: file.to_owned(), ..Draft::default() };
        for key in KEYS {
            let checked = match (&key.check, record.value(key.name)) {
                (Check::Required(check), Some(value)) => check(&mut draft, value),
                (Check::Optional(check), value) if !record.is_broken(key.name) => check(&mut draft, value),
                // The record has a complaint about the key.
                (Check::Required(_), None) | (Check::Optional(_), _) => Ok(()),
            };
            record.keep(checked);
        }
        draft
    }

    /// The configuration, once nothing is wrong.
    pub fn finish(self, record: &Record<'a>) -> Configuration {
        let warnings = warnings(record, &self);
        let excludes = self.excludes.unwrap_or_default();
        let excludes = if self.site.heartbeat.is_some() { excludes.with_heartbeat() } else { excludes };
        Configuration { site: Site { excludes, ..self.site }, service: self.service, warnings }
    }

    fn set_wpath(&mut self, value: &Value<'_>) -> Result<(), ConfigComplaints> {
        let watched = places::wpath(value)?;
        self.site.wpath = watched.named;
        self.watched = Some(watched.resolved);
        Ok(())
    }

    /// The parameters of all nodes that have none of their own.
    fn extra_of_all(&self, value: &Value<'_>) -> Result<Extra, ConfigComplaints> {
        let has_own = |node: &Node| self.site.options.get(node.name()).is_some_and(|own| own.extra.is_some());
        let others: Vec<&Node> = self.site.nodes.iter().filter(|node| !has_own(node)).collect();
        extra(value, self, &others)
    }

    fn set_excludes(&mut self, value: Option<Value<'_>>) -> Result<(), ConfigComplaints> {
        let patterns = or_default(value, patterns)?;
        self.excludes = Some(Excludes::from_patterns(patterns));
        Ok(())
    }

    fn set_pattern_files(&mut self, value: Option<Value<'_>>) -> Result<(), ConfigComplaints> {
        let Some(value) = value else { return Ok(()) };
        // Without all patterns it is not known what is excluded.
        let own = self.excludes.take();
        self.pattern_files = PatternFile::read(&value)?;
        self.service.files.extend(self.pattern_files.iter().map(|read| read.file.path.clone()));
        let named = self.pattern_files.iter().flat_map(PatternFile::patterns).cloned();
        if let Some(own) = own {
            self.excludes = Some(Excludes::from_patterns(own.patterns().iter().cloned().chain(named).collect()));
        }
        Ok(())
    }

    fn set_rpath(&mut self, value: Value<'a>) -> Result<(), ConfigComplaints> {
        let text = nodes::rpath(&value)?;
        self.rpath = Some((value, text));
        Ok(())
    }

    fn set_nodes(&mut self, value: &Value<'a>) -> Result<(), ConfigComplaints> {
        let mirrored = self.watched.as_deref().zip(self.excludes.as_ref());
        let found = nodes::nodes(value, self.rpath.as_ref(), mirrored)?;
        let mut wrong = ConfigComplaints::default();
        for (entry, node) in found {
            let options = wrong.keep(entry.options(&node, self)).unwrap_or_default();
            if options != NodeOptions::default() {
                self.site.options.insert(node.name().to_owned(), options);
            }
            self.site.nodes.push(node);
            self.entries.push(entry);
        }
        wrong.or(())
    }
}
