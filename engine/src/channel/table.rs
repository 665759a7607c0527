//! Code tables: CSV files with the columns system, code, system, code, display. The first line names the columns.
//!
//! Comma or semicolon (what Romanian spreadsheets write), as the first line has it; UTF-8; quoted as RFC 4180 says.
//! The last column may be left out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::format::CodeTable;

/// The largest table that is read, in bytes.
pub const MAX_BYTES: usize = 32 << 20;

/// The most problems of one table that are told.
const MAX_PROBLEMS: usize = 50;

/// What is wrong with a table, and where. Columns count letters, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl fmt::Display for TableProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{} {}",
            self.file.display(),
            self.line,
            self.column,
            self.what
        )
    }
}

/// Reads a table; `file` is only told in problems. All of them at once.
pub fn read(file: &std::path::Path, text: &str) -> Result<CodeTable, Vec<TableProblem>> {
    let mut problems = Vec::new();
    let problem = |line: usize, column: usize, what: String| TableProblem {
        file: file.to_owned(),
        line,
        column,
        what,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if MAX_BYTES < text.len() {
        let most = super::size::show(MAX_BYTES as u64);
        return Err(vec![problem(1, 1, format!("the table is larger than {most}"))]);
    }
    let first_line = text.lines().next().unwrap_or_default();
    let delimiter = if first_line.contains(';') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());

    let mut table = CodeTable::default();
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut record = csv::StringRecord::new();
    let mut is_first = true;
    loop {
        if MAX_PROBLEMS <= problems.len() {
            break;
        }
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(1, |position| position.line() as usize);
                problems.push(problem(line, 1, "this line can't be read as CSV".to_owned()));
                break;
            }
        }
        let (line, start) = record.position().map_or((1, 0), |position| {
            (position.line() as usize, position.byte() as usize)
        });
        // The reader reports the place where it stood before it skipped blank lines.
        let (line, start) = skip_blank_lines(text, line, start);
        if std::mem::take(&mut is_first) {
            if let Err((field, what)) = check_header(&record) {
                problems.push(problem(line, column(text, start, delimiter, field), what));
                break;
            }
            continue;
        }
        if record.iter().all(str::is_empty) {
            continue;
        }
        if !(4..=5).contains(&record.len()) {
            let what = format!(
                "{} columns, where there are five: system, code, system, code, display",
                record.len()
            );
            problems.push(problem(line, 1, what));
            continue;
        }
        let empty = [1, 3].into_iter().find(|field| record[*field].is_empty());
        if let Some(field) = empty {
            let side = if field == 1 { "the partner's" } else { "our" };
            let what = format!("{side} code is missing");
            problems.push(problem(line, column(text, start, delimiter, field), what));
            continue;
        }
        let from = (record[0].to_owned(), record[1].to_owned());
        let to = (
            record[2].to_owned(),
            record[3].to_owned(),
            record.get(4).unwrap_or_default().to_owned(),
        );
        match seen.get(&from) {
            None => {
                seen.insert(from.clone(), line as u64);
                table.rows.insert(from, to);
            }
            Some(_) if table.rows.get(&from) == Some(&to) => {}
            Some(first) => {
                let what = format!("this code stands in line {first} already, with another meaning");
                problems.push(problem(line, column(text, start, delimiter, 1), what));
            }
        }
    }
    if is_first && problems.is_empty() {
        let what = "the table is empty; its first line names the columns: system,code,system,code,display";
        problems.push(problem(1, 1, what.to_owned()));
    }
    if problems.is_empty() {
        Ok(table)
    } else {
        Err(problems)
    }
}

