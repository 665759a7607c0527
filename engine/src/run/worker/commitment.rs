//! What is sent in place of a request for storage commitment: the report on it, as the clinic stands now (PS3.4 J.3.3).

use std::time::Duration;

use bytes::Bytes;
use clinic::archive::Kept;

use super::{Verdict, Worker, after, duration_until};
use crate::archive::kept;
use crate::store::Waiting;

impl Worker {
    /// The report; an error is what comes of the try without one. What has not come is waited for `grace` long.
    pub(super) async fn report(&self, head: &Waiting, grace: Duration) -> Result<Bytes, Verdict> {
        let refused = |why: String| Verdict::new("refused", Some(why));
        let requested = match self.format.commits(&head.body) {
            Some(Ok(requested)) => requested,
            Some(Err(error)) => return Err(refused(error.to_string())),
            None => return Err(refused("it is no request for storage commitment".to_owned())),
        };
        let names = |beginning: &[u8]| self.format.keys(beginning).control_id;
        let kept = kept(&*self.store, &requested, &names)
            .await
            .map_err(|error| Verdict::retry(&error.to_string()))?;
        let missing = kept.iter().filter(|kept| **kept == Kept::Missing).count();
        let now = (self.world.now)();
        let until = after(head.received_at, grace);
        if missing != 0 && now < until {
            let why = format!("{missing} of {} objects have not come yet", kept.len());
            return Err(Verdict {
                // The last look is when the time is over, and not a pause later.
                at_most: Some(duration_until(now, until)),
                ..Verdict::retry(&why)
            });
        }
        let report = self.format.commitment_report(&head.body, &kept);
        report
            .map(Bytes::from)
            .map_err(|error| refused(error.to_string()))
    }
}
