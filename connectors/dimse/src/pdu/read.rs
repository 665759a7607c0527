//! PDUs out of bytes.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Abort, Answered, AssociateAc, AssociateRq, Fault, HEADER, Identity, LONGEST_ASSOCIATE, Pdu, Pdv,
    Proposed, Reason, Refusal, Reject, Role, User,
};
use crate::ae::AeTitle;

/// How long a PDU may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// P-DATA, counted after the header: what was said in the negotiation.
    pub data: u32,
}

/// Takes the next PDU out of what came; none: it is not whole yet, and there is room for the rest of it. What can't be
/// one is noticed at its header.
pub fn next(input: &mut BytesMut, limit: Limit) -> Result<Option<Pdu>, Fault> {
    let Some(kind) = input.first().copied() else {
        return Ok(None);
    };
    let longest = match kind {
        1 | 2 => LONGEST_ASSOCIATE,
        3 | 5 | 6 | 7 => 4,
        4 => limit.data,
        _ => return Err(Fault::new(Reason::UnknownPdu, "no such type of PDU")),
    };
    let Some(header) = input.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [_, _, length @ ..] = *header;
    let length = u32::from_be_bytes(length);
    if longest < length {
        return Err(Fault::invalid("the length of a PDU is over the maximum"));
    }
    let whole = HEADER + length as usize;
    if input.len() < whole {
        input.reserve(whole - input.len());
        return Ok(None);
    }
    let mut body = input.split_to(whole).freeze();
    body.advance(HEADER);
    read(kind, body).map(Some)
}

fn read(kind: u8, mut body: Bytes) -> Result<Pdu, Fault> {
    match kind {
        1 => associate_rq(body).map(|rq| Pdu::AssociateRq(Box::new(rq))),
        2 => associate_ac(body).map(|ac| Pdu::AssociateAc(Box::new(ac))),
        4 => pdvs(body).map(Pdu::Data),
        _ => {
            let four = take(&mut body, 4)?;
            let [_, first, second, third] = four[..] else {
                return Err(SHORT);
            };
            Ok(match kind {
                3 => Pdu::AssociateRj(Reject {
                    result: first,
                    source: second,
                    reason: third,
                }),
                5 => Pdu::ReleaseRq,
                6 => Pdu::ReleaseRp,
                _ => Pdu::Abort(Abort {
                    source: second,
                    reason: third,
                }),
            })
        }
    }
}

const SHORT: Fault = Fault::invalid("a PDU or an item of it is shorter than it says");

fn take(from: &mut Bytes, length: usize) -> Result<Bytes, Fault> {
    match length <= from.len() {
        true => Ok(from.split_to(length)),
        false => Err(SHORT),
    }
}

/// PS3.8 9.3.5.1: items of length, context id, control header, fragment.
fn pdvs(mut body: Bytes) -> Result<Vec<Pdv>, Fault> {
    let mut pdvs = Vec::with_capacity(1);
    while !body.is_empty() {
        let mut length = take(&mut body, 4)?;
        let mut item = take(&mut body, length.get_u32() as usize)?;
        let head = take(&mut item, 2)?;
        pdvs.push(Pdv {
            context: head[0],
            is_command: head[1] & 1 != 0,
            is_last: head[1] & 2 != 0,
            data: item,
        });
    }
    match pdvs.is_empty() {
        true => Err(Fault::invalid("a P-DATA without a value")),
        false => Ok(pdvs),
    }
}

/// The next item: type, a reserved byte, length, value.
fn item(from: &mut Bytes) -> Result<Option<(u8, Bytes)>, Fault> {
    if from.is_empty() {
        return Ok(None);
    }
    let head = take(from, 4)?;
    let length = u16::from_be_bytes([head[2], head[3]]);
    Ok(Some((head[0], take(from, length.into())?)))
}

/// What the request and the acceptance begin with: version, reserved, called, calling, reserved (PS3.8 9.3.2, 9.3.3).
fn beginning(body: &mut Bytes) -> Result<(u16, AeTitle, AeTitle), Fault> {
    let head = take(body, 2 + 2 + 16 + 16 + 32)?;
    Ok((
        u16::from_be_bytes([head[0], head[1]]),
        AeTitle::from_wire(&head[4..20]),
        AeTitle::from_wire(&head[20..36]),
    ))
}

