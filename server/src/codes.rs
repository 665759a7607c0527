//! Codes that came and are in no table: what is still to be mapped.

use std::collections::BTreeMap;

use engine::channel::Channel;
use engine::format::Formats;
use engine::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::views::{self, ListWords};

/// A code that nothing translated, and how often it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmapped {
    /// The partner's system; empty: none was said.
    pub system: String,
    /// The code.
    pub code: String,
    /// What the partner calls it.
    pub display: String,
    /// How often.
    pub count: u64,
}

/// The unmapped codes of one page of messages, and the word `before` of the next page.
pub async fn page(
    store: &dyn Store,
    channel: &Channel,
    formats: &Formats,
    words: &ListWords,
    now: jiff::Timestamp,
) -> anyhow::Result<Result<(Vec<Unmapped>, Option<i64>), views::Wrong>> {
    let filter = match words.filter(now) {
        Ok(filter) => filter,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let rows = store.messages(&filter).await?;
    let mut counts = BTreeMap::new();
    for row in &rows {
        let Some(detail) = store.message(row.id).await? else {
            continue;
        };
        if let Some(Ok(changes)) = views::decode(channel, formats, &detail) {
            count(&serde_json::to_value(changes)?, &mut counts);
        }
    }
    let next = (rows.len() == filter.limit as usize)
        .then(|| rows.last().map(|row| row.seq))
        .flatten();
    Ok(Ok((listed(counts), next)))
}

/// Several pages as one list, the most frequent first.
pub fn together(pages: Vec<Unmapped>) -> Vec<Unmapped> {
    let mut counts = BTreeMap::new();
    for Unmapped {
        system,
        code,
        display,
        count,
    } in pages
    {
        let known: &mut (String, u64) = counts.entry((system, code)).or_default();
        known.0 = display;
        known.1 += count;
    }
    let mut list = listed(counts);
    list.sort_by(|a, b| (b.count, &a.system, &a.code).cmp(&(a.count, &b.system, &b.code)));
    list
}

type Counts = BTreeMap<(String, String), (String, u64)>;

fn listed(counts: Counts) -> Vec<Unmapped> {
    counts
        .into_iter()
        .map(|((system, code), (display, count))| Unmapped {
            system,
            code,
            display,
            count,
        })
        .collect()
}

/// Every concept of a change set that has codes, and none in a system that is known everywhere (a URL or OID).
fn count(json: &Value, counts: &mut Counts) {
    match json {
        Value::Object(object) => {
            if let Some(Value::Array(codings)) = object.get("codings") {
                let is_known = |coding: &Value| {
                    let system = coding["system"].as_str().unwrap_or_default();
                    system.contains("://") || system.starts_with("urn:")
                };
                let first = codings.iter().find(|coding| coding["code"].is_string());
                if let (Some(coding), false) = (first, codings.iter().any(is_known)) {
                    let word = |key: &str| coding[key].as_str().unwrap_or_default().to_owned();
                    let known = counts.entry((word("system"), word("code"))).or_default();
                    known.0 = word("display");
                    known.1 += 1;
                }
            }
            object.values().for_each(|value| count(value, counts));
        }
        Value::Array(items) => items.iter().for_each(|item| count(item, counts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_translates_is_counted() {
        let changes = serde_json::json!([
            { "code": { "codings": [{ "system": "http://loinc.org", "code": "2823-3" }, { "system": "LIS", "code": "K" }] } },
            { "code": { "codings": [{ "system": "LIS", "code": "XYZ", "display": "Zinc, urine" }] } },
            { "value": { "concept": { "codings": [{ "system": "LIS", "code": "XYZ", "display": "Zinc, urine" }] } } },
            { "code": { "codings": [], "text": "words" } },
        ]);
        let mut counts = Counts::new();
        count(&changes, &mut counts);
        let list = together([listed(counts.clone()), listed(counts)].concat());
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].code.as_str(), list[0].count), ("XYZ", 4));
    }
}
