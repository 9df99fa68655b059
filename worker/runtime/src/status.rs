//! Which status events leave (`status.events`): decided once per type, when the worker starts. Must never touch the history or
//! the numbers: what is left out leaves a gap in `sequence`, and everything else its place.

use std::collections::HashSet;

use flagstop_engine::api::StatusChanges;
use flagstop_schemas::StatusKind;

/// The types that leave.
#[derive(Debug)]
pub(crate) struct Published(HashSet<StatusKind>);

/// What the specification has and does not require: it leaves only when a pattern names it, and not just by `*`.
const OPTIONAL: &str = "status-changed";

impl Published {
    /// By the patterns; none of them: all that the specification requires.
    ///
    /// # Errors
    /// A pattern fits no type.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, String> {
        for pattern in patterns {
            if !StatusKind::every().any(|kind| fits(pattern, kind)) {
                let known: Vec<String> = StatusKind::every().map(name).collect();
                return Err(format!(
                    "`{pattern}` in status.events fits no status event; there are {}",
                    known.join(", ")
                ));
            }
        }
        let wanted = |kind: StatusKind| match patterns {
            [] => !StatusKind::optional().contains(&kind),
            patterns => patterns.iter().any(|pattern| fits(pattern, kind)),
        };
        Ok(Self(StatusKind::every().filter(|kind| wanted(*kind)).collect()))
    }

    /// Whether the engine is to tell the optional ones.
    pub(crate) fn changes(&self) -> StatusChanges {
        match StatusKind::optional().iter().any(|kind| self.has(*kind)) {
            true => StatusChanges::Told,
            false => StatusChanges::Left,
        }
    }

    pub(crate) fn has(&self, kind: StatusKind) -> bool {
        self.0.contains(&kind)
    }
}

/// The types that these patterns of `status.events` let leave.
///
/// # Errors
/// A pattern fits no type.
pub fn published(patterns: &[String]) -> Result<Vec<&'static str>, String> {
    Ok(Published::new(patterns)?.0.into_iter().map(StatusKind::wire_type).collect())
}

/// `workflow.completed`, `task.retried` …
fn name(kind: StatusKind) -> String {
    format!("{}.{}", kind.scope().as_str(), kind.what())
}

fn fits(pattern: &str, kind: StatusKind) -> bool {
    let name = name(kind);
    (!name.contains(OPTIONAL) || pattern.contains(OPTIONAL)) && glob(pattern.as_bytes(), name.as_bytes())
}

/// `*` stands for any text, also none.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|from| glob(rest, &text[from..])),
        Some((byte, rest)) => text.split_first().is_some_and(|(first, text)| first == byte && glob(rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let published = Published::new(&patterns).expect("the patterns are good");
        StatusKind::every().filter(|kind| published.has(*kind)).map(name).collect()
    }

    #[test]
    fn patterns_choose_types_and_none_of_them_means_all_that_is_required() {
        let all = published(&[]);
        assert!(all.len() >= 16 && !all.iter().any(|name| name.contains(OPTIONAL)));
        assert_eq!(published(&["*"]), all);
        let workflow = published(&["workflow.*"]);
        assert!(workflow.len() >= 8 && workflow.iter().all(|name| name.starts_with("workflow.")));
        assert_eq!(published(&["*.faulted", "task.retried"]), ["workflow.faulted", "task.retried", "task.faulted"]);
        assert_eq!(published(&["workflow.correlation-*"]).len(), 2);
        assert_eq!(published(&["*.status-changed"]), ["workflow.status-changed", "task.status-changed"]);
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_refused_with_what_there_is() {
        for wrong in ["workflow", "tasks.*", "io.serverlessworkflow.task.completed.v1", ""] {
            let why = Published::new(&[wrong.to_owned()]).expect_err(wrong);
            assert!(why.contains("workflow.completed"), "{why}");
        }
    }
}
