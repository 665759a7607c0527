//! OBX → observation. HL7 v2.5.1, 7.4.2.

use std::collections::HashMap;

use clinic::Body;
use clinic::change_set::Find;
use clinic::diagnostics::{Component, ObservationChange, ObservationStatus, ReferenceRange, Value};
use clinic::patch::{Items, Patch};
use clinic::value::{Attachment, Concept, Identifier, Ref, When};

use super::collect::{At, Collected, Seg, natural, not_by_number};
use super::groups::Obx;
use super::terms::{self, NO_TABLE};
use super::values::{self, Read, Units};
use super::{datatypes as data, notes, numbers, parties, people, specimen};

const ABSENT: &str = "data-absent-reason";

/// Observations that belong together: those of one report, of one visit.
#[derive(Default)]
pub struct Series {
    /// Whose.
    pub patient: Option<Ref>,
    /// In which visit.
    pub encounter: Option<Ref>,
    /// For which orders.
    pub orders: Vec<Ref>,
    /// The report, visit or patient within which a code and a sub-id name one observation.
    pub owner: Option<Ref>,
    /// True where the time is a part of the name: what is measured again is another observation.
    pub dated: bool,
    /// The observation that these are about (OBR-26).
    pub part_of: Vec<Ref>,
    /// When what has no time of its own was taken (OBR-7).
    pub taken_at: Option<When>,
    /// So many had none.
    pub(super) undated: usize,
    /// How often each name was seen.
    pub(super) seen: HashMap<String, u32>,
}

/// What came of an OBX.
pub struct Observed {
    /// The observation.
    pub observation: Ref,
    /// The file in it, where files are taken out.
    pub file: Option<Attachment>,
    /// True for what was asked at ordering (OBX-29 `QST`, `SCI`).
    pub is_answer: bool,
}

impl Series {
    /// Observations of a visit, else of a patient: of ADT, SIU, and of orders without a number.
    pub fn on_chart(patient: Option<&Ref>, encounter: Option<&Ref>) -> Self {
        Series {
            patient: patient.cloned(),
            encounter: encounter.cloned(),
            owner: encounter.or(patient).cloned(),
            dated: true,
            ..Series::default()
        }
    }

    /// How an observation of the series is found: within what it belongs to, by its code and its own number (OBX-21),
    /// else by its code and sub-id. The number alone finds nothing: there are senders who write the number of the
    /// device or of the sample there, the same for every result, and one result must never take another's place.
    fn find(&mut self, obx: Seg<'_>, instance: Option<&Identifier>) -> Find {
        let part = |n: usize| obx.f(3).part(n).peek().unwrap_or_default();
        let code = match part(1) {
            code if code.is_empty() => format!("text|{}", part(2).to_lowercase()),
            code => format!("{}|{code}", part(3)),
        };
        let mut name = match instance {
            Some(own) => format!(
                "{code}|own|{}|{}",
                own.system.as_deref().unwrap_or_default(),
                own.value
            ),
            None => format!("{code}|{}", obx.f(4).peek().unwrap_or_default()),
        };
        if self.dated && instance.is_none() {
            name.push_str(&format!("|{}", obx.f(14).part(1).peek().unwrap_or_default()));
        }
        let count = self.seen.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            // The same code and sub-id twice: the place among them tells them apart.
            name.push_str(&format!("|#{count}"));
        }
        let find = natural(self.owner.as_ref(), name);
        match instance {
            Some(_) => not_by_number(find),
            None => find,
        }
    }

    /// OBX → observation. With `apart` a file in it is handed back, and only its kind and title stay.
    pub fn observe<'m>(
        &mut self,
        out: &mut Collected<'m>,
        of: &Obx<'m>,
        specimen: Option<&Ref>,
        apart: bool,
    ) -> Option<Observed> {
        let obx = of.obx;
        let Some(code) = terms::concept(obx.f(3), NO_TABLE) else {
            if obx.f(5).is_there() {
                obx.f(3).note("nothing says what was observed");
                obx.f(5).note("no observation identifier (OBX-3)");
            }
            return None;
        };
        for line in &of.lines {
            (2..=33).for_each(|n| line.f(n).take());
        }
        let instance = data::entity(obx.f(21), Some("FILL"));
        let find = self.find(obx, instance.as_ref());
        // OBX-33 names the specimen where no SPM above does.
        let named = match specimen {
            Some(_) => None,
            None => specimen::named(out, obx.f(33).first(), self.patient.as_ref()),
        };
        let mut say = ObservationChange {
            identifiers: Items::merge(instance.into_iter().collect()),
            patient: self.patient.clone().into(),
            encounter: self.encounter.clone().into(),
            orders: Items::merge(self.orders.clone()),
            sub_id: obx.f(4).patch(|at| at.text()),
            part_of: Items::merge(self.part_of.clone()),
            specimen: specimen.cloned().or(named).into(),
            ..ObservationChange::default()
        };
        let state = status(obx, &mut say);
        self.when(obx, &mut say);
        let file = value(out, of, &code, state, apart, &mut say);
        say.code = Patch::Set(code);
        range_and_flags(obx, &mut say);
        circumstances(out, obx, &mut say);
        for observer in people::in_roles(out, &of.roles, &["RO"]) {
            parties::add(&mut say.responsible, Some(observer));
        }
        let is_answer = kinds(obx, &mut say);
        say.notes = Items::replace(notes::annotations(out, &of.notes));
        let observation = out.add_found("observation", find, say);
        Some(Observed {
            observation,
            file,
            is_answer,
        })
    }

    /// OBX-14, else when the rest was taken.
    fn when(&mut self, obx: Seg<'_>, say: &mut ObservationChange) {
        say.effective_at = obx.f(14).patch(data::when);
        if let (Patch::Absent, Some(taken_at)) = (&say.effective_at, &self.taken_at) {
            say.effective_at = Patch::Set(taken_at.clone());
            self.undated += 1;
        }
    }
}

