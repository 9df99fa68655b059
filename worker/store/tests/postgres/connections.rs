//! What a batch costs, and what becomes of connections that break.

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{
    Batch, Counters, Group, InstanceFilter, JournalFrom, LetterFilter, LoadRequest, LookRequest, ParkedFilter,
    StoreError, Verdict,
};
use flagstop_store::postgres::PostgresStore;
use flagstop_store::rows::{MailRow, TimerRow};
use flagstop_store::{Store, StoreConfig};
use sqlx::Row as _;

use crate::server::{Schema, Session, url};

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
        store
            .load(&LoadRequest { messages: keys.clone(), keys: keys.clone(), instances, ..LoadRequest::default() })
            .await
            .unwrap();
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
        let meetings =
            store.look(&LookRequest { parked: keys.clone(), bookmarks: keys, ..LookRequest::default() }).await.unwrap();
        assert_eq!(meetings.len(), size);
        assert_eq!(since(before), (0, 1, 1), "look of {size}");
    }
}

/// What Postgres has read of each table so far, in rows; counted at the end of a session.
async fn rows_read(other: &mut Session) -> BTreeMap<String, i64> {
    let text = "select relname::text, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables \
                where schemaname = current_schema()";
    other.ask(text).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The tables are full of others' rows: a batch reads its own, not theirs. Before and after the database has counted its
/// tables, which changes its plans.
#[tokio::test]
async fn a_batch_reads_its_own_rows_however_full_the_tables_are() {
    const OTHERS: i64 = 3_000;
    let schema = Schema::new("full tables").await;
    let filler = schema.migrated().await;
    let busy = |name: &str| {
        let waits = with(hearing(name, 0, &[name]), |write| {
            write.bookmarks.add = vec![bookmark(name, 1)];
            write.timers.add = vec![TimerRow { due_us: i64::MAX / 2, slot: 1 }];
            write.effects.add = vec![effect(1)];
        });
        Group { post: vec![mail(name, "x")], park: vec![parked(name, &format!("{name} early"))], ..waits }
    };
    filler.beat(worker(1), LONG_US).await.unwrap();
    for batch in 0..OTHERS / 500 {
        let names: Vec<_> = (0..500).map(|n| format!("other {batch}.{n}")).collect();
        let groups = names.iter().map(|name| busy(name)).collect();
        assert!(commit_as(&filler, Some(worker(1)), groups).await.iter().all(|verdict| *verdict == Verdict::Applied));
    }
    drain(&filler, worker(1), 1_000).await;
    filler.close().await;

    let mut other = schema.session().await;
    for (round, prepare) in ["select 1", "analyze"].into_iter().enumerate() {
        other.run(prepare).await;
        let read = counted(&schema, &mut other, async |store| {
            let names: Vec<_> = (0..10).map(|n| format!("mine {round}.{n}")).collect();
            let keys: Vec<_> = names.iter().map(|name| hash(name)).collect();
            apply(&store, names.iter().map(|name| busy(name)).collect()).await;
            let instances = names.iter().map(|name| id(name)).collect();
            let loaded = store
                .load(&LoadRequest { messages: keys.clone(), keys: keys.clone(), instances, ..LoadRequest::default() })
                .await
                .unwrap();
            assert_eq!((loaded.instances.len(), loaded.mail.len()), (10, 10));
            let second = names.iter().map(|name| {
                let mine = |row: &&MailRow| row.instance == id(name);
                let on = with(group(name, 1), |write| {
                    write.bookmarks.drop = vec![bookmark(name, 1)];
                    write.timers.drop = vec![TimerRow { due_us: i64::MAX / 2, slot: 1 }];
                    write.effects.drop = vec![effect(1)];
                });
                let mail = loaded.mail.iter().filter(mine).map(|row| row.id).collect();
                Group { mail, claims: vec![parked(name, "").id], ..on }
            });
            apply(&store, second.collect()).await;
            store.look(&LookRequest { parked: keys.clone(), bookmarks: keys, ..LookRequest::default() }).await.unwrap();
            let all: Vec<i16> = (0..64).collect();
            assert!(store.due_timers(&all, None, 100).await.unwrap().is_empty());
            assert_eq!(drain(&store, worker(1), 1_000).await.len(), 20);
            assert_eq!(store.adopt(worker(2), 100).await.unwrap(), [], "a living worker's effects are left alone");
            store.held(worker(2)).await.unwrap();
            for _ in 0..5 {
                assert!(read(&store, worker(1), 1_000).await.is_empty());
            }
        });
        for (table, rows) in read.await {
            // The cursors are one row per shard, and read by every poll.
            let bound = if table == "relay_cursor" { 64 * 20 } else { 200 };
            assert!(rows <= bound, "{rows} rows of {table} were read for a batch of 10, round {round}");
        }
    }
}

/// A store that is given up at once, so that Postgres has counted what its calls have read.
pub async fn counted(
    schema: &Schema,
    other: &mut Session,
    calls: impl AsyncFnOnce(Arc<dyn Store>),
) -> BTreeMap<String, i64> {
    let before = rows_read(other).await;
    let named = format!("{}?application_name={}", url(), schema.0);
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&named, &schema.config()).unwrap());
    calls(store.clone()).await;
    store.close().await;
    let open = format!("select from pg_stat_activity where application_name = '{}'", schema.0);
    while !other.ask(&open).await.is_empty() {
        tokio::task::yield_now().await;
    }
    rows_read(other).await.into_iter().map(|(table, rows)| (table.clone(), rows - before[&table])).collect()
}

