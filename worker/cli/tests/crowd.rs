//! The main job at the size of one machine: a thousand onboardings on the embedded bus and SQLite, with copies and early
//! messages in a shuffled order, sent in batches.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{Folder, example, http};

const EMPLOYEES: usize = 1_000;
const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";

/// Triggers and checks of all, every fifth twice, in an order in which about half of the checks come first.
fn events() -> Vec<Value> {
    let event = |n: usize, what: &str, data: Value| json!({ "specversion": "1.0", "id": format!("{what}-{n}"), "source": "/tests", "type": format!("com.example.{what}"), "data": data });
    let mut events = Vec::new();
    for n in 0..EMPLOYEES {
        let employee = format!("e-{n}");
        let hired = json!({ "employeeId": employee, "firstName": "Ada", "lastName": format!("L{n}") });
        let checked = json!({ "employeeId": employee, "result": "clear" });
        for copy in 0..=usize::from(n % 5 == 0) {
            let _same_event_again = copy;
            events.push(event(n, "employee.hired", hired.clone()));
            events.push(event(n, "background-check.completed", checked.clone()));
        }
    }
    // A step that shares no factor with the length visits each once.
    let length = events.len();
    (0..length).map(|n| events[n * 1_009 % length].clone()).collect()
}

#[test]
fn a_thousand_onboardings_on_the_embedded_bus_each_complete_once() {
    let folder = Folder::new();
    let secrets = folder.write("secrets.yaml", "hr: { url: 'http://127.0.0.1:1', token: secret-token }\n");
    let mut served = folder.serve(&example(), &["--secrets", &secrets]);
    let address = served.address.clone();
    // What is printed must be read meanwhile.
    let sender = std::thread::spawn(move || {
        for batch in events().chunks(100) {
            let media = [("content-type", "application/cloudevents-batch+json")];
            let (status, _, answer) = http(&address, "POST", "/events", &media, &json!(batch).to_string());
            assert_eq!(status, 202, "{answer}");
        }
    });
    let mut seen = Vec::new();
    let mut completed = BTreeSet::new();
    while completed.len() < EMPLOYEES {
        let event = served.next().expect("it goes on until all have completed");
        if event["type"] == COMPLETED {
            completed.insert(event["businesskey"].as_str().unwrap().to_owned());
        }
        seen.push(event);
    }
    sender.join().unwrap();
    seen.extend(served.stop());

    let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in seen.iter().filter(|event| event["sequence"].is_string() && ids.insert(event["id"].as_str().unwrap()))
    {
        let sequence = event["sequence"].as_str().unwrap().parse().unwrap();
        streams.entry(event["subject"].as_str().unwrap()).or_default().push(sequence);
    }
    assert_eq!(streams.len(), EMPLOYEES, "each trigger exactly one instance");
    for (instance, sequences) in streams {
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "{instance}: gap or disorder");
    }
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let count = |more: &[&str]| {
        let arguments = [&["instances", "list", "--store", &store, "--limit", "0", "--output", "json"], more].concat();
        folder.flagstop(&arguments).exits(0).json("instances-list").as_array().unwrap().len()
    };
    assert_eq!((count(&[]), count(&["--status", "completed"])), (EMPLOYEES, EMPLOYEES));
    let parked = folder.flagstop(&["parked", "list", "--store", &store, "--output", "json"]).exits(0);
    assert_eq!(parked.json("parked-list"), json!([]), "each check was heard");
}
