//! What the values of single keys mean.

use std::time::Duration;

use inosync_actors::node::Kind;
use inosync_actors::path::Escaped;
use inosync_actors::patterns::excludes::Pattern;
use inosync_actors::patterns::settle::Settle;
use inosync_actors::site::extra::{Extra, ExtraError, ExtraWarning};
use inosync_actors::site::{DirMoves, InitialSync};

use super::check::Own;
use super::complaint::{Complaint, Complaints};
use super::text::{Value, all};
use super::{EVERY, MAX_SETTLE};

/// A list of exclude patterns.
pub fn patterns(list: &Value<'_>) -> Result<Vec<Pattern>, Complaints> {
    all(list.list()?.iter().map(pattern))
}

fn pattern(value: &Value<'_>) -> Result<Pattern, Complaint> {
    Pattern::parse(&value.string()?).map_err(|error| value.refuse(&error, error.cure()))
}

/// Patterns of names, each with the seconds for which such files are left alone.
pub fn settle(list: &Value<'_>) -> Result<Settle, Complaints> {
    let pair = |value: Value<'_>| {
        let (text, seconds) = value.pair("(\"*.part\", 30), a pattern and seconds")?;
        Ok((pattern(&text)?, Duration::from_secs(seconds.number_from(1, MAX_SETTLE, "seconds")?)))
    };
    Ok(Settle::new(all(list.list()?.into_iter().map(pair))?))
}

/// rsync's parameters. The daemon gives each node the same, so each node has to take them.
pub fn extra(value: &Value<'_>, own: &Own<'_>) -> Result<Extra, Complaints> {
    let (extra, places) = parameters(value)?;
    let mut wrong = Complaints::default();
    let other = own.nodes.iter().find(|node| node.kind() != Kind::Daemon);
    if let (Some(option), Some(other)) = (extra.daemon_only(), other) {
        let name = Escaped(other.name().as_bytes());
        let what = format!("`extra`: {option} is for rsync daemons only, but node `{name}` is none");
        let cure = "leave it out, or mirror to the other nodes by a configuration of their own";
        wrong.add(value.complaint(what, cure));
    }
    for keeps in extra.keeps() {
        let place = places.get(keeps.word()).unwrap_or(value);
        if let Some(complaint) = own.nodes.iter().find_map(|node| own.misplaced(place, keeps, node)) {
            wrong.add(complaint);
        }
    }
    wrong.or(extra)
}

/// What does other things than it seems to.
pub fn extra_warnings(value: &Value<'_>, extra: &Extra) -> Vec<Complaint> {
    let places = if value.is_list() { value.list().unwrap_or_default() } else { Vec::new() };
    let told = |(at, warning): &(usize, ExtraWarning)| places.get(*at).unwrap_or(value).refuse(warning, warning.cure());
    extra.warnings().iter().map(told).collect()
}

/// One shell-quoted string, or a list with one string per parameter; and where each parameter of a list is.
fn parameters<'a>(value: &Value<'a>) -> Result<(Extra, Vec<Value<'a>>), Complaints> {
    let (words, places) = match value.is_list() {
        true => {
            let places = value.list()?;
            (all(places.iter().map(Value::string))?, places)
        }
        false => {
            let split = Extra::split(&value.string()?).map_err(|error| value.refuse(&error, error.cure()))?;
            (split, Vec::new())
        }
    };
    let refused = |(at, error): &(usize, ExtraError)| places.get(*at).unwrap_or(value).refuse(error, error.cure());
    match Extra::from_words(words) {
        Ok(extra) => Ok((extra, places)),
        Err(errors) => Err(errors.iter().map(refused).collect::<Vec<_>>().into()),
    }
}

/// One of the words of `initial_sync`.
pub fn initial_sync(value: &Value<'_>) -> Result<InitialSync, Complaint> {
    value.choice(&[("Full", InitialSync::Full), ("Update", InitialSync::Update), ("Off", InitialSync::Off)])
}

/// Seconds between comparisons; 0 is never.
pub fn every(value: &Value<'_>) -> Result<Option<Duration>, Complaint> {
    match value.number(*EVERY.end(), "seconds")? {
        0 => Ok(None),
        seconds if seconds < *EVERY.start() => {
            let what = format!("`{}` is {seconds} seconds: each time every node is compared as a whole", value.key());
            Err(value.complaint(what, format!("write {} or more, or 0 for never", EVERY.start())))
        }
        seconds => Ok(Some(Duration::from_secs(seconds))),
    }
}

/// One of the words of `dir_moves`.
pub fn dir_moves(value: &Value<'_>) -> Result<DirMoves, Complaint> {
    value.choice(&[("Log", DirMoves::Log), ("Replicate", DirMoves::Replicate)])
}
