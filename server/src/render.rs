//! Tables and texts for the terminal.

use serde_json::Value;

/// Rows under headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |s: &str| s.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|h| width(h)).collect();
    for row in rows {
        for (idx, cell) in row.iter().enumerate() {
            widths[idx] = widths[idx].max(width(cell));
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (idx, cell) in cells.enumerate() {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(
                ' ',
                widths[idx].saturating_sub(width(cell)) + 2,
            ));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// A string at a key, or a dash.
pub fn cell(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A moment to the second.
pub fn moment(value: &Value, key: &str) -> String {
    let text = cell(value, key);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// The failure of a message in one line: step, place, why.
pub fn failure(row: &Value) -> String {
    let failure = &row["failure"];
    if failure.is_null() {
        return String::new();
    }
    let place = failure["place"]
        .as_str()
        .map_or(String::new(), |place| format!(" {place}:"));
    format!("{}:{place} {}", cell(failure, "step"), cell(failure, "why"))
}
