//! A whole way over encrypted connections, with certificates made for the test: Postgres with `verify-full`, RabbitMQ with
//! certificates on both sides, Kafka with SASL/SCRAM. And what happens without the right certificate: nothing is sent in the clear.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Channel, Content, Outgoing};
use flagstop_store::StoreConfig;
use flagstop_tests::onboarding::event;
use flagstop_tests::process::{WorkerProcess, run};
use flagstop_tests::services::unique;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_runs_over_encrypted_postgres_and_rabbitmq() {
    let (postgres, rabbitmq) = tokio::join!(Server::start("postgres"), Server::start("rabbitmq"));
    run_over(&postgres.url, &rabbitmq.url).await;

    let without_authority = postgres.url.replace("&sslrootcert=", "&application_name=");
    let in_the_clear = format!("{}?sslmode=disable", postgres.url.split_once('?').unwrap().0);
    for url in [without_authority, in_the_clear] {
        let store = flagstop_store::open(&url, &StoreConfig::default()).await.unwrap();
        let refused = store.schema().await.expect_err("must be refused").to_string();
        assert!(refused.starts_with("FS-STORE-"), "{refused}");
    }

    let (address, query) = rabbitmq.url.split_once('?').unwrap();
    let authority_only = format!("{address}?{}", query.split('&').next().unwrap());
    for url in [address, &authority_only] {
        let _why = unreachable(url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_runs_over_encrypted_postgres_and_kafka_with_scram() {
    let (postgres, kafka) = tokio::join!(Server::start("postgres"), Server::start("kafka"));
    run_over(&postgres.url, &kafka.url).await;
    for wrong in ["sasl.password=not-", "sasl.username=not-"] {
        let name = &wrong[..wrong.len() - "not-".len()];
        let why = unreachable(&kafka.url.replace(name, wrong)).await;
        assert!(why.contains("refuses the user or the password: correct sasl.username, sasl.password"), "{why}");
    }
    let why = unreachable(&kafka.url.replace("ssl.ca.location=", "client.id=")).await;
    assert!(why.contains("check security.protocol and the certificates (ssl.ca.location"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_for_postgres_says_how_to_mend_it() {
    let postgres = Server::start("postgres").await;
    let url = postgres.url.replace("postgres://postgres@", "postgres://flagstop:s3cret@");
    let store = flagstop_store::open(&url, &StoreConfig::default()).await.unwrap();
    let refused = store.schema().await.expect_err("must be refused").to_string();
    assert!(refused.starts_with("FS-STORE-UNREACHABLE: ") && !refused.contains("s3cret"), "{refused}");
    for part in ["password authentication failed", "correct the password in the URL", "alter role"] {
        assert!(refused.contains(part), "{refused} says {part}");
    }
}

/// A private server with certificates of its own; ended and removed when dropped.
struct Server {
    service: &'static str,
    data: PathBuf,
    url: String,
}

impl Server {
    async fn start(service: &'static str) -> Self {
        let data = std::env::temp_dir().join(unique(&format!("encrypted_{service}")));
        // Before the start, so that one that fails is ended, too.
        let mut server = Self { service, data, url: String::new() };
        let mut start = server.script();
        start.args(["start", "--tls", "--data"]).arg(&server.data);
        let output = tokio::task::spawn_blocking(move || start.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{service} did not start:\n{said}");
        server.url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        server
    }

    fn script(&self) -> Command {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/services").join(self.service))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _best_effort = self.script().args(["remove", "--data"]).arg(&self.data).stderr(Stdio::null()).status();
    }
}

/// Migrates, deploys, starts a worker by the command line, triggers an instance, and sees its end.
async fn run_over(store_url: &str, bus_url: &str) {
    let common = ["--store", store_url];
    let _report = run(&[&["migrate"], &common[..]].concat());
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/echo.yaml");
    let _report = run(&[&["deploy"], &common[..], &[definition.to_str().unwrap()]].concat());
    let mut worker = WorkerProcess::start(&[&common[..], &["--bus", bus_url]].concat());

    let bus = flagstop_bus::open(bus_url, &BusConfig::default()).await.unwrap();
    bus.prepare(true).await.unwrap();
    let mut status = bus.subscribe(Channel::Status).await.unwrap();
    let trigger = Outgoing {
        channel: Channel::In,
        routing_key: "com.example.interop.asked".into(),
        order_key: "one".into(),
        content: Content::Event(Box::new(event("one", "com.example.interop.asked", &json!({ "name": "Jürgen" })))),
    };
    bus.publish(&[trigger]).await.pop().unwrap().unwrap();
    let ended = async {
        loop {
            for message in status.next(100).await {
                let event = flagstop_bus::decode(&message, &flagstop_bus::CodecLimits::default()).unwrap();
                if event.ty.ends_with(".workflow.completed.v1") {
                    return event;
                }
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the instance ends");
    assert_eq!(ended.extensions["businesskey"], json!("one"));
    bus.close().await;
    worker.signal("TERM");
    assert_eq!(worker.wait(), Some(0));
}

async fn unreachable(bus_url: &str) -> String {
    let config = BusConfig { connect_timeout_ms: 2_000, ..BusConfig::default() };
    let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
    let refused = bus.prepare(false).await.expect_err("must be refused").to_string();
    assert!(refused.starts_with("FS-BUS-UNREACHABLE"), "{refused}");
    assert!(!refused.contains("guest:guest") && !refused.contains("not-flagstop"), "no password is shown: {refused}");
    bus.close().await;
    refused
}
