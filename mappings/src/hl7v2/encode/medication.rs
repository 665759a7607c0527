//! Prescriptions → ORC, TQ1, RXO, NTE, RXR; OMP^O09. HL7 v2.5.1, 4.13.

use clinic::exchange::{MapError, Reason};
use clinic::records::{Dosage, MedicationOrder, MedicationOrderStatus};
use clinic::value::{Concept, Quantity};
use uuid::Uuid;

use super::datatypes as data;
use super::notes;
use super::orders;
use super::record;
use super::terms;
use super::timing;
use super::wire::{Seg, comps, numbered, subs, t};
use super::world::{Said, World};
use crate::hl7v2::decode::terms::{NO_TABLE, Table, mapped, table, v2};

/// Every prescription of a patient.
pub(super) fn of_patient(world: &World<'_>, patient: Uuid, out: &mut Vec<Seg>) {
    for (said, order) in world.medication_orders() {
        if order.patient.as_ref().and_then(|of| world.id(of)) == Some(patient) {
            prescription(world, said, order, out);
        }
    }
}

/// Refuses several ways of dosing that differ in more than the way of giving: RXO has one.
pub(super) fn one_dosage_each(world: &World<'_>) -> Result<(), MapError> {
    let common = |dosage: &Dosage| Dosage {
        route: None,
        site: None,
        method: None,
        instructions: vec![],
        ..dosage.clone()
    };
    for (_, order) in world.medication_orders() {
        let mut all = order.dosages.iter().map(common);
        let first = all.next();
        if all.any(|other| Some(&other) != first.as_ref()) {
            return Err(MapError::new(
                Reason::Sequence,
                Some("RXO"),
                "a prescription here has one dose and one timing, and the change set has several for one. Send them as prescriptions of their own.",
            ));
        }
    }
    Ok(())
}

fn prescription(world: &World<'_>, said: &Said<'_>, order: &MedicationOrder, out: &mut Vec<Seg>) {
    let profile = world.profile;
    out.push(orc(world, said, order));
    let nothing = Dosage::default();
    let dosage = order.dosages.first().unwrap_or(&nothing);
    let by_urgency = order.priority.map(|priority| {
        let code = match priority {
            clinic::diagnostics::Priority::Stat => "S",
            clinic::diagnostics::Priority::Urgent | clinic::diagnostics::Priority::Asap => "A",
            clinic::diagnostics::Priority::Routine => "R",
        };
        Concept::coded(&v2("0485"), code, None)
    });
    let tq1 = timing::tq1(
        dosage.timing.as_ref(),
        None,
        by_urgency.as_ref(),
        [None, dosage.text.clone()],
        profile,
    );
    out.extend(tq1);
    out.push(rxo(world, order, dosage));
    out.extend(notes::ntes(world, &order.notes));
    let of = |concept: Option<&Concept>, table: Table| {
        concept
            .map(|concept| terms::cwe(concept, table, profile))
            .unwrap_or_default()
    };
    for way in &order.dosages {
        let mut rxr = Seg::new("RXR");
        rxr.comps(1, of(way.route.as_ref(), mapped("0162", "RouteOfAdministration")));
        rxr.comps(2, of(way.site.as_ref(), table("0163")));
        rxr.comps(4, of(way.method.as_ref(), table("0165")));
        if !rxr.is_empty(1) || !rxr.says_nothing() {
            out.push(rxr);
        }
    }
    let visit = order.encounter.as_ref().and_then(|visit| world.encounter(visit));
    for (idx, reason) in order.reason_conditions.iter().enumerate() {
        if let (Some(id), Some(condition)) = (world.id(reason), world.condition(reason)) {
            out.push(record::dg1(world, id, condition, visit, idx + 1));
            out.extend(notes::ntes(world, &condition.notes));
        }
    }
}

/// The control code of a prescription (table 0119) and its state (table 0038).
fn state(world: &World<'_>, said: &Said<'_>, order: &MedicationOrder) -> [&'static str; 2] {
    match order.status {
        Some(MedicationOrderStatus::OnHold) => ["HD", "HD"],
        Some(MedicationOrderStatus::Cancelled) => ["CA", "CA"],
        Some(MedicationOrderStatus::Stopped) => ["DC", "DC"],
        Some(MedicationOrderStatus::EnteredInError) => ["CA", "ER"],
        Some(MedicationOrderStatus::Completed) => ["SC", "CM"],
        Some(
            MedicationOrderStatus::Active | MedicationOrderStatus::Draft | MedicationOrderStatus::Unknown,
        )
        | None => {
            if world.is_new(said.id) {
                ["NW", ""]
            } else {
                ["XO", ""]
            }
        }
    }
}

