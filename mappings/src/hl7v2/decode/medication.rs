//! RXO, RXE, RXR with their ORC and TQ1 → prescription. HL7 v2.5.1, 4.14.

use clinic::change_set::Find;
use clinic::diagnostics::{OrderIntent, Priority};
use clinic::patch::{Items, Patch};
use clinic::records::{Dosage, MedicationOrderChange, MedicationOrderStatus, Strength};
use clinic::value::{Concept, Decimal, Identifier, Quantity, Range, Ratio, Ref};
use clinic::{Body, Change};

use super::cases::{self, Subject};
use super::collect::{At, Collected, natural};
use super::groups::Group;
use super::observations::Series;
use super::terms::{self, NO_TABLE, UCUM, mapped, table};
use super::timing::Times;
use super::{datatypes as data, notes, orders, parties, timing};

/// Where RXO and RXE have what they have in common.
struct Fields<'m> {
    drug: At<'m>,
    least: At<'m>,
    most: At<'m>,
    unit: At<'m>,
    form: At<'m>,
    instructions: [At<'m>; 2],
    substitution: At<'m>,
    substitution_table: &'static str,
    amount: At<'m>,
    amount_unit: At<'m>,
    refills: At<'m>,
    registration: At<'m>,
    rate: [At<'m>; 2],
    strength: [At<'m>; 2],
    volume: [At<'m>; 2],
    indication: At<'m>,
    daily: At<'m>,
}

impl<'m> Fields<'m> {
    /// What was encoded by the pharmacy (RXE) stands over what was asked for (RXO).
    fn of(group: &Group<'m>) -> Self {
        if group.rxe.is_some() {
            let f = |number| group.rxe(number);
            return Fields {
                drug: f(2),
                least: f(3),
                most: f(4),
                unit: f(5),
                form: f(6),
                instructions: [f(7), f(21)],
                substitution: f(9),
                substitution_table: "0167",
                amount: f(10),
                amount_unit: f(11),
                refills: f(12),
                registration: f(13),
                rate: [f(23), f(24)],
                strength: [f(25), f(26)],
                volume: [f(33), f(34)],
                indication: f(27),
                daily: f(19),
            };
        }
        let f = |number| group.rxo(number);
        Fields {
            drug: f(1),
            least: f(2),
            most: f(3),
            unit: f(4),
            form: f(5),
            instructions: [f(6), f(7)],
            substitution: f(9),
            substitution_table: "0161",
            amount: f(11),
            amount_unit: f(12),
            refills: f(13),
            registration: f(14),
            rate: [f(21), f(22)],
            strength: [f(18), f(19)],
            volume: [f(25), f(26)],
            indication: f(20),
            daily: f(23),
        }
    }
}

/// ORC, TQ1, RXO or RXE, RXR → prescription.
pub fn medication_order<'m>(out: &mut Collected<'m>, group: &Group<'m>, subject: &Subject) {
    let key = out.key("medication-order");
    let order = Ref::Local(key.clone());
    let fields = Fields::of(group);
    let times = times(group);
    let remarks = notes::annotations(out, &group.notes);
    let identifiers = numbers(group);
    let (requisition, filler_group) = orders::group_numbers(group);
    let numbers = identifiers.clone();
    let (requester_ref, registrations) = requester(out, group, &fields);
    let mut say = MedicationOrderChange {
        identifiers: Items::merge(identifiers.into_iter().chain(filler_group).collect()),
        patient: Patch::Set(subject.patient.clone()),
        encounter: subject.encounter.clone().into(),
        status: status(group).into(),
        intent: Patch::Set(if group.rxe.is_some() {
            OrderIntent::Order
        } else {
            OrderIntent::OriginalOrder
        }),
        priority: times.as_ref().and_then(|times| priority(times.urgency)).into(),
        medication: fields.drug.patch(|at| terms::concept(at, NO_TABLE)),
        form: fields.form.patch(|at| terms::concept(at, NO_TABLE)),
        strength: strength(&fields).into(),
        quantity: amount(fields.amount, fields.amount_unit).into(),
        refills: refills(fields.refills).into(),
        substitution: substitution(&fields).into(),
        requester: requester_ref.into(),
        requester_registrations: Items::merge(registrations),
        callback: orders::callback(group.orc(14)),
        group: requisition.into(),
        reasons: fields.indication.items(|at| terms::concept(at, NO_TABLE)),
        security: orders::security(group.orc(28)),
        notes: Items::replace(remarks),
        ..MedicationOrderChange::default()
    };
    if group.orc(1).part(1).is("NW") {
        say.authored = group.orc(9).patch(data::when);
    }
    say.dosages = Items::replace(dosages(group, &fields, times));
    let reasons = group.diagnoses.iter();
    let reasons = reasons
        .filter_map(|(dg1, remarks)| cases::condition(out, *dg1, remarks, subject))
        .collect();
    say.reason_conditions = Items::replace(reasons);
    let mut series = Series {
        patient: Some(subject.patient.clone()),
        encounter: subject.encounter.clone(),
        owner: Some(order.clone()),
        ..Series::default()
    };
    for obx in &group.observations {
        series.observe(out, obx, None, false);
    }
    let find = if numbers.is_empty() {
        let drug = fields
            .drug
            .part(1)
            .peek()
            .or_else(|| fields.drug.part(2).peek())
            .unwrap_or_default();
        let time = group.orc(9).part(1).peek().unwrap_or_default();
        natural(Some(&subject.patient), format!("medication|{drug}|{time}"))
    } else {
        Find {
            identifiers: numbers,
            ..Find::default()
        }
    };
    let say_if_new = say.status.is_absent().then(|| {
        let new = MedicationOrderChange {
            status: Patch::Set(MedicationOrderStatus::Unknown),
            ..MedicationOrderChange::default()
        };
        Body::from(new)
    });
    out.push(Change {
        find,
        say_if_new,
        ..Change::new(key, say)
    });
    orders::act(out, group, order);
}

/// ORC-2, -3, -33 and the prescription number RXE-15.
fn numbers(group: &Group<'_>) -> Vec<Identifier> {
    let mut all = orders::numbers(group);
    if let Some(number) = group.rxe(15).part(1).text() {
        all.push(Identifier {
            kind: Some(Concept::words("Prescription number")),
            ..Identifier::new(None, &number)
        });
    }
    all
}

/// ORC-5, else ORC-1 → state, in the words of prescriptions.
fn status(group: &Group<'_>) -> Option<MedicationOrderStatus> {
    let by_status = match group.orc(5).part(1).peek().as_deref() {
        Some("CM") => Some(MedicationOrderStatus::Completed),
        Some("HD") => Some(MedicationOrderStatus::OnHold),
        Some("CA" | "RP") => Some(MedicationOrderStatus::Cancelled),
        Some("DC") => Some(MedicationOrderStatus::Stopped),
        Some("ER") => Some(MedicationOrderStatus::EnteredInError),
        Some("IP" | "SC" | "A") => Some(MedicationOrderStatus::Active),
        Some(_) | None => None,
    };
    if by_status.is_some() {
        group.orc(5).part(1).take();
        return by_status;
    }
    let by_control = match group.orc(1).part(1).peek().as_deref()? {
        "NW" | "OK" | "RR" | "SN" | "NA" | "XO" | "XR" | "RO" | "RL" | "OE" | "OR" | "RE" | "AF" => {
            MedicationOrderStatus::Active
        }
        "HD" | "OH" | "HR" => MedicationOrderStatus::OnHold,
        "RP" | "RU" | "RQ" | "CA" | "OC" | "CR" => MedicationOrderStatus::Cancelled,
        "DC" | "OD" | "DR" | "DF" => MedicationOrderStatus::Stopped,
        "FU" => MedicationOrderStatus::Completed,
        _ => return None,
    };
    group.orc(1).part(1).take();
    Some(by_control)
}

/// Table 0485 → urgency; a code that says none of ours stays.
fn priority(at: At<'_>) -> Option<Priority> {
    let priority = orders::priority_of(&at.part(1).peek()?)?;
    terms::concept(at, table("0485"))?;
    Some(priority)
}

/// TQ1, else RXE-1, else ORC-7.
fn times<'m>(group: &Group<'m>) -> Option<Times<'m>> {
    if let Some(tq1) = group.timings.first() {
        return Some(timing::from_tq1(*tq1));
    }
    let at = orders::twin(group.rxe(1), group.orc(7)).first();
    at.is_there().then(|| timing::from_tq(at))
}

