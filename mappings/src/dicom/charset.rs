//! Text and bytes (PS3.3 C.12.1.1.2, PS3.5 §6.1).
//!
//! Reading believes Specific Character Set as far as the bytes agree with it. Where it is absent, unknown, or the bytes
//! are none of its own: UTF-8 (bytes are hardly ever that by accident), then what the channel says of the device, then
//! Latin-1. That this was done is said, so that no text is wrong in silence. Code extensions (ISO 2022) switch as they
//! stand, and begin anew with each value, line and part of a name.
//!
//! Writing chooses for the whole of an answer the first set that carries all its text and that the device can show.
//! Letters that a set has not are written as their nearest ones, never as `?`.

use encoding_rs::{
    EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
    ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, WINDOWS_874, WINDOWS_1254,
};

/// One character set of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// ISO_IR 6, and what holds where nothing is said.
    Ascii,
    /// ISO_IR 100.
    Latin1,
    /// ISO_IR 101: Romanian with cedilla.
    Latin2,
    /// ISO_IR 109.
    Latin3,
    /// ISO_IR 110.
    Latin4,
    /// ISO_IR 148.
    Latin5,
    /// ISO_IR 203.
    Latin9,
    /// ISO_IR 144.
    Cyrillic,
    /// ISO_IR 127.
    Arabic,
    /// ISO_IR 126.
    Greek,
    /// ISO_IR 138.
    Hebrew,
    /// ISO_IR 166.
    Thai,
    /// ISO_IR 13: half-width katakana.
    Katakana,
    /// ISO 2022 IR 87: two bytes a character.
    Kanji,
    /// ISO 2022 IR 159: two bytes a character.
    MoreKanji,
    /// ISO 2022 IR 149: two bytes a character.
    Korean,
    /// ISO 2022 IR 58: two bytes a character.
    Chinese,
    /// ISO_IR 192.
    Utf8,
    /// GB18030.
    Gb18030,
    /// GBK.
    Gbk,
}

impl Set {
    /// By its defined term, with or without code extensions; blanks and case that devices get wrong don't count.
    pub fn by_term(term: &str) -> Option<Set> {
        let plain: String = term
            .chars()
            .take(32)
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let number = plain.strip_prefix("ISO2022IR").or(plain.strip_prefix("ISOIR"));
        Some(match number.unwrap_or(&plain) {
            "6" => Set::Ascii,
            "100" => Set::Latin1,
            "101" => Set::Latin2,
            "109" => Set::Latin3,
            "110" => Set::Latin4,
            "148" => Set::Latin5,
            "203" => Set::Latin9,
            "144" => Set::Cyrillic,
            "127" => Set::Arabic,
            "126" => Set::Greek,
            "138" => Set::Hebrew,
            "166" => Set::Thai,
            "13" => Set::Katakana,
            "87" => Set::Kanji,
            "159" => Set::MoreKanji,
            "149" => Set::Korean,
            "58" => Set::Chinese,
            "192" => Set::Utf8,
            "GB18030" => Set::Gb18030,
            "GBK" => Set::Gbk,
            _ => return None,
        })
    }

    /// The set with these letters, by a name of the standard or one that people use (`windows-1250`, `latin2`).
    pub fn named(name: &str) -> Option<Set> {
        Set::by_term(name).or_else(|| {
            if name.trim().eq_ignore_ascii_case("us-ascii") {
                return Some(Set::Ascii);
            }
            let encoding = Encoding::for_label(name.trim().as_bytes())?;
            Some(match encoding.name() {
                "UTF-8" => Set::Utf8,
                "windows-1252" => Set::Latin1,
                "ISO-8859-2" | "windows-1250" => Set::Latin2,
                "ISO-8859-5" | "windows-1251" => Set::Cyrillic,
                "ISO-8859-15" => Set::Latin9,
                _ => return None,
            })
        })
    }

