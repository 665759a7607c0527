//! Peers that break the protocol, by raw sockets: each is answered as PS3.8 asks, and costs nobody else anything.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use dimse::pdu::{self, Abort, Limit, Pdu, Reject};
use dimse::{Command, Error, Limits, Operation, tags, uids};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::provider::listen;
use crate::{CT, ae, proposal, quick, within};

/// A request for an association as our requestor writes it, by which the tests begin.
async fn request_bytes(called: &str) -> Vec<u8> {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let proposal = dimse::Proposal::new(ae("MODALITY"), ae(called))
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE])
        .with(CT, [uids::IMPLICIT_LITTLE]);
    let limits = Limits {
        artim: Duration::from_millis(20),
        ..quick()
    };
    let _ = dimse::request(near, proposal, limits).await;
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    // Without the abort that ended it.
    bytes.truncate(bytes.len() - 10);
    bytes
}

struct Raw {
    stream: TcpStream,
    input: BytesMut,
}

impl Raw {
    async fn to(address: std::net::SocketAddr) -> Self {
        Raw {
            stream: TcpStream::connect(address).await.unwrap(),
            input: BytesMut::new(),
        }
    }

    async fn associated(address: std::net::SocketAddr) -> Self {
        let mut raw = Raw::to(address).await;
        raw.says(&request_bytes("PUNTE").await).await;
        assert!(matches!(raw.hears().await, Some(Pdu::AssociateAc(_))));
        raw
    }

