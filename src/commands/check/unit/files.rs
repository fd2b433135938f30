//! Reads the settings of unit files that a check needs (systemd.unit(5), systemd.exec(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::DEFAULT_PATH;

/// The directories of unit files; the first file of a name counts (systemd.unit(5)).
pub const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The settings of a service: `KEY=VALUE`, in the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads the text of a unit file and of its drop-ins, or what `systemctl show` prints.
    pub fn read(texts: &[String]) -> Settings {
        let lines = texts.iter().flat_map(|text| joined(text)).collect::<Vec<_>>();
        let setting = |line: &String| {
            let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';', '[']))?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        Settings(lines.iter().filter_map(setting).collect())
    }

    /// The value of a key that has only one.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last().copied()
    }

    /// The values of a key that may be given more than once; an empty value clears those before it.
    fn all(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.0.iter().filter(|(name, _)| name == key) {
            match value.as_str() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
        values
    }

    /// The user of the service.
    pub fn user(&self) -> String {
        self.last("User").unwrap_or("root").to_owned()
    }

    /// True if the sandbox of the service lets it write below a directory.
    pub fn may_write(&self, path: &Path) -> bool {
        if self.last("ProtectSystem") != Some("strict") {
            return true;
        }
        let below = |parent: &str, key| {
            let names = self.all(key).into_iter().flat_map(str::split_whitespace);
            names.map(|name| Path::new(parent).join(name.split(':').next().unwrap_or(name))).collect::<Vec<_>>()
        };
        let paths = self.all("ReadWritePaths").into_iter().flat_map(str::split_whitespace);
        let open = paths.map(|path| PathBuf::from(path.trim_start_matches(['-', '+'])));
        let own = [("/var/lib", "StateDirectory"), ("/run", "RuntimeDirectory"), ("/var/log", "LogsDirectory")];
        let own =
            own.into_iter().chain([("/var/cache", "CacheDirectory")]).flat_map(|(parent, key)| below(parent, key));
        // It leaves these alone; with PrivateTmp= they are others, which may be written too.
        let left = ["/dev", "/proc", "/sys", "/tmp", "/var/tmp"].into_iter().map(PathBuf::from);
        let private = self.last("PrivateTmp").is_some_and(|value| value != "no" && value != "false");
        open.chain(own).chain(left.filter(|at| private || !at.ends_with("tmp"))).any(|at| path.starts_with(at))
    }
}

/// The lines of a unit file; a backslash at the end joins two.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.extend([" ", part]),
            None => lines.push(part.to_owned()),
        }
        goes_on = more;
    }
    lines
}

/// The unit that starts inosync with this file, and its settings.
pub fn settings_of(directories: &[PathBuf], config: &Path) -> Option<(String, Settings)> {
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".service") {
                names.entry(name).or_insert(entry.path());
            }
        }
    }
    names.iter().find_map(|(file, path)| {
        let text = fs::read_to_string(path).ok().filter(|text| text.contains("inosync"))?;
        let settings = Settings::read(&drop_ins(directories, file, None, text.clone()));
        let name = started(settings.last("ExecStart")?, file, config)?;
        // An instance has drop-ins of its own, which may start something else.
        let settings = Settings::read(&drop_ins(directories, file, Some(&name), text));
        started(settings.last("ExecStart")?, file, config)?;
        Some((name, settings))
    })
}

/// The text of a unit with that of its drop-ins, in the order in which they count.
fn drop_ins(directories: &[PathBuf], file: &str, instance: Option<&str>, text: String) -> Vec<String> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for name in instance.filter(|instance| *instance != file).into_iter().chain([file]) {
        for directory in directories {
            let entries = fs::read_dir(directory.join(format!("{name}.d"))).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "conf")) {
                found.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    [text].into_iter().chain(found.values().filter_map(|path| fs::read_to_string(path).ok())).collect()
}

