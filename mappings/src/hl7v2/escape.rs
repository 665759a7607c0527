//! Escape sequences (HL7 v2.5.1 §2.7): `\F\`, `\X0D\`, `\.br\` and their kin, to plain text and back.

use std::borrow::Cow;

use memchr::memchr;

use super::charset::Charset;
use super::normalise::Dialect;

/// How many line feeds or blanks one `.sp` or `.sk` may make.
const MAX_SKIP: usize = 100;

/// The text that stands behind what is on the wire.
///
/// - `\F\ \S\ \T\ \R\ \E\ \P\` become the delimiters of this message; one that the message does not declare
///   becomes the usual one.
/// - `\.br\` and `\.ce\` become a line feed, `\.sp n\` n of them, `\.sk n\` n blanks; `\.in\ \.ti\ \.fi\ \.nf\`
///   and the marks `\H\ \N\` go.
/// - `\X..\` become the character of these bytes in the charset of the message; neighbours are read together.
/// - `\C..\ \M..\ \Z..\`, everything unknown, hex that fits no character, and a lone escape character stay.
pub fn unescape<'a>(raw: &'a str, dialect: &Dialect) -> Cow<'a, str> {
    let Some(escape) = dialect.delimiters.escape else {
        return Cow::Borrowed(raw);
    };
    let Some(first) = memchr(escape, raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(at) = memchr(escape, rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let body = &rest[1..];
        // No sequence is longer than this but for hex, which is looked at on its own.
        let Some(end) = memchr(escape, body.as_bytes()) else {
            break;
        };
        let name = &body[..end];
        if hex_digits(name).is_some() {
            let (taken, text) = hex_run(rest, escape, dialect.charset);
            match text {
                Some(text) => out.push_str(&text),
                None => out.push_str(&rest[..taken]),
            }
            rest = &rest[taken..];
            continue;
        }
        match meaning(name, dialect) {
            Meaning::Text(text) => out.push(text),
            Meaning::Repeat(text, count) => out.extend(std::iter::repeat_n(text, count)),
            Meaning::Nothing => {}
            Meaning::Kept => out.push_str(&rest[..end + 2]),
            Meaning::NoEscape => {
                out.push_str(&rest[..1]);
                rest = body;
                continue;
            }
        }
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

enum Meaning {
    Text(char),
    Repeat(char, usize),
    Nothing,
    Kept,
    NoEscape,
}

fn meaning(name: &str, dialect: &Dialect) -> Meaning {
    let delimiters = &dialect.delimiters;
    let or = |delimiter: Option<u8>, usual: u8| Meaning::Text(char::from(delimiter.unwrap_or(usual)));
    match name {
        "F" => Meaning::Text(char::from(delimiters.field)),
        "S" => or(delimiters.component, b'^'),
        "T" => or(delimiters.subcomponent, b'&'),
        "R" => or(delimiters.repetition, b'~'),
        "E" => or(delimiters.escape, b'\\'),
        "P" => or(delimiters.truncation, b'#'),
        "H" | "N" => Meaning::Nothing,
        _ => match name.as_bytes() {
            [b'.', command @ ..] => formatting(command),
            [b'C', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) => {
                Meaning::Kept
            }
            [b'M', digits @ ..]
                if matches!(digits.len(), 4 | 6) && digits.iter().all(u8::is_ascii_hexdigit) =>
            {
                Meaning::Kept
            }
            [b'Z', local @ ..] if local.len() <= 40 && local.iter().all(u8::is_ascii_alphanumeric) => {
                Meaning::Kept
            }
            _ => Meaning::NoEscape,
        },
    }
}

/// The formatting commands of HL7 v2.5.1 §2.7.6.
fn formatting(command: &[u8]) -> Meaning {
    let Some((name, count)) = command.split_at_checked(2) else {
        return Meaning::NoEscape;
    };
    let digits = count.trim_ascii();
    let (sign, digits) = match digits {
        [b'+' | b'-', digits @ ..] => (true, digits),
        _ => (false, digits),
    };
    if digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) || sign && digits.is_empty() {
        return Meaning::NoEscape;
    }
    let number = digits
        .iter()
        .fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    let count = if digits.is_empty() {
        1
    } else {
        number.min(MAX_SKIP)
    };
    match name.to_ascii_lowercase().as_slice() {
        b"br" | b"ce" => Meaning::Text('\n'),
        b"sp" => Meaning::Repeat('\n', count),
        b"sk" => Meaning::Repeat(' ', count),
        b"in" | b"ti" | b"fi" | b"nf" => Meaning::Nothing,
        _ => Meaning::NoEscape,
    }
}

fn hex_digits(name: &str) -> Option<&str> {
    let digits = name.strip_prefix('X')?;
    let whole = !digits.is_empty() && digits.len() % 2 == 0 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then_some(digits)
}

/// Neighbouring hex sequences from the start of `rest`: how many bytes of it they take, and their text.
fn hex_run(rest: &str, escape: u8, charset: Charset) -> (usize, Option<String>) {
    let mut bytes = Vec::new();
    let mut taken = 0;
    while let Some(body) = rest[taken..].strip_prefix(char::from(escape))
        && let Some(end) = memchr(escape, body.as_bytes())
        && let Some(digits) = hex_digits(&body[..end])
    {
        bytes.extend(
            digits
                .as_bytes()
                .chunks_exact(2)
                .map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])),
        );
        taken += end + 2;
    }
    // Hex in a message of UTF-16 is bytes of UTF-16; all other sets read them as they are.
    let text = match charset {
        Charset::Ascii => Charset::Utf8.decode(&bytes),
        _ => charset.decode(&bytes),
    };
    (taken, text.map(Cow::into_owned))
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10) & 0xF,
    }
}

