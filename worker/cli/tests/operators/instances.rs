//! `instances list`: finding those that matter among many.

use serde_json::json;

use crate::support::Folder;
use crate::{eventually, publish};

const ORDER: &str = "document:
  dsl: '1.0.3'
  namespace: shop
  name: order
  version: '1.0.0'
  metadata: { flagstop: { businessKey: '${ .key }' } }
schedule: { on: { one: { with: { type: order.placed } } }, read: data }
input: { from: '.[0]' }
do:
  - check:
      if: '${ .broken }'
      raise: { error: { type: https://example.com/out-of-stock, status: 409, title: 'Nothing left of 100% wool' } }
  - rest: { listen: { to: { one: { with: { type: order.paid } } } } }
";

#[test]
fn instances_are_found_by_what_is_known_of_them() {
    let folder = Folder::new();
    folder.write("flows/order.yaml", ORDER);
    folder.write("flows/other.yaml", &ORDER.replace("name: order", "name: other").replace("order.placed", "other"));
    let served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    publish(&folder, &served.address, "order.placed", "1", r#"{"key":"o-1"}"#);
    publish(&folder, &served.address, "order.placed", "2", r#"{"key":"o-2","broken":true}"#);
    publish(&folder, &served.address, "other", "3", r#"{"key":"x-1"}"#);
    let list = ["instances", "list", "--store", &store, "--output", "json"];
    let statuses = |rows: &serde_json::Value| {
        let mut all: Vec<String> = rows.as_array().unwrap().iter().map(|row| row["status"].to_string()).collect();
        all.sort();
        all.join(" ")
    };
    eventually(&folder, &list, "instances-list", |rows| statuses(rows) == r#""faulted" "waiting" "waiting""#);

    let keys = |more: &[&str]| -> Vec<String> {
        let rows = folder.flagstop(&[&list[..], more].concat()).exits(0).json("instances-list");
        let mut keys: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["businessKey"].as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&["--definition", "shop/order"]), ["o-1", "o-2"]);
    assert_eq!(keys(&["--definition", "shop/other@1.0.0"]), ["x-1"]);
    assert_eq!(keys(&["--business-key", "o-1"]), ["o-1"]);
    assert_eq!(keys(&["--status", "waiting", "--definition", "shop/order"]), ["o-1"]);
    assert_eq!(keys(&["--error", "out-of-stock"]), ["o-2"]);
    assert_eq!(keys(&["--error", "100% WOOL"]), ["o-2"], "as text, not as a pattern");
    assert_eq!(keys(&["--error", "100_ wool"]), [""; 0]);
    assert_eq!(keys(&["--older-than", "0s"]).len(), 3);
    assert_eq!(keys(&["--older-than", "1h"]), [""; 0]);
    assert_eq!(keys(&["--idle-for", "2d"]), [""; 0]);
    assert_eq!(keys(&["--aside"]), [""; 0]);
    // Paging goes on behind the last one, under the same filter.
    let page = folder.flagstop(&[&list[..], &["--limit", "2"]].concat()).exits(0).json("instances-list");
    let last = page[1]["id"].as_str().unwrap();
    let rest = folder.flagstop(&[&list[..], &["--after", last]].concat()).exits(0).json("instances-list");
    assert_eq!((page.as_array().unwrap().len(), rest.as_array().unwrap().len()), (2, 1));
    folder.flagstop(&[&list[..], &["--definition", "shop/none"]].concat()).exits(6).says(&["FS-DEFINITION-UNKNOWN"]);
    folder.flagstop(&[&list[..], &["--older-than", "long"]].concat()).exits(2).says(&["`long` is no length of time"]);

    let faulted = folder.flagstop(&[&list[..], &["--status", "faulted"]].concat()).exits(0).json("instances-list");
    let id = faulted[0]["id"].as_str().unwrap();
    let show = ["instances", "show", id, "--store", &store, "--output", "json"];
    let shown = folder.flagstop(&show).exits(0).json("instances-show");
    assert_eq!(shown["error"]["status"], 409);
    assert_eq!(shown["input"], json!([{ "key": "o-2", "broken": true }]));

    // An order goes to one, or to all that fit; to many only with consent.
    let told = |arguments: &[&str]| {
        folder.flagstop(&[&["instances"], arguments, &["--store", &store, "--output", "json"]].concat())
    };
    told(&["cancel", "--status", "waiting"]).exits(2).says(&["error[FS-CONFIRM]", "cancel 2 instances"]);
    told(&["cancel"]).exits(2).says(&["error[FS-ARGUMENTS]", "--definition"]);
    told(&["cancel", "o-1", "--aside"]).exits(2).says(&["error[FS-ARGUMENTS]"]);
    let one = told(&["suspend", "--business-key", "o-1"]).exits(0).json("instances-orders");
    assert_eq!((&one["told"], &one["carriedOut"]), (&json!(1), &json!(1)));
    assert_eq!(keys(&["--status", "suspended"]), ["o-1"]);
    let none = told(&["continue", "--status", "faulted"]).exits(0).json("instances-orders");
    assert_eq!(none["told"], 0, "what the order does not fit is left alone");
    let all = told(&["cancel", "--older-than", "0s", "--yes"]).exits(0).json("instances-orders");
    assert_eq!((&all["told"], all["instances"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(keys(&["--status", "cancelled"]), ["o-1", "x-1"]);

    // A business key means the one that lives; of several that have ended none.
    publish(&folder, &served.address, "order.placed", "4", r#"{"key":"o-1"}"#);
    let waiting = [&list[..], &["--status", "waiting"]].concat();
    let again = eventually(&folder, &waiting, "instances-list", |rows| rows.as_array().unwrap().len() == 1);
    assert_eq!(told(&["show", "o-1"]).exits(0).json("instances-show")["id"], again[0]["id"]);
    told(&["cancel", "o-1"]).exits(0);
    eventually(&folder, &waiting, "instances-list", |rows| rows.as_array().unwrap().is_empty());
    told(&["show", "o-1"]).exits(2).says(&["error[FS-INSTANCE-ID]", "several instances have the business key `o-1`"]);
    assert_eq!(told(&["show", "x-1"]).exits(0).json("instances-show")["status"], "cancelled");
    served.stop();
}

#[test]
fn an_order_that_a_worker_refuses_is_not_called_carried_out() {
    let folder = Folder::new();
    let single = ORDER
        .replace("businessKey: '${ .key }'", "businessKey: '${ .key }', activation: { key: .customer }")
        .replace("name: order", "name: single")
        .replace("raise: { error: { type: https://example.com/out-of-stock, status: 409, title: 'Nothing left of 100% wool' } }", "call: http
      with: { method: get, endpoint: 'http://127.0.0.1:9/' }");
    assert!(single.contains("127.0.0.1:9"));
    folder.write("flows/single.yaml", &single);
    let served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let count = |status: &str, many: usize| {
        let list = ["instances", "list", "--store", &store, "--status", status, "--output", "json"];
        eventually(&folder, &list, "instances-list", |rows| rows.as_array().unwrap().len() == many);
    };
    publish(&folder, &served.address, "order.placed", "1", r#"{"key":"o-1","customer":"c","broken":true}"#);
    count("faulted", 1);
    publish(&folder, &served.address, "order.placed", "2", r#"{"key":"o-2","customer":"c"}"#);
    count("waiting", 1);
    let tell = |arguments: &[&str]| folder.flagstop(&[&["instances"], arguments, &["--store", &store]].concat());
    tell(&["retry", "o-1"]).exits(1).says(&["error[FS-ORDER-REFUSED]", "it is faulted", "activation key"]);
    let many = || tell(&["retry", "--status", "faulted"]).exits(0).stdout;
    assert_eq!(many().trim(), "1 told to retry, 0 carried out so far, 1 refused");
    tell(&["cancel", "o-2"]).exits(0);
    assert_eq!(many().trim(), "1 told to retry, 1 carried out so far");
    served.stop();
}

/// PROTOCOL D9: what became of a call that nobody waited for any more is told, and changes nothing.
#[test]
fn d9_history_and_why_tell_of_an_answer_that_came_too_late() {
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = slow.local_addr().unwrap();
    std::thread::spawn(move || {
        for caller in slow.incoming() {
            let mut caller = caller.unwrap();
            std::thread::sleep(std::time::Duration::from_secs(1));
            std::io::Write::write_all(&mut caller, b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    let folder = Folder::new();
    let cut = format!(
        "document: {{ dsl: '1.0.3', namespace: shop, name: cut, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: order.placed }} }} }} }}
do:
  - pay: {{ call: http, timeout: {{ after: {{ milliseconds: 100 }} }}, with: {{ method: post, endpoint: 'http://{address}/' }} }}
"
    );
    folder.write("flows/cut.yaml", &cut);
    let served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    publish(&folder, &served.address, "order.placed", "1", "{}");
    let list = ["instances", "list", "--store", &store, "--status", "faulted", "--output", "json"];
    let rows = eventually(&folder, &list, "instances-list", |rows| rows.as_array().unwrap().len() == 1);
    let id = rows[0]["id"].as_str().unwrap();
    for command in ["history", "why"] {
        let shown = || folder.flagstop(&["instances", command, id, "--store", &store]).exits(0).stdout;
        let is_told = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            shown().contains("HTTP 202")
        });
        assert!(is_told && shown().contains("/do/0/pay"), "{command}:\n{}", shown());
    }
    served.stop();
}