    async fn says(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next PDU; none: closed.
    async fn hears(&mut self) -> Option<Pdu> {
        within(5, async {
            loop {
                if let Some(pdu) = pdu::next(&mut self.input, Limit { data: 1 << 20 }).unwrap() {
                    return Some(pdu);
                }
                if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        })
        .await
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn store(has_data: bool) -> Vec<u8> {
    Command::request(Operation::Store, 1)
        .uid(tags::AFFECTED_CLASS, CT)
        .uid(tags::AFFECTED_INSTANCE, "2.25.1")
        .write(has_data)
}

#[tokio::test]
async fn what_is_no_request_is_aborted_with_the_reason() {
    let (address, taken) = listen(quick()).await;
    let release = written(pdu::release_rq);
    let data = written(|out| pdu::data(1, true, true, &store(false), out));
    let mut no_contexts = request_bytes("PUNTE").await;
    no_contexts.truncate(6 + 68);
    no_contexts[2..6].copy_from_slice(&68_u32.to_be_bytes());
    let cases: [(&[u8], u8); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", 1),
        (b"\x09\0\0\0\0\0", 1),
        (&release, 2),
        (&data, 2),
        (b"\x01\0\x7f\xff\xff\xff", 6),
        (&no_contexts, 6),
    ];
    for (bytes, reason) in cases {
        let mut raw = Raw::to(address).await;
        raw.says(bytes).await;
        assert_eq!(
            raw.hears().await,
            Some(Pdu::Abort(Abort { source: 2, reason })),
            "{bytes:?}"
        );
    }
    taken.ended(6).await;
}

#[tokio::test]
async fn requests_are_rejected_with_the_reason() {
    let (address, taken) = listen(quick()).await;
    let right = request_bytes("PUNTE").await;
    let mut version = right.clone();
    version[7] = 2;
    let mut context = right.clone();
    let at = context.windows(4).position(|bytes| bytes == b"3.1.").unwrap();
    context[at] = b'4';
    let cases = [
        (request_bytes("OTHER").await, Reject::CALLED_AE),
        (version, Reject::VERSION),
        (context, Reject::APPLICATION_CONTEXT),
    ];
    for (bytes, reject) in cases {
        let mut raw = Raw::to(address).await;
        raw.says(&bytes).await;
        assert_eq!(raw.hears().await, Some(Pdu::AssociateRj(reject)));
        // One that does not close after that has ARTIM.
        let begun = Instant::now();
        assert_eq!(raw.hears().await, None);
        assert!(Duration::from_millis(300) < begun.elapsed());
    }
    taken.ended(3).await;
}

#[tokio::test]
async fn a_dripped_request_has_no_more_time_than_another() {
    let (address, taken) = listen(quick()).await;
    let bytes = request_bytes("PUNTE").await;
    let mut raw = Raw::to(address).await;
    let begun = Instant::now();
    for byte in bytes {
        if raw.stream.write_all(&[byte]).await.is_err() || !taken.ends().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        taken.ended(1).await,
        ["the request for an association did not come in time"]
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Nothing at all is the same.
    let silent = Raw::to(address).await;
    taken.ended(2).await;
    drop(silent);
}

#[tokio::test]
async fn an_association_is_aborted_for_what_has_no_place_in_it() {
    let (address, taken) = listen(quick()).await;
    let data = |context: u8, is_command: bool, is_last: bool, bytes: &[u8]| {
        written(|out| pdu::data(context, is_command, is_last, bytes, out))
    };
    let too_long = {
        let mut bytes = data(1, true, true, &store(true));
        bytes.extend(data(1, false, true, &vec![0; quick().max_pdu as usize - 5]));
        bytes
    };
    let many = written(|out| {
        for _ in 0..3 {
            pdu::data(1, true, false, &[0; 30_000], out);
        }
    });
    let cases: [(Vec<u8>, u8); 10] = [
        (request_bytes("PUNTE").await, 2),
        (written(pdu::release_rp), 2),
        (data(1, false, true, b"data"), 2),
        (data(9, true, true, &store(false)), 6),
        (data(3, true, true, b"no command set"), 6),
        (too_long, 6),
        (b"\x04\0\0\0\0\x08\0\0\0\xff\x01\x03\0\0".to_vec(), 6),
        (b"\x04\0\xff\xff\xff\xff".to_vec(), 6),
        (b"\x47".to_vec(), 1),
        (many, 6),
    ];
    let many = cases.len();
    for (idx, (bytes, reason)) in cases.into_iter().enumerate() {
        let mut raw = Raw::associated(address).await;
        // It may have been aborted before it has said all.
        let _ = raw.stream.write_all(&bytes).await;
        assert_eq!(
            raw.hears().await,
            Some(Pdu::Abort(Abort { source: 2, reason })),
            "case {idx}"
        );
    }
    taken.ended(many).await;
    assert!(taken.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_object_that_ends_in_the_middle_was_none() {
    let (address, taken) = listen(quick()).await;
    let begun = written(|out| {
        pdu::data(3, true, true, &store(true), out);
        pdu::data(3, false, false, &[7; 1000], out);
    });
    let mut half = written(|out| pdu::data(3, false, true, &[7; 1000], out));
    half.truncate(500);
    // Released, aborted, closed, closed within a PDU, silent, silent within a PDU.
    let mut raw = Raw::associated(address).await;
    raw.says(&begun).await;
    raw.says(&written(pdu::release_rq)).await;
    assert_eq!(raw.hears().await, Some(Pdu::ReleaseRp));
    drop(raw);
    assert_eq!(
        taken.ended(1).await[0],
        "the association was released by the peer"
    );
    let mut raw = Raw::associated(address).await;
    raw.says(&begun).await;
    raw.says(&written(|out| pdu::abort(Abort::USER, out))).await;
    assert!(taken.ended(2).await[1].starts_with("the peer aborted"));
    let mut raw = Raw::associated(address).await;
    raw.says(&begun).await;
    drop(raw);
    assert!(taken.ended(3).await[2].starts_with("the peer closed"));
    let mut raw = Raw::associated(address).await;
    raw.says(&begun).await;
    raw.says(&half).await;
    drop(raw);
    assert!(taken.ended(4).await[3].starts_with("the peer closed"));
    for (idx, bytes) in [(4, [begun.clone(), vec![]]), (5, [begun, half])] {
        let mut raw = Raw::associated(address).await;
        for bytes in bytes {
            raw.says(&bytes).await;
        }
        assert_eq!(raw.hears().await, Some(Pdu::Abort(Abort::USER)));
        drop(raw);
        assert!(taken.ended(idx + 1).await[idx].ends_with("did not come in time"));
    }
    assert!(taken.messages.lock().unwrap().is_empty());
}

#[tokio::test]
async fn silence_between_messages_has_a_limit_of_its_own() {
    let (address, taken) = listen(Limits {
        idle: Some(Duration::from_millis(100)),
        ..quick()
    })
    .await;
    let mut raw = Raw::associated(address).await;
    let begun = Instant::now();
    assert_eq!(raw.hears().await, Some(Pdu::Abort(Abort::USER)));
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(raw);
    assert_eq!(taken.ended(1).await, ["the next message did not come in time"]);
}

#[tokio::test]
async fn who_takes_no_answers_is_given_up() {
    let (address, taken) = listen(quick()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let mut association = dimse::request(stream, proposal(), quick()).await.unwrap();
    let context = association.context_of(uids::WORKLIST).unwrap();
    // A hundred matches of 4 MB, and nobody reads.
    association.find(&context, &vec![b'q'; 4 << 20]).await.unwrap();
    let ends = taken.ended(1).await;
    assert_eq!(ends, ["room for what we write did not come in time"]);
}

#[tokio::test]
async fn sixty_four_at_once() {
    let (address, taken) = listen(quick()).await;
    let mut peers = Vec::new();
    for at in 0..64 {
        peers.push(tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let limits = Limits {
                within: Duration::from_secs(5),
                artim: Duration::from_secs(5),
                ..quick()
            };
            let mut association = dimse::request(stream, proposal(), limits).await.unwrap();
            let context = association.context(CT, None).unwrap().clone();
            for number in 0..5 {
                let instance = format!("2.25.{at}{number}");
                let object = dimse::scu::Object {
                    class: CT,
                    instance: &instance,
                    originator: None,
                };
                let answer = association
                    .store(&context, &object, &vec![at; 50_000])
                    .await
                    .unwrap();
                assert_eq!(answer.command.get_text(tags::AFFECTED_INSTANCE), Some(instance));
            }
            association.release().await.unwrap();
        }));
    }
    for peer in peers {
        within(20, peer).await.unwrap();
    }
    assert_eq!(taken.count(Operation::Store), 320);
    assert!(
        taken
            .ended(64)
            .await
            .iter()
            .all(|end| end == "the association was released by the peer")
    );
}

/// Providers that break it.
#[tokio::test]
async fn a_requestor_believes_nothing() {
    let acceptance = {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (mut near, taken) = (near, crate::provider::Taken::default());
        near.write_all(&request_bytes("PUNTE").await).await.unwrap();
        let _ = tokio::time::timeout(
            Duration::from_millis(50),
            crate::provider::serve(far, quick(), &taken),
        )
        .await;
        let mut bytes = Vec::new();
        near.read_to_end(&mut bytes).await.unwrap();
        bytes
    };
    let mut other_id = acceptance.clone();
    let at = other_id
        .windows(4)
        .position(|bytes| bytes[0] == 0x21 && bytes[1] == 0)
        .unwrap();
    other_id[at + 4] = 77;
    let other_answer = [acceptance.clone(), {
        let answer = Command::request(Operation::Echo, 99)
            .answer(dimse::Status::SUCCESS)
            .write(false);
        written(|out| pdu::data(1, true, true, &answer, out))
    }]
    .concat();
    let refused_all = {
        let mut bytes = acceptance.clone();
        for at in 0..bytes.len() - 8 {
            if bytes[at] == 0x21 && bytes[at + 1] == 0 {
                bytes[at + 6] = 3;
            }
        }
        bytes
    };
    let cases: [(Vec<u8>, &str); 8] = [
        (
            written(|out| pdu::reject(Reject::LIMIT, out)),
            "the association was rejected: for now",
        ),
        (written(|out| pdu::abort(Abort::USER, out)), "the peer aborted"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "the peer broke the protocol",
        ),
        (written(pdu::release_rp), "the peer broke the protocol"),
        (other_id, "the peer broke the protocol"),
        (
            vec![],
            "the answer to our request for an association did not come in time",
        ),
        (
            other_answer,
            "the peer broke the protocol: an answer to a message that was not sent",
        ),
        (
            refused_all,
            "the peer accepted no presentation context for 1.2.840.10008.1.1",
        ),
    ];
    for (bytes, expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut scrap = vec![0; 4096];
            let _ = stream.read(&mut scrap).await;
            stream.write_all(&bytes).await.unwrap();
            while stream.read(&mut scrap).await.is_ok_and(|read| read != 0) {}
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let echoed: Result<dimse::Status, Error> = async {
            let proposal = dimse::Proposal::new(ae("MODALITY"), ae("PUNTE"))
                .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE])
                .with(CT, [uids::IMPLICIT_LITTLE]);
            dimse::request(stream, proposal, quick()).await?.echo().await
        }
        .await;
        let error = echoed.expect_err("an error").to_string();
        assert!(error.starts_with(expected), "{error}");
        within(5, far).await.unwrap();
    }
}
