//! Modalities, well-behaved and not, against the source of DICOM.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use connectors::dicom::part10::{self, Meta};
use dimse::pdu::Reject;
use dimse::scu::{Found, Object};
use dimse::{Association, Error, Limits, Proposal, Status, uids};
use engine::connector::Outcome;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::dicom::{CT, Clinic, SECONDARY, ae, data_set, dcmtk, file};
use crate::{Running, paths, within};

async fn dicom(more: Value, clinic: &Arc<Clinic>) -> Running {
    dicom_of(&connectors::all(), more, clinic).await
}

async fn dicom_of(connectors: &engine::connector::Connectors, more: Value, clinic: &Arc<Clinic>) -> Running {
    let mut settings = json!({
        "listen": "127.0.0.1:0", "services": ["store", "worklist", "mpps", "commitment"],
        "artim": "500ms", "message_timeout": "500ms",
    });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let connector = connectors.get("dicom").unwrap();
    assert_eq!(connector.check_source(&settings), []);
    let source = connector
        .open_source(&settings, &Default::default())
        .await
        .unwrap();
    let address = source.local_address().unwrap();
    let stop = engine::connector::Stop::new();
    let intake: engine::connector::Intake = clinic.clone();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { source.run(intake, stop).await.unwrap() }
    });
    Running { address, stop, task }
}

fn proposal(calling: &str, called: &str) -> Proposal {
    let both = [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE];
    Proposal::new(ae(calling), ae(called))
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE])
        .with(CT, both)
        .with(uids::WORKLIST, both)
        .with(uids::MPPS, both)
        .with(uids::COMMITMENT, both)
        .with(uids::STUDY_ROOT_FIND, both)
}

async fn associated(running: &Running, proposal: Proposal) -> Result<Association<TcpStream>, Error> {
    let stream = TcpStream::connect(running.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    within(5, dimse::request(stream, proposal, Limits::default())).await
}

#[tokio::test]
async fn dicom_takes_what_is_about_no_patient_only_where_that_is_offered() {
    const HANGING: &str = "1.2.840.10008.5.1.4.38.1";
    let clinic = Arc::new(Clinic::default());
    let proposed = || proposal("WS1", "PUNTE").with(HANGING, [uids::EXPLICIT_LITTLE]);
    let running = dicom(json!({ "services": ["store"] }), &clinic).await;
    let workstation = associated(&running, proposed()).await.unwrap();
    assert!(workstation.context(CT, None).is_some());
    assert!(workstation.context(HANGING, None).is_none());
    workstation.release().await.unwrap();
    let running = dicom(json!({ "services": ["non-patient"] }), &clinic).await;
    let mut workstation = associated(&running, proposed()).await.unwrap();
    assert!(workstation.context(CT, None).is_none());
    let context = workstation.context_of(HANGING).unwrap();
    let object = Object {
        class: HANGING,
        instance: "2.25.1",
        originator: None,
    };
    let answer = workstation
        .store(&context, &object, b"how it hangs")
        .await
        .unwrap();
    assert_eq!(answer.status(), Status::SUCCESS);
    workstation.release().await.unwrap();
    let taken = clinic.taken();
    assert_eq!((taken.len(), taken[0].header("service")), (1, Some("store")));
}

#[tokio::test]
async fn dicom_hands_in_a_file_and_answers_what_the_format_says() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({}), &clinic).await;
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    assert!(modality.echo().await.unwrap().is_success());
    let context = modality.context_of(CT).unwrap();
    let object = Object {
        class: CT,
        instance: "2.25.1",
        originator: None,
    };
    let answer = modality
        .store(&context, &object, b"the data set as it is")
        .await
        .unwrap();
    assert_eq!(answer.status(), Status::SUCCESS);
    // The format's words count: its status and its comment.
    clinic.says(&["A900 the UIDs differ"]);
    let answer = modality.store(&context, &object, b"another").await.unwrap();
    assert_eq!(answer.status(), Status::DATA_SET_MISMATCH);
    let comment = answer.command.get_text(dimse::tags::ERROR_COMMENT);
    assert_eq!(comment.as_deref(), Some("the UIDs differ"));
    clinic.says(&[]);
    for (outcome, store, create) in [
        (Outcome::Stored, 0x0000, 0x0000),
        (Outcome::Failed, 0xC000, 0x0110),
        (Outcome::Unavailable, 0xA700, 0x0213),
    ] {
        *clinic.outcome.lock().unwrap() = outcome;
        assert_eq!(
            modality.store(&context, &object, b"x").await.unwrap().status().0,
            store
        );
        let mpps = modality.context_of(uids::MPPS).unwrap();
        assert_eq!(
            modality
                .n_create(&mpps, "2.25.5", b"created")
                .await
                .unwrap()
                .status()
                .0,
            create
        );
    }
    let commitment = modality.context_of(uids::COMMITMENT).unwrap();
    modality
        .n_action(&commitment, uids::COMMITMENT_INSTANCE, 1, b"list")
        .await
        .unwrap();
    modality.release().await.unwrap();
    let taken = clinic.taken();
    let first = &taken[0];
    assert_eq!(first.content_type, "application/dicom");
    assert_eq!(first.header("calling-ae"), Some("CT1"));
    assert_eq!(first.header("called-ae"), Some("PUNTE"));
    assert_eq!(first.header("service"), Some("store"));
    assert!(
        first
            .header("peer")
            .is_some_and(|peer| peer.starts_with("127.0.0.1:"))
    );
    let meta = Meta {
        class: CT.to_owned(),
        instance: "2.25.1".to_owned(),
        syntax: uids::EXPLICIT_LITTLE.to_owned(),
        command: None,
    };
    let expected = [
        part10::head(&meta, &ae("CT1"), &ae("PUNTE")),
        b"the data set as it is".to_vec(),
    ]
    .concat();
    assert_eq!(first.body, expected);
    let services: Vec<_> = taken
        .iter()
        .filter_map(|incoming| incoming.header("service"))
        .collect();
    assert_eq!(services[2..4], ["store", "mpps-create"]);
    assert_eq!(services.last(), Some(&"commitment"));
    let (meta, at) = part10::read(&taken[3].body).unwrap();
    assert_eq!(&taken[3].body[at..], b"created");
    let command = dimse::Command::read(&meta.command.unwrap()).unwrap();
    assert_eq!(command.operation(), Some(dimse::Operation::NCreate));
    running.stopped().await;
}

