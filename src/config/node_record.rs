//! One entry of `rnodes`: a node alone, or a node with settings of its own.

use inosync_actors::node::Node;
use inosync_actors::path::Escaped;
use inosync_actors::site::options::{NodeOptions, NodeProgram};

use super::complaint::{ConfigComplaint, ConfigComplaints};
use super::keys::Draft;
use super::nodes;
use super::paths::absolute_in;
use super::record::RecordEntries;
use super::value::Value;
use super::values::{DIR_MOVES, delete, extra};

/// The keys of a node with settings.
pub const NODE_KEYS: &[&str] = &["node", "name", "rpath", "extra", "rspeed", "rsync", "dir_moves", "delete"];

const EXAMPLE: &str = "(node: \"user@host:\", name: \"a\", rspeed: 5000)";

/// An entry of `rnodes`.
pub struct NodeEntry<'a> {
    /// The node as it would stand alone.
    pub place: Value<'a>,
    /// The whole entry, for complaints.
    value: Value<'a>,
    /// `None` if the node stands alone.
    own: Option<RecordEntries<'a>>,
}

impl<'a> NodeEntry<'a> {
    /// Reads the notation of an entry.
    pub fn of(value: Value<'a>) -> Result<Self, ConfigComplaints> {
        if !value.is_group() {
            return Ok(NodeEntry { place: value.clone(), value, own: None });
        }
        let own = value.group("Node", EXAMPLE)?;
        let mut wrong = own.unknown_keys(NODE_KEYS, Some(value.key()));
        let place = own.get("node").ok_or_else(|| {
            let what = format!("`{}` has no `node`", value.key());
            value.complaint(what, format!("write the node, as it would stand alone: {EXAMPLE}"))
        });
        let place = wrong.keep(place).map(|place| place.within(value.key()));
        wrong.or(())?;
        place.map(|place| NodeEntry { place, value, own: Some(own) }).ok_or_else(ConfigComplaints::default)
    }

    /// The node's own value of a key.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        Some(self.own.as_ref()?.get(key)?.within(self.value.key()))
    }

    /// The directory at the node, with its place: the node's own, or that of all.
    pub fn rpath(&self, of_all: Option<&(Value<'a>, String)>) -> Result<Option<(Value<'a>, String)>, ConfigComplaint> {
        match self.value("rpath") {
            Some(own) => nodes::rpath(&own).map(|path| Some((own, path))),
            None => Ok(of_all.cloned()),
        }
    }

    /// The node under its own name, if it has one. No other node has the name: those before are `earlier`.
    pub fn named(&self, node: Node, earlier: &[(NodeEntry<'a>, Node)]) -> Result<Node, ConfigComplaint> {
        let value = self.value("name");
        let node = match &value {
            Some(value) => node.named(name(value)?),
            None => node,
        };
        let Some((other, _)) = earlier.iter().find(|(_, other)| other.name() == node.name()) else { return Ok(node) };
        let shown = Escaped(node.name().as_bytes());
        let line = other.value.line();
        let what = format!("`{}`: the node on line {line} has the name `{shown}`, too", self.value.key());
        let cure = "give one of them another name: (node: \"...\", name: \"...\")";
        Err(value.as_ref().unwrap_or(&self.value).complaint(what, cure))
    }

    /// The settings of the node. Its program is noted in the draft.
    pub fn options(&self, node: &Node, draft: &mut Draft<'a>) -> Result<NodeOptions, ConfigComplaints> {
        let mut wrong = ConfigComplaints::default();
        let mut options = NodeOptions::default();
        if let Some(value) = self.value("extra") {
            options.extra = wrong.keep(extra(&value, draft, &[node]));
        }
        if let Some(value) = self.value("rspeed") {
            options.rspeed = wrong.keep(value.number(0..=1_000_000_000, "KiB/s"));
        }
        if let Some(value) = self.value("dir_moves") {
            options.dir_moves = wrong.keep(value.choice(DIR_MOVES));
        }
        if let Some(value) = self.value("delete") {
            options.delete = wrong.keep(delete(&value, draft.site.initial_sync));
        }
        if let Some(value) = self.value("rsync") {
            let path = wrong.keep(absolute_in(&value, value.key(), "/usr/bin/"));
            draft.programs.extend(path.clone().map(|path| (value, path)));
            options.rsync = path.map(|path| NodeProgram { path, version: None, confine: true });
        }
        wrong.or(options)
    }
}

/// A name that can be written on a command line and in a list.
fn name(value: &Value<'_>) -> Result<String, ConfigComplaint> {
    let text = value.string()?;
    let fault = match () {
        () if text.is_empty() => "is empty",
        () if text.starts_with('-') => "begins with `-`, as an option does",
        () if text.contains(|c: char| c.is_whitespace() || c.is_control()) => "has a blank in it",
        () if text.contains('/') => "has a slash in it",
        () => return Ok(text),
    };
    let what = format!("`{}`: the name `{}` {fault}", value.key(), Escaped(text.as_bytes()));
    Err(value.complaint(what, "write a short word, such as name: \"paris\""))
}
