//! The first reading: bytes become text in which each segment ends with CR and starts with its name in capitals.
//! Every repair on the way there is recorded.

use std::borrow::Cow;
use std::fmt;

use clinic::exchange::{MapError, Place, Reason};
use memchr::memchr2;

use super::charset::{self, Charset, Finding};
use super::index::Names;

const VT: u8 = 0x0B;
const FS: u8 = 0x1C;

/// How many repairs of one kind are told by place; the rest is counted.
const MAX_TOLD: usize = 200;

/// The delimiters of a message, from MSH-1 and MSH-2. What the message does not declare is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delimiters {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// Usually `^`.
    pub component: Option<u8>,
    /// Usually `~`.
    pub repetition: Option<u8>,
    /// Usually `\`.
    pub escape: Option<u8>,
    /// Usually `&`.
    pub subcomponent: Option<u8>,
    /// The mark of cut values that version 2.7 brought, usually `#`.
    pub truncation: Option<u8>,
}

impl Delimiters {
    /// `|^~\&`
    pub const USUAL: Delimiters = Delimiters {
        field: b'|',
        component: Some(b'^'),
        repetition: Some(b'~'),
        escape: Some(b'\\'),
        subcomponent: Some(b'&'),
        truncation: None,
    };

    /// From MSH-1 and the bytes of MSH-2. Of three characters the third is the sub-component separator (the
    /// backslash was lost on the way) unless it is the backslash; of five, the fifth is the truncation mark.
    /// An empty MSH-2 means the usual ones. Letters, digits, blanks and repeated characters delimit nothing.
    fn declared(field: u8, msh2: &[u8]) -> Delimiters {
        let mut out = Delimiters {
            field,
            component: None,
            repetition: None,
            escape: None,
            subcomponent: None,
            truncation: None,
        };
        if msh2.is_empty() {
            return Delimiters {
                field,
                ..Delimiters::USUAL
            };
        }
        let mut seen = vec![field];
        let mut take = |index: usize| {
            let byte = *msh2.get(index)?;
            let usable = (byte.is_ascii_punctuation() || byte == b'\t') && !seen.contains(&byte);
            seen.push(byte);
            usable.then_some(byte)
        };
        out.component = take(0);
        out.repetition = take(1);
        match msh2.len() {
            0..=2 => {}
            3 if msh2[2] == b'\\' => out.escape = take(2),
            3 => out.subcomponent = take(2),
            4.. => {
                out.escape = take(2);
                out.subcomponent = take(3);
                if msh2.len() == 5 {
                    out.truncation = take(4);
                }
            }
        }
        out
    }
}

/// How the values of one message are written: its delimiters and its charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// From MSH-1 and MSH-2.
    pub delimiters: Delimiters,
    /// What the text was read as.
    pub charset: Charset,
}

impl Dialect {
    /// `|^~\&` in UTF-8.
    pub const USUAL: Dialect = Dialect {
        delimiters: Delimiters::USUAL,
        charset: Charset::Utf8,
    };
}

/// What a reader takes at most. More is an error, never a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message.
    pub bytes: usize,
    /// Segments of a message.
    pub segments: usize,
    /// Fields of a message, over all its segments.
    pub fields: usize,
}

impl Default for Limits {
    /// 64 MiB, 50,000 segments, 1,000,000 fields.
    fn default() -> Self {
        Limits {
            bytes: 64 << 20,
            segments: 50_000,
            fields: 1_000_000,
        }
    }
}

/// How a channel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The set to try when MSH-18 is empty or wrong and the bytes are no UTF-8.
    pub legacy: Charset,
    /// What is taken at most.
    pub limits: Limits,
}

impl Default for Reading {
    /// Windows-1250 behind UTF-8, and the usual limits.
    fn default() -> Self {
        Reading {
            legacy: Charset::Windows1250,
            limits: Limits::default(),
        }
    }
}

