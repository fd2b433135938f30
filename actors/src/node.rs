//! A node: one place that mirrors the tree, written in rsync's own syntax and checked once. Nothing here touches the
//! network or the disk; the configuration checks that no local node lies inside the source.
//!
//! rsync reads the kind of a destination from its text alone. Texts that rsync would read in another way than the user
//! meant are refused here, and so are characters that the remote side would expand.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::path::{Escaped, RelPath, Shown};

/// The way in which rsync reaches a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory of this machine.
    Local,
    /// A host reached through the remote shell, usually ssh.
    Ssh,
    /// A module of an rsync daemon.
    Daemon,
}

/// Characters that the remote side expands in a destination.
const EXPANDED: &[u8] = b"*?[]\\`";

/// One destination of the mirror: an entry of `rnodes` joined with `rpath`. Two nodes are equal if and only if rsync
/// would write to the same place according to their text.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    kind: Kind,
    /// Destination argument of rsync; ends with exactly one slash.
    dest: OsString,
    /// Index in `dest` at which the path begins; for an rsync daemon, after the module.
    root_at: usize,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.dest == other.dest
    }
}

impl Eq for Node {}

/// The reason why a node, or the node together with `rpath`, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The `rpath` does not begin with a slash.
    #[error("rpath `{0}` is relative")]
    RelativeRpath(Shown),
    /// The path has a `.` or `..` component.
    #[error("`{0}` has a `.` or `..` component")]
    DotComponent(Shown),
    /// The text contains a control character.
    #[error("`{0}` holds a control character")]
    ControlCharacter(Shown),
    /// The remote side would expand a character of the path.
    #[error("`{path}` holds `{character}`, which the remote side of node `{node}` would expand")]
    Expanded {
        /// The path with the character.
        path: Shown,
        /// The first such character.
        character: char,
        /// The remote node that expands it.
        node: Shown,
    },
    /// The text is neither empty, nor an absolute path, nor does it name a host.
    #[error("node `{0}` names neither a host nor an absolute path")]
    NoHost(Shown),
    /// The host in front of the colon is missing.
    #[error("node `{0}` has no host in front of its colon")]
    EmptyHost(Shown),
    /// The user or host begins with `-`, so a remote shell would read an option.
    #[error("node `{0}` has a user or host that begins with `-`, which ssh would take for an option")]
    LeadingDash(Shown),
    /// The user or host contains a blank or a bracket.
    #[error("node `{0}` has a user or host with a blank or bracket in it")]
    BadHost(Shown),
    /// An IPv6 address lacks brackets, and rsync would cut it at its first colon.
    #[error("node `{node}` holds an IPv6 address without brackets")]
    BareIpv6 {
        /// The node as written.
        node: Shown,
        /// The address without brackets.
        address: Ipv6Addr,
    },
    /// The module of an rsync daemon is missing: rsync would list the modules and send nothing.
    #[error("node `{0}` names an rsync daemon but no module")]
    NoModule(Shown),
    /// The port of an `rsync://` node is not a number from 1 to 65535.
    #[error("node `{0}` has a port that is not a number from 1 to 65535")]
    BadPort(Shown),
    /// The mirror would be the root directory of a machine.
    #[error("node `{0}` with this rpath is the root directory of the machine, where everything else would be deleted")]
    RootDirectory(Shown),
}

