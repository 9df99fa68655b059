//! `events`: the journal as CloudEvents.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::Folder;
use crate::{eventually, publish};

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";

const START: &str = "io.flagstop.command.start.v1";

const TALKER: &str = "document: { dsl: '1.0.3', namespace: t, name: talker, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
do:
  - say: { emit: { event: { with: { type: t.said, subject: '${ .[0].who }' } } } }
";

#[test]
fn events_are_listed_in_the_order_of_the_journal_and_followed_as_they_come() {
    let folder = Folder::new();
    folder.write("flows/talker.yaml", TALKER);
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let mut instances = Vec::new();
    for who in ["ada", "bob"] {
        publish(&folder, &served.address, "t.start", who, &json!({ "who": who }).to_string());
        instances.push(served.until(COMPLETED).pop().unwrap()["subject"].as_str().unwrap().to_owned());
    }
    let events = |more: &[&str]| -> Vec<Value> {
        let all = [&["events", "list", "--store", &store, "--output", "json"], more].concat();
        folder.flagstop(&all).exits(0).json("events-list").as_array().unwrap().clone()
    };
    let types = |events: &[Value]| events.iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = events(&[]);
    let status = |word: &str| format!("io.serverlessworkflow.{word}.v1");
    let one = ["workflow.started", "task.created", "task.started", "", "task.completed", "workflow.completed"];
    let one: Vec<String> = one.map(|word| if word.is_empty() { "t.said".to_owned() } else { status(word) }).to_vec();
    assert_eq!(types(&all), [one.clone(), one.clone()].concat(), "of both, in their order");

    assert_eq!(
        types(&events(&["--type", "workflow.*"])),
        ["workflow.started", "workflow.completed"].repeat(2).into_iter().map(status).collect::<Vec<_>>()
    );
    let said = events(&["--type", "t.*,workflow.faulted"]);
    assert_eq!(said.iter().map(|it| it["subject"].as_str().unwrap()).collect::<Vec<_>>(), ["ada", "bob"]);
    assert_eq!(types(&events(&["--instance", &instances[1]])), one);
    assert_eq!(types(&events(&["--limit", "2"])), one[4..], "the newest, the oldest of them first");
    assert_eq!(events(&["--since", "1h"]).len(), all.len());
    assert_eq!(events(&["--since", "2100-01-01T00:00:00Z"]), [Value::Null; 0]);
    let table = folder.flagstop(&["events", "list", "--store", &store, "--limit", "1"]).exits(0).stdout;
    assert!(table.contains("workflow completed"), "{table}");

    // The tail begins where it is told to and goes on with what comes.
    let tail = ["events", "tail", "--store", &store, "--output", "json", "--type", "t.said", "--since", "1h"];
    let mut tail = folder.spawn(&tail, Stdio::null());
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut said = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["subject"].clone());
    assert_eq!([said.next(), said.next()], [Some(json!("ada")), Some(json!("bob"))]);
    publish(&folder, &served.address, "t.start", "eve", r#"{"who":"eve"}"#);
    assert_eq!(said.next(), Some(json!("eve")));
    tail.kill().unwrap();
    tail.wait().unwrap();

    // Answers to commands leave, too: the one in the journal of what it did, the other by itself.
    publish(&folder, &served.address, START, "c-1", r#"{"namespace":"t","name":"nobody"}"#);
    publish(&folder, &served.address, START, "c-2", r#"{"namespace":"t","name":"talker","input":[{"who":"max"}]}"#);
    served.until(COMPLETED);
    let list = ["events", "list", "--store", &store, "--type", "command.*", "--output", "json"];
    let answers = eventually(&folder, &list, "events-list", |rows| rows.as_array().unwrap().len() == 2);
    let answer = |id: &str| answers.as_array().unwrap().iter().find(|it| it["causationid"] == id).unwrap().clone();
    assert_eq!(answer("c-1")["type"], "io.flagstop.command.rejected.v1");
    assert_eq!(answer("c-1")["data"]["code"], "FS-DEFINITION-UNKNOWN");
    assert_eq!(answer("c-2")["type"], "io.flagstop.command.accepted.v1");
    let table = folder.flagstop(&list[..6]).exits(0).stdout;
    for line in ["command rejected start", "FS-DEFINITION-UNKNOWN", "command accepted start"] {
        assert!(table.contains(line), "{table}");
    }

    folder.flagstop(&["events", "list", "--store", &store, "--since", "soon"]).exits(2).says(&["30m, 2h, 7d"]);
    let missing = ["events", "list", "--store", &store, "--instance", "ffffffff-0000-0000-0000-000000000000"];
    folder.flagstop(&missing).exits(6).says(&["error[FS-INSTANCE-UNKNOWN]"]);
    served.stop();
}

const SAYER: &str = "document: { dsl: '1.0.3', namespace: t, name: sayer, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
do:
  - say: { emit: { event: { with: { type: t.said, data: '${ .[0].text * .[0].times }' } } } }
";

#[test]
fn d13_events_that_are_too_large_for_the_bus_are_held_back_and_released_once_the_limit_is_raised() {
    let folder = Folder::new();
    folder.write("flows/sayer.yaml", SAYER);
    folder.write("flagstop.toml", "[bus]\nbody_bytes_max = 2000\n[worker]\nrelay_refusals_max = 1\n");
    let config = folder.file("flagstop.toml");
    let mut served = folder.serve(&folder.file("flows"), &["--config", &config]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    publish(&folder, &served.address, "t.start", "s-1", r#"{"text":"x","times":5000}"#);
    let quarantined = ["events", "quarantined", "--store", &store, "--output", "json"];
    let streams = eventually(&folder, &quarantined, "events-quarantined", |it| it.as_array().unwrap().len() == 1);
    let id = streams[0]["instance"].as_str().unwrap().to_owned();
    assert!(streams[0]["reason"].as_str().unwrap().contains("bus.body_bytes_max"), "{streams}");
    let table = folder.flagstop(&quarantined[..4]).exits(0).stdout;
    assert!(table.contains(&id) && table.contains("FROM REVISION"), "{table}");
    let show = ["instances", "show", &id, "--store", &store, "--output", "json"];
    let shown = folder.flagstop(&show).exits(0).json("instances-show");
    assert!(shown["eventsHeldBack"].as_str().unwrap().contains("events release"), "{shown:#}");
    let why = folder.flagstop(&["instances", "why", &id, "--store", &store]).exits(0).stdout;
    assert!(why.contains("its events do not leave") && why.contains("bus.body_bytes_max"), "{why}");
    let list = folder.flagstop(&["instances", "list", "--store", &store]).exits(0).stdout;
    assert!(list.contains("events held back"), "{list}");
    // Others are not concerned.
    publish(&folder, &served.address, "t.start", "s-2", r#"{"text":"y","times":5}"#);
    let other = served.until(COMPLETED).pop().unwrap()["subject"].as_str().unwrap().to_owned();
    assert_ne!(other, id);
    folder.flagstop(&["events", "release", &other, "--store", &store]).exits(6).says(&["FS-STREAM-UNKNOWN"]);
    folder.flagstop(&["events", "release", "--store", &store]).exits(2);
    served.stop();

    folder.write("flagstop.toml", "");
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let release = ["events", "release", "--all", "--store", &store, "--output", "json"];
    assert_eq!(folder.flagstop(&release).exits(0).json("events-release"), json!({ "released": 1 }));
    let mut events = served.until("t.said");
    assert_eq!(events.last().unwrap()["data"].as_str().unwrap().len(), 5_000);
    // Status events are printed by themselves.
    if !events.iter().any(|event| event["type"] == COMPLETED) {
        events.extend(served.until(COMPLETED));
    }
    let ended = events.iter().find(|event| event["type"] == COMPLETED).unwrap();
    assert_eq!(ended["subject"], id.as_str());
    eventually(&folder, &quarantined, "events-quarantined", |it| it.as_array().unwrap().is_empty());
    assert_eq!(folder.flagstop(&release).exits(0).json("events-release"), json!({ "released": 0 }));
    served.stop();
}