/// One thing that was not as the standard has it and was put right. Its text carries no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A byte order mark at the start was left out.
    ByteOrderMark,
    /// Framing bytes (VT, FS) or blanks around segments were left out.
    StrayBytes {
        /// How many.
        count: usize,
    },
    /// Segments that end otherwise than with CR.
    LineEnds {
        /// With LF alone.
        lf: usize,
        /// With CR and LF.
        crlf: usize,
    },
    /// Blank lines between segments were left out.
    BlankLines {
        /// How many.
        count: usize,
    },
    /// The last segment has no end.
    NoLastEnd,
    /// A segment name in small letters.
    LowerCaseName {
        /// The segment.
        place: Place,
    },
    /// Lines that are no segments were taken as text of the field before them, joined by line feeds.
    TextLines {
        /// The segment that they belong to.
        place: Place,
        /// How many lines.
        count: usize,
    },
    /// MSH-2 has other than four characters.
    EncodingCharacters {
        /// How many it has.
        length: usize,
    },
    /// MSH-2 names a character that can't delimit: a letter, a digit, a blank, or one twice.
    UnusableDelimiter,
    /// The text is not in the charset that MSH-18 declares.
    Charset(Finding),
    /// More repairs of the kinds before, that are not told one by one.
    More {
        /// How many.
        count: usize,
    },
}

impl Repair {
    /// Where it was.
    pub fn place(&self) -> Place {
        match self {
            Repair::LowerCaseName { place } | Repair::TextLines { place, .. } => place.clone(),
            Repair::EncodingCharacters { .. } | Repair::UnusableDelimiter => "MSH-2".into(),
            Repair::Charset(_) => "MSH-18".into(),
            Repair::ByteOrderMark
            | Repair::StrayBytes { .. }
            | Repair::LineEnds { .. }
            | Repair::BlankLines { .. }
            | Repair::NoLastEnd
            | Repair::More { .. } => "MSH".into(),
        }
    }

    /// True where a reader might have understood something else than the sender meant; line ends and the like
    /// are not worth a person's time.
    pub fn is_warning(&self) -> bool {
        match self {
            Repair::TextLines { .. }
            | Repair::EncodingCharacters { .. }
            | Repair::UnusableDelimiter
            | Repair::Charset(_)
            | Repair::More { .. } => true,
            Repair::ByteOrderMark
            | Repair::StrayBytes { .. }
            | Repair::LineEnds { .. }
            | Repair::BlankLines { .. }
            | Repair::NoLastEnd
            | Repair::LowerCaseName { .. } => false,
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::ByteOrderMark => write!(f, "a byte order mark before MSH was left out"),
            Repair::StrayBytes { count } => {
                write!(f, "{count} framing bytes or blanks around segments were left out")
            }
            Repair::LineEnds { lf, crlf } => {
                write!(
                    f,
                    "{lf} segments end with LF and {crlf} with CR LF in place of CR"
                )
            }
            Repair::BlankLines { count } => write!(f, "{count} blank lines between segments were left out"),
            Repair::NoLastEnd => write!(f, "the last segment has no CR"),
            Repair::LowerCaseName { place } => write!(f, "{place}: the segment name is in small letters"),
            Repair::TextLines { place, count } => {
                write!(
                    f,
                    "{place}: {count} lines that are no segments were taken as text of its last field"
                )
            }
            Repair::EncodingCharacters { length } => {
                write!(f, "MSH-2: {length} characters where four are usual")
            }
            Repair::UnusableDelimiter => {
                write!(
                    f,
                    "MSH-2: a letter, a digit, a blank or a repeated character delimits nothing"
                )
            }
            Repair::Charset(finding) => match finding {
                Finding::UnknownName { read_as } => {
                    write!(
                        f,
                        "MSH-18: no charset that is known here; read as {}",
                        read_as.name()
                    )
                }
                Finding::WrongDeclaration { declared, read_as } => {
                    write!(
                        f,
                        "MSH-18: declared {}, but the bytes are not; read as {}",
                        declared.name(),
                        read_as.name()
                    )
                }
                Finding::Assumed { read_as } => {
                    write!(
                        f,
                        "MSH-18: no charset declared and the bytes are no UTF-8; read as {}",
                        read_as.name()
                    )
                }
                Finding::Unreadable { read_as, count } => {
                    write!(
                        f,
                        "MSH-18: {count} bytes mean nothing in {}; each is shown as U+FFFD",
                        read_as.name()
                    )
                }
            },
            Repair::More { count } => write!(f, "{count} more repairs of these kinds"),
        }
    }
}

/// A message as text in one shape, and how it came to that.
#[derive(Clone, PartialEq, Eq)]
pub struct Normal {
    /// Each segment starts with its name in capitals and ends with CR. A line feed is text inside a field.
    pub text: String,
    /// How its values are written.
    pub dialect: Dialect,
    /// What was put right.
    pub repairs: Vec<Repair>,
}

