//! Tables and texts for the terminal.

use std::io::IsTerminal;

use serde_json::Value;

/// Colour, where a person looks: on a terminal, unless NO_COLOR is set.
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// For standard output.
    pub fn on_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint {
            is_on: !unwanted && std::io::stdout().is_terminal(),
        }
    }

    /// What is well.
    pub fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    /// What waits for somebody.
    pub fn yellow(&self, text: &str) -> String {
        self.with("33", text)
    }

    /// What is wrong.
    pub fn red(&self, text: &str) -> String {
        self.with("31", text)
    }

    /// What the eye looks for.
    pub fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    /// What can be passed over.
    pub fn faint(&self, text: &str) -> String {
        self.with("2", text)
    }

    /// A line of a comparison: gone, new, or the same.
    pub fn diff(&self, line: &str) -> String {
        match line.as_bytes().first() {
            Some(b'-') => self.red(line),
            Some(b'+') => self.green(line),
            _ => self.faint(line),
        }
    }

    /// A state of a channel, message or delivery in the colour that it asks for.
    pub fn state(&self, state: &str) -> String {
        match state {
            "running" | "routed" | "sent" | "answered" => self.green(state),
            "paused" | "stopped" | "parked" | "retrying" | "unsure" | "pending" => self.yellow(state),
            "failed" | "held" | "dead" | "ended" => self.red(state),
            _ => state.to_owned(),
        }
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How many columns a text takes; colour takes none.
fn width(text: &str) -> usize {
    let mut count = 0;
    let mut in_colour = false;
    for letter in text.chars() {
        match letter {
            '\u{1b}' => in_colour = true,
            'm' if in_colour => in_colour = false,
            _ if in_colour => {}
            _ => count += 1,
        }
    }
    count
}

/// Rows under headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
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
