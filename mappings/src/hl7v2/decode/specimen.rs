//! SPM, SAC, and what an OBR says of a specimen → specimen. HL7 v2.5.1, 7.4.3, 13.4.3 and 4.5.3.

use clinic::Body;
use clinic::change_set::Find;
use clinic::diagnostics::{SpecimenChange, SpecimenStatus};
use clinic::patch::{Items, Patch};
use clinic::value::{Annotation, Concept, Identifier, Ref};

use super::collect::{At, Collected, natural};
use super::groups::{Group, Sample};
use super::terms::{self, NO_TABLE, mapped, table};
use super::{datatypes as data, notes, parties};

/// Fields of an OBR that speak of a specimen.
const OF_SPECIMEN: [usize; 5] = [9, 10, 14, 15, 39];

/// The specimens of an order or report, in the order of their SPM. Without SPM there is one where the OBR speaks of
/// one. What the OBR says holds for the first, unless its SPM says it itself.
pub fn specimens<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    patient: Option<&Ref>,
    order: Option<&Ref>,
    laboratory: bool,
) -> Vec<Ref> {
    let mut keys = vec![];
    for (idx, sample) in group.samples.iter().enumerate() {
        let stub = named(out, sample.spm.f(2), patient);
        if let Some(key) = stub.as_ref().filter(|key| is_described(out, key)) {
            // It stood below another order of this message: what it is was said there.
            for field in (3..=32).map(|number| sample.spm.f(number)).filter(At::is_there) {
                field.note("the same specimen was told above");
            }
            add_order(out, key, order);
            keys.push(key.clone());
            continue;
        }
        let mut say = from_spm(out, sample, patient);
        if idx == 0 {
            // The time of a report's OBR is that of the report; without an SPM it is that of the specimen too.
            from_obr(out, group, &mut say, laboratory);
        }
        let find = find(
            &say.identifiers,
            order.or(patient),
            &format!("specimen|{}", idx + 1),
        );
        let key = match stub {
            Some(key) => {
                if let Some(change) = out.change_mut(&key) {
                    change.find = find;
                    change.say = say.into();
                }
                key
            }
            None => out.add_found("specimen", find, say),
        };
        add_order(out, &key, order);
        keys.push(key);
    }
    let speaks = OF_SPECIMEN.iter().any(|field| group.obr(*field).is_there());
    let collected = laboratory && (group.obr(7).is_there() || group.obr(8).is_there());
    if keys.is_empty() && group.obr.is_some() && (speaks || collected) {
        let mut say = SpecimenChange {
            patient: patient.cloned().into(),
            orders: Items::merge(order.cloned().into_iter().collect()),
            ..SpecimenChange::default()
        };
        from_obr(out, group, &mut say, true);
        let find = natural(order.or(patient), "specimen|1");
        keys.push(out.add_found("specimen", find, say));
    }
    keys
}

/// True for a specimen of which more is said than its numbers.
fn is_described(out: &mut Collected<'_>, key: &Ref) -> bool {
    let fields = out
        .change_mut(key)
        .map(|change| change.say.fields())
        .unwrap_or_default();
    fields
        .iter()
        .any(|field| !matches!(*field, "identifiers" | "patient"))
}

fn add_order(out: &mut Collected<'_>, key: &Ref, order: Option<&Ref>) {
    if let Some(Body::Specimen(say)) = out.change_mut(key).map(|change| &mut change.say) {
        parties::add(&mut say.orders, order.cloned());
    }
}

/// EIP → the numbers of a specimen at placer and filler, of the kinds that the official maps give them.
pub fn numbers(at: At<'_>) -> Vec<Identifier> {
    let placer = data::entity(at.part(1), Some("PGN"));
    let filler = data::entity(at.part(2), Some("FGN"));
    placer.into_iter().chain(filler).collect()
}

fn signature(identifiers: &[Identifier]) -> Option<String> {
    let names: Vec<String> = identifiers
        .iter()
        .map(|id| format!("{}|{}", id.system.as_deref().unwrap_or_default(), id.value))
        .collect();
    (!names.is_empty()).then(|| names.join("||"))
}

/// By its numbers, where it has any. A number of a system is asked for without its kind, since a placer's group
/// number (`PGN`, as the official maps call it here too) names no one thing elsewhere.
fn find(identifiers: &Items<Identifier>, owner: Option<&Ref>, name: &str) -> Find {
    let asked = |id: &Identifier| Identifier {
        kind: id.kind.clone().filter(|_| id.system.is_none()),
        ..id.clone()
    };
    let shipped = |id: &Identifier| id.kind.as_ref().is_some_and(|kind| kind.code().is_none());
    let numbers: Vec<Identifier> = identifiers
        .values()
        .iter()
        .filter(|id| !shipped(id))
        .map(asked)
        .collect();
    let by_name = match signature(&numbers) {
        Some(signature) => natural(owner, format!("specimen|{signature}")),
        None => natural(owner, name),
    };
    Find {
        identifiers: numbers,
        ..by_name
    }
}

/// A specimen that is named by its numbers only: a parent, or the one of OBX-33.
pub fn named(out: &mut Collected<'_>, at: At<'_>, patient: Option<&Ref>) -> Option<Ref> {
    let identifiers = numbers(at);
    let signature = signature(&identifiers)?;
    let (key, _) = out.once("specimen", &signature, || {
        let say = SpecimenChange {
            identifiers: Items::merge(identifiers),
            patient: patient.cloned().into(),
            ..SpecimenChange::default()
        };
        (find(&say.identifiers, patient, "specimen"), say.into())
    });
    Some(key)
}

