//! Searching aggregates: one statement, driven by the narrowest condition, paged by (last change, id).

use ::clinic::apply::FindKey;
use ::clinic::search::SearchKey;
use ::clinic::{Kind, Record};
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::clinic::open_record;
use super::commit::uuid_at;
use super::keys::{find_query, search_hash};
use super::{Shared, sql_error};
use crate::store::{ClinicQuery, StoreError, TimeRange};

/// The most rows of one page.
const LIMIT: u32 = 10_000;
/// The most keys, ids or patients of one question: SQLite takes 32,766 values.
const MOST: usize = 1_000;

/// The statement as it grows, with its values.
#[derive(Default)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    fn and(&mut self, sql: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
    }

    fn value(&mut self, value: impl Into<Value>) {
        self.values.push(value.into());
    }

    /// `column IN (?, ?, …)`.
    fn one_of(&mut self, column: &str, values: impl Iterator<Item = Value>) {
        let before = self.values.len();
        self.values.extend(values);
        self.and(column);
        self.sql.push_str(" IN (");
        self.sql.push_str(&places(self.values.len() - before));
        self.sql.push(')');
    }

    fn bound(&mut self, sql: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.and(sql);
            self.value(at.as_microsecond());
        }
    }
}

fn places(count: usize) -> String {
    let mut places = "?,".repeat(count);
    places.pop();
    places
}

