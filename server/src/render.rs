//! Tables and texts for the terminal.

use std::borrow::Cow;
use std::io::IsTerminal;

use serde_json::Value;

/// What came from outside, on one line. What a terminal would obey, or by which a text is not read as it stands, is
/// written out: `\x1b`, `\n`, `\u{202e}`.
pub fn line(text: &str) -> Cow<'_, str> {
    written_out(text, &[])
}

/// The same of a text of several lines. They end as HL7 ends its segments, or as files do; tabs stay.
pub fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    written_out(&text, &['\n', '\t']).into_owned()
}

/// What a message or an answer holds. Of what is no text its length is said; `instead` says how to get it.
pub fn body(bytes: &[u8], content_type: &str, instead: &str) -> String {
    if let Some(text) = utf_16(bytes) {
        return lines(&text).trim_end().to_owned();
    }
    if !is_text(bytes, content_type) {
        let kind = match content_type {
            "" => "what is no text".into(),
            kind => line(kind),
        };
        return format!(
            "{} of {kind}; {instead}",
            count(bytes.len() as u64, "byte", "bytes")
        );
    }
    lines(&String::from_utf8_lossy(bytes)).trim_end().to_owned()
}

/// `1 try`, `2 tries`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The text of UTF-16, known by its mark, or by every other byte of the beginning, which is 0 in Latin letters.
fn utf_16(bytes: &[u8]) -> Option<String> {
    // `MSH|` of an HL7 message, `<?xm` of XML, `{"na` of JSON.
    let is_zero = |offset: usize| {
        let begin = bytes.get(..8)?;
        Some(begin.iter().skip(offset).step_by(2).all(|byte| *byte == 0))
    };
    let (is_little, rest) = match bytes {
        [0xFF, 0xFE, rest @ ..] => (true, rest),
        [0xFE, 0xFF, rest @ ..] => (false, rest),
        _ => match (is_zero(0)?, is_zero(1)?) {
            (false, true) => (true, bytes),
            (true, false) => (false, bytes),
            (true, true) | (false, false) => return None,
        },
    };
    let units = rest.chunks_exact(2).map(|pair| match pair {
        [low, high] if is_little => u16::from_le_bytes([*low, *high]),
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    (rest.len() % 2 == 0 && !text.contains('\0')).then_some(text)
}

/// By its type where that says it, else by NUL, which no text holds.
fn is_text(bytes: &[u8], content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_binary = match essence.split_once('/') {
        Some(("image", kind)) => kind != "svg+xml",
        Some(("audio" | "video" | "font", _)) => true,
        Some(("application", kind)) => matches!(
            kind,
            "dicom" | "zip" | "pdf" | "gzip" | "x-gzip" | "x-tar" | "x-7z-compressed" | "msword"
        ),
        _ => false,
    };
    !is_binary && !bytes.contains(&0)
}

/// Control characters (C0, DEL, C1) and those that turn the direction of a text (UAX #9, 2).
fn is_obeyed(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn written_out<'t>(text: &'t str, stay: &[char]) -> Cow<'t, str> {
    let is_out = |letter: char| is_obeyed(letter) && !stay.contains(&letter);
    if !text.contains(is_out) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            _ if !is_out(letter) => out.push(letter),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
        }
    }
    Cow::Owned(out)
}

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
            _ => line(state).into_owned(),
        }
    }

    fn with(&self, code: &str, text: &str) -> String {
        // The only escapes are those that are added here.
        let text = written_out(text, &['\n', '\t']);
        if self.is_on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.into_owned()
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

/// A string at a key, on one line ([`line`]), or a dash.
pub fn cell(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => "-".into(),
        Value::String(text) => line(text).into_owned(),
        other => line(&other.to_string()).into_owned(),
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
        .map_or(String::new(), |place| format!(" {}:", line(place)));
    format!("{}:{place} {}", cell(failure, "step"), cell(failure, "why"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn utf_16_is_shown_as_the_text_that_it_is() {
        let text = "MSH|^~\\&|A|B\rPID|1||7||Șerban^Ana\r";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xFF, 0xFE][..], &little].concat();
        for bytes in [&little, &big, &marked] {
            let shown = body(bytes, "x-application/hl7-v2+er7", "--raw writes them");
            assert_eq!(shown, "MSH|^~\\&|A|B\nPID|1||7||Șerban^Ana");
        }
        for other in [
            &b"\0\0\0\0\0\0"[..],
            &[0x44, 0, 0x43, 0, 0, 0xD8],
            &little[..9],
            b"a\0b",
            b"\x01\0\0\0\x02\0",
        ] {
            assert!(
                body(other, "", "--raw writes them").contains("of what is no text"),
                "{other:?}"
            );
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, shown) in [
            ("\u{1b}[2Jx", "\\x1b[2Jx"),
            ("a\u{7}\u{7f}b", "a\\x07\\x7fb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}txt.exe\u{2069}", "\\u{202e}txt.exe\\u{2069}"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("Ștefănescu, 東京 \u{200d}", "Ștefănescu, 東京 \u{200d}"),
        ] {
            assert_eq!(line(text), shown);
            assert_eq!(cell(&json!({ "k": text }), "k"), shown);
            assert_eq!(line(shown), shown, "what was written out stays");
        }
        assert_eq!(lines("MSH|1\rPID|\u{1b}c\r\nx\ty"), "MSH|1\nPID|\\x1bc\nx\ty");
        let failure_of = json!({ "failure": { "step": "s", "place": "P\u{1b}", "why": "\u{8}w" } });
        assert_eq!(failure(&failure_of), "s: P\\x1b: \\x08w");
    }

    #[test]
    fn colour_is_the_only_escape_on_a_terminal() {
        let paint = Paint { is_on: true };
        assert_eq!(paint.red("\u{1b}[8mx"), "\u{1b}[31m\\x1b[8mx\u{1b}[0m");
        assert_eq!(paint.state("\u{1b}c"), "\\x1bc");
        assert_eq!(paint.diff("-a\u{1b}c"), "\u{1b}[31m-a\\x1bc\u{1b}[0m");
        assert_eq!(Paint { is_on: false }.red("\u{1b}c"), "\\x1bc");
    }

    #[test]
    fn of_what_is_no_text_the_length_is_said() {
        for (bytes, kind, shown) in [
            (
                &b"MSH|^~\\&\rPID|1\r"[..],
                "application/hl7-v2",
                "MSH|^~\\&\nPID|1",
            ),
            (b"DICM", "application/dicom", "4 bytes of application/dicom; see"),
            (
                b"PK",
                "Application/ZIP; x=y",
                "2 bytes of Application/ZIP; x=y; see",
            ),
            (b"P\0K", "", "3 bytes of what is no text; see"),
            (b"\0", "text/plain", "1 byte of text/plain; see"),
            (b"<svg/>", "image/svg+xml", "<svg/>"),
            (b"caf\xe9", "", "caf\u{fffd}"),
            (b"{}", "application/octet-stream", "{}"),
        ] {
            assert_eq!(body(bytes, kind, "see"), shown, "{kind}");
        }
    }
}