impl NodeError {
    /// Returns advice on what to write instead.
    pub fn cure(&self) -> String {
        match self {
            NodeError::RelativeRpath(path) => format!("write an absolute path, such as `/{path}`"),
            NodeError::DotComponent(_) => "write the path that is meant without them".into(),
            NodeError::ControlCharacter(_) => "remove it, or give the directory another name".into(),
            NodeError::Expanded { .. } => "use a path without any of * ? [ ] \\ `".into(),
            NodeError::NoHost(node) if node.as_str().contains('/') => {
                let (host, path) = node.as_str().split_once('/').unwrap_or_default();
                let host = Shown::from(host);
                let path = Shown::from(path);
                format!(
                    "write `{host}:/{path}` for a host reached by ssh, `{host}::{path}` for an rsync daemon, `/{node}` \
                         for this machine"
                )
            }
            NodeError::NoHost(node) => format!(
                "write `{node}:` for a host reached by ssh, `{node}::MODULE` for an rsync daemon, `/{node}` or \"\" \
                 for this machine"
            ),
            NodeError::EmptyHost(_) => "write `HOST:` or `HOST::MODULE`, or \"\" for this machine".into(),
            NodeError::LeadingDash(_) => "write a name without it, or give the host an alias in ssh_config".into(),
            NodeError::BadHost(_) => "write `USER@HOST:`, and an IPv6 address as `[ADDRESS]:`".into(),
            NodeError::BareIpv6 { address, .. } => format!("write `[{address}]` for the address"),
            NodeError::NoModule(_) => "write `HOST::MODULE` or `rsync://HOST/MODULE`".into(),
            NodeError::BadPort(_) => "write `rsync://HOST:PORT/MODULE`, or leave `:PORT` out for 873".into(),
            NodeError::RootDirectory(_) => "set rpath to a directory of its own".into(),
        }
    }

    /// Tells if the error lies in `rpath` and not in the node.
    pub fn is_about_rpath(&self, rpath: &str) -> bool {
        match self {
            NodeError::RelativeRpath(_) | NodeError::RootDirectory(_) => true,
            NodeError::DotComponent(path) | NodeError::ControlCharacter(path) => path.as_str() == rpath,
            NodeError::Expanded { path, .. } => path.as_str() == rpath,
            _ => false,
        }
    }
}

/// Checks the conditions on `rpath` that do not depend on the node.
///
/// # Errors
/// [`NodeError`] when `rpath` is relative, has `.` or `..` components, or contains control characters.
pub fn check_rpath(rpath: &str) -> Result<(), NodeError> {
    if !rpath.starts_with('/') {
        return Err(NodeError::RelativeRpath(rpath.into()));
    }
    check_components(rpath, rpath)
}

impl Node {
    /// Joins a node, as written in `rnodes`, with `rpath` by plain concatenation. Repeated slashes are folded.
    ///
    /// # Errors
    /// [`NodeError`] when rsync would write elsewhere than the text suggests, or when the text names no destination.
    pub fn parse(node: &str, rpath: &str) -> Result<Node, NodeError> {
        if node.contains(char::is_control) {
            return Err(NodeError::ControlCharacter(node.into()));
        }
        let (kind, path_at) = split(node)?;
        let (address, path) = node.split_at(path_at);
        check_components(path, node)?;
        let (module, below) = match kind {
            Kind::Daemon => path.split_once('/').unwrap_or((path, "")),
            Kind::Local | Kind::Ssh => ("", path),
        };
        // Before rpath, in which the module may have been written.
        if kind == Kind::Daemon && module.is_empty() {
            return Err(NodeError::NoModule(node.into()));
        }
        check_rpath(rpath)?;
        if kind != Kind::Local {
            check_expansion(path, node, node)?;
            check_expansion(rpath, rpath, node)?;
        }
        let below = if kind == Kind::Daemon { format!("/{below}{rpath}/") } else { format!("{below}{rpath}/") };
        let below = fold_slashes(&below);
        if kind != Kind::Daemon && below == "/" {
            return Err(NodeError::RootDirectory(if node.is_empty() { "\"\"" } else { node }.into()));
        }
        let name = if node.is_empty() { "local" } else { node }.to_owned();
        let root_at = address.len() + module.len();
        Ok(Node { name, kind, dest: format!("{address}{module}{below}").into(), root_at })
    }

    /// Gives the node a name of its own.
    pub fn named(self, name: String) -> Node {
        Node { name, ..self }
    }

    /// Returns the node's name: its own, or else the text as written, or `local` for the empty text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the way in which rsync reaches the node.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the destination argument of rsync, with exactly one slash at its end.
    pub fn dest(&self) -> &OsStr {
        &self.dest
    }

