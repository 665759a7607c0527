//! Messages and aggregates to store.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clinic::aggregate::{Meta, Source};
use clinic::apply::{Applied, Write};
use clinic::exchange::{Keys, Reason};
use clinic::value::Identifier;
use clinic::{Aggregate, Kind, Record};
use engine::message::{Failure, Incoming, MessageState, NewDelivery, NewMessage};
use engine::store::{Commit, Committed, Dedup, Repeat};
use jiff::Timestamp;
use uuid::Uuid;

pub const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// As a channel has it where its file says nothing.
pub const DEDUP: Dedup = Dedup {
    window: WEEK,
    from: 0,
    until_told: false,
};

/// Who is found where nobody is.
pub const NOBODY: [Uuid; 0] = [];

static CLOCK: AtomicI64 = AtomicI64::new(1_790_000_000_000_000);

/// A time a millisecond after the last one.
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(CLOCK.fetch_add(1000, Ordering::Relaxed)).unwrap()
}

pub fn message(control_id: &str, body: impl Into<Bytes>) -> NewMessage {
    NewMessage {
        id: Uuid::now_v7(),
        replay_of: None,
        channel: "lab".into(),
        incoming: Incoming {
            body: body.into(),
            big: None,
            content_type: "application/hl7-v2".into(),
            headers: vec![("peer".into(), "127.0.0.1:4000".into())],
            received_at: now(),
            identity: None,
        },
        keys: Keys {
            sender: Some("LIS|LAB".into()),
            control_id: Some(control_id.into()),
            message_type: Some("ORU^R01".into()),
            patients: vec!["1234".into(), "1234^HIS".into()],
            visits: vec!["V77".into()],
            orders: vec!["ORD-9".into()],
            answers: None,
        },
        state: MessageState::Routed,
        failure: None,
        candidates: vec![],
        origin: None,
        resolutions: vec![],
        notes: Default::default(),
    }
}

pub fn failure() -> Failure {
    Failure {
        step: "step[1].decode".into(),
        reason: Reason::RequiredMissing,
        place: Some("PID-5".into()),
        why: "the patient's name is missing".into(),
    }
}

pub fn commit(message: NewMessage) -> Commit {
    Commit {
        counters: vec![],
        message,
        again: None,
        applied: None,
        deliveries: vec![],
        dedup: Some(DEDUP),
        made_by: None,
        asked: None,
    }
}

pub fn delivery(destination: &str, body: Option<&str>) -> NewDelivery {
    NewDelivery {
        destination: destination.into(),
        body: body.map(|body| Bytes::copy_from_slice(body.as_bytes())),
        rest: None,
        content_type: if body.is_some() {
            "application/fhir+json"
        } else {
            "application/hl7-v2"
        }
        .into(),
        queue_of: None,
        lane: None,
    }
}

pub fn seq(committed: Committed) -> i64 {
    match committed {
        Committed::Stored { seq } => seq,
        other => panic!("not stored: {other:?}"),
    }
}

pub fn repeat(committed: Committed) -> Repeat {
    match committed {
        Committed::Repeat(repeat) => repeat,
        other => panic!("no repeat: {other:?}"),
    }
}

pub fn identifier(system: &str, value: &str) -> Identifier {
    Identifier {
        system: Some(system.into()),
        value: value.into(),
        ..Identifier::default()
    }
}

/// The first version of an aggregate.
pub fn record(kind: Kind, message: Uuid) -> Record {
    let at = now();
    Record {
        meta: Meta {
            id: Uuid::now_v7(),
            site: Some("north".into()),
            version: 1,
            created_at: at,
            updated_at: at,
            source: Source::Message {
                channel: "lab".into(),
                message,
            },
            held: clinic::held::Held::default(),
        },
        aggregate: Aggregate::new(kind),
    }
}

/// The next version, made by another message.
pub fn next(record: &Record, message: Uuid) -> Record {
    let mut next = record.clone();
    next.meta.version += 1;
    next.meta.updated_at = now();
    next.meta.source = Source::Message {
        channel: "lab".into(),
        message,
    };
    next
}

pub fn write(record: Record) -> Write {
    Write {
        before: None,
        verb: if record.meta.version == 1 {
            "created"
        } else {
            "updated"
        },
        keys: clinic::keys::identifier_keys(&record.aggregate),
        keys_changed: true,
        natural_keys: vec![],
        bookings: vec![],
        record: record.into(),
    }
}

/// A message that writes these.
pub fn applying(control_id: &str, writes: Vec<Write>) -> Commit {
    let mut commit = commit(message(control_id, format!("body of {control_id}")));
    commit.applied = Some(Applied {
        reads: writes
            .iter()
            .map(|write| {
                let meta = &write.record.meta;
                (write.record.aggregate.kind(), meta.id, meta.version - 1)
            })
            .collect(),
        writes,
        ..Applied::default()
    });
    commit
}