    /// The defined term without code extensions; none: nothing has to be said of it.
    pub fn term(self) -> Option<&'static str> {
        Some(match self {
            Set::Ascii => return None,
            Set::Latin1 => "ISO_IR 100",
            Set::Latin2 => "ISO_IR 101",
            Set::Latin3 => "ISO_IR 109",
            Set::Latin4 => "ISO_IR 110",
            Set::Latin5 => "ISO_IR 148",
            Set::Latin9 => "ISO_IR 203",
            Set::Cyrillic => "ISO_IR 144",
            Set::Arabic => "ISO_IR 127",
            Set::Greek => "ISO_IR 126",
            Set::Hebrew => "ISO_IR 138",
            Set::Thai => "ISO_IR 166",
            Set::Katakana => "ISO_IR 13",
            Set::Kanji => "ISO 2022 IR 87",
            Set::MoreKanji => "ISO 2022 IR 159",
            Set::Korean => "ISO 2022 IR 149",
            Set::Chinese => "ISO 2022 IR 58",
            Set::Utf8 => "ISO_IR 192",
            Set::Gb18030 => "GB18030",
            Set::Gbk => "GBK",
        })
    }

    /// Bytes of this set alone; none: they are not all of it.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        let encoding: &'static Encoding = match self {
            Set::Ascii => {
                return bytes
                    .is_ascii()
                    .then(|| String::from_utf8_lossy(bytes).into_owned());
            }
            Set::Latin1 => return Some(latin1(bytes)),
            Set::Utf8 => return std::str::from_utf8(bytes).ok().map(str::to_owned),
            Set::Latin2 => ISO_8859_2,
            Set::Latin3 => ISO_8859_3,
            Set::Latin4 => ISO_8859_4,
            Set::Latin5 => WINDOWS_1254,
            Set::Latin9 => ISO_8859_15,
            Set::Cyrillic => ISO_8859_5,
            Set::Arabic => ISO_8859_6,
            Set::Greek => ISO_8859_7,
            Set::Hebrew => ISO_8859_8,
            Set::Thai => WINDOWS_874,
            Set::Gb18030 => GB18030,
            Set::Gbk => GBK,
            // One byte each, as Shift-JIS has them; the ranges of its pairs are none of this set.
            Set::Katakana => {
                let one = |byte: &u8| byte.is_ascii() || (0xA1..=0xDF).contains(byte);
                return bytes.iter().all(one).then(|| plain(SHIFT_JIS, bytes)).flatten();
            }
            Set::Kanji => return plain(ISO_2022_JP, &[b"\x1B$B", bytes, b"\x1B(B"].concat()),
            Set::MoreKanji => {
                // EUC-JP has them behind a byte of its own.
                let mut euc = vec![];
                for pair in bytes.chunks(2) {
                    euc.push(0x8F);
                    euc.extend(pair.iter().map(|byte| byte | 0x80));
                }
                return plain(encoding_rs::EUC_JP, &euc);
            }
            Set::Korean => EUC_KR,
            Set::Chinese => GBK,
        };
        plain(encoding, bytes)
    }
}

fn plain(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(|text| text.into_owned())
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// What the text of a data set is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charset {
    /// The first is in force where nothing switches. More than one: code extensions.
    sets: Vec<Set>,
    /// True where the data set says nothing of it, or something that nobody knows.
    unsaid: bool,
    fallback: Fallback,
}

/// What the bytes of a device are that does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fallback(Option<&'static Encoding>);

impl Fallback {
    /// By a name that the WHATWG knows (`windows-1250`), or a term of the standard.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(encoding) = Encoding::for_label(name.trim().as_bytes()) {
            return encoding.is_ascii_compatible().then_some(Fallback(Some(encoding)));
        }
        Some(Fallback(Some(match Set::by_term(name)? {
            Set::Latin2 => encoding_rs::WINDOWS_1250,
            Set::Cyrillic => encoding_rs::WINDOWS_1251,
            Set::Greek => encoding_rs::WINDOWS_1253,
            Set::Latin5 => WINDOWS_1254,
            _ => return Some(Fallback(None)),
        })))
    }
}

