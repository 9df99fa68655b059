//! Programs: real ones, run by `sh`, `python3` and `node`. A language that is not installed here is said plainly.
#![allow(clippy::unwrap_used, reason = "a test may stop where it can't go on")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use flagstop_effects::process::{ProcessOptions, Processes};
use flagstop_engine::api::{EffectOutcome, ProcessKind, ProcessRequest};

fn shell(code: &str) -> ProcessRequest {
    ProcessRequest {
        kind: ProcessKind::Shell,
        code: code.to_owned(),
        arguments: Vec::new(),
        stdin: None,
        environment: Vec::new(),
    }
}

fn script(language: &str, code: &str) -> ProcessRequest {
    ProcessRequest { kind: ProcessKind::Script { language: language.to_owned() }, ..shell(code) }
}

fn enabled() -> Processes {
    Processes::Enabled(ProcessOptions::default())
}

async fn ends(processes: &Processes, request: &ProcessRequest) -> (i32, String, String) {
    match processes.run(request).await {
        EffectOutcome::Process { code, stdout, stderr } => (code, stdout, stderr),
        other => panic!("it did not end by itself: {other:?}"),
    }
}

async fn fails(processes: &Processes, request: &ProcessRequest) -> String {
    match processes.run(request).await {
        EffectOutcome::NoAnswer { reason } => reason,
        other => panic!("it was to fail: {other:?}"),
    }
}

/// Whether a program is installed; says so when it is not.
fn has(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !found {
        println!("`{program}` is not installed: what needs it is not tested here");
    }
    found
}

#[tokio::test]
async fn programs_are_not_run_unless_somebody_enabled_them() {
    let reason = fails(&Processes::default(), &shell("echo hello")).await;
    assert!(reason.contains("`processes`"), "{reason}");
}

#[tokio::test]
async fn a_command_line_gets_arguments_input_and_environment_and_gives_its_outputs_and_code() {
    let request = ProcessRequest {
        arguments: vec!["Foo".to_owned(), "two words".to_owned()],
        stdin: Some("Hello World".to_owned()),
        environment: vec![("GREETING".to_owned(), "hi $HOME".to_owned())],
        ..shell("input=$(cat)\necho \"STDIN was: $input\"\necho \"ARGS are $1, $2\"\necho \"$GREETING\" >&2\nexit 3")
    };
    let wanted = (3, "STDIN was: Hello World\nARGS are Foo, two words\n".to_owned(), "hi $HOME\n".to_owned());
    assert_eq!(ends(&enabled(), &request).await, wanted);
}

