//! Any bytes, cut anywhere: no panic, no memory for what a length only announces, and the same messages as in one packet.
#![no_main]

use std::collections::VecDeque;

use bytes::BytesMut;
use dimse::pdu::{self, Limit, Pdu};
use dimse::{Assembler, Command, Piece};
use libfuzzer_sys::fuzz_target;

const LIMIT: Limit = Limit { data: 16 * 1024 };

/// What came: associations and rejections as text, commands, data sets glued together.
fn said<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>) {
    let (mut input, mut assembler, mut pieces) = (BytesMut::new(), Assembler::default(), VecDeque::new());
    let (mut said, mut data) = (Vec::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match pdu::next(&mut input, LIMIT) {
                Ok(None) => break,
                Err(fault) => {
                    said.push(fault.to_string());
                    return (said, data);
                }
                Ok(Some(Pdu::Data(pdvs))) => {
                    for pdv in pdvs {
                        if let Err(fault) = assembler.push(pdv, &mut pieces) {
                            said.push(fault.to_string());
                            return (said, data);
                        }
                    }
                }
                Ok(Some(pdu)) => {
                    said.push(format!("{pdu:?}"));
                    write_again(pdu);
                }
            }
            assert!(input.capacity() < 1 << 20);
        }
        for piece in pieces.drain(..) {
            match piece {
                Piece::Command { context, command, bytes } => {
                    said.push(format!("{context} {command:?}"));
                    let again = Command::read(&command.write(command.has_data()).into());
                    assert_eq!(again.map(|again| again.operation()), Ok(command.operation()));
                    assert!(bytes.len() <= 64 * 1024);
                }
                Piece::Data(part) => data.extend_from_slice(&part),
                Piece::End => said.push(data.len().to_string()),
            }
        }
    }
    (said, data)
}

/// What was read can be written, and is then read as the same.
fn write_again(pdu: Pdu) {
    let mut out = Vec::new();
    match &pdu {
        Pdu::AssociateRq(request) => pdu::associate_rq(request, &mut out),
        Pdu::AssociateAc(acceptance) => pdu::associate_ac(acceptance, &mut out),
        _ => return,
    }
    let _ = pdu::next(&mut BytesMut::from(&out[..]), LIMIT);
}

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else { return };
    let step = usize::from(*step) + 1;
    assert_eq!(said(std::iter::once(bytes)), said(bytes.chunks(step)));
});
