//! The main job, as a newcomer sees it, and the commands that look at it.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Folder, Served, example, root};

const HIRED: &str = r#"{"employeeId":"e-7","firstName":"Grace","lastName":"Hopper"}"#;
const WAITS: &str = "io.serverlessworkflow.workflow.correlation-started.v1";
const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";

/// Serves the example; the HR system's address leads nowhere, which the workflow must survive.
fn serve(folder: &Folder) -> Served {
    let secrets = folder.write("secrets.yaml", "hr: { url: 'http://127.0.0.1:1', token: secret-token }\n");
    folder.serve(&example(), &["--secrets", &secrets])
}

fn publish(folder: &Folder, served: &Served, ty: &str, id: &str, data: &str) {
    let arguments =
        ["publish", "--http", &served.address, "--type", ty, "--id", id, "--data", data, "--output", "json"];
    let json = folder.flagstop(&arguments).exits(0).json("publish");
    assert_eq!(json["published"], 1);
}

fn checked(employee: &str) -> String {
    json!({ "employeeId": employee, "result": "clear" }).to_string()
}

/// What happened and where, without the noise.
fn steps(lines: &str) -> Vec<String> {
    let mut steps = Vec::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at =
            words.iter().position(|w| ["workflow", "task", "emitted"].contains(w)).unwrap_or_else(|| panic!("{line}"));
        steps.push(words[at..].iter().take(3).copied().collect::<Vec<_>>().join(" "));
    }
    steps
}

#[test]
fn the_readme_s_first_command_shows_the_whole_story() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("cargo run -- dev examples/onboarding\n"), "the README's first command has changed");
    let folder = Folder::new();
    let shown = folder.flagstop(&["dev", &example()]).exits(0);
    let steps = steps(&shown.stdout);
    let expected = [
        "workflow started",
        "task completed /do/0/prepare",
        "task started /do/1/register/try/0/createAccount",
        "task completed /do/1/register/try/0/createAccount",
        "task completed /do/1/register",
        "task started /do/2/awaitBackgroundCheck",
        "workflow correlation-started /do/2/awaitBackgroundCheck",
        "workflow correlation-completed /do/2/awaitBackgroundCheck",
        "task completed /do/2/awaitBackgroundCheck",
        "task completed /do/3/decide",
        "task completed /do/4/welcome",
        "workflow completed",
    ];
    let mut rest = steps.iter();
    for step in expected {
        assert!(rest.any(|s| s.starts_with(step)), "`{step}` is missing, or out of order, in:\n{}", shown.stdout);
    }
    assert!(steps.contains(&"emitted event com.example.employee.onboarded".to_owned()), "{}", shown.stdout);
    assert!(
        shown
            .stdout
            .contains(r#"{"accountId":"acc-7731","employeeId":"e-1042","name":"Ada Lovelace","outcome":"onboarded"}"#)
    );
    assert!(!shown.stdout.contains("turnDown") && !shown.stdout.contains("faulted"), "{}", shown.stdout);
    shown.says(&[
        "[hr] POST /accounts → 201",
        "stopped: nothing runs now, and the database still knows",
        "(e-1042) waits for event com.example.background-check.completed with employeeId \"e-1042\"",
        "started again from what is on the disk",
        "instances list --store sqlite:.flagstop/onboarding-demo/store.db",
        "--bus amqp://",
    ]);
    let store = ["instances", "list", "--store", "sqlite:.flagstop/onboarding-demo/store.db", "--output", "json"];
    let list = folder.flagstop(&store).exits(0).json("instances-list");
    assert_eq!((list[0]["status"].as_str(), list[0]["businessKey"].as_str()), (Some("completed"), Some("e-1042")));
    // It can be shown as often as one likes.
    assert_eq!(self::steps(&folder.flagstop(&["dev", &example()]).exits(0).stdout).len(), steps.len());
}

