//! Lets the script fetch messages at set times, and hands them in.

use std::net::SocketAddr;

use async_trait::async_trait;
use engine::connector::{ConnectorError, Intake, Outcome, Stop};
use engine::message::Incoming;
use engine::run::ScriptEnd;
use engine::script::PolledMessage;

use crate::sockets::before_the_end;
use crate::timer::settings::Schedule;
use crate::timer::wait_until;

/// A script that waits to be run.
pub(super) struct ScriptSource {
    pub(super) schedule: Schedule,
    pub(super) end: ScriptEnd,
}

#[async_trait]
impl engine::connector::Source for ScriptSource {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        before_the_end(self.tick(&intake, &stop), &stop).await;
        Ok(())
    }
}

impl ScriptSource {
    async fn tick(&self, intake: &Intake, stop: &Stop) {
        let mut told = None;
        match self.schedule {
            Schedule::Every(_) => {}
            Schedule::Cron(..) => self.wait(stop).await,
        }
        while !stop.is_cancelled() {
            match self.poll(intake, stop).await {
                Ok(()) => told = None,
                Err(why) => {
                    // The text may hold anything of a patient: it is kept with a message, sealed, and in no log.
                    tracing::warn!("The script of a source has failed; the reason is kept with a message.");
                    if told.as_ref() != Some(&why) {
                        let nothing = Incoming {
                            body: Default::default(),
                            big: None,
                            content_type: self.end.content_type().to_owned(),
                            headers: vec![],
                            received_at: self.end.now(),
                            identity: None,
                        };
                        intake.reject(nothing, why.clone()).await;
                        told = Some(why);
                    }
                }
            }
            self.wait(stop).await;
        }
    }

    /// Waits for the next tick; those that have passed meanwhile are over.
    async fn wait(&self, stop: &Stop) {
        let Some(due) = self.schedule.next(self.end.now()) else {
            return stop.cancelled().await;
        };
        wait_until(due, || self.end.now(), tokio::time::sleep, stop).await;
    }

    /// Fetches once. The error says why the script failed.
    async fn poll(&self, intake: &Intake, stop: &Stop) -> Result<(), String> {
        let cursor = match intake.cursor().await {
            Ok(cursor) => cursor,
            Err(error) => {
                tracing::warn!(%error, "Where a source goes on is not known yet; it is asked for again.");
                return Ok(());
            }
        };
        let (polled, fetched) = self
            .end
            .poll(cursor.clone())
            .await
            .map_err(|error| error.to_string())?;
        for message in polled.messages {
            if stop.is_cancelled() || !self.hand_in(message, intake).await {
                // The cursor stays: what follows is fetched again.
                return Ok(());
            }
        }
        if let Some(new) = polled.cursor.filter(|new| cursor.as_ref() != Some(new))
            && let Err(error) = intake.keep_cursor(&new).await
        {
            tracing::warn!(%error, "Where a source goes on could not be kept; it fetches from the same place again.");
            return Ok(());
        }
        self.end.fetched(fetched);
        Ok(())
    }

    /// False: the store could not take it.
    async fn hand_in(&self, message: PolledMessage, intake: &Intake) -> bool {
        let content_type = message.content_type;
        let incoming = Incoming {
            body: message.body,
            big: None,
            content_type: content_type.unwrap_or_else(|| self.end.content_type().to_owned()),
            headers: vec![],
            received_at: self.end.now(),
            identity: Some(message.identity),
        };
        match intake.accept(incoming).await.outcome {
            Outcome::Stored | Outcome::Failed => true,
            Outcome::Unavailable => false,
        }
    }
}
