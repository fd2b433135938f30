use std::fs::File;
use std::os::unix::process::ExitStatusExt;

use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::io::AsyncReadExt;

use super::*;
use crate::children::program::ChildStdio;

fn shell(script: &str) -> ChildProgram {
    let mut program = ChildProgram::new("sh");
    program.args(["-c", script]).stdio(ChildStdio::Null, ChildStdio::Piped, ChildStdio::Piped);
    program
}

/// Runs a program of which the output is wanted.
async fn output(program: ChildProgram, within: Confinement) -> (String, ExitStatus) {
    let mut group = Children::default().start_within(program, Some(File::open("/").unwrap().into()), within).unwrap();
    let (_, stdout, _) = group.pipes();
    let mut said = String::new();
    stdout.unwrap().read_to_string(&mut said).await.unwrap();
    (said, group.wait().await.unwrap())
}

#[tokio::test]
async fn a_program_gets_its_arguments_environment_and_directory() {
    let mut program = shell("echo \"$0 $1 $INOSYNC_A ${INOSYNC_B-none}\"; pwd; exit 7");
    program.args(["two words", "x"]);
    program.envs([("INOSYNC_A", "1"), ("INOSYNC_B", "2")]).env_remove("INOSYNC_B");
    let (said, status) = output(program, Confinement::default()).await;
    assert_eq!(said, "two words x 1 none\n/\n");
    assert_eq!(status.code(), Some(7));
}

#[tokio::test]
async fn a_program_reads_what_it_is_told_and_hears_the_end() {
    let mut program = ChildProgram::new("cat");
    program.stdio(ChildStdio::Piped, ChildStdio::Piped, ChildStdio::Null);
    let mut group = Children::default().start(program, None).unwrap();
    let (stdin, stdout, _) = group.pipes();
    tokio::io::AsyncWriteExt::write_all(&mut stdin.unwrap(), b"list").await.unwrap();
    let mut said = String::new();
    stdout.unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!((said.as_str(), group.wait().await.unwrap().code()), ("list", Some(0)));
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_told_with_the_reason_and_leaves_no_process() {
    let missing = Children::default().start(ChildProgram::new("inosync-no-such-program"), None).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let refused = Children::default().start(ChildProgram::new("/etc/passwd"), None).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    let nul = Children::default().start(ChildProgram::new("a\0b"), None).unwrap_err();
    assert_eq!(nul.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(std::fs::read_to_string("/proc/thread-self/children").unwrap(), "");
}

#[tokio::test]
async fn a_program_leads_a_session_and_dies_with_the_daemon() {
    let (said, _) = output(shell("cut -d' ' -f1,4,5,6 /proc/$$/stat"), Confinement::default()).await;
    let numbers: Vec<u32> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [process, parent, group, session] = numbers[..] else { panic!("{said}") };
    assert_eq!((group, session, parent), (process, process, std::process::id()));
}

#[tokio::test]
async fn a_program_inherits_the_given_descriptors_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let [given, _other] = ["given", "other"].map(|name| File::create(dir.path().join(name)).unwrap());
    let within = Confinement { inherits: vec![given.into()], ..Confinement::default() };
    let (said, _) = output(shell("ls -l /proc/$$/fd"), within).await;
    assert!(said.contains("/given\n"), "{said}");
    assert!(!said.contains("/other\n"), "{said}");
}

#[tokio::test]
async fn a_program_blocks_and_ignores_no_signal_of_the_daemon() {
    // Handlers of tokio.
    let _handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let (said, _) = output(shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"), Confinement::default()).await;
    let masks: Vec<u64> =
        said.lines().map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()).collect();
    let pipe = 1 << (libc::SIGPIPE - 1);
    assert_eq!((masks[0], masks[1] & pipe), (0, 0), "{said}");
    let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(own.contains("SigBlk:\t0000000000000000"), "{own}");
}

#[tokio::test]
async fn starting_a_program_copies_no_memory() {
    let mut memory = vec![1_u8; 64 << 20];
    let group = Children::default().start(shell("sleep 60"), None).unwrap();
    let before = getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults();
    memory.iter_mut().step_by(4096).for_each(|byte| *byte += 1);
    let faults = getrusage(UsageWho::RUSAGE_THREAD).unwrap().minor_page_faults() - before;
    assert_eq!(memory[4096], 2);
    assert!(faults < 1000, "{faults} page faults");
    group.kill();
}

#[tokio::test]
async fn the_end_of_each_of_many_is_known_at_once() {
    let children = Children::default();
    let mut groups: Vec<Group> =
        (0..50).map(|code| children.start(shell(&format!("exit {code}")), None).unwrap()).collect();
    for (code, group) in groups.iter_mut().enumerate() {
        assert_eq!(group.wait().await.unwrap().code(), i32::try_from(code).ok());
    }
    let mut killed = children.start(shell("sleep 60"), None).unwrap();
    killed.kill();
    assert_eq!(killed.wait().await.unwrap().signal(), Some(libc::SIGKILL));
}

#[tokio::test]
async fn a_process_that_nobody_waits_for_leaves_no_zombie() {
    let apart = Children::start_apart(shell("sleep 0.1"), File::open("/").unwrap().into(), None).unwrap();
    let process = format!("/proc/{}", apart.pid().as_raw_nonzero());
    drop(apart);
    while std::fs::exists(&process).unwrap() {
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn starts_and_failed_starts_use_up_no_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let (place, file) = (dir.path().to_owned(), dir.path().join("file"));
    File::create(&file).unwrap();
    for name in ["true", "inosync-no-such-program"] {
        let given = || -> OwnedFd { File::open(&file).unwrap().into() };
        let mut program = ChildProgram::new(name);
        program.stdio(ChildStdio::Given(given()), ChildStdio::Given(given()), ChildStdio::Null);
        let within = Confinement { inherits: vec![given()], rules: None };
        let directory = Some(File::open(&place).unwrap().into());
        if let Ok(mut group) = Children::default().start_within(program, directory, within) {
            group.wait().await.unwrap();
        }
        let open =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        assert_eq!(open.filter(|to| to.starts_with(&place)).count(), 0, "{name}");
    }
}