fn blob(id: &Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

fn too_many() -> StoreError {
    StoreError::Unavailable(format!(
        "a search can name at most {MOST} ids, patients or keys. Ask for fewer"
    ))
}

/// Aggregates that match, by (last change, id).
pub(crate) fn search(
    shared: &Shared,
    connection: &Connection,
    query: &ClinicQuery,
) -> Result<Vec<Record>, StoreError> {
    let Conditions { statement, updated } = conditions(shared, query)?;
    let sql = format!(
        "SELECT a.kind, a.id, a.version, a.data FROM aggregate a WHERE 1{} ORDER BY {updated}, a.id LIMIT {}",
        statement.sql,
        query.limit.min(LIMIT)
    );
    let found: Vec<(u8, Uuid, i64, Vec<u8>)> = connection
        .prepare_cached(&sql)
        .and_then(|mut prepared| {
            prepared
                .query_map(params_from_iter(&statement.values), |row| {
                    Ok((row.get(0)?, uuid_at(row, 1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
        })
        .map_err(sql_error)?;
    found
        .into_iter()
        .map(|(kind, id, version, data)| {
            let kind = Kind::from_number(kind)
                .ok_or_else(|| StoreError::Damaged("a kind is not known to this version".into()))?;
            open_record(shared, kind, id, version as u64, &data)
        })
        .collect()
}

/// How many match.
pub(crate) fn count(
    shared: &Shared,
    connection: &Connection,
    query: &ClinicQuery,
) -> Result<u64, StoreError> {
    let Conditions { statement, .. } = conditions(shared, query)?;
    let sql = format!("SELECT count(*) FROM aggregate a WHERE 1{}", statement.sql);
    let count: i64 = connection
        .prepare_cached(&sql)
        .and_then(|mut prepared| prepared.query_row(params_from_iter(&statement.values), |row| row.get(0)))
        .map_err(sql_error)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// What has to hold.
struct Conditions {
    statement: Statement,
    /// The column of the last change, as the order names it.
    updated: &'static str,
}

fn conditions(shared: &Shared, query: &ClinicQuery) -> Result<Conditions, StoreError> {
    let count = query.ids.as_ref().map_or(0, Vec::len)
        + query.patients.as_ref().map_or(0, Vec::len)
        + query.statuses.as_ref().map_or(0, Vec::len)
        + query.keys.iter().map(Vec::len).sum::<usize>();
    if count > MOST {
        return Err(too_many());
    }
    let mut statement = Statement::default();
    // A plus takes a column out of SQLite's choice of an index: the narrowest condition is to lead.
    let by_id = query.ids.is_some();
    let by_key = !by_id && !query.keys.is_empty();
    let by_patient = !by_id && !by_key && query.patients.is_some();
    let comes_along = query.patients.is_some() && query.kinds.contains(&Kind::Appointment);
    let kind = match by_id || by_key || by_patient && comes_along {
        true => "+a.kind",
        false => "a.kind",
    };
    if !query.kinds.is_empty() {
        statement.one_of(
            kind,
            query.kinds.iter().map(|kind| Value::from(i64::from(*kind as u8))),
        );
    }
    if let Some(ids) = &query.ids {
        statement.one_of("a.id", ids.iter().map(blob));
    }
    for (n, keys) in query.keys.iter().enumerate() {
        by_keys(shared, &mut statement, query, keys, by_key && n == 0);
    }
    if let Some(patients) = &query.patients {
        let column = if by_patient { "a.patient" } else { "+a.patient" };
        let places = places(patients.len());
        statement.values.extend(patients.iter().map(blob));
        let of_them = format!("{column} IN ({places})");
        if comes_along {
            let keys = patients.iter().map(|id| SearchKey::comes_along(*id));
            let hashes = keys.map(|key| search_hash(&shared.sealer, Kind::Appointment, key.name, &key.text));
            statement.values.extend(hashes.map(Value::from));
            let nr = if by_patient { "a.nr" } else { "+a.nr" };
            let along = format!("{nr} IN (SELECT aggregate FROM search WHERE hash IN ({places}))");
            statement.and(&format!("({of_them} OR {along})"));
        } else {
            statement.and(&of_them);
        }
    }
    if let Some(statuses) = &query.statuses {
        statement.one_of(
            "a.status",
            statuses.iter().map(|status| Value::Text(status.clone())),
        );
    }
    for TimeRange { from, to } in &query.date_overlaps {
        statement.and("(a.date_from IS NOT NULL OR a.date_to IS NOT NULL)");
        statement.bound("(a.date_to IS NULL OR a.date_to > ?)", *from);
        statement.bound("(a.date_from IS NULL OR a.date_from < ?)", *to);
    }
    for TimeRange { from, to } in &query.date_within {
        statement.bound("a.date_from >= ?", *from);
        statement.bound("a.date_to <= ?", *to);
    }
    let updated = if by_id || by_key || by_patient {
        "+a.updated_at"
    } else {
        "a.updated_at"
    };
    for TimeRange { from, to } in &query.updated {
        statement.bound(&format!("{updated} >= ?"), *from);
        statement.bound(&format!("{updated} < ?"), *to);
    }
    if let Some((at, id)) = &query.after {
        statement.and(&format!("({updated}, a.id) > (?, ?)"));
        statement.value(at.as_microsecond());
        statement.value(blob(id));
    }
    Ok(Conditions { statement, updated })
}

/// Of each key the aggregate that is found by it and has the latest time.
pub(crate) fn newest(
    shared: &Shared,
    connection: &Connection,
    kind: Kind,
    keys: &[SearchKey],
) -> Result<Vec<Record>, StoreError> {
    let read = |key: &SearchKey| {
        let hash = search_hash(&shared.sealer, kind, key.name, &key.text);
        let mut prepared = connection.prepare_cached(
            "SELECT a.id, a.version, a.data FROM search s CROSS JOIN aggregate a ON a.nr = s.aggregate
             WHERE s.hash = ?1 AND a.kind = ?2 ORDER BY a.date_from DESC, a.updated_at DESC LIMIT 1",
        )?;
        prepared
            .query_row(params![hash, kind as u8], |row| {
                Ok((uuid_at(row, 0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
            })
            .optional()
    };
    let mut found = vec![];
    for key in keys {
        if let Some((id, version, data)) = read(key).map_err(sql_error)? {
            found.push(open_record(shared, kind, id, version as u64, &data)?);
        }
    }
    Ok(found)
}

/// Found by any one of these keys. Texts of [`FindKey`] begin with one letter and a bar; those of a
/// [`clinic::search::SearchKey`] with its name.
fn by_keys(shared: &Shared, statement: &mut Statement, query: &ClinicQuery, keys: &[String], leads: bool) {
    let kinds: &[Kind] = if query.kinds.is_empty() {
        Kind::ALL
    } else {
        &query.kinds
    };
    let mut hashes: Vec<Value> = vec![];
    let mut finds = vec![];
    for key in keys {
        let Some((name, text)) = key.split_once('|') else {
            continue;
        };
        for kind in kinds {
            if name.len() == 1 {
                let key = FindKey {
                    kind: *kind,
                    text: key.clone(),
                };
                finds.push(find_query(&shared.sealer, &key));
            } else {
                hashes.push(search_hash(&shared.sealer, *kind, name, text).into());
            }
        }
    }
    let mut parts = vec![];
    if !hashes.is_empty() {
        parts.push(format!(
            "SELECT aggregate FROM search WHERE hash IN ({})",
            places(hashes.len())
        ));
        statement.values.append(&mut hashes);
    }
    for find in finds {
        let check = if find.check.is_some() {
            " AND check_hash = ?"
        } else {
            ""
        };
        parts.push(format!(
            "SELECT aggregate FROM find WHERE scope = ? AND hash = ?{check}"
        ));
        statement.value(find.scope);
        statement.value(find.hash);
        if let Some(check) = find.check {
            statement.value(check);
        }
    }
    if parts.is_empty() {
        return statement.and("0");
    }
    let column = if leads { "a.nr" } else { "+a.nr" };
    statement.and(&format!("{column} IN ({})", parts.join(" UNION ALL ")));
}
