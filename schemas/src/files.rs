//! The schema files themselves, as `flagstop schemas` writes them and as the command line's output is tested.

/// Spells out a folder's files: the name without `.schema.json`, and the text.
macro_rules! schema_files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../", $folder, "/", $name, ".schema.json")))),+]
    };
}

const STATUS: &[(&str, &str)] = schema_files!("status":
    "workflow.started.v1",
    "workflow.suspended.v1",
    "workflow.resumed.v1",
    "workflow.correlation-started.v1",
    "workflow.correlation-completed.v1",
    "workflow.cancelled.v1",
    "workflow.faulted.v1",
    "workflow.completed.v1",
    "workflow.status-changed.v1",
    "task.created.v1",
    "task.started.v1",
    "task.suspended.v1",
    "task.resumed.v1",
    "task.retried.v1",
    "task.cancelled.v1",
    "task.faulted.v1",
    "task.completed.v1",
    "task.status-changed.v1",
);

const COMMAND: &[(&str, &str)] = schema_files!("command":
    "start.v1",
    "resume.v1",
    "cancel.v1",
    "suspend.v1",
    "continue.v1",
    "retry.v1",
    "rerun.v1",
    "accepted.v1",
    "rejected.v1",
);

const CLI: &[(&str, &str)] = schema_files!("cli":
    "instances-list",
    "instances-show",
    "instances-history",
    "instances-why",
    "instances-order",
    "instances-orders",
    "instances-rerun",
    "validate",
    "run",
    "test",
    "deploy",
    "definitions-list",
    "definitions-show",
    "definitions-change",
    "dead-letters-list",
    "dead-letters-show",
    "dead-letters-redrive",
    "parked-list",
    "parked-show",
    "events-list",
    "events-quarantined",
    "events-release",
    "migrate",
    "publish",
    "bench",
    "config",
    "healthcheck",
    "schemas",
);

/// The schema of a command's `--output json`, by the command's words joined with hyphens: `instances-list`, `validate` …
#[must_use]
pub fn cli_schema(name: &str) -> Option<&'static str> {
    CLI.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// All schema files: path below `schemas/` and text.
pub fn schema_files() -> impl Iterator<Item = (String, &'static str)> {
    let of = |folder: &'static str, files: &'static [(&str, &'static str)]| {
        files.iter().map(move |(name, text)| (format!("{folder}/{name}.schema.json"), *text))
    };
    of("status", STATUS).chain(of("command", COMMAND)).chain(of("cli", CLI))
}
