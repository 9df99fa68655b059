//! `wait`.

use flagstop_engine::api::{Rejected, Stimulus};
use serde_json::json;

use crate::driver::{SECOND_US, START_US, World, assert_has, both_ways, problem};

#[test]
fn a_wait_has_an_absolute_end_and_gives_its_input() {
    both_ways(|kill| {
        let mut world = World::new("do: [ { rest: { wait: { hours: 1, seconds: '${ .s }' } } } ]").killed(kill);
        world.start(json!({ "s": 5 }));
        let timer = world.instance.projection(&world.plan).timers[0].clone();
        assert_eq!(timer.due_us, START_US + 3_605 * SECOND_US);
        world.now_us = timer.due_us - 1;
        assert_eq!(world.apply(Stimulus::Timer { slot: timer.slot }), Err(Rejected::NotWaiting), "not yet due");
        let reason = &world.instance.waiting(&world.plan)[0];
        assert_eq!((reason.kind, reason.what.as_str(), reason.until_us), ("timer", "PT1H5S", Some(timer.due_us)));
        world.now_us = timer.due_us + 1;
        world.apply(Stimulus::Timer { slot: timer.slot }).unwrap();
        assert_eq!(world.output(), json!({ "s": 5 }));
    });
}

#[test]
fn durations_are_iso_texts_objects_or_expressions() {
    for (wait, seconds) in [("PT1M30S", 90), ("{ minutes: 2, milliseconds: 1000 }", 121), ("'${ .d }'", 7)] {
        let mut world = World::new(&format!("do: [ {{ rest: {{ wait: {wait} }} }} ]"));
        world.start(json!({ "d": "PT7S" }));
        assert_eq!(world.instance.projection(&world.plan).timers[0].due_us, START_US + seconds * SECOND_US, "{wait}");
    }
    let wrong = World::new("do: [ { rest: { wait: '${ .d }' } } ]").run(json!({ "d": "soon" }));
    assert_has(&wrong.error(), &problem("expression", 400, "/do/0/rest"));
    assert_eq!(World::new("do: [ { rest: { wait: PT0S } } ]").run(json!(1)).output(), json!(1));
}
