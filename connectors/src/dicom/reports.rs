//! The associations on which storage commitment may be asked for, for reports that go by the same one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::commitment::Report;

/// How long a peer may take to answer a report on its own association.
const WITHIN: Duration = Duration::from_secs(60);

/// Who called, and whom.
type Ends = (String, String);

/// A report for an association.
pub(super) struct Handed {
    pub(super) syntax: String,
    pub(super) event: u16,
    pub(super) data: Bytes,
    /// What the peer answers; dropped where it can't be given.
    pub(super) answer: oneshot::Sender<Vec<u8>>,
}

/// The associations that stand, by who called and whom.
#[derive(Clone, Default)]
pub(super) struct Reports {
    standing: Arc<Mutex<HashMap<Ends, Vec<mpsc::Sender<Handed>>>>>,
}

/// An association's place among them, until it is dropped.
pub(super) struct Place {
    reports: Reports,
    ends: Ends,
    handed: mpsc::Receiver<Handed>,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, HashMap<Ends, Vec<mpsc::Sender<Handed>>>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on reports may come to this association.
    pub(super) fn join(&self, calling: &str, called: &str) -> Place {
        let (sender, handed) = mpsc::channel(1);
        let ends = (calling.to_owned(), called.to_owned());
        self.lock().entry(ends.clone()).or_default().push(sender);
        Place {
            reports: self.clone(),
            ends,
            handed,
        }
    }

    /// Gives a report to the newest association of its asker, and tells what it answers. None: there is none, or it has
    /// no place for it.
    pub(super) async fn give(&self, calling: &str, called: &str, report: &Report) -> Option<Vec<u8>> {
        let ends = (calling.to_owned(), called.to_owned());
        let sender = self.lock().get(&ends)?.last()?.clone();
        let (answer, answered) = oneshot::channel();
        let handed = Handed {
            syntax: report.meta.syntax.clone(),
            event: report.event,
            data: report.data.clone(),
            answer,
        };
        let giving = async {
            sender.send(handed).await.ok()?;
            answered.await.ok()
        };
        timeout(WITHIN, giving).await.ok().flatten()
    }
}

impl Place {
    /// The next report. Never none as long as this stands.
    pub(super) async fn next(&mut self) -> Option<Handed> {
        self.handed.recv().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handed.close();
        let mut standing = self.reports.lock();
        if let Some(senders) = standing.get_mut(&self.ends) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                standing.remove(&self.ends);
            }
        }
    }
}
