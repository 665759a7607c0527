//! Laws of the reader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use dimse::pdu::{self, AssociateRq, Identity, Limit, Pdu, Pdv, Proposed, Role, User};
use dimse::{Assembler, Command, Operation, Piece, Status, tags, uids};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::ae;

const LIMIT: Limit = Limit { data: 4096 };

/// What was said, without the cuts: command and data set of each message.
type Said = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn message() -> impl Strategy<Value = (u8, Vec<u8>, Option<Vec<u8>>)> {
    (
        any::<u8>(),
        any::<u16>(),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..2000)),
    )
        .prop_map(|(context, id, data)| {
            let command = Command::request(Operation::Store, id).uid(tags::AFFECTED_CLASS, uids::MPPS);
            (context | 1, command.write(data.is_some()), data)
        })
}

/// Cuts bytes at these places into at least one fragment.
fn cut(bytes: &[u8], at: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}

/// One P-DATA of several values, as our writer never makes it.
fn p_data(pdvs: &[Pdv]) -> Vec<u8> {
    let mut body = Vec::new();
    for pdv in pdvs {
        body.extend((pdv.data.len() as u32 + 2).to_be_bytes());
        body.extend([pdv.context, u8::from(pdv.is_command) | u8::from(pdv.is_last) << 1]);
        body.extend_from_slice(&pdv.data);
    }
    let mut whole = vec![4, 0];
    whole.extend((body.len() as u32).to_be_bytes());
    whole.extend(body);
    whole
}

fn assembled(chunks: impl Iterator<Item = Vec<u8>>, limit: Limit) -> Said {
    let (mut input, mut assembler, mut pieces) = (BytesMut::new(), Assembler::default(), VecDeque::new());
    for chunk in chunks {
        input.extend_from_slice(&chunk);
        while let Some(pdu) = pdu::next(&mut input, limit).unwrap() {
            let Pdu::Data(pdvs) = pdu else {
                panic!("only P-DATA was written")
            };
            for pdv in pdvs {
                assembler.push(pdv, &mut pieces).unwrap();
            }
        }
    }
    assert!(!assembler.is_within());
    let mut said = Said::new();
    for piece in pieces {
        match piece {
            Piece::Command { command, bytes, .. } => {
                said.push((bytes.to_vec(), command.has_data().then(Vec::new)));
            }
            Piece::Data(data) => said
                .last_mut()
                .unwrap()
                .1
                .as_mut()
                .unwrap()
                .extend_from_slice(&data),
            Piece::End => {}
        }
    }
    said
}

