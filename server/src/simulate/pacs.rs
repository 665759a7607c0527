//! An archive: takes what is stored into a folder, answers C-ECHO and C-FIND over it, and says what it keeps for good.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use connectors::dicom::Caller;
use connectors::dicom::part10::{self, Meta};
use connectors::tls::{Acceptor, Stream};
use dimse::pdu::{Refusal, Reject};
use dimse::{AeTitle, Answers, Association, Error, Limits, Message, Operation, Requested, Status, uids};
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::part10::packing;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::commitment::{self, Asked};
use super::modality::said;
use super::shelf::{Put, Shelf};
use super::{PLAIN, written};

/// The longest question, or request for commitment, that is read.
const LONGEST: usize = 4 << 20;

/// How an archive misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// The first so many associations are rejected, to come again.
    pub reject: usize,
    /// Objects are refused with this status,
    pub status: Option<Status>,
    /// the first so many; none: all of them.
    pub refuse: Option<usize>,
    /// It waits so long before each answer.
    pub slow: Option<Duration>,
    /// Once it has so many objects, it aborts in the middle of the next one, once.
    pub abort_after: Option<usize>,
}

/// Whom it tells what it does, a line each.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// An archive.
pub struct Pacs {
    /// Its AE title; none: whatever it is called.
    title: Option<AeTitle>,
    shelf: Shelf,
    manners: Manners,
    /// Where reports of storage commitment go; none: back by the association that asked.
    report_to: Option<Caller>,
    tell: Tell,
    requested: AtomicUsize,
    refused: AtomicUsize,
    came: AtomicUsize,
    aborted: AtomicUsize,
    associations: AtomicUsize,
    changed: Notify,
}

impl Pacs {
    /// With the objects that lie in a folder.
    pub fn open(
        title: Option<AeTitle>,
        folder: &Path,
        manners: Manners,
        report_to: Option<Caller>,
        tell: Tell,
    ) -> anyhow::Result<Arc<Pacs>> {
        Ok(Arc::new(Pacs {
            title,
            shelf: Shelf::open(folder)?,
            manners,
            report_to,
            tell,
            requested: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            came: AtomicUsize::new(0),
            aborted: AtomicUsize::new(0),
            associations: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    /// What it holds.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Waits until it has taken so many objects, and nobody is associated any more.
    pub async fn has_taken(&self, objects: usize) {
        loop {
            let changed = self.changed.notified();
            let is_idle = self.associations.load(Ordering::Acquire) == 0;
            if is_idle && objects <= self.came.load(Ordering::Acquire) {
                return;
            }
            changed.await;
        }
    }

    /// Serves whoever calls; ends where the listener does.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, acceptor: Acceptor) -> anyhow::Result<()> {
        loop {
            let (stream, peer) = listener
                .accept()
                .await
                .context("no further connection can be taken")?;
            let (pacs, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor.accept(stream, peer).await {
                    Some(stream) => {
                        pacs.associations.fetch_add(1, Ordering::AcqRel);
                        pacs.associated(stream, peer).await;
                        pacs.associations.fetch_sub(1, Ordering::AcqRel);
                        pacs.changed.notify_waiters();
                    }
                    None => (pacs.tell)(&format!("{peer}  the connection can't be secured")),
                }
            });
        }
    }

    async fn associated(&self, stream: Stream, peer: SocketAddr) {
        let limits = Limits {
            idle: Some(Duration::from_secs(600)),
            ..Limits::default()
        };
        let requested = match Requested::read(stream, limits).await {
            Ok(requested) => requested,
            // Somebody has looked whether the port is open.
            Err(Error::Closed) => return,
            Err(error) => return (self.tell)(&format!("{peer}  {error}")),
        };
        let (calling, called) = {
            let request = requested.request();
            (request.calling.clone(), request.called.clone())
        };
        if let Some(reject) = self.rejected(&requested) {
            (self.tell)(&format!("{calling}  association rejected: {reject}"));
            // How it takes that changes nothing.
            let _ = requested.reject(reject).await;
            return;
        }
        let answers = answers(&requested);
        let association = match requested.accept(answers).await {
            Ok(association) => association,
            Err(error) => return (self.tell)(&format!("{calling}  {error}")),
        };
        (self.tell)(&format!("{calling}  association with {called}"));
        let mut serving = Serving {
            pacs: self,
            association,
            calling,
        };
        match serving.run().await {
            Ok(()) => serving.association.abort(Duration::from_secs(5)).await,
            Err(Error::Released) => {}
            Err(error) => (self.tell)(&format!("{}  {error}", serving.calling)),
        }
    }

    fn rejected(&self, requested: &Requested<Stream>) -> Option<Reject> {
        if let Some(fault) = requested.fault() {
            return Some(fault);
        }
        let is_other = |title: &AeTitle| *title != requested.request().called;
        if self.title.as_ref().is_some_and(is_other) {
            return Some(Reject::CALLED_AE);
        }
        let before = self.requested.fetch_add(1, Ordering::AcqRel);
        (before < self.manners.reject).then_some(Reject::CONGESTION)
    }

    /// The status that the next object is refused with.
    fn refusal(&self) -> Option<Status> {
        let status = self.manners.status?;
        let before = self.refused.fetch_add(1, Ordering::AcqRel);
        self.manners
            .refuse
            .is_none_or(|first| before < first)
            .then_some(status)
    }
}

/// Objects in the order that the sender names for their syntaxes, as they are; the rest plain.
fn answers(requested: &Requested<Stream>) -> Answers {
    Answers::by(requested.request(), |proposed| {
        let class = proposed.class.as_str();
        let is_service = [
            uids::VERIFICATION,
            uids::COMMITMENT,
            uids::STUDY_ROOT_FIND,
            uids::PATIENT_ROOT_FIND,
        ]
        .contains(&class);
        let syntax = if is_service {
            proposed
                .syntaxes
                .iter()
                .find(|syntax| PLAIN.contains(&syntax.as_str()))
        } else if uids::is_storage(class) {
            proposed.syntaxes.first()
        } else {
            return Err(Refusal::Class);
        };
        syntax.cloned().ok_or(Refusal::Syntaxes)
    })
}

struct Serving<'p> {
    pacs: &'p Pacs,
    association: Association<Stream>,
    calling: AeTitle,
}

impl Serving<'_> {
    fn tell(&self, text: &str) {
        (self.pacs.tell)(&format!("{}  {text}", self.calling));
    }

