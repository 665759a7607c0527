//! Any bytes, cut anywhere: no panic, no memory for what a length only announces, and the same messages as in one packet.
#![no_main]

use std::collections::VecDeque;

use bytes::BytesMut;
use dimse::pdu::{self, Limit, Pdu};
use dimse::{Assembler, Command, Piece};
use libfuzzer_sys::fuzz_target;

const LIMIT: Limit = Limit { data: 16 * 1024 };

/// What came: associations and rejections as text, commands, data sets glued together.
#[derive(Debug, Default, PartialEq)]
struct Said {
    words: Vec<String>,
    data: Vec<u8>,
}

fn said<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Said {
    let (mut input, mut assembler, mut said) = (BytesMut::new(), Assembler::default(), Said::default());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match pdu::next(&mut input, LIMIT) {
                Ok(None) => break,
                Err(fault) => return said.and(fault.to_string()),
                Ok(Some(Pdu::Data(pdvs))) => {
                    let mut pieces = VecDeque::new();
                    let pushed = pdvs.into_iter().try_for_each(|pdv| assembler.push(pdv, &mut pieces));
                    pieces.into_iter().for_each(|piece| said.take(piece));
                    if let Err(fault) = pushed {
                        return said.and(fault.to_string());
                    }
                }
                Ok(Some(pdu)) => {
                    said.words.push(format!("{pdu:?}"));
                    write_again(pdu);
                }
            }
            assert!(input.capacity() < 1 << 20);
        }
    }
    said
}

impl Said {
    fn and(mut self, word: String) -> Self {
        self.words.push(word);
        self
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Command { context, command, bytes } => {
                self.words.push(format!("{context} {command:?}"));
                let again = Command::read(&command.write(command.has_data()).into());
                assert_eq!(again.map(|again| again.operation()), Ok(command.operation()));
                assert!(bytes.len() <= 64 * 1024);
            }
            Piece::Data(part) => self.data.extend_from_slice(&part),
            Piece::End => self.words.push(self.data.len().to_string()),
        }
    }
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
