//! One association, from its request to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dimse::pdu::{Refusal, Reject};
use dimse::{Answers, Association, Command, Error, Message, Operation, Requested, Status, tags, uids};
use engine::body::{Body, BodyError};
use engine::connector::{Intake, Stop};
use engine::message::Incoming;
use engine::store::StoreError;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::CONTENT_TYPE;
use super::answer::{Answer, status_line, unavailable};
use super::listener::{Route, Routes};
use super::part10::{self, Meta};
use super::reports::{Handed, Place};
use super::retrieve;
use super::service::Service;
use crate::sockets::before_the_end;
use crate::tls::Stream;

/// How long the peer may take to close after an abort at a stop.
const PATIENCE_AT_STOP: Duration = Duration::from_millis(100);
/// The longest question: some thousand UIDs.
const LONGEST_QUESTION: usize = 256 * 1024;

pub(super) async fn association(stream: Stream, peer: SocketAddr, routes: &Routes, stop: &Stop) {
    let certificate = stream.peer_subject();
    // They agree on them.
    let Some(limits) = routes.of(|_| true).first().map(|route| route.settings().limits) else {
        return;
    };
    let requested = tokio::select! {
        biased;
        // Nothing has been said yet that could be lost.
        () = stop.cancelled() => return,
        requested = Requested::read(stream, limits) => requested,
    };
    let requested = match requested {
        Ok(requested) => requested,
        Err(error) => {
            tracing::debug!(%peer, %error, "A connection ended before an association.");
            return;
        }
    };
    let decided = decide(&requested, peer, routes);
    let (mine, _place) = match decided {
        Ok(decided) => decided,
        Err(reject) => {
            let request = requested.request();
            if routes.common().is_news(peer.ip()) {
                tracing::warn!(
                    %peer, calling = %request.calling, called = %request.called, why = %reject,
                    "An association was rejected. This address is not said again until it gets in."
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // How a peer takes its rejection changes nothing.
                _ = requested.reject(reject) => {}
            }
            return;
        }
    };
    routes.common().is_in(peer.ip());
    let answers = answers(&requested, &mine);
    let served = async {
        let association = requested.accept(answers).await?;
        let place = mine
            .iter()
            .find(|route| route.offers(Service::Commitment))
            .filter(|_| association.context(uids::COMMITMENT, None).is_some())
            .map(|route| {
                let (calling, called) = (association.calling(), association.called());
                route.reports().join(calling.as_str(), called.as_str())
            });
        let mut serving = Serving {
            association,
            peer,
            certificate,
            mine,
            place,
            reported: None,
        };
        serving.run(stop).await.map(|()| serving)
    };
    match served.await {
        // Told to stop between two messages.
        Ok(serving) => serving.association.abort(PATIENCE_AT_STOP).await,
        Err(Error::Released) => tracing::debug!(%peer, "An association was released."),
        Err(error @ Error::Fault(_)) => {
            tracing::warn!(%peer, %error, "An association was aborted.");
        }
        Err(
            error @ (Error::Closed
            | Error::PeerAborted(_)
            | Error::Rejected(_)
            | Error::TimedOut { .. }
            | Error::NoContext { .. }
            | Error::TooLong { .. }
            | Error::Io(_)
            | Error::AeTitle(_)),
        ) => tracing::debug!(%peer, %error, "An association ended without a release."),
    }
}

type Decided<'r> = (Vec<Arc<Route>>, tokio::sync::SemaphorePermit<'r>);

/// Which channels are meant, or why it is rejected.
fn decide<'r>(
    requested: &Requested<Stream>,
    peer: SocketAddr,
    routes: &'r Routes,
) -> Result<Decided<'r>, Reject> {
    if let Some(reject) = requested.fault() {
        return Err(reject);
    }
    let request = requested.request();
    let place = routes.common().place().ok_or(Reject::LIMIT)?;
    let called = routes.of(|route| route.settings().ae_title == request.called);
    if called.is_empty() {
        return Err(Reject::CALLED_AE);
    }
    let mut mine = called;
    mine.retain(|route| route.lets_in(&request.calling, peer.ip()));
    if mine.is_empty() {
        return Err(Reject::CALLING_AE);
    }
    mine.retain(|route| route.intake().is_some());
    match mine.is_empty() {
        true => Err(Reject::CONGESTION),
        false => Ok((mine, place)),
    }
}

