//! Real worker processes, and the signals that they get.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The binary under test, beside the test's own: built by the same `cargo test`.
#[must_use]
pub fn flagstop() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("flagstop");
    assert!(path.exists(), "{} is missing; build it first: cargo build --workspace", path.display());
    path
}

/// Runs a command to its end and returns its standard output. Panics with everything it said when it fails.
#[must_use]
pub fn run(args: &[&str]) -> String {
    let output = Command::new(flagstop()).args(args).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "flagstop {args:?} ended with {}:\n{stdout}\n{stderr}", output.status);
    stdout
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub struct WorkerProcess(Child);

impl WorkerProcess {
    /// Starts `flagstop worker`; what it says goes to the test's standard error.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// The same with some environment variables.
    #[must_use]
    pub fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self(
            Command::new(flagstop())
                .arg("worker")
                .args(args)
                .envs(variables.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Sends a signal by name: `KILL`, `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status().unwrap();
        assert!(status.success(), "the worker is already gone");
    }

    /// Has it ended by itself?
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end and returns its exit code, `None` when a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
