//! Sends objects, by associations that are kept for the next one.
//!
//! An association proposes what is to be sent, and what was sent before, so that the objects of a study go by one. Where
//! something new comes that the kept one did not propose, it is released, and the next one proposes that too.
//!
//! With each class objects are proposed as everybody has to take them (PS3.5 §10.1): one whose transfer syntax is not taken
//! is written anew on its way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::Response;
use dimse::scu::{Answer, Object};
use dimse::{Association, Command, Context, Error, Operation, tags, uids};
use engine::anew::AnewError;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::answer::status_line;
use super::caller::Caller;
use super::objects::{Broken, Rest, begun, send_rest, way, with_plain};
use super::part10::{self, Meta};
use super::settings;
use crate::tls::Stream;

/// So many pairs of class and transfer syntax are proposed at once, beside that of C-ECHO: the newest. With each class it is
/// proposed without compression too.
const PROPOSED: usize = 60;

/// A far side, and the associations with it.
pub(super) struct DicomDestination {
    caller: Caller,
    kept: Arc<Kept>,
    /// What was to be sent so far, the newest last.
    known: Mutex<Vec<Wanted>>,
    under_way: AtomicUsize,
    janitor: JoinHandle<()>,
}

/// A class and a transfer syntax, and our part.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    class: String,
    syntax: String,
    /// It is an object, which may be written anew.
    is_object: bool,
    /// We are the provider: what we bring is a result (PS3.4 J.3.3).
    provides: bool,
}

/// The associations that nothing is under way on. One is taken out for an object, so that a send that is broken off takes
/// its association with it.
#[derive(Default)]
struct Kept {
    idle: Mutex<Vec<Idle>>,
    /// One was put in.
    put: Notify,
}

struct Idle {
    association: Standing,
    until: Instant,
}

/// An association, and what it was asked to carry.
struct Standing {
    association: Association<Stream>,
    proposed: Vec<Wanted>,
    /// Nothing went by it before.
    is_new: bool,
}

impl Drop for DicomDestination {
    fn drop(&mut self) {
        self.janitor.abort();
    }
}

struct UnderWay<'d>(&'d AtomicUsize);

impl<'d> UnderWay<'d> {
    fn begin(count: &'d AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, association: Standing, within: Duration) {
        let until = Instant::now() + within;
        self.lock().push(Idle { association, until });
        self.put.notify_one();
    }

    /// Releases what nobody has used for its time.
    async fn tidy(&self) {
        loop {
            let next = self.lock().iter().map(|idle| idle.until).min();
            match next {
                None => self.put.notified().await,
                Some(until) => {
                    tokio::time::sleep_until(until).await;
                    let now = Instant::now();
                    let over: Vec<Idle> = self.lock().extract_if(.., |idle| idle.until <= now).collect();
                    for idle in over {
                        release(idle.association).await;
                    }
                }
            }
        }
    }
}

/// How a far side takes it changes nothing.
async fn release(standing: Standing) {
    if let Err(error) = standing.association.release().await {
        tracing::debug!(%error, "An association that was kept ended without a release.");
    }
}

impl DicomDestination {
    pub(super) fn open(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let caller = Caller::new(settings, surroundings)?;
        let kept = Arc::new(Kept::default());
        let janitor = tokio::spawn({
            let kept = kept.clone();
            async move { kept.tidy().await }
        });
        Ok(DicomDestination {
            caller,
            kept,
            known: Mutex::default(),
            under_way: AtomicUsize::new(0),
            janitor,
        })
    }

