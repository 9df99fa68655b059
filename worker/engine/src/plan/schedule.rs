//! `schedule`: what starts instances by itself. This build: `on` with `one` event, or each of `any`.

use super::compiler::Compiler;
use super::keys::Keys;
use crate::event::ReadAs;
use crate::filter::{Filter, FilterOf};
use crate::source::Node;

const SCHEDULE: Keys = Keys { of: "`schedule`", known: &["on", "read"], not_yet: &["every", "cron", "after"] };
const ON: Keys = Keys { of: "`schedule.on`", known: &["one", "any"], not_yet: &["all", "until"] };

/// What `schedule` says.
pub(super) struct Schedule {
    pub(super) triggers: Vec<Filter>,
    /// How the input shows the event; our default is the whole event.
    pub(super) read: ReadAs,
}

impl Compiler<'_> {
    pub(super) fn schedule(&mut self, node: &Node) -> Schedule {
        let mut schedule = Schedule::default();
        if self.mapping(node, SCHEDULE).is_none() {
            return schedule;
        }
        if let Some(read) = node.get("read") {
            schedule.read = self.read_as(read).unwrap_or(schedule.read);
            if node.get("on").is_none() {
                self.error(
                    "FS-MISSING-KEY",
                    read,
                    "`read` of `schedule` needs `on`",
                    "say which events start it: `on:`",
                );
            }
        }
        if node.as_map().is_some_and(<[_]>::is_empty) {
            self.error("FS-MISSING-KEY", node, "`schedule` says nothing", "write `on: { one: { with: { type: … } } }`");
        }
        let Some(on) = node.get("on").filter(|on| self.mapping(on, ON).is_some()) else { return schedule };
        match (on.get("one"), on.get("any")) {
            (Some(one), None) => schedule.triggers.extend(Filter::compile(one, FilterOf::Schedule, self)),
            (None, Some(any)) => match any.as_seq() {
                Some([]) => self.not_yet(any.span, "this build cannot start on every event (`any: []`) yet"),
                Some(filters) => {
                    schedule
                        .triggers
                        .extend(filters.iter().filter_map(|one| Filter::compile(one, FilterOf::Schedule, self)));
                }
                None => self.wrong_type(any, "`any`", "a list of filters"),
            },
            (Some(_), Some(any)) => {
                self.error("FS-VALUE", any, "`schedule.on` has both `one` and `any`", "keep one of them");
            }
            (None, None) if on.get("all").is_none() => {
                self.error(
                    "FS-MISSING-KEY",
                    on,
                    "`schedule.on` needs `one` or `any`",
                    "write `on: { one: { with: { type: … } } }`",
                );
            }
            (None, None) => {}
        }
        schedule
    }

    /// `read`: how an event is given to the workflow.
    pub(crate) fn read_as(&mut self, node: &Node) -> Option<ReadAs> {
        match node.as_str() {
            Some("data") => Some(ReadAs::Data),
            Some("envelope") => Some(ReadAs::Envelope),
            Some("raw") => Some(ReadAs::Raw),
            _ => {
                self.error(
                    "FS-VALUE",
                    node,
                    "`read` must be `data`, `envelope` or `raw`",
                    "leave it out for the default",
                );
                None
            }
        }
    }
}