proptest! {
    #[test]
    fn any_cut_of_values_assembles_the_same(
        messages in proptest::collection::vec(message(), 1..4),
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
        in_one in 1_usize..5,
        chunk in 1_usize..3000,
    ) {
        let mut wire = Vec::new();
        for (context, command, data) in &messages {
            let mut pdvs = Vec::new();
            for (bytes, is_command) in [(Some(command), true), (data.as_ref(), false)] {
                let Some(bytes) = bytes else { continue };
                let fragments = cut(bytes, &cuts);
                let last = fragments.len() - 1;
                for (idx, fragment) in fragments.into_iter().enumerate() {
                    pdvs.push(Pdv { context: *context, is_command, is_last: idx == last, data: fragment.into() });
                }
            }
            for together in pdvs.chunks(in_one) {
                wire.extend(p_data(together));
            }
        }
        let expected: Said = messages.into_iter().map(|(_, command, data)| (command, data)).collect();
        let limit = Limit { data: 1 << 20 };
        prop_assert_eq!(assembled(wire.chunks(chunk).map(<[u8]>::to_vec), limit), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0_u8..9) {
        let mut framed = vec![kind, 0];
        framed.extend((bytes.len() as u32).to_be_bytes());
        framed.extend(&bytes);
        for bytes in [framed, bytes] {
            let mut input = BytesMut::from(&bytes[..]);
            let (mut assembler, mut pieces) = (Assembler::default(), VecDeque::new());
            while let Ok(Some(pdu)) = pdu::next(&mut input, LIMIT) {
                let Pdu::Data(pdvs) = pdu else { continue };
                for pdv in pdvs {
                    let _ = assembler.push(pdv, &mut pieces);
                }
            }
            // What a length announces is never taken on trust.
            prop_assert!(input.capacity() < 300 * 1024);
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written(
        classes in proptest::collection::vec(("[0-9.]{1,64}", proptest::collection::vec("[0-9.]{1,64}", 0..5)), 1..128),
        max_length: u32, calling in "[A-Z0-9_]{1,16}", scu: bool, scp: bool, wants_answer: bool,
    ) {
        let roles = classes.iter().take(20).map(|(class, _)| Role { class: class.clone(), scu, scp }).collect();
        let contexts = (0_u8..).zip(classes).map(|(at, (class, syntaxes))| Proposed { id: at * 2 + 1, class, syntaxes });
        let request = AssociateRq {
            version: 1,
            called: ae("PUNTE"),
            calling: ae(&calling),
            application_context: uids::APPLICATION_CONTEXT.to_owned(),
            contexts: contexts.collect(),
            user: User {
                max_length,
                implementation_class: uids::IMPLEMENTATION_CLASS.to_owned(),
                implementation_version: Some("X".to_owned()),
                roles,
                identity: Some(Identity { kind: 1, wants_answer }),
                identity_answer: None,
            },
        };
        let mut written = Vec::new();
        pdu::associate_rq(&request, &mut written);
        let read = pdu::next(&mut BytesMut::from(&written[..]), LIMIT).unwrap();
        prop_assert_eq!(read, Some(Pdu::AssociateRq(Box::new(request))));
    }

    #[test]
    fn a_command_is_read_as_it_was_written(id: u16, status: u16, comment in "[ -~]{0,80}", has_data: bool) {
        let request = Command::request(Operation::NAction, id).uid(tags::REQUESTED_CLASS, uids::COMMITMENT);
        let answer = request.answer(Status(status)).comment(&comment);
        let read = Command::read(&Bytes::from(answer.write(has_data))).unwrap();
        prop_assert_eq!(read.has_data(), has_data);
        prop_assert_eq!(read.status(), Status(status));
        prop_assert_eq!(read.responds_to(), id);
        prop_assert_eq!(read.answers(), Some(Operation::NAction));
    }
}

/// Items that a later edition may have, unknown results, absent syntaxes: read as PS3.8 asks.
#[test]
fn what_means_nothing_is_passed_over() {
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"PUNTE           MODALITY        ");
    body.extend([0xff; 32]);
    body.extend([0x11, 0, 0, 1, 9]);
    body.extend([0x21, 0, 0, 4, 1, 0xff, 3, 0xff]);
    body.extend([0x21, 0, 0, 4, 3, 0, 77, 0]);
    body.extend(b"\x50\0\0\x10\x53\0\0\x04\0\0\0\0\x7f\0\0\x04what");
    let mut whole = vec![2, 0];
    whole.extend((body.len() as u32).to_be_bytes());
    whole.extend(body);
    let Some(Pdu::AssociateAc(acceptance)) = pdu::next(&mut BytesMut::from(&whole[..]), LIMIT).unwrap()
    else {
        panic!("an acceptance");
    };
    let results: Vec<_> = acceptance
        .contexts
        .iter()
        .map(|context| (context.id, context.result.clone()))
        .collect();
    assert_eq!(
        results,
        [(1, Err(pdu::Refusal::Class)), (3, Err(pdu::Refusal::NoReason))]
    );
    let reserved = b"\x03\0\0\0\0\x04\0\x09\x09\x09\x07\0\0\0\0\x04\0\0\x09\x09";
    let mut input = BytesMut::from(&reserved[..]);
    assert!(matches!(
        pdu::next(&mut input, LIMIT),
        Ok(Some(Pdu::AssociateRj(_)))
    ));
    assert!(matches!(pdu::next(&mut input, LIMIT), Ok(Some(Pdu::Abort(_)))));
}

/// Each fault is noticed at the earliest byte, with the reason of PS3.8 9.3.8.
#[test]
fn faults_have_reasons() {
    let cases: [(&[u8], u8); 9] = [
        (b"GET / HTTP/1.1", 1),
        (b"\0", 1),
        (b"\x08", 1),
        (b"\x04\0\xff\xff\xff\xff", 6),
        (b"\x01\0\x00\x04\0\x01", 6),
        (b"\x05\0\0\0\0\x05", 6),
        (b"\x04\0\0\0\0\0", 6),
        (b"\x04\0\0\0\0\x06\0\0\0\x09\x01\x03", 6),
        (b"\x04\0\0\0\0\x05\0\0\0\x01\x01", 6),
    ];
    for (bytes, reason) in cases {
        let fault = pdu::next(&mut BytesMut::from(bytes), LIMIT).expect_err("a fault");
        assert_eq!(
            (fault.abort().source, fault.abort().reason),
            (2, reason),
            "{bytes:?}"
        );
    }
    let values = |pdvs: &[(u8, bool, bool)]| {
        let (mut assembler, mut pieces) = (Assembler::default(), VecDeque::new());
        pdvs.iter().try_for_each(|(context, is_command, is_last)| {
            let command = Command::request(Operation::Store, 1).write(true);
            let data = if *is_command && *is_last {
                command.into()
            } else {
                Bytes::new()
            };
            let pdv = Pdv {
                context: *context,
                is_command: *is_command,
                is_last: *is_last,
                data,
            };
            assembler.push(pdv, &mut pieces)
        })
    };
    assert_eq!(
        values(&[
            (1, true, true),
            (1, false, false),
            (1, false, true),
            (3, true, true)
        ]),
        Ok(())
    );
    for wrong in [
        &[(1, false, true)][..],
        &[(1, true, false), (1, false, true)],
        &[(1, true, true), (1, true, true)],
        &[(1, true, true), (3, false, true)],
        &[(1, true, false), (3, true, true)],
    ] {
        assert!(values(wrong).is_err(), "{wrong:?}");
    }
}
