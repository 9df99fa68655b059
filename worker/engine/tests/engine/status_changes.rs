//! The optional status-changed events: told only when asked for, and without a number of their own.

use flagstop_engine::api::{StatusChanges, Stimulus};
use flagstop_schemas::{Header, STATUS, StatusEvent, StatusKind, Validators, render};
use serde_json::json;

use crate::driver::{Kill, World, both_ways, event};

const FLOW: &str = "
do:
  - hear: { listen: { to: { one: { with: { type: t } } } } }
  - rest: { wait: PT5S }
  - done: { set: { a: 1 } }
";

fn told(kill: Kill, changes: StatusChanges) -> World {
    let mut world = World::new(FLOW).killed(kill);
    world.status_changes = changes;
    world.start(json!({}));
    world.apply(Stimulus::Suspend).unwrap();
    world.apply(Stimulus::Continue).unwrap();
    assert!(world.hear(event("t", "1", json!(1))));
    world.fire();
    world
}

fn changes(world: &World) -> Vec<String> {
    let status = |event: &StatusEvent| {
        let (_, status) = event.attributes.iter().find(|(name, _)| *name == STATUS)?;
        let whose = event.task.as_deref().map_or("workflow", |task| task.rsplit('/').next().unwrap_or(task));
        Some(format!("{} {whose} {}", event.sequence, status.as_str()?))
    };
    let is_optional = |event: &&StatusEvent| StatusKind::optional().contains(&event.kind);
    world.statuses().filter(is_optional).filter_map(status).collect()
}

#[test]
fn each_change_of_phase_is_told_once_after_the_event_that_led_to_it() {
    both_ways(|kill| {
        let world = told(kill, StatusChanges::Told);
        let expected = [
            "1 workflow running",
            "2 hear pending",
            "3 hear running",
            "4 hear waiting",
            "4 workflow waiting",
            "5 hear suspended",
            "6 workflow suspended",
            "7 workflow running",
            "8 hear running",
            "8 hear waiting",
            "8 workflow waiting",
            "10 hear completed",
            "11 rest pending",
            "12 rest running",
            "12 rest waiting",
            "13 rest completed",
            "14 done pending",
            "15 done running",
            "16 done completed",
            "17 workflow completed",
        ];
        assert_eq!(changes(&world), expected);
    });
}

#[test]
fn the_required_events_are_the_same_with_them_and_without() {
    both_ways(|kill| {
        let required = |world: &World| -> Vec<(StatusKind, u64)> {
            let all = world.statuses().map(|event| (event.kind, event.sequence));
            all.filter(|(kind, _)| StatusKind::all().contains(kind)).collect()
        };
        let (with, without) = (told(kill, StatusChanges::Told), told(kill, StatusChanges::Left));
        assert_eq!(changes(&without), [""; 0]);
        assert_eq!(required(&with), required(&without));
    });
}

#[test]
fn each_keeps_its_schema_and_has_an_id_of_its_own() {
    let world = told(Kill::Never, StatusChanges::Told);
    let header = Header {
        namespace: "tests".into(),
        name: "flow".into(),
        version: "1.0.0".into(),
        instance: world.instance.id(),
        business_key: None,
    };
    let mut ids = std::collections::BTreeSet::new();
    for event in world.statuses() {
        let rendered = render(&header, event);
        Validators::new().check(&rendered).unwrap_or_else(|why| panic!("{rendered:?}: {why}"));
        assert!(ids.insert(rendered.id.clone()), "{} is there twice", rendered.id);
    }
}
