//! The types of values that single keys have.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use inosync_actors::node::{Kind, Node};
use inosync_actors::path::{Escaped, RelPath};
use inosync_actors::patterns::excludes::{Excludes, Pattern};
use inosync_actors::patterns::settle::Settle;
use inosync_actors::site::extra::{Extra, ExtraError};
use inosync_actors::site::speed_limit::{SpeedLimit, SpeedWindow};
use inosync_actors::site::{DeleteMode, DirMoves, Hook, InitialSync, Priority};
use slog::Level;

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::keys::Draft;
use super::paths::absolute_in;
use super::value::{Value, all};
use crate::logging::{Format, LogStyle};

/// In seconds: comparing more often would be a way to mirror by itself. The most is a year.
const INTERVAL: RangeInclusive<u64> = 60..=31_536_000;

pub const INITIAL_SYNC: &[(&str, InitialSync)] =
    &[("Full", InitialSync::Full), ("Update", InitialSync::Update), ("Off", InitialSync::Off)];
pub const DIR_MOVES: &[(&str, DirMoves)] = &[("Log", DirMoves::Log), ("Replicate", DirMoves::Replicate)];

pub const PRIORITY: &[(&str, Priority)] = &[("Low", Priority::Low), ("Normal", Priority::Normal)];

pub const DELETE: &[(&str, DeleteMode)] = &[
    ("Always", DeleteMode::Always),
    ("Never", DeleteMode::Never),
    ("Startup", DeleteMode::Startup),
    ("Running", DeleteMode::Running),
];

/// Reads the times at which a node deletes. `initial` is `initial_sync`, which must not say otherwise.
pub fn delete(value: &Value<'_>, initial: InitialSync) -> Result<DeleteMode, ConfigComplaint> {
    let mode = value.choice(DELETE)?;
    if mode == DeleteMode::Startup && initial != InitialSync::Full {
        let what =
            format!("`{}`: Startup deletes at the start alone, where `initial_sync` deletes nothing", value.key());
        return Err(value.complaint(what, "write initial_sync: Full, or delete: Never"));
    }
    Ok(mode)
}

