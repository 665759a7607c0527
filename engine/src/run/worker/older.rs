//! Nothing older over what is newer: where several queues lead to one server, or a delivery comes late, what the server was told since
//! stays as it has it.

use bytes::Bytes;

use super::super::servers::Telling;
use super::{Verdict, Worker};
use crate::store::{StoreError, Waiting};

impl Worker {
    /// The body as it is to be sent, and what is told by it until that is over.
    pub(super) async fn no_older(
        &self,
        head: &Waiting,
        body: Bytes,
    ) -> Result<(Bytes, Option<Telling>), StoreError> {
        let Some(server) = self.settings.end.format_settings.server.as_deref() else {
            return Ok((body, None));
        };
        // A queue that leads there alone, in its order, has nothing to fear.
        if self.settings.order_by.is_none() && !self.servers.is_shared(server) {
            if head.attempts == 0 {
                return Ok((body, None));
            }
            self.servers.forget(server);
        }
        let told = self.format.tells(&body);
        if told.is_empty() {
            return Ok((body, None));
        }
        let telling = self.servers.tell(server, told, self.store.as_ref()).await?;
        let changed = match telling.newer.as_slice() {
            [] => None,
            newer => self.format.leaving(&body, newer),
        };
        Ok((changed.map_or(body, Bytes::from), Some(telling)))
    }
}

/// Remembers what the server has now, and says what it had already in a newer version.
pub(super) fn told(telling: &Telling, verdict: Verdict) -> Verdict {
    if matches!(verdict.word, "accepted" | "unsure") {
        telling.is_there();
    }
    if verdict.word != "accepted" || telling.newer.is_empty() {
        return verdict;
    }
    let why = format!(
        "{} of its resources had been told there in a newer version, and stayed so",
        telling.newer.len()
    );
    Verdict {
        why: Some(why),
        ..verdict
    }
}
