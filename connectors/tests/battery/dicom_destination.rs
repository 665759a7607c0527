//! Archives, well-behaved and not, against the destination of DICOM.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::dicom::part10::{self, Meta};
use dimse::pdu::{Refusal, Reject};
use dimse::{Answers, Error, Limits, Operation, Requested, Status, uids};
use engine::connector::{Destination, Outgoing, SendError};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::dicom::{CT, SECONDARY, ae, data_set, file};
use crate::{destination, outgoing, within};

/// What an archive does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer(Status),
    Abort,
    AbortMidway,
    /// On objects; an echo is answered.
    AbortObjects,
    Nothing,
}

/// Number of the association, operation, instance, data set.
type Heard = (usize, Operation, String, Vec<u8>);

#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<Heard>>,
    associations: Mutex<usize>,
    /// Those that were proposed last.
    roles: Mutex<Vec<dimse::pdu::Role>>,
    released: Mutex<usize>,
}

impl Seen {
    fn messages(&self) -> Vec<Heard> {
        self.messages.lock().unwrap().clone()
    }
}

struct Archive {
    port: u16,
    seen: Arc<Seen>,
    does: Arc<Mutex<Does>>,
}

impl Archive {
    /// Takes objects of all classes but those named.
    async fn without(refused: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, does) = (
            Arc::new(Seen::default()),
            Arc::new(Mutex::new(Does::Answer(Status::SUCCESS))),
        );
        let shared = (seen.clone(), does.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut count = shared.0.associations.lock().unwrap();
                    *count += 1;
                    *count
                };
                let (seen, does) = shared.clone();
                tokio::spawn(async move {
                    let ended = serve(stream, number, refused, &seen, &does).await;
                    if matches!(ended, Err(Error::Released)) {
                        *seen.released.lock().unwrap() += 1;
                    }
                });
            }
        });
        Archive { port, seen, does }
    }

    async fn sender(&self, more: Value) -> Arc<dyn Destination> {
        sender(self.port, more).await
    }

    fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    async fn released(&self, many: usize) {
        crate::until("associations are released", || {
            *self.seen.released.lock().unwrap() == many
        })
        .await;
    }
}

