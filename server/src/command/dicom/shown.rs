//! A data set as a person reads it.

use std::fmt::Write;

use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::{DataSet, Value};
use mappings::dicom::names;
use mappings::dicom::part10::packing;

/// A line for each element, items indented.
pub fn match_as_text(bytes: &[u8], syntax: &str) -> anyhow::Result<String> {
    let set = DataSet::read(bytes, packing(syntax).coding, Fallback::default())?;
    let mut out = String::new();
    lines(&set, 0, &mut out);
    Ok(out)
}

fn lines(set: &DataSet<'_>, depth: usize, out: &mut String) {
    for element in &set.elements {
        let name = names::name(element.header.tag);
        let indent = "  ".repeat(depth);
        match &element.value {
            Value::Items(items) => {
                for item in items {
                    // Writing to a text can't fail.
                    let _ = writeln!(out, "{indent}{name}:");
                    lines(item, depth + 1, out);
                }
            }
            Value::Bytes(_) | Value::Elsewhere => {
                let shown: String = set
                    .shown(element)
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect();
                let _ = writeln!(out, "{indent}{name}: {shown}");
            }
        }
    }
}