/// Every OBX with its NTE as observations of a visit, else of a patient.
pub fn on_chart<'m>(
    out: &mut Collected<'m>,
    observations: &[Obx<'m>],
    patient: Option<&Ref>,
    encounter: Option<&Ref>,
) -> Vec<Ref> {
    let mut series = Series::on_chart(patient, encounter);
    let observed = observations
        .iter()
        .filter_map(|obx| series.observe(out, obx, None, false));
    observed.map(|observed| observed.observation).collect()
}

/// OBX-11 by table 0085, with what the official map leaves open.
fn status(obx: Seg<'_>, say: &mut ObservationChange) -> Option<String> {
    let at = obx.f(11).part(1);
    let Some(code) = at.text() else {
        say.status = Patch::Set(ObservationStatus::Unknown);
        return None;
    };
    let status = match code.as_str() {
        "F" | "U" | "V" | "N" => ObservationStatus::Final,
        "C" => ObservationStatus::Corrected,
        "A" | "B" => ObservationStatus::Amended,
        "P" | "R" | "S" => ObservationStatus::Preliminary,
        "I" | "O" => ObservationStatus::Registered,
        "X" => ObservationStatus::Cancelled,
        "D" | "W" => ObservationStatus::EnteredInError,
        _ => ObservationStatus::Unknown,
    };
    say.status = Patch::Set(status);
    say.status_original = Patch::Set(Concept::coded(&terms::v2("0085"), &code, None));
    Some(code)
}

