//! The sites of this machine by their names: the site `www` is the file `www.ron` in a directory of configurations.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use inosync_actors::path::Escaped;

use super::complaint::ConfigComplaint;
use super::places::{first_of, variable};

/// The directory of the sites of this machine.
const SITES: &str = "/etc/inosync";
/// The site if the command line names none.
const DEFAULT: &str = "default";
/// The most names in an error.
const NAMED: usize = 10;

/// Directories of sites, the first of which has precedence: systemd's `ConfigurationDirectory=` (systemd.exec(5)) alone, or
/// that of a user's own units, and that of the machine.
fn directories() -> Vec<PathBuf> {
    if let Some(directory) = first_of("CONFIGURATION_DIRECTORY") {
        return vec![directory];
    }
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home).map(|config| config.join("inosync"));
    let own = own.filter(|_| !rustix::process::geteuid().is_root());
    own.into_iter().chain([SITES.into()]).collect()
}

/// The file of a site as the command line names it: a name without a slash and without `.ron`, or a path.
///
/// # Errors
/// When there is no site of this name.
pub fn file_of(named: Option<&Path>) -> Result<PathBuf, ConfigComplaint> {
    file_in(&directories(), named)
}

fn file_in(directories: &[PathBuf], named: Option<&Path>) -> Result<PathBuf, ConfigComplaint> {
    let name = named.unwrap_or(Path::new(DEFAULT));
    let bytes = name.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes.ends_with(b".ron") {
        return Ok(name.to_owned());
    }
    let mut file = name.as_os_str().to_owned();
    file.push(".ron");
    let places: Vec<PathBuf> = directories.iter().map(|directory| directory.join(&file)).collect();
    let usual = places.last().cloned().unwrap_or_else(|| file.into());
    match places.into_iter().find(|place| place.symlink_metadata().is_ok()) {
        Some(place) => Ok(place),
        // That the usual file is missing is told by whoever reads it; a daemon may run with it although it is gone.
        None if named.is_none() => Ok(usual),
        None => Err(unknown(name, &usual, directories)),
    }
}

fn unknown(name: &Path, usual: &Path, directories: &[PathBuf]) -> ConfigComplaint {
    let shown = Escaped(name.as_os_str().as_bytes()).to_string();
    let known: Vec<String> = files_in(directories).iter().map(|file| name_in(directories, file)).collect();
    let wanted = shown.to_lowercase();
    let is_near = |other: &&String| {
        let other = other.to_lowercase();
        let within = |one: &str, other: &str| one.len() > 2 && other.contains(one);
        strsim::osa_distance(&other, &wanted) <= 2 || within(&wanted, &other) || within(&other, &wanted)
    };
    let mut near: Vec<&String> = known.iter().filter(is_near).collect();
    near.sort_by_key(|other| strsim::osa_distance(&other.to_lowercase(), &wanted));
    let near: Vec<&str> = near.into_iter().map(String::as_str).take(NAMED).collect();
    let cure = match (near.as_slice(), known.as_slice()) {
        _ if name.is_file() => format!("for the file in this directory, write -c ./{shown}"),
        ([], []) => "write the file, or name another one with -c FILE".to_owned(),
        ([], known) if known.len() <= NAMED => format!("the sites are: {}", known.join(", ")),
        ([], known) => format!("there are {} sites, such as: {}", known.len(), known[..NAMED].join(", ")),
        (near, _) => format!("did you mean -c {}?", near.join(" or -c ")),
    };
    ConfigComplaint::of(usual, format!("there is no site `{shown}`"), cure)
}

/// The files of all sites that are configured on this machine, in the order of their names.
pub fn configured() -> Vec<PathBuf> {
    files_in(&directories())
}

fn files_in(directories: &[PathBuf]) -> Vec<PathBuf> {
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let mut files: Vec<PathBuf> =
        entries.flatten().flatten().map(|entry| entry.path()).filter(|p| is_site(p)).collect();
    files.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    files
}

fn is_site(file: &Path) -> bool {
    let is_hidden = file.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."));
    !is_hidden && file.extension().is_some_and(|end| end == "ron") && !file.is_dir()
}

/// The name by which `-c` finds the site with this file; the path of the file if it has no such name.
pub fn name_of(file: &Path) -> String {
    name_in(&directories(), file)
}

fn name_in(directories: &[PathBuf], file: &Path) -> String {
    let name = file.file_stem().filter(|_| is_site(file)).map(Path::new);
    let is_found = |name: &&Path| file_in(directories, Some(name)).is_ok_and(|found| found == file);
    Escaped(name.filter(is_found).unwrap_or(file).as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories with these files, of which the first has precedence.
    fn sites(files: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let top = tempfile::tempdir().unwrap();
        let directories: Vec<PathBuf> = ["own", "etc"].map(|name| top.path().join(name)).into();
        directories.iter().for_each(|directory| std::fs::create_dir(directory).unwrap());
        files.iter().for_each(|file| std::fs::write(top.path().join(file), "").unwrap());
        (top, directories)
    }

    #[test]
    fn a_name_is_a_file_in_a_directory_of_sites_and_all_else_is_a_path() {
        let (top, directories) = sites(&["etc/www.ron", "etc/a.b.ron", "own/www.ron", "etc/default.ron"]);
        for (named, expected) in [
            (Some("www"), top.path().join("own/www.ron")),
            (Some("a.b"), top.path().join("etc/a.b.ron")),
            (Some("./www"), "./www".into()),
            (Some("/x/www"), "/x/www".into()),
            (Some("www.ron"), "www.ron".into()),
            (Some(""), "".into()),
            (None, top.path().join("etc/default.ron")),
        ] {
            assert_eq!(file_in(&directories, named.map(Path::new)).unwrap(), expected, "{named:?}");
        }
        let (top, directories) = sites(&[]);
        assert_eq!(file_in(&directories, None).unwrap(), top.path().join("etc/default.ron"));
    }

    #[test]
    fn a_wrong_name_leads_to_those_that_are_near() {
        let (_top, directories) =
            sites(&["etc/www.ron", "etc/www-static.ron", "etc/mail.ron", "etc/.old.ron", "etc/x"]);
        for (name, cure) in [
            ("wwww", "did you mean -c www?"),
            ("WWW", "did you mean -c www or -c www-static?"),
            ("static", "did you mean -c www-static?"),
            ("backup", "the sites are: mail, www, www-static"),
        ] {
            let said = file_in(&directories, Some(Path::new(name))).unwrap_err().in_one_line();
            assert!(said.contains(&format!("there is no site `{name}`: ")) && said.ends_with(cure), "{said}");
        }
        let said = file_in(&sites(&[]).1, Some(Path::new("www"))).unwrap_err().in_one_line();
        assert!(said.ends_with("write the file, or name another one with -c FILE"), "{said}");
    }

    #[test]
    fn a_file_has_the_name_by_which_it_is_found() {
        let (top, directories) = sites(&["etc/www.ron", "own/www.ron", "etc/mail.ron"]);
        let shown = |file: &str| name_in(&directories, &top.path().join(file));
        let path = |file: &str| top.path().join(file).display().to_string();
        assert_eq!([shown("own/www.ron"), shown("etc/mail.ron")], ["www", "mail"]);
        assert_eq!([shown("etc/www.ron"), shown("etc/mail")], [path("etc/www.ron"), path("etc/mail")]);
        assert_eq!(files_in(&directories).len(), 3);
    }
}