impl fmt::Debug for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Normal")
            .field("bytes", &self.text.len())
            .field("dialect", &self.dialect)
            .field("repairs", &self.repairs)
            .finish()
    }
}

/// What stands before the first segment, taken apart without decoding: shared with the reader of batches.
pub(crate) fn trimmed_start(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [0xEF, 0xBB, 0xBF, more @ ..] => more,
            [VT | FS | b'\r' | b'\n' | b' ' | b'\t' | 0, more @ ..] => more,
            _ => return rest,
        };
    }
}

/// UTF-16 becomes UTF-8 before anything else is looked at; everything else passes.
pub(crate) fn without_utf16(bytes: &[u8]) -> (Cow<'_, [u8]>, Option<Charset>) {
    let (set, from) = match bytes {
        [0xFF, 0xFE, ..] => (Charset::Utf16Le, 2),
        [0xFE, 0xFF, ..] => (Charset::Utf16Be, 2),
        [b'M' | b'F' | b'B', 0, b'S' | b'H', 0, ..] => (Charset::Utf16Le, 0),
        [0, b'M' | b'F' | b'B', 0, b'S' | b'H', ..] => (Charset::Utf16Be, 0),
        _ => return (Cow::Borrowed(bytes), None),
    };
    let encoding = match set {
        Charset::Utf16Le => encoding_rs::UTF_16LE,
        _ => encoding_rs::UTF_16BE,
    };
    let (text, _) = encoding.decode_without_bom_handling(&bytes[from..]);
    (Cow::Owned(text.into_owned().into_bytes()), Some(set))
}

/// MSH-1 and MSH-2 of bytes that start with a header segment (MSH, FHS, BHS).
pub(crate) fn header_delimiters(bytes: &[u8]) -> Result<(Delimiters, usize), MapError> {
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(3)]).to_ascii_uppercase();
    let field = match bytes.get(3) {
        Some(&byte) if byte.is_ascii_punctuation() || byte == b'\t' => byte,
        _ => {
            return Err(MapError::new(
                Reason::DataType,
                Some(&format!("{name}-1")),
                "no field separator stands after the segment name. Write a character such as | there.",
            ));
        }
    };
    let rest = &bytes[4..];
    let end = rest
        .iter()
        .position(|&byte| byte == field || byte == b'\r' || byte == b'\n');
    let msh2 = &rest[..end.unwrap_or(rest.len()).min(64)];
    Ok((Delimiters::declared(field, msh2), msh2.len()))
}

/// Turns bytes into text of one shape. Fails only where there is no MSH with a separator, or too much of it.
pub fn normalise(bytes: &[u8], reading: &Reading) -> Result<Normal, MapError> {
    if bytes.len() > reading.limits.bytes {
        return Err(MapError::new(
            Reason::DataType,
            None,
            format!(
                "{} bytes, and at most {} are read. Send less, or raise the limit of this channel.",
                bytes.len(),
                reading.limits.bytes
            ),
        ));
    }
    let mut repairs = Vec::new();
    let (bytes, utf16) = without_utf16(bytes);
    let body = trimmed_start(&bytes);
    let before = &bytes[..bytes.len() - body.len()];
    let marks = before.iter().filter(|&&byte| byte == 0xEF).count();
    if utf16.is_some() || marks > 0 {
        repairs.push(Repair::ByteOrderMark);
    }
    let mut stray = before.len() - 3 * marks;

    if !body
        .get(..3)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"MSH"))
    {
        let batch = body.get(..3).is_some_and(|name| name == b"FHS" || name == b"BHS");
        let what = if batch {
            "this is a batch, not a message. Take it apart first."
        } else {
            "this does not start with an MSH segment, so it is no HL7 message. Look at what the sender sends."
        };
        return Err(MapError::new(Reason::RequiredMissing, Some("MSH"), what));
    }
    let (delimiters, msh2_length) = header_delimiters(body)?;
    if msh2_length != 4 && !(msh2_length == 5 && delimiters.truncation.is_some()) {
        repairs.push(Repair::EncodingCharacters { length: msh2_length });
    }
    let usable = [
        delimiters.component,
        delimiters.repetition,
        delimiters.escape,
        delimiters.subcomponent,
        delimiters.truncation,
    ];
    if msh2_length > 0 && usable.iter().flatten().count() < msh2_length.min(5) {
        repairs.push(Repair::UnusableDelimiter);
    }

    let declared = declared_charsets(body, &delimiters);
    let names: Vec<&str> = declared.iter().map(String::as_str).collect();
    let (text, charset, findings) = charset::decode(body, &names, reading.legacy);
    repairs.extend(findings.into_iter().map(Repair::Charset));
    // What is UTF-16 was turned into UTF-8 above, so that only here can be seen whether MSH-18 knows.
    let first = names.first().and_then(|name| Charset::named(name));
    let says_utf16 = matches!(first, Some(Charset::Utf16Le | Charset::Utf16Be));
    if let Some(declared) = first
        && says_utf16 != utf16.is_some()
    {
        let read_as = utf16.unwrap_or(charset);
        repairs.push(Repair::Charset(Finding::WrongDeclaration { declared, read_as }));
    }

    let mut lines = Lines::new(text.len(), delimiters.field, reading.limits);
    lines.read(&text)?;
    stray += lines.stray;
    let Lines {
        out,
        lf,
        crlf,
        blank,
        no_last_end,
        told,
        untold,
        ..
    } = lines;
    if stray > 0 {
        repairs.push(Repair::StrayBytes { count: stray });
    }
    if lf + crlf > 0 {
        repairs.push(Repair::LineEnds { lf, crlf });
    }
    if blank > 0 {
        repairs.push(Repair::BlankLines { count: blank });
    }
    if no_last_end {
        repairs.push(Repair::NoLastEnd);
    }
    repairs.extend(placed(told, &out));
    if untold > 0 {
        repairs.push(Repair::More { count: untold });
    }
    let dialect = Dialect {
        delimiters,
        charset: utf16.unwrap_or(charset),
    };
    Ok(Normal {
        text: out,
        dialect,
        repairs,
    })
}

