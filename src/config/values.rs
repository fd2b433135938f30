//! What the values of single keys mean.

use std::time::Duration;

use inosync_actors::filter::excludes::Pattern;
use inosync_actors::filter::settle::Settle;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::extra::Extra;
use inosync_actors::rsync::node::{Kind, Node};
use inosync_actors::site::{DirMoves, InitialSync};

use super::text::{Complaint, Value};
use super::{EVERY, MAX_SETTLE};

/// A list of exclude patterns.
pub fn patterns(list: &Value<'_>) -> Result<Vec<Pattern>, Complaint> {
    let pattern = |value: Value<'_>| Pattern::parse(&value.string()?).map_err(|error| value.refuse(&error));
    list.list()?.into_iter().map(pattern).collect()
}

/// Patterns of names, each with the seconds for which such files are left alone.
pub fn settle(list: &Value<'_>) -> Result<Settle, Complaint> {
    let pair = |value: Value<'_>| {
        let (text, seconds) = value.pair("(\"*.part\", 30), a pattern and seconds")?;
        let pattern = Pattern::parse(&text.string()?).map_err(|error| text.refuse(&error))?;
        Ok((pattern, Duration::from_secs(seconds.number_from(1, MAX_SETTLE, "seconds")?)))
    };
    Ok(Settle::new(list.list()?.into_iter().map(pair).collect::<Result<_, _>>()?))
}

/// rsync refuses some parameters at some kinds of nodes; the daemon gives each node the same.
pub fn extra(value: &Value<'_>, nodes: &[Node]) -> Result<Extra, Complaint> {
    let extra = parameters(value)?;
    let other = nodes.iter().find(|node| node.kind() != Kind::Daemon);
    if let (Some(option), Some(other)) = (extra.daemon_only(), other) {
        let name = Escaped(other.name().as_bytes());
        let what = format!("`extra`: {option} is for rsync daemons only, but node `{name}` is none");
        return Err(value.complaint(what, "leave it out, or mirror to the other nodes by a configuration of their own"));
    }
    Ok(extra)
}

/// One shell-quoted string, or a list with one string per parameter.
fn parameters(value: &Value<'_>) -> Result<Extra, Complaint> {
    if !value.is_list() {
        return Extra::parse(&value.string()?).map_err(|error| value.refuse(&error));
    }
    let values = value.list()?;
    let words: Vec<String> = values.iter().map(Value::string).collect::<Result<_, _>>()?;
    match Extra::first_refused(&words) {
        Some((at, error)) => Err(values.get(at).unwrap_or(value).refuse(&error)),
        None => Extra::from_words(words).map_err(|error| value.refuse(&error)),
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