/// OBX-2, -5, -6 → value, components, file.
fn value<'m>(
    out: &mut Collected<'m>,
    of: &Obx<'m>,
    code: &Concept,
    state: Option<String>,
    apart: bool,
    say: &mut ObservationChange,
) -> Option<Attachment> {
    let obx = of.obx;
    let said = obx.f(5);
    if state.as_deref() == Some("X") {
        if said.is_there() {
            said.note("the result could not be obtained (OBX-11 X), so that it has no value");
        }
        say.value = Patch::Clear;
        say.text_unit = Patch::Clear;
        say.components = Items::Clear;
        return None;
    }
    if said.is_null() {
        said.take();
        say.value = Patch::Clear;
        say.text_unit = Patch::Clear;
        say.components = Items::Clear;
    }
    if state.as_deref() == Some("N") && said.reps().is_empty() {
        say.absent_reason = Patch::Set(Concept::coded(
            &terms::hl7(ABSENT),
            "not-asked",
            Some("Not Asked"),
        ));
    }
    let reps = said.reps();
    if reps.is_empty() && of.lines.is_empty() || said.is_null() {
        return None;
    }
    let kind = obx.f(2).part(1).peek().unwrap_or_default().to_ascii_uppercase();
    if values::is_known(&kind) {
        obx.f(2).part(1).take();
    } else if kind.is_empty() {
        let why = "No value type is given; the value was read as text.";
        out.extra(obx.f(2).place(), "", why);
    }
    let mut file = None;
    let read = match kind.as_str() {
        "ED" | "RP" => {
            let created = say.effective_at.value();
            let (whole, shown) = attachment(created, reps[0], &kind, code, apart);
            file = whole;
            Read {
                value: shown.map(Value::Attachment),
                original: None,
            }
        }
        kind if values::is_array(kind) => values::array(&reps),
        kind if values::is_lines(kind) && (reps.len() > 1 || !of.lines.is_empty()) => {
            let fields = std::iter::once(said).chain(of.lines.iter().map(|line| line.f(5)));
            let all: Vec<At<'_>> = fields.flat_map(|field| field.every_rep()).collect();
            values::lines(&all)
        }
        kind if reps.len() > 1 => {
            components(obx, &reps, kind, code, say);
            return None;
        }
        kind => values::read(kind, reps[0], &mut Units::of(obx)),
    };
    // An amount has its unit, and what SN becomes in words too; it would be lost beside another text.
    say.text_unit = match (&read.value, kind.as_str()) {
        (Some(Value::Text(_)), "SN") => Patch::Clear,
        (Some(Value::Text(_)), _) => Units::of(obx).alone().map_or(Patch::Clear, Patch::Set),
        _ => Patch::Absent,
    };
    say.value = Patch::Set(read.value?);
    say.components = Items::Clear;
    say.absent_reason = Patch::Clear;
    say.value_original = read.original.map_or(Patch::Clear, Patch::Set);
    file
}

/// Repetitions of OBX-5 → components with the code of the whole.
fn components(obx: Seg<'_>, reps: &[At<'_>], kind: &str, code: &Concept, say: &mut ObservationChange) {
    let mut units = Units::of(obx);
    let mut originals = vec![];
    let mut changed = false;
    let mut parts = vec![];
    for rep in reps {
        let sent = rep.peek().unwrap_or_default();
        let read = values::read(kind, *rep, &mut units);
        changed |= read.original.is_some();
        originals.push(sent);
        parts.push(Component {
            code: code.clone(),
            value: read.value,
        });
    }
    say.value = Patch::Clear;
    say.text_unit = Patch::Clear;
    say.components = Items::Replace(parts);
    say.absent_reason = Patch::Clear;
    say.value_original = if changed {
        Patch::Set(originals.join("~"))
    } else {
        Patch::Clear
    };
}

/// ED, RP → the whole file, and what the observation shows of it.
fn attachment(
    created: Option<&When>,
    at: At<'_>,
    kind: &str,
    code: &Concept,
    apart: bool,
) -> (Option<Attachment>, Option<Attachment>) {
    let file = if kind == "ED" {
        values::file(at)
    } else {
        values::pointer(at)
    };
    let Some(mut file) = file else {
        return (None, None);
    };
    file.title = code
        .text
        .clone()
        .or_else(|| code.codings.iter().find_map(|coding| coding.display.clone()));
    file.created = created.cloned();
    if !apart {
        return (None, Some(file));
    }
    let shown = Attachment {
        data: None,
        ..file.clone()
    };
    (Some(file), Some(shown))
}