#[tokio::test]
async fn dicom_answers_a_worklist_question_match_by_match() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({}), &clinic).await;
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let context = modality.context_of(uids::WORKLIST).unwrap();
    clinic.says(&["one", "two", "0000"]);
    let asked = modality.find(&context, b"who?").await.unwrap();
    let mut matches = Vec::new();
    let end = loop {
        match modality.next_match(asked).await.unwrap() {
            Found::Match(answer) => matches.push(answer.data),
            Found::End(answer) => break answer,
        }
    };
    assert_eq!(
        (matches, end.status()),
        (vec!["one".into(), "two".into()], Status::SUCCESS)
    );
    assert_eq!(clinic.asked.lock().unwrap().len(), 1);
    assert!(clinic.taken().is_empty());
    // Stopped: nothing more comes.
    let many: Vec<String> = (0..5000)
        .map(|number| format!("{number:01000}"))
        .chain(["0000".to_owned()])
        .collect();
    clinic.says(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let asked = modality.find(&context, b"who?").await.unwrap();
    assert!(matches!(
        modality.next_match(asked).await.unwrap(),
        Found::Match(_)
    ));
    modality.cancel(asked).await.unwrap();
    let mut count = 1;
    let end = loop {
        match modality.next_match(asked).await.unwrap() {
            Found::Match(_) => count += 1,
            Found::End(answer) => break answer,
        }
    };
    assert_eq!(end.status(), Status::CANCELLED);
    assert!(count < 5000);
    // A failure has no matches.
    clinic.says(&["A900 no such level"]);
    let asked = modality.find(&context, b"who?").await.unwrap();
    let Found::End(answer) = modality.next_match(asked).await.unwrap() else {
        panic!("an end")
    };
    assert_eq!(answer.status(), Status::DATA_SET_MISMATCH);
    running.stopped().await;
}

