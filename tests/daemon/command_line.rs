//! The command line and the configuration, as far as a person meets them: exit codes, positions, nothing started.

use crate::support::{Dead, Local, Site};

#[test]
fn help_and_version_are_no_errors() {
    let site = Site::on(&[Local]);
    for option in ["-h", "--help", "--version"] {
        let ended = site.run_plain(&[option]);
        assert_eq!(ended.code, Some(0), "{option}: {}", ended.log);
        assert!(ended.stdout.contains("inosync"), "{option}: {}", ended.stdout);
    }
}

#[test]
fn wrong_options_are_errors_of_usage() {
    let site = Site::on(&[Local]);
    for args in [&["--no-such-option"][..], &["-c"], &["stray"], &["once", "check"], &["--once", "--check"]] {
        let ended = site.run_plain(args);
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.log);
    }
    let ended = site.run_plain(&["stauts"]);
    assert_eq!(ended.code, Some(64), "{}", ended.log);
    assert!(ended.log.contains("did you mean inosync status?"), "{}", ended.log);
}

#[test]
fn a_command_takes_its_site_before_and_after_it_and_its_older_form_does_the_same() {
    let site = Site::on(&[Local]);
    let file = site.config_file().display().to_string();
    for args in [["-c", &file, "once"], ["once", "-c", &file], ["-c", &file, "--once"]] {
        site.write("file", args.join(" "));
        let ended = site.run_plain(&args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.log);
        site.assert_on_nodes("file", &args.join(" "));
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let site = Site::on(&[Local]);
    let ended = site.run_plain(&["-c", "/no/such/site.ron"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("/no/such/site.ron"), "{}", ended.log);
}

#[test]
fn a_site_is_found_by_its_name_and_a_wrong_name_leads_to_the_right_one() {
    let site = Site::on(&[Local]);
    let file = site.config_file();
    std::fs::rename(&file, site.beside("www.ron")).unwrap();
    let ended = site.run_plain(&["once", "-c", "www"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    site.assert_on_nodes("seed", "seed");
    let ended = site.run_plain(&["-c", "wwww", "once"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(
        ended.log.contains("there is no site `wwww`") && ended.log.contains("did you mean -c www?"),
        "{}",
        ended.log
    );
}

#[test]
fn a_shell_is_offered_the_sites_and_the_nodes() {
    let site = Site::on(&[Local, Dead]);
    std::fs::rename(site.config_file(), site.beside("www.ron")).unwrap();
    assert_eq!(site.ask_all(&["--names", "sites"]).stdout, "www\n");
    let nodes = format!("local\n{}\n", site.name(Dead));
    assert_eq!(site.ask_all(&["--names", "nodes", "-c", "www"]).stdout, nodes);
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_inosync")).parent().unwrap();
    let complete = |line: &str, last: usize| {
        let script = format!(
            "PATH={}:$PATH; eval \"$(inosync --completions bash)\"; COMP_WORDS=({line}); COMP_CWORD={last}; _inosync; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bin.display()
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]).current_dir(site.beside("run")).env("RUNTIME_DIRECTORY", site.beside("run"));
        let output = bash.env("CONFIGURATION_DIRECTORY", site.beside("")).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(complete("inosync -c w", 2).lines().any(|word| word == "www"));
    assert!(complete("inosync -c www pause l", 4).lines().any(|word| word == "local"));
    assert!(complete("inosync paus", 1).lines().any(|word| word == "pause"));
}

/// A line to exchange in a sound configuration, what it is exchanged for, and the exit code and words to expect.
struct Mistake {
    line: usize,
    becomes: &'static str,
    code: i32,
    words: &'static [&'static str],
}

const MISTAKES: [Mistake; 16] = [
    Mistake { line: 2, becomes: "wpath: \"relative\",", code: 78, words: &["wpath", "relative"] },
    Mistake { line: 2, becomes: "wpath: \"/no/such/directory\",", code: 78, words: &["wpath", "/no/such/directory"] },
    Mistake { line: 2, becomes: "wpath: 7,", code: 78, words: &["string"] },
    Mistake { line: 3, becomes: "rpath: \"relative\",", code: 78, words: &["rpath", "relative"] },
    Mistake { line: 3, becomes: "rpaht: \"/x\",", code: 78, words: &["rpaht", "rpath"] },
    Mistake { line: 4, becomes: "rnodes: [],", code: 78, words: &["rnodes"] },
    Mistake { line: 4, becomes: "rnodes: [\"host::\"],", code: 78, words: &["rnodes", "host::", "module"] },
    Mistake { line: 4, becomes: "rnodes: [\"-oProxyCommand=x:\"],", code: 78, words: &["rnodes", "-oProxyCommand=x:"] },
    Mistake { line: 4, becomes: "rnodes: [\"user@-host:\"],", code: 78, words: &["rnodes", "user@-host:"] },
    Mistake { line: 4, becomes: "rnodes: [\"\", \"\"],", code: 78, words: &["rnodes"] },
    Mistake { line: 5, becomes: "rsync: \"/no/such/rsync\",", code: 69, words: &["rsync", "/no/such/rsync"] },
    Mistake { line: 5, becomes: "rexcludes: [\"/a//b\"],", code: 78, words: &["rexcludes", "/a//b"] },
    Mistake { line: 5, becomes: "extra: \"--files-from=x\",", code: 78, words: &["extra", "--files-from"] },
    Mistake { line: 5, becomes: "extra: \"'unclosed\",", code: 78, words: &["extra"] },
    Mistake { line: 5, becomes: "initial_sync: Sometimes,", code: 78, words: &["Sometimes", "Update"] },
    Mistake { line: 5, becomes: "rspeed: \"fast\",", code: 78, words: &["rspeed"] },
];

#[test]
fn each_mistake_in_the_configuration_is_shown_where_it_is_and_starts_nothing() {
    let mut site = Site::on(&[Local]);
    site.config("rspeed: 0");
    let sound = std::fs::read_to_string(site.config_file()).unwrap();
    let path = site.beside("mistake.ron");
    for Mistake { line, becomes, code, words } in MISTAKES {
        let mut lines: Vec<&str> = sound.lines().collect();
        lines[line - 1] = becomes;
        std::fs::write(&path, lines.join("\n")).unwrap();
        let ended = site.run_plain(&["-c", path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(code), "{becomes}\n{}", ended.log);
        let position = format!("mistake.ron:{line}:");
        for word in words.iter().copied().chain([position.as_str()]) {
            assert!(ended.log.contains(word), "{becomes}\nno {word:?} in:\n{}", ended.log);
        }
        assert!(!site.mirror(Local).exists(), "{becomes}");
    }
}

#[test]
fn a_missing_key_is_named() {
    let site = Site::on(&[Local]);
    let sound = std::fs::read_to_string(site.config_file()).unwrap();
    let path = site.beside("mistake.ron");
    for key in ["wpath", "rpath", "rnodes"] {
        let without: Vec<&str> = sound.lines().filter(|line| !line.contains(&format!("{key}:"))).collect();
        std::fs::write(&path, without.join("\n")).unwrap();
        let ended = site.run_plain(&["-c", path.to_str().unwrap()]);
        assert_eq!(ended.code, Some(78), "{key}\n{}", ended.log);
        assert!(ended.log.contains(key), "{key}\n{}", ended.log);
    }
}

#[test]
fn a_local_mirror_inside_or_around_the_source_is_refused() {
    let site = Site::on(&[Local]);
    let sound = std::fs::read_to_string(site.config_file()).unwrap();
    let path = site.beside("mistake.ron");
    let around = site.beside("");
    for rpath in [site.source(), site.at("below"), around] {
        let text = sound.replace(&format!("{:?}", site.mirror(Local)), &format!("{rpath:?}"));
        std::fs::write(&path, text).unwrap();
        let ended = site.run_plain(&["-c", path.to_str().unwrap(), "once"]);
        assert_eq!(ended.code, Some(78), "{rpath:?}\n{}", ended.log);
        assert!(site.at("seed").exists());
    }
}
