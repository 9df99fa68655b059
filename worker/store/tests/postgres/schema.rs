//! Migrations and what the schema says of itself (PROTOCOL D16).

use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{SchemaState, StoreError};
use flagstop_store::postgres::PostgresStore;
use flagstop_store::{Store as _, StoreConfig, open};

use crate::server::{Schema, url};

/// Several workers start at once on an empty database: one migrates, all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_migrations_run_each_step_once() {
    let schema = Schema::new("racing migrations").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = schema.store();
        tasks.spawn(async move {
            let done = store.migrate().await.unwrap();
            (done, store.schema().await.unwrap())
        });
    }
    let results = tasks.join_all().await;
    let mut done: Vec<_> = results.iter().flat_map(|(done, _)| done.clone()).collect();
    done.sort();
    assert_eq!(done, ["0001_first", "0002_language", "0003_worker", "0004_lists"]);
    assert!(results.iter().all(|(_, state)| *state == SchemaState::Current));
    let shards = schema.session().await.ask("select from relay_cursor").await.len();
    assert_eq!(shards, 64);
}

/// D16: behind, current and ahead, each with what to do about it.
#[tokio::test]
async fn d16_the_schema_says_who_may_run_on_it() {
    let schema = Schema::new("d16 states").await;
    let with_password = url().replacen("postgres@", "postgres:secret@", 1);
    assert!(with_password.contains("secret"), "the tests' URL names its user `postgres`");
    let store = PostgresStore::open(&with_password, &schema.config()).unwrap();

    let SchemaState::Behind(what) = store.schema().await.unwrap() else { panic!("an empty schema is not behind") };
    assert!(what.contains("0001_first") && what.contains("`flagstop migrate --store postgres://"), "{what}");
    assert!(!what.contains("secret"), "{what}");
    let error = store.load(&Default::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(what) if what.contains("flagstop migrate --store")), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");

    assert_eq!(store.migrate().await.unwrap(), ["0001_first", "0002_language", "0003_worker", "0004_lists"]);
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    assert!(store.migrate().await.unwrap().is_empty());

    schema.session().await.run("update meta set value = 99 where name = 'oldest_build'").await;
    let SchemaState::Ahead(what) = store.schema().await.unwrap() else { panic!("a newer schema is not ahead") };
    assert!(what.contains("99") && what.contains("newer flagstop"), "{what}");
}

/// An administrator made the schema; the URL's user may make nothing else in the database.
#[tokio::test]
async fn migrating_needs_no_right_to_make_schemas_when_the_schema_is_there() {
    let schema = Schema::new("schema made before").await;
    let url = schema.role("").await;
    let store = PostgresStore::open(&url, &schema.config()).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied(what) if what.contains("grant it")), "{error}");
    schema.session().await.run(&format!("create schema {0} authorization {0}", schema.0)).await;
    assert_eq!(store.migrate().await.unwrap(), ["0001_first", "0002_language", "0003_worker", "0004_lists"]);
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    schema.session().await.run(&format!("revoke create on schema {0} from {0}", schema.0)).await;
    assert!(store.migrate().await.unwrap().is_empty(), "to look whether anything is missing is no writing");
}

/// Two deployments share a database, each in its own schema.
#[tokio::test]
async fn two_schemas_in_one_database_see_nothing_of_each_other() {
    let (one, two) = (Schema::new("first of two").await.migrated().await, Schema::new("second of two").await);
    let store = open(&url(), &two.config()).await.unwrap();
    assert!(matches!(store.schema().await.unwrap(), SchemaState::Behind(_)));
    store.migrate().await.unwrap();
    apply(&one, vec![group("a", 0)]).await;
    assert_eq!(revision(&store, "a").await, 0);
}

/// Bad settings and URLs are refused with their names and what they must be, before anything is connected.
#[tokio::test]
async fn settings_and_urls_that_cannot_be_right_are_refused() {
    let refused = |config: StoreConfig| config.check().unwrap_err();
    for schema in ["", "a b", "x\";drop schema public", "Upper", "pg_mine", "1st", &"x".repeat(64)] {
        let why = refused(StoreConfig { schema: schema.to_owned(), ..StoreConfig::default() });
        assert!(why.contains("store.schema"), "{why}");
    }
    let why = refused(StoreConfig { connections_max: 0, ..StoreConfig::default() });
    assert!(why.contains("store.connections_max"), "{why}");
    let why = refused(StoreConfig { lock_timeout_ms: 20_000, ..StoreConfig::default() });
    assert!(why.contains("store.lock_timeout_ms"), "{why}");
    for (url, named) in
        [("mysql://u:secret@h/d", "mysql"), ("postgres://u:secret@h:99999/d", "postgres"), ("nothing", "nothing")]
    {
        let error = open(url, &StoreConfig::default()).await.unwrap_err();
        assert!(matches!(&error, StoreError::Url(what) if what.contains(named)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