    /// Tells if `other` writes below this node's directory, where this node's rsync would delete it; decided by the
    /// text alone.
    pub fn encloses(&self, other: &Node) -> bool {
        self != other && other.dest.as_bytes().starts_with(self.dest.as_bytes())
    }

    /// Returns the mirror's directory; `Some` if and only if it is on this machine.
    pub fn local_path(&self) -> Option<&Path> {
        (self.kind == Kind::Local).then(|| Path::new(OsStr::from_bytes(self.mirror_root())))
    }

    /// Returns the mirror's directory as the receiving rsync names it in its messages, without a slash at its end: on
    /// an rsync daemon the path inside the module (empty for the module itself), elsewhere the whole path.
    pub(crate) fn mirror_root(&self) -> &[u8] {
        let path = self.dest.as_bytes().get(self.root_at..).unwrap_or_default();
        path.strip_suffix(b"/").unwrap_or(path)
    }

    /// Tells if a path of the mirror can be part of an argument: the remote side reads arguments as patterns.
    pub(crate) fn can_name(&self, path: &RelPath) -> bool {
        let is_expanded = |byte: &u8| EXPANDED.contains(byte) || byte.is_ascii_control();
        self.kind == Kind::Local || !path.as_bytes().iter().any(is_expanded)
    }

    /// Returns the destination for people, with misleading characters escaped.
    pub fn shown_dest(&self) -> String {
        Escaped(self.dest.as_bytes()).to_string()
    }

    /// Returns the destination argument for the directory `dir` of the mirror, with a slash at its end.
    pub(crate) fn dest_of(&self, dir: &RelPath) -> OsString {
        OsString::from_vec([self.dest.as_bytes(), dir.as_bytes(), b"/"].concat())
    }

    /// Returns the directory `levels` levels above the mirror as a destination; `None` if the text does not name one.
    pub(super) fn above(&self, levels: usize) -> Option<Node> {
        let (address, path) = self.dest.as_bytes().split_at_checked(self.root_at)?;
        let mut path = path.strip_suffix(b"/").unwrap_or(path);
        for _ in 0..levels {
            path = match path.iter().rposition(|&byte| byte == b'/') {
                Some(slash) => &path[..slash],
                // The home directory of an ssh user.
                None if !path.is_empty() => b"",
                None => return None,
            };
        }
        let is_relative = self.kind == Kind::Ssh && self.dest.as_bytes().get(self.root_at) != Some(&b'/');
        let end: &[u8] = if is_relative && path.is_empty() { b"./" } else { b"/" };
        let dest = OsString::from_vec([address, path, end].concat());
        Some(Node { name: self.name.clone(), kind: self.kind, dest, root_at: self.root_at })
    }

    /// Returns the name by which an option refers to the directory `dir` of the mirror in a run to `to`: an absolute
    /// path (on an rsync daemon, inside the module). For a mirror below the home of an ssh user, the path is relative
    /// to the destination.
    pub(crate) fn named_at(&self, dir: &RelPath, to: &RelPath) -> OsString {
        let root = self.mirror_root();
        let start = match self.kind {
            Kind::Ssh if !root.starts_with(b"/") => b"../".repeat(to.depth()),
            _ => [root, b"/"].concat(),
        };
        OsString::from_vec([&start, dir.as_bytes()].concat())
    }
}