/// Amounts, timing, and each RXR → how to take it. Several ways are several dosages.
fn dosages(group: &Group<'_>, fields: &Fields<'_>, times: Option<Times<'_>>) -> Vec<Dosage> {
    let mut dose = dose(fields);
    if dose.is_none() {
        // TQ1-2, TQ.1: how much each time.
        let quantity = times.as_ref().and_then(|times| data::quantity(times.quantity));
        dose = quantity.map(|quantity| Range {
            low: Some(quantity.clone()),
            high: Some(quantity),
        });
    }
    let mut instructions: Vec<Concept> = vec![];
    for at in fields.instructions {
        instructions.extend(
            at.reps()
                .into_iter()
                .filter_map(|rep| terms::concept(rep, NO_TABLE)),
        );
    }
    let (timing, condition, text) = times
        .map(|times| (times.timing, times.condition, times.text))
        .unwrap_or_default();
    instructions.extend(condition.map(Concept::words));
    let rate = amount(fields.rate[0], fields.rate[1]);
    let base = Dosage {
        text,
        dose,
        timing,
        rate,
        max_per_period: daily(fields.daily),
        instructions,
        ..Dosage::default()
    };
    let mut all: Vec<Dosage> = vec![];
    for rxr in &group.routes {
        let mut dosage = base.clone();
        dosage.route = terms::concept(rxr.f(1), mapped("0162", "RouteOfAdministration"));
        dosage.site = terms::concept(rxr.f(2), table("0163"));
        dosage.method = terms::concept(rxr.f(4), table("0165"));
        dosage.instructions.extend(terms::concept(rxr.f(5), NO_TABLE));
        all.push(dosage);
    }
    if all.is_empty() && base != Dosage::default() {
        all.push(base);
    }
    all
}