/// The name of the unit in `file` that starts inosync with this configuration; of a template, that of the instance.
fn started(command: &str, file: &str, config: &Path) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (program, options) = words.split_first()?;
    if program.trim_start_matches(['-', '@', ':', '+', '!']).rsplit('/').next() != Some("inosync") {
        return None;
    }
    let after =
        |option: &str| options.iter().position(|word| *word == option).and_then(|at| options.get(at + 1).copied());
    let joined = |start: &str| options.iter().find_map(|word| word.strip_prefix(start)).filter(|rest| !rest.is_empty());
    let separate = after("-c").or_else(|| after("--config")).or_else(|| joined("--config="));
    let named = separate.or_else(|| joined("-c")).unwrap_or(DEFAULT_PATH);
    let is_it = |path: &str| Path::new(path).canonicalize().unwrap_or_else(|_| path.into()) == config;
    let Some((before, after)) = file.split_once("@.") else { return is_it(named).then(|| file.to_owned()) };
    let (start, end) = named.split_once("%i").or_else(|| named.split_once("%I"))?;
    let instance = config.to_str()?.strip_prefix(start)?.strip_suffix(end).filter(|name| !name.contains('/'))?;
    (!instance.is_empty()).then(|| format!("{before}@{instance}.{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "[Service]\n# User=nobody\nUser=inosync\nExecStart=/usr/bin/inosync -c /etc/inosync/%i.ron\n\
        ProtectSystem=strict\nStateDirectory=inosync\nPrivateTmp=yes\n";

    fn directories(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = ["etc", "lib"].map(|name| dir.path().join(name)).into();
        (dir, found)
    }

    fn found(files: &[(&str, &str)], config: &str) -> Option<(String, String)> {
        let (_dir, directories) = directories(files);
        settings_of(&directories, Path::new(config)).map(|(name, settings)| (name, settings.user()))
    }

    fn named(name: &str, user: &str) -> Option<(String, String)> {
        Some((name.to_owned(), user.to_owned()))
    }

    #[test]
    fn the_unit_is_found_by_the_file_that_it_starts_inosync_with() {
        let template = ("lib/inosync@.service", TEMPLATE);
        let drop_in = ("etc/inosync@www.service.d/user.conf", "[Service]\nUser=www-data\n");
        let own = ("etc/mirror.service", "[Service]\nUser=backup\nExecStart=/opt/inosync -v --config=/srv/m.ron\n");
        let by_default = ("etc/mirror.service", "[Service]\nExecStart=/opt/inosync \\\n  -v\n");
        for (files, config, expected) in [
            (&[template][..], "/etc/inosync/www.ron", named("inosync@www.service", "inosync")),
            (&[template, drop_in], "/etc/inosync/www.ron", named("inosync@www.service", "www-data")),
            (&[template, drop_in], "/etc/inosync/b.ron", named("inosync@b.service", "inosync")),
            (&[template, own], "/srv/m.ron", named("mirror.service", "backup")),
            (&[template, own], "/srv/other.ron", None),
            (&[by_default], DEFAULT_PATH, named("mirror.service", "root")),
            (
                &[("lib/inosync@.service", TEMPLATE), ("etc/inosync@.service", "[Service]\n")],
                "/etc/inosync/www.ron",
                None,
            ),
        ] {
            assert_eq!(found(files, config), expected, "{config} {files:?}");
        }
    }

    #[test]
    fn a_strict_sandbox_is_open_where_the_unit_says_so() {
        let with = |more: &str| Settings::read(&[TEMPLATE.to_owned(), more.to_owned()]);
        for (more, path, expected) in [
            ("", "/srv/mirror", false),
            ("ReadWritePaths=/srv/mirror -/x", "/srv/mirror", true),
            ("ReadWritePaths=/srv\nReadWritePaths=", "/srv/mirror", false),
            ("ReadWritePaths=/srv\nReadWritePaths=/x", "/srv/mirror", true),
            ("ProtectSystem=full", "/srv/mirror", true),
            ("", "/var/lib/inosync", true),
            ("", "/var/lib/other", false),
            ("", "/tmp/x", true),
            ("PrivateTmp=no", "/tmp/x", false),
        ] {
            assert_eq!(with(more).may_write(Path::new(path)), expected, "{more} {path}");
        }
    }
}
