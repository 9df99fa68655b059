//! Runs programs: command lines of the shell, and scripts.
//!
//! Off unless it is enabled, because whoever may deploy a definition could then do on this machine whatever this process
//! may. A program gets nothing of this process's environment but what [`KEPT`] names, has limits on its time and output,
//! and runs in a process group of its own that is killed as a whole when the limits are hit or nobody waits any more.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use flagstop_engine::api::{EffectOutcome, ProcessKind, ProcessRequest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Variables of this process that programs get: what finds programs, homes and languages. Nothing of our configuration.
const KEPT: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT"];
const SHELL: &str = "/bin/sh";
/// Languages of scripts, and what runs them unless the options say otherwise.
const INTERPRETERS: [(&str, &str); 2] = [("js", "node"), ("python", "python3")];
/// One text of an argument list or an environment; Linux takes no longer ones.
const ARGUMENT_BYTES_MAX: usize = 128 << 10;

/// Whether, and within which limits, programs are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Processes {
    /// They are not.
    #[default]
    Disabled,
    /// They are.
    Enabled(ProcessOptions),
}

/// The limits of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessOptions {
    /// How long one may run, in milliseconds.
    pub timeout_ms: u64,
    /// How many bytes one may write, standard output and standard error each.
    pub output_bytes_max: usize,
    /// What runs the scripts of a language, by its name (`js`, `python`): a path, or a name to be found on `PATH`.
    pub interpreters: BTreeMap<String, PathBuf>,
    /// Where they run; `None`: where this process does.
    pub directory: Option<PathBuf>,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self { timeout_ms: 60_000, output_bytes_max: 1 << 20, interpreters: BTreeMap::new(), directory: None }
    }
}

impl Processes {
    /// Runs a program to its end. Dropped before that, it kills the program and all that it started.
    pub async fn run(&self, request: &ProcessRequest) -> EffectOutcome {
        let ran = match self {
            Self::Disabled => Err("running programs is off here; the operator can enable it (`processes`)".to_owned()),
            Self::Enabled(options) => options.run(request).await,
        };
        ran.unwrap_or_else(|reason| EffectOutcome::NoAnswer { reason })
    }
}

impl ProcessOptions {
    async fn run(&self, request: &ProcessRequest) -> Result<EffectOutcome, String> {
        let (mut command, what) = self.command(request)?;
        let child = command.spawn().map_err(|error| format!("{what} can't be started: {error}"))?;
        let ended = tokio::time::timeout(Duration::from_millis(self.timeout_ms), self.attend(child, request));
        match ended.await {
            Ok(ended) => ended.map_err(|why| format!("{what}: {why}")),
            Err(_) => Err(format!("{what} ran for more than {} ms (limit `timeout_ms`)", self.timeout_ms)),
        }
    }

    fn command(&self, request: &ProcessRequest) -> Result<(Command, String), String> {
        let texts = request.arguments.iter().chain(request.environment.iter().flat_map(|(name, text)| [name, text]));
        for text in texts.chain([&request.code]) {
            if text.contains('\0') {
                return Err("a text with a NUL character can't be given to a program".to_owned());
            }
            if text.len() > ARGUMENT_BYTES_MAX {
                return Err(format!(
                    "a text of {} bytes is too long to be given to a program (at most {ARGUMENT_BYTES_MAX}); give it as `stdin`",
                    text.len()
                ));
            }
        }
        if let Some((name, _)) = request.environment.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(format!("`{name}` can't be the name of an environment variable"));
        }
        let (mut command, what) = match &request.kind {
            // What follows the command line is `$0`, then the arguments.
            ProcessKind::Shell => (self.program(SHELL.into(), &["-c", &request.code, "sh"]), "the shell".to_owned()),
            ProcessKind::Script { language } => {
                let known = INTERPRETERS.iter().find(|(name, _)| name == language);
                let (_, usual) = known.ok_or_else(|| format!("nothing here runs scripts in `{language}`"))?;
                let interpreter = self.interpreters.get(language).cloned().unwrap_or_else(|| PathBuf::from(usual));
                let what = format!("`{}`", interpreter.display());
                (self.script(language, interpreter, &request.code), what)
            }
        };
        command
            .args(&request.arguments)
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(request.environment.iter().map(|(name, text)| (name, text)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok((command, what))
    }

    fn program(&self, program: PathBuf, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// The script's arguments begin at `process.argv[2]` and at `sys.argv[1]`, as if it were a file.
    fn script(&self, language: &str, interpreter: PathBuf, code: &str) -> Command {
        match language {
            // `import` makes it a module; both kinds of script see their arguments behind one place holder.
            "js" => {
                let kind = if is_module(code) { "--input-type=module" } else { "--input-type=commonjs" };
                self.program(interpreter, &[kind, "--eval", code, "--", "script"])
            }
            _ => self.program(interpreter, &["-c", code]),
        }
    }

    /// Feeds it and reads from it at once, so that neither side waits for ever for the other.
    async fn attend(&self, mut child: Child, request: &ProcessRequest) -> Result<EffectOutcome, String> {
        let group = Group(child.id());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let (Some(mut stdin), Some(text)) = (stdin, &request.stdin) {
                // Whoever does not read its input is not to blame.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
            Ok(())
        };
        let end = async {
            let status = child.wait().await.map_err(|error| format!("its end can't be told: {error}"))?;
            // What it left running in the background ends with it, and lets go of its output.
            drop(group);
            Ok(status)
        };
        let max = self.output_bytes_max;
        let (status, (), stdout, stderr) =
            tokio::try_join!(end, feed, read(stdout, "output", max), read(stderr, "error", max))?;
        Ok(EffectOutcome::Process { code: code(status), stdout, stderr })
    }
}

/// A process group that ends with this value.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // It may be gone already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, what: &str, bytes_max: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let mut from = from.take(bytes_max as u64 + 1);
        from.read_to_end(&mut bytes).await.map_err(|error| format!("its standard {what} can't be read: {error}"))?;
    }
    if bytes.len() > bytes_max {
        return Err(format!("it wrote more than {bytes_max} bytes to its standard {what} (limit `output_bytes_max`)"));
    }
    // Values are Unicode: what is no UTF-8 becomes the replacement character.
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// As shells tell it: 128 and the number of the signal.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Whether a script of JavaScript is a module: one of its lines begins with `import` or `export`.
fn is_module(code: &str) -> bool {
    let words = ["import ", "import{", "import*", "import\"", "import'", "export "];
    code.lines().any(|line| words.iter().any(|word| line.trim_start().starts_with(word)))
}
