//! How a run ended, in words and in its exit code.

use flagstop_engine::api::{Phase, WaitReason};
use flagstop_engine::{Problem, value};
use serde_json::{Value, json};

use super::drive::{End, Stopped};
use crate::args::Output;
use crate::commands::instances::{wait_json, wait_sentence};
use crate::exit::{Exit, Failure};
use crate::term::{Paint, Style, print_line, tame};

/// Prints the output, or why there is none.
pub fn tell(end: &End, output: Output) -> Result<(), Failure> {
    let paint = Paint::stderr();
    let Some(instance) = end.instance.as_ref().filter(|instance| instance.phase().has_ended()) else {
        match output {
            Output::Table => stopped(end, paint),
            Output::Json => eprintln!("{}", stopped_json(end)),
        }
        return Err(Failure::shown(Exit::Stopped));
    };
    match (instance.phase(), instance.error()) {
        (Phase::Faulted, Some(problem)) => {
            match output {
                Output::Table => eprintln!("{}", faulted(problem, paint)),
                Output::Json => eprintln!("{}", value::to_json(&problem.to_value())),
            }
            Err(Failure::shown(Exit::Failed))
        }
        (Phase::Cancelled, _) => {
            if output == Output::Table {
                eprintln!("{}", paint.on(Style::Bad, "cancelled"));
            }
            Err(Failure::shown(Exit::Cancelled))
        }
        _ => {
            print_line(&instance.output().map_or_else(|| "null".to_owned(), value::to_json));
            if output == Output::Table && !end.waits.is_empty() {
                let what = "workflows that it started and does not await end with this process:";
                eprintln!("{}: {what}", paint.on(Style::Wait, "note"));
                end.waits.iter().for_each(|(name, wait)| eprintln!("  {}: {}", tame(name), wait_sentence(wait)));
            }
            Ok(())
        }
    }
}

/// `error[408]: Timeout`, then what it says, where, and its type.
fn faulted(problem: &Problem, paint: Paint) -> String {
    let title = problem.title.as_deref().unwrap_or("the workflow has faulted");
    let mut text = format!("{}: {}", paint.on(Style::Bad, &format!("faulted[{}]", problem.status)), tame(title));
    let at = problem.instance.as_deref().filter(|at| !at.is_empty());
    for (name, line) in [("detail", problem.detail.as_deref()), ("at", at), ("type", Some(problem.type_uri.as_str()))] {
        if let Some(line) = line {
            text.push_str(&format!("\n  {}: {}", paint.on(Style::Hint, name), tame(line)));
        }
    }
    text
}

fn stopped(end: &End, paint: Paint) {
    let why = match end.stopped {
        Some(Stopped::TimedOut) => "the time given by --timeout is over",
        Some(Stopped::Interrupted) => "interrupted",
        Some(Stopped::EventsUsedUp) if end.instance.is_none() => "no event has started it, and there are no more",
        _ => "it can go on only by an event, and there are no more",
    };
    eprintln!("{}: {why}", paint.on(Style::Wait, "stopped"));
    if end.instance.is_none() && !end.starts.is_empty() {
        eprintln!(
            "  it is started by events of type {}: give some by --events, or an input by --input",
            end.starts.join(", ")
        );
    }
    for (name, wait) in &end.waits {
        eprintln!("  {}: {}", tame(name), wait_sentence(wait));
    }
}

fn stopped_json(end: &End) -> Value {
    let why = match end.stopped {
        Some(Stopped::TimedOut) => "timeout",
        Some(Stopped::Interrupted) => "interrupted",
        _ => "events-used-up",
    };
    let waits = end.waits.iter().map(|(name, wait): &(String, WaitReason)| {
        let mut wait = wait_json(wait);
        wait["workflow"] = name.as_str().into();
        wait
    });
    json!({ "stopped": why, "waitingFor": waits.collect::<Vec<_>>(), "startedBy": end.starts })
}