/// A text, and whether the bytes were what they were said to be.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// Why it may be another one.
    pub doubt: Option<&'static str>,
}

const NOT_SAID: &str = "no character set is named for these bytes; it was guessed";
const NOT_OF_IT: &str = "the bytes are none of the character set that is named; it was guessed";

impl Charset {
    /// By the values of Specific Character Set; none: it is absent.
    pub fn new(terms: &[&str], fallback: Fallback) -> Self {
        let known = |term: &&str| match term.trim() {
            "" => Some(Set::Ascii),
            term => Set::by_term(term),
        };
        let read: Option<Vec<Set>> = terms.iter().map(known).collect();
        let unsaid = read
            .as_ref()
            .is_none_or(|sets| sets.iter().all(|set| *set == Set::Ascii));
        Charset {
            sets: read.filter(|sets| !sets.is_empty()).unwrap_or(vec![Set::Ascii]),
            unsaid,
            fallback,
        }
    }

    /// The only set in force, where there is but one and it is said.
    pub fn only(&self) -> Option<Set> {
        match self.sets.as_slice() {
            [set] if !self.unsaid => Some(*set),
            _ => None,
        }
    }

    /// What who wrote this can show; none: it does not say. With code extensions those of its sets that can be written here, without
    /// the extensions, and plain letters.
    pub fn shows(&self) -> Option<Shows> {
        if self.unsaid {
            return None;
        }
        Some(match self.sets.as_slice() {
            [best] => Shows::up_to(*best),
            // Plain letters are the last that is tried.
            several => {
                let beyond = several.iter().copied().filter(|set| *set != Set::Ascii);
                Shows::only(&beyond.collect::<Vec<_>>())
            }
        })
    }

    /// The text of a value, or of several with backslashes between them. `name`: parts of a name begin anew.
    pub fn decode(&self, bytes: &[u8], name: bool) -> Decoded {
        let sure = |text: String| Decoded { text, doubt: None };
        if bytes.is_ascii() && !bytes.contains(&0x1B) {
            return sure(String::from_utf8_lossy(bytes).into_owned());
        }
        let first = self.sets.first().copied().unwrap_or(Set::Ascii);
        let alone = matches!(first, Set::Utf8 | Set::Gb18030 | Set::Gbk);
        let read = match bytes.contains(&0x1B) && !alone {
            // Escape sequences are obeyed also where only one value is named: devices leave the others out.
            true => extended(bytes, first, name),
            false if self.unsaid => None,
            false => by_pieces(bytes, &self.sets),
        };
        match read {
            Some(text) => sure(text),
            None => Decoded {
                text: self.guess(bytes),
                doubt: Some(match self.unsaid {
                    true => NOT_SAID,
                    false => NOT_OF_IT,
                }),
            },
        }
    }

    fn guess(&self, bytes: &[u8]) -> String {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return text.to_owned();
        }
        let by_profile = self.fallback.0.and_then(|encoding| plain(encoding, bytes));
        by_profile.unwrap_or_else(|| latin1(bytes))
    }
}

/// Bytes without escape sequences: in the first set, or where that is plain in one that fills the upper half.
fn by_pieces(bytes: &[u8], sets: &[Set]) -> Option<String> {
    let first = sets.first().copied()?;
    first.decode(bytes)
}