#[tokio::test]
async fn dicom_refuses_what_is_not_meant() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(
        json!({ "services": ["store"], "allow": ["CT1@127.0.0.1", "US2@10.0.0.0/8", "MR3"] }),
        &clinic,
    )
    .await;
    for (calling, called, expected) in [
        ("CT1", "PUNTE", None),
        ("MR3", "PUNTE", None),
        ("CT1", "OTHER", Some(Reject::CALLED_AE)),
        ("US2", "PUNTE", Some(Reject::CALLING_AE)),
        ("XX9", "PUNTE", Some(Reject::CALLING_AE)),
    ] {
        match (associated(&running, proposal(calling, called)).await, expected) {
            (Ok(association), None) => association.release().await.unwrap(),
            (Err(Error::Rejected(reject)), Some(expected)) => {
                assert_eq!(reject, expected, "{calling} {called}")
            }
            (other, _) => panic!("{calling} {called}: {:?}", other.err()),
        }
    }
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let classes: Vec<&str> = modality
        .contexts()
        .iter()
        .map(|context| context.class.as_str())
        .collect();
    assert_eq!(classes, [uids::VERIFICATION, CT]);
    let context = modality.context_of(CT).unwrap();
    // A class that is not that of the context, an instance that is no UID, an operation of another service.
    let store = async |modality: &mut Association<TcpStream>, class, instance| {
        let object = Object {
            class,
            instance,
            originator: None,
        };
        modality.store(&context, &object, b"data").await.unwrap().status()
    };
    assert_eq!(
        store(&mut modality, SECONDARY, "2.25.1").await,
        Status::CLASS_NOT_SUPPORTED
    );
    assert_eq!(
        store(&mut modality, CT, "../../etc").await,
        Status::INVALID_INSTANCE
    );
    let set = modality.n_set(&context, "2.25.1", b"data").await.unwrap();
    assert_eq!(set.status(), Status::UNRECOGNIZED_OPERATION);
    let unknown =
        |id| dimse::Command::request(dimse::Operation::NDelete, id).number(dimse::tags::FIELD, 0x0999);
    let answer = modality.ask(&context, unknown, None).await.unwrap();
    assert_eq!(answer.status(), Status::UNRECOGNIZED_OPERATION);
    assert_eq!(store(&mut modality, CT, "2.25.1").await, Status::SUCCESS);
    assert_eq!(clinic.taken().len(), 1);
    running.stopped().await;
}

#[tokio::test]
async fn dicom_channels_share_an_address_by_title_and_service() {
    let connectors = connectors::all();
    let (store, worklist, other) = (
        Arc::new(Clinic::default()),
        Arc::new(Clinic::default()),
        Arc::new(Clinic::default()),
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let at = |title: &str, services: &[&str]| json!({ "listen": format!("127.0.0.1:{port}"), "ae_title": title, "services": services });
    let first = dicom_of(&connectors, at("PUNTE", &["store"]), &store).await;
    let second = dicom_of(&connectors, at("PUNTE", &["worklist", "echo"]), &worklist).await;
    let third = dicom_of(&connectors, at("ARCHIVE", &["store"]), &other).await;
    let dicom = connectors.get("dicom").unwrap();
    for (wrong, why) in [
        (
            at("PUNTE", &["mpps", "store"]),
            "Another channel offers \"store\" as PUNTE",
        ),
        (
            json!({ "listen": format!("127.0.0.1:{port}"), "services": ["mpps"], "max_associations": 3 }),
            "must agree",
        ),
    ] {
        let mut wrong = wrong;
        wrong["artim"] = json!("500ms");
        wrong["message_timeout"] = json!("500ms");
        let error = dicom
            .open_source(&wrong, &Default::default())
            .await
            .err()
            .unwrap();
        assert!(error.what.contains(why), "{error}");
    }
    let mut modality = associated(&first, proposal("CT1", "PUNTE")).await.unwrap();
    let object = Object {
        class: CT,
        instance: "2.25.1",
        originator: None,
    };
    let context = modality.context_of(CT).unwrap();
    assert!(
        modality
            .store(&context, &object, b"data")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let question = modality.context_of(uids::WORKLIST).unwrap();
    worklist.says(&["0000"]);
    let asked = modality.find(&question, b"who?").await.unwrap();
    assert!(matches!(modality.next_match(asked).await.unwrap(), Found::End(_)));
    // One channel stops; the others go on, also on the same association.
    first.stopped().await;
    let answer = modality.store(&context, &object, b"data").await.unwrap();
    assert_eq!(answer.status(), Status::OUT_OF_RESOURCES);
    let asked = modality.find(&question, b"who?").await.unwrap();
    assert!(matches!(modality.next_match(asked).await.unwrap(), Found::End(_)));
    let archive = associated(&third, proposal("CT1", "ARCHIVE")).await.unwrap();
    assert!(archive.context(uids::WORKLIST, None).is_none());
    second.stopped().await;
    third.stopped().await;
    assert_eq!(
        (store.taken().len(), worklist.taken().len(), other.taken().len()),
        (1, 0, 0)
    );
    assert_eq!(worklist.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn dicom_takes_so_many_associations_and_rejects_the_next_for_now() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({ "max_associations": 2 }), &clinic).await;
    let first = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let second = associated(&running, proposal("CT2", "PUNTE")).await.unwrap();
    let Err(Error::Rejected(reject)) = associated(&running, proposal("CT3", "PUNTE")).await else {
        panic!("there is no room");
    };
    assert_eq!(reject, Reject::LIMIT);
    first.release().await.unwrap();
    let mut third = associated(&running, proposal("CT3", "PUNTE")).await;
    for _ in 0..100 {
        if third.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        third = associated(&running, proposal("CT3", "PUNTE")).await;
    }
    assert!(third.is_ok());
    drop(second);
    running.stopped().await;
}

#[tokio::test]
async fn dicom_keeps_the_beginning_of_what_is_too_long() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({ "max_object": "1 MB" }), &clinic).await;
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let context = modality.context_of(CT).unwrap();
    let object = Object {
        class: CT,
        instance: "2.25.1",
        originator: None,
    };
    let answer = modality
        .store(&context, &object, &vec![7; 1_048_577])
        .await
        .unwrap();
    assert_eq!(answer.status(), Status::CANNOT_UNDERSTAND);
    let answer = modality
        .store(&context, &object, &vec![7; 900_000])
        .await
        .unwrap();
    assert_eq!(answer.status(), Status::SUCCESS);
    let kept = clinic.kept.lock().unwrap().clone();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, 256 * 1024);
    assert!(
        kept[0].1.contains("over the limit of 1048576 bytes"),
        "{}",
        kept[0].1
    );
    running.stopped().await;
}