    /// Ok: it is to be aborted.
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            let message = self.association.receive().await?;
            match message.command.operation() {
                Some(Operation::Store) if uids::is_storage(&message.context.class) => {
                    let aborts = self.store(&message).await?;
                    if aborts {
                        return Ok(());
                    }
                }
                Some(Operation::Echo) => {
                    self.tell("echo");
                    self.answer(&message, Status::SUCCESS).await?;
                }
                Some(Operation::Find) => self.find(&message).await?,
                Some(Operation::NAction) => self.commit(&message).await?,
                Some(_) => self.answer(&message, Status::UNRECOGNIZED_OPERATION).await?,
                None if message.command.is_answer() => {
                    self.tell(&format!(
                        "report of storage commitment: {}",
                        said(message.command.status())
                    ));
                }
                None => {}
            }
        }
    }

    async fn slow(&self) {
        if let Some(slow) = self.pacs.manners.slow {
            tokio::time::sleep(slow).await;
        }
    }

    async fn answer(&mut self, message: &Message, status: Status) -> Result<(), Error> {
        self.slow().await;
        self.association
            .send(message.context.id, &message.command.answer(status), None)
            .await
    }

    /// True: the association is to be aborted.
    async fn store(&mut self, message: &Message) -> Result<bool, Error> {
        let pacs = self.pacs;
        let instance = message.command.instance().unwrap_or_default();
        let is_due = pacs
            .manners
            .abort_after
            .is_some_and(|after| after <= pacs.came.load(Ordering::Acquire));
        if is_due && pacs.aborted.swap(1, Ordering::AcqRel) == 0 {
            self.association.data().await?;
            self.tell(&format!("aborted within  {instance}"));
            return Ok(true);
        }
        let is_uid = (1..=64).contains(&instance.len())
            && instance.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let refusal = match is_uid {
            true => pacs.refusal(),
            false => Some(Status::INVALID_INSTANCE),
        };
        if let Some(status) = refusal {
            while self.association.data().await?.is_some() {}
            self.tell(&format!("refused   {}  {instance}", said(status)));
            self.answer(message, status).await?;
            return Ok(false);
        }
        let (status, what) = match self.kept(message, &instance).await? {
            Ok(Put::New(object)) => {
                let words = ["Modality", "AccessionNumber", "PatientID"].map(|key| object.get(key));
                let words = words
                    .map(|word| if word.is_empty() { "-" } else { word })
                    .join("  ");
                (Status::SUCCESS, format!("stored    {words}"))
            }
            Ok(Put::Same) => (Status::SUCCESS, "again     as it was".to_owned()),
            Ok(Put::Other) => (
                Status::SUCCESS,
                "again     with other bytes; the first one stays".to_owned(),
            ),
            Ok(Put::Unreadable(why)) => (Status::CANNOT_UNDERSTAND, format!("not read  {why}")),
            Err(error) => (Status::OUT_OF_RESOURCES, format!("not kept  {error}")),
        };
        self.tell(&format!("{what}  {instance}"));
        if status.is_success() {
            pacs.came.fetch_add(1, Ordering::AcqRel);
        }
        self.answer(message, status).await?;
        Ok(false)
    }

    /// Writes an object as it comes. The inner error is that of the disk.
    async fn kept(&mut self, message: &Message, instance: &str) -> Result<std::io::Result<Put>, Error> {
        let meta = Meta {
            class: message.context.class.clone(),
            instance: instance.to_owned(),
            syntax: message.context.syntax.clone(),
            command: None,
        };
        let head = part10::head(&meta, self.association.calling(), self.association.called());
        let mut arriving = self.pacs.shelf.begin(instance, &head);
        while let Some(part) = self.association.data().await? {
            if let Ok(file) = &mut arriving
                && let Err(error) = file.write(&part)
            {
                arriving = Err(error);
            }
        }
        Ok(arriving.and_then(|arriving| self.pacs.shelf.put(arriving)))
    }

    async fn find(&mut self, message: &Message) -> Result<(), Error> {
        let data = self.association.whole_data(LONGEST).await?;
        let syntax = message.context.syntax.clone();
        let query = DataSet::read(&data, packing(&syntax).coding, Fallback::default());
        let found = query.ok().and_then(|query| self.pacs.shelf.find(&query));
        let Some((found, is_partly)) = found else {
            self.tell("question that can't be answered: no level, or none that is known");
            return self.answer(message, Status::DATA_SET_MISMATCH).await;
        };
        self.tell(&format!("question  {} found", found.len()));
        self.slow().await;
        let pending = if is_partly {
            Status::PENDING_WITHOUT_KEYS
        } else {
            Status::PENDING
        };
        for entry in found {
            if self
                .association
                .is_cancelled(message.command.message_id())
                .await?
            {
                return self.answer(message, Status::CANCELLED).await;
            }
            let answer = message.command.answer(pending);
            let data = written(entry, &syntax);
            self.association
                .send(message.context.id, &answer, Some(&data))
                .await?;
        }
        self.association
            .send(message.context.id, &message.command.answer(Status::SUCCESS), None)
            .await
    }

    async fn commit(&mut self, message: &Message) -> Result<(), Error> {
        let data = self.association.whole_data(LONGEST).await?;
        let Ok(asked) = Asked::read(&data, &message.context.syntax) else {
            self.tell("request for storage commitment that can't be read");
            return self.answer(message, Status::INVALID_ARGUMENT).await;
        };
        self.answer(message, Status::SUCCESS).await?;
        let pacs = self.pacs;
        let held = asked
            .objects
            .iter()
            .filter(|(_, instance)| pacs.shelf.has(instance))
            .count();
        self.tell(&format!(
            "storage commitment: {held} of {} are here",
            asked.objects.len()
        ));
        let report = |syntax: &str| asked.report(|instance| pacs.shelf.has(instance), syntax);
        match &pacs.report_to {
            Some(caller) => {
                let told = match commitment::bring(caller, report).await {
                    Ok(status) => format!(
                        "report of storage commitment to {}: {}",
                        caller.called(),
                        said(status)
                    ),
                    Err(error) => format!("report of storage commitment to {}: {error:#}", caller.called()),
                };
                self.tell(&told);
                Ok(())
            }
            None => {
                let (event, data) = report(&message.context.syntax);
                self.association
                    .begin_request(&message.context, commitment::command(event), true);
                self.association.send_data(message.context.id, &data, true).await
            }
        }
    }
}