/// What an escape sequence puts where (PS3.3 tables C.12-3, C.12-4): its length, whether it changes the lower half, and
/// to what.
fn designation(bytes: &[u8]) -> Option<(usize, bool, Set)> {
    const ALL: [(&[u8], bool, Set); 19] = [
        (b"\x1B(B", true, Set::Ascii),
        (b"\x1B-A", false, Set::Latin1),
        (b"\x1B-B", false, Set::Latin2),
        (b"\x1B-C", false, Set::Latin3),
        (b"\x1B-D", false, Set::Latin4),
        (b"\x1B-L", false, Set::Cyrillic),
        (b"\x1B-G", false, Set::Arabic),
        (b"\x1B-F", false, Set::Greek),
        (b"\x1B-H", false, Set::Hebrew),
        (b"\x1B-M", false, Set::Latin5),
        (b"\x1B-b", false, Set::Latin9),
        (b"\x1B-T", false, Set::Thai),
        (b"\x1B)I", false, Set::Katakana),
        (b"\x1B(J", true, Set::Katakana),
        (b"\x1B$B", true, Set::Kanji),
        (b"\x1B$@", true, Set::Kanji),
        (b"\x1B$(D", true, Set::MoreKanji),
        (b"\x1B$)C", false, Set::Korean),
        (b"\x1B$)A", false, Set::Chinese),
    ];
    let (sequence, low, set) = ALL.iter().find(|(sequence, _, _)| bytes.starts_with(sequence))?;
    Some((sequence.len(), *low, *set))
}

/// Text with code extensions. None: there is something in it that no set in force has.
fn extended(bytes: &[u8], first: Set, name: bool) -> Option<String> {
    let begin = || match first {
        // A data set whose first value is one of two bytes begins in plain letters.
        Set::Kanji | Set::MoreKanji | Set::Korean | Set::Chinese => (Set::Ascii, Set::Ascii),
        other => (Set::Ascii, other),
    };
    let (mut low, mut high) = begin();
    let mut text = String::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == 0x1B {
            let (length, is_low, set) = designation(&bytes[at..])?;
            match is_low {
                true => low = set,
                false => high = set,
            }
            at += length;
            continue;
        }
        let paired = matches!(low, Set::Kanji | Set::MoreKanji);
        let is_break = matches!(byte, b'\r' | b'\n' | 0x0C | b'\t')
            || !paired && (byte == b'\\' || name && matches!(byte, b'^' | b'='));
        if is_break {
            (low, high) = begin();
            text.push(char::from(byte));
            at += 1;
            continue;
        }
        // All that stands in one half, up to what may change it.
        let is_high = !byte.is_ascii();
        let set = if is_high { high } else { low };
        let ends = |byte: &u8| {
            *byte == 0x1B
                || byte.is_ascii() == is_high
                || matches!(byte, b'\r' | b'\n' | 0x0C | b'\t')
                || !paired && (*byte == b'\\' || name && matches!(byte, b'^' | b'='))
        };
        let length = bytes[at..].iter().position(ends).unwrap_or(bytes.len() - at);
        let run = &bytes[at..at + length];
        text.push_str(&set.decode(run)?);
        at += length;
    }
    Some(text)
}

/// What a device can show of an answer: the sets in the order in which they are tried, the last of which takes all text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shows(Vec<Set>);

impl Shows {
    /// Up to this set, and the simpler ones after it.
    pub fn up_to(best: Set) -> Self {
        let chain: &[Set] = match best {
            Set::Utf8 => &[Set::Utf8, Set::Latin2, Set::Latin1, Set::Cyrillic],
            Set::Gb18030 => &[Set::Gb18030],
            Set::Gbk => &[Set::Gbk],
            Set::Latin2 => &[Set::Latin2, Set::Latin1],
            Set::Cyrillic => &[Set::Cyrillic],
            Set::Latin1 | Set::Latin9 => &[Set::Latin1],
            Set::Ascii
            | Set::Latin3
            | Set::Latin4
            | Set::Latin5
            | Set::Arabic
            | Set::Greek
            | Set::Hebrew
            | Set::Thai
            | Set::Katakana
            | Set::Kanji
            | Set::MoreKanji
            | Set::Korean
            | Set::Chinese => &[],
        };
        Shows(chain.iter().copied().chain([Set::Ascii]).collect())
    }

