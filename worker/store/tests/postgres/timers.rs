//! A backlog of due timers: what it costs to read it the way a worker does.

use flagstop_store::port::DueTimer;
use sqlx::Row as _;

use crate::connections::counted;
use crate::server::{Schema, Session};

/// How many are due.
const BACKLOG: usize = 100_000;

/// What a worker takes at a time (`worker.timers_max`).
const PAGE: i64 = 1_000;

/// Entries of the timers' index that Postgres has read so far; counted at the end of a session.
async fn entries_read(other: &mut Session) -> i64 {
    let text = "select idx_tup_read from pg_stat_user_indexes \
                where indexrelname = 'timers_due' and schemaname = current_schema()";
    other.ask(text).await[0].get(0)
}

/// Timers and schedules, promised: a backlog of 100,000 due timers drains oldest first. Each page is read from where the last
/// one ended, by the index: all pages together read the backlog about twice, not once for each page. Before and after the
/// database has counted its tables, which changes its plans.
#[tokio::test]
async fn a_backlog_of_100_000_due_timers_is_read_oldest_first_and_never_sorted_as_a_whole() {
    let schema = Schema::new("timer backlog").await;
    schema.migrated().await.close().await;
    let mut other = schema.session().await;
    // Two of each moment, in no order, over all shards.
    let text = format!(
        "insert into timers (due_us, slot, instance, shard)
         select 1 + (n::int8 * 7919) % {half}, n % 5, i.id, (get_byte(uuid_send(i.id), 0) & 63)::int2
         from generate_series(1, {BACKLOG}) n cross join lateral (select md5(n::text)::uuid as id) i",
        half = BACKLOG / 2
    );
    other.run(&text).await;
    let shards: Vec<i16> = (0..64).collect();
    for prepare in ["select 1", "analyze timers"] {
        other.run(prepare).await;
        let before = entries_read(&mut other).await;
        let read = counted(&schema, &mut other, async |store| {
            let mut all: Vec<DueTimer> = Vec::with_capacity(BACKLOG);
            loop {
                let page = store.due_timers(&shards, all.last().copied(), PAGE).await.unwrap();
                assert!(
                    all.len() + page.len() == BACKLOG || page.len() as i64 == PAGE,
                    "no page is short but the last"
                );
                if page.is_empty() {
                    break;
                }
                all.extend(page);
            }
            assert_eq!(all.len(), BACKLOG);
            assert!(all.is_sorted_by(|one, next| one < next), "oldest first, and each once");
        });
        let rows = read.await["timers"];
        let entries = entries_read(&mut other).await - before;
        let most = 3 * BACKLOG as i64;
        assert!(
            rows <= most && entries <= most,
            "{rows} rows and {entries} entries were read of {BACKLOG} ({prepare})"
        );
    }
}