#[test]
fn what_waits_survives_a_kill_and_can_be_looked_at_at_any_time() {
    let folder = Folder::new();
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let look = |command: &str, id: &str| {
        let outcome = folder.flagstop(&["instances", command, id, "--store", &store, "--output", "json"]).exits(0);
        outcome.json(&format!("instances-{command}"))
    };

    let mut served = serve(&folder);
    publish(&folder, &served, "com.example.employee.hired", "t-1", HIRED);
    let mut events = served.until(WAITS);
    // The same message again is the same trigger.
    publish(&folder, &served, "com.example.employee.hired", "t-1", HIRED);
    publish(&folder, &served, "com.example.background-check.completed", "c-1", &checked("e-8"));

    let list = ["instances", "list", "--store", &store, "--status", "waiting", "--output", "json"];
    let list = folder.flagstop(&list).exits(0).json("instances-list");
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["waitingFor"][0]["what"], "com.example.background-check.completed");
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(look("show", id)["businessKey"], "e-7");

    served.kill();
    let mut served = serve(&folder);
    assert_eq!(look("show", id)["status"], "waiting");
    publish(&folder, &served, "com.example.background-check.completed", "c-2", &checked("e-7"));
    events.extend(served.until(COMPLETED));
    events.extend(served.stop());

    let shown = look("show", id);
    assert_eq!(shown["status"], "completed");
    assert_eq!(
        shown["output"],
        json!({ "employeeId": "e-7", "name": "Grace Hopper", "accountId": null, "outcome": "onboarded" })
    );
    let why = look("why", id);
    assert!(why["text"].as_str().unwrap().contains("has completed at"), "{why}");
    assert_eq!(shown["input"][0]["data"]["employeeId"], "e-7");
    let context = shown["context"].clone();
    assert!(context.is_object() || context.is_null(), "{shown:#}");

    let history: Vec<Value> = look("history", id).as_array().unwrap().clone();
    let revisions: Vec<i64> = history.iter().map(|row| row["revision"].as_i64().unwrap()).collect();
    assert_eq!(revisions, (1..=revisions.len() as i64).collect::<Vec<_>>(), "one journal row per transition");
    let written: Vec<&Value> = history.iter().flat_map(|row| row["events"].as_array().unwrap()).collect();
    let sequences: Vec<u64> =
        written.iter().filter_map(|e| e["sequence"].as_str()).map(|s| s.parse().unwrap()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "no gap and no repetition");
    // What left is what was written, each at least once.
    for event in &written {
        assert!(events.contains(event), "not published: {event:#}");
    }
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("secret-token"), "a secret left the worker");
}

#[test]
fn why_tells_what_is_awaited_and_what_came_instead() {
    let folder = Folder::new();
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let mut served = serve(&folder);
    publish(&folder, &served, "com.example.employee.hired", "t-1", HIRED);
    let id = served.until(WAITS).last().unwrap()["subject"].as_str().unwrap().to_owned();
    publish(&folder, &served, "com.example.background-check.completed", "c-1", &checked("e-8"));
    let short = &id[..8];
    // Accepted means durable on the bus; the worker takes it a moment later.
    let is_kept = || folder.flagstop(&["instances", "why", short, "--store", &store]).exits(0).stdout.contains("c-1");
    for _ in 0..100 {
        if is_kept() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    served.stop();

    let text = folder.flagstop(&["instances", "why", short, "--store", &store]).exits(0).stdout;
    for part in [
        "hr/onboarding 1.0.0",
        "(e-7) is waiting.",
        "At /do/2/awaitBackgroundCheck it waits for an event com.example.background-check.completed with employeeId \"e-7\"",
        "without an end.",
        "event c-1 from /flagstop/publish, kept until 2",
        "employeeId is \"e-8\", not \"e-7\"",
    ] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    let why = ["instances", "why", &id, "--store", &store, "--output", "json"];
    let json = folder.flagstop(&why).exits(0).json("instances-why");
    assert_eq!(json["waits"][0]["correlate"], json!({ "employeeId": "e-7" }));
    let kept = &json["parked"][0];
    assert_eq!((&kept["id"], &kept["task"]), (&json!("c-1"), &json!("/do/2/awaitBackgroundCheck")));
    assert_eq!(kept["differs"], json!([{ "name": "employeeId", "awaited": "e-7", "found": "e-8" }]));
    let history = folder.flagstop(&["instances", "history", short, "--store", &store]).exits(0).stdout;
    assert!(history.starts_with("revision 1, committed 2"), "{history}");
    assert!(history.contains("workflow started"), "{history}");
}

#[test]
fn bad_events_over_http_get_a_problem_and_the_worker_goes_on() {
    let folder = Folder::new();
    let mut served = serve(&folder);
    let structured = [("content-type", "application/cloudevents+json")];
    let large =
        format!(r#"{{"specversion":"1.0","type":"a","source":"/s","id":"1","data":"{}"}}"#, "x".repeat(1 << 20));
    let deep = format!(r#"{{"specversion":"1.0","type":"a","source":"/s","id":"1","data":{}}}"#, "[".repeat(10_000));
    let cases = [
        ("POST", "/events", "not json", 400, "FS-EVENT-NOT-JSON"),
        ("POST", "/events", r#"{"specversion":"1.0","type":"a","source":"/s"}"#, 400, "FS-EVENT-ATTRIBUTE"),
        ("POST", "/events", &deep, 400, "FS-EVENT-TOO-DEEP"),
        ("POST", "/events", &large, 413, "FS-HTTP-TOO-LARGE"),
        ("GET", "/events", "", 405, "FS-HTTP-METHOD"),
        ("POST", "/", "{}", 404, "FS-HTTP-PATH"),
    ];
    for (method, path, body, status, code) in cases {
        let (answered, kind, problem) = served.http(method, path, &structured, body);
        assert_eq!((answered, kind.as_str()), (status, "application/problem+json"), "{code}: {problem}");
        let problem: Value = serde_json::from_str(&problem).unwrap();
        assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some(code), Some(u64::from(status))));
        assert_ne!(problem["hint"], "");
    }
    let (status, _, problem) = served.http("POST", "/events", &[("content-type", "application/json")], "{}");
    assert_eq!((status, problem.contains("FS-EVENT-NOT-CLOUDEVENT")), (400, true), "{problem}");

    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.employee.hired"),
        ("ce-source", "/test"),
        ("ce-id", "t-1"),
    ];
    let (status, _, answer) = served.http("POST", "/events", &binary, HIRED);
    assert_eq!(status, 202, "{answer}");
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), json!({ "source": "/test", "id": "t-1" }));
    let started = served.until(WAITS);
    assert_eq!(started[0]["causationid"], "t-1");

    let event = |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "com.example.nothing" });
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let (status, _, answer) = served.http("POST", "/events", &batch, &json!([event("a"), event("b")]).to_string());
    let ids = json!([{ "source": "/test", "id": "a" }, { "source": "/test", "id": "b" }]);
    assert_eq!((status, serde_json::from_str::<Value>(&answer).unwrap()), (202, ids));
    let (status, _, problem) = served.http("POST", "/events", &batch, &json!([event("c"), {}]).to_string());
    assert_eq!((status, problem.contains("FS-EVENT-ATTRIBUTE")), (400, true), "{problem}");
}