/// A value can't be written since the message declares no escape character and the value holds a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value holds a delimiter or a control character, and this message declares no escape character in MSH-2. Set MSH-2 to four characters."
)]
pub struct NoEscape;

/// What stands on the wire for a text. [`unescape`] gives the text back exactly. Line feeds become `\.br\`,
/// other control characters hex. A text of two quotes is written as hex, since `""` on the wire deletes.
pub fn escape<'a>(text: &'a str, dialect: &Dialect) -> Result<Cow<'a, str>, NoEscape> {
    let delimiters = &dialect.delimiters;
    if text == "\"\"" {
        let escape = char::from(delimiters.escape.ok_or(NoEscape)?);
        let quotes = hex_of('"', dialect.charset).repeat(2);
        return Ok(Cow::Owned(format!("{escape}X{quotes}{escape}")));
    }
    let special = |byte: u8| {
        byte < 0x20 && byte != b'\t'
            || byte == delimiters.field
            || Some(byte) == delimiters.component
            || Some(byte) == delimiters.repetition
            || Some(byte) == delimiters.escape
            || Some(byte) == delimiters.subcomponent
    };
    if !text.bytes().any(special) {
        return Ok(Cow::Borrowed(text));
    }
    let escape = char::from(delimiters.escape.ok_or(NoEscape)?);
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        let Some(byte) = u8::try_from(character)
            .ok()
            .filter(u8::is_ascii)
            .filter(|&byte| special(byte))
        else {
            out.push(character);
            continue;
        };
        out.push(escape);
        match byte {
            _ if byte == delimiters.field => out.push('F'),
            _ if Some(byte) == delimiters.escape => out.push('E'),
            _ if Some(byte) == delimiters.component => out.push('S'),
            _ if Some(byte) == delimiters.repetition => out.push('R'),
            _ if Some(byte) == delimiters.subcomponent => out.push('T'),
            b'\n' => out.push_str(".br"),
            _ => {
                out.push('X');
                out.push_str(&hex_of(character, dialect.charset));
            }
        }
        out.push(escape);
    }
    Ok(Cow::Owned(out))
}

