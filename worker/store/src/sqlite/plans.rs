//! Guards the hot path: none of its statements may read through a whole table, whatever grows.

#![allow(clippy::unwrap_used)]

use super::connection::Command;
use super::{SqliteStore, commit, leases, lists, load, relay, write};
use crate::port::Store as _;
use sqlx::Row as _;

/// What a plan may scan: the parameters (`j`), what the statement itself has made, the 64 shards (`s`), and the end of the
/// journal: `ORDER BY seq DESC LIMIT 1` is called a scan, too, and stops at the first row.
const SMALL: [&str; 14] =
    ["j", "json_each", "CONSTANT", "hit", "who", "page", "held", "h", "s", "journal", "holder", "gone", "few", "pair"];

#[tokio::test]
async fn no_statement_of_the_hot_path_reads_through_a_table() {
    let store = SqliteStore::memory().await.unwrap();
    store.migrate().await.unwrap();
    let facts = commit::BEGIN_AND_FACTS.trim_start().strip_prefix("BEGIN IMMEDIATE;").unwrap();
    let reading = [
        load::LOAD,
        load::LOOK,
        load::SWEEP,
        load::DUE,
        load::DUE_SCHEDULES,
        relay::READ,
        leases::LEFT,
        leases::HELD,
        facts,
    ];
    for statement in reading.into_iter().chain(write::STATEMENTS) {
        let explain = Command::made(format!("EXPLAIN QUERY PLAN {statement}"), 1);
        let rows = store.connections.read(explain).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let scans = plan.iter().filter_map(|step| step.strip_prefix("SCAN "));
        let large: Vec<_> = scans
            .filter(|scan| !scan.starts_with("(subquery"))
            .filter(|scan| !SMALL.contains(&scan.split(' ').next().unwrap_or_default()))
            .collect();
        assert!(large.is_empty(), "{statement}\nscans {large:?}");
        assert!(!plan.iter().any(|step| step.contains("AUTOMATIC")), "{statement}\n{plan:?}");
        let whole_key = plan.iter().any(|step| step.contains("due_us=? AND instance=? AND slot=?"));
        assert!(!statement.contains("DELETE FROM timers") || whole_key, "many timers may be due at once: {plan:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_list_is_one_range_in_the_order_of_an_index() {
    let store = SqliteStore::memory().await.unwrap();
    store.migrate().await.unwrap();
    for statement in [lists::INSTANCES, lists::LETTERS, lists::UNHEARD] {
        let explain = Command::made(format!("EXPLAIN QUERY PLAN {statement}"), 1);
        let rows = store.connections.read(explain).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "it sorts: {statement}\n{plan:?}");
        let range = ["created_us<?", "at_us<?", "rowid<?"];
        assert!(plan.iter().any(|step| range.iter().any(|range| step.contains(range))), "{statement}\n{plan:?}");
    }
    let explain = Command::made(format!("EXPLAIN QUERY PLAN {}", lists::UNHEARD_OF), 1);
    let rows = store.connections.read(explain).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert!(plan.iter().any(|step| step.contains("SEARCH parked USING") && step.contains("id=?")), "{plan:?}");
}
