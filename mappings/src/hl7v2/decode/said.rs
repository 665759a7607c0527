//! A change set as JSON, with short ways to what the tests of messages ask of it.

use clinic::change_set::ChangeSet;
use serde_json::Value;

use super::{Profile, decode};

/// A change set as JSON, with short ways to what is asked of it.
pub struct Said {
    pub set: ChangeSet,
    pub json: Value,
}

pub fn read(message: &str) -> Said {
    let set =
        decode(message.replace('\n', "\r").as_bytes(), &Profile::default()).expect("a message that is read");
    said(set)
}

pub fn sample(name: &str) -> Said {
    let path = format!("{}/../samples/hl7v2/{name}.hl7", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).expect("a sample");
    said(decode(&bytes, &Profile::default()).expect("a sample that is read"))
}

fn said(set: ChangeSet) -> Said {
    let json = serde_json::to_value(&set).expect("JSON");
    Said { set, json }
}

impl Said {
    /// The fields of all changes of a kind, in order.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        let changes = self.json["changes"].as_array().expect("changes");
        changes
            .iter()
            .filter_map(|change| change["say"].get(kind))
            .collect()
    }

    pub fn one(&self, kind: &str) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "one {kind}");
        all[0]
    }

    /// The observation whose code is this.
    pub fn observation(&self, code: &str) -> &Value {
        let all = self.all("Observation");
        let found = all.into_iter().find(|o| o["code"]["codings"][0]["code"] == code);
        found.unwrap_or_else(|| panic!("no observation {code}"))
    }

    /// The change with a key.
    pub fn change(&self, key: &str) -> &Value {
        let changes = self.json["changes"].as_array().expect("changes");
        changes
            .iter()
            .find(|change| change["key"] == key)
            .unwrap_or_else(|| panic!("no change {key}"))
    }

    /// What a reference leads to.
    pub fn at<'a>(&'a self, reference: &Value) -> &'a Value {
        let key = reference["local"].as_str().expect("a reference");
        self.change(key)["say"]
            .as_object()
            .and_then(|say| say.values().next())
            .expect("a body")
    }

    pub fn extra(&self) -> Vec<&str> {
        self.set
            .extra
            .iter()
            .map(|extra| extra.place.0.as_str())
            .collect()
    }

    pub fn lost(&self, place: &str) -> bool {
        self.extra().contains(&place)
    }
}

/// The entries of a list, merged or replaced.
pub fn list(items: &Value) -> Vec<Value> {
    let items = if items.get("merge").is_some() {
        &items["merge"]
    } else {
        items
    };
    items.as_array().cloned().unwrap_or_default()
}

pub const MSH: &str = "MSH|^~\\&|LIS|LABOR|PUNTE|AURORA|20260512083000+0300||ORU^R01^ORU_R01|1|P|2.5.1";
pub const PID: &str = "PID|1||A-1^^^AURORA^MR||Rusu^Adina";

/// The messages of a day, applied in their order to a clinic that knows nobody.
pub fn day(names: &[&str]) -> clinic::memory::MemoryClinic {
    let sets: Vec<ChangeSet> = names.iter().map(|name| sample(name).set).collect();
    told(&sets)
}

/// Change sets, applied in their order to a clinic that knows nobody.
pub fn told(sets: &[ChangeSet]) -> clinic::memory::MemoryClinic {
    let mut clinic = clinic::memory::MemoryClinic::new();
    for (idx, set) in sets.iter().enumerate() {
        let applied = tries(set, &clinic, 1_000 * idx as u128).expect("a set that is taken");
        assert!(applied.left_out.is_empty(), "{idx}: {:?}", applied.left_out);
        clinic.commit(&applied).expect("nobody else writes");
    }
    clinic
}

/// As [`told`], by messages of channels, and not by a person; with the fields that the last one was not taken of.
pub fn heard(sets: &[ChangeSet]) -> (clinic::memory::MemoryClinic, Vec<String>) {
    let mut clinic = clinic::memory::MemoryClinic::new();
    let mut kept = vec![];
    for (idx, set) in sets.iter().enumerate() {
        let source = clinic::aggregate::Source::Message {
            channel: set.about.message_type.clone().unwrap_or_default(),
            message: uuid::Uuid::from_u128(idx as u128),
        };
        let applied = taken(set, &clinic, 1_000 * idx as u128, source).expect("a set that is taken");
        kept = applied.kept.iter().map(|kept| kept.field.clone()).collect();
        clinic.commit(&applied).expect("nobody else writes");
    }
    (clinic, kept)
}

/// What becomes of a change set in this clinic; new records get the ids behind `next`.
pub fn tries(
    set: &ChangeSet,
    clinic: &clinic::memory::MemoryClinic,
    next: u128,
) -> Result<clinic::apply::Applied, clinic::apply::ApplyError> {
    let source = clinic::aggregate::Source::Message {
        channel: "test".to_owned(),
        message: uuid::Uuid::from_u128(next),
    };
    taken(set, clinic, next, source)
}

fn taken(
    set: &ChangeSet,
    clinic: &clinic::memory::MemoryClinic,
    mut next: u128,
    source: clinic::aggregate::Source,
) -> Result<clinic::apply::Applied, clinic::apply::ApplyError> {
    let mut new_id = || {
        next += 1;
        uuid::Uuid::from_u128(next)
    };
    let context = clinic::apply::Context {
        source,
        now: jiff::Timestamp::UNIX_EPOCH,
        site: None,
        on_unmatched: clinic::apply::OnUnmatched::Create,
        decisions: &[],
        overwrite: false,
        new_id: &mut new_id,
    };
    clinic::apply(set, clinic, context)
}

pub fn of_kind(clinic: &clinic::memory::MemoryClinic, kind: clinic::Kind) -> Vec<Value> {
    let all = clinic.all(kind).into_iter();
    all.map(|record| serde_json::to_value(&record.aggregate).expect("JSON")[kind.as_str()].clone())
        .collect()
}