fn answers(requested: &Requested<Stream>, mine: &[Arc<Route>]) -> Answers {
    let request = requested.request();
    let gives = mine.iter().any(|route| route.offers(Service::Retrieve));
    let takes_role = |class: &str| {
        let asked = request.user.roles.iter().find(|asked| asked.class == class);
        asked.is_some_and(|asked| asked.scp)
    };
    let mut answers = Answers::by(request, |proposed| {
        let service = Service::of(&proposed.class).ok_or(Refusal::Class)?;
        let is_offered = service == Service::Echo || mine.iter().any(|route| route.offers(service));
        // What is retrieved is stored at who asks (PS3.4 C.4.3.3).
        let is_given = service == Service::Store && gives && takes_role(&proposed.class);
        if !is_offered && !is_given {
            return Err(Refusal::Class);
        }
        service
            .syntax(&proposed.syntaxes)
            .cloned()
            .ok_or(Refusal::Syntaxes)
    });
    // A provider of commitment that brings its result is the one who asks for the association (PS3.4 J.3.3).
    for role in &mut answers.roles {
        let may_provide = match Service::of(&role.class) {
            Some(Service::Commitment) => true,
            Some(Service::Store) => gives,
            Some(
                Service::Echo
                | Service::NonPatient
                | Service::Worklist
                | Service::Mpps
                | Service::Query
                | Service::Retrieve,
            )
            | None => false,
        };
        role.scp = may_provide && takes_role(&role.class);
    }
    answers
}

/// Why a body is not taken.
enum NotTaken {
    /// Its beginning.
    TooLong(Bytes),
    NotStored(StoreError),
}

/// An association that stands.
struct Serving {
    association: Association<Stream>,
    peer: SocketAddr,
    /// Whom the peer's certificate names.
    certificate: Option<String>,
    /// The channels that it may speak to.
    mine: Vec<Arc<Route>>,
    /// Where reports on storage commitment come that go by this association.
    place: Option<Place>,
    /// A report that was sent, by its message id, and who waits for its answer.
    reported: Option<(u16, oneshot::Sender<Vec<u8>>)>,
}

