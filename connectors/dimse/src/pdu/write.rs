//! PDUs into bytes.

use super::{Abort, Answered, AssociateAc, AssociateRq, HEADER, Proposed, Refusal, Reject, User};
use crate::ae::AeTitle;

/// What a P-DATA with one value has before its fragment: the header of the PDU, the length of the item, context, control.
pub const DATA_HEADER: usize = HEADER + 4 + 2;

/// A-ASSOCIATE-RQ.
pub fn associate_rq(rq: &AssociateRq, out: &mut Vec<u8>) {
    pdu(1, out, |out| {
        beginning(rq.version, &rq.called, &rq.calling, out);
        item(0x10, out, |out| out.extend(rq.application_context.bytes()));
        for context in &rq.contexts {
            proposed(context, out);
        }
        user(&rq.user, out);
    });
}

/// A-ASSOCIATE-AC.
pub fn associate_ac(ac: &AssociateAc, out: &mut Vec<u8>) {
    pdu(2, out, |out| {
        beginning(1, &ac.called, &ac.calling, out);
        item(0x10, out, |out| out.extend(ac.application_context.bytes()));
        for context in &ac.contexts {
            answered(context, out);
        }
        user(&ac.user, out);
    });
}

/// A-ASSOCIATE-RJ.
pub fn reject(reject: Reject, out: &mut Vec<u8>) {
    pdu(3, out, |out| {
        out.extend([0, reject.result, reject.source, reject.reason])
    });
}

/// A P-DATA-TF with one value.
pub fn data(context: u8, is_command: bool, is_last: bool, fragment: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(fragment.len() + 2).unwrap_or(u32::MAX);
    out.reserve(DATA_HEADER + fragment.len());
    out.extend([4, 0]);
    out.extend(length.saturating_add(4).to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend([context, u8::from(is_command) | u8::from(is_last) << 1]);
    out.extend_from_slice(fragment);
}

/// A-RELEASE-RQ.
pub fn release_rq(out: &mut Vec<u8>) {
    pdu(5, out, |out| out.extend([0; 4]));
}

/// A-RELEASE-RP.
pub fn release_rp(out: &mut Vec<u8>) {
    pdu(6, out, |out| out.extend([0; 4]));
}

/// A-ABORT.
pub fn abort(abort: Abort, out: &mut Vec<u8>) {
    pdu(7, out, |out| out.extend([0, 0, abort.source, abort.reason]));
}

fn pdu(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend([kind, 0, 0, 0, 0, 0]);
    let begin = out.len();
    body(out);
    let length = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
    out[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
}

/// Our own items are far below 64 KB: at most 128 contexts, a few syntaxes each, a role for each context.
fn item(kind: u8, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend([kind, 0, 0, 0]);
    let begin = out.len();
    value(out);
    let length = u16::try_from(out.len() - begin).unwrap_or(u16::MAX);
    out[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
}

fn beginning(version: u16, called: &AeTitle, calling: &AeTitle, out: &mut Vec<u8>) {
    out.extend(version.to_be_bytes());
    out.extend([0; 2]);
    out.extend(called.field());
    out.extend(calling.field());
    out.extend([0; 32]);
}

fn proposed(context: &Proposed, out: &mut Vec<u8>) {
    item(0x20, out, |out| {
        out.extend([context.id, 0, 0, 0]);
        item(0x30, out, |out| out.extend(context.class.bytes()));
        for syntax in &context.syntaxes {
            item(0x40, out, |out| out.extend(syntax.bytes()));
        }
    });
}

fn answered(context: &Answered, out: &mut Vec<u8>) {
    let (code, syntax) = match &context.result {
        Ok(syntax) => (0, syntax.as_str()),
        // Its syntax is not looked at (PS3.8 9.3.3.2), but some readers want the item.
        Err(refusal) => (refusal.code(), crate::uids::IMPLICIT_LITTLE),
    };
    item(0x21, out, |out| {
        out.extend([context.id, 0, code, 0]);
        item(0x40, out, |out| out.extend(syntax.bytes()));
    });
}

impl Refusal {
    fn code(self) -> u8 {
        match self {
            Refusal::User => 1,
            Refusal::NoReason => 2,
            Refusal::Class => 3,
            Refusal::Syntaxes => 4,
        }
    }
}

/// In the order of their types, as PS3.7 D.3.3 has them.
fn user(user: &User, out: &mut Vec<u8>) {
    item(0x50, out, |out| {
        item(0x51, out, |out| out.extend(user.max_length.to_be_bytes()));
        item(0x52, out, |out| out.extend(user.implementation_class.bytes()));
        for role in &user.roles {
            item(0x54, out, |out| {
                let length = u16::try_from(role.class.len()).unwrap_or(u16::MAX);
                out.extend(length.to_be_bytes());
                out.extend(role.class.bytes());
                out.extend([u8::from(role.scu), u8::from(role.scp)]);
            });
        }
        if let Some(version) = &user.implementation_version {
            item(0x55, out, |out| out.extend(version.bytes()));
        }
        if let Some(identity) = &user.identity {
            item(0x58, out, |out| {
                out.extend([identity.kind, u8::from(identity.wants_answer), 0, 0, 0, 0])
            });
        }
        if let Some(answer) = &user.identity_answer {
            item(0x59, out, |out| {
                let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
                out.extend(length.to_be_bytes());
                out.extend_from_slice(answer);
            });
        }
    });
}
