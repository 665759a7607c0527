//! The bare loop: the rows that `stored` writes, sealed and inserted by the store's own functions with the same flush,
//! 16 messages a transaction, on one thread, without sockets and without anybody waiting.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clinic::exchange::Keys;
use engine::message::{Incoming, MessageState, NewMessage};
use engine::store::sqlite::bench;
use engine::store::{Commit, Dedup, MasterKey, SqliteOptions};

use crate::messages::{Pool, TemplateKeys, name};

/// Messages of one transaction.
pub const EACH: u64 = 16;
/// As a channel has it where its file says nothing.
const DEDUP: Dedup = Dedup {
    window: Duration::from_secs(7 * 24 * 3600),
    from: 0,
    until_told: false,
};

/// What the loop did.
pub struct Bare {
    pub messages: u64,
    pub took: Duration,
    pub cpu_us: Option<f64>,
}

impl Bare {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }
}

/// Runs it in a fresh folder.
pub fn run(count: u64) -> Result<Bare> {
    let folder = tempfile::TempDir::new()?;
    let key = MasterKey::generate()?;
    let pool = Pool::new();
    let mut body = vec![];
    let mut make = |number: u64, _: &dyn clinic::apply::Snapshot| {
        pool.write(number, &mut body);
        Ok(commit(
            number,
            &pool.template(number).keys,
            Bytes::copy_from_slice(&body),
        ))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = crate::machine::own_ticks();
    let took = runtime.block_on(bench::bare(
        folder.path(),
        &key,
        SqliteOptions::default(),
        count,
        EACH,
        &mut make,
    ))?;
    let cpu_us = before
        .zip(crate::machine::own_ticks())
        .map(|(before, after)| crate::load::micros_each(after - before, count));
    Ok(Bare {
        messages: count,
        took,
        cpu_us,
    })
}

fn commit(number: u64, template: &TemplateKeys, body: Bytes) -> Commit {
    let control_id = name(number);
    let fill = |list: &[&'static str]| list.iter().map(|form| form.replace("{}", &control_id)).collect();
    let keys = Keys {
        sender: Some(template.sender.into()),
        message_type: Some(template.message_type.into()),
        patients: template.patients.clone(),
        visits: fill(&template.visits),
        orders: fill(&template.orders),
        answers: None,
        control_id: Some(control_id.clone()),
    };
    Commit {
        counters: vec![],
        message: NewMessage {
            id: uuid::Uuid::now_v7(),
            replay_of: None,
            channel: "stored".into(),
            incoming: Incoming {
                body,
                big: None,
                content_type: "x-application/hl7-v2+er7".into(),
                headers: vec![("peer".into(), "127.0.0.1:40000".into())],
                received_at: jiff::Timestamp::now(),
                identity: None,
            },
            keys,
            state: MessageState::Routed,
            failure: None,
            candidates: vec![],
            origin: None,
            resolutions: vec![],
            notes: Default::default(),
        },
        again: None,
        applied: None,
        deliveries: vec![],
        dedup: Some(DEDUP),
        made_by: None,
        asked: None,
    }
}
