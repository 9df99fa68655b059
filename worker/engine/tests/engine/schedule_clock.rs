//! `schedule` by the clock: `every`, `cron` and `after`.

use flagstop_engine::schedule::{Firing, Timed};
use flagstop_engine::value;

use crate::driver::{compile, definition};

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;

fn us(moment: &str) -> i64 {
    moment.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn shown(at_us: Option<i64>) -> String {
    at_us.map_or("never".into(), |at_us| jiff::Timestamp::from_microsecond(at_us).unwrap().to_string())
}

fn timed(schedule: &str, settings: &str) -> Timed {
    let text = definition(&format!("schedule: {schedule}\ndo: []"));
    let text =
        text.replace("version: '1.2.3'", &format!("version: '1.2.3', metadata: {{ flagstop: {{ {settings} }} }}"));
    let plan = flagstop_engine::Plan::compile(text.as_bytes(), &flagstop_engine::Limits::default());
    let plan = plan.unwrap_or_else(|found| panic!("{}", found.render("flow.yaml", &text)));
    assert!(plan.warnings().is_empty());
    plan.schedule().timed()[0].clone()
}

fn cron(text: &str) -> Timed {
    timed(&format!("{{ cron: '{text}' }}"), "")
}

/// The first due times after a moment.
fn due<const N: usize>(of: &Timed, from: &str) -> [String; N] {
    let mut moment = us(from);
    std::array::from_fn(|_| {
        let next = of.first_us(moment);
        moment = next.unwrap_or(moment);
        shown(next)
    })
}

#[test]
fn every_fires_first_after_one_interval_and_keeps_its_rhythm() {
    let hourly = timed("{ every: { hours: 1 } }", "");
    assert_eq!(hourly.name(), "every");
    assert_eq!(hourly.first_us(0), Some(HOUR_US));
    assert_eq!(hourly.fired(HOUR_US, HOUR_US + 5), Firing { run: true, next_us: Some(2 * HOUR_US) });
    assert_eq!(hourly.after_end_us(5), None, "a run that still goes does not stop the next");
}

#[test]
fn missed_runs_are_caught_up_by_one_unless_the_author_says_otherwise() {
    let (due_us, now_us) = (HOUR_US, HOUR_US * 9 / 2);
    let fired = |settings: &str| timed("{ every: PT1H }", settings).fired(due_us, now_us);
    let next_us = Some(5 * HOUR_US);
    assert_eq!(fired(""), Firing { run: true, next_us });
    assert_eq!(fired("missedRuns: once"), Firing { run: true, next_us });
    assert_eq!(fired("missedRuns: none"), Firing { run: false, next_us });
    assert_eq!(fired("missedRuns: all"), Firing { run: true, next_us: Some(2 * HOUR_US) });
    let delayed = timed("{ every: PT1H }", "missedRuns: none").fired(due_us, due_us + MINUTE_US / 2);
    assert_eq!(delayed, Firing { run: true, next_us: Some(2 * HOUR_US) }, "a busy worker has missed nothing");
    let daily = timed("{ cron: '0 6 * * *' }", "");
    let caught_up = daily.fired(us("2026-03-01T06:00:00Z"), us("2026-03-03T12:00:00Z"));
    assert_eq!((caught_up.run, shown(caught_up.next_us)), (true, "2026-03-04T06:00:00Z".into()));
}

#[test]
fn after_starts_with_the_deployment_and_then_counts_from_the_end() {
    let after = timed("{ after: PT10M }", "");
    assert_eq!(after.first_us(7), Some(7));
    assert_eq!(after.fired(7, 8), Firing { run: true, next_us: None });
    assert_eq!(after.after_end_us(HOUR_US), Some(HOUR_US + 10 * MINUTE_US));
}

#[test]
fn several_clocks_go_side_by_side_and_their_input_is_null() {
    let plan = compile("schedule: { after: PT1H, every: PT2H, cron: '0 0 * * *' }\ndo: []").unwrap();
    let names: Vec<_> = plan.schedule().timed().iter().map(Timed::name).collect();
    assert_eq!(names, ["every", "cron", "after"]);
    assert!(plan.triggers().is_empty() && plan.schedule().sets().is_none() && !plan.schedule().is_empty());
    assert!(compile("do: []").unwrap().schedule().is_empty());
    assert!(value::is_null(&value::Value::default()));
}

#[test]
fn cron_has_five_fields_with_lists_ranges_steps_and_names() {
    for (text, from, wanted) in [
        ("0 0 * * *", "2026-01-01T00:00:00Z", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("0 0 * * *", "2026-01-01T23:59:59.999999Z", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("*/15 * * * *", "2026-01-01T00:01:00Z", ["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"]),
        ("5/20 * * * *", "2026-01-01T00:30:00Z", ["2026-01-01T00:45:00Z", "2026-01-01T01:05:00Z"]),
        ("10-20/5,59 8 * * *", "2026-01-01T08:14:00Z", ["2026-01-01T08:15:00Z", "2026-01-01T08:20:00Z"]),
        ("30 9-17 * * mon-FRI", "2026-01-02T17:00:00Z", ["2026-01-02T17:30:00Z", "2026-01-05T09:30:00Z"]),
        ("0 12 * * sat-sun", "2026-01-02T00:00:00Z", ["2026-01-03T12:00:00Z", "2026-01-04T12:00:00Z"]),
        ("0 12 * * 0", "2026-01-02T00:00:00Z", ["2026-01-04T12:00:00Z", "2026-01-11T12:00:00Z"]),
        ("0 12 * * 7", "2026-01-02T00:00:00Z", ["2026-01-04T12:00:00Z", "2026-01-11T12:00:00Z"]),
        ("0 0 1 jan,Jul *", "2026-01-01T00:00:00Z", ["2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        ("0 0 31 * *", "2026-01-31T00:00:00Z", ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", ["2104-02-29T00:00:00Z", "2108-02-29T00:00:00Z"]),
        // Both fields of days: either will do.
        ("0 0 13 * fri", "2026-03-01T00:00:00Z", ["2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z"]),
        ("0 0 15 * mon", "2026-03-10T00:00:00Z", ["2026-03-15T00:00:00Z", "2026-03-16T00:00:00Z"]),
        // One that begins with `*` only narrows the other.
        ("0 0 */2 * mon", "2026-03-01T00:00:00Z", ["2026-03-09T00:00:00Z", "2026-03-23T00:00:00Z"]),
        ("  0\t0 * * *  ", "2026-01-01T00:00:00Z", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
    ] {
        let quoted = text.replace('\t', "\\t");
        let of = timed(&format!("{{ cron: \"{quoted}\" }}"), "");
        assert_eq!(due(&of, from), wanted, "{text}");
    }
}

#[test]
fn cron_goes_by_the_time_zone_also_when_clocks_change() {
    let berlin = |text: &str| timed(&format!("{{ cron: '{text}' }}"), "timezone: Europe/Berlin");
    let daily = berlin("0 8 * * *");
    assert_eq!(due(&daily, "2026-03-27T12:00:00Z"), ["2026-03-28T07:00:00Z", "2026-03-29T06:00:00Z"]);
    // 02:30 is missing on that day: it comes right after the gap; in autumn it is there twice and comes once.
    let night = berlin("30 2 * * *");
    assert_eq!(due(&night, "2026-03-28T12:00:00Z"), ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(due(&night, "2026-10-24T12:00:00Z"), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Hour after hour, whatever the clock on the wall says.
    let hourly = berlin("0 * * * *");
    assert_eq!(
        due(&hourly, "2026-10-24T23:30:00Z"),
        ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
    );
    assert_eq!(due(&hourly, "2026-03-28T23:30:00Z"), ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"]);
    assert_eq!(due(&cron("0 8 * * *"), "2026-03-27T12:00:00Z"), ["2026-03-28T08:00:00Z", "2026-03-29T08:00:00Z"]);
}

#[test]
fn a_schedule_never_goes_back_and_never_ends() {
    for of in
        [cron("* * * * *"), cron("7 3 29 2 *"), timed("{ cron: '*/7 1,2,3 * * sun' }", "timezone: America/New_York")]
    {
        let mut last = us("2026-01-01T00:00:00Z");
        for _ in 0..300 {
            let Some(next) = of.first_us(last) else { panic!("it ends after {}", shown(Some(last))) };
            assert!(next > last);
            last = next;
        }
    }
    let hourly = timed("{ every: PT1H }", "");
    assert_eq!(hourly.first_us(i64::MAX), None);
    assert_eq!(hourly.fired(i64::MAX - 5, i64::MAX).next_us, None);
    assert_eq!(cron("0 0 * * *").first_us(i64::MAX), None);
}

#[test]
fn what_is_wrong_in_a_schedule_is_shown_at_its_place() {
    for (schedule, code, word) in [
        ("{ cron: '0 0 * *' }", "FS-CRON", "0 0 * *"),
        ("{ cron: '0 0 0 * * *' }", "FS-CRON", "*"),
        ("{ cron: '61 0 * * *' }", "FS-CRON", "61"),
        ("{ cron: 0 24 * * * }", "FS-CRON", "24"),
        ("{ cron: '0 0 0 * *' }", "FS-CRON", "0"),
        ("{ cron: '0 0 * 13 *' }", "FS-CRON", "13"),
        ("{ cron: '0 0 * * monday' }", "FS-CRON", "monday"),
        ("{ cron: '0 0 * * 8' }", "FS-CRON", "8"),
        ("{ cron: '0 0 * * fri-mon' }", "FS-CRON", "fri-mon"),
        ("{ cron: '*/0 0 * * *' }", "FS-CRON", "0"),
        ("{ cron: '*/x 0 * * *' }", "FS-CRON", "x"),
        ("{ cron: '0 0 ? * *' }", "FS-CRON", "?"),
        ("{ cron: '0 0 L * *' }", "FS-CRON", "L"),
        ("{ cron: '0 0 30 2 *' }", "FS-CRON", "30 2"),
        ("{ cron: '@daily' }", "FS-CRON", "@daily"),
        ("{ cron: '' }", "FS-CRON", ""),
        ("{ cron: 5 }", "FS-WRONG-TYPE", "5"),
        ("{ every: soon }", "FS-DURATION", "soon"),
        ("{ every: PT0S }", "FS-DURATION", "PT0S"),
        ("{ after: '${ .d }' }", "FS-VALUE", "'${ .d }'"),
        ("{ every: { month: 1 } }", "FS-UNKNOWN-KEY", "month"),
        ("{ evry: PT1H }", "FS-UNKNOWN-KEY", "evry"),
        ("{}", "FS-MISSING-KEY", "{}"),
    ] {
        let text = definition(&format!("schedule: {schedule}\ndo: []"));
        let found = compile(&format!("schedule: {schedule}\ndo: []")).expect_err(schedule);
        let found: Vec<_> = found.iter().collect();
        let span = found[0].span;
        let shown = text[span.offset as usize..(span.offset + span.length) as usize].trim_end();
        assert_eq!((found.len(), found[0].code, shown), (1, code, word), "{schedule}: {}", found[0].message);
        assert!(code != "FS-CRON" || found[0].hint.is_some());
    }
    let zone = "document: { dsl: '1.0.3', namespace: n, name: n, version: '1.0.0', metadata: { flagstop: { timezone: Europe/Berlim, missedRuns: twice } } }\ndo: []";
    let found = flagstop_engine::Plan::compile(zone.as_bytes(), &flagstop_engine::Limits::default()).unwrap_err();
    let found: Vec<_> = found.iter().map(|it| (it.code, it.hint.as_deref().unwrap_or_default())).collect();
    assert_eq!(found, [("FS-TIMEZONE", "did you mean `Europe/Berlin`?"), ("FS-VALUE", "leave it out for `once`")]);
}
