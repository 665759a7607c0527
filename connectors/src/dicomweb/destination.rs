//! Sends objects to an archive by STOW-RS (PS3.18 §10.5), each as the only part of a request, and asks it by QIDO-RS and
//! WADO-RS.

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::Response;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use engine::store::StoreError;
use futures_util::{StreamExt, stream};
use reqwest::Body;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};

use super::settings;
use crate::dicom::part10;
use crate::http::client::{Caller, below};

const JSON: &str = "application/dicom+json";

/// An archive.
pub(super) struct DicomWebDestination {
    settings: settings::Destination,
    caller: Caller,
}

impl DicomWebDestination {
    pub(super) async fn open(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let caller = Caller::open(&settings.calling, surroundings).await?;
        Ok(DicomWebDestination { settings, caller })
    }

    fn base(&self) -> &str {
        self.settings.base.as_str().trim_end_matches('/')
    }
}

#[async_trait]
impl engine::connector::Destination for DicomWebDestination {
    /// HTTP pairs question and answer, so `mine` is not asked.
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let refused = |why: &str| SendError::Refused { why: why.to_owned() };
        let (meta, _) = part10::read(&outgoing.body).map_err(|_| refused("This is no DICOM object."))?;
        if meta.command.is_some() {
            return Err(refused("Only objects are sent by STOW-RS."));
        }
        // The number of the message is in no object.
        let boundary = format!("punte-{}-{}", outgoing.about.message.simple(), outgoing.delivery);
        // Without a transfer syntax, which the object says itself: Orthanc takes no part that has one.
        let before = Bytes::from(format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"));
        let after = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let whole = outgoing.whole();
        let length = before.len() as u64 + whole.length() + after.len() as u64;
        let pieces = stream::try_unfold(whole.pieces(0), async |mut pieces| {
            let piece = pieces.next().await?;
            Ok::<_, StoreError>(piece.map(|piece| (piece, pieces)))
        });
        let edge = |bytes| stream::once(async move { Ok::<_, StoreError>(bytes) });
        let body = edge(before).chain(pieces).chain(edge(after));
        let client = self.caller.client().await?;
        let request = client
            .post(format!("{}/studies", self.base()))
            .header(ACCEPT, JSON)
            .header(
                CONTENT_TYPE,
                format!("multipart/related; type=\"application/dicom\"; boundary={boundary}"),
            )
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(body));
        Ok(self.caller.exchange(request).await?.response)
    }

    fn takes_pieces(&self) -> bool {
        true
    }

    /// A search (`/studies?AccessionNumber=A-7`) or what objects say (`/studies/1.2.3/metadata`).
    async fn query(&self, question: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let refused = |why| SendError::Refused { why };
        let text = std::str::from_utf8(&question.body).unwrap_or_default();
        check_question(text).map_err(refused)?;
        let url = below(&self.settings.base, text).map_err(refused)?;
        let client = self.caller.client().await?;
        self.caller.question(client.get(url).header(ACCEPT, JSON)).await
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        self.settings.calling.reach(&self.settings.base).await
    }
}

/// What can be asked: a search, or metadata. Anything else would be answered with pixels.
pub(super) fn check_question(question: &str) -> Result<(), String> {
    let path = question.split('?').next().unwrap_or_default();
    let kind = path.rsplit('/').next().unwrap_or_default();
    match path.starts_with('/') && matches!(kind, "studies" | "series" | "instances" | "metadata") {
        true => Ok(()),
        false => Err(
            "ask by a search or for metadata, such as \"/studies?AccessionNumber={AccessionNumber}\" or \
             \"/studies/{StudyInstanceUID}/metadata\""
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_is_answered_with_json() {
        for right in [
            "/studies?PatientID=P-7",
            "/studies/1.2/series",
            "/instances",
            "/studies/1.2/metadata",
        ] {
            assert_eq!(check_question(right), Ok(()), "{right}");
        }
        for wrong in [
            "studies",
            "/studies/1.2",
            "?PatientID=1",
            "/studies/1.2/series/3/instances/4/frames/1",
        ] {
            assert!(check_question(wrong).is_err(), "{wrong}");
        }
    }
}