    /// Remembers what is to be sent, and gives all that is to be proposed.
    fn proposed(&self, wanted: Option<&Wanted>) -> Vec<Wanted> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = wanted {
            known.retain(|other| other != wanted);
            known.push(wanted.clone());
            if PROPOSED < known.len() {
                known.remove(0);
            }
        }
        known.clone()
    }

    /// A new association. An error says why not, and that nothing was sent.
    async fn associate(&self, wanted: Option<&Wanted>) -> Result<Standing, String> {
        let proposed = self.proposed(wanted);
        let mut proposal = self
            .caller
            .proposal()
            .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE]);
        for wanted in &proposed {
            proposal = proposal.with(&wanted.class, [wanted.syntax.as_str()]);
        }
        let objects = proposed.iter().filter(|wanted| wanted.is_object);
        proposal = with_plain(proposal, objects.map(|wanted| wanted.class.as_str()));
        for (idx, wanted) in proposed.iter().enumerate() {
            let is_first = proposed[..idx].iter().all(|other| other.class != wanted.class);
            let mut same = proposed.iter().filter(|other| other.class == wanted.class);
            if is_first && same.clone().any(|same| same.provides) {
                proposal = proposal.with_role(&wanted.class, same.any(|same| !same.provides), true);
            }
        }
        let association = self.caller.associate(proposal).await?;
        Ok(Standing {
            association,
            proposed,
            is_new: true,
        })
    }

    /// An association that carries this, and the context that does. Nothing was sent where it fails.
    async fn carrying(&self, wanted: &Wanted, is_odd: bool) -> Result<(Standing, Context), SendError> {
        while let Some(mut kept) = self.take() {
            if !kept.association.is_alive() {
                continue;
            }
            if kept.proposed.contains(wanted) {
                return self.chosen(kept, wanted, is_odd).await;
            }
            release(kept).await;
        }
        match self.associate(Some(wanted)).await {
            Ok(standing) => self.chosen(standing, wanted, is_odd).await,
            Err(why) => Err(SendError::Retry { why, after: None }),
        }
    }

    /// An association that was asked to carry this, if it does.
    async fn chosen(
        &self,
        standing: Standing,
        wanted: &Wanted,
        is_odd: bool,
    ) -> Result<(Standing, Context), SendError> {
        let Wanted {
            class,
            syntax,
            is_object,
            ..
        } = wanted;
        let association = &standing.association;
        let context = match is_object {
            true => way(association, class, syntax, is_odd),
            false => association.context(class, Some(syntax)).cloned(),
        };
        if let Some(context) = context {
            return Ok((standing, context));
        }
        self.keep(standing).await;
        Err(SendError::Refused {
            why: format!(
                "{} takes no objects of class {class} in transfer syntax {syntax}{}.",
                self.caller.settings.called_ae,
                match is_odd {
                    true => " that are written anew, as this one of an odd length has to be",
                    false => "",
                }
            ),
        })
    }

    fn take(&self) -> Option<Standing> {
        self.kept.lock().pop().map(|idle| idle.association)
    }

    /// For the next one, or for nobody.
    async fn keep(&self, standing: Standing) {
        match self.caller.settings.keep_open {
            Some(within) => self.kept.put(
                Standing {
                    is_new: false,
                    ..standing
                },
                within,
            ),
            None => release(standing).await,
        }
    }

    /// What it means that the association broke. Where the far side broke it off and is there, it did so at this very message: it
    /// has just let us in, or it does now. A kept association may have been broken for other reasons.
    async fn broke(&self, error: &Error, is_sent: bool, was_new: bool) -> SendError {
        let why = match is_sent {
            true => format!("No answer: {error}."),
            false => format!("The far side did not take the message: {error}."),
        };
        let by_peer = matches!(
            error,
            Error::PeerAborted(_) | Error::Closed | Error::Released | Error::Io(_)
        );
        match by_peer && (was_new || self.lets_us_in().await) {
            true => SendError::BrokenOff { why, is_sent },
            false if is_sent => SendError::Unsure { why },
            false => SendError::Retry { why, after: None },
        }
    }

    /// Whether the far side takes a new association, and answers C-ECHO where it takes that. The association is kept for the next
    /// message.
    async fn lets_us_in(&self) -> bool {
        let Ok(mut standing) = self.associate(None).await else {
            return false;
        };
        let deadline = Instant::now() + self.caller.settings.connect_timeout;
        let is_there = match timeout_at(deadline, standing.association.echo()).await {
            Ok(Ok(status)) => status.is_success(),
            Ok(Err(Error::NoContext { .. })) => true,
            Ok(Err(_)) | Err(_) => false,
        };
        if is_there {
            self.keep(standing).await;
        }
        is_there
    }

    async fn exchange(&self, outgoing: &Outgoing) -> Result<Response, SendError> {
        let refused = |why: &str| SendError::Refused {
            why: format!("The message can't be sent as DICOM: {why}."),
        };
        let (meta, begins) = part10::read(&outgoing.body).map_err(refused)?;
        let command = match &meta.command {
            None => None,
            Some(bytes) => Some(Command::read(bytes).map_err(|_| refused("its command can't be read"))?),
        };
        let operation = command.as_ref().and_then(Command::operation);
        let wanted = Wanted {
            class: meta.class.clone(),
            syntax: meta.syntax.clone(),
            is_object: command.is_none(),
            provides: operation == Some(Operation::EventReport),
        };
        let _under_way = UnderWay::begin(&self.under_way);
        let length = outgoing.whole().length() - begins as u64;
        let is_odd = wanted.is_object && length % 2 == 1;
        let (mut standing, context) = self.carrying(&wanted, is_odd).await?;
        let to = Some(context.syntax.as_str()).filter(|to| is_odd || *to != meta.syntax);
        let (first, rest) = match data_set(outgoing, begins, to).await {
            Ok(data_set) => data_set,
            Err(error) => {
                self.keep(standing).await;
                return Err(error);
            }
        };
        let request = Request {
            meta: &meta,
            command: command.as_ref(),
        };
        let answer = match send(&mut standing.association, &context, &request, first, rest).await {
            Ok(answer) => answer,
            Err(NotSent::Broke { error, is_sent }) => {
                return Err(self.broke(&error, is_sent, standing.is_new).await);
            }
            Err(NotSent::Other(error)) => return Err(error),
        };
        let body = status_line(&answer.command);
        self.keep(standing).await;
        Ok(Response {
            body,
            ..Response::default()
        })
    }
}

