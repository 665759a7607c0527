//! Objects as they go out: from where they lie, in pieces.

use bytes::{Bytes, BytesMut};
use clinic::exchange::{MapError, Reason};
use dimse::scu::Object;
use dimse::{AeTitle, Association, Context, Error, Proposal, Status, uids};
use engine::anew::{Anew, AnewError};
use engine::archive::{KeptObject, ObjectBody};
use engine::body::Pieces;

use super::part10::{self, Meta};
use crate::tls::Stream;

/// What breaks off a message that has begun.
pub(super) enum Broken {
    /// The rest of it can't be had. The association is of no use any more: the message has no end.
    Read(AnewError),
    /// The association.
    Sent(Error),
}

/// The bytes of a data set that are not at hand yet.
pub(super) enum Rest {
    /// As they lie in the store.
    AsStored(Pieces),
    /// In another transfer syntax.
    Anew(Box<Anew>),
}

impl Rest {
    async fn next(&mut self) -> Result<Option<Bytes>, AnewError> {
        match self {
            Rest::AsStored(pieces) => Ok(pieces.next().await?),
            Rest::Anew(anew) => anew.next().await,
        }
    }
}

/// An object that is being written anew: the beginning of its data set, and the rest. What can't be decoded is known before
/// anything of it is sent.
pub(super) async fn begun(mut anew: Anew) -> Result<(Bytes, Rest), AnewError> {
    let head = anew.next().await?.unwrap_or_default();
    anew.read_ahead().await?;
    let (_, begins) = part10::read(&head).map_err(|why| MapError::new(Reason::DataType, None, why))?;
    Ok((head.slice(begins..), Rest::Anew(Box::new(anew))))
}

/// The data set of a message that was begun: what is at hand of it, and then the rest as it is read. Each part but the last
/// has an even length.
pub(super) async fn send_rest(
    association: &mut Association<Stream>,
    context: &Context,
    first: Bytes,
    mut rest: Rest,
) -> Result<(), Broken> {
    let mut odd = BytesMut::new();
    let mut at_hand = Some(first).filter(|first| !first.is_empty());
    loop {
        let next = match at_hand.take() {
            Some(first) => Some(first),
            None => rest.next().await.map_err(Broken::Read)?,
        };
        let Some(piece) = next else { break };
        let piece = match odd.is_empty() {
            true => piece,
            false => {
                odd.extend_from_slice(&piece);
                odd.split().freeze()
            }
        };
        let (even, last) = piece.split_at(piece.len() & !1);
        association
            .send_data(context.id, even, false)
            .await
            .map_err(Broken::Sent)?;
        odd.extend_from_slice(last);
    }
    association
        .send_data(context.id, &odd, true)
        .await
        .map_err(Broken::Sent)
}

/// Those who take no object as it lies here take it in one of these (PS3.5 §10.1), written anew.
const PLAIN: [&str; 2] = [uids::EXPLICIT_LITTLE, uids::IMPLICIT_LITTLE];

/// Proposes those with each of these classes, once.
pub(super) fn with_plain<'c>(proposal: Proposal, classes: impl IntoIterator<Item = &'c str>) -> Proposal {
    let mut done: Vec<&str> = vec![];
    classes.into_iter().fold(proposal, |proposal, class| {
        if done.contains(&class) {
            return proposal;
        }
        done.push(class);
        proposal.with(class, PLAIN)
    })
}

/// By which context of those that stand for its class an object goes: one of its own transfer syntax, else one of those that
/// every object can be written in. One of an odd length can't go as it lies (PS3.8 E.1: each piece is even), and many a peer breaks off
/// on it: it is written anew, where each value is filled up.
pub(super) fn way(
    association: &Association<Stream>,
    class: &str,
    syntax: &str,
    is_odd: bool,
) -> Option<Context> {
    let syntaxes = Some(syntax).filter(|_| !is_odd).into_iter().chain(PLAIN);
    let mut contexts = syntaxes.filter_map(|syntax| association.context(class, Some(syntax)));
    contexts.next().cloned()
}

/// An object that lies here, opened.
pub(super) struct Opened<'o> {
    pub(super) meta: Meta,
    object: &'o KeptObject,
    found: ObjectBody,
    begins: usize,
}

impl<'o> Opened<'o> {
    /// Opens an object. An error says why it can't be.
    pub(super) async fn of(object: &'o KeptObject) -> Result<Self, String> {
        let uid = object.uid().to_owned();
        let is_it = |head: &[u8]| {
            part10::read(&Bytes::copy_from_slice(head)).is_ok_and(|(meta, _)| meta.instance == uid)
        };
        let found = object.body(&is_it).await.map_err(|error| error.to_string())?;
        let found = found.ok_or("its bytes were taken out")?;
        let (meta, begins) = part10::read(&found.beginning)?;
        Ok(Opened {
            meta,
            object,
            found,
            begins,
        })
    }

    /// Whether its data set has an odd length: what none may have, and some have.
    pub(super) fn is_odd(&self) -> bool {
        (self.found.body.length() - self.begins as u64) % 2 == 1
    }

    /// Made ready to go in this transfer syntax: its first bytes are known. An error says why it can't be written so.
    pub(super) async fn written(self, syntax: &str) -> Result<Written, String> {
        let is_odd = self.is_odd();
        let Opened {
            meta,
            object,
            found,
            begins,
        } = self;
        if meta.syntax == syntax && !is_odd {
            return Ok(Written {
                meta,
                first: found.beginning.slice(begins..),
                rest: Rest::AsStored(found.body.pieces(found.beginning.len() as u64)),
            });
        }
        let cannot = |error: AnewError| format!("it can't be written in {syntax}: {error}");
        let anew = object.anew(found, syntax).await.map_err(cannot)?;
        let (first, rest) = begun(anew).await.map_err(cannot)?;
        Ok(Written { meta, first, rest })
    }
}

/// An object that is ready to go.
pub(super) struct Written {
    meta: Meta,
    /// The beginning of its data set.
    first: Bytes,
    rest: Rest,
}

impl Written {
    /// Stores it at the far side. `originator`: on whose behalf, by which message.
    pub(super) async fn store(
        self,
        association: &mut Association<Stream>,
        context: &Context,
        originator: Option<(&AeTitle, u16)>,
    ) -> Result<Status, Broken> {
        let object = Object {
            class: &self.meta.class,
            instance: &self.meta.instance,
            originator,
        };
        let asked = association.begin_store(context, &object);
        send_rest(association, context, self.first, self.rest).await?;
        let answer = association.answer(asked).await.map_err(Broken::Sent)?;
        Ok(answer.status())
    }
}
