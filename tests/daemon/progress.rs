//! How far a reconcile is: bars at a terminal, lines in any other log. No name is taken for what rsync says of it.

use crate::support::{Ended, Local, Node, Rsyncd, Site, Ssh};

/// Runs what follows at a terminal of this program, and says what is drawn there on standard output.
const AT_TERMINAL: [&str; 4] = [
    "sh",
    "-c",
    "exec script --quiet --return --command \"stty cols 120 rows 24; TERM=xterm exec $*\" /dev/null",
    "sh",
];

fn has_script() -> bool {
    let found = std::process::Command::new("script").arg("--version").output().is_ok();
    if !found {
        println!("not tested: script(1) is not there");
    }
    found
}

/// What was written to a terminal between two movements of its cursor, without colours.
fn pieces(drawn: &str) -> Vec<String> {
    // Part of the end of a colour.
    let drawn = drawn.replace("\u{1b}(B", "");
    let (mut pieces, mut rest) = (vec![String::new()], drawn.as_str());
    while let Some(at) = rest.find(['\u{1b}', '\r', '\n']) {
        let (text, tail) = rest.split_at(at);
        pieces.last_mut().unwrap().push_str(text);
        let sequence = tail.strip_prefix("\u{1b}[").map(|tail| tail.trim_start_matches(|c: char| !c.is_alphabetic()));
        rest = match sequence {
            Some(end) if end.starts_with('m') => &end[1..],
            Some(end) => {
                pieces.push(String::new());
                end.get(1..).unwrap_or_default()
            }
            None => {
                pieces.push(String::new());
                &tail[1..]
            }
        };
    }
    pieces.last_mut().unwrap().push_str(rest);
    pieces
}

/// A site whose first comparison takes a second or two at each node.
fn slow(nodes: &[Node]) -> Site {
    let mut site = Site::on(nodes);
    site.config("rspeed: 100");
    (0..30).for_each(|n| site.write(format!("file {n}"), vec![b'x'; 6_000]));
    site
}

/// How many of the lines say that a node has everything, and end as such a line ends.
fn reconciled(lines: &[String]) -> usize {
    let whole = |line: &&String| line.contains(" INFO reconciled, node: ") && line.ends_with(" ms");
    lines.iter().filter(whole).count()
}

#[test]
fn once_at_a_terminal_draws_a_bar_for_each_node_below_a_log_that_is_whole() {
    if !has_script() {
        return;
    }
    let nodes = [Local, Ssh, Rsyncd];
    let site = slow(&nodes);
    let ended = site.run_by(&AT_TERMINAL, &["once"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.log);
    site.expect_identical();
    let pieces = pieces(&ended.stdout);
    for node in nodes {
        let name = site.name(node);
        let start: String = if name.is_empty() { "local".to_owned() } else { name.chars().take(20).collect() };
        let bars: Vec<&String> = pieces.iter().filter(|piece| piece.contains(&format!(" % {start}"))).collect();
        assert!(bars.iter().all(|bar| bar.contains(" [") && bar.contains("] ")), "{bars:?}");
        let is_half_way = |bar: &&&String| bar.contains("[=") && bar.contains("/32 files, ") && bar.contains(" left");
        assert!(bars.iter().any(|bar| is_half_way(&bar)), "{start}: {pieces:?}");
    }
    assert_eq!(reconciled(&pieces), 3, "{pieces:?}");
}

#[test]
fn the_daemon_at_a_terminal_draws_a_bar_for_its_first_comparison() {
    if !has_script() {
        return;
    }
    let mut site = slow(&[Local]);
    site.start_by(&["sh", "-c", "exec script --quiet --command \"TERM=xterm exec $*\" /dev/null >&2", "sh"], &[]);
    site.expect_log("% local: ");
    site.expect_identical();
    site.expect_log("reconciled");
    site.stop();
}

fn expect_plain(ended: &Ended) {
    let is_plain = |c: char| c == '\n' || !c.is_control();
    assert!(ended.log.chars().all(is_plain), "{:?}", ended.log);
    assert_eq!(ended.stdout, "");
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let site = slow(&[Local]);
    let ended = site.run(&["once", "-v"]);
    expect_plain(&ended);
    let lines: Vec<String> = ended.log.lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), reconciled(&lines)), (1, 1), "{}", ended.log);
}

#[test]
fn names_are_not_taken_for_progress_and_are_counted() {
    let site = Site::new();
    for name in ["100%", "%n", "5\r100%", "7\r", "1\r>f+++++++++|1|2|x"] {
        site.write(name, name);
    }
    // A name alone has no slash, and what rsync says of its progress has; a path may be the same.
    for (dir, name) in [(" 32768 100%    1.00kB/s    0:00:00 (xfr#1, to-chk=0", "23)"), ("\r 5 5% 1.00kB", "s 0:00:00")]
    {
        site.mkdir(dir);
        site.write(format!("{dir}/{name}"), name);
    }
    let ended = site.run(&["once"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site.expect_identical();
    // These, `seed` and the root.
    let counted = |line: &&str| line.contains("reconciled") && line.contains(" sent: 12, deleted: 0,");
    assert_eq!(ended.log.lines().filter(counted).count(), 3, "{}", ended.log);
    expect_plain(&ended);
}