async fn serve(
    stream: TcpStream,
    number: usize,
    refused: &[&str],
    seen: &Seen,
    does: &Mutex<Does>,
) -> Result<(), Error> {
    let limits = Limits {
        artim: Duration::from_secs(1),
        ..Limits::default()
    };
    let requested = Requested::read(stream, limits).await?;
    *seen.roles.lock().unwrap() = requested.request().user.roles.clone();
    if requested.request().called != ae("PACS") {
        return requested.reject(Reject::CALLED_AE).await;
    }
    let answers = Answers::by(requested.request(), |proposed| {
        match refused.contains(&proposed.class.as_str()) {
            true => Err(Refusal::Class),
            false => proposed.syntaxes.first().cloned().ok_or(Refusal::Syntaxes),
        }
    });
    let mut association = requested.accept(answers).await?;
    loop {
        let message = association.receive().await?;
        let operation = message.command.operation().unwrap();
        let does = *does.lock().unwrap();
        if does == Does::AbortMidway {
            association.data().await?;
            association.abort(Duration::from_millis(100)).await;
            return Ok(());
        }
        let data = association.whole_data(64 << 20).await?;
        let instance = message.command.instance().unwrap_or_default();
        seen.messages
            .lock()
            .unwrap()
            .push((number, operation, instance, data.to_vec()));
        match (does, operation) {
            (Does::Answer(_) | Does::AbortObjects, Operation::Echo) => {
                association
                    .send(message.context.id, &message.command.answer(Status::SUCCESS), None)
                    .await?;
            }
            (Does::Answer(status), _) => {
                let answer = message.command.answer(status).comment("as it is told");
                association.send(message.context.id, &answer, None).await?;
            }
            (Does::Abort | Does::AbortMidway | Does::AbortObjects, _) => {
                association.abort(Duration::from_millis(100)).await;
                return Ok(());
            }
            (Does::Nothing, _) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
}

async fn sender(port: u16, more: Value) -> Arc<dyn Destination> {
    let mut settings = json!({
        "connect": format!("127.0.0.1:{port}"), "called_ae": "PACS", "calling_ae": "PUNTE", "reply_timeout": "500ms",
        "connect_timeout": "2s",
    });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    destination("dicom", settings).await
}

fn object(class: &str, instance: &str) -> Outgoing {
    outgoing(file(class, instance, 50_000))
}

pub async fn sent(sender: &Arc<dyn Destination>, outgoing: &Outgoing) -> String {
    match within(10, sender.send(outgoing, &|_| true)).await {
        Ok(response) => format!("answer {}", String::from_utf8_lossy(&response.body)),
        Err(SendError::Retry { why, .. }) => format!("retry {why}"),
        Err(SendError::Refused { why }) => format!("refused {why}"),
        Err(SendError::Unsure { why }) => format!("unsure {why}"),
        Err(SendError::BrokenOff { why, is_sent }) => format!("broken off, sent: {is_sent}. {why}"),
    }
}

#[tokio::test]
async fn dicom_sends_many_objects_by_one_association() {
    let archive = Archive::without(&[]).await;
    let sender = archive.sender(json!({ "keep_open": "200ms" })).await;
    for number in 0..20 {
        let object = object(CT, &format!("2.25.{number}"));
        assert_eq!(sent(&sender, &object).await, "answer 0000 as it is told");
    }
    // Another class was not proposed: that association is released, and the next proposes both.
    assert_eq!(
        sent(&sender, &object(SECONDARY, "2.25.50")).await,
        "answer 0000 as it is told"
    );
    archive.released(1).await;
    for (class, instance) in [(CT, "2.25.51"), (SECONDARY, "2.25.52")] {
        assert_eq!(
            sent(&sender, &object(class, instance)).await,
            "answer 0000 as it is told"
        );
    }
    let messages = archive.seen.messages();
    assert_eq!(messages.len(), 23);
    assert!(messages[..20].iter().all(|(association, ..)| *association == 1));
    assert!(messages[20..].iter().all(|(association, ..)| *association == 2));
    assert_eq!(messages[7].3, data_set(&file(CT, "2.25.7", 50_000)));
    // Nobody uses it any more: it is released in order.
    archive.released(2).await;
    // And where none is kept, each object has its own.
    let sender = archive.sender(json!({ "keep_open": "0s" })).await;
    for number in 60..62 {
        assert_eq!(
            sent(&sender, &object(CT, &format!("2.25.{number}"))).await,
            "answer 0000 as it is told"
        );
    }
    archive.released(4).await;
}

#[tokio::test]
async fn dicom_tells_what_is_known() {
    let archive = Archive::without(&[SECONDARY]).await;
    let sender = archive.sender(json!({})).await;
    let ct = object(CT, "2.25.1");
    archive.does(Does::Answer(Status::OUT_OF_RESOURCES));
    assert_eq!(sent(&sender, &ct).await, "answer A700 as it is told");
    // Taken whole, and no word: it may be there. Whoever aborts at an echo too may be going down.
    for does in [Does::Abort, Does::Nothing] {
        archive.does(does);
        let result = sent(&sender, &ct).await;
        assert!(result.starts_with("unsure No answer:"), "{does:?}: {result}");
    }
    // Not taken whole: it is not there.
    archive.does(Does::AbortMidway);
    let result = sent(&sender, &outgoing(file(CT, "2.25.1", 30_000_000))).await;
    assert!(
        result.starts_with("broken off, sent: false. The far side did not take the message"),
        "{result}"
    );
    archive.does(Does::Answer(Status::SUCCESS));
    assert_eq!(sent(&sender, &ct).await, "answer 0000 as it is told");
    let associations = *archive.seen.associations.lock().unwrap();
    for _ in 0..2 {
        let result = sent(&sender, &object(SECONDARY, "2.25.1")).await;
        assert!(
            result.starts_with("refused PACS takes no objects of class"),
            "{result}"
        );
    }
    // That it does not, is not found out anew each time.
    assert_eq!(*archive.seen.associations.lock().unwrap(), associations + 1);
    // Nobody there; somebody else there; no DICOM file.
    let other = archive.sender(json!({ "called_ae": "OTHER" })).await;
    let result = sent(&other, &ct).await;
    assert!(
        result.starts_with("retry No association with OTHER") && result.contains("1/1/7"),
        "{result}"
    );
    assert!(other.probe().await.is_err());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = self::sender(port, json!({})).await;
    let result = sent(&nobody, &ct).await;
    assert!(result.starts_with("retry Can't connect"), "{result}");
    assert!(nobody.probe().await.is_err());
    for body in [b"MSH|^~\\&".to_vec(), vec![], vec![0; 200]] {
        let result = sent(&sender, &outgoing(body)).await;
        assert!(
            result.starts_with("refused The message can't be sent as DICOM"),
            "{result}"
        );
    }
}

#[tokio::test]
async fn dicom_tells_who_breaks_off_at_an_object_and_is_there() {
    let archive = Archive::without(&[]).await;
    let sender = archive.sender(json!({ "keep_open": "1m" })).await;
    let ct = object(CT, "2.25.1");
    // A new association, broken off: it has just let us in.
    archive.does(Does::Abort);
    let result = sent(&sender, &ct).await;
    assert!(
        result.starts_with("broken off, sent: true. No answer: the peer aborted"),
        "{result}"
    );
    // One that was kept may break for other reasons. Who answers an echo is there …
    archive.does(Does::Answer(Status::SUCCESS));
    sent(&sender, &ct).await;
    archive.does(Does::AbortObjects);
    let result = sent(&sender, &ct).await;
    assert!(result.starts_with("broken off, sent: true."), "{result}");
    // … and the association of the echo is kept for the next one.
    let associations = *archive.seen.associations.lock().unwrap();
    archive.does(Does::Answer(Status::SUCCESS));
    assert_eq!(sent(&sender, &ct).await, "answer 0000 as it is told");
    assert_eq!(*archive.seen.associations.lock().unwrap(), associations);
    // Who aborts then too may be going down.
    archive.does(Does::Abort);
    let result = sent(&sender, &ct).await;
    assert!(result.starts_with("unsure No answer"), "{result}");
}

#[tokio::test]
async fn dicom_notices_an_association_that_has_died() {
    let archive = Archive::without(&[]).await;
    let sender = archive.sender(json!({ "keep_open": "1m" })).await;
    assert_eq!(
        sent(&sender, &object(CT, "2.25.1")).await,
        "answer 0000 as it is told"
    );
    archive.does(Does::Abort);
    let result = sent(&sender, &object(CT, "2.25.2")).await;
    assert!(result.starts_with("unsure"), "{result}");
    archive.does(Does::Answer(Status::SUCCESS));
    assert_eq!(
        sent(&sender, &object(CT, "2.25.2")).await,
        "answer 0000 as it is told"
    );
    sender.probe().await.unwrap();
    // The second was to see whether it is there, and was aborted too.
    assert_eq!(*archive.seen.associations.lock().unwrap(), 3);
    let messages = archive.seen.messages();
    assert_eq!(messages.last().unwrap().1, Operation::Echo);
}

#[tokio::test]
async fn dicom_sends_on_what_came_as_a_performed_procedure_step() {
    let archive = Archive::without(&[]).await;
    let sender = archive.sender(json!({})).await;
    for (operation, requested) in [(Operation::NCreate, false), (Operation::NSet, true)] {
        let (class, instance) = match requested {
            true => (dimse::tags::REQUESTED_CLASS, dimse::tags::REQUESTED_INSTANCE),
            false => (dimse::tags::AFFECTED_CLASS, dimse::tags::AFFECTED_INSTANCE),
        };
        let command = dimse::Command::request(operation, 700)
            .uid(class, uids::MPPS)
            .uid(instance, "2.25.1");
        let meta = Meta {
            class: uids::MPPS.to_owned(),
            instance: "2.25.1".to_owned(),
            syntax: uids::IMPLICIT_LITTLE.to_owned(),
            command: Some(command.write(true).into()),
        };
        let body = [
            part10::head(&meta, &ae("CT1"), &ae("PUNTE")),
            b"attributes".to_vec(),
        ]
        .concat();
        assert_eq!(sent(&sender, &outgoing(body)).await, "answer 0000 as it is told");
    }
    let messages = archive.seen.messages();
    let said: Vec<_> = messages
        .iter()
        .map(|(_, operation, instance, data)| (*operation, &instance[..], &data[..]))
        .collect();
    let attributes = &b"attributes"[..];
    assert_eq!(
        said,
        [
            (Operation::NCreate, "2.25.1", attributes),
            (Operation::NSet, "2.25.1", attributes)
        ]
    );
}

/// The result of a commitment goes out on an association of ours, on which we are the provider (PS3.4 J.3.3).
#[tokio::test]
async fn dicom_proposes_its_role_for_the_result_of_a_commitment() {
    let archive = Archive::without(&[]).await;
    let sender = archive.sender(json!({})).await;
    let command = dimse::Command::request(Operation::EventReport, 3)
        .uid(dimse::tags::AFFECTED_CLASS, uids::COMMITMENT)
        .uid(dimse::tags::AFFECTED_INSTANCE, uids::COMMITMENT_INSTANCE)
        .number(dimse::tags::EVENT_TYPE, 2);
    let meta = Meta {
        class: uids::COMMITMENT.to_owned(),
        instance: uids::COMMITMENT_INSTANCE.to_owned(),
        syntax: uids::IMPLICIT_LITTLE.to_owned(),
        command: Some(command.write(true).into()),
    };
    let body = [part10::head(&meta, &ae("CT1"), &ae("PUNTE")), b"result".to_vec()].concat();
    assert_eq!(sent(&sender, &outgoing(body)).await, "answer 0000 as it is told");
    let roles = archive.seen.roles.lock().unwrap().clone();
    let provider = dimse::pdu::Role {
        class: uids::COMMITMENT.to_owned(),
        scu: false,
        scp: true,
    };
    assert_eq!(roles, [provider]);
    assert_eq!(archive.seen.messages()[0].1, Operation::EventReport);
}

/// A program that listens, until it is dropped.
pub struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn storescp(folder: &std::path::Path, options: &[&str]) -> (Listening, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new("storescp")
        .args(["--fork", "+xa", "+B", "-od"])
        .arg(folder)
        .args(options)
        .arg(port.to_string())
        .env("TCP_NODELAY", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("storescp: {error}. Install it with: apt-get install dcmtk"));
    let listening = Listening(child);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return (listening, port);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("storescp does not listen");
}

#[tokio::test]
async fn dicom_to_storescp_of_dcmtk() {
    let folder = tempfile::tempdir().unwrap();
    let (_listening, port) = storescp(folder.path(), &[]).await;
    let sender = sender(port, json!({ "reply_timeout": "10s" })).await;
    sender.probe().await.unwrap();
    let begun = Instant::now();
    for number in 0..50 {
        assert_eq!(
            sent(&sender, &object(CT, &format!("2.25.{number}"))).await,
            "answer 0000"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let kept = std::fs::read(folder.path().join("CT.2.25.7")).unwrap();
    assert!(kept.ends_with(data_set(&file(CT, "2.25.7", 50_000))));
    let (_listening, port) = storescp(folder.path(), &["--abort-after"]).await;
    let sender = self::sender(port, json!({ "reply_timeout": "10s" })).await;
    let result = sent(&sender, &object(CT, "2.25.99")).await;
    assert!(result.starts_with("broken off, sent: true"), "{result}");
}

#[tokio::test]
async fn dicom_against_our_own_source() {
    let clinic = Arc::new(crate::dicom::Clinic::default());
    let source = connectors::all().get("dicom").unwrap();
    let settings = json!({ "listen": "127.0.0.1:0", "ae_title": "PACS", "services": ["store"] });
    let source = source.open_source(&settings, &Default::default()).await.unwrap();
    let port = source.local_address().unwrap().port();
    let stop = engine::connector::Stop::new();
    let task = tokio::spawn({
        let (intake, stop): (engine::connector::Intake, _) = (clinic.clone(), stop.clone());
        async move { source.run(intake, stop).await.unwrap() }
    });
    let sender = sender(port, json!({ "reply_timeout": "10s" })).await;
    sender.probe().await.unwrap();
    for number in 0..30 {
        let outgoing = outgoing(Bytes::from(file(
            CT,
            &format!("2.25.{number}"),
            300_000 * (number % 3),
        )));
        assert_eq!(sent(&sender, &outgoing).await, "answer 0000");
    }
    let taken = clinic.taken();
    assert_eq!(taken.len(), 30);
    let (meta, at) = part10::read(&taken[29].body).unwrap();
    assert_eq!(meta.instance, "2.25.29");
    assert_eq!(&taken[29].body[at..], data_set(&file(CT, "2.25.29", 600_000)));
    stop.cancel();
    within(3, task).await.unwrap();
}
