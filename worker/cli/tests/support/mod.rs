//! Runs the real program the way a user does, in a folder of its own.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A folder that goes with the test.
pub struct Folder(PathBuf);

/// What a finished run left.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A `flagstop dev` that serves.
pub struct Served {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    pub address: String,
}

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A SQLite store in here.
    pub fn store(&self) -> String {
        format!("sqlite:{}", self.file("store.db"))
    }

    pub fn flagstop(&self, arguments: &[&str]) -> Outcome {
        self.flagstop_with(arguments, &[])
    }

    pub fn flagstop_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Outcome::of(command.spawn().unwrap())
    }

    /// Starts it; its output is kept for [`Outcome::of`].
    pub fn spawn(&self, arguments: &[&str], input: Stdio) -> Child {
        let mut command = self.command(arguments);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a file holds this text.
    pub fn until(&self, name: &str, text: &str) {
        while !std::fs::read_to_string(self.file(name)).is_ok_and(|found| found.contains(text)) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Serves a folder of definitions; the data stays in this folder.
    pub fn serve(&self, definitions: &str, more: &[&str]) -> Served {
        let data = self.file("data");
        let mut arguments = vec!["dev", definitions, "--no-demo", "--data", &data, "--http", "127.0.0.1:0"];
        arguments.extend(["--output", "json", "--child"]);
        arguments.extend(more);
        let mut child = self.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut served = Served { input: child.stdin.take(), child, lines, address: String::new() };
        let ready = served.next().expect("it becomes ready");
        assert_eq!(ready["type"], "io.flagstop.dev.ready.v1");
        served.address = ready["source"].as_str().unwrap().to_owned();
        served
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flagstop"));
        command.args(arguments).current_dir(&self.0).env("NO_COLOR", "1").env_remove("RUST_LOG").env_remove("CARGO");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLAGSTOP")) {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Outcome {
    /// Waits for the end.
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails the test with everything that was said, unless the code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// All of these are said on standard error.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is missing in:\n{}", self.stderr);
        }
        self
    }

    /// Standard output as JSON, checked against its published schema.
    #[track_caller]
    pub fn json(&self, schema: &str) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}:\n{}", self.stdout));
        let path = root().join("schemas/cli").join(format!("{schema}.schema.json"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}:\n{errors:#?}\n{value:#}", path.display());
        value
    }
}

impl Served {
    /// The next event that leaves; `None` when it has ended.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line).unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    /// Reads on until an event of this type.
    pub fn until(&mut self, ty: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("ended before {ty}; so far: {events:#?}"));
            let found = event["type"] == ty;
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// Lets it drain and end; gives what it still printed.
    pub fn stop(mut self) -> Vec<Value> {
        drop(self.input.take());
        let rest = std::iter::from_fn(|| self.next()).collect();
        assert!(self.child.wait().unwrap().success());
        rest
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A raw HTTP request; gives the status, the content type and the body.
    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        http(&self.address, method, path, headers, body)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A raw HTTP request to an address; gives the status, the content type and the body.
pub fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let host = address.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes()).unwrap();
    // A refusal may come before the whole body is taken.
    let _ = stream.write_all(body.as_bytes());
    let answer = std::io::read_to_string(stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    (status, kind.unwrap_or_default(), body.to_owned())
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The example of the README.
pub fn example() -> String {
    root().join("examples/onboarding").display().to_string()
}
