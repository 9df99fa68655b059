//! Cron: five fields, as moments in a time zone.
//!
//! When clocks are put forward, what falls into the missing hour comes right after it; when they are put back, it comes
//! once. A field of minutes or hours that begins with `*` goes by real time instead: every hour is one hour long.

use jiff::Timestamp;
use jiff::civil::{Date, time};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// When it is due.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Bit 0 is Sunday.
    weekdays: u64,
    /// How the two fields of days go together.
    day_rule: DayRule,
    clock: Clock,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayRule {
    /// At most one of them says something.
    Both,
    /// Both say something: either will do.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Times of the day.
    Wall,
    /// All of them, hour after hour.
    Running,
}

/// What is wrong in the text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CronError {
    pub(crate) at: std::ops::Range<usize>,
    pub(crate) why: String,
    pub(crate) hint: String,
}

/// What one field may hold.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// From `min` on.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of the month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: MONTHS },
    Field { name: "day of the week", min: 0, max: 7, names: WEEKDAYS },
];
const SHORTHANDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The 29th of February can be eight years away.
const DAYS_AHEAD_MAX: u32 = 9 * 366;

impl Cron {
    pub(crate) fn parse(text: &str, zone: TimeZone) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let whole = || 0..text.len();
        if let [word] = fields[..]
            && let Some((_, same)) = SHORTHANDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))
        {
            let why = format!("`{word}` is no cron expression of five fields");
            return Err(CronError { at: whole(), why, hint: format!("write `{same}`") });
        }
        let [minute, hour, day, month, weekday] = fields[..] else {
            let why = format!("a cron expression has five fields, but this one has {}", fields.len());
            let seconds = if fields.len() == 6 { "; there are no seconds" } else { "" };
            let hint = format!("minute, hour, day of the month, month, day of the week: `0 0 * * *`{seconds}");
            return Err(CronError { at: fields.get(5).map_or_else(whole, |field| place(text, field)), why, hint });
        };
        let weekdays = FIELDS[4].parse(weekday, text)?;
        // Sunday is 0 and 7.
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let is_star = |field: &str| field.starts_with('*');
        let cron = Self {
            minutes: FIELDS[0].parse(minute, text)?,
            hours: FIELDS[1].parse(hour, text)?,
            days: FIELDS[2].parse(day, text)?,
            months: FIELDS[3].parse(month, text)?,
            weekdays,
            day_rule: if is_star(day) || is_star(weekday) { DayRule::Both } else { DayRule::Either },
            clock: if is_star(minute) || is_star(hour) { Clock::Running } else { Clock::Wall },
            zone,
        };
        if cron.next_us(0).is_none() {
            let at = place(text, day).start..place(text, month).end;
            let why = format!("day {day} of month {month} never comes");
            return Err(CronError { at, why, hint: "choose a day that the month has".to_owned() });
        }
        Ok(cron)
    }

    /// The first due time after this moment.
    pub(crate) fn next_us(&self, after_us: i64) -> Option<i64> {
        let after = Timestamp::from_microsecond(after_us).ok()?;
        // A time of the day before may have been moved behind midnight.
        let mut date = after.to_zoned(self.zone.clone()).date().yesterday().ok()?;
        for _ in 0..DAYS_AHEAD_MAX {
            if !has(self.months, date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.has_day(date)
                && let Some(due) = self.moments(date).filter(|due| *due > after).min()
            {
                return Some(due.as_microsecond());
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        match self.day_rule {
            DayRule::Both => day && weekday,
            DayRule::Either => day || weekday,
        }
    }

    /// When it is due on this day, in no order.
    fn moments(&self, date: Date) -> impl Iterator<Item = Timestamp> {
        let hours = (0..24_i8).filter(|hour| has(self.hours, *hour));
        let times = hours.flat_map(|hour| (0..60_i8).map(move |minute| (hour, minute)));
        times.filter(|(_, minute)| has(self.minutes, *minute)).flat_map(move |(hour, minute)| {
            let moment = self.zone.to_ambiguous_timestamp(date.to_datetime(time(hour, minute, 0, 0)));
            let [first, second] = match (self.clock, moment.offset()) {
                (Clock::Running, AmbiguousOffset::Gap { .. }) => [None, None],
                (Clock::Running, AmbiguousOffset::Fold { .. }) => [moment.earlier().ok(), moment.later().ok()],
                _ => [moment.compatible().ok(), None],
            };
            first.into_iter().chain(second)
        })
    }
}

fn has(set: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| set >> number & 1 == 1)
}

/// Where a part of the text stands in it.
fn place(text: &str, part: &str) -> std::ops::Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

impl Field {
    /// The numbers of one field as a set.
    fn parse(&self, field: &str, text: &str) -> Result<u64, CronError> {
        field.split(',').try_fold(0, |set, part| Ok(set | self.part(part, text)?))
    }

    /// `*`, `5`, `1-5`, any of them with `/2`.
    fn part(&self, part: &str, text: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((first, last)) => {
                let (first, last_number) = (self.number(first, text)?, self.number(last, text)?);
                // A week may end on Sunday.
                let ends_on_sunday = self.max == 7 && last_number == 0 && first > 0;
                (first, if ends_on_sunday { 7 } else { last_number })
            }
            None => {
                let first = self.number(range, text)?;
                (first, if step.is_some() { self.max } else { first })
            }
        };
        if first > last {
            let why = format!("the range `{range}` of the {} goes backwards", self.name);
            let hint = format!("write two ranges: `{first}-{},{}-{last}`", self.max, self.min);
            return Err(CronError { at: place(text, range), why, hint });
        }
        let step = match step {
            None => 1,
            Some(word) => match word.parse::<usize>() {
                Ok(step) if step > 0 && word.bytes().all(|byte| byte.is_ascii_digit()) => step,
                _ => {
                    let at = if word.is_empty() { place(text, part) } else { place(text, word) };
                    let why = format!("`{word}` is no step of the {}", self.name);
                    return Err(CronError { at, why, hint: "a step is a whole number from 1, as in `*/5`".to_owned() });
                }
            },
        };
        Ok((first..=last).step_by(step).fold(0, |set, number| set | 1 << number))
    }

    fn number(&self, word: &str, text: &str) -> Result<u32, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let named = named.and_then(|position| u32::try_from(position).ok()).map(|position| position + self.min);
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = named.or_else(|| word.parse().ok().filter(|_| is_number));
        number.filter(|number| (self.min..=self.max).contains(number)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            CronError {
                at: if word.is_empty() { 0..text.len() } else { place(text, word) },
                why: format!("`{word}` is no {}", self.name),
                hint: format!("{} to {}{names}; with `*`, `,`, `-` and `/`", self.min, self.max),
            }
        })
    }
}
