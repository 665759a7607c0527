//! The cast: a clinic to apply change sets to, and short ways to say things.

use clinic::aggregate::Source;
use clinic::apply::{Applied, ApplyError, Candidate, Context, Decision, OnUnmatched, Record, apply};
use clinic::change_set::{Change, ChangeSet, Find, Merge, Natural};
use clinic::diagnostics::{
    ObservationChange, ObservationStatus, OrderChange, OrderStatus, ResultChange, ResultStatus,
};
use clinic::memory::MemoryClinic;
use clinic::patch::{Items, Patch};
use clinic::people::{Patient, PatientChange, PractitionerChange};
use clinic::value::{Concept, Identifier, PersonName, Ref};
use clinic::{Aggregate, Kind};
use jiff::Timestamp;
use uuid::Uuid;

/// A clinic with a clock and a counter of ids that only move forward.
#[derive(Default)]
pub struct Play {
    pub clinic: MemoryClinic,
    pub on_unmatched: OnUnmatched,
    pub decisions: Vec<Decision>,
    /// The channel writes over what a person wrote.
    pub overwrite: bool,
    /// The channel, where it is not `test`.
    pub channel: &'static str,
    /// Who writes by the write door; none: a channel.
    pub actor: Option<&'static str>,
    minutes: i64,
    ids: u128,
}

impl Play {
    pub fn new() -> Self {
        Play::default()
    }

    /// Applies without writing.
    pub fn tries(&mut self, set: &ChangeSet) -> Result<Applied, ApplyError> {
        self.minutes += 1;
        let ids = &mut self.ids;
        let context = Context {
            source: match self.actor {
                Some(name) => Source::Actor {
                    name: name.to_owned(),
                    message: None,
                },
                None => Source::Message {
                    channel: match self.channel {
                        "" => "test".to_owned(),
                        channel => channel.to_owned(),
                    },
                    message: Uuid::from_u128(u128::MAX - u128::from(self.minutes.unsigned_abs())),
                },
            },
            now: Timestamp::from_second(1_770_000_000 + self.minutes * 60).expect("in range"),
            site: Some("north".to_owned()),
            on_unmatched: self.on_unmatched,
            decisions: &self.decisions,
            overwrite: self.overwrite,
            new_id: &mut || {
                *ids += 1;
                Uuid::from_u128(*ids)
            },
        };
        apply(set, &self.clinic, context)
    }

    /// Applies and writes.
    pub fn takes(&mut self, set: &ChangeSet) -> Applied {
        let applied = self.tries(set).expect("it can be applied");
        no_reference_leads_nowhere(&applied, &self.clinic);
        self.clinic.commit(&applied).expect("nothing moved");
        applied
    }

    /// What a person would have to decide.
    pub fn parks(&mut self, set: &ChangeSet) -> (String, Vec<Candidate>) {
        match self.tries(set) {
            Err(ApplyError::Parked { why, candidates, .. }) => (why, candidates),
            other => panic!("not parked: {other:?}"),
        }
    }

    pub fn patient(&self, id: Uuid) -> &Patient {
        match &self.record(Kind::Patient, id).aggregate {
            Aggregate::Patient(patient) => patient,
            _ => panic!("no patient"),
        }
    }

    pub fn record(&self, kind: Kind, id: Uuid) -> &Record {
        self.clinic.versions(kind, id).last().expect("it is there")
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.clinic.all(kind).len()
    }
}

fn no_reference_leads_nowhere(applied: &Applied, clinic: &MemoryClinic) {
    use clinic::Refs;
    for write in &applied.writes {
        write.record.aggregate.refs(&mut |reference| match reference {
            Ref::Local(key) => panic!("{key} was not made an id"),
            Ref::Id(kind, id) => {
                let written = applied.writes.iter().any(|write| write.record.meta.id == *id);
                assert!(
                    written || !clinic.versions(*kind, *id).is_empty(),
                    "{kind:?} leads nowhere"
                );
                assert!(applied.known.contains_key(id), "{kind:?} is not known");
            }
        });
    }
}