/// Reads the kind of `node` by rsync's own rule, and returns it with the index at which the path begins: after the
/// colons, or after the host of a URL.
fn split(node: &str) -> Result<(Kind, usize), NodeError> {
    const URL: &str = "rsync://";
    if node.get(..URL.len()).is_some_and(|start| start.eq_ignore_ascii_case(URL)) {
        return split_url(node, URL.len());
    }
    if node.is_empty() || node.starts_with('/') {
        return Ok((Kind::Local, 0));
    }
    let authority = node.split('/').next().unwrap_or_default();
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    let bracket = authority.get(user..).filter(|host| host.starts_with('[')).and_then(|host| host.find("]:"));
    if bracket.is_none() {
        check_bare_ipv6(node, authority, user)?;
    }
    let Some(colon) = bracket.map(|at| user + at + 1).or_else(|| authority.find(':')) else {
        return Err(if node.starts_with('-') {
            NodeError::LeadingDash(node.into())
        } else {
            NodeError::NoHost(node.into())
        });
    };
    check_host(node, &node[..colon])?;
    match node[colon..].starts_with("::") {
        true => Ok((Kind::Daemon, colon + 2)),
        false => Ok((Kind::Ssh, colon + 1)),
    }
}

/// Reads `rsync://[USER@]HOST[:PORT]/MODULE` in the same way.
fn split_url(node: &str, start: usize) -> Result<(Kind, usize), NodeError> {
    let rest = &node[start..];
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[user..];
    let host_end = match host.find(']') {
        Some(bracket) if host.starts_with('[') => bracket + 1,
        _ => {
            check_bare_ipv6(node, authority, user)?;
            host.find(':').unwrap_or(host.len())
        }
    };
    check_host(node, &authority[..user + host_end])?;
    if let Some(port) = host.get(host_end..).filter(|port| !port.is_empty()) {
        let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number: Option<u16> = digits.and_then(|digits| digits.parse().ok());
        if number.is_none_or(|number| number == 0) {
            return Err(NodeError::BadPort(node.into()));
        }
    }
    let module = start + authority.len() + 1;
    if module >= node.len() { Err(NodeError::NoModule(node.into())) } else { Ok((Kind::Daemon, module)) }
}

/// Refuses an IPv6 address without brackets: rsync ends a host at its first colon.
fn check_bare_ipv6(node: &str, authority: &str, user: usize) -> Result<(), NodeError> {
    let host = authority.get(user..).unwrap_or_default();
    let ends = host.match_indices(':').map(|(at, _)| at).chain([host.len()]);
    let address = ends.rev().find_map(|end| host.get(..end)?.parse().ok());
    address.map_or(Ok(()), |address| Err(NodeError::BareIpv6 { node: node.into(), address }))
}

/// Checks a host, with or without a user; `user_host` is `[USER@]HOST`.
fn check_host(node: &str, user_host: &str) -> Result<(), NodeError> {
    let (user, host) = user_host.rsplit_once('@').map_or((None, user_host), |(user, host)| (Some(user), host));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let bare = inner.unwrap_or(host);
    if bare.is_empty() || user.is_some_and(str::is_empty) {
        return Err(NodeError::EmptyHost(node.into()));
    }
    if bare.starts_with('-') || user_host.starts_with('-') {
        return Err(NodeError::LeadingDash(node.into()));
    }
    if user_host.contains(char::is_whitespace) || bare.contains(['[', ']']) {
        return Err(NodeError::BadHost(node.into()));
    }
    Ok(())
}

/// Refuses control characters and `.` or `..` components; `shown` is the whole text that contains `path`.
fn check_components(path: &str, shown: &str) -> Result<(), NodeError> {
    if path.contains(char::is_control) {
        return Err(NodeError::ControlCharacter(shown.into()));
    }
    match path.split('/').any(|component| component == "." || component == "..") {
        true => Err(NodeError::DotComponent(shown.into())),
        false => Ok(()),
    }
}

/// Refuses characters that the remote side would expand: it reads the destination as a pattern, and old rsyncs pass a
/// backtick to the remote shell.
fn check_expansion(path: &str, shown: &str, node: &str) -> Result<(), NodeError> {
    match path.chars().find(|c| u8::try_from(*c).is_ok_and(|byte| EXPANDED.contains(&byte))) {
        Some(character) => Err(NodeError::Expanded { path: shown.into(), character, node: node.into() }),
        None => Ok(()),
    }
}

fn fold_slashes(path: &str) -> String {
    let mut folded = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !folded.ends_with('/') {
            folded.push(c);
        }
    }
    folded
}
