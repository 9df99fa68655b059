//! Partitions by the day: what only Postgres can get wrong around midnight, after a long rest, with little rights, and when
//! an older schema is brought up.

use std::sync::Arc;

use flagstop_store::Store;
use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{Batch, Keep, SchemaState, Verdict};
use flagstop_store::postgres::PostgresStore;
use sqlx::Row as _;

use crate::server::{Schema, url};

const DAY_US: i64 = 86_400_000_000;

/// Everything is older than this.
const NOTHING_KEPT: Option<i64> = Some(-10 * DAY_US);

/// A store whose transactions take place at a moment of their own: the schema's clock asks the connection's name.
fn store_at(schema: &Schema, name: &str) -> Arc<dyn Store> {
    let mut url = url::Url::parse(&url()).unwrap();
    url.query_pairs_mut().append_pair("application_name", name);
    Arc::new(PostgresStore::open(url.as_str(), &schema.config()).unwrap())
}

/// `late` begins first, waits for a row, and so does not see what `early` commits meanwhile: the same message. One of the two
/// says it is a duplicate, though each takes place on another day.
async fn one_of_two(case: &str, early: &str, late: &str) {
    let schema = Schema::new(case).await;
    schema.migrated().await;
    let mut other = schema.session().await;
    other
        .run(
            "create or replace function now_us() returns bigint language sql volatile as $$
               select case current_setting('application_name')
                 when 'before' then 20000 * 86400000000 - 1000000 when 'after' then 20000 * 86400000000 + 1000000
                 else (extract(epoch from clock_timestamp()) * 1000000)::bigint end $$",
        )
        .await;
    let (early, late) = (store_at(&schema, early), store_at(&schema, late));
    apply(&early, vec![group("a", 0), group("b", 0)]).await;
    // Connected before: within a transaction a session does not learn of new ones.
    assert_eq!(revision(&late, "b").await, 1);
    other.run("begin").await;
    other.run(&format!("select from instances where id = '{}' for update", id("b"))).await;
    let waiting = tokio::spawn(async move {
        let verdicts = late.commit(&Batch { worker: None, groups: vec![hearing("b", 1, &["m"])] }).await.unwrap();
        // Another time: now it is seen whatever day it is.
        assert_eq!(commit_one(&late, hearing("b", 1, &["m"])).await, Verdict::Duplicate(vec![hash("m")]));
        verdicts
    });
    other.until_it_blocks().await;
    apply(&early, vec![hearing("a", 1, &["m"])]).await;
    other.run("commit").await;
    assert_eq!(waiting.await.unwrap(), [Verdict::Duplicate(vec![hash("m")])]);
    let days: Vec<i32> = other.ask("select day from inbox order by day").await.iter().map(|row| row.get(0)).collect();
    assert_eq!(days, [19_999, 20_000], "near midnight a message stands in both days");
}

#[tokio::test]
async fn d2_two_transactions_on_both_sides_of_midnight_do_not_both_consume_a_message() {
    one_of_two("midnight, later one waits", "before", "after").await;
    one_of_two("midnight, earlier one waits", "after", "before").await;
}

/// At any other time a message stands in one day alone.
#[tokio::test]
async fn a_message_is_written_once_when_midnight_is_far() {
    let schema = Schema::new("noon").await;
    let store = schema.migrated().await;
    let mut other = schema.session().await;
    other
        .run("create or replace function now_us() returns bigint language sql volatile as 'select 20000 * 86400000000 + 43200000000'")
        .await;
    apply(&store, vec![hearing("a", 0, &["m1", "m2"])]).await;
    assert_eq!(other.ask("select from inbox").await.len(), 2);
}

/// No worker has run for so long that there are no partitions any more: the first commit makes them.
#[tokio::test]
async fn the_first_commit_after_a_long_rest_makes_its_partitions() {
    let schema = Schema::new("long rest").await;
    let store = schema.migrated().await;
    let gone = store
        .retire(&Keep { inbox_us: NOTHING_KEPT, journal_us: NOTHING_KEPT, ..Keep::default() }, None, 100)
        .await
        .unwrap();
    assert!(gone.inbox > 3 && gone.journal > 3, "{gone:?}");
    let mut other = schema.session().await;
    assert!(other.ask("select from pg_inherits where inhparent = 'inbox'::regclass").await.is_empty());
    apply(&store, vec![hearing("a", 0, &["m"]), hearing("b", 0, &["n"])]).await;
    assert!(seen(&store, "m").await && seen(&store, "n").await);
}

/// Days of the journal go when every shard's relay has read them, and not before; those of the inbox go by age alone.
#[tokio::test]
async fn d13_a_day_of_the_journal_goes_when_every_relay_has_read_it() {
    let schema = Schema::new("journal days").await;
    let store = schema.migrated().await;
    store.beat(worker(1), LONG_US).await.unwrap();
    apply(&store, (0..20).map(|n| hearing(&format!("i{n}"), 0, &[&format!("m{n}")])).collect()).await;
    let keep = Keep { inbox_us: NOTHING_KEPT, journal_us: NOTHING_KEPT, ..Keep::default() };
    store.retire(&keep, None, 100).await.unwrap();
    assert!(!seen(&store, "m0").await, "the inbox goes by its age");
    assert_eq!(history(&store, "i0").await.len(), 1, "its relay has not read it");
    assert_eq!(drain(&store, worker(1), 3).await.len(), 20, "and still reads it");
    store.retire(&keep, None, 100).await.unwrap();
    assert!(history(&store, "i0").await.is_empty());
    apply(&store, (0..20).map(|n| group(&format!("i{n}"), 1)).collect()).await;
    assert_eq!(drain(&store, worker(1), 3).await.len(), 20, "the relay goes on");
}

