//! Objects as they go out: from where they lie, in pieces.

use bytes::{Bytes, BytesMut};
use dimse::scu::Object;
use dimse::{AeTitle, Association, Context, Error, Status};
use engine::archive::{KeptObject, ObjectBody};
use engine::body::Pieces;
use engine::store::StoreError;

use super::part10::{self, Meta};
use crate::tls::Stream;

/// What breaks off a message that has begun.
pub(super) enum Broken {
    /// The rest of it can't be read. The association is of no use any more: the message has no end.
    Read(StoreError),
    /// The association.
    Sent(Error),
}

/// The data set of a message that was begun: what is at hand of it, and then the rest as it is read. Each part but the last
/// has an even length.
pub(super) async fn send_rest(
    association: &mut Association<Stream>,
    context: &Context,
    first: Bytes,
    mut pieces: Pieces,
) -> Result<(), Broken> {
    let mut odd = BytesMut::new();
    let mut at_hand = Some(first).filter(|first| !first.is_empty());
    loop {
        let next = match at_hand.take() {
            Some(first) => Some(first),
            None => pieces.next().await.map_err(Broken::Read)?,
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

/// An object that lies here, opened.
pub(super) struct Opened {
    pub(super) meta: Meta,
    /// The beginning of its data set.
    first: Bytes,
    rest: Pieces,
}

impl Opened {
    /// Opens an object. An error says why it can't be.
    pub(super) async fn of(object: &KeptObject) -> Result<Self, String> {
        let uid = object.uid().to_owned();
        let is_it = |head: &[u8]| {
            part10::read(&Bytes::copy_from_slice(head)).is_ok_and(|(meta, _)| meta.instance == uid)
        };
        let found = object.body(&is_it).await.map_err(|error| error.to_string())?;
        let ObjectBody { body, beginning } = found.ok_or("its bytes were taken out")?;
        let (meta, begins) = part10::read(&beginning)?;
        Ok(Opened {
            meta,
            first: beginning.slice(begins..),
            rest: body.pieces(beginning.len() as u64),
        })
    }

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