/// The repetitions of MSH-18 that say something, read from the bytes.
fn declared_charsets(body: &[u8], delimiters: &Delimiters) -> Vec<String> {
    let line = &body[..memchr2(b'\r', b'\n', body).unwrap_or(body.len())];
    let Some(field) = line.split(|&byte| byte == delimiters.field).nth(17) else {
        return Vec::new();
    };
    field
        .split(|&byte| Some(byte) == delimiters.repetition)
        .take(8)
        .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        .filter(|name| !name.is_empty() && name != "\"\"")
        .collect()
}

/// The lines of a message on their way to segments.
struct Lines {
    out: String,
    separator: u8,
    limits: Limits,
    segments: usize,
    lf: usize,
    crlf: usize,
    blank: usize,
    stray: usize,
    no_last_end: bool,
    /// Blank lines seen since the last line of text; text again makes them part of it.
    waiting: usize,
    /// Text lines of the segment that is being read.
    text_lines: usize,
    told: Vec<Told>,
    untold: usize,
}

/// A repair in a segment, by its position; the place is worked out at the end, once for all.
struct Told {
    segment: usize,
    text_lines: Option<usize>,
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Cr,
    Lf,
    CrLf,
    Nothing,
}

impl Lines {
    fn new(bytes: usize, separator: u8, limits: Limits) -> Self {
        let out = String::with_capacity(bytes + 1);
        Lines {
            out,
            separator,
            limits,
            segments: 0,
            lf: 0,
            crlf: 0,
            blank: 0,
            stray: 0,
            no_last_end: false,
            waiting: 0,
            text_lines: 0,
            told: Vec::new(),
            untold: 0,
        }
    }

    fn read(&mut self, text: &str) -> Result<(), MapError> {
        let mut rest = text;
        let mut last_end = End::Cr;
        while !rest.is_empty() {
            let (line, end, next) = match memchr2(b'\r', b'\n', rest.as_bytes()) {
                None => (rest, End::Nothing, rest.len()),
                Some(at) if rest.as_bytes()[at] == b'\n' => (&rest[..at], End::Lf, at + 1),
                Some(at) if rest.as_bytes().get(at + 1) == Some(&b'\n') => (&rest[..at], End::CrLf, at + 2),
                Some(at) => (&rest[..at], End::Cr, at + 1),
            };
            rest = &rest[next..];
            self.line(line, end, &mut last_end)?;
        }
        self.finish_segment(last_end);
        // What waits now stood after the last segment.
        self.blank += self.waiting;
        Ok(())
    }