#[tokio::test]
async fn a_program_sees_nothing_of_our_own_environment_but_what_every_program_needs() {
    let (_, seen, _) = ends(&enabled(), &shell("env")).await;
    let own = ["PWD", "SHLVL", "_", "OLDPWD"];
    let kept = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT"];
    let names = seen.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let foreign: Vec<_> = names.filter(|name| !own.contains(name) && !kept.contains(name)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")), "cargo runs this with variables of its own");
}

#[tokio::test]
async fn input_that_nobody_reads_and_output_of_any_size_within_the_limit_hold_nothing_up() {
    let request = ProcessRequest { stdin: Some("x".repeat(1 << 20)), ..shell("exec 0<&-; head -c 1000000 /dev/zero") };
    let (code, stdout, _) = ends(&enabled(), &request).await;
    assert_eq!((code, stdout.len()), (0, 1_000_000));
    let request = ProcessRequest { stdin: Some("x".repeat(1 << 20)), ..shell("cat") };
    assert_eq!(ends(&enabled(), &request).await.1.len(), 1 << 20);
}

#[tokio::test]
async fn output_without_end_is_cut_and_told() {
    for command in ["yes", "yes >&2"] {
        let reason = fails(&enabled(), &shell(command)).await;
        assert!(reason.contains("output_bytes_max"), "{reason}");
    }
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_all_that_it_started() {
    let marks = std::env::temp_dir().join(format!("flagstop-process-{}", std::process::id()));
    let _ = std::fs::remove_file(&marks);
    let processes = Processes::Enabled(ProcessOptions { timeout_ms: 300, ..ProcessOptions::default() });
    let line = format!("(sleep 2; echo late > '{}') & sleep 60", marks.display());
    let reason = fails(&processes, &shell(&line)).await;
    assert!(reason.contains("timeout_ms"), "{reason}");
    // The one in the background would have left its mark by then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(!marks.exists());
}

#[tokio::test]
async fn a_program_that_nobody_waits_for_any_more_is_killed() {
    let marks = std::env::temp_dir().join(format!("flagstop-dropped-{}", std::process::id()));
    let _ = std::fs::remove_file(&marks);
    let request = shell(&format!("echo begun; sleep 2; echo late > '{}'", marks.display()));
    let processes = enabled();
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(500), processes.run(&request)).await;
    assert!(dropped.is_err());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(!marks.exists());
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_hold_the_end_up() {
    let (code, stdout, _) = ends(&enabled(), &shell("sleep 600 & echo done")).await;
    assert_eq!((code, stdout.as_str()), (0, "done\n"));
}

#[tokio::test]
async fn the_end_by_a_signal_and_bytes_that_are_no_text_are_told_as_they_can_be() {
    let (code, stdout, stderr) = ends(&enabled(), &shell("printf 'a\\377b'; printf '\\303' >&2; kill -TERM $$")).await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (128 + 15, "a\u{fffd}b", "\u{fffd}"));
}

#[tokio::test]
async fn what_can_not_be_given_to_a_program_is_told_before_it_runs() {
    let long = "x".repeat(1 << 20);
    let with = |name: &str, text: &str| ProcessRequest {
        environment: vec![(name.to_owned(), text.to_owned())],
        ..shell("true")
    };
    for (request, why) in [
        (shell("echo \0"), "NUL"),
        (ProcessRequest { arguments: vec![long], ..shell("true") }, "too long"),
        (with("A=B", "x"), "environment variable"),
        (script("cobol", "x"), "`cobol`"),
    ] {
        let reason = fails(&enabled(), &request).await;
        assert!(reason.contains(why), "{reason}");
    }
    let nowhere = BTreeMap::from([("python".to_owned(), PathBuf::from("/no/such/python"))]);
    let processes = Processes::Enabled(ProcessOptions { interpreters: nowhere, ..ProcessOptions::default() });
    let reason = fails(&processes, &script("python", "1")).await;
    assert!(reason.contains("`/no/such/python` can't be started"), "{reason}");
}

#[tokio::test]
async fn python_runs_scripts_with_arguments_input_and_environment() {
    if !has("python3") {
        return;
    }
    let request = ProcessRequest {
        arguments: vec!["hello".to_owned()],
        stdin: Some("in".to_owned()),
        environment: vec![("foo".to_owned(), "bar".to_owned())],
        ..script("python", "import os, sys\nprint(sys.argv[1], sys.stdin.read(), os.environ['foo'])\nsys.exit(4)")
    };
    assert_eq!(ends(&enabled(), &request).await, (4, "hello in bar\n".to_owned(), String::new()));
}

#[tokio::test]
async fn node_runs_scripts_and_modules_with_arguments_input_and_environment() {
    if !has("node") {
        return;
    }
    let module = "// Reading\nimport { readFileSync } from 'node:fs';\nconst [_, __, arg] = process.argv;\n\
                  console.log(arg, readFileSync(process.stdin.fd, 'utf8'), process.env.foo);";
    let common = "const { readFileSync } = require('node:fs');\nconst [_, __, arg] = process.argv;\n\
                  console.log(arg, readFileSync(0, 'utf8'), process.env.foo);";
    for code in [module, common] {
        let request = ProcessRequest {
            arguments: vec!["hello".to_owned()],
            stdin: Some("in".to_owned()),
            environment: vec![("foo".to_owned(), "bar".to_owned())],
            ..script("js", code)
        };
        assert_eq!(ends(&enabled(), &request).await, (0, "hello in bar\n".to_owned(), String::new()));
    }
    let (code, _, stderr) = ends(&enabled(), &script("js", "throw new Error('no')")).await;
    assert!(code == 1 && stderr.contains("Error: no"), "{code} {stderr}");
}
