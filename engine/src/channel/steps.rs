//! The step that is no more than a function of message and table: `lookup`. (`filter` is in [`super::condition`];
//! `set`, `decode` and `encode` are the format's.)

use std::borrow::Cow;

use clinic::exchange::{MapError, Reason};

use super::{Lookup, LookupMissing};
use crate::format::{CodeTable, CodeTables, Format, SetOp};

impl Lookup {
    /// The message with the code of the table in place; none: nothing is changed by it.
    ///
    /// `from` and `to` may lead to several values (repetitions, repeated segments). They are written together, so
    /// that all must become the same; otherwise the error says to name one.
    pub fn run(
        &self,
        format: &dyn Format,
        message: &[u8],
        tables: &CodeTables,
    ) -> Result<Option<Vec<u8>>, MapError> {
        let table = tables.get(&self.table).ok_or_else(|| {
            MapError::new(
                Reason::Internal,
                None,
                format!("the table {} was not read", self.table),
            )
        })?;
        let values = format.values(message, &self.from)?;
        if values.iter().all(String::is_empty) {
            return Ok(None);
        }
        let mut found: Option<String> = None;
        let mut is_changed = self.from != self.to;
        for value in values {
            let replacement = match (find(table, &value), &self.missing) {
                (Some(code), _) => code.to_owned(),
                // Nothing stands there, so nothing is to be written there either.
                (None, _) if value.is_empty() => value.clone(),
                (None, LookupMissing::Keep) => value.clone(),
                (None, LookupMissing::Default(text)) => text.clone(),
                (None, LookupMissing::Fail) => {
                    return Err(MapError::new(
                        Reason::UnknownCode,
                        Some(&self.from),
                        format!(
                            "the code is not in {}. Add it there and replay the message.",
                            self.table
                        ),
                    ));
                }
            };
            is_changed |= replacement != value;
            if found.as_ref().is_some_and(|found| *found != replacement) {
                return Err(MapError::new(
                    Reason::UnknownCode,
                    Some(&self.from),
                    "several codes stand here, and one lookup writes one. Name one of them in the channel.",
                ));
            }
            found = Some(replacement);
        }
        let Some(code) = found.filter(|_| is_changed) else {
            return Ok(None);
        };
        Ok(
            match format.set(message, &[(self.to.clone(), SetOp::Assign(code))])? {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed),
            },
        )
    }
}

/// What a code becomes. A lookup knows no system: that of the table is what counts, and the check has seen to it that
/// no code stands in two of them.
fn find<'a>(table: &'a CodeTable, code: &str) -> Option<&'a str> {
    let mut key = (String::new(), code.to_owned());
    loop {
        if let Some((_, code, _)) = table.rows.get(&key) {
            return Some(code);
        }
        key.0 = next_system(table, &key.0)?.to_owned();
    }
}

/// The system after this one. A table has few, so that going through them is quick.
fn next_system<'a>(table: &'a CodeTable, system: &str) -> Option<&'a str> {
    // The least text that is greater than `system`: nothing between the two can be a system.
    let after = (format!("{system}\0"), String::new());
    table
        .rows
        .range(after..)
        .next()
        .map(|((system, _), _)| system.as_str())
}

/// A code that stands in two systems of the table with different results, if there is one.
pub(super) fn ambiguous(table: &CodeTable) -> Option<&str> {
    let mut by_code = std::collections::BTreeMap::new();
    for ((_, code), (_, result, _)) in &table.rows {
        if *by_code.entry(code.as_str()).or_insert(result.as_str()) != result {
            return Some(code);
        }
    }
    None
}
