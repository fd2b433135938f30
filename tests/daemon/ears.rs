//! Nodes that talk without end, or of what was not in the run: what a node says is bounded and not believed.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Local, Site, Ssh, program, wait};

/// More memory than this is not needed to hear anything, in KiB.
const EARS: u64 = 16 * 1024;
/// A run is ended within this time although its text never ends.
const ENDS: Duration = Duration::from_secs(60);

/// The most memory that the daemon ever had, in KiB.
fn most_memory(site: &Site) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.daemon().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A site that mirrors by `rsync`, which is the real one until it is told to talk instead: then whoever runs it for the node
/// behind ssh hears this script.
fn talker(script: &str) -> Site {
    let mut site = Site::on(&[Local, Ssh]);
    let (fake, talks) = (site.beside("talking-rsync"), site.beside("talks"));
    let real = "exec rsync \"$@\"";
    program(
        &fake,
        &format!(
            "#!/bin/bash\n[[ -e {} && \"$*\" == *' mirror:'* ]] || {real}\n\
             [[ \"$*\" == *--server* ]] && {real}\n\
             echo '(Client) Protocol versions: remote=32, negotiated=32'\n\
             line=$(printf '%01000d' 0)\n{script}\n",
            talks.display()
        ),
    );
    site.config(&format!("rsync: {fake:?}"));
    site.config("standby: false");
    site.start_mirrored();
    fs::write(talks, "").unwrap();
    site
}

/// The node is given up with a cause, the other one is served, and all that was said left nothing behind.
#[track_caller]
fn expect_unmoved(site: &mut Site, before: u64) {
    let told = || site.log_lines().into_iter().find(|line| line.contains("the node talks without end"));
    assert!(wait::until_within(ENDS, told).is_some(), "{:?}", site.log_lines());
    assert_ne!(site.status_of(Ssh)["state"], "idle");
    site.write("meanwhile", "other");
    site.expect_on_node(Local, "meanwhile", "other");
    let most = most_memory(site);
    assert!(most < before + EARS, "{most} KiB, from {before}");
}

#[test]
fn text_without_end_takes_no_memory_and_ends_the_run() {
    for script in ["tr '\\0' x </dev/zero", "tr '\\0' x </dev/zero >&2", "yes \"$line\" >&2"] {
        let mut site = talker(script);
        let before = most_memory(&site);
        site.write("file", "new");
        expect_unmoved(&mut site, before);
        fs::remove_file(site.beside("talks")).unwrap();
        site.expect_on_node(Ssh, "file", "new");
    }
}

#[test]
fn names_that_were_not_in_the_run_are_neither_counted_nor_told() {
    let told = |site: &Site| site.beside("told");
    let mut site = talker("yes \"<f+++++++++|6|42|elsewhere/$line\"");
    let hook = site.beside("hook");
    program(&hook, &format!("#!/bin/sh\nexec cat >> {}\n", told(&site).display()));
    site.config(&format!("on_synced: [{hook:?}]"));
    site.reload();
    let (before, sent) = (most_memory(&site), site.status_of(Ssh)["totals"]["sent"].as_u64());
    site.write("file", "new");
    expect_unmoved(&mut site, before);
    assert_eq!(site.status_of(Ssh)["totals"]["sent"].as_u64(), sent);
    let heard = wait::until(|| fs::read(told(&site)).ok().filter(|heard| !heard.is_empty())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&heard).contains("elsewhere"), "{}", heard.escape_ascii());
}

#[test]
fn a_stop_takes_no_longer_because_a_node_talks() {
    let mut site = talker("while :; do echo \"$line\"; sleep 0.001; done");
    site.config("stop_timeout: 2");
    site.reload();
    site.write("file", "new");
    site.expect_on_node(Local, "file", "new");
    let asked = Instant::now();
    let stopped = site.stop();
    assert_eq!(stopped.code, Some(75), "{stopped:?}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}
