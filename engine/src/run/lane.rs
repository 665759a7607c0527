//! The lanes to destinations: each has one worker at a time, whatever is stopped, started and reloaded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use super::tasks::Tasks;
use super::worker::Bell;
use crate::channel::Destination as Settings;
use crate::connector::Stop;

/// All lanes that there have ever been, by channel and destination. One whose destination has gone keeps its place: a
/// message under way may still ring its bell, and a worker that is ending must have ended before another begins.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<BTreeMap<(String, String), Lane>>,
}

/// The way to one destination.
#[derive(Default)]
struct Lane {
    bell: Arc<Bell>,
    running: Option<Running>,
    /// The last worker, which the next one waits for.
    last: Option<JoinHandle<()>>,
}

struct Running {
    settings: Settings,
    quit: Stop,
}

impl Lanes {
    /// The bells of these destinations of a channel, for its door.
    pub(super) fn bells<'s>(
        &self,
        channel: &str,
        destinations: impl IntoIterator<Item = &'s Settings>,
    ) -> HashMap<String, Arc<Bell>> {
        let mut lanes = self.lock();
        let bell = |settings: &Settings| {
            let lane = lanes
                .entry((channel.to_owned(), settings.name.clone()))
                .or_default();
            (settings.name.clone(), lane.bell.clone())
        };
        destinations.into_iter().map(bell).collect()
    }

    /// The bell of one queue, whether a worker runs there or not.
    pub(super) fn bell(&self, channel: &str, destination: &str) -> Arc<Bell> {
        let mut lanes = self.lock();
        let lane = lanes.entry((channel.to_owned(), destination.to_owned()));
        lane.or_default().bell.clone()
    }

    /// Whether a worker runs with exactly these settings.
    pub(super) fn runs(&self, channel: &str, settings: &Settings) -> bool {
        self.lock()
            .get(&(channel.to_owned(), settings.name.clone()))
            .and_then(|lane| lane.running.as_ref())
            .is_some_and(|running| is_same(&running.settings, settings))
    }

    /// The destinations of a channel that have a worker.
    pub(super) fn running(&self, channel: &str) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|((of, _), lane)| of == channel && lane.running.is_some())
            .map(|((_, name), _)| name.clone())
            .collect()
    }

    /// Lets a worker begin, once the one before has ended. `make` is given the lane's bell and what ends the worker.
    pub(super) fn begin<Work: Future<Output = ()> + Send + 'static>(
        &self,
        channel: &str,
        settings: &Settings,
        tasks: &Tasks,
        make: impl FnOnce(Arc<Bell>, Stop) -> Work,
    ) {
        let mut lanes = self.lock();
        let lane = lanes
            .entry((channel.to_owned(), settings.name.clone()))
            .or_default();
        if let Some(running) = lane.running.take() {
            running.quit.cancel();
        }
        let quit = tasks.stop().child_token();
        let worker = make(lane.bell.clone(), quit.clone());
        let before = lane.last.take();
        lane.last = Some(tasks.spawn(async move {
            if let Some(before) = before {
                // How it ended has been told where it did.
                let _ = before.await;
            }
            worker.await;
        }));
        lane.running = Some(Running {
            settings: settings.clone(),
            quit,
        });
    }

    /// Ends the worker of a destination: what it sends just now is still sent, what waits stays in the queue.
    pub(super) fn end(&self, channel: &str, destination: &str) {
        if let Some(lane) = self.lock().get_mut(&(channel.to_owned(), destination.to_owned()))
            && let Some(running) = lane.running.take()
        {
            running.quit.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two parts of channels say the same. Their `Debug` shows everything that was read, tables too; not all of it
/// can be compared otherwise (a regular expression can't).
pub(super) fn is_same(one: &impl std::fmt::Debug, other: &impl std::fmt::Debug) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
