//! Files and batches (HL7 v2.5.1 §2.10.3) taken apart into messages: FHS/BHS/BTS/FTS, several messages one after
//! the other, MLLP frames written to a file.

use std::borrow::Cow;
use std::fmt;

use clinic::exchange::{MapError, Reason};
use memchr::memchr3;

use super::index::Message;
use super::keys::{head, lenient};
use super::normalise::{trimmed_start, without_utf16};

/// What is taken at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages of a file.
    pub messages: usize,
    /// Notes that are told one by one; later ones are left out.
    pub notes: usize,
}

impl Default for Limits {
    /// 1,000,000 messages, 100 notes.
    fn default() -> Self {
        Limits {
            messages: 1_000_000,
            notes: 100,
        }
    }
}

/// A file taken apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct File<'a> {
    /// Its messages in order.
    pub messages: Vec<Part<'a>>,
    /// What does not fit: counts, junk, missing trailers.
    pub notes: Vec<Note>,
    /// True if there are FHS or BHS headers.
    pub is_batch: bool,
}

impl fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({} messages, {:?})", self.messages.len(), self.notes)
    }
}

/// One message of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its bytes as they stand in the file, from MSH to the end of its last line.
    pub bytes: Cow<'a, [u8]>,
    /// Where it starts, in bytes from the start of the file (of its UTF-8 form where the file is UTF-16).
    pub offset: usize,
    /// The line that it starts at, from 1.
    pub line: usize,
}

/// Something about a file that is not as it should be. Its messages are read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Lines that belong to no message.
    Junk {
        /// The first of them, from 1.
        line: usize,
        /// How many.
        lines: usize,
    },
    /// BTS-1 names another number of messages than the batch has.
    MessageCount {
        /// Where the trailer stands.
        line: usize,
        /// What it says.
        declared: u64,
        /// What there is.
        found: u64,
    },
    /// FTS-1 names another number of batches than the file has.
    BatchCount {
        /// Where the trailer stands.
        line: usize,
        /// What it says.
        declared: u64,
        /// What there is.
        found: u64,
    },
    /// A header without its trailer: the file may be cut.
    NoTrailer {
        /// Where the header stands.
        line: usize,
        /// `FTS` or `BTS`.
        trailer: &'static str,
    },
    /// A trailer without its header.
    NoHeader {
        /// Where the trailer stands.
        line: usize,
        /// `FHS` or `BHS`.
        header: &'static str,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Junk { line, lines } => write!(f, "line {line}: {lines} lines that belong to no message"),
            Note::MessageCount {
                line,
                declared,
                found,
            } => {
                write!(
                    f,
                    "line {line}: BTS-1: {declared} messages declared, {found} found"
                )
            }
            Note::BatchCount {
                line,
                declared,
                found,
            } => {
                write!(
                    f,
                    "line {line}: FTS-1: {declared} batches declared, {found} found"
                )
            }
            Note::NoTrailer { line, trailer } => {
                write!(f, "line {line}: its {trailer} is missing, so the file may be cut")
            }
            Note::NoHeader { line, header } => write!(f, "line {line}: its {header} is missing"),
        }
    }
}

/// Takes a file apart. Only more messages than the limit are an error.
pub fn take_apart<'a>(bytes: &'a [u8], limits: &Limits) -> Result<File<'a>, MapError> {
    match without_utf16(bytes).0 {
        Cow::Borrowed(bytes) => split(bytes, limits),
        Cow::Owned(bytes) => {
            let file = split(&bytes, limits)?;
            let messages = file.messages.into_iter().map(|part| Part {
                bytes: Cow::Owned(part.bytes.into_owned()),
                offset: part.offset,
                line: part.line,
            });
            Ok(File {
                messages: messages.collect(),
                notes: file.notes,
                is_batch: file.is_batch,
            })
        }
    }
}

/// The longest header that a batch is answered by.
const HEADER_BYTES: usize = 64 << 10;

