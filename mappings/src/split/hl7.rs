//! HL7 v2 files: the messages, if the file is whole.

use clinic::exchange::{MapError, Reason};

use super::{Limits, Part, Parts, wrong};
use crate::hl7v2::batch::{self, take_apart};

pub(super) fn split<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Vec<Part<'a>>, MapError> {
    let most = batch::Limits {
        messages: limits.parts,
        notes: 10,
    };
    let file = take_apart(bytes, &most)?;
    if let Some(first) = file.notes.first() {
        let more = match file.notes.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let what = format!("{first}{more}. Nothing of the file is taken; have it sent again whole.");
        return Err(MapError::new(Reason::Sequence, None, what));
    }
    if file.messages.is_empty() && !file.is_batch {
        return Err(wrong(
            "line 1",
            "no HL7 message begins in this file (MSH, FHS or BHS)",
        ));
    }
    let mut parts = Parts::new(limits);
    for message in file.messages {
        parts.push(format!("line {}", message.line), None, message.bytes)?;
    }
    Ok(parts.parts)
}
