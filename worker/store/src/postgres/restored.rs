//! A database that was dumped and restored into another cluster (PROTOCOL D14): its journal and its cursors hold the old
//! cluster's transaction ids. The new one counts from its own beginning, so that what is written from now on would lie
//! behind the cursors, and the relay would stand still without a word.
//!
//! Each sign of life asks whether that has happened, before its worker reads. A copy that keeps its ids (a standby, an
//! upgrade in place) is only noted.

use sqlx::AssertSqlSafe;

use super::PostgresStore;

/// Either the cluster is another one, or, where it may not be asked, a cursor stands where no transaction was yet.
pub(super) const MOVED: &str = "select exists (
  select 1 from relay_cursor c cross join (select cluster_id() as id offset 0) here
  where (c.cluster <> here.id and c.cluster <> 0 and here.id <> 0)
     or c.next_xid > pg_snapshot_xmax(pg_current_snapshot()))";

// Nobody writes to the journal meanwhile, so every row is seen. What was not read yet gets this transaction's id: within it
// the rows are read in the order in which they were written, and so each instance's in its own. That is what lay behind
// the cursor in the old cluster, and what the new one has written since, known by its id being that of the row itself.
// What was read gets an id that no cursor looks for. The epoch makes cursors worthless that were read before.
const MOVE_IN: &str = "
with moved as materialized (
  select c.shard, c.next_xid, c.pending,
         greatest(c.next_xid, (select j.xid from journal j where j.shard = c.shard order by j.xid desc limit 1))
           > pg_snapshot_xmax(pg_current_snapshot()) as set_back
  from relay_cursor c order by c.shard for update)
, journal_on as (
  update journal j
  set xid = case when j.xid >= m.next_xid or j.xid = any(m.pending) or j.xmin = j.xid::xid
                 then pg_current_xact_id() else '3' end
  from moved m where m.set_back and j.shard = m.shard)
update relay_cursor c
set cluster = cluster_id(), epoch = c.epoch + 1,
    next_xid = case when m.set_back then pg_current_xact_id() else c.next_xid end,
    pending = case when m.set_back then '{}' else c.pending end
from moved m where c.shard = m.shard";

/// How long it waits for those who write, or for another worker that does the same.
const LOCK_TIMEOUT_MS: u32 = 60_000;

/// Takes the journal over into this cluster's transaction ids. Of several workers one does it, the others wait. Rewrites the
/// whole journal, and so takes its time.
pub(super) async fn move_in(store: &PostgresStore) -> Result<(), sqlx::Error> {
    tracing::warn!(
        "{} was restored into another cluster: the relay's cursors are set anew, which rewrites the journal once; \
         transitions wait for it, and what was not published before is published now",
        store.shown
    );
    let mut lent = store.connections.take().await?;
    // A statement of its own asks again, with a snapshot after the locks. On an error the connection is dropped, and the
    // transaction with it.
    lent.run_long(AssertSqlSafe(format!(
        "{} set local statement_timeout = 0; set local lock_timeout = {LOCK_TIMEOUT_MS};
         select pg_advisory_xact_lock(hashtext('flagstop move in'), hashtext(current_schema()));
         lock table journal in share row exclusive mode;",
        store.connections.begin()
    )))
    .await?;
    let mut moved = lent.fetch(sqlx::query(MOVED)).await?;
    if moved.pop().map_or(Ok(false), |row| sqlx::Row::try_get(&row, 0))? {
        lent.run_long(AssertSqlSafe(MOVE_IN.to_owned())).await?;
    }
    lent.run(AssertSqlSafe("commit".to_owned())).await?;
    lent.sound();
    Ok(())
}
