//! Both of our ends against each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use dimse::pdu::{self, AssociateRq, Identity, Limit, Pdu, Proposed, User};
use dimse::scu::{Counts, Found, Object, Retrieved};
use dimse::{Answers, Association, Error, Limits, Operation, Requested, Status, tags, uids};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use crate::provider::{Taken, serve};
use crate::{CT, JPEG_2000, ae, proposal, quick, within};

async fn associated(
    ours: Limits,
    theirs: Limits,
) -> (
    Association<DuplexStream>,
    Arc<Taken>,
    JoinHandle<Result<(), Error>>,
) {
    let (near, far) = duplex(64 * 1024);
    let taken = Arc::new(Taken::default());
    let provider = tokio::spawn({
        let taken = taken.clone();
        async move { serve(far, theirs, &taken).await }
    });
    let association = within(5, dimse::request(near, proposal(), ours)).await.unwrap();
    (association, taken, provider)
}

#[tokio::test]
async fn the_services_of_one_association() {
    let (mut association, taken, provider) = associated(quick(), quick()).await;
    assert_eq!(association.echo().await.unwrap(), Status::SUCCESS);
    // The syntax is the first that the requestor names and the provider takes; each context stands for itself.
    let context = association.context(CT, Some(JPEG_2000)).unwrap().clone();
    assert!(association.context(CT, Some(uids::EXPLICIT_LITTLE)).is_none());
    let object = Object {
        class: CT,
        instance: "2.25.1",
        originator: Some((&ae("MOVER"), 9)),
    };
    let answer = association.store(&context, &object, b"pixels").await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(
        answer.command.get_text(tags::AFFECTED_INSTANCE).as_deref(),
        Some("2.25.1")
    );
    let mpps = association.context_of(uids::MPPS).unwrap();
    assert!(
        association
            .n_create(&mpps, "2.25.2", b"created")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert!(
        association
            .n_set(&mpps, "2.25.2", b"set")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert!(
        association
            .n_action(&mpps, "2.25.2", 1, b"action")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert!(
        association
            .n_event_report(&mpps, "2.25.2", 2, b"event")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let no_context = association.context_of(uids::COMMITMENT);
    assert!(matches!(no_context, Err(Error::NoContext { .. })));
    assert!(association.is_alive());
    association.release().await.unwrap();
    assert!(matches!(provider.await.unwrap(), Err(Error::Released)));
    let messages = taken.messages.lock().unwrap();
    let operations: Vec<Operation> = messages.iter().map(|(operation, ..)| *operation).collect();
    assert_eq!(
        operations,
        [
            Operation::Echo,
            Operation::Store,
            Operation::NCreate,
            Operation::NSet,
            Operation::NAction,
            Operation::EventReport
        ]
    );
    assert_eq!(
        (&messages[1].1[..], &messages[1].2[..], &messages[1].3[..]),
        (JPEG_2000, "2.25.1", &b"pixels"[..])
    );
}

#[tokio::test]
async fn a_big_object_comes_in_chunks() {
    // The smallest PDU of the field, and the biggest; odd lengths too.
    for (max_pdu, length) in [(4096, 3_000_001), (128 * 1024, 6_000_000)] {
        let theirs = Limits { max_pdu, ..quick() };
        let (mut association, taken, provider) = associated(quick(), theirs).await;
        let data: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let context = association.context(CT, None).unwrap().clone();
        let object = Object {
            class: CT,
            instance: "2.25.1",
            originator: None,
        };
        assert!(
            association
                .store(&context, &object, &data)
                .await
                .unwrap()
                .status()
                .is_success()
        );
        // The same in parts.
        let asked = association.begin_store(&context, &object);
        for part in data.chunks(100_000) {
            association.send_data(context.id, part, false).await.unwrap();
        }
        association.send_data(context.id, &[], true).await.unwrap();
        assert!(association.answer(asked).await.unwrap().status().is_success());
        association.release().await.unwrap();
        let _ = provider.await;
        let messages = taken.messages.lock().unwrap();
        assert!(messages[0].3 == data && messages[1].3 == data);
        assert!(*taken.longest_chunk.lock().unwrap() <= max_pdu as usize);
    }
}

#[tokio::test]
async fn a_query_is_answered_to_its_end_or_stopped() {
    let (mut association, taken, _provider) = associated(quick(), quick()).await;
    let context = association.context_of(uids::WORKLIST).unwrap();
    let asked = association.find(&context, b"question").await.unwrap();
    let mut matches = 0;
    let end = loop {
        match association.next_match(asked).await.unwrap() {
            Found::Match(answer) => {
                assert_eq!(&answer.data[..], b"question");
                matches += 1;
            }
            Found::End(answer) => break answer,
        }
    };
    assert_eq!((matches, end.status()), (100, Status::SUCCESS));
    *taken.matches.lock().unwrap() = 0;
    // More than the pipe holds, so that the provider still has matches when the cancel comes.
    let asked = association.find(&context, &vec![b'q'; 8000]).await.unwrap();
    assert!(matches!(
        association.next_match(asked).await.unwrap(),
        Found::Match(_)
    ));
    association.cancel(asked).await.unwrap();
    let end = loop {
        if let Found::End(answer) = association.next_match(asked).await.unwrap() {
            break answer;
        }
    };
    assert_eq!(end.status(), Status::CANCELLED);
    assert!(*taken.matches.lock().unwrap() < 100);
    assert_eq!(association.echo().await.unwrap(), Status::SUCCESS);
}

/// What a C-GET provider does: objects on the same association, then the counts.
#[tokio::test]
async fn objects_are_got_on_the_same_association() {
    let (near, far) = duplex(64 * 1024);
    let provider = tokio::spawn(async move {
        let requested = Requested::read(far, quick()).await?;
        assert_eq!(requested.request().user.roles.len(), 1);
        let answers = Answers::by(requested.request(), |proposed| Ok(proposed.syntaxes[0].clone()));
        let mut association = requested.accept(answers).await?;
        let get = association.receive().await?;
        association.whole_data(1000).await?;
        let ct = association.context_of(CT)?;
        for instance in ["2.25.1", "2.25.2"] {
            let object = Object {
                class: CT,
                instance,
                originator: None,
            };
            association.store(&ct, &object, instance.as_bytes()).await?;
            let progress = get
                .command
                .answer(Status::PENDING)
                .number(tags::REMAINING, 1)
                .number(tags::COMPLETED, 1);
            association.send(get.context.id, &progress, None).await?;
        }
        let end = get.command.answer(Status::SUCCESS).number(tags::COMPLETED, 2);
        association.send(get.context.id, &end, None).await?;
        association.receive().await.map(|_| ())
    });
    let proposal = dimse::Proposal::new(ae("US"), ae("PACS"))
        .with(uids::STUDY_ROOT_GET, [uids::IMPLICIT_LITTLE])
        .with(CT, [uids::EXPLICIT_LITTLE])
        .with_role(CT, false, true);
    let mut association = dimse::request(near, proposal, quick()).await.unwrap();
    let context = association.context_of(uids::STUDY_ROOT_GET).unwrap();
    let asked = association.get(&context, b"study").await.unwrap();
    let mut got = Vec::new();
    let end = loop {
        match association.next_retrieved(asked).await.unwrap() {
            Retrieved::Object(message) => {
                got.push(association.whole_data(1000).await.unwrap());
                let answer = message.command.answer(Status::SUCCESS);
                association.send(message.context.id, &answer, None).await.unwrap();
            }
            Retrieved::Progress(answer) => assert_eq!(Counts::of(&answer.command).remaining, Some(1)),
            Retrieved::End(answer) => break answer,
        }
    };
    assert_eq!(got, ["2.25.1", "2.25.2"]);
    assert_eq!(
        Counts::of(&end.command),
        Counts {
            completed: 2,
            ..Counts::default()
        }
    );
    association.release().await.unwrap();
    assert!(matches!(provider.await.unwrap(), Err(Error::Released)));
}

#[tokio::test]
async fn both_release_at_once() {
    let (near, far) = duplex(64 * 1024);
    let provider = tokio::spawn(async move {
        let requested = Requested::read(far, quick()).await.unwrap();
        let answers = Answers::by(requested.request(), |proposed| Ok(proposed.syntaxes[0].clone()));
        requested.accept(answers).await.unwrap().release().await
    });
    let association = dimse::request(near, proposal(), quick()).await.unwrap();
    // Theirs is on its way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    association.release().await.unwrap();
    within(2, provider).await.unwrap().unwrap();
}

/// Each answered once by id, whatever the order; an identity that wants an answer has one; roles only where they are named.
#[tokio::test]
async fn a_request_is_answered_item_by_item() {
    let (mut near, far) = duplex(64 * 1024);
    let taken = Taken::default();
    let context = |id: u8, class: &str, syntaxes: &[&str]| Proposed {
        id,
        class: class.to_owned(),
        syntaxes: syntaxes.iter().map(|syntax| (*syntax).to_owned()).collect(),
    };
    let request = AssociateRq {
        // Bit 0 is looked at, and nothing else.
        version: 3,
        called: ae("PUNTE"),
        calling: ae("MODALITY"),
        application_context: uids::APPLICATION_CONTEXT.to_owned(),
        contexts: vec![
            context(255, CT, &["1.2.840.113619.5.2", JPEG_2000, uids::IMPLICIT_LITTLE]),
            context(3, uids::STUDY_ROOT_FIND, &[uids::IMPLICIT_LITTLE]),
            context(1, CT, &["1.2.840.113619.5.2"]),
            context(5, CT, &[]),
        ],
        user: User {
            max_length: 16384,
            implementation_class: "1.2.3".to_owned(),
            roles: vec![
                dimse::pdu::Role {
                    class: CT.to_owned(),
                    scu: true,
                    scp: true,
                },
                dimse::pdu::Role {
                    class: uids::MPPS.to_owned(),
                    scu: true,
                    scp: true,
                },
            ],
            identity: Some(Identity {
                kind: 1,
                wants_answer: true,
            }),
            ..User::default()
        },
    };
    let mut bytes = Vec::new();
    pdu::associate_rq(&request, &mut bytes);
    near.write_all(&bytes).await.unwrap();
    let answer = async {
        let mut input = BytesMut::new();
        loop {
            if let Some(pdu) = pdu::next(&mut input, Limit { data: 1 << 20 }).unwrap() {
                return pdu;
            }
            assert_ne!(near.read_buf(&mut input).await.unwrap(), 0);
        }
    };
    let provider = serve(far, quick(), &taken);
    let answer = tokio::select! { answer = answer => answer, end = provider => panic!("{end:?}") };
    let Pdu::AssociateAc(acceptance) = answer else {
        panic!("{answer:?}")
    };
    let results: Vec<_> = acceptance
        .contexts
        .iter()
        .map(|context| (context.id, context.result.clone()))
        .collect();
    use dimse::pdu::Refusal;
    assert_eq!(
        results,
        [
            (255, Ok(JPEG_2000.to_owned())),
            (3, Err(Refusal::Class)),
            (1, Err(Refusal::Syntaxes)),
            (5, Err(Refusal::Syntaxes))
        ]
    );
    assert_eq!(
        acceptance.user.roles,
        [dimse::pdu::Role {
            class: CT.to_owned(),
            scu: true,
            scp: false
        }]
    );
    assert_eq!(acceptance.user.identity_answer.as_deref(), Some(&b""[..]));
    assert_eq!(acceptance.user.max_length, quick().max_pdu);
    assert_eq!(acceptance.user.implementation_class, uids::IMPLEMENTATION_CLASS);
    assert_eq!(
        (acceptance.called, acceptance.calling),
        (request.called, request.calling)
    );
}