    fn line(&mut self, line: &str, end: End, last_end: &mut End) -> Result<(), MapError> {
        let bare = line.trim_matches(['\u{B}', '\u{1C}']);
        let framing = line.len() - bare.len();
        if bare.bytes().all(|byte| matches!(byte, b' ' | b'\t' | 0)) {
            if framing > 0 || end == End::Nothing {
                self.stray += line.len();
            } else {
                self.waiting += 1;
            }
            return Ok(());
        }
        self.stray += framing;
        if let Some(lower) = segment_start(bare.as_bytes(), self.separator) {
            self.finish_segment(*last_end);
            self.blank += std::mem::take(&mut self.waiting);
            self.segments += 1;
            if self.segments > self.limits.segments {
                let what = format!(
                    "more than {} segments. Send less, or raise the limit of this channel.",
                    self.limits.segments
                );
                return Err(MapError::new(
                    Reason::DataType,
                    Some(&bare[..3].to_ascii_uppercase()),
                    what,
                ));
            }
            if lower {
                let name = bare[..3].to_ascii_uppercase();
                self.out.push_str(&name);
                self.tell(None);
            } else {
                self.out.push_str(&bare[..3]);
            }
            self.out.push_str(&bare[3..]);
        } else {
            for _ in 0..=std::mem::take(&mut self.waiting) {
                self.out.push('\n');
            }
            self.text_lines += 1;
            self.out.push_str(bare);
        }
        *last_end = end;
        Ok(())
    }

    fn finish_segment(&mut self, end: End) {
        if self.segments == 0 {
            return;
        }
        match end {
            End::Cr => {}
            End::Lf => self.lf += 1,
            End::CrLf => self.crlf += 1,
            End::Nothing => self.no_last_end = true,
        }
        let count = std::mem::take(&mut self.text_lines);
        if count > 0 {
            self.tell(Some(count));
        }
        self.out.push('\r');
    }

    fn tell(&mut self, text_lines: Option<usize>) {
        if self.told.len() < MAX_TOLD {
            self.told.push(Told {
                segment: self.segments,
                text_lines,
            });
        } else {
            self.untold += 1;
        }
    }
}

/// Repairs with their places.
fn placed(told: Vec<Told>, text: &str) -> Vec<Repair> {
    let Some(last) = told.last().map(|told| told.segment) else {
        return Vec::new();
    };
    let mut names = Names::default();
    let mut places = vec![Place::from("MSH")];
    for segment in text.split('\r').take(last) {
        let name = segment.as_bytes().first_chunk::<3>().copied().unwrap_or_default();
        let occurrence = names.count(name);
        let name = segment.get(..3).unwrap_or("");
        places.push(Place(if occurrence == 1 {
            name.to_owned()
        } else {
            format!("{name}[{occurrence}]")
        }));
    }
    let place = |segment: usize| places.get(segment).cloned().unwrap_or_else(|| "MSH".into());
    told.into_iter()
        .map(|told| match told.text_lines {
            Some(count) => Repair::TextLines {
                place: place(told.segment),
                count,
            },
            None => Repair::LowerCaseName {
                place: place(told.segment),
            },
        })
        .collect()
}

/// If a line starts a segment: whether its name needs capitals. A name is a letter and two letters or digits,
/// then the separator. Without a separator, or in small letters, only names of the standard and Z names count,
/// since text lines start with such letters too.
pub(crate) fn segment_start(line: &[u8], separator: u8) -> Option<bool> {
    let name: [u8; 3] = line.get(..3)?.try_into().ok()?;
    if !name[0].is_ascii_alphabetic() || !name.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let lower = name.iter().any(u8::is_ascii_lowercase);
    match line.get(3) {
        Some(&byte) if byte != separator => None,
        Some(_) if !lower => Some(false),
        next => {
            let capitals = name.map(|byte| byte.to_ascii_uppercase());
            let known = capitals[0] == b'Z' || is_standard_name(&capitals);
            (known && !(lower && next.is_none())).then_some(lower)
        }
    }
}