/// The sweep and the lists of people go on where the last page ended: all pages together read each row about once, also with
/// filters that nearly all rows fit.
#[tokio::test]
async fn a_page_is_read_from_its_beginning_not_from_the_tables() {
    let schema = Schema::new("pages").await;
    let filler = schema.migrated().await;
    for batch in 0..30 {
        let names: Vec<_> = (0..10).map(|n| format!("{batch}.{n}")).collect();
        apply(&filler, names.iter().map(|name| group(name, 0)).collect()).await;
        let early = |name: &String| Group { dead: vec![letter(name)], ..parking(name, name) };
        apply(&filler, names.iter().map(early).collect()).await;
    }
    filler.close().await;
    let mut other = schema.session().await;
    let read = counted(&schema, &mut other, async |store| {
        let (mut after, mut swept) = (None, 0);
        loop {
            after = store.sweep(after, 10).await.unwrap().1;
            swept += 1;
            if after.is_none() {
                break;
            }
        }
        assert!(swept >= 30);
        let (mut after, mut listed) = (None, 0);
        loop {
            let page =
                store.list_instances(&InstanceFilter { limit: 10, after, ..InstanceFilter::default() }).await.unwrap();
            listed += page.len();
            after = page.last().map(|row| row.id);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, 300);
        for code in [None, Some("FS-TEST".to_owned())] {
            let (mut after, mut listed) = (None, 0);
            loop {
                let filter = LetterFilter { code: code.clone(), after, limit: 10 };
                let page = store.list_dead_letters(&filter).await.unwrap();
                listed += page.len();
                after = page.last().map(|letter| letter.id);
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed, 300);
        }
        for event_type in [None, Some("com.example.early".to_owned())] {
            let (mut after, mut listed) = (None, 0);
            loop {
                let filter = ParkedFilter { event_type: event_type.clone(), after, limit: 10, ids: Vec::new() };
                let page = store.parked(&filter).await.unwrap();
                listed += page.len();
                after = page.last().map(|row| row.parked.id);
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed, 300);
        }
    });
    let read = read.await;
    // A page reads the moment again in which the last one ended, and that one's last row.
    let list = 300 + 31 * 22;
    assert!(read["parked"] <= 300 + 2 * list, "{} rows of parked for a sweep and 2 lists of 300", read["parked"]);
    assert!(read["instances"] <= list, "{} rows of instances for 300", read["instances"]);
    assert!(read["dead_letters"] <= 2 * list, "{} rows of letters for 2 lists of 300", read["dead_letters"]);
}