/// What a file or batch is answered by, as the MSH of a message: FHS and BHS have the same fields as MSH up to the eighth,
/// and their control id in the eleventh (HL7 v2.5.1 §2.15.2, §2.15.6). What they don't say (version, processing id,
/// character set) is that of the first message, whose control id stands for that of a batch that has none. None where it is
/// no batch, and where it answers one (FHS-12, BHS-12).
pub(super) fn question(bytes: &[u8]) -> Option<Message> {
    let (bytes, _) = without_utf16(head(bytes));
    let mut lines = trimmed_start(&bytes).split(|byte| matches!(byte, b'\r' | b'\n'));
    let header = lines.next()?;
    if !matches!(kind(header), Kind::FileHeader | Kind::BatchHeader) {
        return None;
    }
    let separator = *header.get(3)?;
    let fields = |line: &[u8]| -> Vec<Vec<u8>> {
        let line = &line[..line.len().min(HEADER_BYTES)];
        line.split(|&byte| byte == separator)
            .map(<[u8]>::to_vec)
            .collect()
    };
    let (mut headers, mut message) = (vec![fields(header)], vec![]);
    for line in lines {
        match kind(line) {
            Kind::BatchHeader if headers.len() == 1 => headers.push(fields(line)),
            Kind::Blank | Kind::Other | Kind::FileHeader | Kind::BatchHeader => {}
            Kind::Message => {
                message = fields(trimmed_start(line));
                break;
            }
            Kind::BatchTrailer | Kind::FileTrailer => break,
        }
    }
    // Field n of MSH, FHS and BHS stands behind its (n - 1)th separator. Other delimiters are another language.
    let encoding = headers[0].get(1).cloned().unwrap_or_default();
    headers.retain(|header| header.get(1) == Some(&encoding));
    let is_alike = message.get(1) == Some(&encoding);
    let of_message = |number: usize| message.get(number - 1).filter(|_| is_alike);
    let of_headers = |number: usize| {
        let mut said = headers.iter().filter_map(|header| header.get(number - 1));
        said.find(|field| !field.trim_ascii().is_empty())
    };
    if of_headers(12).is_some() {
        return None;
    }
    let mut msh = b"MSH".to_vec();
    for number in 2..=18 {
        let field = match number {
            2 => Some(&encoding),
            3..=6 => of_headers(number).or_else(|| of_message(number)),
            10 => of_headers(11).or_else(|| of_message(10)),
            11 | 12 | 18 => of_message(number),
            _ => None,
        };
        msh.push(separator);
        msh.extend(field.into_iter().flatten());
    }
    lenient(&msh)
}

/// What a line starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    FileHeader,
    BatchHeader,
    BatchTrailer,
    FileTrailer,
    Blank,
    Other,
}

fn kind(line: &[u8]) -> Kind {
    if line
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | 0 | 0x0B | 0x1C))
    {
        return Kind::Blank;
    }
    let Some(name) = line.first_chunk::<3>() else {
        return Kind::Other;
    };
    let separated = line
        .get(3)
        .is_some_and(|byte| byte.is_ascii_punctuation() || *byte == b'\t');
    match &name.map(|byte| byte.to_ascii_uppercase()) {
        b"MSH" if separated || line.len() == 3 => Kind::Message,
        b"FHS" if separated => Kind::FileHeader,
        b"BHS" if separated => Kind::BatchHeader,
        b"BTS" if separated || line.len() == 3 => Kind::BatchTrailer,
        b"FTS" if separated || line.len() == 3 => Kind::FileTrailer,
        _ => Kind::Other,
    }
}

/// A line of a file: where its text starts and ends, where the next one starts, and whether a frame ends here.
struct Line {
    start: usize,
    end: usize,
    next: usize,
    frame_ends: bool,
}

