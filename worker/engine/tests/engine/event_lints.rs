//! What is wrong, and what is legal but surely not meant, about listening and schedules.

use crate::driver::{compile, definition};

fn warnings(rest: &str) -> Vec<&'static str> {
    let plan = compile(rest).unwrap_or_else(|found| panic!("{}", found.render("flow.yaml", &definition(rest))));
    plan.warnings().iter().map(|warning| warning.code).collect()
}

fn errors(rest: &str) -> Vec<(&'static str, String)> {
    let text = definition(rest);
    let found = compile(rest).expect_err(rest);
    let word = |offset: u32, length: u32| text[offset as usize..(offset + length) as usize].trim_end().to_owned();
    found.iter().map(|it| (it.code, word(it.span.offset, it.span.length))).collect()
}

fn one(filter: &str) -> String {
    format!("do: [ {{ a: {{ listen: {{ to: {{ one: {filter} }} }} }} }} ]")
}

#[test]
fn a_listen_without_correlate_is_a_warning_where_many_instances_are_to_be_expected() {
    assert_eq!(warnings(&one("{ with: { type: t } }")), ["FS-UNCORRELATED"]);
    let each = "do: [ { a: { listen: { to: { any: [ { with: { type: t } }, { with: { type: u }, correlate: { k: { from: .id } } } ], until: { one: { with: { type: v } } } } } } } ]";
    assert_eq!(warnings(each), ["FS-UNCORRELATED", "FS-UNCORRELATED"]);
    let on = "schedule: { read: data, on: { one: { with: { type: s } } } }\n";
    assert_eq!(warnings(&format!("{on}{}", one("{ with: { type: t } }"))), ["FS-UNCORRELATED"]);
    let clock = "schedule: { every: PT1H }\n";
    assert!(warnings(&format!("{clock}{}", one("{ with: { type: t } }"))).is_empty());
    assert!(warnings(&one("{ with: { type: t }, correlate: { k: { from: .data.k, expect: '${ .k }' } } }")).is_empty());
    assert!(warnings("do: [ { a: { listen: { to: { any: [] } } } } ]").is_empty(), "every event is what is meant");
    assert_eq!(warnings(&one("{ with: { type: t, data: '${ .k == $input.k }' } }")), ["FS-SLOW-FILTER"]);
}

#[test]
fn schedule_on_without_read_is_a_warning() {
    assert_eq!(warnings("schedule: { on: { one: { with: { type: t } } } }\ndo: []"), ["FS-SCHEDULE-READ"]);
    assert!(warnings("schedule: { on: { one: { with: { type: t } } }, read: envelope }\ndo: []").is_empty());
    assert!(warnings("schedule: { cron: '0 0 * * *' }\ndo: []").is_empty());
}

#[test]
fn a_wait_that_no_event_can_end_is_a_warning() {
    for ty in ["io.serverlessworkflow.workflow.completed.v1", "io.flagstop.command.resume.v1"] {
        let filter = format!("{{ with: {{ type: {ty} }}, correlate: {{ k: {{ from: .id }} }} }}");
        assert_eq!(warnings(&one(&filter)), ["FS-NEVER-HEARD"]);
    }
    assert_eq!(warnings("do: [ { a: { listen: { to: { all: [] } } } } ]"), ["FS-WAITS-FOR-NOTHING"]);
}

#[test]
fn a_strategy_is_one_of_three_and_until_belongs_to_any() {
    let to = |to: &str| errors(&format!("do: [ {{ a: {{ listen: {{ to: {to} }} }} }} ]"));
    let key = "with: { type: t }, correlate: { k: { from: .id } }";
    assert_eq!(to("{}"), [("FS-MISSING-KEY", "{}".into())]);
    assert_eq!(to(&format!("{{ one: {{ {key} }}, any: [] }}")), [("FS-VALUE", "[]".into())]);
    assert_eq!(to(&format!("{{ one: {{ {key} }}, until: . }}")), [("FS-VALUE", ".".into())]);
    assert_eq!(to(&format!("{{ all: [ {{ {key} }} ], until: . }}")), [("FS-VALUE", ".".into())]);
    assert_eq!(to("{ any: {} }"), [("FS-WRONG-TYPE", "{}".into())]);
    assert_eq!(to("{ all: 5 }"), [("FS-WRONG-TYPE", "5".into())]);
    assert_eq!(to("{ one: [] }"), [("FS-WRONG-TYPE", "[]".into())]);
    assert_eq!(to("{ any: [], until: false }"), [("FS-WRONG-TYPE", "false".into())]);
    assert_eq!(to("{ any: [], until: '.|' }"), [("FS-EXPR-SYNTAX", "'.|'".into())]);
    assert_eq!(to("{ any: [], until: {} }"), [("FS-MISSING-KEY", "{}".into())]);
    assert_eq!(to("{ any: [], until: { any: [], until: x } }"), [("FS-VALUE", "x".into())]);
    assert_eq!(to("{ any: [], untill: . }"), [("FS-UNKNOWN-KEY", "untill".into())]);
    assert_eq!(errors("do: [ { a: { listen: {} } } ]"), [("FS-MISSING-KEY", "{}".into())]);
    assert_eq!(errors("schedule: { read: data, on: { one: 5 } }\ndo: []"), [("FS-WRONG-TYPE", "5".into())]);
    let until = "schedule: { read: data, on: { any: [], until: '$context' } }\ndo: []";
    assert_eq!(errors(until), [("FS-EXPR-VARIABLE", "'$context'".into())], "there is no instance yet");
}

#[test]
fn filters_are_bounded() {
    let filters = vec!["{ with: { type: t } }"; 257].join(", ");
    let found = errors(&format!(
        "schedule: {{ every: PT1H }}\ndo: [ {{ a: {{ listen: {{ to: {{ all: [ {filters} ] }} }} }} }} ]"
    ));
    assert_eq!(found[0].0, "FS-TOO-MANY");
}
