//! `patient.name[0].family`, taken apart.

use crate::tree::{Path, Step};

/// Reads a path; the error is a sentence.
pub fn path(written: &str) -> Result<Path, String> {
    let mut path = Path::default();
    let mut rest = written;
    if let Some(after) = rest.strip_prefix('$')
        && (after.is_empty() || after.starts_with(['.', '[']))
    {
        path.from_root = true;
        rest = after.strip_prefix('.').unwrap_or(after);
        if after.is_empty() {
            return Ok(path);
        }
    }
    if rest.is_empty() {
        return Err("an empty path; write one such as \"patient.name[0].family\"".into());
    }
    let mut wants_name = true;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = bracket(inside)?;
            path.steps.push(step);
            rest = after;
            wants_name = false;
            continue;
        }
        if !wants_name {
            let Some(after) = rest.strip_prefix('.') else {
                return Err(format!(
                    "{rest:?} after a bracket; write a dot or another bracket there"
                ));
            };
            rest = after;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() {
            return Err("a name is missing between two dots or at the end".into());
        }
        if name.contains([']', '"']) {
            return Err(format!(
                "{name:?} has a bracket or a quote in it; write it as [\"…\"]"
            ));
        }
        path.steps.push(Step::Name(name.to_owned()));
        rest = &rest[end..];
        wants_name = false;
    }
    Ok(path)
}

/// What stands in brackets, and what follows them.
fn bracket(inside: &str) -> Result<(Step, &str), String> {
    if let Some(quoted) = inside.strip_prefix('"') {
        let end = quoted
            .char_indices()
            .scan(false, |escaped, (at, letter)| {
                let is_end = letter == '"' && !*escaped;
                *escaped = letter == '\\' && !*escaped;
                Some((at, is_end))
            })
            .find_map(|(at, is_end)| is_end.then_some(at))
            .ok_or("a quote is not closed")?;
        let name: String = serde_json::from_str(&format!("\"{}\"", &quoted[..end]))
            .map_err(|_| "what stands in quotes is no JSON text".to_owned())?;
        let after = quoted[end + 1..]
            .strip_prefix(']')
            .ok_or("a bracket is not closed")?;
        return Ok((Step::Name(name), after));
    }
    let (index, after) = inside.split_once(']').ok_or("a bracket is not closed")?;
    let step = match index {
        "*" => Step::Each,
        _ => Step::Nth(index.parse().map_err(|_| {
            format!("[{index}] is no index; write [0] for the first, [*] for each, or [\"…\"] for a name")
        })?),
    };
    Ok((step, after))
}