/// The line at a position. VT counts at its start and FS where the line or the frame ends behind it, so that such
/// bytes inside of a text do not cut a message. Linear over a whole file, whatever it holds.
fn line_at(bytes: &[u8], at: usize) -> Line {
    let mut start = at;
    while matches!(bytes.get(start), Some(0x0B)) || bytes[start..].starts_with(&[0xEF, 0xBB, 0xBF]) {
        start += if bytes[start] == 0x0B { 1 } else { 3 };
    }
    let mut search = start;
    while let Some(found) = memchr3(b'\n', b'\r', 0x1C, &bytes[search..]).map(|found| search + found) {
        let next = found + 1;
        match (bytes[found], bytes.get(next)) {
            (0x1C, Some(b'\r')) if bytes.get(next + 1) == Some(&b'\n') => {
                return Line {
                    start,
                    end: found,
                    next: next + 2,
                    frame_ends: true,
                };
            }
            (0x1C, Some(b'\r' | b'\n')) => {
                return Line {
                    start,
                    end: found,
                    next: next + 1,
                    frame_ends: true,
                };
            }
            (0x1C, Some(0x0B) | None) => {
                return Line {
                    start,
                    end: found,
                    next,
                    frame_ends: true,
                };
            }
            (0x1C, Some(_)) => search = next,
            (b'\r', Some(b'\n')) => {
                return Line {
                    start,
                    end: found,
                    next: next + 1,
                    frame_ends: false,
                };
            }
            _ => {
                return Line {
                    start,
                    end: found,
                    next,
                    frame_ends: false,
                };
            }
        }
    }
    Line {
        start,
        end: bytes.len(),
        next: bytes.len(),
        frame_ends: false,
    }
}

#[derive(Default)]
struct Splitter<'a> {
    file: File<'a>,
    /// The message that is being read: offset and line.
    open: Option<(usize, usize)>,
    junk: Option<(usize, usize)>,
    file_header: Option<usize>,
    batch_header: Option<usize>,
    batches: u64,
    in_batch: u64,
    notes: usize,
}

impl<'a> Splitter<'a> {
    fn note(&mut self, note: Note) {
        if self.file.notes.len() < self.notes {
            self.file.notes.push(note);
        }
    }

    fn close_message(&mut self, bytes: &'a [u8], end: usize) {
        if let Some((offset, line)) = self.open.take() {
            self.file.messages.push(Part {
                bytes: Cow::Borrowed(&bytes[offset..end]),
                offset,
                line,
            });
            self.in_batch += 1;
        }
    }

    fn close_junk(&mut self) {
        if let Some((line, lines)) = self.junk.take() {
            self.note(Note::Junk { line, lines });
        }
    }

    fn close_batch(&mut self) {
        if let Some(line) = self.batch_header.take() {
            self.note(Note::NoTrailer { line, trailer: "BTS" });
            self.batches += 1;
        }
    }
}

fn split<'a>(bytes: &'a [u8], limits: &Limits) -> Result<File<'a>, MapError> {
    let mut splitter = Splitter {
        notes: limits.notes,
        ..Splitter::default()
    };
    let (mut at, mut number) = (0, 0);
    while at < bytes.len() {
        let line = line_at(bytes, at);
        number += 1;
        let text = &bytes[line.start.min(line.end)..line.end];
        let kind = kind(text);
        if !matches!(kind, Kind::Other | Kind::Blank) {
            splitter.close_message(bytes, at);
            splitter.close_junk();
        }
        match kind {
            Kind::Message => {
                if splitter.file.messages.len() >= limits.messages {
                    let what = format!("more than {} messages in one file. Split it.", limits.messages);
                    return Err(MapError::new(
                        Reason::Sequence,
                        Some(&format!("line {number}")),
                        what,
                    ));
                }
                splitter.open = Some((line.start, number));
            }
            Kind::FileHeader => {
                splitter.file.is_batch = true;
                splitter.file_header = Some(number);
                splitter.batches = 0;
            }
            Kind::BatchHeader => {
                splitter.close_batch();
                splitter.file.is_batch = true;
                splitter.batch_header = Some(number);
                splitter.in_batch = 0;
            }
            Kind::BatchTrailer => {
                if splitter.batch_header.take().is_none() {
                    splitter.note(Note::NoHeader {
                        line: number,
                        header: "BHS",
                    });
                }
                let found = splitter.in_batch;
                if let Some(declared) = first_number(text).filter(|&declared| declared != found) {
                    splitter.note(Note::MessageCount {
                        line: number,
                        declared,
                        found,
                    });
                }
                splitter.batches += 1;
                splitter.in_batch = 0;
            }
            Kind::FileTrailer => {
                splitter.close_batch();
                if splitter.file_header.take().is_none() {
                    splitter.note(Note::NoHeader {
                        line: number,
                        header: "FHS",
                    });
                }
                let found = splitter.batches;
                if let Some(declared) = first_number(text).filter(|&declared| declared != found) {
                    splitter.note(Note::BatchCount {
                        line: number,
                        declared,
                        found,
                    });
                }
                splitter.batches = 0;
            }
            Kind::Other if splitter.open.is_none() => {
                splitter.junk = Some(match splitter.junk {
                    Some((first, lines)) => (first, lines + 1),
                    None => (number, 1),
                });
            }
            Kind::Other | Kind::Blank => {}
        }
        if line.frame_ends {
            splitter.close_message(bytes, line.end);
        }
        at = line.next.max(at + 1);
    }
    splitter.close_message(bytes, bytes.len());
    splitter.close_junk();
    splitter.close_batch();
    if let Some(line) = splitter.file_header.take() {
        splitter.note(Note::NoTrailer { line, trailer: "FTS" });
    }
    Ok(splitter.file)
}

