//! Bytes to text and back, by MSH-18 (HL7 v2.5.1 §2.15.9.18, table 0211).
//!
//! A declaration is believed only as far as the bytes agree with it. What it got wrong is a [`Finding`], never
//! an error, and no letter is lost without one.

use std::borrow::Cow;
use std::fmt;

use encoding_rs::Encoding;

/// A character set of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Charset {
    /// ASCII, ISO IR6.
    Ascii,
    /// UTF-8.
    Utf8,
    /// ISO 8859-1 proper, where 0x80–0x9F are control characters.
    Latin1,
    /// ISO 8859-2: Romanian with cedilla.
    Latin2,
    /// ISO 8859-5: Cyrillic.
    Cyrillic,
    /// ISO 8859-15.
    Latin9,
    /// ISO 8859-16: Romanian with comma below.
    Latin10,
    /// Windows-1250: Romanian with cedilla.
    Windows1250,
    /// Windows-1251.
    Windows1251,
    /// Windows-1252.
    Windows1252,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// Any other one that the WHATWG encoding standard names and that is a superset of ASCII, or ISO-2022-JP.
    Other(&'static Encoding),
}

impl Charset {
    /// The set that a name stands for: HL7 table 0211 (`8859/2`), ISO IR numbers (`ISO IR101`), and the names
    /// that people write instead (`CP1250`, `windows-1250`, `UTF8`). Case, blanks and punctuation don't count.
    pub fn named(name: &str) -> Option<Charset> {
        let plain: String = name
            .chars()
            .take(40)
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        Some(match plain.as_str() {
            "ASCII" | "USASCII" | "ISOIR6" | "ISO646" | "7BIT" => Charset::Ascii,
            "UNICODEUTF8" | "UTF8" | "UNICODE" | "ISOIR192" => Charset::Utf8,
            "88591" | "ISO88591" | "ISOIR100" | "LATIN1" => Charset::Latin1,
            "88592" | "ISO88592" | "ISOIR101" | "LATIN2" => Charset::Latin2,
            "88595" | "ISO88595" | "ISOIR144" => Charset::Cyrillic,
            "885915" | "ISO885915" | "ISOIR203" | "LATIN9" => Charset::Latin9,
            "885916" | "ISO885916" | "ISOIR226" | "LATIN10" => Charset::Latin10,
            "CP1250" | "WINDOWS1250" | "WIN1250" | "1250" | "ANSI1250" => Charset::Windows1250,
            "CP1251" | "WINDOWS1251" | "WIN1251" | "1251" => Charset::Windows1251,
            "CP1252" | "WINDOWS1252" | "WIN1252" | "1252" | "ANSI" => Charset::Windows1252,
            "UNICODEUTF16" | "UTF16" | "UTF16BE" => Charset::Utf16Be,
            "UTF16LE" => Charset::Utf16Le,
            "88593" | "ISO88593" | "ISOIR109" => Charset::Other(encoding_rs::ISO_8859_3),
            "88594" | "ISO88594" | "ISOIR110" => Charset::Other(encoding_rs::ISO_8859_4),
            "88596" | "ISO88596" | "ISOIR127" => Charset::Other(encoding_rs::ISO_8859_6),
            "88597" | "ISO88597" | "ISOIR126" => Charset::Other(encoding_rs::ISO_8859_7),
            "88598" | "ISO88598" | "ISOIR138" => Charset::Other(encoding_rs::ISO_8859_8),
            "88599" | "ISO88599" | "ISOIR148" => Charset::Other(encoding_rs::WINDOWS_1254),
            "GB180302000" => Charset::Other(encoding_rs::GB18030),
            // Japanese by ISO 2022: the text changes its set by escape sequences.
            "ISOIR87" | "ISOIR159" | "ISO2022JP" => Charset::Other(encoding_rs::ISO_2022_JP),
            "KSX1001" | "KSC5601" => Charset::Other(encoding_rs::EUC_KR),
            "BIG5" => Charset::Other(encoding_rs::BIG5),
            _ => {
                let encoding = Encoding::for_label(name.trim().as_bytes())?;
                if !encoding.is_ascii_compatible() {
                    return None;
                }
                Charset::Other(encoding)
            }
        })
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Ascii => "ASCII",
            Charset::Utf8 => "UTF-8",
            Charset::Latin1 => "ISO 8859-1",
            Charset::Latin2 => "ISO 8859-2",
            Charset::Cyrillic => "ISO 8859-5",
            Charset::Latin9 => "ISO 8859-15",
            Charset::Latin10 => "ISO 8859-16",
            Charset::Windows1250 => "windows-1250",
            Charset::Windows1251 => "windows-1251",
            Charset::Windows1252 => "windows-1252",
            Charset::Utf16Le => "UTF-16LE",
            Charset::Utf16Be => "UTF-16BE",
            Charset::Other(encoding) => encoding.name(),
        }
    }

    /// What MSH-18 says of this set: the code of table 0211, or for sets that the table lacks the usual name.
    pub fn msh18(self) -> &'static str {
        match self {
            Charset::Ascii => "ASCII",
            Charset::Utf8 => "UNICODE UTF-8",
            Charset::Latin1 => "8859/1",
            Charset::Latin2 => "8859/2",
            Charset::Cyrillic => "8859/5",
            Charset::Latin9 => "8859/15",
            Charset::Latin10 => "8859/16",
            Charset::Windows1250 => "CP1250",
            Charset::Windows1251 => "CP1251",
            Charset::Windows1252 => "CP1252",
            Charset::Utf16Le | Charset::Utf16Be => "UNICODE UTF-16",
            Charset::Other(encoding) if encoding == encoding_rs::ISO_2022_JP => "ISO IR87",
            Charset::Other(encoding) => encoding.name(),
        }
    }

    /// The table behind a set; ASCII and ISO 8859-1 proper have none.
    fn encoding(self) -> Option<&'static Encoding> {
        Some(match self {
            Charset::Ascii | Charset::Latin1 => return None,
            Charset::Utf8 => encoding_rs::UTF_8,
            Charset::Latin2 => encoding_rs::ISO_8859_2,
            Charset::Cyrillic => encoding_rs::ISO_8859_5,
            Charset::Latin9 => encoding_rs::ISO_8859_15,
            Charset::Latin10 => encoding_rs::ISO_8859_16,
            Charset::Windows1250 => encoding_rs::WINDOWS_1250,
            Charset::Windows1251 => encoding_rs::WINDOWS_1251,
            Charset::Windows1252 => encoding_rs::WINDOWS_1252,
            Charset::Utf16Le => encoding_rs::UTF_16LE,
            Charset::Utf16Be => encoding_rs::UTF_16BE,
            Charset::Other(encoding) => encoding,
        })
    }

    /// True for the ISO 8859 sets, in which the bytes 0x80–0x9F are no letters.
    fn has_c1_controls(self) -> bool {
        matches!(
            self,
            Charset::Latin1 | Charset::Latin2 | Charset::Cyrillic | Charset::Latin9 | Charset::Latin10
        )
    }

    /// The text, or nothing where a byte has no meaning in this set. A byte order mark is not looked for.
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Charset::Ascii => bytes.is_ascii().then(|| String::from_utf8_lossy(bytes)),
            Charset::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Charset::Latin1 => Some(encoding_rs::mem::decode_latin1(bytes)),
            Charset::Latin2
            | Charset::Cyrillic
            | Charset::Latin9
            | Charset::Latin10
            | Charset::Windows1250
            | Charset::Windows1251
            | Charset::Windows1252
            | Charset::Utf16Le
            | Charset::Utf16Be
            | Charset::Other(_) => self
                .encoding()
                .and_then(|encoding| encoding.decode_without_bom_handling_and_without_replacement(bytes)),
        }
    }

    /// The text with U+FFFD for what has no meaning, and whether there was any.
    fn decode_with_marks(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        match self.encoding() {
            Some(encoding) => encoding.decode_without_bom_handling(bytes),
            None if self == Charset::Latin1 => (encoding_rs::mem::decode_latin1(bytes), false),
            None => {
                let text = String::from_utf8_lossy(bytes);
                let marked = matches!(text, Cow::Owned(_));
                (text, marked)
            }
        }
    }

    /// The bytes of a text. Letters with comma below become those with cedilla where the set has only these
    /// (ș ț Ș Ț in ISO 8859-2 and windows-1250), and the other way round in ISO 8859-16. A character that the
    /// set lacks is an error that says which one and where, in characters from the start.
    pub fn encode(self, text: &str) -> Result<Vec<u8>, Unwritable> {
        if self == Charset::Utf8 || text.is_ascii() && !matches!(self, Charset::Utf16Le | Charset::Utf16Be) {
            return Ok(text.as_bytes().to_vec());
        }
        let mut out = Vec::with_capacity(text.len());
        for (position, character) in text.chars().enumerate() {
            if !self.push(character, &mut out)
                && !fold(character).is_some_and(|other| self.push(other, &mut out))
            {
                return Err(Unwritable {
                    character,
                    position,
                    charset: self,
                });
            }
        }
        Ok(out)
    }

    /// True if every character of the text can be written, folding commas and cedillas as [`Charset::encode`].
    pub fn can_write(self, text: &str) -> bool {
        self.encode(text).is_ok()
    }

    fn push(self, character: char, out: &mut Vec<u8>) -> bool {
        let code = u32::from(character);
        match self {
            Charset::Utf8 => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                true
            }
            Charset::Utf16Le | Charset::Utf16Be => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.extend(if self == Charset::Utf16Le {
                        unit.to_le_bytes()
                    } else {
                        unit.to_be_bytes()
                    });
                }
                true
            }
            _ if code < 0x80 => {
                out.push(code as u8);
                true
            }
            Charset::Ascii => false,
            Charset::Latin1 => {
                let fits = code < 0x100;
                if fits {
                    out.push(code as u8);
                }
                fits
            }
            Charset::Latin2
            | Charset::Cyrillic
            | Charset::Latin9
            | Charset::Latin10
            | Charset::Windows1250
            | Charset::Windows1251
            | Charset::Windows1252
            | Charset::Other(_) => {
                let Some(encoding) = self.encoding() else {
                    return false;
                };
                let mut buffer = [0; 4];
                let letter: &str = character.encode_utf8(&mut buffer);
                let (bytes, _, unmappable) = encoding.encode(letter);
                if unmappable {
                    return false;
                }
                out.extend_from_slice(&bytes);
                true
            }
        }
    }
}

