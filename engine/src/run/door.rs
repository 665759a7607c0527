//! The door of one channel: what its source hands in is run, committed, and only then acknowledged.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::{Keys, MapError, Reason, Stamp, Verdict};
use jiff::Timestamp;
use uuid::Uuid;

use super::World;
use super::asking::Askables;
use super::case::Case;
use super::doors::Doors;
use super::numbers::{ChannelNumbers, Numbers};
use super::outcome::Outcome;
use super::settle::Done;
use super::state::State;
use super::worker::Bell;
use crate::archive::KeptObject;
use crate::body::{BodyWriter, LONGEST_WHOLE, NotRead, read_on};
use crate::call::FarSides;
use crate::channel::write_door::IDEMPOTENCY_KEY;
use crate::channel::{Channel, Step};
use crate::connector::{Accept, Acknowledgement, ConnectorError, Outcome as Taken};
use crate::format::{Format, Formats, Reads};
use crate::message::{
    Failure, Incoming, MessageDetail, MessageState, NewDelivery, Origin, Resolution, ResolutionWord,
};
use crate::room;
use crate::split::PARTS;
use crate::store::{Committed, MadeBy, MessageFilter, Store, StoreError};

/// How many messages are looked through at once for the newest number, and how often.
const NEWEST_PAGE: u32 = 20;
const NEWEST_PAGES: u32 = 50;

/// The door of one channel.
pub(super) struct Door {
    pub channel: Arc<Channel>,
    pub formats: Formats,
    pub format: Arc<dyn Format>,
    pub store: Arc<dyn Store>,
    pub world: World,
    /// Wakes the worker of each destination.
    pub bells: HashMap<String, Arc<Bell>>,
    /// The doors of all channels, this one among them.
    pub doors: Weak<Doors>,
    /// What scripts keep.
    pub state: Arc<State>,
    /// Whom scripts may call.
    pub sides: Arc<FarSides>,
    /// The destinations that can be asked.
    pub askables: Arc<Askables>,
    /// What is counted of this channel, and of all.
    pub numbers: Arc<ChannelNumbers>,
    pub all_numbers: Arc<Numbers>,
    /// Held while a message that is part of a course is committed.
    pub courses: tokio::sync::Mutex<()>,
}

/// What became of one message.
pub(super) enum Settled {
    /// Stored, now or before.
    Stored {
        id: Uuid,
        state: MessageState,
        failure: Option<Failure>,
        received_at: jiff::Timestamp,
        /// True where it was known again.
        is_repeat: bool,
    },
    /// Not stored.
    Not(StoreError),
    /// Not stored, since the delivery that was to make it is over.
    Over,
}

/// A message whose body can't be read as far as its channel has to.
struct Unfit {
    incoming: Incoming,
    why: NotRead,
}

/// What comes in from another channel.
pub(super) struct Handed {
    pub incoming: Incoming,
    pub origin: Origin,
    /// The delivery that makes it.
    pub made_by: MadeBy,
    /// What came before with the same control id and content is the same message.
    pub is_known_again: bool,
    /// What it answers, where it is an answer.
    pub sent: Option<Bytes>,
}

#[async_trait]
impl Accept for Door {
    async fn accept(&self, incoming: Incoming) -> Acknowledgement {
        self.numbers.heard(incoming.received_at);
        let begun = Instant::now();
        let acknowledgement = match self.fitted(incoming).await {
            Ok(incoming) => self.take_from_outside(incoming).await,
            Err(unfit) => {
                let body = unfit.incoming.body.clone();
                let settled = self.unfit(self.case(unfit.incoming), unfit.why).await;
                self.acknowledge(&body, settled)
            }
        };
        self.numbers.answered(begun.elapsed());
        acknowledgement
    }

    async fn ask(&self, question: Incoming) -> Acknowledgement {
        self.numbers.heard(question.received_at);
        let begun = Instant::now();
        let acknowledgement = super::ask::answer(self, question).await;
        self.numbers.answered(begun.elapsed());
        acknowledgement
    }