/// What is asked of the far side: an object to be stored, or what came with a command.
struct Request<'r> {
    meta: &'r Meta,
    command: Option<&'r Command>,
}

/// The data set of a message: its beginning, and the rest of a long one. `to`: the transfer syntax that it is written anew in.
async fn data_set(
    outgoing: &Outgoing,
    begins: usize,
    to: Option<&str>,
) -> Result<(Bytes, Option<Rest>), SendError> {
    let Some(syntax) = to else {
        return Ok(match &outgoing.big {
            None => (outgoing.body.slice(begins..), None),
            Some(big) => (Bytes::new(), Some(Rest::AsStored(big.pieces(begins as u64)))),
        });
    };
    let anew = outgoing.anew(syntax).await.map_err(not_read)?;
    let (first, rest) = begun(anew).await.map_err(not_read)?;
    Ok((first, Some(rest)))
}

/// Why a message has no answer.
enum NotSent {
    /// The association broke, before or after the last byte was sent.
    Broke { error: Error, is_sent: bool },
    /// The message can't be sent.
    Other(SendError),
}

/// Sends one message. Until its last byte was taken the far side can't have it; from then on it may have.
async fn send(
    association: &mut Association<Stream>,
    context: &Context,
    request: &Request<'_>,
    first: Bytes,
    rest: Option<Rest>,
) -> Result<Answer, NotSent> {
    let not_taken = |error| NotSent::Broke {
        error,
        is_sent: false,
    };
    let asked = match request.command {
        None => {
            let object = Object {
                class: &request.meta.class,
                instance: &request.meta.instance,
                originator: None,
            };
            association.begin_store(context, &object)
        }
        Some(command) => {
            let again = again(command).ok_or_else(|| {
                NotSent::Other(SendError::Refused {
                    why: "Only objects, performed procedure steps and storage commitment can be sent."
                        .to_owned(),
                })
            })?;
            association.begin_request(context, again, true)
        }
    };
    match rest {
        None => association
            .send_data(context.id, &first, true)
            .await
            .map_err(not_taken)?,
        Some(rest) => send_rest(association, context, first, rest)
            .await
            .map_err(|broken| match broken {
                Broken::Sent(error) => not_taken(error),
                Broken::Read(error) => NotSent::Other(not_read(error)),
            })?,
    }
    association
        .answer(asked)
        .await
        .map_err(|error| NotSent::Broke { error, is_sent: true })
}