fn associate_rq(mut body: Bytes) -> Result<AssociateRq, Fault> {
    let (version, called, calling) = beginning(&mut body)?;
    let mut rq = AssociateRq {
        version,
        called,
        calling,
        application_context: String::new(),
        contexts: Vec::new(),
        user: User::default(),
    };
    let mut seen = [false; 256];
    while let Some((kind, value)) = item(&mut body)? {
        match kind {
            0x10 => rq.application_context = uid(&value),
            0x20 => {
                let context = proposed(value)?;
                let known = &mut seen[usize::from(context.id)];
                if context.id % 2 == 0 || std::mem::replace(known, true) {
                    return Err(Fault::invalid("the id of a context is even, or used twice"));
                }
                rq.contexts.push(context);
            }
            0x50 => rq.user = user(value)?,
            // Unrecognised items are passed over (PS3.8 9.3.1).
            _ => {}
        }
    }
    // Of another version the rest may look otherwise: that it is one, is said by a rejection.
    if rq.contexts.is_empty() && version & 1 != 0 {
        return Err(Fault::invalid("a request without a presentation context"));
    }
    Ok(rq)
}

/// PS3.8 9.3.2.2.
fn proposed(mut value: Bytes) -> Result<Proposed, Fault> {
    let head = take(&mut value, 4)?;
    let mut context = Proposed {
        id: head[0],
        class: String::new(),
        syntaxes: Vec::new(),
    };
    while let Some((kind, value)) = item(&mut value)? {
        match kind {
            0x30 => context.class = uid(&value),
            0x40 => context.syntaxes.push(uid(&value)),
            // Unrecognised items are passed over (PS3.8 9.3.1).
            _ => {}
        }
    }
    Ok(context)
}

fn associate_ac(mut body: Bytes) -> Result<AssociateAc, Fault> {
    let (_, called, calling) = beginning(&mut body)?;
    let mut ac = AssociateAc {
        called,
        calling,
        application_context: String::new(),
        contexts: Vec::new(),
        user: User::default(),
    };
    while let Some((kind, value)) = item(&mut body)? {
        match kind {
            0x10 => ac.application_context = uid(&value),
            0x21 => ac.contexts.push(answered(value)?),
            0x50 => ac.user = user(value)?,
            // Unrecognised items are passed over (PS3.8 9.3.1).
            _ => {}
        }
    }
    Ok(ac)
}

/// PS3.8 9.3.3.2. The syntax of a refused context is not looked at; it may be absent.
fn answered(mut value: Bytes) -> Result<Answered, Fault> {
    let head = take(&mut value, 4)?;
    let result = match head[2] {
        0 => Ok(()),
        1 => Err(Refusal::User),
        3 => Err(Refusal::Class),
        4 => Err(Refusal::Syntaxes),
        _ => Err(Refusal::NoReason),
    };
    let result = match result {
        Err(refusal) => Err(refusal),
        Ok(()) => match item(&mut value)? {
            Some((0x40, syntax)) => Ok(uid(&syntax)),
            Some(_) | None => return Err(Fault::invalid("an accepted context without its transfer syntax")),
        },
    };
    Ok(Answered { id: head[0], result })
}

/// PS3.8 D.1, PS3.7 D.3.3.
fn user(mut value: Bytes) -> Result<User, Fault> {
    let mut user = User::default();
    while let Some((kind, mut value)) = item(&mut value)? {
        match kind {
            0x51 => user.max_length = take(&mut value, 4)?.get_u32(),
            0x52 => user.implementation_class = uid(&value),
            0x54 => {
                let length = take(&mut value, 2)?.get_u16();
                let class = uid(&take(&mut value, length.into())?);
                let roles = take(&mut value, 2)?;
                user.roles.push(Role {
                    class,
                    scu: roles[0] == 1,
                    scp: roles[1] == 1,
                });
            }
            0x55 => user.implementation_version = Some(text(&value)),
            0x58 => {
                let head = take(&mut value, 2)?;
                user.identity = Some(Identity {
                    kind: head[0],
                    wants_answer: head[1] == 1,
                });
            }
            0x59 => {
                let length = take(&mut value, 2)?.get_u16();
                user.identity_answer = Some(take(&mut value, length.into())?);
            }
            // Asynchronous window, extended negotiation, and what a later edition has: not answered.
            _ => {}
        }
    }
    Ok(user)
}

/// Devices pad UIDs with zeros and with spaces.
fn uid(value: &[u8]) -> String {
    text(value)
}

/// Printable ASCII; what is none becomes `?`.
fn text(value: &[u8]) -> String {
    let shown = value.iter().map(|byte| match byte {
        0 => ' ',
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    });
    shown.collect::<String>().trim().to_owned()
}
