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
schedule: { on: { one: { with: { type: t.start } } } }
do:
  - hear: { listen: { to: { any: [ { with: { type: t.go } } ] } } }
  - say: { emit: { event: { with: { type: t.said } } } }
";

#[test]
fn d13_events_that_are_held_back_are_told_of_and_leave_whole_when_they_are_released() {
    let folder = Folder::new();
    folder.write("flows/sayer.yaml", SAYER);
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    publish(&folder, &served.address, "t.start", "s-1", "{}");
    let list = ["instances", "list", "--store", &store, "--status", "waiting", "--output", "json"];
    let waiting = eventually(&folder, &list, "instances-list", |rows| rows.as_array().unwrap().len() == 1);
    let id = waiting[0]["id"].as_str().unwrap().to_owned();
    let quarantined = ["events", "quarantined", "--store", &store, "--output", "json"];
    assert_eq!(folder.flagstop(&quarantined).exits(0).json("events-quarantined"), json!([]));
    folder.flagstop(&["events", "release", &id, "--store", &store]).exits(6).says(&["FS-STREAM-UNKNOWN"]);

    // What a relay does when its broker finds the instance's next event too large.
    let revision = waiting[0]["revision"].as_i64().unwrap() as i32 + 1;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = flagstop_store::open(&store, &flagstop_store::StoreConfig::default()).await.unwrap();
        let instance = flagstop_schemas::InstanceId(id.parse().unwrap());
        store.quarantine(instance, revision, "too large for the broker").await.unwrap();
        store.close().await;
    });
    publish(&folder, &served.address, "t.go", "g-1", "{}");
    let ended = ["instances", "list", "--store", &store, "--status", "completed", "--output", "json"];
    let ended = eventually(&folder, &ended, "instances-list", |rows| rows.as_array().unwrap().len() == 1);
    assert_eq!(ended[0]["eventsHeldBack"], "too large for the broker");
    let streams = folder.flagstop(&quarantined).exits(0).json("events-quarantined");
    assert_eq!((&streams[0]["instance"], &streams[0]["revision"]), (&json!(id), &json!(revision)));
    let table = folder.flagstop(&quarantined[..4]).exits(0).stdout;
    assert!(table.contains(&id) && table.contains("FROM REVISION") && table.contains("too large"), "{table}");
    let shown = folder.flagstop(&["instances", "show", &id, "--store", &store, "--output", "json"]);
    assert_eq!(shown.exits(0).json("instances-show")["eventsHeldBack"], "too large for the broker");
    let why = folder.flagstop(&["instances", "why", &id, "--store", &store]).exits(0).stdout;
    assert!(why.contains("its events do not leave: too large for the broker"), "{why}");
    let table = folder.flagstop(&["instances", "list", "--store", &store]).exits(0).stdout;
    assert!(table.contains("completed, events held back"), "{table}");

    // Others are not concerned. Then it is released.
    publish(&folder, &served.address, "t.start", "s-2", "{}");
    eventually(&folder, &list, "instances-list", |rows| rows.as_array().unwrap().len() == 1);
    publish(&folder, &served.address, "t.go", "g-2", "{}");
    let other = served.until(COMPLETED).pop().unwrap()["subject"].clone();
    assert_ne!(other, id.as_str());
    folder.flagstop(&["events", "release", "--store", &store]).exits(2);
    let release = ["events", "release", "--all", "--store", &store, "--output", "json"];
    assert_eq!(folder.flagstop(&release).exits(0).json("events-release"), json!({ "released": 1 }));
    assert_eq!(served.until(COMPLETED).pop().unwrap()["subject"], id.as_str());
    eventually(&folder, &quarantined, "events-quarantined", |it| it.as_array().unwrap().is_empty());
    assert_eq!(folder.flagstop(&release).exits(0).json("events-release"), json!({ "released": 0 }));
    served.stop();
}