/// The value of a key that has the default of its type.
pub fn or_default<T: Default, E: Into<ConfigComplaints>>(
    value: Option<Value<'_>>,
    read: impl FnOnce(&Value<'_>) -> Result<T, E>,
) -> Result<T, ConfigComplaints> {
    value.map_or(Ok(T::default()), |value| read(&value).map_err(Into::into))
}

/// The value of a key that has no default.
pub fn or_none<T, E: Into<ConfigComplaints>>(
    value: Option<Value<'_>>,
    read: impl FnOnce(&Value<'_>) -> Result<T, E>,
) -> Result<Option<T>, ConfigComplaints> {
    value.map(|value| read(&value).map_err(Into::into)).transpose()
}

pub fn boolean(value: Option<Value<'_>>, default: bool) -> Result<bool, ConfigComplaint> {
    value.map_or(Ok(default), |value| value.boolean())
}

/// A whole number. `unit` is for people.
pub fn number(
    value: Option<Value<'_>>,
    default: u64,
    range: RangeInclusive<u64>,
    unit: &str,
) -> Result<u64, ConfigComplaint> {
    value.map_or(Ok(default), |value| value.number(range, unit))
}

pub fn seconds(
    value: Option<Value<'_>>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, ConfigComplaint> {
    number(value, default, range, "seconds").map(Duration::from_secs)
}

/// Seconds between comparisons; 0 is never.
pub fn interval(value: &Value<'_>) -> Result<Option<Duration>, ConfigComplaint> {
    match value.number(0..=*INTERVAL.end(), "seconds")? {
        0 => Ok(None),
        seconds if seconds < *INTERVAL.start() => {
            let what = format!("`{}` is {seconds} seconds: each time every node is compared as a whole", value.key());
            Err(value.complaint(what, format!("write {} or more, or 0 for never", INTERVAL.start())))
        }
        seconds => Ok(Some(Duration::from_secs(seconds))),
    }
}

/// The interval of heartbeats, in seconds. They are written beside the state.
pub fn heartbeat(value: &Value<'_>, has_state: bool, range: RangeInclusive<u64>) -> Result<Duration, ConfigComplaint> {
    let seconds = value.number(range, "seconds")?;
    if !has_state {
        let what = "heartbeats are written beside the state, and none is kept".to_owned();
        return Err(value.complaint(what, "let `state_dir` name a directory, or leave `heartbeat` out"));
    }
    Ok(Duration::from_secs(seconds))
}

/// A list of exclude patterns.
pub fn patterns(list: &Value<'_>) -> Result<Vec<Pattern>, ConfigComplaints> {
    all(list.list()?.iter().map(pattern))
}

fn pattern(value: &Value<'_>) -> Result<Pattern, ConfigComplaint> {
    Pattern::parse(&value.string()?).map_err(|error| value.refuse(&error, error.cure()))
}

/// Patterns of names, each with the seconds for which such files are left alone.
pub fn settle(list: &Value<'_>, range: RangeInclusive<u64>) -> Result<Settle, ConfigComplaints> {
    let pair = |value: Value<'_>| {
        let (text, seconds) = value.pair("(\"*.part\", 30), a pattern and seconds")?;
        Ok((pattern(&text)?, Duration::from_secs(seconds.number(range.clone(), "seconds")?)))
    };
    Ok(Settle::new(all(list.list()?.into_iter().map(pair))?))
}

/// A limit of the data rate, or a list of windows of the day, each with a limit. No two windows have a time in common.
pub fn speed_limit(value: &Value<'_>) -> Result<SpeedLimit, ConfigComplaints> {
    let number = |value: &Value<'_>| value.number(0..=1_000_000_000, "KiB/s");
    if value.is_group() {
        let what = format!("`{}` must be a number, or a list of windows of the day", value.key());
        let cure = "write brackets around: [(\"08:00-18:00\", 2000)]";
        return Err(value.complaint(what, cure).into());
    }
    if !value.is_list() {
        return Ok(SpeedLimit::Steady(number(value)?));
    }
    let mut known: Vec<(SpeedWindow, usize)> = Vec::new();
    let window = |value: Value<'_>| {
        let (text, limit) = value.pair("(\"08:00-18:00\", 2000), a window of the day and KiB/s")?;
        let window = SpeedWindow::parse(&text.string()?, number(&limit)?);
        let window = window.map_err(|error| text.refuse(&error, error.cure()))?;
        if let Some((other, line)) = known.iter().find(|(other, _)| other.overlaps(&window)) {
            let what = format!("`{}`: {window} overlaps {other} on line {line}", value.key());
            return Err(text.complaint(what, "let one of the two end when the other one begins"));
        }
        known.push((window, value.line()));
        Ok(window)
    };
    Ok(SpeedLimit::Daily(all(value.list()?.into_iter().map(window))?))
}

/// rsync's parameters, for these nodes. Each gets the same, so each has to take them.
pub fn extra(value: &Value<'_>, draft: &Draft<'_>, nodes: &[&Node]) -> Result<Extra, ConfigComplaints> {
    let (extra, places) = parameters(value)?;
    let mut wrong = ConfigComplaints::default();
    let other = nodes.iter().find(|node| node.kind() != Kind::Daemon);
    if let (Some(option), Some(other)) = (extra.daemon_only(), other) {
        let name = Escaped(other.name().as_bytes());
        let what = format!("`{}`: {option} is for rsync daemons only, but node `{name}` is none", value.key());
        let cure = "leave it out, or give it to the rsync daemon alone: (node: \"host::module\", extra: \"...\")";
        wrong.add(value.complaint(what, cure));
    }
    for keeps in extra.keeps() {
        let place = places.get(keeps.word()).unwrap_or(value);
        if let Some(complaint) = nodes.iter().find_map(|node| draft.misplaced(place, keeps, node)) {
            wrong.add(complaint);
        }
    }
    wrong.or(extra)
}