/// A clock that is set back by hours writes into the day before: the relay finds it there.
#[tokio::test]
async fn d14_rows_of_a_clock_that_was_set_back_are_not_skipped() {
    let schema = Schema::new("clock set back").await;
    let store = schema.migrated().await;
    let mut other = schema.session().await;
    let at = |us: i64| {
        format!("create or replace function now_us() returns bigint language sql volatile as 'select {us}::bigint'")
    };
    store.beat(worker(1), LONG_US).await.unwrap();
    other.run(&at(20_000 * DAY_US + 1)).await;
    apply(&store, vec![group("a", 0)]).await;
    assert_eq!(drain(&store, worker(1), 100).await.len(), 1);
    other.run(&at(20_000 * DAY_US - 7_200_000_000)).await;
    apply(&store, vec![group("a", 1)]).await;
    assert_eq!(drain(&store, worker(1), 100).await.len(), 1);
}

/// The rights that docs/operations.md gives a worker's role are enough for all that a worker does, and no more is given than
/// is said there: it can't make tables, nor migrate.
#[tokio::test]
async fn a_workers_role_needs_what_the_operators_guide_grants_and_no_more() {
    let schema = Schema::new("roles").await;
    let url = schema.role("").await;
    schema.migrated().await;
    let guide = include_str!("../../../../docs/operations.md");
    let grants = guide.split("<!-- worker role -->").nth(1).expect("the guide has the grants between two marks");
    let grants = grants.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of SQL");
    let grants =
        grants.replace("flagstop_worker", &schema.0).replace("schema flagstop", &format!("schema {}", schema.0));
    schema.session().await.run(&grants).await;

    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url, &schema.config()).unwrap());
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    assert!(store.migrate().await.unwrap().is_empty(), "nothing is missing");
    store.beat(worker(1), LONG_US).await.unwrap();
    let everything = with(hearing("a", 0, &["m"]), |write| {
        write.bookmarks.add = vec![bookmark("k", 1)];
        write.effects.add = vec![effect(1)];
    });
    commit_as(&store, Some(worker(1)), vec![everything, parking("e", "k2")]).await;
    drain(&store, worker(1), 10).await;
    let all =
        Keep { inbox_us: NOTHING_KEPT, journal_us: NOTHING_KEPT, letters_us: NOTHING_KEPT, instances_us: NOTHING_KEPT };
    assert!(store.retire(&all, None, 100).await.unwrap().journal > 0);
    apply(&store, vec![group("b", 0)]).await;
    store.leave(worker(1)).await.unwrap();

    let mut mine = schema.session().await;
    mine.run(&format!("set role {}", schema.0)).await;
    for refused in ["create table mine ()", "drop table inbox", "insert into flagstop_migrations values (99, 'x', 0)"] {
        let error = mine.refused(refused).await;
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{refused}: {error}");
    }
}

/// What an older schema holds is still there when it is brought up: messages are known, histories shown, and the relay goes on.
#[tokio::test]
async fn an_older_schema_is_brought_up_with_its_rows() {
    let schema = Schema::new("older schema").await;
    let mut other = schema.session().await;
    other.run(&format!("create schema {}", schema.0)).await;
    other
        .run("create table flagstop_migrations (version bigint primary key, name text not null, at_us bigint not null)")
        .await;
    for (version, text) in [
        (1, include_str!("../../src/postgres/migrations/0001_first.sql")),
        (2, include_str!("../../src/postgres/migrations/0002_language.sql")),
    ] {
        other.run(text).await;
        other.run(&format!("insert into flagstop_migrations values ({version}, 'old', 0)")).await;
    }
    for age_days in 0..40 {
        let at_us = format!("((extract(epoch from now()) - {age_days} * 86400) * 1000000)::bigint");
        let (message, instance) = (hash(&format!("m{age_days}")).0, id(&format!("i{age_days}")));
        other.run(&format!("insert into inbox values ('{message}', {at_us})")).await;
        other
            .run(&format!(
                "insert into instances (id, created_us, updated_us, definition, revision, status, state)
                 values ('{instance}', {at_us}, {at_us}, 1, 1, 1, '');
                 insert into journal (at_us, instance, revision, definition, shard, events)
                 values ({at_us}, '{instance}', 1, 1, {}, 'old')",
                id(&format!("i{age_days}")).shard(64)
            ))
            .await;
    }
    let store = schema.store();
    assert_eq!(store.migrate().await.unwrap(), ["0003_worker", "0004_lists"]);
    assert!(seen(&store, "m0").await && seen(&store, "m39").await);
    assert_eq!(history(&store, "i39").await[0].events, "old");
    apply(&store, vec![hearing("i0", 1, &["new"])]).await;
    assert_eq!(history(&store, "i0").await.len(), 2);
    store.beat(worker(1), LONG_US).await.unwrap();
    assert_eq!(drain(&store, worker(1), 7).await.len(), 41, "none of it had been published");
    let keep = Keep { inbox_us: Some(8 * DAY_US), journal_us: Some(30 * DAY_US), ..Keep::default() };
    for _ in 0..5 {
        store.retire(&keep, None, 100).await.unwrap();
    }
    assert!(seen(&store, "m7").await && !seen(&store, "m9").await);
    assert!(history(&store, "i39").await.is_empty() && history(&store, "i28").await.len() == 1);
}
