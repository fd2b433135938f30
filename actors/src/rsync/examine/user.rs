//! The name of the user who writes at a node.

use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::Examiner;
use crate::node::Kind;
use crate::path::Escaped;
use crate::rsync::runner::master::login::Login;

/// The time that ssh has to read its configuration.
const TIME: Duration = Duration::from_secs(5);

impl Examiner {
    /// The user who writes at the node, for people.
    pub async fn writer(&self) -> String {
        match self.target.node.kind() {
            Kind::Ssh => self.login_name().await.unwrap_or_else(|| self.target.account()),
            Kind::Local | Kind::Daemon => self.target.account(),
        }
    }

    /// As ssh itself resolves it, from the node and ssh_config(5).
    async fn login_name(&self) -> Option<String> {
        let login = Login::of(&self.target.node, &self.target.site.extra)?;
        let environment = std::env::var("RSYNC_RSH").ok().filter(|shell| !shell.is_empty());
        let given = self.target.site.extra.rsh().map(str::to_owned);
        let shell = given.or(environment).unwrap_or_else(|| "ssh".to_owned());
        let words = shell_words::split(&shell).ok()?;
        let (program, options) = words.split_first()?;
        if program.rsplit('/').next() != Some("ssh") {
            return login.user().map(str::to_owned);
        }
        let mut command = Command::new(program);
        command.args(options).arg("-G").args(login.words()).kill_on_drop(true);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = tokio::time::timeout(TIME, command.output()).await.ok()?.ok()?;
        let told = user_of(&String::from_utf8_lossy(&output.stdout));
        told.or_else(|| login.user().map(str::to_owned))
    }
}

/// The user in the output of `ssh -G`.
fn user_of(configuration: &str) -> Option<String> {
    let name = configuration.lines().find_map(|line| line.strip_prefix("user "))?;
    Some(Escaped(name.as_bytes()).to_string())
}

/// The user of this process.
pub fn own_name() -> String {
    let uid = Uid::effective();
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_what_ssh_tells() {
        assert_eq!(user_of("host h\nuser backup\nhostname h\n").as_deref(), Some("backup"));
        assert_eq!(user_of("host h\n"), None);
    }
}