/// A list of the newest events costs what it shows, however long the journal is; and so does the tail's beginning.
#[tokio::test]
async fn the_journals_end_is_read_without_what_is_before_it() {
    let schema = Schema::new("journal end").await;
    let filler = schema.migrated().await;
    for batch in 0..60 {
        apply(&filler, (0..100).map(|n| group(&format!("{batch}.{n}"), 0)).collect()).await;
    }
    filler.close().await;
    let mut other = schema.session().await;
    let read = counted(&schema, &mut other, async |store| {
        let page = store.journal_end(None, 100).await.unwrap();
        assert!(page.full && page.rows.len() >= 100 && page.rows.len() < 2_000, "{}", page.rows.len());
        let from = JournalFrom { place: Some(page.place), limit: 6_400, ..JournalFrom::default() };
        assert_eq!(store.journal(&from).await.unwrap().rows, page.rows);
        assert!(store.journal_end(None, 0).await.unwrap().rows.is_empty());
    });
    let read: i64 = read.await.iter().filter(|(table, _)| table.starts_with("journal")).map(|(_, rows)| rows).sum();
    assert!(read <= 3_000, "{read} rows of 6000 were read to show some hundreds, and these once more");
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

/// After a failover an old connection may still lead to what is now a standby: a call that is told so fails as
/// unreachable, and the next one connects anew.
#[tokio::test]
async fn a_connection_that_became_read_only_is_not_used_again() {
    let schema = Schema::new("read only").await;
    schema.migrated().await;
    let url = schema.role("superuser").await;
    let mut other = schema.session().await;
    other.run(&format!("alter role {} set default_transaction_read_only = on", schema.0)).await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url, &schema.config()).unwrap());
    load(&store, &[]).await;
    other.run(&format!("alter role {} reset default_transaction_read_only", schema.0)).await;
    let batch = || Batch { worker: None, groups: vec![group("a", 0)] };
    let error = store.commit(&batch()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(what) if what.contains("primary")), "{error}");
    assert_eq!(store.commit(&batch()).await.unwrap(), [Verdict::Applied]);
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

/// Each part of the URL that can be wrong is named, with the way out.
#[tokio::test]
async fn a_wrong_user_database_or_host_says_how_to_mend_it() {
    let right = url::Url::parse(&url()).unwrap();
    let wrong = |change: fn(&mut url::Url)| {
        let mut wrong = right.clone();
        wrong.set_password(Some("s3cret")).unwrap();
        change(&mut wrong);
        String::from(wrong)
    };
    for (url, named, mend) in [
        (wrong(|url| url.set_username("nobody_here").unwrap()), "nobody_here", "create role"),
        (wrong(|url| url.set_path("no_such_database")), "no_such_database", "createdb"),
        (wrong(|url| url.set_host(Some("no-such-host.invalid")).unwrap()), "no-such-host.invalid", "reachable?"),
        (wrong(|url| url.set_port(Some(1)).unwrap()), ":1/", "is Postgres running there"),
    ] {
        let store = PostgresStore::open(&url, &StoreConfig::default()).unwrap();
        let error = store.load(&LoadRequest::default()).await.unwrap_err().to_string();
        assert!(error.starts_with("FS-STORE-UNREACHABLE: ") && !error.contains("s3cret"), "{error}");
        assert!(error.contains(named) && error.contains(mend), "{error} names {named} and {mend}");
    }
    for (url, part) in [("mysql://h/d", "postgres://"), ("postgres://h:port/d", "port")] {
        let error =
            flagstop_store::open(url, &StoreConfig::default()).await.expect_err("no URL of a store").to_string();
        assert!(error.starts_with("FS-STORE-URL: ") && error.contains(part), "{error}");
    }
}

/// A closed store refuses, and hangs nowhere.
#[tokio::test]
async fn a_closed_store_refuses_calls() {
    let store = Schema::new("closed").await.migrated().await;
    store.close().await;
    assert!(matches!(store.load(&LoadRequest::default()).await, Err(StoreError::Unreachable(_))));
    store.close().await;
}
