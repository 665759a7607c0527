//! Keys of the API. Of a secret only the keyed hash is stored: secrets are long and random, so that no slow hash is
//! needed.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::time;
use crate::store::ApiKey;
use crate::store::seal::{Domain, Sealer};

pub(crate) fn hash(sealer: &Sealer, secret: &str) -> [u8; 32] {
    sealer.hash(Domain::ApiKey, &[secret.as_bytes()])
}

pub(crate) fn add(connection: &Connection, key: &ApiKey, hash: &[u8; 32]) -> rusqlite::Result<bool> {
    let added = connection.execute(
        "INSERT OR IGNORE INTO api_key (name, secret, scopes, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            key.name,
            hash,
            key.scopes.join(" "),
            key.created_at.as_microsecond(),
            key.expires_at.map(|at| at.as_microsecond()),
        ],
    )?;
    Ok(added > 0)
}

pub(crate) fn remove(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM api_key WHERE name = ?1", [name])? > 0)
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let scopes: String = row.get(1)?;
    Ok(ApiKey {
        name: row.get(0)?,
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        created_at: time(row.get(2)?),
        expires_at: row.get::<_, Option<i64>>(3)?.map(time),
    })
}

pub(crate) fn by_secret(connection: &Connection, hash: &[u8; 32]) -> rusqlite::Result<Option<ApiKey>> {
    connection
        .prepare_cached("SELECT name, scopes, created_at, expires_at FROM api_key WHERE secret = ?1")?
        .query_row([hash], key)
        .optional()
}

pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<ApiKey>> {
    connection
        .prepare("SELECT name, scopes, created_at, expires_at FROM api_key ORDER BY name")?
        .query_map([], key)?
        .collect()
}
