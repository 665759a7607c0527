//! Searching aggregates.

use ::clinic::Record;
use rusqlite::Connection;

use super::Shared;
use crate::store::{ClinicQuery, StoreError};

/// Aggregates that match, by (last change, id).
pub(crate) fn search(
    _shared: &Shared,
    _connection: &Connection,
    _query: &ClinicQuery,
) -> Result<Vec<Record>, StoreError> {
    Ok(vec![])
}
