//! Deployed definitions, immutable (PROTOCOL D6), and the catalogue's version that negative verdicts rest on (D5).

use flagstop_schemas::Hash16;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::PostgresStore;
use super::connections::Lent;
use super::load::bytes;
use crate::port::{Enabled, StoreError};
use crate::rows::{DefinitionNumber, DefinitionRow};

/// Deployments go one by one, so that numbers become visible in their order.
const LOCK: &str = "select value from meta where name = 'catalogue' for update";

const FIND: &str = "select number, content, at_us from definitions where namespace = $1 and name = $2 and version = $3";

const ADD: &str = "insert into definitions (namespace, name, version, content, source, bundle, at_us) \
                   values ($1, $2, $3, $4, $5, $6, (extract(epoch from clock_timestamp()) * 1000000)::bigint) \
                   returning number, at_us";

const RAISE: &str = "update meta set value = value + 1 where name = 'catalogue'";

const LIST: &str = "select c.value, d.number, d.namespace, d.name, d.version, d.content, d.source, d.bundle, d.at_us, d.enabled \
                    from meta c left join definitions d on d.number > $1 where c.name = 'catalogue' order by d.number";

// One statement: the catalogue's version moves only if a definition does.
const ENABLE: &str = "
with moved as (update definitions set enabled = $2 where number = any($1) and enabled <> $2 returning number)
update meta set value = value + 1 where name = 'catalogue' and exists (select from moved)";

const DISABLED: &str = "select number from definitions where not enabled order by number";

/// What became of one definition.
enum Deployed {
    New(DefinitionNumber, i64),
    There(DefinitionNumber, i64),
    Other,
}

pub(super) async fn deploy(
    store: &PostgresStore,
    definitions: &[DefinitionRow],
) -> Result<Vec<DefinitionRow>, StoreError> {
    let mut deployed = definitions.to_vec();
    let mut added = 0;
    // On an error, and on a conflict, the connection is dropped, and the transaction with it.
    let mut lent = store.tell(store.connections.take().await)?;
    store.tell(lent.run(AssertSqlSafe(store.connections.begin().to_owned())).await)?;
    store.tell(lent.fetch(sqlx::query(LOCK)).await)?;
    for row in &mut deployed {
        (row.number, row.deployed_us) = match store.tell(deploy_one(&mut lent, row).await)? {
            Deployed::There(number, at_us) => (number, at_us),
            Deployed::New(number, at_us) => {
                added += 1;
                (number, at_us)
            }
            Deployed::Other => {
                let DefinitionRow { namespace, name, version, .. } = row.clone();
                return Err(StoreError::DefinitionConflict { namespace, name, version });
            }
        };
    }
    if added > 0 {
        store.tell(lent.fetch(sqlx::query(RAISE)).await)?;
    }
    store.tell(lent.run(AssertSqlSafe("commit".to_owned())).await)?;
    lent.sound();
    Ok(deployed)
}

async fn deploy_one(lent: &mut Lent<'_>, row: &DefinitionRow) -> Result<Deployed, sqlx::Error> {
    let find = sqlx::query(FIND).bind(row.namespace.clone()).bind(row.name.clone()).bind(row.version.clone());
    if let Some(there) = lent.fetch(find).await?.first() {
        let same = Hash16(there.try_get(1)?) == row.content;
        return Ok(if same { Deployed::There(there.try_get(0)?, there.try_get(2)?) } else { Deployed::Other });
    }
    let add = sqlx::query(ADD).bind(row.namespace.clone()).bind(row.name.clone()).bind(row.version.clone());
    let rows = lent.fetch(add.bind(row.content.0).bind(row.source.to_vec()).bind(row.bundle.to_vec())).await?;
    let added = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Deployed::New(added.try_get(0)?, added.try_get(1)?))
}

pub(super) async fn definitions(
    store: &PostgresStore,
    after: DefinitionNumber,
) -> Result<(i64, Vec<DefinitionRow>), sqlx::Error> {
    let rows = store.connections.fetch(sqlx::query(LIST).bind(after)).await?;
    let version = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let found = rows.iter().filter_map(|row| definition(row).transpose()).collect::<Result<_, _>>()?;
    Ok((version, found))
}

pub(super) async fn enable(
    store: &PostgresStore,
    definitions: &[DefinitionNumber],
    enabled: Enabled,
) -> Result<(), sqlx::Error> {
    let statement = sqlx::query(ENABLE).bind(definitions.to_vec()).bind(enabled == Enabled::Yes);
    store.connections.fetch(statement).await?;
    Ok(())
}

pub(super) async fn disabled(store: &PostgresStore) -> Result<Vec<DefinitionNumber>, sqlx::Error> {
    store.connections.fetch(sqlx::query(DISABLED)).await?.iter().map(|row| row.try_get(0)).collect()
}

fn definition(row: &PgRow) -> Result<Option<DefinitionRow>, sqlx::Error> {
    let Some(number) = row.try_get(1)? else { return Ok(None) };
    Ok(Some(DefinitionRow {
        number,
        namespace: row.try_get(2)?,
        name: row.try_get(3)?,
        version: row.try_get(4)?,
        content: Hash16(row.try_get(5)?),
        source: bytes(row, 6)?,
        bundle: bytes(row, 7)?,
        deployed_us: row.try_get(8)?,
        enabled: row.try_get(9)?,
    }))
}
