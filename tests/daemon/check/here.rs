//! What `check` finds on this machine: ports, directories, the source, the unit.

use super::*;

#[test]
fn a_port_that_another_process_has_is_told_with_its_name() {
    let mut site = Site::on(&[Local]);
    // None that the kernel gives to whoever connects: it is to be free in the end.
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = taken.local_addr().unwrap();
    site.config(&format!("listen: \"{address}\""));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["listen", &address.to_string(), &format!("pid {}, has it", std::process::id())]);
    drop(taken);
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
}

#[test]
fn directories_of_the_daemon_that_cannot_be_written_are_told_by_their_keys() {
    let mut site = Site::on(&[Local]);
    for key in ["state_dir", "socket_dir", "staging"] {
        forbid(&site.beside(key));
        site.config(&format!("{key}: {:?}", site.beside(key).join("below")));
    }
    forbid(&site.beside("logs"));
    site.config(&format!("logfile: {:?}", site.beside("logs/rsync.log")));
    let ended = run_bound(&site, &["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    for (start, key) in
        [("state:", "state_dir"), ("control socket:", "socket_dir"), ("staging:", "staging"), ("logfile:", "logs")]
    {
        let path = site.beside(key).display().to_string();
        expect_line(&ended, &[start, &path, "cannot be written by", "denied"]);
    }
}

#[test]
fn a_staging_on_another_file_system_is_told_and_the_usual_one_only_warned_of() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let mut site = Site::on(&[Local]);
    let device = |path: &Path| path.metadata().unwrap().dev();
    if device(elsewhere.path()) == device(&site.source()) {
        println!("not tested: the tests run on the file system of /dev/shm");
        return;
    }
    site.config(&format!("state_dir: {:?}", elsewhere.path()));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["warning: staging", "cannot be linked there"]);
    site.config(&format!("staging: {:?}", elsewhere.path().join("staging")));
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing stays");
}

#[test]
fn entries_that_cannot_be_read_are_counted_and_named_but_for_what_is_excluded() {
    let mut site = Site::on(&[Local]);
    site.config(r#"rexcludes: ["*.tmp"]"#);
    site.mkdir("d");
    site.mkdir("closed");
    for file in ["d/private", "x.tmp", "closed/inside"] {
        site.write(file, "x");
        site.chmod(file, 0);
    }
    site.chmod("closed", 0o600);
    let ended = run_bound(&site, &["check"]);
    site.chmod("closed", 0o755);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["2 entries cannot be read by", "closed, d/private"]);
}

/// A directory of units in place of this machine's, for the process that is launched so.
fn with_units(site: &Site, unit: &str, text: &str) -> Vec<String> {
    let units = site.beside("units");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join(unit), text).unwrap();
    let script =
        format!("mount --bind {} /etc/systemd && exec \"$@\"", units.parent().unwrap().join("systemd").display());
    fs::create_dir_all(site.beside("systemd")).unwrap();
    fs::rename(&units, site.beside("systemd/system")).unwrap();
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into()
}

#[test]
fn a_check_as_another_user_than_that_of_the_unit_says_how_it_is_done_right() {
    let site = Site::on(&[Local]);
    let config = site.config_file().display().to_string();
    let text = format!(
        "[Service]\nUser=inosync-test\nStateDirectory=inosync\nProtectSystem=strict\nExecStart=/usr/bin/inosync -c {}/%i.ron\n",
        site.beside("").display().to_string().trim_end_matches('/')
    );
    if !Path::new("/etc/systemd").is_dir() {
        println!("not tested: this machine has no /etc/systemd");
        return;
    }
    let launcher = with_units(&site, "inosync-test@.service", &text);
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let attempt = std::process::Command::new(launcher[0]).args(&launcher[1..]).arg("true").output().unwrap();
    if !attempt.status.success() {
        println!("not tested, no namespace here: {}", String::from_utf8_lossy(&attempt.stderr));
        return;
    }
    let ended = site.run_by(&launcher, &["check"]);
    expect_line(&ended, &["warning: user", "inosync-test@site.service runs as inosync-test"]);
    expect_line(&ended, &["runuser -u inosync-test -- env STATE_DIRECTORY=/var/lib/inosync", &config, "check"]);
    let mirror = site.mirror(Local).display().to_string();
    if !mirror.starts_with("/tmp") && !mirror.starts_with("/var/tmp") {
        expect_line(&ended, &["rpath", &mirror, "ProtectSystem=strict"]);
    }
}

#[test]
fn a_source_that_is_not_sound_is_told_and_no_node_is_asked() {
    let mut site = Site::on(&[Local]);
    site.config("marker: \"not-there\"");
    let ended = site.run(&["check"]);
    assert_eq!(ended.code, Some(69), "{}{}", ended.stdout, ended.log);
    expect_line(&ended, &["source", "marker"]);
}