fn not_read(error: AnewError) -> SendError {
    match error {
        AnewError::Coding(error) => SendError::Refused {
            why: format!(
                "Its transfer syntax is not taken there, and it can't be written in another: {error}."
            ),
        },
        AnewError::Store(error) => SendError::Retry {
            why: format!("The message can't be read from the store: {error}."),
            after: None,
        },
    }
}

/// What another peer said, to be said by us: without its message id.
fn again(command: &Command) -> Option<impl FnOnce(u16) -> Command> {
    let operation = command.operation()?;
    match operation {
        Operation::NCreate | Operation::NSet | Operation::NAction | Operation::EventReport => {}
        Operation::Store
        | Operation::Get
        | Operation::Find
        | Operation::Move
        | Operation::Echo
        | Operation::NGet
        | Operation::NDelete => return None,
    }
    let is_affected = matches!(operation, Operation::NCreate | Operation::EventReport);
    let (class, instance) = (command.class()?, command.instance()?);
    let numbers = [tags::EVENT_TYPE, tags::ACTION_TYPE].map(|tag| (tag, command.get_number(tag)));
    Some(move |id| {
        let (class_tag, instance_tag) = match is_affected {
            true => (tags::AFFECTED_CLASS, tags::AFFECTED_INSTANCE),
            false => (tags::REQUESTED_CLASS, tags::REQUESTED_INSTANCE),
        };
        let request = Command::request(operation, id)
            .uid(class_tag, &class)
            .uid(instance_tag, &instance);
        let said = numbers
            .into_iter()
            .filter_map(|(tag, number)| Some((tag, number?)));
        said.fold(request, |request, (tag, number)| request.number(tag, number))
    })
}

#[async_trait]
impl engine::connector::Destination for DicomDestination {
    /// Question and answer are paired by the message id.
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        self.exchange(outgoing).await
    }

    async fn query(&self, question: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        super::asking::query(&self.caller, question).await
    }

    fn takes_pieces(&self) -> bool {
        true
    }

    /// C-ECHO. A far side that offers no echo, and lets us in, can be reached all the same.
    async fn probe(&self) -> Result<(), ConnectorError> {
        // A message under way proves more than we could.
        if self.under_way.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let _under_way = UnderWay::begin(&self.under_way);
        let deadline = Instant::now() + self.caller.settings.connect_timeout;
        let kept = self
            .take()
            .and_then(|mut idle| idle.association.is_alive().then_some(idle));
        let mut standing = match kept {
            Some(kept) => kept,
            None => self.associate(None).await.map_err(ConnectorError::new)?,
        };
        match timeout_at(deadline, standing.association.echo()).await {
            Ok(Ok(status)) if !status.is_success() => {
                return Err(ConnectorError::new(format!(
                    "C-ECHO was answered with {status:?}."
                )));
            }
            Ok(Ok(_) | Err(Error::NoContext { .. })) => {}
            Ok(Err(error)) => return Err(ConnectorError::new(format!("C-ECHO failed: {error}."))),
            Err(_) => return Err(ConnectorError::new("C-ECHO was not answered in time.")),
        }
        self.keep(standing).await;
        Ok(())
    }
}