/// SPM, with its SAC and NTE → specimen.
fn from_spm<'m>(out: &mut Collected<'m>, sample: &Sample<'m>, patient: Option<&Ref>) -> SpecimenChange {
    let spm = sample.spm;
    let mut identifiers = numbers(spm.f(2));
    identifiers.extend(spm.f(31).reps().into_iter().filter_map(data::identifier));
    identifiers.extend(data::entity(spm.f(32), None).map(|shipment| Identifier {
        kind: Some(Concept::words("Shipment")),
        ..shipment
    }));
    let parents = spm
        .f(3)
        .reps()
        .into_iter()
        .filter_map(|rep| named(out, rep, patient))
        .collect();
    let concepts = |number: usize, of: terms::Table| {
        let reps = spm.f(number).reps().into_iter();
        Items::replace(reps.filter_map(|rep| terms::concept(rep, of)).collect())
    };
    let status = data::yes_no(spm.f(20)).map(|is_there| match is_there {
        true => SpecimenStatus::Available,
        false => SpecimenStatus::Unavailable,
    });
    let mut remarks: Vec<Annotation> = spm
        .f(14)
        .reps()
        .iter()
        .filter_map(|rep| remark(rep.text()))
        .collect();
    remarks.extend(notes::annotations(out, &sample.notes));
    let mut say = SpecimenChange {
        identifiers: Items::merge(identifiers),
        patient: patient.cloned().into(),
        kind: spm.f(4).patch(|at| terms::concept(at, table("0487"))),
        additives: concepts(6, table("0371")),
        method: spm.f(7).patch(|at| terms::concept(at, table("0488"))),
        body_site: spm.f(8).patch(|at| terms::concept(at, NO_TABLE)),
        quantity: spm.f(12).patch(data::quantity),
        received: spm.f(18).patch(data::when),
        status: status.into(),
        conditions: concepts(24, table("0493")),
        container: spm.f(27).patch(|at| terms::concept(at, NO_TABLE)),
        accession: spm
            .f(30)
            .reps()
            .first()
            .and_then(|rep| data::identifier(*rep))
            .into(),
        parents: Items::merge(parents),
        notes: Items::replace(remarks),
        ..SpecimenChange::default()
    };
    if spm.f(17).part(2).is_empty() {
        say.collected_at = spm.f(17).patch(|at| data::when(at.part(1)));
    } else {
        say.collected_period = data::period(spm.f(17)).into();
    }
    if let Some(sac) = sample.containers.first() {
        // The laboratory's accession number stands in either segment.
        if say.accession.is_absent() {
            say.accession = data::entity(sac.f(2), Some("ACSN")).into();
        }
        if say.additives.is_absent() {
            let additives = sac
                .f(27)
                .reps()
                .into_iter()
                .filter_map(|rep| terms::concept(rep, table("0371")));
            say.additives = Items::replace(additives.collect());
        }
    }
    say
}

/// OBR-7 to -10, -14, -15, -39 → specimen, where nothing is said yet.
fn from_obr<'m>(out: &mut Collected<'m>, group: &Group<'m>, say: &mut SpecimenChange, with_time: bool) {
    fill(&mut say.quantity, || data::quantity(group.obr(9)));
    let collectors = group.obr(10).reps();
    fill(&mut say.collector, || {
        collectors
            .first()
            .and_then(|rep| parties::practitioner(out, *rep))
    });
    fill(&mut say.received, || data::when(group.obr(14)));
    source(group.obr(15), say);
    let comments = group.obr(39).reps();
    let comments: Vec<Annotation> = comments
        .iter()
        .filter_map(|rep| remark(terms::words(*rep)))
        .collect();
    if !comments.is_empty() {
        let mut all = say.notes.values().to_vec();
        all.extend(comments);
        say.notes = Items::replace(all);
    }
    if with_time && say.collected_at.is_absent() && say.collected_period.is_absent() {
        if group.obr(8).is_empty() {
            say.collected_at = data::when(group.obr(7)).into();
        } else {
            say.collected_period = data::period_of(group.obr(7), group.obr(8)).into();
        }
    }
}

/// SPS → specimen. HL7 v2.5.1, 2.A.72.
fn source(at: At<'_>, say: &mut SpecimenChange) {
    fill(&mut say.kind, || terms::concept(at.part(1), table("0487")));
    if say.additives.is_absent() {
        say.additives = Items::replace(
            terms::concept(at.part(2), mapped("0371", ""))
                .into_iter()
                .collect(),
        );
    }
    fill(&mut say.body_site, || terms::concept(at.part(4), table("0163")));
    if say.conditions.is_absent() {
        say.conditions = Items::replace(terms::concept(at.part(6), table("0493")).into_iter().collect());
    }
    if let Some(words) = remark(at.part(3).text()) {
        let mut all = say.notes.values().to_vec();
        all.push(words);
        say.notes = Items::replace(all);
    }
}

fn remark(text: Option<String>) -> Option<Annotation> {
    Some(Annotation {
        text: text?,
        ..Annotation::default()
    })
}

/// Says a value where nothing is said yet.
fn fill<T>(patch: &mut Patch<T>, value: impl FnOnce() -> Option<T>) {
    if patch.is_absent() {
        *patch = value().into();
    }
}