/// RXO-2 to -4 → from how much to how much each time.
fn dose(fields: &Fields<'_>) -> Option<Range> {
    let (low, high) = (data::decimal(fields.least), data::decimal(fields.most));
    if low.is_none() && high.is_none() {
        return None;
    }
    let mut unit = Quantity::default();
    data::unit(fields.unit, &mut unit);
    let with = |value: Decimal| Quantity {
        value: Some(value),
        ..unit.clone()
    };
    Some(Range {
        low: low.map(with),
        high: high.map(with),
    })
}

/// A number and its unit in two fields.
fn amount(number: At<'_>, unit: At<'_>) -> Option<Quantity> {
    let mut quantity = Quantity {
        value: Some(data::decimal(number)?),
        ..Quantity::default()
    };
    data::unit(unit, &mut quantity);
    Some(quantity)
}

/// RXO-18, -19, -25, -26 → how much of the substance in how much of the whole.
fn strength(fields: &Fields<'_>) -> Option<Strength> {
    let strength = Strength {
        numerator: amount(fields.strength[0], fields.strength[1]),
        denominator: amount(fields.volume[0], fields.volume[1]),
    };
    (strength != Strength::default()).then_some(strength)
}

/// Total daily dose → at the most in a day.
fn daily(at: At<'_>) -> Option<Ratio> {
    let numerator = data::quantity(at)?;
    let day = Quantity {
        value: "1".parse().ok(),
        unit: Some("d".to_owned()),
        system: Some(UCUM.to_owned()),
        code: Some("d".to_owned()),
        comparator: None,
    };
    Some(Ratio {
        numerator: Some(numerator),
        denominator: Some(day),
    })
}

fn refills(at: At<'_>) -> Option<u32> {
    at.part(1).read(|text| match text.parse::<u32>() {
        Ok(number) if number <= 10_000 => Ok(number),
        _ => Err("not a whole number up to 10000"),
    })
}

/// RXO-9 (table 0161), RXE-9 (table 0167).
fn substitution(fields: &Fields<'_>) -> Option<Concept> {
    let code = fields.substitution.part(1).text()?;
    Some(Concept::coded(&terms::v2(fields.substitution_table), &code, None))
}

/// ORC-12 → who wrote it, with the number in RXO-14 as their registration; without ORC-12 who RXO-14 names.
fn requester<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    fields: &Fields<'m>,
) -> (Option<Ref>, Vec<Identifier>) {
    let Some(person) = orders::requester_of(out, group) else {
        return (parties::practitioner(out, fields.registration.first()), vec![]);
    };
    let numbers = fields.registration.reps().into_iter().filter_map(|rep| {
        let value = rep.part(1).text()?;
        Some(data::named(value, rep.part(9), rep.part(13)))
    });
    (Some(person), numbers.collect())
}