pub fn set(changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        changes,
        ..ChangeSet::default()
    }
}

pub fn merging(changes: Vec<Change>, survivor: &str, old: &str, undo: bool) -> ChangeSet {
    ChangeSet {
        changes,
        merges: vec![Merge {
            survivor: survivor.to_owned(),
            old: old.to_owned(),
            undo,
            link: false,
        }],
        ..ChangeSet::default()
    }
}

pub fn number(system: &str, kind: &str, value: &str) -> Identifier {
    Identifier {
        kind: Some(Concept::coded("v2-0203", kind, None)),
        ..Identifier::new(Some(system).filter(|s| !s.is_empty()), value)
    }
}

pub fn chart(value: &str) -> Identifier {
    number("NORD", "MR", value)
}

pub fn cnp(value: &str) -> Identifier {
    number("CNP", "NI", value)
}

pub fn named(family: &str) -> PersonName {
    PersonName {
        family: Some(family.to_owned()),
        ..PersonName::default()
    }
}

pub fn patient(key: &str, identifiers: Vec<Identifier>, family: &str) -> Change {
    let names = if family.is_empty() {
        vec![]
    } else {
        vec![named(family)]
    };
    Change::new(
        key,
        PatientChange {
            identifiers: Items::merge(identifiers),
            names: Items::merge(names),
            ..PatientChange::default()
        },
    )
}

pub fn doctor(key: &str, value: &str, family: &str) -> Change {
    Change::new(
        key,
        PractitionerChange {
            identifiers: Items::merge(vec![number("STAFF", "PRN", value)]),
            names: Items::merge(vec![named(family)]),
            ..PractitionerChange::default()
        },
    )
}

pub fn order(key: &str, patient: &str, identifiers: Vec<Identifier>) -> Change {
    Change::new(
        key,
        OrderChange {
            identifiers: Items::merge(identifiers),
            patient: Patch::Set(local(patient)),
            status: Patch::Set(OrderStatus::Active),
            ..OrderChange::default()
        },
    )
}

pub fn local(key: &str) -> Ref {
    Ref::Local(key.to_owned())
}

pub fn natural(owner: Option<Ref>, key: &str) -> Find {
    Find {
        natural: Some(Natural {
            owner,
            key: key.to_owned(),
        }),
        ..Find::default()
    }
}

/// A result with ten measurements, as a laboratory sends it.
pub fn laboratory_report(status: ResultStatus, values: &[&str]) -> ChangeSet {
    let mut changes = vec![
        patient("patient", vec![chart("1"), cnp("2850312120015")], "Pop"),
        doctor("doctor", "77", "Rusu"),
        order(
            "order",
            "patient",
            vec![number("HIS", "PLAC", "P1"), number("LIS", "FILL", "F1")],
        ),
    ];
    let observations = (0..values.len())
        .map(|idx| local(&format!("observation-{idx}")))
        .collect();
    changes.push(Change::new(
        "result",
        ResultChange {
            identifiers: Items::merge(vec![number("LIS", "FILL", "F1")]),
            patient: Patch::Set(local("patient")),
            orders: Items::replace(vec![local("order")]),
            status: Patch::Set(status),
            interpreters: Items::replace(vec![local("doctor")]),
            observations: Items::merge(observations),
            ..ResultChange::default()
        },
    ));
    for (idx, value) in values.iter().enumerate() {
        let mut change = Change::new(
            format!("observation-{idx}"),
            ObservationChange {
                patient: Patch::Set(local("patient")),
                orders: Items::replace(vec![local("order")]),
                status: Patch::Set(ObservationStatus::Final),
                code: Patch::Set(Concept::coded("http://loinc.org", &format!("{idx}-1"), None)),
                value_original: Patch::Set((*value).to_owned()),
                ..ObservationChange::default()
            },
        );
        change.find = natural(Some(local("result")), &format!("{idx}-1|"));
        changes.push(change);
    }
    set(changes)
}
