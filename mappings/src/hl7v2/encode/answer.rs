//! The answer to a question for patients: RSP^K22 (HL7 v2.5.1 §3.3.57, segments QAK and QPD §5.5).

use clinic::change_set::{Change, ChangeSet};
use clinic::exchange::{Stamp, control_id};
use clinic::people::PatientChange;
use clinic::{Applied, Record};

use super::super::charset::Charset;
use super::wire::{Seg, comps, t};
use super::world::World;
use super::{Profile, charset_name, now, people};

/// What of the question stands in its answer.
pub(in crate::hl7v2) struct Answer {
    /// Whom it was sent to: program and place.
    pub sender: [String; 2],
    /// Who asks.
    pub receiver: [String; 2],
    /// MSH-10 of the question.
    pub control_id: String,
    /// MSH-11.
    pub processing: String,
    /// MSH-12.
    pub version: String,
    /// QPD-1 and QPD-2, in components.
    pub query: [Vec<String>; 2],
    /// QPD-3, its repetitions.
    pub conditions: Vec<[String; 2]>,
    /// How many were found, also those that are not told.
    pub of_all: usize,
}

/// Code of table 0357, its words, whether the kind of question is what is refused, and the whole in words.
type Refusal = (u16, &'static str, bool, String);

/// The message.
pub(in crate::hl7v2) fn answer_segments(
    answer: &Answer,
    patients: &[Record],
    refused: Option<Refusal>,
    profile: &Profile,
    stamp: &Stamp,
) -> String {
    let mut out = vec![header(answer, profile, stamp)];
    let code = match &refused {
        None => "AA",
        Some((_, _, true, _)) => "AR",
        Some((_, _, false, _)) => "AE",
    };
    let mut msa = Seg::new("MSA");
    msa.put(1, code.to_owned());
    msa.put(2, t(&answer.control_id));
    out.push(msa);
    let status = match (&refused, patients.is_empty()) {
        (Some(_), _) => code,
        (None, true) => "NF",
        (None, false) => "OK",
    };
    if let Some((number, words, _, why)) = &refused {
        let mut err = Seg::new("ERR");
        err.comps(3, vec![number.to_string(), t(words), "HL70357".to_owned()]);
        err.put(4, "E".to_owned());
        err.put(8, t(why));
        out.push(err);
    }
    let [name, tag] = &answer.query;
    let pieces = |parts: &[String]| parts.iter().map(|part| t(part)).collect::<Vec<_>>();
    let mut qak = Seg::new("QAK");
    qak.comps(1, pieces(tag));
    qak.put(2, status.to_owned());
    qak.comps(3, pieces(name));
    if refused.is_none() {
        let told = patients.len();
        qak.put(4, answer.of_all.max(told).to_string());
        qak.put(5, told.to_string());
        qak.put(6, answer.of_all.saturating_sub(told).to_string());
    }
    out.push(qak);
    let mut qpd = Seg::new("QPD");
    qpd.comps(1, pieces(name));
    qpd.comps(2, pieces(tag));
    for condition in &answer.conditions {
        qpd.rep(3, comps(pieces(condition)));
    }
    out.push(qpd);
    told(patients, profile, &mut out);
    let mut text = String::new();
    for segment in &out {
        text.push_str(&segment.line());
        text.push('\r');
    }
    text
}

fn header(answer: &Answer, profile: &Profile, stamp: &Stamp) -> Seg {
    let mut msh = Seg::new("MSH");
    msh.put(1, "|".to_owned());
    msh.put(2, "^~\\&".to_owned());
    let parties = answer.sender.iter().chain(&answer.receiver);
    for (number, party) in (3..).zip(parties) {
        msh.put(number, t(party));
    }
    msh.put(7, now(stamp, profile));
    msh.put(9, "RSP^K22^RSP_K21".to_owned());
    msh.put(10, control_id(stamp.id));
    let or = |text: &str, usual: &str| {
        if text.is_empty() {
            usual.to_owned()
        } else {
            t(text)
        }
    };
    msh.put(11, or(&answer.processing, "P"));
    msh.put(12, or(&answer.version, "2.5.1"));
    msh.put(18, charset_name(Charset::Utf8));
    msh
}

/// Each as PID, as if a change set spoke of them and said nothing.
fn told(patients: &[Record], profile: &Profile, out: &mut Vec<Seg>) {
    let mut changes = ChangeSet::default();
    let mut applied = Applied::default();
    for record in patients {
        let id = record.meta.id;
        changes
            .changes
            .push(Change::new(id.to_string(), PatientChange::default()));
        applied.ids.insert(id.to_string(), (record.aggregate.kind(), id));
        applied.known.insert(id, record.clone().into());
    }
    let world = World::new(&changes, &applied, profile);
    for (idx, said) in world.said.iter().enumerate() {
        out.push(people::pid(&world, said, idx + 1, &[]));
    }
}
