//! An author saves, and goes on: `dev` takes what is saved while it serves.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use support::Folder;

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";
const WAITS: &str = "io.serverlessworkflow.workflow.correlation-started.v1";

fn greeter(word: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: greeter, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.hello }} }} }} }}
do:
  - wait: {{ listen: {{ to: {{ one: {{ with: {{ type: t.go }} }} }} }} }}
  - say: {{ set: {{ word: {word} }} }}
"
    )
}

/// A `dev` as a person runs it, with its talk.
struct Dev {
    child: std::process::Child,
    events: Box<dyn Iterator<Item = Value>>,
    talk: Receiver<String>,
    address: String,
}

impl Dev {
    fn start(folder: &Folder) -> Self {
        let (definitions, data) = (folder.file("flows"), folder.file("data"));
        let arguments = ["dev", &definitions, "--data", &data, "--http", "127.0.0.1:0", "--output", "json"];
        let mut child = folder.spawn(&arguments, Stdio::null());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let (said, talk) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).all(|line| said.send(line).is_ok()));
        let address = events.next().expect("it becomes ready")["source"].as_str().unwrap().to_owned();
        Self { child, events: Box::new(events), talk, address }
    }

    /// Reads what it says until a line holds this.
    fn says(&self, text: &str) -> String {
        let mut so_far = String::new();
        loop {
            let line = self.talk.recv().unwrap_or_else(|_| panic!("it never says `{text}`; it said:\n{so_far}"));
            so_far.push_str(&format!("{line}\n"));
            if line.contains(text) {
                return so_far;
            }
        }
    }

    fn until(&mut self, ty: &str) -> Value {
        self.events.find(|event| event["type"] == ty).unwrap_or_else(|| panic!("no {ty}"))
    }

    fn publish(&self, folder: &Folder, ty: &str) {
        folder.flagstop(&["publish", "--http", &self.address, "--type", ty]).exits(0);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_saved_takes_the_next_event_and_a_mistake_changes_nothing() {
    let folder = Folder::new();
    folder.write("flows/greeter.yaml", &greeter("first"));
    let mut dev = Dev::start(&folder);
    dev.publish(&folder, "t.hello");
    assert_eq!(dev.until(WAITS)["source"], "/t/greeter/1.0.0");

    folder.write("flows/greeter.yaml", &greeter("second"));
    dev.says("reloaded t/greeter 1.0.0+dev.1");
    // The running instance ends as it began.
    dev.publish(&folder, "t.go");
    assert_eq!(dev.until(COMPLETED)["data"]["output"], json!({ "word": "first" }));
    dev.publish(&folder, "t.hello");
    assert_eq!(dev.until(WAITS)["source"], "/t/greeter/1.0.0+dev.1");
    dev.publish(&folder, "t.go");
    assert_eq!(dev.until(COMPLETED)["data"]["output"], json!({ "word": "second" }));

    folder.write(
        "flows/greeter.yaml",
        "document: { dsl: '1.0.3', namespace: t, name: greeter, version: '1.0.0' }\ndoo: []\n",
    );
    let talk = dev.says("not reloaded");
    assert!(talk.contains("greeter.yaml:2:1: error[FS-"), "{talk}");
    dev.publish(&folder, "t.hello");
    assert_eq!(dev.until(WAITS)["source"], "/t/greeter/1.0.0+dev.1");
    dev.publish(&folder, "t.go");
    assert_eq!(dev.until(COMPLETED)["data"]["output"], json!({ "word": "second" }));

    // A restart finds what was saved meanwhile, and nothing twice.
    drop(dev);
    folder.write("flows/greeter.yaml", &greeter("third"));
    folder.write("flows/other.yaml", &greeter("x").replace("greeter", "other").replace("t.hello", "t.other"));
    let mut dev = Dev::start(&folder);
    dev.publish(&folder, "t.hello");
    assert_eq!(dev.until(WAITS)["source"], "/t/greeter/1.0.0+dev.2");
    std::fs::remove_file(folder.file("flows/other.yaml")).unwrap();
    folder.write("flows/greeter.yaml", &greeter("fourth"));
    dev.says("reloaded t/greeter 1.0.0+dev.3");
}

#[test]
fn a_definition_without_a_file_takes_nothing_new_until_the_file_is_back() {
    let folder = Folder::new();
    let other = greeter("x").replace("greeter", "other").replace("t.hello", "t.other");
    folder.write("flows/greeter.yaml", &greeter("hi"));
    folder.write("flows/other.yaml", &other);
    let mut dev = Dev::start(&folder);
    dev.publish(&folder, "t.other");
    assert_eq!(dev.until(WAITS)["source"], "/t/other/1.0.0");

    std::fs::remove_file(folder.file("flows/other.yaml")).unwrap();
    dev.says("disabled t/other 1.0.0: no file holds it any more");
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let enabled = || {
        let rows = folder.flagstop(&["definitions", "list", "--store", &store, "--output", "json"]).exits(0);
        let rows = rows.json("definitions-list");
        rows.as_array().unwrap().iter().find(|row| row["name"] == "other").unwrap()["enabled"].clone()
    };
    assert_eq!(enabled(), json!(false));
    dev.publish(&folder, "t.other");
    dev.publish(&folder, "t.hello");
    assert_eq!(dev.until(WAITS)["source"], "/t/greeter/1.0.0", "the other one starts no more");
    dev.publish(&folder, "t.go");
    let mut ended: Vec<String> = (0..2).map(|_| dev.until(COMPLETED)["source"].as_str().unwrap().to_owned()).collect();
    ended.sort();
    assert_eq!(ended, ["/t/greeter/1.0.0", "/t/other/1.0.0"], "what ran went on");

    folder.write("flows/again.yaml", &other);
    dev.says("enabled t/other 1.0.0: a file holds it again");
    dev.publish(&folder, "t.other");
    assert_eq!(dev.until(WAITS)["source"], "/t/other/1.0.0");

    // What comes and goes while nobody watches counts as well; what an operator has disabled stays so.
    std::fs::remove_file(folder.file("flows/again.yaml")).unwrap();
    dev.says("disabled t/other 1.0.0");
    drop(dev);
    folder.write("flows/other.yaml", &other);
    let dev = Dev::start(&folder);
    assert_eq!(enabled(), json!(true));
    drop(dev);
    std::fs::remove_file(folder.file("flows/other.yaml")).unwrap();
    drop(Dev::start(&folder));
    assert_eq!(enabled(), json!(false));
    folder.write("flows/other.yaml", &other);
    drop(Dev::start(&folder));
    assert_eq!(enabled(), json!(true));
    folder.flagstop(&["definitions", "disable", "t/other", "--store", &store]).exits(0);
    drop(Dev::start(&folder));
    assert_eq!(enabled(), json!(false));
}
