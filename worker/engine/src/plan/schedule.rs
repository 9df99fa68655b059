//! `schedule` of a definition: what is wrong in it, and what is surely not meant.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::compiler::Compiler;
use super::keys::Keys;
use crate::api::Reference;
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::duration;
use crate::event::ReadAs;
use crate::filter::FilterOf;
use crate::schedule::{Cron, Missed, Rule, Schedule, Sets, Timed};
use crate::source::Node;
use crate::strategy::Strategy;

const SCHEDULE: Keys = Keys { of: "`schedule`", known: &["on", "read", "every", "cron", "after"], not_yet: &[] };
const EVERY: Keys = Keys { of: "`schedule.every`", known: &duration::PART_NAMES, not_yet: &[] };
const AFTER: Keys = Keys { of: "`schedule.after`", known: &duration::PART_NAMES, not_yet: &[] };

/// What `document.metadata.flagstop` says about schedules.
pub(super) struct Clockwork {
    zone: TimeZone,
    missed: Missed,
}

impl Compiler<'_> {
    /// `None` as the reference: it is wrong, and was reported.
    pub(super) fn schedule(&mut self, node: &Node, clockwork: &Clockwork, reference: Option<&Reference>) -> Schedule {
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
        let every = node.get("every").and_then(|every| self.fixed_duration(every, EVERY));
        let cron = node.get("cron").and_then(|cron| self.cron(cron, clockwork));
        let after = node.get("after").and_then(|after| self.fixed_duration(after, AFTER));
        let rules = [
            every.map(|interval_us| Rule::Every { interval_us }),
            cron.map(Rule::Cron),
            after.map(|delay_us| Rule::After { delay_us }),
        ];
        schedule.timed = rules.into_iter().flatten().map(|rule| Timed { rule, missed: clockwork.missed }).collect();
        let Some(on) = node.get("on") else { return schedule };
        if node.get("read").is_none() {
            let (key, _) = node.entry("on").expect("it was found a moment ago");
            let found = Diagnostic::warning("FS-SCHEDULE-READ", key.span, "`schedule.on` without `read`");
            self.push(found.with_hint(
                "the input holds whole events here, but only their data by default in the coming form of the language: write `read: envelope` or `read: data`",
            ));
        }
        match Strategy::compile(on, FilterOf::Schedule, self) {
            Some(strategy) if strategy.is_single() => schedule.triggers = strategy.filters().to_vec(),
            Some(strategy) => {
                let limits = self.limits;
                schedule.sets = reference.map(|it| Sets::new(strategy, schedule.read, it, limits));
            }
            None => {}
        }
        schedule
    }

    /// What holds for all schedules of the definition.
    pub(super) fn clockwork(&mut self, document: Option<&Node>) -> Clockwork {
        let settings = document.and_then(|document| document.get("metadata")?.get("flagstop"));
        let setting = |key| settings.and_then(|settings| settings.get(key));
        let zone = setting("timezone").and_then(|node| self.time_zone(node)).unwrap_or(TimeZone::UTC);
        let missed = match setting("missedRuns").map(|node| (node, node.as_str())) {
            None => Missed::default(),
            Some((_, Some("once"))) => Missed::Once,
            Some((_, Some("none"))) => Missed::None,
            Some((_, Some("all"))) => Missed::All,
            Some((node, _)) => {
                self.error("FS-VALUE", node, "`missedRuns` must be `once`, `none` or `all`", "leave it out for `once`");
                Missed::default()
            }
        };
        Clockwork { zone, missed }
    }

    fn time_zone(&mut self, node: &Node) -> Option<TimeZone> {
        let name = self.text(node, "`timezone`")?;
        let zones = TimeZoneDatabase::bundled();
        if let Ok(zone) = zones.get(name) {
            return Some(zone);
        }
        let known: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "use a name of the IANA database, such as `Europe/Berlin`".to_owned(),
        };
        self.error("FS-TIMEZONE", node, format!("no time zone is named `{name}`"), &hint);
        None
    }

    fn cron(&mut self, node: &Node, clockwork: &Clockwork) -> Option<Cron> {
        let text = self.text(node, "`cron`")?;
        match Cron::parse(text, clockwork.zone.clone()) {
            Ok(cron) => Some(cron),
            Err(wrong) => {
                let span = part_of(node.span, self.source, text, wrong.at);
                self.push(Diagnostic::error("FS-CRON", span, wrong.why).with_hint(wrong.hint));
                None
            }
        }
    }

    /// A duration that must be known before there is an instance.
    pub(super) fn fixed_duration(&mut self, node: &Node, keys: Keys) -> Option<i64> {
        let template = self.duration(node, keys)?;
        let Some(constant) = template.as_constant() else {
            self.error(
                "FS-VALUE",
                node,
                format!("{} must be a constant: there is no instance yet", keys.of),
                "write `PT1H30M` or `{ hours: 1, minutes: 30 }`",
            );
            return None;
        };
        let duration_us = duration::from_value(constant, self.limits.duration_days_max).ok()?;
        if duration_us == 0 {
            self.error("FS-DURATION", node, format!("{} is no time at all", keys.of), "write `PT1M` for a minute");
            return None;
        }
        Some(duration_us)
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

/// Where a part of a text stands, if the text stands in the file as it is, with or without quotes.
fn part_of(whole: Span, source: &[u8], text: &str, part: std::ops::Range<usize>) -> Span {
    let quote_bytes = match (whole.length as usize).checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return whole,
    };
    let (from, to) = (whole.offset as usize, whole.offset as usize + whole.length as usize);
    let is_folded = source.get(from..to).is_none_or(|written| written.contains(&b'\n'));
    if !text.is_ascii() || is_folded {
        return whole;
    }
    let before = part.start as u32 + quote_bytes;
    Span { line: whole.line, column: whole.column + before, offset: whole.offset + before, length: part.len() as u32 }
}