#[tokio::test]
async fn dicom_knows_no_object_that_broke_off() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({}), &clinic).await;
    for end in ["abort", "close", "silence"] {
        let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
        let context = modality.context_of(CT).unwrap();
        let object = Object {
            class: CT,
            instance: "2.25.1",
            originator: None,
        };
        let asked = modality.begin_store(&context, &object);
        modality
            .send_data(context.id, &vec![7; 300_000], false)
            .await
            .unwrap();
        match end {
            "abort" => modality.abort(Duration::from_millis(10)).await,
            "close" => drop(modality.into_stream()),
            _ => {
                let error = modality.answer(asked).await.err().unwrap();
                assert!(matches!(error, Error::PeerAborted(_)), "{error}");
            }
        }
    }
    // What is no association ends, and costs nobody else anything.
    let mut rubbish = TcpStream::connect(running.address).await.unwrap();
    rubbish.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    assert!(modality.echo().await.unwrap().is_success());
    assert!(clinic.taken().is_empty() && clinic.kept.lock().unwrap().is_empty());
    running.stopped().await;
}

#[tokio::test]
async fn dicom_stops_within_a_second_and_answers_what_it_took() {
    let clinic = Arc::new(Clinic::default());
    *clinic.slow.lock().unwrap() = Duration::from_millis(300);
    let running = dicom(json!({}), &clinic).await;
    let idle = associated(&running, proposal("CT2", "PUNTE")).await.unwrap();
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let context = modality.context_of(CT).unwrap();
    let busy = tokio::spawn(async move {
        let object = Object {
            class: CT,
            instance: "2.25.1",
            originator: None,
        };
        let answer = modality.store(&context, &object, b"data").await.unwrap();
        (answer.status(), modality.echo().await.is_err())
    });
    crate::until("the message is being stored", || {
        clinic.under_way.load(Ordering::SeqCst) == 1
    })
    .await;
    let took = running.stopped().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(busy.await.unwrap(), (Status::SUCCESS, true));
    drop(idle);
    // A store that never comes back: cut, without an answer.
    *clinic.slow.lock().unwrap() = Duration::from_secs(30);
    let running = dicom(json!({}), &clinic).await;
    let mut modality = associated(&running, proposal("CT1", "PUNTE")).await.unwrap();
    let context = modality.context_of(CT).unwrap();
    let busy = tokio::spawn(async move {
        let object = Object {
            class: CT,
            instance: "2.25.1",
            originator: None,
        };
        modality.store(&context, &object, b"data").await.is_err()
    });
    crate::until("the message is being stored", || {
        clinic.under_way.load(Ordering::SeqCst) == 1
    })
    .await;
    assert!(running.stopped().await < Duration::from_millis(1500));
    assert!(busy.await.unwrap());
}