fn hex_of(character: char, charset: Charset) -> String {
    let code = u32::from(character);
    match charset {
        Charset::Utf16Le => format!("{code:02X}00"),
        Charset::Utf16Be => format!("00{code:02X}"),
        _ => format!("{code:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_what_they_stand_for() {
        for (raw, text) in [
            ("plain", "plain"),
            (r"a\F\b\S\c\T\d\R\e\E\f\P\g", r"a|b^c&d~e\f#g"),
            (r"Fără \T\ hilare.\.br\Nodul \F\ 4", "Fără & hilare.\nNodul | 4"),
            (r"a\.sp\b\.sp 2\c\.sp+2\d\.ce\e", "a\nb\n\nc\n\nd\ne"),
            (r"a\.in+4\b\.ti-2\c\.fi\d\.nf\e\.sk 3\f", "abcde   f"),
            (r"\H\loud\N\ soft", "loud soft"),
            (r"\X41\\x42\", r"A\x42\"),
            (r"\XC4\\X83\", "ă"),
            (r"\XC483\", "ă"),
            (r"\X0D0A\", "\r\n"),
            (r"\XE3\ \X4\ \XZZ\ \X\", r"\XE3\ \X4\ \XZZ\ \X\"),
            (r"\C2842\a\M244242\b\Zpi12\c", r"\C2842\a\M244242\b\Zpi12\c"),
            (r"C:\temp\new", r"C:\temp\new"),
            (r"lone \ here", r"lone \ here"),
            (r"ends with \", r"ends with \"),
            (r"C:\dir\T\x", r"C:\dir&x"),
            (r"\Q\ăă\F\", "\\Q\\ăă|"),
            (r"\\", r"\\"),
            (r"\E\.br\E\", r"\.br\"),
            (r"\.sp9999\", &"\n".repeat(MAX_SKIP)),
            (r"\.sp99999\\.x\\.\", r"\.sp99999\\.x\\.\"),
        ] {
            assert_eq!(unescape(raw, &Dialect::USUAL), text, "{raw}");
        }
    }

    #[test]
    fn hex_is_read_in_the_charset_of_the_message() {
        let dialect = |charset| Dialect {
            charset,
            ..Dialect::USUAL
        };
        assert_eq!(unescape(r"\XE3\", &dialect(Charset::Latin2)), "ă");
        assert_eq!(unescape(r"\XBA\", &dialect(Charset::Latin10)), "ș");
        assert_eq!(unescape(r"\XE3\", &dialect(Charset::Ascii)), r"\XE3\");
        assert_eq!(unescape(r"\X0041\", &dialect(Charset::Utf16Be)), "A");
    }

    #[test]
    fn without_an_escape_character_nothing_is_escaped_and_nothing_can_be() {
        let delimiters = super::super::Delimiters {
            escape: None,
            ..super::super::Delimiters::USUAL
        };
        let dialect = Dialect {
            delimiters,
            ..Dialect::USUAL
        };
        assert_eq!(unescape(r"a\F\b", &dialect), r"a\F\b");
        assert_eq!(escape("plain", &dialect).unwrap(), "plain");
        assert_eq!(escape("a|b", &dialect), Err(NoEscape));
    }

    #[test]
    fn texts_are_written_so_that_they_harm_nothing() {
        let escaped = |text| escape(text, &Dialect::USUAL).unwrap().into_owned();
        assert_eq!(escaped(r"a|b^c&d~e\f"), r"a\F\b\S\c\T\d\R\e\E\f");
        assert_eq!(escaped("x\ny\r\u{1C}z"), r"x\.br\y\X0D\\X1C\z");
        assert_eq!(escaped("\"\""), r"\X2222\");
        assert_eq!(escaped("ăș #"), "ăș #");
    }
}
