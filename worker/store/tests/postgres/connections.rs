//! What a batch costs, and what becomes of connections that break.

use std::sync::Arc;

use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{Counters, Group, LoadRequest, LookRequest, StoreError};
use flagstop_store::postgres::PostgresStore;
use flagstop_store::{Store, StoreConfig};

use crate::server::{Schema, url};

/// Whatever a batch's size: one round trip to load, one to commit, one to look.
#[tokio::test]
async fn a_batch_of_any_size_costs_three_round_trips() {
    let store = Schema::new("round trips").await.migrated().await;
    for size in [1, 10, 200] {
        let names: Vec<String> = (0..size).map(|n| format!("{size}.{n}")).collect();
        let keys: Vec<_> = names.iter().map(|name| hash(name)).collect();
        let since = |before: Counters| {
            let now = store.counters();
            (now.commits - before.commits, now.statements - before.statements, now.round_trips - before.round_trips)
        };
        let before = store.counters();
        let instances = names.iter().map(|name| id(name)).collect();
        store.load(&LoadRequest { messages: keys.clone(), keys: keys.clone(), instances }).await.unwrap();
        assert_eq!(since(before), (0, 1, 1), "load of {size}");

        let before = store.counters();
        let groups = names.iter().map(|name| {
            let waits = with(hearing(name, 0, &[name]), |write| {
                write.bookmarks.add = vec![bookmark(name, 1)];
                write.effects.add = vec![effect(1)];
            });
            Group { post: vec![mail(name, "x")], park: vec![parked(name, name)], dead: vec![letter(name)], ..waits }
        });
        apply(&store, groups.collect()).await;
        assert_eq!(since(before), (1, 1, 1), "commit of {size}");

        let before = store.counters();
        let meetings = store.look(&LookRequest { parked: keys.clone(), bookmarks: keys }).await.unwrap();
        assert_eq!(meetings.len(), size);
        assert_eq!(since(before), (0, 1, 1), "look of {size}");
    }
}

/// The server ends all connections, as at a restart: one call fails as unreachable, the next ones connect anew.
#[tokio::test]
async fn broken_connections_are_replaced() {
    let schema = Schema::new("broken connections").await;
    schema.migrated().await;
    let named = format!("{}?application_name={}", url(), schema.0);
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&named, &schema.config()).unwrap());
    futures_util::future::join_all((0..4).map(|_| load(&store, &[]))).await;
    let mut other = schema.session().await;
    let mine = format!("from pg_stat_activity where application_name = '{}'", schema.0);
    let ended = other.ask(&format!("select pg_terminate_backend(pid) {mine}")).await.len();
    assert!(ended > 1, "several connections at once");
    while !other.ask(&format!("select {mine}")).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let error = store.load(&LoadRequest::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    for _ in 0..ended {
        store.load(&LoadRequest::default()).await.unwrap();
    }
}

/// No server at the URL: unreachable, with the URL and without its password.
#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let store = PostgresStore::open("postgres://u:secret@127.0.0.1:1/nothing", &StoreConfig::default()).unwrap();
    let error = store.load(&LoadRequest::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// A closed store refuses, and hangs nowhere.
#[tokio::test]
async fn a_closed_store_refuses_calls() {
    let store = Schema::new("closed").await.migrated().await;
    store.close().await;
    assert!(matches!(store.load(&LoadRequest::default()).await, Err(StoreError::Unreachable(_))));
    store.close().await;
}