/// The number in the first field of a trailer, if it says one.
fn first_number(line: &[u8]) -> Option<u64> {
    let separator = *line.get(3)?;
    let field = line.get(4..)?.split(|&byte| byte == separator).next()?;
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        let file = take_apart(bytes, &Limits::default()).unwrap();
        let mut out = String::new();
        for part in &file.messages {
            let text = String::from_utf8_lossy(&part.bytes)
                .replace('\r', "/")
                .replace('\n', "!");
            out.push_str(&format!("{}@{}: {text}; ", part.line, part.offset));
        }
        for note in &file.notes {
            out.push_str(&format!("{note}; "));
        }
        out
    }

    #[test]
    fn several_messages_one_after_the_other() {
        assert_eq!(
            told(b"MSH|1\rPID|1\rMSH|2\rPID|2"),
            "1@0: MSH|1/PID|1/; 3@12: MSH|2/PID|2; "
        );
        assert_eq!(
            told(b"\xEF\xBB\xBFMSH|1\r\n\r\nMSH|2\r\n"),
            "1@3: MSH|1/!/!; 3@12: MSH|2/!; "
        );
    }

    #[test]
    fn mllp_frames_in_a_file() {
        let two = "1@1: MSH|1/; 2@9: MSH|2/; ";
        assert_eq!(told(b"\x0BMSH|1\r\x1C\x0BMSH|2\r\x1C"), two.replace("2@9", "3@9"));
        assert_eq!(
            told(b"\x0BMSH|1\r\x1C\r\x0BMSH|2\r\x1C\r"),
            two.replace("2@9", "3@10")
        );
        assert_eq!(
            told(b"\x0BMSH|1\x1C\r\x0BMSH|2\x1C\r"),
            "1@1: MSH|1; 2@9: MSH|2; "
        );
        let junk = told(b"\x0BMSH|1\r\x1C\rnoise\r\x0BMSH|a\x1Cb\x0Bc\r\x1C\r");
        assert_eq!(
            junk,
            "1@1: MSH|1/; 4@16: MSH|a\u{1C}b\u{B}c/; line 3: 1 lines that belong to no message; "
        );
    }

    #[test]
    fn counts_of_trailers_are_checked() {
        assert_eq!(
            told(b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\rMSH|2\rBTS|2\rFTS|1\r"),
            "3@18: MSH|1/; 4@24: MSH|2/; "
        );
        let wrong = told(b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\rBTS|2\rFTS|3\r");
        assert!(
            wrong.contains("line 4: BTS-1: 2 messages declared, 1 found"),
            "{wrong}"
        );
        assert!(
            wrong.contains("line 5: FTS-1: 3 batches declared, 1 found"),
            "{wrong}"
        );
        let cut = told(b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\r");
        assert!(cut.contains("line 2: its BTS is missing"), "{cut}");
        assert!(cut.contains("line 1: its FTS is missing"), "{cut}");
        assert!(told(b"MSH|1\rBTS|1\r").contains("line 2: its BHS is missing"));
        assert_eq!(
            told(b"hello\rthere\r"),
            "line 1: 2 lines that belong to no message; "
        );
        assert_eq!(told(b""), "");
    }

    #[test]
    fn too_many_messages_are_refused() {
        let error = take_apart(
            b"MSH|1\rMSH|2\r",
            &Limits {
                messages: 1,
                notes: 1,
            },
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: more than 1 messages in one file. Split it."
        );
    }
}