fn orc(world: &World<'_>, said: &Said<'_>, order: &MedicationOrder) -> Seg {
    let profile = world.profile;
    let mut orc = Seg::new("ORC");
    let [control, state] = state(world, said, order);
    orc.put(1, control.to_owned());
    orders::numbers(&order.identifiers, world, &mut orc);
    if orc.is_empty(2) && orc.is_empty(3) {
        let any = order
            .identifiers
            .iter()
            .find(|id| !matches!(id.kind_code(), Some("PGN" | "FGN")));
        orc.comps(2, any.map(|id| data::ei(id, profile)).unwrap_or_default());
    }
    orc.comps(
        4,
        order
            .group
            .as_ref()
            .map(|id| data::ei(id, profile))
            .unwrap_or_default(),
    );
    orc.put(5, state.to_owned());
    orc.put(9, data::owhen(order.authored.as_ref()));
    orc.comps(12, data::xcn_of(world, order.requester.as_ref()));
    orders::act(world, said.id, &mut orc);
    orc.reps(14, order.callback.iter().map(data::xtn));
    for label in &order.security {
        orc.rep(
            28,
            comps(terms::coding(
                label,
                mapped("0177", "ConfidentialityCode"),
                profile,
            )),
        );
    }
    orc
}

/// What is to be given, and how much → RXO. HL7 v2.5.1, 4.14.1.
fn rxo(world: &World<'_>, order: &MedicationOrder, dosage: &Dosage) -> Seg {
    let profile = world.profile;
    let mut rxo = Seg::new("RXO");
    let of = |concept: Option<&Concept>| data::concept(concept, profile);
    let digits = |quantity: Option<&Quantity>| quantity.map(data::digits).unwrap_or_default();
    let unit = |quantity: Option<&Quantity>| quantity.map(data::unit).unwrap_or_default();
    rxo.comps(1, of(order.medication.as_ref()));
    let dose = dosage.dose.as_ref();
    let (low, high) = (
        dose.and_then(|dose| dose.low.as_ref()),
        dose.and_then(|dose| dose.high.as_ref()),
    );
    rxo.put(2, digits(low));
    rxo.put(3, digits(high));
    rxo.comps(4, unit(low.or(high)));
    rxo.comps(5, of(order.form.as_ref()));
    rxo.reps(
        7,
        dosage
            .instructions
            .iter()
            .map(|one| terms::cwe(one, NO_TABLE, profile)),
    );
    rxo.text(
        9,
        order
            .substitution
            .as_ref()
            .and_then(|code| terms::code_of(code, "0161").or(terms::code_of(code, "0167"))),
    );
    rxo.put(11, digits(order.quantity.as_ref()));
    rxo.comps(12, unit(order.quantity.as_ref()));
    rxo.put(
        13,
        order
            .refills
            .map(|refills| refills.to_string())
            .unwrap_or_default(),
    );
    for number in &order.requester_registrations {
        let authority = subs(data::hd(
            number.system.as_deref(),
            number.assigner.as_deref(),
            profile,
        ));
        let kind = number.kind_code().map(t).unwrap_or_default();
        rxo.rep(
            14,
            comps(numbered(vec![(1, t(&number.value)), (9, authority), (13, kind)])),
        );
    }
    let strength = order.strength.as_ref();
    let (of_substance, in_whole) = (
        strength.and_then(|strength| strength.numerator.as_ref()),
        strength.and_then(|strength| strength.denominator.as_ref()),
    );
    rxo.put(18, digits(of_substance));
    rxo.comps(19, unit(of_substance));
    rxo.reps(
        20,
        order
            .reasons
            .iter()
            .map(|reason| terms::cwe(reason, NO_TABLE, profile)),
    );
    rxo.put(21, digits(dosage.rate.as_ref()));
    rxo.comps(22, unit(dosage.rate.as_ref()));
    let daily = dosage
        .max_per_period
        .as_ref()
        .filter(|ratio| ratio.denominator.as_ref().is_some_and(is_one_day))
        .and_then(|ratio| ratio.numerator.as_ref());
    rxo.comps(23, daily.map(data::cq).unwrap_or_default());
    rxo.put(25, digits(in_whole));
    rxo.comps(26, unit(in_whole));
    rxo
}

fn is_one_day(quantity: &Quantity) -> bool {
    quantity.code.as_deref() == Some("d")
        && quantity.value.as_ref().is_some_and(|value| value.as_str() == "1")
}
