//! Checks the systemd unit that runs inosync with this file: its user, and the places that it may write.

mod files;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use inosync_actors::path::Escaped;
use inosync_actors::rsync::own_name;
use inosync_actors::site::Site;

use self::files::{DIRECTORIES, Settings, settings_of};
use super::report::Report;
use super::shown;
use crate::config::default_state_dir;

/// The parents of `StateDirectory=` and `RuntimeDirectory=` (systemd.exec(5)).
const STATE: &str = "/var/lib";
const RUNTIME: &str = "/run";

/// A unit with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    /// The name with `.service` at its end.
    name: String,
    settings: Settings,
}

/// Warns if the service runs as another user, and reports places that its sandbox keeps it from writing.
pub fn look(config: &Path, site: &Site, report: &mut Report) {
    let config = config.canonicalize().unwrap_or_else(|_| config.to_owned());
    let directories: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
    let Some((name, read)) = settings_of(&directories, &config) else { return };
    let settings = settings_in_force(&name).unwrap_or(read);
    let unit = Unit { name, settings };
    let own = own_name();
    let user = unit.settings.user();
    if user != own && user != rustix::process::geteuid().as_raw().to_string() {
        let program = std::env::current_exe().unwrap_or_else(|_| "inosync".into());
        report.warning(format!(
            "user: this check runs as {own}, but {} runs as {user}, who may have other rights and keys; check as that user:\n  {}",
            Escaped(unit.name.as_bytes()),
            unit.command(&program, &config)
        ));
    }
    for (key, path) in written(site, default_state_dir().as_deref()) {
        if !unit.settings.may_write(&path) {
            report.fault(format!(
                "{key}: {} is read-only for {}, whose unit has ProtectSystem=strict; write a drop-in (systemctl edit {}):\n  \
                 [Service]\n  ReadWritePaths={}",
                shown(&path),
                Escaped(unit.name.as_bytes()),
                Escaped(unit.name.as_bytes()),
                shown(&path)
            ));
        }
    }
}

/// The places on this machine that the service writes. The default place of the state is left out: it depends on the user
/// and the environment, which may differ from those of this check.
fn written(site: &Site, default_state_dir: Option<&Path>) -> Vec<(&'static str, PathBuf)> {
    let mirrors = site.nodes.iter().filter_map(|node| node.local_path()).map(|path| ("rpath", path.to_owned()));
    let parent = |file: &PathBuf| file.parent().map(Path::to_owned);
    let state = site.state_file.as_ref().and_then(parent);
    let staging = site.staging.as_ref().and_then(parent).filter(|path| state.as_ref() != Some(path));
    let state = state.filter(|path| default_state_dir != Some(path));
    let logfile = site.logfile.as_ref().and_then(parent);
    let own = [("state_dir", state), ("staging", staging), ("logfile", logfile)];
    mirrors.chain(own.into_iter().filter_map(|(key, path)| Some((key, path?)))).collect()
}

impl Unit {
    /// The check as the user of the unit, with the directories that systemd gives it.
    fn command(&self, program: &Path, config: &Path) -> String {
        let mut words = vec!["runuser".to_owned(), "-u".to_owned(), self.settings.user(), "--".to_owned()];
        let variables = [
            ("STATE_DIRECTORY", STATE, self.settings.last("StateDirectory")),
            ("RUNTIME_DIRECTORY", RUNTIME, self.settings.last("RuntimeDirectory")),
        ];
        let given: Vec<String> = variables
            .into_iter()
            .filter_map(|(name, parent, value)| Some(format!("{name}={parent}/{}", value?.split_whitespace().next()?)))
            .collect();
        if !given.is_empty() {
            words.push("env".to_owned());
            words.extend(given);
        }
        let text = |path: &OsStr| Escaped(path.as_encoded_bytes()).to_string();
        words.extend([text(program.as_os_str()), "-c".to_owned(), text(config.as_os_str()), "check".to_owned()]);
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The settings in force, as systemd tells them.
fn settings_in_force(name: &str) -> Option<Settings> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let output = Command::new("systemctl").args(["show", "--no-pager", "--", name]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().any(|line| line == "LoadState=loaded").then(|| Settings::read(&[text]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn only_places_that_the_file_names_are_held_against_the_unit() {
        let dir = tempfile::tempdir().unwrap();
        let (wpath, config) = (dir.path().join("source"), dir.path().join("site.ron"));
        std::fs::create_dir(&wpath).unwrap();
        for (more, expected) in [
            (String::new(), vec!["rpath"]),
            (format!("state_dir: {:?}", dir.path().join("state")), vec!["rpath", "state_dir"]),
            (format!("staging: {:?}", dir.path().join("staging")), vec!["rpath", "staging"]),
            (format!("logfile: {:?}", dir.path().join("log")), vec!["rpath", "logfile"]),
        ] {
            let rpath = dir.path().join("mirror");
            let text = format!("(wpath: {wpath:?}, rpath: {rpath:?}, rnodes: [\"\"], {more})");
            std::fs::write(&config, text).unwrap();
            let site = load(&config).unwrap().site;
            let keys: Vec<_> = written(&site, default_state_dir().as_deref()).into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expected, "{more}");
        }
    }

    #[test]
    fn the_command_checks_as_the_user_of_the_unit_with_its_directories() {
        let text = "[Service]\nUser=inosync\nStateDirectory=inosync\nRuntimeDirectory=inosync other\n".to_owned();
        let unit = Unit { name: "inosync@www.service".into(), settings: Settings::read(&[text]) };
        assert_eq!(
            unit.command(Path::new("/usr/bin/inosync"), Path::new("/etc/inosync/a b.ron")),
            "runuser -u inosync -- env STATE_DIRECTORY=/var/lib/inosync RUNTIME_DIRECTORY=/run/inosync /usr/bin/inosync -c \
             '/etc/inosync/a b.ron' check"
        );
    }
}