#[test]
fn a_changed_definition_needs_a_new_version_where_it_is_deployed_and_none_in_dev() {
    let folder = Folder::new();
    let definition = |version: &str, value: u8| {
        format!(
            "document: {{ dsl: '1.0.3', namespace: t, name: a, version: '{version}' }}\ndo:\n  - a: {{ set: {{ b: {value} }} }}\n"
        )
    };
    let dir = folder.write("flows/a.yaml", &definition("1.0.0", 1)).replace("/a.yaml", "");
    folder.serve(&dir, &[]).stop();
    folder.write("flows/a.yaml", &definition("1.0.0", 2));
    let data = folder.file("data");
    let again = ["dev", dir.as_str(), "--data", &data, "--http", "off"];
    let deploy = ["deploy", &dir, "--store", &format!("sqlite:{data}/store.db")];
    folder.flagstop(&deploy).exits(2).says(&["error[FS-DEPLOY-CONFLICT]", "raise `document.version`"]);
    let served = folder.serve(&dir, &[]);
    folder.flagstop(&again).exits(2).says(&["error[FS-DEV-BUSY]", "--data PATH"]);
    let taken = served.address.replace("http://", "");
    let other = ["dev", dir.as_str(), "--data", "other", "--http", &taken];
    folder.flagstop(&other).exits(2).says(&["error[FS-HTTP-PORT]", &taken, "--http off"]);
    served.stop();
}

#[test]
fn a_worker_says_when_it_is_ready_and_drains_when_it_is_told_to() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    let mut worker = Command::new(env!("CARGO_BIN_EXE_flagstop"))
        .args(["worker", "--store", &store, "--bus", "embedded:"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(worker.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ready = said.find(|line| line.contains("ready")).unwrap();
    assert!(ready.contains(&format!("store {store}, bus embedded:")), "{ready}");
    assert!(Command::new("kill").arg(worker.id().to_string()).status().unwrap().success());
    assert!(said.any(|line| line.contains("SIGTERM: finishing what is under way")));
    assert_eq!(worker.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_worker_at_once_and_another_one_goes_on_with_what_was_under_way() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let store = folder.store();
    // It takes calls, and keeps the first caller waiting.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flow = format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: slow, version: '1.0.0' }}\nschedule: {{ every: {{ milliseconds: 100 }} }}\ndo:\n  - ask: {{ call: http, with: {{ method: get, endpoint: 'http://{}/x' }} }}\n",
        server.local_addr().unwrap()
    );
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    folder.flagstop(&["deploy", "--store", &store, &folder.write("slow.yaml", &flow)]).exits(0);
    let start = || {
        let mut worker = Command::new(env!("CARGO_BIN_EXE_flagstop"))
            .args(["worker", "--store", &store, "--bus", "embedded:"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(worker.stderr.take().unwrap()).lines().map(Result::unwrap);
        (worker, said)
    };
    let key = |stream: &mut std::net::TcpStream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let text = String::from_utf8(request).unwrap().to_lowercase();
        text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)).unwrap()
    };
    let (mut worker, mut said) = start();
    let (mut waiting, _) = server.accept().unwrap();
    let asked = key(&mut waiting);
    let kill = |worker: &std::process::Child| {
        assert!(Command::new("kill").arg(worker.id().to_string()).status().unwrap().success());
    };
    kill(&worker);
    assert!(said.any(|line| line.contains("SIGTERM: finishing what is under way")));
    assert!(worker.try_wait().unwrap().is_none(), "it waits for the answer");
    kill(&worker);
    assert!(said.any(|line| line.contains("SIGTERM again: leaving at once")));
    assert_eq!(worker.wait().unwrap().code(), Some(3));
    drop(waiting);

    let (mut worker, _said) = start();
    let again = loop {
        let (mut stream, _) = server.accept().unwrap();
        let found = key(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        if found == asked {
            break found;
        }
    };
    assert_eq!(again, asked, "the same call, under the same key");
    worker.kill().unwrap();
    worker.wait().unwrap();
}