    /// These alone, in this order; plain letters where none of them carries all.
    pub fn only(sets: &[Set]) -> Self {
        let written = sets
            .iter()
            .copied()
            .filter(|set| encode_exactly("", *set).is_some());
        let mut all: Vec<Set> = vec![];
        for set in written.chain([Set::Ascii]) {
            if !all.contains(&set) {
                all.push(set);
            }
        }
        Shows(all)
    }

    /// Whether one of the sets carries all of these texts, each letter or one that every reader takes for it.
    pub fn carry<'t>(&self, texts: impl Iterator<Item = &'t str> + Clone) -> bool {
        let mut sets = self.0.iter();
        sets.any(|set| texts.clone().all(|text| loses_no_letter(text, *set)))
    }

    /// The set for all of these texts.
    pub fn choose<'t>(&self, texts: impl Iterator<Item = &'t str> + Clone) -> Set {
        if texts.clone().all(str::is_ascii) {
            return Set::Ascii;
        }
        let carries = |set: &&Set| texts.clone().all(|text| encode_exactly(text, **set).is_some());
        let whole = self.0.iter().find(carries);
        let nearly = |set: &&Set| texts.clone().all(|text| loses_no_letter(text, **set));
        let near = || self.0.iter().find(nearly);
        // None has every letter: the first, with nearest letters.
        whole
            .or_else(near)
            .or(self.0.first())
            .copied()
            .unwrap_or(Set::Ascii)
    }
}

/// A text in a set; letters that it has not as their nearest ones.
pub fn encode(text: &str, set: Set) -> Vec<u8> {
    if let Some(bytes) = encode_exactly(text, set) {
        return bytes;
    }
    let mut out = vec![];
    for letter in text.chars() {
        let mut nearest = [
            Some(letter.to_string()),
            cedilla(letter).map(|c| c.to_string()),
            Some(plain_letters(letter)),
        ]
        .into_iter()
        .flatten();
        if let Some(bytes) = nearest.find_map(|text| encode_exactly(&text, set)) {
            out.extend(bytes);
        }
    }
    out
}

/// True where only ș and ț are written otherwise, which every reader takes for the same letters.
fn loses_no_letter(text: &str, set: Set) -> bool {
    let same: String = text.chars().map(|c| cedilla(c).unwrap_or(c)).collect();
    encode_exactly(&same, set).is_some()
}

fn cedilla(letter: char) -> Option<char> {
    Some(match letter {
        'ș' => 'ş',
        'Ș' => 'Ş',
        'ț' => 'ţ',
        'Ț' => 'Ţ',
        _ => return None,
    })
}

/// A text in a set; none: it has not all its letters.
pub(super) fn encode_exactly(text: &str, set: Set) -> Option<Vec<u8>> {
    let encoding: &'static Encoding = match set {
        Set::Ascii => return text.is_ascii().then(|| text.as_bytes().to_vec()),
        Set::Utf8 => return Some(text.as_bytes().to_vec()),
        Set::Latin1 => return text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        Set::Latin2 => ISO_8859_2,
        Set::Cyrillic => ISO_8859_5,
        Set::Gb18030 => GB18030,
        Set::Gbk => GBK,
        _ => return None,
    };
    let (bytes, _, lost) = encoding.encode(text);
    (!lost).then(|| bytes.into_owned())
}

