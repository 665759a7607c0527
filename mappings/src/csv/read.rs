//! A strict reader that knows where each field stands.

use clinic::exchange::MapError;

use crate::tree::{Arena, Document, Kind, Reading, Source, broken};

/// The most columns.
const MAX_COLUMNS: usize = 1_000;

/// Reads a file.
pub fn read<'a>(bytes: &'a [u8], reading: &Reading) -> Result<Document<'a>, MapError> {
    let source = Source::read(bytes, None, reading.charset)?;
    let mut reader = Reader {
        text: &source.text,
        at: 0,
        delimiter: reading.delimiter.unwrap_or_else(|| likely(&source.text)),
    };
    let mut arena = Arena::default();
    let root = arena
        .add(Kind::List, String::new(), 0, 0)
        .map_err(|what| broken(&source.text, 0, what))?;
    let mut columns: Option<Vec<String>> = None;
    while let Some(row) = reader.row()? {
        let start = row.first().map_or(0, |field| field.start);
        let wrong =
            |at: usize, what: String| broken(&source.text, at, format!("{what}. Correct it at the sender."));
        let names = match &columns {
            Some(names) => names,
            None => {
                let names = row.iter().enumerate().map(|(idx, field)| match reading.header {
                    true => super::column(&field.text),
                    false => format!("#{}", idx + 1),
                });
                let names = columns.insert(names.collect());
                if MAX_COLUMNS < names.len() {
                    return Err(wrong(
                        start,
                        format!("{} columns, and 1,000 are the most", names.len()),
                    ));
                }
                if reading.header {
                    continue;
                }
                names
            }
        };
        if row.len() != names.len() {
            let what = format!(
                "This row has {} fields, and the first line {}",
                row.len(),
                names.len()
            );
            return Err(wrong(start, what));
        }
        let parent = arena
            .add(Kind::Map, String::new(), root, start)
            .map_err(|what| broken(&source.text, start, what))?;
        for (field, name) in row.into_iter().zip(names) {
            let node = arena
                .add(Kind::Text, name.clone(), parent, field.start)
                .map_err(|what| broken(&source.text, field.start, what))?;
            let at = &mut arena.nodes[node];
            let span = field.start..field.end;
            (at.span, at.outer, at.inner) = (span.clone(), span.clone(), span);
            at.text = Some(field.text);
            let end = field.end;
            arena.nodes[parent].span.end = end;
        }
        let span = arena.nodes[parent].span.clone();
        (arena.nodes[parent].outer, arena.nodes[parent].inner) = (span.clone(), span);
    }
    let Some(columns) = columns else {
        return Err(broken(
            &source.text,
            0,
            "The file is empty: there is not even a first line.",
        ));
    };
    arena.nodes[root].span = 0..source.text.len();
    Ok(Document {
        nodes: arena.nodes,
        source,
        columns,
    })
}

/// What the first line has most of, outside of quotes. A quote within a field is a letter like others: `5" pipe`.
fn likely(text: &str) -> char {
    let (mut quoted, mut begins) = (false, true);
    let mut counts = [(';', 0), (',', 0), ('\t', 0), ('|', 0)];
    for letter in text.chars() {
        let at_the_beginning = std::mem::take(&mut begins);
        match letter {
            '"' if quoted => {
                quoted = false;
                // A second one would go on with the field.
                begins = true;
            }
            '"' if at_the_beginning => quoted = true,
            '\n' | '\r' if !quoted => break,
            _ if !quoted => {
                if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == letter) {
                    *count += 1;
                    begins = true;
                }
            }
            _ => {}
        }
    }
    // Of two that stand there as often the first one is meant.
    counts
        .iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(';', |(letter, _)| *letter)
}

struct Field {
    text: String,
    start: usize,
    end: usize,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    delimiter: char,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next row; none at the end. Blank lines are passed over.
    fn row(&mut self) -> Result<Option<Vec<Field>>, MapError> {
        self.at += self.rest().len() - self.rest().trim_start_matches(['\n', '\r']).len();
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut row = vec![];
        loop {
            row.push(self.field()?);
            match self.rest().chars().next() {
                Some(letter) if letter == self.delimiter => self.at += letter.len_utf8(),
                Some('\n') => {
                    self.at += 1;
                    return Ok(Some(row));
                }
                Some('\r') => {
                    self.at += if self.rest().starts_with("\r\n") { 2 } else { 1 };
                    return Ok(Some(row));
                }
                Some(_) => {
                    let what = "Text after a closing quote. Correct it at the sender.";
                    return Err(broken(self.text, self.at, what));
                }
                None => return Ok(Some(row)),
            }
            if MAX_COLUMNS < row.len() {
                return Err(broken(
                    self.text,
                    self.at,
                    "More than 1,000 columns. Is this a CSV file?",
                ));
            }
        }
    }

    fn field(&mut self) -> Result<Field, MapError> {
        let start = self.at;
        let Some(inside) = self.rest().strip_prefix('"') else {
            let delimiter = self.delimiter;
            let length = self
                .rest()
                .find([delimiter, '\n', '\r'])
                .unwrap_or(self.rest().len());
            self.at += length;
            let text = self.text[start..self.at].to_owned();
            return Ok(Field {
                text,
                start,
                end: self.at,
            });
        };
        let mut text = String::new();
        let mut letters = inside.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if letter != '"' {
                text.push(letter);
            } else if letters.peek().is_some_and(|(_, next)| *next == '"') {
                letters.next();
                text.push('"');
            } else {
                self.at = start + 1 + at + 1;
                return Ok(Field {
                    text,
                    start,
                    end: self.at,
                });
            }
        }
        Err(broken(
            self.text,
            start,
            "A quote that is not closed. Correct it at the sender.",
        ))
    }
}
