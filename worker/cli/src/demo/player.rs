//! Plays a demonstration against a `flagstop dev` process of its own, which it really ends and starts again.
//!
//! ```text
//! player ── POST /events ──► child: flagstop dev ──► SQLite and bus, on disk
//!    ▲                             │
//!    └── events, one JSON a line ──┘        stdin closed = stop
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use flagstop_schemas::CloudEvent;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::demo::script::{Restart, Script, Step};
use crate::events;
use crate::exit::{Exit, Failure};
use crate::live::{self, READY_TYPE};
use crate::term::{Paint, Style, print_line};

/// How long a step may take before the demonstration counts as failed.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);

/// How the child is started, each time the same.
#[derive(Debug)]
pub struct Stage {
    /// Arguments of `flagstop`, without its name.
    pub arguments: Vec<String>,
    /// Where its database is, for the look while nothing runs.
    pub store_url: String,
    /// `--config`
    pub config: Option<PathBuf>,
}

/// A running child.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

/// Plays the steps; every event that occurs is printed.
pub async fn play(script: &Script, stage: &Stage) -> Result<(), Failure> {
    let mut running = start(stage).await?;
    let mut seen = HashSet::new();
    let mut result = Ok(());
    for step in &script.steps {
        result = match step {
            Step::Restart(how) => match restart(running, *how, stage).await {
                Ok(next) => {
                    running = next;
                    Ok(())
                }
                Err(failure) => return Err(failure),
            },
            step => one(step, &mut running, &mut seen).await,
        };
        if result.is_err() {
            break;
        }
    }
    end(running, Restart::Stop).await?;
    result
}

async fn one(step: &Step, running: &mut Running, seen: &mut HashSet<String>) -> Result<(), Failure> {
    let paint = Paint::stderr();
    match step {
        Step::Say(text) => {
            eprintln!("\n{} {}", paint.on(Style::Hint, "▸"), paint.on(Style::Name, text));
            Ok(())
        }
        Step::Publish(event) => {
            let event = events::from_demo(event);
            let what = format!("publish {} of {}, id {}", event.ty, event.subject.as_deref().unwrap_or("-"), event.id);
            eprintln!("  {} {}", paint.on(Style::Own, "[publish]"), paint.on(Style::Dim, &what));
            crate::http::client::post(&running.address, &event).await
        }
        Step::Until(types) => {
            let waiting = async {
                while !types.iter().all(|ty| seen.contains(ty)) {
                    let event = next(running).await?;
                    print_line(&live::line(&event, Paint::stdout()));
                    if event.ty == live::FAULTED_TYPE {
                        return Err(failed("the workflow faulted".into()));
                    }
                    seen.insert(event.ty);
                }
                seen.clear();
                Ok(())
            };
            let late = || failed(format!("nothing came of type {} within a minute", types.join(" or ")));
            tokio::time::timeout(STEP_TIME_MAX, waiting).await.unwrap_or_else(|_| Err(late()))
        }
        Step::Restart(_) => Ok(()),
    }
}

async fn restart(running: Running, how: Restart, stage: &Stage) -> Result<Running, Failure> {
    let paint = Paint::stderr();
    let old = running.child.id().unwrap_or_default();
    end(running, how).await?;
    let verb = if how == Restart::Kill { "killed" } else { "stopped" };
    eprintln!("  {} process {old} {verb}: nothing runs now, and the database still knows:", paint.on(Style::Wait, "■"));
    for line in crate::commands::instances::why_all(&stage.store_url, stage.config.as_deref()).await? {
        eprintln!("    {}", paint.on(Style::Dim, &line));
    }
    let next = start(stage).await?;
    let new = next.child.id().unwrap_or_default();
    eprintln!("  {} process {new} started again from what is on the disk", paint.on(Style::Good, "▶"));
    Ok(next)
}

async fn start(stage: &Stage) -> Result<Running, Failure> {
    let program = std::env::current_exe().map_err(|e| failed(format!("this program can't be found: {e}")))?;
    let mut child = Command::new(program)
        .args(&stage.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(format!("the process can't be started: {e}")))?;
    let stdout = child.stdout.take().ok_or_else(|| failed("the process has no output".into()))?;
    let mut running = Running { child, lines: BufReader::new(stdout).lines(), address: String::new() };
    let ready = tokio::time::timeout(STEP_TIME_MAX, next(&mut running));
    match ready.await {
        Ok(Ok(event)) if event.ty == READY_TYPE => {
            running.address = event.source;
            Ok(running)
        }
        Ok(Err(failure)) => Err(failure),
        _ => Err(failed("the process did not become ready".into())),
    }
}

/// Ends the child; what it still prints is printed.
async fn end(mut running: Running, how: Restart) -> Result<(), Failure> {
    match how {
        Restart::Stop => drop(running.child.stdin.take()),
        Restart::Kill => running.child.start_kill().map_err(|e| failed(e.to_string()))?,
    }
    while let Ok(Some(line)) = running.lines.next_line().await {
        if let Ok(event) = events::from_line(&line) {
            print_line(&live::line(&event, Paint::stdout()));
        }
    }
    let status = running.child.wait().await.map_err(|e| failed(e.to_string()))?;
    if how == Restart::Stop && !status.success() {
        return Err(failed(format!("the process ended with {status}")));
    }
    Ok(())
}

/// The child's next event. A child that ends has shown why; its exit code becomes ours.
async fn next(running: &mut Running) -> Result<CloudEvent, Failure> {
    let line = running.lines.next_line().await.map_err(|e| failed(format!("the process's output broke off: {e}")))?;
    match line {
        Some(line) => events::from_line(&line).map_err(|why| failed(format!("unreadable output: {why}"))),
        None => {
            let status = running.child.wait().await.map_err(|e| failed(e.to_string()))?;
            Err(Failure::shown(match status.code() {
                Some(2) => Exit::Invalid,
                Some(5) => Exit::Unreachable,
                _ => Exit::Failed,
            }))
        }
    }
}

fn failed(what: String) -> Failure {
    let hint = "run it with `--no-demo` to look at the workflow by yourself";
    Failure::new(Exit::Failed, "FS-DEMO-FAILED", what, hint)
}