/// The same letter in the other spelling: comma below (Unicode, ISO 8859-16) against cedilla (ISO 8859-2,
/// windows-1250). Both count as equal.
fn fold(character: char) -> Option<char> {
    Some(match character {
        'ș' => 'ş',
        'ț' => 'ţ',
        'Ș' => 'Ş',
        'Ț' => 'Ţ',
        'ş' => 'ș',
        'ţ' => 'ț',
        'Ş' => 'Ș',
        'Ţ' => 'Ț',
        _ => return None,
    })
}

/// A character that the charset of the message can't hold. Its own text names the code point only.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the character U+{:04X} does not exist in {}. Set the charset of this end to UTF-8, or correct the value.", u32::from(*.character), .charset.name())]
pub struct Unwritable {
    /// The character.
    pub character: char,
    /// Where it stands, in characters from the start of the value.
    pub position: usize,
    /// The set that lacks it.
    pub charset: Charset,
}

impl fmt::Debug for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Unwritable(U+{:04X} in {})",
            u32::from(self.character),
            self.charset.name()
        )
    }
}

/// What the declaration of a message got wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// MSH-18 names a set that nobody here knows.
    UnknownName {
        /// What the text was read as.
        read_as: Charset,
    },
    /// The bytes are not what MSH-18 says.
    WrongDeclaration {
        /// What it says.
        declared: Charset,
        /// What the text was read as.
        read_as: Charset,
    },
    /// MSH-18 is empty and the bytes are no UTF-8: the channel's legacy set was taken.
    Assumed {
        /// What the text was read as.
        read_as: Charset,
    },
    /// Bytes that mean nothing in any set that was tried; each stands as U+FFFD in the text.
    Unreadable {
        /// What the text was read as.
        read_as: Charset,
        /// How many.
        count: usize,
    },
}