/// OBX-7, -8, -10. The flags are those of the value: where a value comes without, the old ones go.
fn range_and_flags(obx: Seg<'_>, say: &mut ObservationChange) {
    let flags: Vec<Concept> = obx
        .f(8)
        .reps()
        .into_iter()
        .filter_map(|rep| terms::concept(rep, terms::mapped("0078", "InterpretationCodes")))
        .collect();
    let has_value = matches!(say.value, Patch::Set(_)) || !say.components.values().is_empty();
    say.interpretations = match (flags.is_empty(), has_value || obx.f(8).is_null()) {
        (false, _) => Items::Replace(flags),
        (true, true) => Items::Clear,
        (true, false) => Items::Absent,
    };
    if obx.f(8).is_null() {
        obx.f(8).take();
    }
    say.reference_ranges = if obx.f(7).is_null() {
        obx.f(7).take();
        Items::Clear
    } else {
        Items::replace(reference_range(obx).into_iter().collect())
    };
    let norms = obx.f(10).reps().into_iter();
    say.norm_kinds = Items::replace(
        norms
            .filter_map(|rep| terms::concept(rep, terms::table("0080")))
            .collect(),
    );
}

/// OBX-7: the words always; low and high where they are two plain numbers.
fn reference_range(obx: Seg<'_>) -> Option<ReferenceRange> {
    let text = obx.f(7).text()?;
    let (low, high) = numbers::range(&text).unzip();
    let mut units = Units::of(obx);
    Some(ReferenceRange {
        low: low.map(|number| units.quantity(number)),
        high: high.map(|number| units.quantity(number)),
        text: Some(text),
    })
}

/// OBX-15 to -20, -23 to -25: by whom, how, where.
fn circumstances<'m>(out: &mut Collected<'m>, obx: Seg<'m>, say: &mut ObservationChange) {
    say.analysed_at = obx.f(19).patch(data::when);
    say.method = obx.f(17).patch(|at| first_concept(at, NO_TABLE));
    say.body_site = obx.f(20).patch(|at| first_concept(at, terms::table("0163")));
    say.devices = obx.f(18).items(|rep| data::entity(rep, None));
    let mut performers: Vec<Ref> = organisation_from_cwe(out, obx.f(15)).into_iter().collect();
    let laboratory = obx
        .f(23)
        .reps()
        .first()
        .and_then(|rep| parties::organisation(out, *rep));
    let address = laboratory.as_ref().and_then(|_| data::address(obx.f(24)));
    if let Some(Body::Clinic(clinic)) = laboratory
        .as_ref()
        .and_then(|key| out.change_mut(key))
        .map(|change| &mut change.say)
    {
        parties::add(&mut clinic.addresses, address);
    }
    performers.extend(laboratory);
    performers.extend(
        obx.f(25)
            .reps()
            .first()
            .and_then(|rep| parties::practitioner(out, *rep)),
    );
    performers.dedup();
    say.performers = Items::replace(performers);
    let observers = obx.f(16).reps();
    say.responsible = Items::replace(
        observers
            .iter()
            .filter_map(|rep| parties::practitioner(out, *rep))
            .collect(),
    );
}

/// OBX-29, -30. True for an answer to a question asked at ordering.
fn kinds(obx: Seg<'_>, say: &mut ObservationChange) -> bool {
    let kind = obx.f(29).part(1).text();
    let is_answer = matches!(kind.as_deref(), Some("QST" | "SCI"));
    if let Some(kind) = kind {
        say.categories = Items::replace(vec![Concept::coded(&terms::v2("0936"), &kind, None)]);
    }
    let part = obx.f(30).part(1).text();
    say.structure_type = part
        .map(|code| Concept::coded(&terms::v2("0937"), &code, None))
        .into();
    is_answer
}

/// The first repetition as a concept; the others stay.
pub fn first_concept(at: At<'_>, table: terms::Table) -> Option<Concept> {
    terms::concept(*at.reps().first()?, table)
}

/// CWE, CE → organisation: a number with its system, and a name.
pub fn organisation_from_cwe(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let number = at.part(1).text();
    let name = at.part(2).text();
    let identifier = number.map(|value| {
        let system = at.part(3).text();
        Identifier {
            system: system.as_deref().map(|name| terms::system_uri(name).into_owned()),
            value,
            ..Identifier::default()
        }
    });
    let original = at.part(9).text();
    let name = name
        .or_else(|| original.clone())
        .or_else(|| identifier.as_ref().map(|id| id.value.clone()));
    let organisation = parties::organisation_named(out, identifier, name)?;
    if original.is_some() {
        // Both are names of it (HL7 v2-to-FHIR, CWE[Organization]); the second becomes another one.
        parties::also_named(out, &organisation, original);
    }
    Some(organisation)
}