/// The segments of versions 2.1 to 2.9.
const STANDARD_NAMES: &str = "ABSACCADDADJAFFAIGAILAIPAISAL1APRARQARVAUTBHSBLCBLGBPOBPXBTSBTXBUICDMCDOCERCM0CM1CM2CNSCON\
CSPCSRCSSCTDCTICTRDB1DEVDG1DMIDONDPSDRGDSCDSPDSTECDECREDUEQLEQPEQUERQERREVNFACFHSFT1FTSGOLGP1GP2GT1HXXIAMIAR\
IIMILTIN1IN2IN3INVIPCIPRISDITMIVCIVTLANLCCLCHLDPLOCLRLMCPMFAMFEMFIMRGMSAMSHNCKNDSNK1NPUNSCNSTNTEOBRO\
BXODSODTOH1OH2OH3OH4OM1OM2OM3OM4OM5OM6OM7OMCORCORGOVRPACPAYPCEPCRPD1PDAPDCPEOPESPEVPIDPKGPM1PMTPR1PRAPRBPRC\
PRDPRTPSGPSHPSLPSSPTHPV1PV2PYEQAKQIDQPDQRDQRFQRIRCPRDFRDTREFRELRF1RFIRGSRMIROLRQ1RQDRXARXCRXDRXERXGRXORXRRXVSAC\
SCDSCHSCPSDDSFTSGHSGTSHPSIDSLTSPMSTFSTZTCCTCDTQ1TQ2TXAUACUB1UB2URDURSVARVNDVTQ";

