//! The suite through PgBouncer in transaction mode: each transaction may be in another session, so nothing may be kept in one.
//! Needs FLAGSTOP_TEST_PGBOUNCER, a PgBouncer in front of the Postgres under test.

use std::sync::Arc;

use flagstop_store::config::Pooler;
use flagstop_store::conformance::fixtures::*;
use flagstop_store::postgres::PostgresStore;
use flagstop_store::{Store, StoreConfig};

use crate::server::Schema;

fn url() -> String {
    std::env::var("FLAGSTOP_TEST_PGBOUNCER").unwrap_or_else(|_| {
        panic!(
            "FLAGSTOP_TEST_PGBOUNCER is not set: it names a PgBouncer in transaction mode before the Postgres under test. \
             `./tests/run` starts one and sets it."
        )
    })
}

fn through_the_pooler(schema: &Schema) -> Arc<dyn Store> {
    let config = StoreConfig { pooler: Pooler::Transaction, ..schema.config() };
    Arc::new(PostgresStore::open(&url(), &config).unwrap())
}

async fn fresh(case: &str) -> Arc<dyn Store> {
    let store = through_the_pooler(&Schema::new(&format!("pooled {case}")).await);
    store.migrate().await.unwrap();
    store
}

flagstop_store::conformance!(crate::pooled::fresh);

/// Two installations behind one pooler share its sessions, and see nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schemas_behind_one_pooler_see_nothing_of_each_other() {
    let (one, two) = (Schema::new("pooled one").await, Schema::new("pooled two").await);
    let (one, two) = (through_the_pooler(&one), through_the_pooler(&two));
    one.migrate().await.unwrap();
    two.migrate().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (store, name) =
            if n % 2 == 0 { (one.clone(), format!("one {n}")) } else { (two.clone(), format!("two {n}")) };
        tasks.spawn(async move { apply(&store, vec![hearing(&name, 0, &[&name])]).await });
    }
    tasks.join_all().await;
    for n in 0..40 {
        let (its, other, name) =
            if n % 2 == 0 { (&one, &two, format!("one {n}")) } else { (&two, &one, format!("two {n}")) };
        assert_eq!((revision(its, &name).await, revision(other, &name).await), (1, 0), "{name}");
    }
}
