//! What the log tells in normal operation.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Local, Site, wait};

#[test]
fn a_batch_is_one_line_however_many_paths_it_has() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    (0..500).for_each(|n| site.write(n.to_string(), "x"));
    site.expect_identical();
    let ended = site.stop();
    let lines = ended.log.lines().count();
    assert!(lines < 100, "{lines} lines for 500 files:\n{}", ended.log);
    assert!(!ended.log.contains("\u{1b}["), "no colours without a terminal");
}

#[test]
fn names_cannot_forge_lines_of_the_log() {
    let mut site = Site::on(&[Local]);
    site.start_with(&["-v"]);
    site.write("harmless\nNov 22 20:00:00.000 CRIT forged", "x");
    site.write(OsStr::new("\u{1b}[31mred"), "x");
    site.expect_identical();
    site.expect_log_line(&["harmless\\x0a"]);
    let ended = site.stop();
    assert!(!ended.log.lines().any(|line| line.contains("CRIT forged") && !line.contains("harmless")), "{}", ended.log);
    assert!(!ended.log.contains('\u{1b}'), "{}", ended.log);
}

fn object(line: &str) -> serde_json::Map<String, Value> {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

#[test]
fn as_json_every_line_is_one_object_with_time_level_message_and_fields() {
    let mut site = Site::on(&[Local]);
    site.config("log: (format: Json, level: Debug)");
    site.start_mirrored();
    site.write("harmless\n\u{7f}", "12345");
    site.expect_identical();
    site.expect_log("\"msg\":\"mirrored\"");
    let ended = site.stop();
    let lines: Vec<_> = ended.log.lines().map(object).collect();
    for line in &lines {
        let keys: Vec<&str> = ["ts", "level", "msg"].into_iter().filter(|key| line[*key].is_string()).collect();
        assert_eq!(keys.len(), 3, "{line:?}");
    }
    let mirrored = lines.iter().find(|line| line["msg"] == "mirrored").unwrap();
    assert_eq!(
        (&mirrored["level"], &mirrored["node"], &mirrored["paths"]),
        (&"INFO".into(), &"local".into(), &1.into())
    );
    assert!(mirrored["batch"].is_u64() && mirrored["took_ms"].is_u64() && mirrored["bytes"].is_u64(), "{mirrored:?}");
    assert!(
        lines.iter().any(|line| line["msg"] == "change" && line["what"] == "written harmless\\x0a\\x7f"),
        "{lines:?}"
    );
}

#[test]
fn batches_of_a_node_are_numbered() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.settle();
    let ended = site.stop();
    let number = |line: &str| line.split_once("mirrored, node: local, batch: ")?.1.split_once(',')?.0.parse().ok();
    let mut numbers: Vec<u64> = ended.log.lines().filter_map(number).collect();
    // What ends at the same time may be told in either order.
    numbers.sort_unstable();
    assert!(numbers.len() >= 2 && numbers.is_sorted_by(|a, b| a < b), "{}", ended.log);
}

#[test]
fn a_reload_changes_how_the_log_looks() {
    let mut site = Site::on(&[Local]);
    site.start_mirrored();
    site.config("log: (format: Json)");
    assert_eq!(object(&site.reload())["msg"], "reloaded: changed log");
    site.expect_log_line(&["INFO the log changes", "format: Json"]);
    site.config("log: (level: Warning)");
    site.config_file();
    site.daemon().signal(Signal::HUP);
    site.expect_log_line(&["the log changes", "WARNING"]);
    let lines = site.log_lines().len();
    site.write("file", "x");
    site.expect_identical();
    // What is wrong is said all the same.
    std::fs::write(site.beside("site.ron"), "(").unwrap();
    let refused = site.reload_file();
    assert!(refused.contains(" ERRO reload refused"), "{refused}");
    let ended = site.stop();
    let since: Vec<&str> = ended.log.lines().skip(lines).collect();
    assert_eq!(since, [refused], "{}", ended.log);
}

/// Runs what follows as systemd does, with standard error as the journal, whose socket is that of the first argument.
const UNDER_JOURNAL: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
    ln -s \"$0\" /run/systemd/journal/socket && JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2) exec \"$@\"";

/// The fields of an entry, as the journal's own protocol has them.
fn entry(datagram: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8(datagram.to_vec()).unwrap();
    text.lines().map(|line| line.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap()).collect()
}

fn can_mount() -> bool {
    let unshared = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/run"]).output();
    let can = unshared.is_ok_and(|output| output.status.success());
    if !can {
        println!("not tested, no mounts here");
    }
    can
}

#[test]
fn under_journald_entries_have_fields_and_no_time_of_their_own() {
    if !can_mount() {
        return;
    }
    let mut site = Site::on(&[Local]);
    let path = site.beside("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    site.always_start_by(&["unshare", "-m", "sh", "-c", UNDER_JOURNAL, path.to_str().unwrap()]);
    site.config("log: (format: Json)");
    site.launch();
    let next = || {
        let mut buffer = [0; 65536];
        let length = socket.recv(&mut buffer).unwrap();
        entry(&buffer[..length])
    };
    let next_with = |words: &str| loop {
        let entry = next();
        if entry["MESSAGE"].starts_with(words) {
            return entry;
        }
    };
    let watching = next_with("watching, directories: ");
    assert_eq!((&*watching["PRIORITY"], &*watching["INOSYNC_DIRECTORIES"]), ("6", "1"), "{watching:?}");
    assert_eq!(watching["SYSLOG_IDENTIFIER"], "inosync");
    site.write("file", "x");
    let mirrored = next_with("mirrored, node: local, batch: ");
    let field = |name: &str| mirrored[name].as_str();
    assert_eq!((field("INOSYNC_NODE"), field("INOSYNC_PATHS"), field("INOSYNC_DELETED")), ("local", "1", "0"));
    assert!(field("INOSYNC_BATCH").parse::<u64>().is_ok() && field("INOSYNC_TOOK_MS").parse::<u64>().is_ok());
    assert!(field("MESSAGE").ends_with(" ms"), "{mirrored:?}");
    // When the journal is gone, standard error gets the lines.
    std::fs::remove_file(&path).unwrap();
    drop(socket);
    let ended = site.stop();
    assert!(ended.log.lines().any(|line| line.starts_with("<6>stopped, pending: ")), "{}", ended.log);
}