fn is_standard_name(name: &[u8; 3]) -> bool {
    STANDARD_NAMES
        .as_bytes()
        .chunks_exact(3)
        .any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with CR shown as `/` and LF as `!`, and the repairs.
    fn told(bytes: &[u8]) -> String {
        match normalise(bytes, &Reading::default()) {
            Err(error) => format!("refused: {error}"),
            Ok(normal) => {
                let mut out = normal.text.replace('\r', "/").replace('\n', "!");
                for repair in &normal.repairs {
                    out.push_str(&format!("; {repair}"));
                }
                out
            }
        }
    }

    #[test]
    fn line_ends_of_all_kinds() {
        let read = "MSH|^~\\&|A/PID|1/PV1|1/";
        assert_eq!(told(b"MSH|^~\\&|A\rPID|1\rPV1|1\r"), read);
        assert_eq!(
            told(b"MSH|^~\\&|A\rPID|1\rPV1|1"),
            format!("{read}; the last segment has no CR")
        );
        assert_eq!(
            told(b"MSH|^~\\&|A\nPID|1\r\nPV1|1\r"),
            format!("{read}; 1 segments end with LF and 1 with CR LF in place of CR")
        );
        assert_eq!(
            told(b"MSH|^~\\&|A\r\r\n\nPID|1\r \rPV1|1\r\r"),
            format!("{read}; 4 blank lines between segments were left out")
        );
    }

    #[test]
    fn marks_frames_and_small_letters() {
        assert_eq!(
            told(b"\xEF\xBB\xBF\x0BMSH|^~\\&|A\rpid|1\rPID|2\rpid|3\r\x1C\r"),
            "MSH|^~\\&|A/PID|1/PID|2/PID|3/; a byte order mark before MSH was left out; \
             2 framing bytes or blanks around segments were left out; \
             PID: the segment name is in small letters; PID[3]: the segment name is in small letters"
        );
        let wide: Vec<u8> = "\u{FEFF}MSH|^~\\&|ș\r"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(
            told(&wide),
            "MSH|^~\\&|ș/; a byte order mark before MSH was left out"
        );
        assert_eq!(
            normalise(&wide, &Reading::default()).unwrap().dialect.charset,
            Charset::Utf16Be
        );
    }

    #[test]
    fn lines_that_are_no_segments_are_text() {
        assert_eq!(
            told(
                b"MSH|^~\\&|A\rOBX|1|TX|||first\nsecond\n\nthe|fourth||F\rOBX|2|TX|||x\rTSH\r\rIon\rNTE|1\r"
            ),
            "MSH|^~\\&|A/OBX|1|TX|||first!second!!the|fourth||F/OBX|2|TX|||x!TSH!!Ion/NTE|1/; \
             OBX: 2 lines that are no segments were taken as text of its last field; \
             OBX[2]: 2 lines that are no segments were taken as text of its last field"
        );
        // Segments without fields and unknown ones are segments.
        assert_eq!(
            told(b"MSH|^~\\&|A\rPV1\rZPI\rXYZ|1\r"),
            "MSH|^~\\&|A/PV1/ZPI/XYZ|1/"
        );
    }

    #[test]
    fn encoding_characters_of_other_lengths() {
        let delimiters = |msh2: &str| {
            let text = format!("MSH|{msh2}|A\r");
            let d = normalise(text.as_bytes(), &Reading::default())
                .unwrap()
                .dialect
                .delimiters;
            [d.component, d.repetition, d.escape, d.subcomponent, d.truncation]
                .map(|byte| byte.map_or('-', char::from))
                .iter()
                .collect::<String>()
        };
        assert_eq!(delimiters("^~\\&"), "^~\\&-");
        assert_eq!(delimiters("^~\\&#"), "^~\\&#");
        assert_eq!(delimiters("^~&"), "^~-&-");
        assert_eq!(delimiters("^~\\"), "^~\\--");
        assert_eq!(delimiters("^~"), "^~---");
        assert_eq!(delimiters("^"), "^----");
        assert_eq!(delimiters(""), "^~\\&-");
        assert_eq!(delimiters("A1 b"), "-----");
        assert_eq!(delimiters("^^\\&"), "^-\\&-");
        assert_eq!(delimiters("^~\\&amp;"), "^~\\&-");
        assert!(told(b"MSH|^~&|A\r").contains("MSH-2: 3 characters where four are usual"));
        assert!(!told(b"MSH|^~\\&#|A\r").contains("MSH-2"));
        assert!(told(b"MSH|^^\\&|A\r").contains("delimits nothing"));
    }

    #[test]
    fn charsets_are_told_by_msh_18() {
        let fields = "|".repeat(16);
        let text = |name: &str| format!("MSH|^~\\&{fields}{name}\rPID|");
        let mut bytes = text("8859/2").into_bytes();
        bytes.extend(b"\xBAi\r");
        assert!(told(&bytes).ends_with("PID|şi/"), "{}", told(&bytes));
        let mut bytes = text("UNICODE UTF-8").into_bytes();
        bytes.extend(b"\xBAi\r");
        assert!(
            told(&bytes)
                .ends_with("PID|şi/; MSH-18: declared UTF-8, but the bytes are not; read as windows-1250")
        );
        let repair = &normalise(&bytes, &Reading::default()).unwrap().repairs[0];
        assert_eq!((repair.place().0.as_str(), repair.is_warning()), ("MSH-18", true));
        let wide = |name: &str| -> Vec<u8> { text(name).encode_utf16().flat_map(u16::to_le_bytes).collect() };
        assert!(!told(&wide("UNICODE UTF-16")).contains("declared"));
        assert!(
            told(&wide("UNICODE UTF-8")).contains("declared UTF-8, but the bytes are not; read as UTF-16LE")
        );
        assert!(
            told(text("UNICODE UTF-16").as_bytes())
                .contains("declared UTF-16BE, but the bytes are not; read as UTF-8")
        );
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_place() {
        for (bytes, says) in [
            (&b""[..], "refused: MSH: this does not start with an MSH"),
            (b"PID|1\r", "refused: MSH: this does not start with an MSH"),
            (b"MSH", "refused: MSH-1: no field separator"),
            (b"MSHA^~\\&", "refused: MSH-1: no field separator"),
            (b"MSH \r", "refused: MSH-1: no field separator"),
            (b"FHS|^~\\&\rMSH|^~\\&\r", "refused: MSH: this is a batch"),
            (b"\x00\x01\x02", "refused: MSH: this does not start with an MSH"),
        ] {
            assert!(told(bytes).starts_with(says), "{}", told(bytes));
        }
        let limits = Limits {
            bytes: 10,
            ..Limits::default()
        };
        let error = normalise(
            b"MSH|^~\\&|ABCDEF\r",
            &Reading {
                limits,
                ..Reading::default()
            },
        )
        .unwrap_err();
        assert!(
            error.to_string().starts_with("16 bytes, and at most 10"),
            "{error}"
        );
        let limits = Limits {
            segments: 1,
            ..Limits::default()
        };
        let error = normalise(
            b"MSH|^~\\&\rPID|1\r",
            &Reading {
                limits,
                ..Reading::default()
            },
        )
        .unwrap_err();
        assert!(
            error.to_string().starts_with("PID: more than 1 segments"),
            "{error}"
        );
    }

    #[test]
    fn many_repairs_are_counted() {
        let mut bytes = b"MSH|^~\\&|A\r".to_vec();
        bytes.extend(b"pid|1\r".repeat(300));
        let repairs = normalise(&bytes, &Reading::default()).unwrap().repairs;
        assert_eq!(repairs.len(), MAX_TOLD + 1);
        assert_eq!(repairs.last(), Some(&Repair::More { count: 100 }));
    }
}
