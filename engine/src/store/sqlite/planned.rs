//! What is planned, kept in memory and true to what is on disk: read when it is first asked for, and told of each order
//! and each appointment once it is committed, before its sender is answered.
//!
//! Commits go on while it is read: they are put in beside it, and the newer version stays. After the store was opened
//! again it is read anew.

use std::sync::{Mutex, PoisonError, RwLock};

use ::clinic::apply::FindKey;
use ::clinic::planned::Planned;
use ::clinic::search::LIVE;
use ::clinic::{Kind, Record};
use rusqlite::Connection;
use uuid::Uuid;

use super::Shared;
use super::cache::Kept;
use super::search::search;
use crate::store::{ClinicQuery, StoreError};

/// So many rows are opened at once.
const PAGE: u32 = 1_000;
/// For so many orders appointments are looked up at once.
const AT_ONCE: usize = 500;
/// How often reading begins anew because the store was opened again meanwhile.
const TRIES: u32 = 3;

#[derive(Default)]
pub(crate) struct PlannedSteps {
    state: RwLock<State>,
    /// Held by whoever reads it all; the others wait for that.
    reading: Mutex<()>,
}

#[derive(Default)]
enum State {
    #[default]
    Unread,
    /// Some of it is there, and all that was committed meanwhile.
    Reading(Planned),
    Ready(Planned),
}

impl State {
    fn planned(&mut self) -> Option<&mut Planned> {
        match self {
            State::Unread => None,
            State::Reading(planned) | State::Ready(planned) => Some(planned),
        }
    }
}

impl PlannedSteps {
    /// Takes what is on disk now.
    pub(crate) fn committed(&self, records: &[(Uuid, Kept)]) {
        let mut told = records
            .iter()
            .map(|(_, kept)| &kept.record)
            .filter(|record| matches!(record.aggregate.kind(), Kind::Order | Kind::Appointment))
            .peekable();
        if told.peek().is_some()
            && let Some(planned) = self.write().planned()
        {
            told.for_each(|record| planned.put(record));
        }
    }

    /// What the store said may be otherwise now.
    pub(crate) fn clear(&self) {
        *self.write() = State::Unread;
    }

    /// Asks it; none: it has to be read first.
    pub(crate) fn ask<T>(&self, ask: &impl Fn(&Planned) -> T) -> Option<T> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(planned) => Some(ask(planned)),
            State::Reading(_) | State::Unread => None,
        }
    }

    /// The same, read where it was not yet.
    pub(crate) fn read_and_ask<T>(
        &self,
        shared: &Shared,
        connection: &Connection,
        ask: &impl Fn(&Planned) -> T,
    ) -> Result<T, StoreError> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if let Some(found) = self.ask(ask) {
                return Ok(found);
            }
            // From here on commits are put in: what was committed before is found by the searches.
            *self.write() = State::Reading(Planned::default());
            self.read_all(shared, connection)?;
            let mut state = self.write();
            *state = match std::mem::take(&mut *state) {
                State::Reading(mut planned) | State::Ready(mut planned) => {
                    planned.in_order_from_here();
                    State::Ready(planned)
                }
                State::Unread => State::Unread,
            };
        }
        Err(StoreError::Unavailable("it was opened again meanwhile".into()))
    }

    fn read_all(&self, shared: &Shared, connection: &Connection) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let query = ClinicQuery {
                kinds: vec![Kind::Order],
                keys: vec![vec![format!("imaging|{LIVE}")]],
                after,
                limit: PAGE,
                ..ClinicQuery::default()
            };
            let rows = search(shared, connection, &query)?;
            self.put(&rows);
            match rows.last() {
                Some(last) => after = Some((last.meta.updated_at, last.meta.id)),
                None => break,
            }
        }
        let orders: Vec<Uuid> = match self.write().planned() {
            Some(planned) => planned.orders().collect(),
            None => return Ok(()),
        };
        for orders in orders.chunks(AT_ONCE) {
            let keys = orders
                .iter()
                .map(|order| FindKey::referring(Kind::Appointment, *order).text);
            let mut query = ClinicQuery {
                kinds: vec![Kind::Appointment],
                keys: vec![keys.collect()],
                limit: PAGE,
                ..ClinicQuery::default()
            };
            loop {
                let rows = search(shared, connection, &query)?;
                self.put(&rows);
                match rows.last() {
                    Some(last) => query.after = Some((last.meta.updated_at, last.meta.id)),
                    None => break,
                }
            }
            if let Some(planned) = self.write().planned() {
                planned.all_are_in(orders);
            }
        }
        Ok(())
    }

    fn put(&self, records: &[Record]) {
        if let Some(planned) = self.write().planned() {
            records.iter().for_each(|record| planned.put(record));
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
