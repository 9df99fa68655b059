//! What an orchestrator and a monitor see of a worker, and of `dev`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Folder, Outcome, example};

/// A worker process; killed with the test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The value of a metric without labels.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in:\n{text}")).parse().unwrap()
}

#[test]
fn dev_serves_health_and_metrics_beside_its_events() {
    let folder = Folder::new();
    let secrets = folder.write("secrets.yaml", "hr: { url: 'http://127.0.0.1:1', token: t }\n");
    let mut served = folder.serve(&example(), &["--secrets", &secrets]);
    assert_eq!(served.http("GET", "/healthz/live", &[], "").0, 200);
    let report = folder.flagstop(&["healthcheck", "--http", &served.address, "--output", "json"]).exits(0);
    assert_eq!(report.json("healthcheck")["ready"], true);

    let (status, kind, before) = served.http("GET", "/metrics", &[], "");
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metric(&before, "flagstop_transitions_total"), 0.0);
    let (store_up, bus_up) = (metric(&before, "flagstop_store_up"), metric(&before, "flagstop_bus_up"));
    assert_eq!((store_up, bus_up), (1.0, 1.0));
    assert_eq!(metric(&before, "flagstop_shards_held"), 64.0);
    let data = r#"{"employeeId":"e-7","firstName":"Grace","lastName":"Hopper"}"#;
    let event = ["publish", "--http", &served.address, "--type", "com.example.employee.hired", "--data", data];
    folder.flagstop(&event).exits(0);
    served.until("io.serverlessworkflow.workflow.correlation-started.v1");
    let after = served.http("GET", "/metrics", &[], "").2;
    assert!(metric(&after, "flagstop_transitions_total") > 0.0, "{after}");
    // The store is counted through beside it, by one worker, for whoever asks later.
    let counted = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        served.http("GET", "/metrics", &[], "").2.contains("flagstop_workers 1\n")
    });
    assert!(counted);
    assert!(metric(&after, "flagstop_messages_total") >= 1.0, "{after}");

    let (status, _, nothing) = served.http("GET", "/health", &[], "");
    assert_eq!((status, nothing.contains("FS-HTTP-PATH")), (404, true));
    served.stop();
}

#[test]
fn a_worker_says_when_it_is_ready_and_when_it_is_told_to_stop() {
    let folder = Folder::new();
    let (store, bus) = (folder.store(), format!("embedded:{}", folder.file("bus.db")));
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    folder.flagstop(&["deploy", "--store", &store, &example()]).exits(0);
    let arguments = ["worker", "--store", &store, "--bus", &bus, "--http", "127.0.0.1:0"];
    let mut worker = Worker(folder.spawn(&arguments, Stdio::null()));
    let mut lines = BufReader::new(worker.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.split_once("metrics at ").map(|(_, address)| address.to_owned())).unwrap();
    lines.find(|line| line.contains("ready: store")).expect("it becomes ready");
    let ready = || folder.flagstop(&["healthcheck", "--http", &address, "--output", "json"]);
    assert_eq!(ready().exits(0).json("healthcheck")["ready"], true);
    let table = folder.flagstop(&["healthcheck", "--http", &address]).exits(0).stdout;
    assert_eq!(table, "store      ok\nbus        ok\ncatalogue  ok\nworker     ok\n");

    assert!(Command::new("kill").args(["-TERM", &worker.0.id().to_string()]).status().unwrap().success());
    lines.find(|line| line.contains("SIGTERM")).expect("it is told");
    // Until it is gone, it says that it takes nothing more.
    let gone = loop {
        let Outcome { code, stdout, .. } = ready();
        match code {
            Some(1) => assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["checks"][3]["ok"], false),
            Some(5) => break true,
            other => assert_eq!(other, Some(0), "{stdout}"),
        }
    };
    assert!(gone && worker.0.wait().unwrap().success());
}

#[test]
fn a_worker_s_port_and_the_address_of_a_health_check_are_checked() {
    let folder = Folder::new();
    let (store, bus) = (folder.store(), "embedded:");
    let worker = |http: &str| folder.flagstop(&["worker", "--store", &store, "--bus", bus, "--http", http]);
    worker("nine").exits(2).says(&["error[FS-HTTP-ADDR]", "127.0.0.1:8080"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    worker(&taken.local_addr().unwrap().to_string()).exits(2).says(&["error[FS-HTTP-PORT]"]);
    folder.flagstop(&["healthcheck", "--http", "nowhere"]).exits(2).says(&["error[FS-HTTP-URL]"]);
    folder.flagstop(&["healthcheck", "--http", "http://127.0.0.1:1"]).exits(5).says(&["error[FS-HTTP-UNREACHABLE]"]);
}
