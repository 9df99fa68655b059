//! Patterns of event types.

use std::convert::Infallible;
use std::str::FromStr;

use flagstop_schemas::Answer;

use crate::globs;
use crate::live::short_type;

/// A pattern: `*` is any characters, also dots. Status events and answers to commands may be named in short, `task.faulted`,
/// `command.rejected`.
#[derive(Debug, Clone)]
pub struct Pattern(String);

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl Pattern {
    /// Whether a type fits.
    pub fn fits(&self, ty: &str) -> bool {
        let fits = |text: &str| globs::fits(self.0.as_bytes(), text.as_bytes());
        fits(ty) || short_type(ty).or_else(|| Answer::routing_key(ty)).is_some_and(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_events_may_be_named_in_short() {
        let fits = |pattern: &str, ty: &str| Pattern(pattern.to_owned()).fits(ty);
        let faulted = "io.serverlessworkflow.task.faulted.v1";
        for pattern in ["task.faulted", "task.*", "*.faulted", "io.serverlessworkflow.*", faulted, "*"] {
            assert!(fits(pattern, faulted), "{pattern}");
        }
        for pattern in ["workflow.*", "faulted", "task", ""] {
            assert!(!fits(pattern, faulted), "{pattern}");
        }
        let rejected = "io.flagstop.command.rejected.v1";
        assert!(
            fits("command.*", rejected) && fits("command.rejected", rejected) && !fits("command.accepted", rejected)
        );
        assert!(fits("com.example.*", "com.example.order.placed"));
        assert!(!fits("com.example.?", "com.example.order"));
    }
}