/// The first line must name the columns: a table without it would lose its first code in silence.
fn check_header(record: &csv::StringRecord) -> Result<(), (usize, String)> {
    const NAMES: [&str; 5] = ["system", "code", "system", "code", "display"];
    for (idx, name) in NAMES.iter().enumerate() {
        match record.get(idx) {
            Some(column) if column.eq_ignore_ascii_case(name) => {}
            None if idx == 4 => {}
            _ => {
                let what = format!(
                    "the column \"{name}\" is expected here; the first line is: system,code,system,code,display"
                );
                return Err((idx, what));
            }
        }
    }
    if 5 < record.len() {
        return Err((
            5,
            "five columns are known: system, code, system, code, display".to_owned(),
        ));
    }
    Ok(())
}

fn skip_blank_lines(text: &str, mut line: usize, mut start: usize) -> (usize, usize) {
    while let Some(byte @ (b'\n' | b'\r')) = text.as_bytes().get(start) {
        start += 1;
        line += usize::from(*byte == b'\n');
    }
    (line, start)
}

/// The column in letters at which a field of the record at `start` begins.
fn column(text: &str, start: usize, delimiter: u8, field: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let mut quoted = false;
    let mut fields = 0;
    for (idx, character) in rest.chars().enumerate() {
        if fields == field {
            return idx + 1;
        }
        match character {
            '"' => quoted = !quoted,
            '\n' if !quoted => break,
            other => fields += usize::from(!quoted && other == char::from(delimiter)),
        }
    }
    rest.lines().next().map_or(1, |line| line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &[&str]) {
        let problems: Vec<String> = read(Path::new("t.csv"), text)
            .expect_err("the table is wrong")
            .iter()
            .map(TableProblem::to_string)
            .collect();
        assert_eq!(problems, expected);
    }

    #[test]
    fn reads_rows_with_commas_or_semicolons() {
        let comma =
            "\u{feff}system,code,system,code,display\nlis,K,http://loinc.org,2823-3,\"Potassium, serum\"\n";
        let semicolon =
            "System;Code;System;Code;Display\r\n\r\nlis; K ;http://loinc.org;2823-3;\"Potassium, serum\"\r\n";
        let expected = BTreeMap::from([(
            ("lis".to_owned(), "K".to_owned()),
            (
                "http://loinc.org".to_owned(),
                "2823-3".to_owned(),
                "Potassium, serum".to_owned(),
            ),
        )]);
        for text in [comma, semicolon] {
            assert_eq!(
                read(Path::new("t.csv"), text).expect("a right table").rows,
                expected
            );
        }
    }

    #[test]
    fn the_display_may_be_left_out_and_a_row_may_be_repeated() {
        let table = read(
            Path::new("t.csv"),
            "system,code,system,code\n,K,,2823-3\n,K,,2823-3\n",
        );
        assert_eq!(table.expect("a right table").rows.len(), 1);
    }

    #[test]
    fn says_where_it_is_wrong() {
        refused(
            "",
            &[
                "t.csv:1:1 the table is empty; its first line names the columns: system,code,system,code,display",
            ],
        );
        refused(
            "K,2823-3\n",
            &[
                "t.csv:1:1 the column \"system\" is expected here; the first line is: system,code,system,code,display",
            ],
        );
        refused(
            "system,code,system,kod,display\n",
            &[
                "t.csv:1:20 the column \"code\" is expected here; the first line is: system,code,system,code,display",
            ],
        );
        refused(
            "system,code,system,code,display,note\n",
            &["t.csv:1:33 five columns are known: system, code, system, code, display"],
        );
        refused(
            "system,code,system,code,display\nlis,K,x\n\nțară,,loinc,1,\nlis,A,\"a\nb\",,\nlis,B,x,1,\nlis,B,x,2,\n",
            &[
                "t.csv:2:1 3 columns, where there are five: system, code, system, code, display",
                "t.csv:4:6 the partner's code is missing",
                "t.csv:5:13 our code is missing",
                "t.csv:8:5 this code stands in line 7 already, with another meaning",
            ],
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(system,code,system,code,display\n)?[a-c,;\"\r\nș ]{0,60}") {
            if let Err(problems) = read(Path::new("t.csv"), &text) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
