//! Whom ssh is to reach for a node: the same host, user and address family as rsync would hand to it.

use crate::node::{Kind, Node};
use crate::site::extra::Extra;

/// The login at one ssh node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    user: Option<String>,
    /// Without the brackets of an IPv6 address.
    host: String,
    address_family: Option<&'static str>,
}

impl Login {
    /// `None` if and only if the node is not reached by ssh.
    pub fn of(node: &Node, extra: &Extra) -> Option<Login> {
        if node.kind() != Kind::Ssh {
            return None;
        }
        // The node was checked: a bracket is closed, and the first colon outside of it ends the host.
        let authority = node.dest().to_str()?.split('/').next()?;
        let (user, rest) = authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        let (host, _) = bracketed.or_else(|| rest.split_once(':'))?;
        let address_family = extra.address_family();
        Some(Login { user: user.map(str::to_owned), host: host.to_owned(), address_family })
    }

    /// The user, where the node names one.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The end of ssh's arguments.
    pub(crate) fn words(&self) -> Vec<&str> {
        let mut words = Vec::new();
        if let Some(user) = &self.user {
            words.extend(["-l", user]);
        }
        words.extend(self.address_family);
        words.extend(["--", &self.host]);
        words
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// The words that the installed rsync gives to a remote shell of the name `ssh`, up to the host.
    fn given_by_rsync(node: &Node, extra: &Extra) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("ssh");
        fs::write(dir.path().join("text"), "#!/bin/sh\nprintf '%s\\n' \"$@\" >&2\n").unwrap();
        // Another process writes it: what a test beside this one starts may have what is open here, and then it cannot be run.
        let mut install = Command::new("install");
        assert!(install.args(["-m", "755"]).arg(dir.path().join("text")).arg(&shell).status().unwrap().success());
        let mut rsync = Command::new("rsync");
        rsync.args(extra.words()).arg(format!("--rsh={}", shell.display())).arg("/dev/null").arg(node.dest());
        let said = String::from_utf8(rsync.output().unwrap().stderr).unwrap();
        said.lines().take_while(|word| *word != "rsync").map(str::to_owned).collect()
    }

    #[test]
    fn the_login_is_the_one_that_rsync_uses() {
        for (node, extra) in [
            ("h:", ""),
            ("u@h:", "-a"),
            ("a@b@h:", ""),
            ("[::1]:", ""),
            ("u@[fe80::1]:", "--ipv6"),
            ("u@h:/dir@x:y", "-a4 --port=22 --address=127.0.0.1"),
            ("h:", "-46"),
        ] {
            let (node, extra) = (Node::parse(node, "/mirror").unwrap(), Extra::parse(extra).unwrap());
            let login = Login::of(&node, &extra).unwrap();
            let words: Vec<&str> = login.words().into_iter().filter(|word| *word != "--").collect();
            assert_eq!(words, given_by_rsync(&node, &extra), "{} {extra:?}", node.name());
        }
    }

    #[test]
    fn only_an_ssh_node_has_a_login() {
        for node in ["", "/mnt", "h::m", "rsync://u@h/m"] {
            assert_eq!(Login::of(&Node::parse(node, "/mirror").unwrap(), &Extra::default()), None, "{node}");
        }
    }
}