/// The text of a message, what it was read as, and what the declaration got wrong. `declared` are the
/// repetitions of MSH-18, empty ones left out.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    declared: &[&str],
    legacy: Charset,
) -> (Cow<'a, str>, Charset, Vec<Finding>) {
    let mut findings = Vec::new();
    let known: Vec<Charset> = declared.iter().filter_map(|name| Charset::named(name)).collect();
    // UTF-16 was already turned into UTF-8 before anybody could read MSH-18; what it says is right then.
    let first = known
        .first()
        .copied()
        .filter(|set| !matches!(set, Charset::Utf16Le | Charset::Utf16Be));

    // Japanese by ISO 2022 is ASCII to whoever looks at the bytes alone; the first escape sequence tells.
    let iso2022 = Charset::Other(encoding_rs::ISO_2022_JP);
    if known.contains(&iso2022)
        && memchr::memchr(0x1B, bytes).is_some()
        && let Some(text) = iso2022.decode(bytes)
    {
        return (Cow::Owned(text.into_owned()), iso2022, findings);
    }

    if let Ok(text) = std::str::from_utf8(bytes) {
        let ascii = text.is_ascii();
        let charset = match first {
            Some(declared) if ascii => declared,
            Some(Charset::Utf8) | None => Charset::Utf8,
            Some(Charset::Other(encoding)) if encoding == encoding_rs::UTF_8 => Charset::Utf8,
            // A text of a single-byte set that happens to be whole UTF-8 does not occur outside of tests; one
            // of UTF-8 under another name does, every day.
            Some(declared) => {
                if !known.contains(&Charset::Utf8) {
                    findings.push(Finding::WrongDeclaration {
                        declared,
                        read_as: Charset::Utf8,
                    });
                }
                Charset::Utf8
            }
        };
        if known.is_empty() && !declared.is_empty() {
            findings.push(Finding::UnknownName { read_as: charset });
        }
        return (Cow::Borrowed(text), charset, findings);
    }

    for &set in &known {
        if let Some(text) = fitting(set, bytes) {
            return (text, set, findings);
        }
    }
    let read_as = match first {
        // Everybody who says 8859/1 and sends 0x80–0x9F means windows-1252.
        Some(Charset::Latin1) => Charset::Windows1252,
        Some(Charset::Latin2) => Charset::Windows1250,
        _ if matches!(
            legacy,
            Charset::Utf8 | Charset::Ascii | Charset::Utf16Le | Charset::Utf16Be
        ) =>
        {
            Charset::Windows1250
        }
        _ => legacy,
    };
    findings.push(match first {
        Some(declared) => Finding::WrongDeclaration { declared, read_as },
        None if declared.is_empty() => Finding::Assumed { read_as },
        None => Finding::UnknownName { read_as },
    });
    let (text, marked) = read_as.decode_with_marks(bytes);
    if marked {
        let count = text.matches('\u{FFFD}').count();
        findings.push(Finding::Unreadable { read_as, count });
    }
    (text, read_as, findings)
}

