//! Deployed definitions, immutable (D6), and the catalogue's version that negative verdicts rest on (D5).

use bytes::Bytes;
use flagstop_schemas::Hash16;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::connection::Command;
use super::{BEGIN, SqliteStore, encode};
use crate::port::{Enabled, StoreError};
use crate::rows::{DefinitionNumber, DefinitionRow};

const FIND: &str = "SELECT number, content, at_us FROM definitions WHERE namespace = $1 AND name = $2 AND version = $3";

const ADD: &str = "INSERT INTO definitions (namespace, name, version, content, source, bundle, at_us) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING number, at_us";

const RAISE: &str = "UPDATE meta SET value = value + 1 WHERE name = 'catalogue'";

const LIST: &str = "SELECT c.value, d.number, d.namespace, d.name, d.version, d.content, d.source, d.bundle, d.at_us, d.enabled \
                    FROM meta c LEFT JOIN definitions d ON d.number > $1 WHERE c.name = 'catalogue' ORDER BY d.number";

const ENABLE: &str = "
UPDATE definitions SET enabled = $2 WHERE number IN (SELECT value FROM json_each($1)) AND enabled <> $2 RETURNING 1";

const DISABLED: &str = "SELECT number FROM definitions WHERE NOT enabled ORDER BY number";

pub(super) async fn deploy(
    store: &SqliteStore,
    definitions: &[DefinitionRow],
) -> Result<Vec<DefinitionRow>, StoreError> {
    let told = |error: sqlx::Error| store.told(&error);
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await.map_err(told)?;
    let mut deployed = definitions.to_vec();
    let mut added = 0;
    for definition in &mut deployed {
        let DefinitionRow { namespace, name, version, content, source, bundle, .. } = &*definition;
        let find = Command::fixed(FIND, 1).bind(namespace).bind(name).bind(version);
        let numbered = |row: &SqliteRow, at_us: usize| Ok((row.try_get(0)?, row.try_get(at_us)?));
        let (number, deployed_us) = match writing.run(find).await.map_err(told)?.first() {
            Some(row) if row.try_get(1).map(Hash16).map_err(told)? == *content => numbered(row, 2).map_err(told)?,
            Some(_) => {
                writing.abandon().await;
                return Err(StoreError::DefinitionConflict {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    version: version.clone(),
                });
            }
            None => {
                added += 1;
                let add = Command::fixed(ADD, 1).bind(namespace).bind(name).bind(version);
                let add = add.bind(content.0).bind(source.to_vec()).bind(bundle.to_vec()).bind(store.clock.now_us());
                let rows = writing.run(add).await.map_err(told)?;
                rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| numbered(row, 1)).map_err(told)?
            }
        };
        (definition.number, definition.deployed_us) = (number, deployed_us);
    }
    if added > 0 {
        writing.run(Command::fixed(RAISE, 1)).await.map_err(told)?;
    }
    writing.finish(Command::fixed("COMMIT", 1)).await.map_err(told)?;
    Ok(deployed)
}

pub(super) async fn definitions(
    store: &SqliteStore,
    after: DefinitionNumber,
) -> Result<(i64, Vec<DefinitionRow>), sqlx::Error> {
    let rows = store.connections.read(Command::fixed(LIST, 1).bind(after)).await?;
    let version = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let found = rows.iter().filter_map(|row| definition(row).transpose()).collect::<Result<_, _>>()?;
    Ok((version, found))
}

pub(super) async fn enable(
    store: &SqliteStore,
    definitions: &[DefinitionNumber],
    enabled: Enabled,
) -> Result<(), sqlx::Error> {
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let numbers = encode::ints(definitions.iter().copied());
    let moved = writing.run(Command::fixed(ENABLE, 1).bind(numbers).bind(enabled == Enabled::Yes)).await?;
    if !moved.is_empty() {
        writing.run(Command::fixed(RAISE, 1)).await?;
    }
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(())
}

pub(super) async fn disabled(store: &SqliteStore) -> Result<Vec<DefinitionNumber>, sqlx::Error> {
    store.connections.read(Command::fixed(DISABLED, 1)).await?.iter().map(|row| row.try_get(0)).collect()
}

fn definition(row: &SqliteRow) -> Result<Option<DefinitionRow>, sqlx::Error> {
    let Some(number) = row.try_get(1)? else { return Ok(None) };
    Ok(Some(DefinitionRow {
        number,
        namespace: row.try_get(2)?,
        name: row.try_get(3)?,
        version: row.try_get(4)?,
        content: Hash16(row.try_get(5)?),
        source: Bytes::from(row.try_get::<Vec<u8>, _>(6)?),
        bundle: Bytes::from(row.try_get::<Vec<u8>, _>(7)?),
        deployed_us: row.try_get(8)?,
        enabled: row.try_get(9)?,
    }))
}

pub(super) async fn version(store: &SqliteStore) -> Result<i64, sqlx::Error> {
    let rows = store.connections.read(Command::fixed("SELECT value FROM meta WHERE name = 'catalogue'", 1)).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}
