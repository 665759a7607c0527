//! `/order/item[2]/@id`, taken apart.

use crate::tree::{Path, Step};

/// Reads a path; the error is a sentence.
pub fn path(written: &str) -> Result<Path, String> {
    let mut path = Path::default();
    let mut rest = written;
    if let Some(after) = rest.strip_prefix('/') {
        path.from_root = true;
        rest = after;
    }
    if rest.is_empty() {
        return match path.from_root {
            true => Ok(path),
            false => Err("an empty path; write one such as \"/order/item/@id\"".into()),
        };
    }
    if rest.starts_with('/') {
        return Err("`//` is not known here; write the whole way from the root".into());
    }
    let parts: Vec<&str> = rest.split('/').collect();
    for (idx, part) in parts.iter().enumerate() {
        let is_last = idx + 1 == parts.len();
        let step = step(part)?;
        if !is_last && matches!(step, Step::Attribute(_) | Step::Text) {
            return Err(format!("{part:?} ends a path; nothing follows it"));
        }
        path.steps.push(step);
    }
    Ok(path)
}

fn step(part: &str) -> Result<Step, String> {
    if part == "text()" {
        return Ok(Step::Text);
    }
    if let Some(name) = part.strip_prefix('@') {
        return match super::is_name(name) {
            true => Ok(Step::Attribute(name.to_owned())),
            false => Err(format!("{part:?} is no name of an attribute")),
        };
    }
    let (name, nth) = match part.split_once('[') {
        None => (part, None),
        Some((name, index)) => {
            let nth = index
                .strip_suffix(']')
                .and_then(|index| index.parse::<usize>().ok())
                .filter(|nth| *nth != 0)
                .ok_or_else(|| {
                    format!("[{index} is no index; write [1] for the first, or nothing for each")
                })?;
            (name, Some(nth))
        }
    };
    if name != "*" && !super::is_name(name) {
        return Err(match name {
            "" => "a name is missing between two / or at the end".to_owned(),
            _ => format!("{name:?} is no name of an element"),
        });
    }
    Ok(Step::Child {
        name: name.to_owned(),
        nth,
    })
}