    async fn fetch(&self, question: Incoming) -> Result<Vec<KeptObject>, Acknowledgement> {
        self.numbers.heard(question.received_at);
        super::ask::fetch(self, question).await
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        self.numbers.heard(kept.received_at);
        let body = kept.body.clone();
        let failure = Failure {
            step: "source".into(),
            reason: Reason::Sequence,
            place: None,
            why,
        };
        let settled = self.keep(self.case(kept), Outcome::failed(failure)).await;
        self.acknowledge(&body, settled)
    }

    fn begin_body(&self, limit: u64) -> BodyWriter {
        let numbers = self.numbers.clone();
        BodyWriter::new(limit, self.store.vault()).telling(move || numbers.not_stored())
    }

    async fn newest(&self, beginning: &str) -> Result<Option<String>, ConnectorError> {
        let mut filter = MessageFilter {
            channel: Some(self.channel.id.clone()),
            limit: NEWEST_PAGE,
            ..MessageFilter::default()
        };
        for _ in 0..NEWEST_PAGES {
            let rows = self.store.messages(&filter).await;
            let rows = rows.map_err(|error| ConnectorError::new(error.to_string()))?;
            let Some(last) = rows.last() else { break };
            filter.before = Some(last.seq);
            let mut numbers = rows.into_iter().filter_map(|row| row.control_id);
            if let Some(number) = numbers.find(|number| number.starts_with(beginning)) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    async fn cursor(&self) -> Result<Option<String>, ConnectorError> {
        let cursor = self.store.cursor(&self.channel.id).await;
        cursor.map_err(|error| ConnectorError::new(error.to_string()))
    }

    async fn keep_cursor(&self, cursor: &str) -> Result<(), ConnectorError> {
        let kept = self.store.keep_cursor(&self.channel.id, cursor).await;
        kept.map_err(|error| ConnectorError::new(error.to_string()))
    }
}

impl Door {
    async fn take_from_outside(&self, incoming: Incoming) -> Acknowledgement {
        let body = incoming.body.clone();
        let is_question = |question: &[u8]| {
            self.format.inspect(question).is_ok() && self.format.question(question).is_some()
        };
        if self.channel.questions && is_question(&body) {
            return super::ask::answer(self, incoming).await;
        }
        let case = self.case(incoming);
        let settled = match self.late_answer(&case.keys, &case.incoming).await {
            Some(settled) => return self.acknowledge(&body, settled),
            None if self.is_waited_for_by_nobody(&body) => self.keep(case, answers_nothing()).await,
            None => self.inspect_and_settle(case).await,
        };
        match self.answered_by_destination(&body, &settled).await {
            Some(answer) => answer,
            None => self.acknowledge(&body, settled),
        }
    }

    /// A message says something only as an answer, and where answers are waited for, nobody waits for this one.
    fn is_waited_for_by_nobody(&self, body: &[u8]) -> bool {
        let doors = self.doors.upgrade().map(|doors| doors.answering());
        let is_answered = |door: &Arc<Door>| door.format.name() == self.format.name();
        doors.unwrap_or_default().iter().any(is_answered) && self.format.only_answers(body)
    }

    /// Takes a stored message again, as new: to all destinations or some.
    pub async fn replay(
        &self,
        of: Uuid,
        origin: Option<Origin>,
        incoming: Incoming,
        only: Option<Vec<String>>,
        sent: Option<Bytes>,
    ) -> Settled {
        let of = |door: &Door, incoming| Case {
            replay_of: Some(of),
            only,
            origin,
            sent,
            ..door.case(incoming)
        };
        match self.fitted(incoming).await {
            Ok(incoming) => self.inspect_and_settle(of(self, incoming)).await,
            Err(unfit) => self.unfit(of(self, unfit.incoming), unfit.why).await,
        }
    }

    /// Takes what another channel hands in. Where it is stored, the delivery that made it has been written too.
    pub async fn take(&self, handed: Handed) -> Settled {
        let of = |door: &Door, incoming| Case {
            origin: Some(handed.origin),
            made_by: Some(handed.made_by),
            is_known_again: handed.is_known_again,
            sent: handed.sent,
            ..door.case(incoming)
        };
        match self.fitted(handed.incoming).await {
            Ok(incoming) => self.inspect_and_settle(of(self, incoming)).await,
            Err(unfit) => self.unfit(of(self, unfit.incoming), unfit.why).await,
        }
    }

    /// A message with as much of a long body in memory as what it goes through reads.
    async fn fitted(&self, mut incoming: Incoming) -> Result<Incoming, Unfit> {
        let Some(name) = incoming.big else {
            return Ok(incoming);
        };
        let needs = |beginning: &[u8]| self.reads(beginning, name.length());
        let (vault, room) = (self.store.vault(), room::coming_in());
        match read_on(&vault, name, &mut incoming.body, room, LONGEST_WHOLE, &needs).await {
            Ok(()) => Ok(incoming),
            Err(why) => Err(Unfit { incoming, why }),
        }
    }

    /// How much of a message of so many bytes the channel reads that begins like this: all that read it there have enough with that.
    fn reads(&self, beginning: &[u8], length: u64) -> Reads {
        if self.channel.split().is_some() {
            return Reads::Whole;
        }
        let of_destinations = self.channel.destinations.iter().flat_map(|to| &to.steps);
        let steps = self.channel.steps.iter().chain(of_destinations);
        // Another coding is another rest too.
        if steps.clone().any(|step| matches!(step, Step::Transcode { .. })) {
            return Reads::Whole;
        }
        let takes_people_out = steps
            .clone()
            .any(|step| matches!(step, Step::Deidentify(how) if !how.only_uids));
        let decoding = steps.filter_map(|step| match step {
            Step::Decode { format, settings } => self.formats.open(format, settings),
            Step::Split { .. }
            | Step::Filter(_)
            | Step::Set(_)
            | Step::Deidentify(_)
            | Step::Transcode { .. }
            | Step::Lookup(_)
            | Step::Ask(_)
            | Step::Script(_)
            | Step::Apply { .. }
            | Step::Encode { .. } => None,
        });
        let mut reads = self.format.reads(beginning);
        for format in decoding {
            reads = match (reads, format.reads(beginning)) {
                (Reads::Whole, _) | (_, Reads::Whole) => Reads::Whole,
                (Reads::More, _) | (_, Reads::More) => Reads::More,
                (Reads::Enough, Reads::Enough) => Reads::Enough,
            };
        }
        match reads {
            Reads::Enough if takes_people_out && !self.format.rest_tells_nobody(beginning, length) => {
                Reads::Whole
            }
            Reads::Enough | Reads::More | Reads::Whole => reads,
        }
    }

    /// Keeps what can't be read as far as its channel has to.
    async fn unfit(&self, case: Case, why: NotRead) -> Settled {
        match why {
            NotRead::TooLong => {
                let what = format!(
                    "it has {} bytes, more than a channel of this format can read at once",
                    case.incoming.length()
                );
                let error = MapError::new(Reason::UnsupportedType, None, what);
                self.keep(case, Outcome::failed(Failure::of("source", error)))
                    .await
            }
            NotRead::Store(error) => self.refused(error),
        }
    }

    /// Runs a message that failed again, in its place.
    pub(super) async fn rerun(&self, failed: MessageDetail, sent: Bytes) -> Result<Settled, StoreError> {
        let case = self.case_of(failed, vec![], Some(sent)).await?;
        let again = case.clone();
        match self.commit(case).await? {
            Done::Stored(settled) => Ok(settled),
            Done::Repeat(repeat) => Ok(Settled::Stored {
                id: again.id,
                state: repeat.state,
                failure: repeat.failure,
                received_at: repeat.received_at,
                is_repeat: true,
            }),
        }
    }

    /// A stored message, to be run again in its place.
    pub(super) async fn case_of(
        &self,
        stored: MessageDetail,
        resolutions: Vec<Resolution>,
        sent: Option<Bytes>,
    ) -> Result<Case, StoreError> {
        let incoming = Incoming {
            body: stored.body,
            big: stored.big,
            content_type: stored.content_type,
            headers: stored.headers,
            received_at: stored.row.received_at,
            // What had no control id of its own keeps the one that it was given.
            identity: stored.row.control_id,
        };
        let incoming = match self.fitted(incoming).await {
            Ok(incoming) => incoming,
            Err(Unfit {
                why: NotRead::Store(error),
                ..
            }) => return Err(error),
            Err(Unfit { incoming, .. }) => incoming,
        };
        Ok(Case {
            id: stored.row.id,
            again: Some(stored.row.seq),
            replay_of: stored.row.replay_of,
            origin: stored.row.origin,
            resolutions,
            sent,
            ..self.case(incoming)
        })
    }

    /// A message from outside, as it is committed unless something else is said.
    pub(super) fn case(&self, mut incoming: Incoming) -> Case {
        // As exact as it is stored, so that the answer to a repeat is that of the first to the letter.
        incoming.received_at = Timestamp::from_microsecond(incoming.received_at.as_microsecond())
            .unwrap_or(incoming.received_at);
        let keys = self.keys(&incoming);
        let begins = match keys.control_id {
            Some(_) => self.format.content_begins(&incoming.body),
            None => None,
        };
        Case {
            content_begins: begins.and_then(|from| usize::try_from(from).ok()).unwrap_or(0),
            ..Case::new((self.world.new_id)(), incoming, keys)
        }
    }

    async fn inspect_and_settle(&self, mut case: Case) -> Settled {
        if self.channel.split().is_some() && !case.is_part() {
            // Of a whole nothing is believed but what its transport knows it by.
            case.keys = Keys {
                control_id: case.incoming.identity.clone(),
                ..Keys::default()
            };
            return self.settle(case).await;
        }
        match self.format.inspect(&case.incoming.body) {
            Err(error) => {
                self.keep(case, Outcome::failed(Failure::of("source", error)))
                    .await
            }
            Ok(()) => self.settle(case).await,
        }
    }

    /// Takes a parked message again in its place, with what a person decided, and what waits behind it. None: it is not
    /// parked any more.
    pub async fn resolve(
        &self,
        parked: MessageDetail,
        resolutions: Vec<Resolution>,
        sent: Option<Bytes>,
    ) -> Result<Option<(MessageState, Option<Failure>)>, StoreError> {
        let case = self.case_of(parked, resolutions, sent).await?;
        let keys = case.keys.clone();
        let decided = self.decide(case).await?;
        if decided
            .as_ref()
            .is_some_and(|(state, _)| *state != MessageState::Parked)
            && let Err(error) = self.go_on(&keys).await
        {
            tracing::error!(channel = %self.channel.id, %error, "What waits behind a decided message could not be taken; it is still parked.");
        }
        if decided
            .as_ref()
            .is_some_and(|(state, _)| !matches!(state, MessageState::Parked | MessageState::Filtered))
            && let Err(error) = self.take_with(&keys).await
        {
            tracing::error!(channel = %self.channel.id, %error, "What is parked with a decided message could not be taken; it is still parked.");
        }
        Ok(decided)
    }

    pub(super) async fn decide(
        &self,
        case: Case,
    ) -> Result<Option<(MessageState, Option<Failure>)>, StoreError> {
        let is_ignored = case
            .resolutions
            .last()
            .is_some_and(|resolution| resolution.word == ResolutionWord::Ignored);
        if is_ignored {
            let _turn = self.turn_of_course(&case.keys).await;
            return match self.store.commit(self.unit(&case, Outcome::filtered())).await? {
                Committed::Stored { .. } => Ok(Some((MessageState::Filtered, None))),
                Committed::Repeat(_) | Committed::Moved | Committed::Over | Committed::Conflict { .. } => {
                    Ok(None)
                }
            };
        }
        match self.commit(case).await? {
            Done::Stored(Settled::Stored { state, failure, .. }) => Ok(Some((state, failure))),
            Done::Stored(Settled::Not(error)) => Err(error),
            Done::Stored(Settled::Over) | Done::Repeat(_) => Ok(None),
        }
    }

    /// What a message says of itself, and what the channel finds in it. The number of the sender counts; what the transport
    /// knows it by only where there is none. At the write door its sender is the actor, and the number that the request
    /// says comes before that of the body.
    pub(super) fn keys(&self, incoming: &Incoming) -> Keys {
        let mut keys = self
            .channel
            .keys
            .of(self.format.as_ref(), &incoming.body, &incoming.headers);
        keys.control_id = keys.control_id.or_else(|| incoming.identity.clone());
        if let Some(actor) = self.channel.actor(incoming) {
            keys.sender = Some(match &keys.sender {
                Some(sender) => format!("{actor}|{sender}"),
                None => actor.to_owned(),
            });
            if let Some(key) = incoming.header(IDEMPOTENCY_KEY) {
                keys.control_id = Some(key.to_owned());
            }
        }
        keys
    }

    /// What the sender is told. The same message is told the same each time, unless its format has a word for a repeat: the
    /// stamp is that of the first.
    fn acknowledge(&self, body: &[u8], settled: Settled) -> Acknowledgement {
        let state = match &settled {
            Settled::Stored { state, .. } => Some(*state),
            Settled::Over | Settled::Not(_) => None,
        };
        let (id, at, outcome, error) = match settled {
            Settled::Stored {
                id,
                received_at,
                state: MessageState::Failed,
                failure,
                ..
            } => {
                let error = failure.map_or_else(
                    || MapError::new(Reason::Internal, None, "the message could not be processed"),
                    Failure::into_error,
                );
                (id, received_at, Taken::Failed, Some(error))
            }
            Settled::Stored {
                id,
                received_at,
                is_repeat: true,
                ..
            } => (id, received_at, Taken::Stored, self.format.told_of_repeat(body)),
            Settled::Stored { id, received_at, .. } => (id, received_at, Taken::Stored, None),
            Settled::Over => self.unavailable("the delivery that makes it is over".into()),
            Settled::Not(error) => self.unavailable(format!("{error}. Send it again later.")),
        };
        let verdict = error.as_ref().map_or(Verdict::Accepted, Verdict::Refused);
        let frames = self.format.replies(body, verdict, &Stamp { now: at, id }).frames;
        Acknowledgement {
            frames,
            outcome,
            place: error
                .as_ref()
                .and_then(|error| error.place.as_ref())
                .map(ToString::to_string),
            note: error.map(|e| e.to_string()),
            message: state.is_some().then_some(id),
            state,
        }
    }

    /// What is told of a message that is not stored.
    fn unavailable(&self, why: String) -> (Uuid, Timestamp, Taken, Option<MapError>) {
        let error = MapError::new(Reason::Internal, None, why);
        (
            (self.world.new_id)(),
            (self.world.now)(),
            Taken::Unavailable,
            Some(error),
        )
    }

    /// What a whole comes to: it waits to be taken apart, or fails as a whole.
    pub(super) async fn whole(&self, settings: &serde_json::Value, whole: &Incoming) -> Outcome {
        match super::parts::aside(&self.formats, settings, &whole.body).await {
            Ok(parts) if parts.is_empty() => Outcome::default(),
            Ok(_) => Outcome {
                deliveries: vec![NewDelivery {
                    destination: PARTS.to_owned(),
                    body: None,
                    rest: None,
                    content_type: whole.content_type.clone(),
                    queue_of: None,
                    lane: None,
                }],
                ..Outcome::default()
            },
            Err(error) => Outcome::failed(Failure::of("step[0].split", error)),
        }
    }
}

/// An answer that nobody waits for.
fn answers_nothing() -> Outcome {
    let what =
        "answers what nobody here has sent, or waits for. Ask its sender what it means; nothing was done";
    tracing::error!("An answer came that nobody waits for; it is listed as failed.");
    Outcome::failed(Failure::of(
        "source",
        MapError::new(Reason::UnknownKey, None, what),
    ))
}