/// One shell-quoted string, or a list with one string per parameter. Returns the values of a list, too.
fn parameters<'a>(value: &Value<'a>) -> Result<(Extra, Vec<Value<'a>>), ConfigComplaints> {
    let places = if value.is_list() { value.list()? } else { Vec::new() };
    let words = match value.is_list() {
        true => all(places.iter().map(Value::string))?,
        false => Extra::split(&value.string()?).map_err(|error| value.refuse(&error, error.cure()))?,
    };
    let refused = |(at, error): &(usize, ExtraError)| places.get(*at).unwrap_or(value).refuse(error, error.cure());
    match Extra::from_words(words) {
        Ok(extra) => Ok((extra, places)),
        Err(errors) => Err(errors.iter().map(refused).collect::<Vec<_>>().into()),
    }
}

/// A program with its arguments; an empty list is none. Whether the program can be run is not checked: a hook that fails
/// must not keep anybody from mirroring.
pub fn hook(value: &Value<'_>) -> Result<Option<Hook>, ConfigComplaint> {
    let words = value.list()?;
    let Some((program, arguments)) = words.split_first() else { return Ok(None) };
    let program = absolute_in(program, value.key(), "/usr/bin/")?;
    let argument = |argument: &Value<'_>| {
        let text = argument.string()?;
        if text.contains('\0') {
            let what = format!("`{}`: an argument holds a NUL byte, which no program can be given", value.key());
            return Err(argument.complaint(what, "leave it out"));
        }
        Ok(text)
    };
    Ok(Some(Hook { program, arguments: arguments.iter().map(argument).collect::<Result<_, _>>()? }))
}

/// An entry that a complete source has. The entry may be missing now: its file system may not be mounted yet.
pub fn marker(value: &Value<'_>, excludes: Option<&Excludes>) -> Result<RelPath, ConfigComplaint> {
    let text = value.string()?;
    let Some(marker) = RelPath::new(text.as_bytes()).ok().filter(|marker| !marker.is_root()) else {
        let what = format!("marker `{}` is not a plain path below wpath", Escaped(text.as_bytes()));
        return Err(value.complaint(what, "name a file of the source by its path there, such as marker: \"d/file\""));
    };
    let is_excluded = |excludes: &Excludes| excludes.excludes(&marker, false) || excludes.excludes(&marker, true);
    if excludes.is_some_and(is_excluded) {
        let what = format!("marker `{marker}` is excluded by `rexcludes`");
        return Err(value.complaint(what, "name an entry that is mirrored"));
    }
    Ok(marker)
}

/// The address of the page.
pub fn address(value: &Value<'_>) -> Result<SocketAddr, ConfigComplaint> {
    let text = value.string()?;
    socket_address(&text).ok_or_else(|| {
        let what = format!("`listen`: `{}` is no address with a port", text.escape_default());
        value.complaint(what, "write an IP address and a port: \"127.0.0.1:9877\", or \"[::1]:9877\"")
    })
}

/// The address of a page, from the file or the command line; `None` if the text is none.
pub fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0)
}

/// Format and level of the log.
pub fn log_style(value: &Value<'_>) -> Result<LogStyle, ConfigComplaints> {
    let group = value.group("Log", "log: (format: Json, level: Info)")?;
    let mut wrong = group.unknown_keys(&["format", "level"], Some("log"));
    let mut style = LogStyle::default();
    let part = |key: &str| group.get(key).map(|value| value.within("log"));
    let formats = [("Text", Format::Text), ("Json", Format::Json)];
    let levels = [("Warning", Level::Warning), ("Info", Level::Info), ("Debug", Level::Debug)];
    if let Some(value) = part("format") {
        style.format = wrong.keep(value.choice(&formats)).unwrap_or(style.format);
    }
    if let Some(value) = part("level") {
        style.level = wrong.keep(value.choice(&levels)).unwrap_or(style.level);
    }
    wrong.or(style)
}
