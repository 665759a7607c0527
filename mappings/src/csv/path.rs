//! `[2].Nume`, taken apart.

use crate::tree::{Path, Step};

/// Reads a path; the error is a sentence.
pub fn path(written: &str) -> Result<Path, String> {
    let mut path = Path::default();
    let mut rest = written;
    if let Some(inside) = rest.strip_prefix('[') {
        let (index, after) = inside.split_once(']').ok_or("a bracket is not closed")?;
        path.from_root = true;
        path.steps.push(match index {
            "*" => Step::Each,
            _ => {
                let nth = index.parse::<usize>().ok().filter(|nth| *nth != 0);
                let nth =
                    nth.ok_or_else(|| format!("[{index}] is no row; write [1] for the first, [*] for each"))?;
                Step::Nth(nth - 1)
            }
        });
        rest = after
            .strip_prefix('.')
            .ok_or("a column is missing; write one such as [2].Nume")?;
    }
    if rest.is_empty() {
        return Err("a column is missing; write its name, or #3 for the third".into());
    }
    path.steps.push(match rest.strip_prefix('#') {
        Some(number) => {
            let nth = number.parse::<usize>().ok().filter(|nth| *nth != 0);
            Step::Column(nth.ok_or_else(|| format!("{rest:?} is no column; write #1 for the first"))? - 1)
        }
        None => Step::Name(super::column(rest)),
    });
    Ok(path)
}