impl Serving {
    /// Message by message. Ok: told to stop.
    async fn run(&mut self, stop: &Stop) -> Result<(), Error> {
        loop {
            let is_free = self.reported.is_none();
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                message = self.association.receive() => message?,
                Some(handed) = next_report(&mut self.place), if is_free => {
                    self.report(handed).await?;
                    continue;
                }
            };
            match before_the_end(self.take(message), stop).await {
                Some(taken) => taken?,
                None => {
                    tracing::debug!(peer = %self.peer, "An association still busy at the stop is cut; its peer has no answer.");
                    return Ok(());
                }
            }
        }
    }

    /// Sends a report; its answer comes as a message among others.
    async fn report(&mut self, handed: Handed) -> Result<(), Error> {
        let context = self
            .association
            .context(uids::COMMITMENT, Some(&handed.syntax))
            .cloned();
        // Whoever waits is told by the end of the wait that it can't be given.
        let Some(context) = context else { return Ok(()) };
        let command = |id| {
            Command::request(Operation::EventReport, id)
                .uid(tags::AFFECTED_CLASS, uids::COMMITMENT)
                .uid(tags::AFFECTED_INSTANCE, uids::COMMITMENT_INSTANCE)
                .number(tags::EVENT_TYPE, handed.event)
        };
        let asked = self.association.begin_request(&context, command, true);
        self.association.send_data(context.id, &handed.data, true).await?;
        self.reported = Some((asked.message_id(), handed.answer));
        Ok(())
    }

    async fn take(&mut self, message: Message) -> Result<(), Error> {
        let is_answer =
            |(id, _): &mut (u16, _)| message.command.is_answer() && message.command.responds_to() == *id;
        if let Some((_, answer)) = self.reported.take_if(is_answer) {
            // Who has waited may have given it up.
            let _ = answer.send(status_line(&message.command));
            return Ok(());
        }
        let Some(operation) = message.command.operation() else {
            // A cancel of what is answered already; an answer to nothing.
            if message.command.cancels().is_some() || message.command.is_answer() {
                return Ok(());
            }
            return self
                .refuse(&message, Answer::of(Status::UNRECOGNIZED_OPERATION))
                .await;
        };
        match self.meant(&message, operation) {
            Err(answer) => self.refuse(&message, answer).await,
            Ok(None) => {
                self.association
                    .send(message.context.id, &message.command.answer(Status::SUCCESS), None)
                    .await
            }
            Ok(Some((route, name))) => {
                let span = route.span().clone();
                let tracked = route.clone();
                tracked
                    .busy(self.hand_in(message, operation, &route, name).instrument(span))
                    .await
            }
        }
    }

    /// Which channel a message is for; none: it is an echo.
    fn meant(
        &self,
        message: &Message,
        operation: Operation,
    ) -> Result<Option<(Arc<Route>, &'static str)>, Answer> {
        let context = &message.context;
        if message
            .command
            .class()
            .is_some_and(|class| class != context.class)
        {
            let why = "the class is not that of the presentation context";
            return Err(Answer::with(Status::CLASS_NOT_SUPPORTED, why));
        }
        let named =
            Service::of(&context.class).and_then(|service| Some((service, service.message(operation)?)));
        let Some((service, name)) = named else {
            return Err(Answer::of(Status::UNRECOGNIZED_OPERATION));
        };
        if service == Service::Echo {
            return Ok(None);
        }
        if !is_question(operation) && !message.command.instance().is_some_and(|uid| is_uid(&uid)) {
            return Err(Answer::of(Status::INVALID_INSTANCE));
        }
        if !message.command.has_data() {
            return Err(Answer::with(Status::MISTYPED_ARGUMENT, "a data set is needed"));
        }
        let mut running = self.mine.iter().filter(|route| route.intake().is_some());
        match running.find(|route| route.offers(service)) {
            Some(route) => Ok(Some((route.clone(), name))),
            None => Err(Answer::with(
                unavailable(operation),
                "the channel does not run; send it again",
            )),
        }
    }

    /// An error is an answer where the message is whole.
    async fn refuse(&mut self, message: &Message, answer: Answer) -> Result<(), Error> {
        while self.association.data().await?.is_some() {}
        tracing::debug!(peer = %self.peer, status = ?answer.status, "A message was refused.");
        self.association
            .send(message.context.id, &answer.command(&message.command), None)
            .await
    }

    async fn hand_in(
        &mut self,
        message: Message,
        operation: Operation,
        route: &Route,
        name: &'static str,
    ) -> Result<(), Error> {
        let again = || Answer::with(unavailable(operation), "the channel stops; send it again");
        let Some(intake) = route.intake().cloned() else {
            return self.refuse(&message, again()).await;
        };
        let limit = match is_question(operation) {
            true => route.settings().max_object.min(LONGEST_QUESTION),
            false => route.settings().max_object,
        };
        let arrived = self.body(&message, operation, &intake, limit as u64).await?;
        let mut incoming = self.incoming(name);
        let body = match arrived {
            Ok(body) => body,
            Err(NotTaken::TooLong(beginning)) => {
                tracing::warn!(peer = %self.peer, limit, "An object over `max_object` was refused; its beginning is kept.");
                incoming.body = beginning;
                let why = format!(
                    "DICOM: The object is over the limit of {limit} bytes. Raise `max_object` if such are to be taken."
                );
                intake.reject(incoming, why).await;
                let answer = Answer::with(
                    Status::CANNOT_UNDERSTAND,
                    "the object is longer than is taken here",
                );
                return self.answer(&message, answer).await;
            }
            Err(NotTaken::NotStored(error)) => {
                tracing::error!(peer = %self.peer, %error, "An object could not be stored; its sender was told to send it again.");
                let answer = Answer::with(unavailable(operation), "it could not be stored; send it again");
                return self.answer(&message, answer).await;
            }
        };
        incoming.body = body.bytes;
        incoming.big = body.big;
        if matches!(operation, Operation::Move | Operation::Get) {
            return self.retrieve(&message, operation, &intake, incoming, route).await;
        }
        let acknowledgement = match operation {
            Operation::Find => intake.ask(incoming).await,
            _ => intake.accept(incoming).await,
        };
        self.answer(&message, Answer::by(acknowledgement, operation))
            .await
    }

    async fn retrieve(
        &mut self,
        message: &Message,
        operation: Operation,
        intake: &Intake,
        incoming: Incoming,
        route: &Route,
    ) -> Result<(), Error> {
        let peer = match operation {
            Operation::Move => {
                let title = retrieve::destination(message);
                let Some(peer) = route.peer(&title) else {
                    tracing::warn!(peer = %self.peer, %title, "A C-MOVE names a destination that is not among the `peers`.");
                    return self
                        .answer(message, Answer::of(Status::MOVE_DESTINATION_UNKNOWN))
                        .await;
                };
                Some(peer)
            }
            _ => None,
        };
        retrieve::retrieve(&mut self.association, message, intake, incoming, peer).await
    }

    /// The message as a file, of which a long one lies in the store as it arrives. What can't be taken is heard to its end.
    async fn body(
        &mut self,
        message: &Message,
        operation: Operation,
        intake: &Intake,
        limit: u64,
    ) -> Result<Result<Body, NotTaken>, Error> {
        let meta = Meta {
            class: message.context.class.clone(),
            instance: message.command.instance().unwrap_or_default(),
            syntax: message.context.syntax.clone(),
            command: (operation != Operation::Store).then(|| message.bytes.clone()),
        };
        let head = part10::head(&meta, self.association.calling(), self.association.called());
        let mut body = intake.begin_body(limit + head.len() as u64);
        let mut taken = body.write(&head).await;
        while let Some(chunk) = self.association.data().await? {
            if taken.is_ok() {
                taken = body.write(&chunk).await;
            }
        }
        let beginning = match &taken {
            Ok(()) => Bytes::new(),
            Err(_) => body.beginning(),
        };
        let finished = match taken {
            Ok(()) => body.finish().await,
            Err(error) => Err(error),
        };
        Ok(finished.map_err(|error| match error {
            BodyError::TooLong { .. } => NotTaken::TooLong(beginning),
            BodyError::Store(error) => NotTaken::NotStored(error),
        }))
    }

    fn incoming(&self, name: &'static str) -> Incoming {
        let mut headers = vec![("peer".to_owned(), self.peer.to_string())];
        headers.extend(
            self.certificate
                .clone()
                .map(|subject| ("certificate".to_owned(), subject)),
        );
        let said = [
            ("calling-ae", self.association.calling().as_str()),
            ("called-ae", self.association.called().as_str()),
            ("service", name),
        ];
        headers.extend(said.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Incoming {
            body: Bytes::new(),
            big: None,
            content_type: CONTENT_TYPE.to_owned(),
            headers,
            received_at: jiff::Timestamp::now(),
            identity: None,
        }
    }

    async fn answer(&mut self, message: &Message, answer: Answer) -> Result<(), Error> {
        let context = message.context.id;
        let is_question = message.command.operation() == Some(Operation::Find);
        if !is_question {
            // At most one data set, beside the status: the attributes of what was created.
            let data_set = answer.data_sets.first().map(Vec::as_slice);
            return self
                .association
                .send(context, &answer.command(&message.command), data_set)
                .await;
        }
        for data_set in &answer.data_sets {
            if self
                .association
                .is_cancelled(message.command.message_id())
                .await?
            {
                let cancelled = message.command.answer(Status::CANCELLED);
                return self.association.send(context, &cancelled, None).await;
            }
            let pending = message.command.answer(answer.pending);
            self.association.send(context, &pending, Some(data_set)).await?;
        }
        self.association
            .send(context, &answer.command(&message.command), None)
            .await
    }
}

async fn next_report(place: &mut Option<Place>) -> Option<Handed> {
    match place {
        Some(place) => place.next().await,
        None => None,
    }
}

/// It asks for something, and names no instance.
fn is_question(operation: Operation) -> bool {
    matches!(operation, Operation::Find | Operation::Move | Operation::Get)
}

/// At most 64 digits and dots (PS3.5 9.1). More is not asked: devices have made UIDs with leading zeros for decades.
fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