fn fitting(set: Charset, bytes: &[u8]) -> Option<Cow<'_, str>> {
    if set.has_c1_controls() && bytes.iter().any(|byte| (0x80..0xA0).contains(byte)) {
        return None;
    }
    if matches!(set, Charset::Utf16Le | Charset::Utf16Be) {
        return None;
    }
    set.decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(bytes: &'a [u8], declared: &[&str]) -> (Cow<'a, str>, Charset, Vec<Finding>) {
        decode(bytes, declared, Charset::Windows1250)
    }

    #[test]
    fn names_of_table_0211_and_those_that_people_write() {
        for (name, set) in [
            ("ASCII", Charset::Ascii),
            ("UNICODE UTF-8", Charset::Utf8),
            ("UNICODE", Charset::Utf8),
            ("utf8", Charset::Utf8),
            ("8859/1", Charset::Latin1),
            ("8859/2", Charset::Latin2),
            ("ISO-8859-2", Charset::Latin2),
            ("ISO IR101", Charset::Latin2),
            ("8859/5", Charset::Cyrillic),
            ("8859/15", Charset::Latin9),
            ("8859/16", Charset::Latin10),
            ("CP1250", Charset::Windows1250),
            ("windows-1250", Charset::Windows1250),
            ("koi8-r", Charset::Other(encoding_rs::KOI8_R)),
            ("ISO IR87", Charset::Other(encoding_rs::ISO_2022_JP)),
            ("KS X 1001", Charset::Other(encoding_rs::EUC_KR)),
        ] {
            assert_eq!(Charset::named(name), Some(set), "{name}");
        }
        for name in ["", "klingon", "8859/99", "replacement"] {
            assert_eq!(Charset::named(name), None, "{name}");
        }
    }

    #[test]
    fn japanese_by_escape_sequences_is_read_where_it_is_declared() {
        let set = Charset::Other(encoding_rs::ISO_2022_JP);
        let bytes = b"PID|1||7||\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B";
        assert_eq!(
            read(bytes, &["ISO IR87"]),
            (Cow::from("PID|1||7||山田^太郎"), set, vec![])
        );
        let (text, read_as, _) = read(b"PID|1||7||YAMADA", &["ISO IR87"]);
        assert_eq!((text.as_ref(), read_as), ("PID|1||7||YAMADA", set));
        let (text, _, _) = read(bytes, &[]);
        assert!(text.contains('\u{1B}'), "what is not declared stays as it came");
    }

    #[test]
    fn what_a_set_says_of_itself_is_read_as_itself() {
        for set in [
            Charset::Ascii,
            Charset::Utf8,
            Charset::Latin1,
            Charset::Latin2,
            Charset::Cyrillic,
            Charset::Latin9,
            Charset::Latin10,
            Charset::Windows1250,
            Charset::Windows1251,
            Charset::Windows1252,
            Charset::Other(encoding_rs::KOI8_R),
            Charset::Other(encoding_rs::ISO_2022_JP),
        ] {
            assert_eq!(Charset::named(set.msh18()), Some(set), "{set:?}");
        }
    }

    #[test]
    fn a_declaration_is_believed_as_far_as_the_bytes_agree() {
        use Charset::*;
        let utf8 = "Ștefănescu".as_bytes();
        let latin2 = b"\xAAtef\xE3nescu";
        let latin10 = b"\xAAtef\xE3nescu";
        let wrong = |declared, read_as| vec![Finding::WrongDeclaration { declared, read_as }];
        for (bytes, declared, text, set, findings) in [
            (utf8, &["UNICODE UTF-8"][..], "Ștefănescu", Utf8, vec![]),
            (utf8, &[], "Ștefănescu", Utf8, vec![]),
            (utf8, &["ASCII"], "Ștefănescu", Utf8, wrong(Ascii, Utf8)),
            (utf8, &["8859/2"], "Ștefănescu", Utf8, wrong(Latin2, Utf8)),
            (utf8, &["ASCII", "UNICODE UTF-8"], "Ștefănescu", Utf8, vec![]),
            (latin2, &["8859/2"], "Ştefănescu", Latin2, vec![]),
            (latin10, &["8859/16"], "Ștefănescu", Latin10, vec![]),
            (
                latin2,
                &["UNICODE UTF-8"],
                "Ştefănescu",
                Windows1250,
                wrong(Utf8, Windows1250),
            ),
            (
                latin2,
                &["UNICODE UTF-8", "8859/16"],
                "Ștefănescu",
                Latin10,
                vec![],
            ),
            (
                latin2,
                &["ASCII"],
                "Ştefănescu",
                Windows1250,
                wrong(Ascii, Windows1250),
            ),
            (
                latin2,
                &[],
                "Ştefănescu",
                Windows1250,
                vec![Finding::Assumed { read_as: Windows1250 }],
            ),
            (
                latin2,
                &["klingon"],
                "Ştefănescu",
                Windows1250,
                vec![Finding::UnknownName { read_as: Windows1250 }],
            ),
            (
                b"Ana",
                &["klingon"],
                "Ana",
                Utf8,
                vec![Finding::UnknownName { read_as: Utf8 }],
            ),
            (b"Ana", &["8859/2"], "Ana", Latin2, vec![]),
            (b"\xC8\xA9", &["8859/1"], "ȩ", Utf8, wrong(Latin1, Utf8)),
            (b"na\xEFve \xA4", &["8859/1"], "naïve ¤", Latin1, vec![]),
            (
                b"na\xEFve \x80",
                &["8859/1"],
                "naïve €",
                Windows1252,
                wrong(Latin1, Windows1252),
            ),
            (
                b"\xE3 \x84x",
                &["8859/2"],
                "ă „x",
                Windows1250,
                wrong(Latin2, Windows1250),
            ),
            (b"\xBF\xE0", &["8859/5"], "Пр", Cyrillic, vec![]),
        ] {
            let (read_text, read_set, read_findings) = read(bytes, declared);
            assert_eq!(
                (read_text.as_ref(), read_set, read_findings),
                (text, set, findings),
                "{declared:?}"
            );
        }
    }

    #[test]
    fn no_letter_is_lost_in_silence() {
        // 0xA5 means nothing in ISO 8859-3.
        let (text, set, findings) =
            decode(b"a\xA5\xFF", &["8859/3"], Charset::Other(encoding_rs::ISO_8859_3));
        assert_eq!(text, "a\u{FFFD}˙");
        assert_eq!(set, Charset::Other(encoding_rs::ISO_8859_3));
        assert!(
            findings.contains(&Finding::Unreadable {
                read_as: set,
                count: 1
            }),
            "{findings:?}"
        );
    }

    #[test]
    fn writing_folds_commas_and_cedillas_and_never_loses_a_letter() {
        assert_eq!(Charset::Latin2.encode("Șțăș").unwrap(), b"\xAA\xFE\xE3\xBA");
        assert_eq!(Charset::Windows1250.encode("Șțăș").unwrap(), b"\xAA\xFE\xE3\xBA");
        assert_eq!(Charset::Latin10.encode("şţ").unwrap(), b"\xBA\xFE");
        assert_eq!(Charset::Latin1.encode("é").unwrap(), b"\xE9");
        assert_eq!(Charset::Utf8.encode("ș日").unwrap(), "ș日".as_bytes());
        let error = Charset::Latin2.encode("ab日").unwrap_err();
        assert_eq!((error.character, error.position), ('日', 2));
        assert!(
            error
                .to_string()
                .starts_with("the character U+65E5 does not exist in ISO 8859-2."),
            "{error}"
        );
        assert!(Charset::Ascii.encode("ă").is_err());
        assert!(Charset::Latin1.encode("ș").is_err());
        assert!(!Charset::Windows1250.can_write("日"));
    }
}
