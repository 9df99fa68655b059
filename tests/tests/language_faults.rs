//! Every kind of task that waits, in one workflow, on real worker processes and Postgres, with workers that are killed with
//! −9 again and again: what was expected without faults comes out, once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::time::{Duration, Instant};

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Channel, Content, Outgoing};
use flagstop_engine::api::Phase;
use flagstop_schemas::{Entry, journal};
use flagstop_store::StoreConfig;
use flagstop_store::port::InstanceFilter;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::process::{WorkerProcess, run};
use flagstop_tests::services::{postgres, unique, url};
use serde_json::json;

const INSTANCES: usize = 60;

/// A loop of forks with a call and a child in each, a try that retries after its attempt was cut, and an event.
const PARENT: &str = r"
document: { dsl: '1.0.3', namespace: t, name: parent, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
input: { from: '.[0]' }
do:
  - rounds:
      for: { each: round, in: '[range(3)]' }
      do:
        - both:
            fork:
              branches:
                - call:
                    call: http
                    with: { method: post, endpoint: '{hr}/accounts', body: { id: '${ .n }' } }
                - child:
                    run: { workflow: { namespace: t, name: child, version: latest, input: { n: '${ .n }', round: '${ $round }' } } }
            output: { as: '{ n: $input.n, sum: (($input.sum // 0) + .[1].product) }' }
  - attempts:
      try:
        - never:
            listen: { to: { one: { with: { type: t.never, subject: nobody } } } }
      catch:
        errors: { with: { status: 408 } }
        retry: { delay: { milliseconds: 50 }, limit: { attempt: { count: 2, duration: { milliseconds: 200 } } } }
        do:
          - gaveUp: { set: { n: '${ .n }', sum: '${ .sum }', tried: true } }
  - hear:
      listen: { to: { one: { with: { type: t.go }, correlate: { n: { from: .data.n, expect: '${ .n }' } } } } }
      output: { as: '$input + { word: .[0].word }' }
";

const CHILD: &str = r"
document: { dsl: '1.0.3', namespace: t, name: child, version: '1.0.0' }
do:
  - rest: { wait: { milliseconds: 30 } }
  - give: { set: { product: '${ .n * (.round + 1) }' } }
";

#[tokio::test(flavor = "multi_thread")]
async fn the_language_survives_workers_that_are_killed_again_and_again() {
    let hr = Hr::start().await;
    let name = unique("language");
    let dir = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let path = |file: &str| dir.join(file).to_str().unwrap().to_owned();
    std::fs::write(path("parent.yaml"), PARENT.replace("{hr}", &hr.url)).unwrap();
    std::fs::write(path("child.yaml"), CHILD).unwrap();
    let worker = "[worker]\nlease_ms = 1500\nbeat_ms = 300\nsweep_ms = 500\n";
    let config = format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n\n{worker}");
    std::fs::write(path("flagstop.toml"), config).unwrap();
    let (config_file, postgres_url, bus_url) = (path("flagstop.toml"), postgres(), url("FLAGSTOP_TEST_RABBITMQ"));
    let common = ["--config", &config_file, "--store", &postgres_url];
    let _report = run(&[&["migrate"], &common[..]].concat());
    let _report = run(&[&["deploy"], &common[..], &[dir.to_str().unwrap()]].concat());

    let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
    let bus = flagstop_bus::open(&bus_url, &config).await.unwrap();
    bus.prepare(true).await.unwrap();
    let args = [&common[..], &["--bus", &bus_url]].concat();
    let mut workers: Vec<WorkerProcess> = (0..2).map(|_| WorkerProcess::start(&args)).collect();
    let messages = (0..INSTANCES).flat_map(|n| {
        let start = event(&format!("s{n}"), "t.start", &json!({ "n": n }));
        [start, event(&format!("g{n}"), "t.go", &json!({ "n": n, "word": format!("w{n}") }))]
    });
    let messages: Vec<Outgoing> = messages
        .map(|event| Outgoing {
            channel: Channel::In,
            routing_key: event.ty.clone(),
            order_key: event.id.clone(),
            content: Content::Event(Box::new(event)),
        })
        .collect();
    for result in bus.publish(&messages).await {
        result.unwrap();
    }

    let store_config = StoreConfig { schema: name.clone(), ..StoreConfig::default() };
    let store = flagstop_store::open(&postgres(), &store_config).await.unwrap();
    let start = Instant::now();
    let mut kills = 0;
    let all = loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let all = store.list_instances(&InstanceFilter::default()).await.unwrap();
        let done = all.iter().filter(|it| it.status == Phase::Completed as i16).count();
        if done == INSTANCES * 4 {
            break all;
        }
        assert!(start.elapsed() < Duration::from_secs(150), "{done} of {} are done", INSTANCES * 4);
        if kills < 4 {
            workers.remove(0).signal("KILL");
            workers.push(WorkerProcess::start(&args));
            kills += 1;
        }
    };
    assert!(kills > 0, "nothing was killed in between");
    assert_eq!(all.len(), INSTANCES * 4, "one parent and three children for each trigger");
    assert_eq!(store.list_dead_letters(&Default::default()).await.unwrap(), []);
    let mut outputs = 0;
    for summary in &all {
        let rows = store.history(summary.id).await.unwrap();
        let revisions: Vec<i32> = rows.iter().map(|row| row.revision).collect();
        assert_eq!(revisions, (1..=summary.revision).collect::<Vec<_>>(), "one journal row for each transition");
        let entries: Vec<Entry> = rows.iter().flat_map(|row| journal::decode(&row.events).unwrap().1).collect();
        let sequences = entries.iter().filter_map(|entry| match entry {
            Entry::Status(event) => Some(event.sequence),
            Entry::Emitted(_) | Entry::Answer(_) | Entry::Late(_) => None,
        });
        assert!(sequences.enumerate().all(|(n, sequence)| sequence == n as u64 + 1), "{} has gaps", summary.id);
        if summary.parent.is_none() {
            let shown =
                run(&[&["instances", "show", &summary.id.to_string(), "--output", "json"], &common[..]].concat());
            let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
            let n = shown["output"]["n"].as_u64().unwrap();
            assert_eq!(shown["output"], json!({ "n": n, "sum": 6 * n, "tried": true, "word": format!("w{n}") }));
            outputs += 1;
        }
    }
    assert_eq!(outputs, INSTANCES);
    // At least once each, and what was made again has the key of the first time.
    let keys: std::collections::HashSet<String> = hr.asked().into_iter().map(|asked| asked.key).collect();
    assert_eq!(keys.len(), INSTANCES * 3, "one key for each round of each instance");
    std::fs::remove_dir_all(&dir).ok();
}