/// The letters of ASCII that are nearest to this one: without its marks, or as it is written in Latin letters.
pub fn plain_letters(letter: char) -> String {
    use unicode_normalization::UnicodeNormalization;
    if letter.is_ascii() {
        return letter.to_string();
    }
    let latin = match letter.to_lowercase().next().unwrap_or(letter) {
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' => "g",
        'ґ' => "g",
        'д' => "d",
        'е' | 'э' => "e",
        'ё' => "io",
        'є' => "ie",
        'ж' => "j",
        'з' => "z",
        'и' | 'і' => "i",
        'ї' => "i",
        'й' => "i",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' => "u",
        'ф' => "f",
        'х' => "h",
        'ц' => "t",
        'ч' => "c",
        'ш' => "s",
        'щ' => "sc",
        'ъ' => "",
        'ь' => "",
        'ы' => "y",
        'ю' => "iu",
        'я' => "ia",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        '–' | '—' | '‐' | '‑' | '−' => "-",
        '’' | '‘' | '‚' | '′' => "'",
        '“' | '”' | '„' | '«' | '»' | '″' => "\"",
        '…' => "...",
        '\u{a0}' | '\u{202f}' | '\u{2009}' => " ",
        '€' => "EUR",
        '°' => " ",
        '×' => "x",
        'µ' | 'μ' => "u",
        _ => {
            let bare: String = letter.nfd().filter(char::is_ascii).collect();
            // A letter that has no near one is left out: a name with a hole is seen, one with `?` is printed.
            return bare;
        }
    };
    match letter.is_uppercase() {
        true => {
            let mut letters = latin.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
        false => latin.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(terms: &[&str], bytes: &[u8]) -> (String, bool) {
        let decoded = Charset::new(terms, Fallback::default()).decode(bytes, true);
        (decoded.text, decoded.doubt.is_some())
    }

    fn sure(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    fn guessed(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    /// Tables of PS3.5 annexes H, I, J, K: names as they stand there.
    #[test]
    fn the_standard_s_examples_are_read() {
        let kanji = b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B";
        assert_eq!(
            read(&["", "ISO 2022 IR 87"], kanji),
            sure("Yamada^Tarou=山田^太郎=やまだ^たろう")
        );
        let katakana =
            b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J";
        assert_eq!(
            read(&["ISO 2022 IR 13", "ISO 2022 IR 87"], katakana),
            sure("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう")
        );
        let korean =
            b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF";
        assert_eq!(
            read(&["", "ISO 2022 IR 149"], korean),
            sure("Hong^Gildong=洪^吉洞=홍^길동")
        );
        let chinese = b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB=";
        assert_eq!(
            read(&["", "ISO 2022 IR 58"], chinese),
            sure("Zhang^XiaoDong=张^小东=")
        );
        let utf8 = "Wang^XiaoDong=王^小東=".as_bytes();
        assert_eq!(read(&["ISO_IR 192"], utf8), sure("Wang^XiaoDong=王^小東="));
        let gb = b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=";
        assert_eq!(read(&["GB18030"], gb), sure("Wang^XiaoDong=王^小东="));
        assert_eq!(
            read(&["ISO_IR 144"], b"\xBB\xEE\xDA\xE1\xD5\xDC\xD1\xE3\xE0\xD3"),
            sure("Люксембург")
        );
        assert_eq!(
            read(&["ISO_IR 100"], b"\xC4neas^R\xFCdiger"),
            sure("Äneas^Rüdiger")
        );
        assert_eq!(
            read(
                &["", "ISO 2022 IR 100", "ISO 2022 IR 144"],
                b"\x1B-L\xDB\xEE^\x1B-A\xC4"
            ),
            sure("лю^Ä")
        );
    }

    /// The sets that dicom-rs takes for Latin-1 without a word.
    #[test]
    fn no_set_is_read_as_another() {
        assert_eq!(read(&["ISO_IR 148"], b"\xDDpek"), sure("İpek"));
        assert_eq!(read(&["ISO_IR 203"], b"\xA4"), sure("€"));
        assert_eq!(read(&["ISO_IR 101"], b"Pa\xBAca \xDE\xFE\xE3"), sure("Paşca Ţţă"));
        assert_eq!(read(&["", "ISO 2022 IR 159"], b"\x1B$(D0!\x1B(B"), sure("丂"));
        assert_eq!(read(&["ISO_IR 13"], b"\xD4\x81\x81"), guessed("Ô\u{81}\u{81}"));
    }

    #[test]
    fn what_is_not_said_is_guessed_and_told() {
        assert_eq!(read(&[], "Ștefan".as_bytes()), guessed("Ștefan"));
        assert_eq!(read(&["NONSENSE"], "Ștefan".as_bytes()), guessed("Ștefan"));
        assert_eq!(read(&["ISO_IR 192"], b"M\xFCller"), guessed("Müller"));
        assert_eq!(read(&[], b"M\xFCller"), guessed("Müller"));
        let old = Fallback::named("windows-1250").expect("known");
        let decoded = Charset::new(&["ISO_IR 6"], old).decode(b"Pa\xBAca", true);
        assert_eq!((decoded.text.as_str(), decoded.doubt), ("Paşca", Some(NOT_SAID)));
        assert_eq!(read(&[], b"plain"), sure("plain"));
        assert_eq!(read(&["ISO 2022 IR 87"], b"\x1B$Z12"), guessed("\u{1b}$Z12"));
    }

    fn chosen(best: Set, text: &str) -> (Set, String) {
        let set = Shows::up_to(best).choose([text].into_iter());
        let bytes = encode(text, set);
        assert!(!bytes.contains(&b'?'), "{text}");
        let charset = Charset::new(&set.term().into_iter().collect::<Vec<_>>(), Fallback::default());
        (set, charset.decode(&bytes, true).text)
    }

    #[test]
    fn the_first_set_that_carries_all_is_chosen() {
        for (best, text, set, shown) in [
            (Set::Utf8, "Pop^Ana", Set::Ascii, "Pop^Ana"),
            (Set::Utf8, "Țîră^Ștefania", Set::Utf8, "Țîră^Ștefania"),
            (Set::Latin2, "Țîră^Ștefania", Set::Latin2, "Ţîră^Ştefania"),
            (Set::Latin2, "Müller^José", Set::Latin2, "Müller^José"),
            (Set::Latin2, "Ñandú", Set::Latin1, "Ñandú"),
            (Set::Latin1, "Țîră^Âna", Set::Latin1, "Tîra^Âna"),
            (Set::Ascii, "Țîră^Ștefania", Set::Ascii, "Tira^Stefania"),
            (Set::Cyrillic, "Иванов^Юрий", Set::Cyrillic, "Иванов^Юрий"),
            (Set::Latin2, "Иванов^Юрий", Set::Latin2, "Ivanov^Iurii"),
            (Set::Cyrillic, "Țîră", Set::Cyrillic, "Tira"),
            (Set::Gb18030, "Țîră^王", Set::Gb18030, "Țîră^王"),
            (Set::Gbk, "王^小東", Set::Gbk, "王^小東"),
            (Set::Gbk, "Țîră", Set::Gbk, "Tira"),
        ] {
            assert_eq!(chosen(best, text), (set, shown.to_owned()), "{best:?} {text}");
        }
    }

    #[test]
    fn who_asks_is_answered_in_a_set_that_he_names() {
        let set = |terms: &[&str], text: &str| {
            let charset = Charset::new(terms, Fallback::default());
            charset.shows().map(|shows| shows.choose([text].into_iter()))
        };
        for (terms, text, chosen) in [
            (&["ISO 2022 IR 6", "ISO 2022 IR 101"][..], "Țîră", Set::Latin2),
            (
                &["", "ISO 2022 IR 100", "ISO 2022 IR 144"],
                "Иванов",
                Set::Cyrillic,
            ),
            (&["", "ISO 2022 IR 100"], "Țîră", Set::Latin1),
            (&["", "ISO 2022 IR 87"], "Țîră", Set::Ascii),
            (&["ISO 2022 IR 101"], "Țîră", Set::Latin2),
            (&["GB18030"], "Țîră", Set::Gb18030),
            (&["ISO_IR 192"], "Țîră", Set::Utf8),
        ] {
            assert_eq!(set(terms, text), Some(chosen), "{terms:?}");
        }
        assert_eq!(set(&[], "Țîră"), None);
        assert_eq!(set(&["NONSENSE"], "Țîră"), None);
    }
}
