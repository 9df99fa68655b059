//! The operator's tour of the README, typed as it stands there.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Folder, root};

/// What the output of a command must show; it is typed again until it does, as a person would who is too quick.
const SHOWS: [(&str, &str); 11] = [
    ("flagstop definitions list", "hr/onboarding"),
    ("flagstop instances list", "waiting"),
    ("flagstop instances why e-7", "waits for an event com.example.background-check.completed with employeeId \"e-7\""),
    ("flagstop instances cancel e-7", "cancelled"),
    ("flagstop instances history e-7", "workflow cancelled"),
    ("flagstop dead-letters list", "FS-DEFINITION-UNKNOWN"),
    ("flagstop deploy", "purchasing/approval 1.0.0"),
    ("flagstop dead-letters redrive", "1 redriven"),
    ("flagstop instances why req-1", "waits for an event com.example.approval.decided"),
    ("flagstop definitions disable", "disabled"),
    ("flagstop events list", "com.example.approval.asked"),
];

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shell blocks of the tour, each as its commands.
fn tour() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("\n## An operator's tour\n").expect("the README has the tour");
    let tour = rest.split("\n## ").next().unwrap();
    let blocks = tour.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let commands = |block: &str| {
        let joined = block.replace("\\\n", " ");
        joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    blocks.map(commands).collect()
}

/// A shell in the folder, where `flagstop` is the binary under test.
fn shell(folder: &Folder, line: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_flagstop"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", &format!("exec {line}")]).current_dir(folder.path()).env("PATH", path).env("NO_COLOR", "1");
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn the_operator_s_tour_works_as_it_is_written() {
    let folder = Folder::new();
    std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    let blocks = tour();
    let [ref running, ref typed] = blocks[..] else { panic!("the tour has two blocks: {blocks:#?}") };

    // A free port, and lines that a program reads: all else is as it stands there.
    let [dev, tail] = &running[..] else { panic!("two terminals: {running:#?}") };
    let mut dev = Running(shell(&folder, &format!("{dev} --http 127.0.0.1:0 --output json")).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ready: Value = serde_json::from_str(&lines.next().expect("it becomes ready")).unwrap();
    let address = ready["source"].as_str().unwrap().to_owned();
    std::thread::spawn(move || lines.for_each(drop));
    let mut tail = Running(shell(&folder, tail).spawn().unwrap());
    let mut followed = BufReader::new(tail.0.stdout.take().unwrap()).lines().map(Result::unwrap);

    let (variables, commands): (Vec<&String>, Vec<&String>) =
        typed.iter().partition(|line| line.starts_with("export "));
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|line| line["export ".len()..].split_once('=').unwrap()).collect();
    let mut shown = 0;
    for line in commands {
        let expected = SHOWS.iter().find(|(command, _)| line.starts_with(command)).map_or("", |(_, shows)| shows);
        let typed = line.replace("http://127.0.0.1:8080", &address);
        let mut said = String::new();
        let done = (0..200).any(|_| {
            let output =
                shell(&folder, &typed).envs(variables.iter().copied()).stderr(Stdio::piped()).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            said = format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
            let done = output.status.success() && text.contains(expected);
            if !done {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done
        });
        assert!(done, "`{line}` does not show `{expected}`, but:\n{said}");
        shown += usize::from(!expected.is_empty());
    }
    assert_eq!(shown, SHOWS.len(), "the tour lacks some of the commands");
    assert!(followed.any(|line| line.contains("workflow cancelled")), "and the events were seen as they came");
}