#[tokio::test]
async fn dicom_against_dcmtk() {
    let clinic = Arc::new(Clinic::default());
    let running = dicom(json!({ "artim": "5s", "message_timeout": "5s" }), &clinic).await;
    let port = running.address.port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<String> = (0..20)
        .map(|number| {
            let path = folder.path().join(format!("{number}.dcm"));
            std::fs::write(&path, file(CT, &format!("2.25.{number}"), 40_000)).unwrap();
            path.to_string_lossy().into_owned()
        })
        .collect();
    let run = async |program: &'static str, args: &[&str], files: &[String]| {
        let mut command = Command::new(program);
        command
            .args(["-aet", "CT1", "-aec", "PUNTE"])
            .args(args)
            .args(["127.0.0.1", &port])
            .args(files);
        dcmtk(command).await
    };
    run("echoscu", &["-v"], &[]).await;
    let begun = std::time::Instant::now();
    run("storescu", &["-v"], &paths).await;
    // With Nagle's algorithm on either side each would take 40 ms.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let taken = clinic.taken();
    assert_eq!(taken.len(), 20);
    for (number, incoming) in taken.iter().enumerate() {
        let sent = file(CT, &format!("2.25.{number}"), 40_000);
        let (meta, at) = part10::read(&incoming.body).unwrap();
        assert_eq!(meta.instance, format!("2.25.{number}"));
        assert_eq!(&incoming.body[at..], data_set(&sent));
    }
    clinic.says(&["0000"]);
    let keys = ["-W".to_owned(), "-k".to_owned(), "PatientName".to_owned()];
    // findscu takes its keys before the address too.
    run("findscu", &["-v", &keys[0], &keys[1], &keys[2]], &[]).await;
    let asked = clinic.asked.lock().unwrap()[0].body.clone();
    let (meta, _) = part10::read(&asked).unwrap();
    assert_eq!(
        (meta.class.as_str(), meta.instance.as_str()),
        (uids::WORKLIST, "")
    );
    assert!(meta.command.is_some());
    running.stopped().await;
}

fn end(settings: &Value) -> engine::connector::EndSettings<'_> {
    engine::connector::EndSettings {
        is_source: true,
        settings,
        file: std::path::Path::new("channels/other.toml"),
    }
}

#[test]
fn dicom_settings_are_checked() {
    let dicom = connectors::all().get("dicom").unwrap();
    let wrong = json!({
        "listen": "11112", "ae_title": "A title that is too long", "services": [], "allow": ["CT1", "CT2@lis", ""],
        "max_associations": 0, "max_pdu": "16", "idle_timeout": "5 min", "artim": "0s", "message_timeout": "x",
        "max_object": "1 B",
    });
    let expected = [
        "services",
        "listen",
        "ae_title",
        "allow[1]",
        "allow[2]",
        "max_associations",
        "max_pdu",
        "artim",
        "idle_timeout",
        "message_timeout",
        "max_object",
    ];
    let mut found = paths(&dicom.check_source(&wrong))
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    found.sort();
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(found, expected);
    // Two channels of one address: said before anything starts.
    let of = |title: &str, service: &str, idle: &str| json!({ "listen": "127.0.0.1:11112", "ae_title": title, "services": [service], "idle_timeout": idle });
    let first = of("PUNTE", "store", "1m");
    for (other, expected) in [
        (of("PUNTE", "worklist", "1m"), None),
        (of("ARCHIVE", "store", "1m"), None),
        (of("PUNTE", "store", "1m"), Some("services")),
        (of("PUNTE", "worklist", "2m"), Some("listen")),
    ] {
        let clash = dicom.clash(end(&first), end(&other));
        assert_eq!(
            clash.as_ref().map(|clash| clash.path.as_str()),
            expected,
            "{other}"
        );
    }
    // Who reads the worklist is to be known, beyond this machine.
    let open = json!({ "listen": "0.0.0.0:11112", "services": ["worklist"] });
    assert_eq!(paths(&dicom.check_source(&open)), ["allow"]);
    let open = json!({ "listen": "0.0.0.0:11112", "services": ["worklist"], "allow": ["CT1"] });
    assert_eq!(dicom.check_source(&open), []);
    let unknown = json!({ "listen": "127.0.0.1:11112", "services": ["fax"] });
    assert_eq!(dicom.check_source(&unknown).len(), 1);
    let wrong = json!({ "connect": "pacs", "called_ae": "", "calling_ae": "\\", "reply_timeout": "soon", "tls": { "cert": "a.pem" } });
    assert_eq!(
        paths(&dicom.check_destination(&wrong)),
        ["reply_timeout", "connect", "called_ae", "calling_ae", "tls.cert"]
    );
}
