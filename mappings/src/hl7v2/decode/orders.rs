//! ORM^O01, OML^O21, OMI^O23 and their kin → orders. HL7 v2.5.1, 4.4 and 4.5.

use clinic::change_set::{Act, Find};
use clinic::diagnostics::{OrderChange, OrderIntent, OrderStatus, Priority};
use clinic::exchange::MapError;
use clinic::patch::{Items, Patch};
use clinic::value::{Address, Annotation, Coding, Concept, Identifier, Ref, Telecom};
use clinic::{Body, Change};

use super::cases::{self, Subject};
use super::collect::{At, Collected, Seg};
use super::groups::{self, Group, Obx, Shape};
use super::observations::{self, Series};
use super::terms::{self, NO_TABLE, hl7, mapped, table};
use super::timing::{self, Times};
use super::{datatypes as data, imaging, medication, notes, parties, people, results, specimen};

/// Reads the segments behind MSH.
pub fn read<'m>(out: &mut Collected<'m>, segments: &[Seg<'m>]) -> Result<(), MapError> {
    let cases = groups::read(segments, Shape::Orders);
    if cases.iter().all(|case| case.groups.is_empty()) {
        return Err(MapError::missing("ORC", "the order (segments ORC, OBR)"));
    }
    for case in &cases {
        let subject = cases::subject(out, case)?;
        let tests: Vec<Test> = case.groups.iter().map(Test::of).collect();
        for (idx, group) in case.groups.iter().enumerate() {
            if group.is_medication() {
                medication::medication_order(out, group, &subject);
                continue;
            }
            if tests[..idx].contains(&tests[idx]) && tests[idx].is_named() {
                let again = [group.obr(4), group.obr(2), group.orc(2)];
                if let Some(at) = again.into_iter().find(At::is_there) {
                    at.note("the order of this number and test stands above; two of them have two numbers");
                }
                continue;
            }
            let is_one_of_many = tests
                .iter()
                .filter(|test| test.numbers == tests[idx].numbers)
                .count()
                > 1;
            let order = order(out, group, &subject);
            if imaging::says_all_steps(group)
                && let Some(change) = out.change_mut(&order)
            {
                change.all_steps = true;
            }
            // A new order of a known number and another test is another order.
            if (is_one_of_many || group.orc(1).part(1).is("NW"))
                && let Some(change) = out.change_mut(&order)
                && !change.find.identifiers.is_empty()
            {
                change.find.by_code = true;
                if group.obr(4).is_there() {
                    change.find.reports = Some(results::within_order(group));
                }
            }
            // A number alone, without a test, is that of all its tests.
            if group.obr(4).is_empty()
                && !group.orc(1).part(1).is("NW")
                && let Some(change) = out.change_mut(&order)
            {
                (change.find.by_code, change.find.each) = (true, true);
            }
        }
    }
    Ok(())
}

/// What tells the orders of a message apart: their numbers as they stand there, what is ordered, and of an examination its
/// own numbers.
#[derive(PartialEq, Eq)]
struct Test {
    numbers: [String; 2],
    code: String,
    examination: Vec<String>,
}

impl Test {
    fn of(group: &Group<'_>) -> Self {
        let number = |field: usize| {
            let (first, second) = group.two(field, field);
            let there = [first, second].into_iter().find(At::is_there);
            there.map(|at| at.raw().to_owned()).unwrap_or_default()
        };
        Test {
            numbers: [number(2), number(3)],
            code: group.obr(4).raw().to_owned(),
            examination: imaging::examination(group),
        }
    }

    fn is_named(&self) -> bool {
        self.numbers.iter().any(|number| !number.is_empty()) && !self.code.is_empty()
    }
}

/// ORC, TQ1, OBR with all that stands below them → order.
fn order<'m>(out: &mut Collected<'m>, group: &Group<'m>, subject: &Subject) -> Ref {
    let key = out.key("order");
    let order = Ref::Local(key.clone());
    let mut say = order_from_orc_obr(out, group, subject);
    imaging::of_order(out, group, &mut say);
    say.categories = group.obr(24).items(|at| terms::concept(at, table("0074")));
    let remarks = notes::annotations(out, &group.notes);
    let mut all = say.notes.values().to_vec();
    all.extend(remarks);
    say.notes = Items::replace(all);
    let reasons = group.diagnoses.iter();
    let reasons = reasons
        .filter_map(|(dg1, remarks)| cases::condition(out, *dg1, remarks, subject))
        .collect();
    say.reason_conditions = Items::replace(reasons);
    let specimens = specimen::specimens(out, group, Some(&subject.patient), Some(&order), true);
    let answers = below(out, group, subject, &order, &specimens);
    let prior = group
        .prior
        .iter()
        .flat_map(|prior| earlier_results(out, prior, subject));
    let information: Vec<Ref> = prior.collect::<Vec<_>>().into_iter().chain(answers).collect();
    say.supporting_info = Items::replace(information);
    say.specimens = Items::merge(specimens);
    // Who does it says how far it is, and speaks of it in codes of their own.
    let control = group.orc(1).part(1).peek().unwrap_or_default();
    let pushed = match control.as_str() {
        "SC" => push_reported(out, group, key, say, subject),
        answer if is_answer(answer) => push_of_filler(out, group, key, say, subject),
        _ => push(out, group, key, say, subject),
    };
    act(out, group, order);
    pushed
}

/// OBX of an order: answers to questions asked at ordering, and what was seen of a specimen.
fn below<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    subject: &Subject,
    order: &Ref,
    specimens: &[Ref],
) -> Vec<Ref> {
    let mut series = Series {
        patient: Some(subject.patient.clone()),
        encounter: subject.encounter.clone(),
        owner: Some(order.clone()),
        ..Series::default()
    };
    let mut all: Vec<(&Obx<'m>, Option<&Ref>)> = group.observations.iter().map(|obx| (obx, None)).collect();
    for (sample, specimen) in group.samples.iter().zip(specimens) {
        all.extend(sample.observations.iter().map(|obx| (obx, Some(specimen))));
    }
    let observed = all
        .into_iter()
        .filter_map(|(obx, specimen)| series.observe(out, obx, specimen, false));
    observed.map(|observed| observed.observation).collect()
}

/// Earlier results that were sent along → their observations, each below the order that they came of.
fn earlier_results<'m>(out: &mut Collected<'m>, prior: &Group<'m>, subject: &Subject) -> Vec<Ref> {
    results::report(out, prior, subject, true)
}

/// Adds the change for an order, found by its own numbers; without any by patient, code and time.
pub fn push<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    key: String,
    say: OrderChange,
    subject: &Subject,
) -> Ref {
    let numbers = own_numbers(&say.identifiers);
    let find = if numbers.is_empty() {
        let code = group
            .obr(4)
            .part(1)
            .peek()
            .or_else(|| group.obr(4).part(2).peek())
            .unwrap_or_default();
        let time = [group.obr(7), group.obr(6), group.orc(9)]
            .iter()
            .find_map(|at| at.part(1).peek());
        // Two without a number are two orders, also where they are of the same thing at the same time.
        out.numbered(
            &subject.patient,
            format!("order|{code}|{}", time.unwrap_or_default()),
        )
    } else {
        Find {
            identifiers: numbers,
            ..Find::default()
        }
    };
    // What nobody says: a new order has a state and an intent all the same.
    let state = if group.orc(1).part(1).is("RE") {
        OrderStatus::Active
    } else {
        OrderStatus::Unknown
    };
    let new = OrderChange {
        status: if say.status.is_absent() {
            Patch::Set(state)
        } else {
            Patch::Absent
        },
        intent: if say.intent.is_absent() {
            Patch::Set(OrderIntent::Order)
        } else {
            Patch::Absent
        },
        ..OrderChange::default()
    };
    let say_if_new = (!new.fields().is_empty()).then(|| Body::from(new));
    out.push(Change {
        find,
        say_if_new,
        order_stays_in: stays_in(group).to_vec(),
        ..Change::new(key, say)
    })
}

/// The states that a known order stays in. What was done is neither ordered anew nor called off (table 0119: the filler would
/// answer UX, UC), and without ORC-5 a change, or the answer to one, says nothing of an order that was called off.
fn stays_in(group: &Group<'_>) -> &'static [OrderStatus] {
    use OrderStatus as S;
    let control = group.orc(1).part(1).peek().unwrap_or_default();
    let says_state = group
        .orc(5)
        .part(1)
        .peek()
        .is_some_and(|code| order_status(&code).is_some());
    match control.as_str() {
        "NW" | "RO" | "CA" | "DC" | "RP" | "HD" => &[S::Completed],
        _ if !says_state && control_status(&control) == Some(S::Active) => &[S::Completed, S::Revoked],
        _ => &[],
    }
}

/// What the filler answers, or says of the state of an order, and by which nothing is ordered or changed (table 0119).
fn is_answer(control: &str) -> bool {
    matches!(
        control,
        "OK" | "NA"
            | "RE"
            | "RR"
            | "SR"
            | "UA"
            | "OC"
            | "CR"
            | "UC"
            | "OD"
            | "DR"
            | "UD"
            | "OH"
            | "HR"
            | "UH"
            | "OE"
            | "OR"
            | "UR"
            | "RQ"
            | "UM"
            | "UX"
    )
}

/// Adds the change for an order as who does it speaks of it, as [`push`] does: it says nothing of the intent of an order that is known.
fn push_of_filler<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    key: String,
    mut say: OrderChange,
    subject: &Subject,
) -> Ref {
    if say.intent == Patch::Set(OrderIntent::Order) {
        say.intent = Patch::Absent;
    }
    let order = push(out, group, key, say, subject);
    if let Some(change) = out.change_mut(&order) {
        change.find.orders_nothing = true;
    }
    order
}

/// Adds the change for the order of a report or of a state, as [`push`] does. The report's code is its own: that of an order that is known
/// stays.
pub fn push_reported<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    key: String,
    mut say: OrderChange,
    subject: &Subject,
) -> Ref {
    let code = std::mem::take(&mut say.code);
    let order = push_of_filler(out, group, key, say, subject);
    if let Some(change) = out.change_mut(&order) {
        change.find.by_report = true;
        let new = change
            .say_if_new
            .get_or_insert_with(|| OrderChange::default().into());
        if let Body::Order(new) = new {
            new.code = code;
        }
    }
    order
}

/// The numbers that name one order; a group's number is that of many, and so is an accession number.
fn own_numbers(identifiers: &Items<Identifier>) -> Vec<Identifier> {
    let of_group = |id: &&Identifier| {
        matches!(
            id.kind.as_ref().and_then(Concept::code),
            Some("FGN" | "PGN" | "ACSN")
        )
    };
    identifiers
        .values()
        .iter()
        .filter(|id| !of_group(id))
        .cloned()
        .collect()
}

/// The first of two fields that say the same thing in two segments. The other one is taken too where it does say the
/// same; where it doesn't it stays, with a note.
pub fn twin<'m>(first: At<'m>, second: At<'m>) -> At<'m> {
    if first.is_empty() {
        return second;
    }
    if second.is_there() {
        if second.raw() == first.raw() {
            second.take();
        } else {
            second.note(format!("{} says something else, and is used", first.place()));
        }
    }
    first
}

/// A field of the ORC and the one of the OBR that says the same thing: the ORC's, and of an ORC with several OBR the OBR's.
fn of_both<'m>(group: &Group<'m>, orc: usize, obr: usize) -> At<'m> {
    let (first, second) = group.two(orc, obr);
    twin(first, second)
}

/// ORC-2, -3, -33, OBR-2, -3, -53 → placer's and filler's numbers, without those of groups.
pub fn numbers(group: &Group<'_>) -> Vec<Identifier> {
    let mut all: Vec<Identifier> = vec![];
    all.extend(data::entity(of_both(group, 2, 2).first(), Some("PLAC")));
    all.extend(data::entity(of_both(group, 3, 3).first(), Some("FILL")));
    for rep in group.orc(33).reps().into_iter().chain(group.obr(53).reps()) {
        let alternate = data::identifier(rep).map(|number| Identifier {
            kind: Some(data::kind_of("PLAC")),
            ..number
        });
        all.extend(alternate.filter(|new| !all.contains(new)));
    }
    all
}

/// ORC-4, ORC-38 → the placer's number of the group of orders, and the filler's. ORC-4 is EI, in 2.8.2 EIP: then
/// its first component has sub-components.
pub fn group_numbers(group: &Group<'_>) -> (Option<Identifier>, Option<Identifier>) {
    let at = group.orc(4).first();
    let is_pair = [1, 2].iter().any(|part| at.part(*part).parts().len() > 1);
    let (placer, filler) = if is_pair {
        (
            data::entity(at.part(1), Some("PGN")),
            data::entity(at.part(2), Some("FGN")),
        )
    } else {
        (data::entity(at, Some("PGN")), None)
    };
    (placer, data::entity(group.orc(38), Some("FGN")).or(filler))
}

/// ORC, TQ1, OBR → what is said of an order, without what hangs below it.
pub fn order_from_orc_obr<'m>(out: &mut Collected<'m>, group: &Group<'m>, subject: &Subject) -> OrderChange {
    let mut identifiers = numbers(group);
    let (requisition, filler_group) = group_numbers(group);
    identifiers.extend(filler_group);
    let mut say = OrderChange {
        identifiers: Items::merge(identifiers),
        patient: Patch::Set(subject.patient.clone()),
        encounter: subject.encounter.clone().into(),
        group: requisition.into(),
        code: group.obr(4).patch(|at| terms::concept(at, NO_TABLE)),
        intent: intent(group.obr(11)),
        location_codes: group
            .orc(29)
            .items(|at| terms::concept(at, mapped("0482", "OrderType"))),
        reasons: group.obr(31).items(|at| terms::concept(at, NO_TABLE)),
        control_reason: group.orc(16).patch(|at| terms::concept(at, NO_TABLE)),
        clinical_info: group.obr(13).items(words_or_concept),
        parent_identifiers: Items::merge(specimen::numbers(of_both(group, 8, 29).first())),
        security: security(group.orc(28)),
        callback: callback(twin(group.obr(17), group.orc(14))),
        ..OrderChange::default()
    };
    state(group, &mut say);
    let mut details: Vec<Concept> = vec![];
    for field in [46, 47] {
        details.extend(
            group
                .obr(field)
                .reps()
                .into_iter()
                .filter_map(|rep| terms::concept(rep, table("0411"))),
        );
    }
    say.details = Items::replace(details);
    when(group, &mut say);
    requester(out, group, &mut say);
    say
}

/// ORC-28 → labels (table 0177); a label has one code, others stay.
pub fn security(at: At<'_>) -> Items<Coding> {
    let labels = table("0177");
    at.items(|rep| {
        let label = terms::coding(rep, labels)?;
        let of_table = label.system.as_deref() == Some(terms::v2(labels.number).as_str());
        let code = label.code.as_deref().filter(|_| of_table);
        let better = code.and_then(|code| terms::translate("ConfidentialityCode", code));
        Some(better.unwrap_or(label))
    })
}

/// ORC-14, OBR-17 → telephones.
pub fn callback(at: At<'_>) -> Items<Telecom> {
    at.items(|rep| data::telecom(rep, None))
}

/// A CWE that was a text before version 2.7: words where there is nothing but a first component.
fn words_or_concept(at: At<'_>) -> Option<Concept> {
    let alone = at.parts().iter().skip(1).all(|part| part.is_empty());
    if alone {
        at.text().map(Concept::words)
    } else {
        terms::concept(at, NO_TABLE)
    }
}

/// OBR-11 → intent. `G` is a reflex; all others are orders, and the code stays.
fn intent(at: At<'_>) -> Patch<OrderIntent> {
    if at.part(1).is("G") {
        at.part(1).take();
        return Patch::Set(OrderIntent::ReflexOrder);
    }
    Patch::Set(OrderIntent::Order)
}

/// ORC-1, ORC-5, ORC-9 → state: ORC-5 wins. What answers a request changes none.
fn state(group: &Group<'_>, say: &mut OrderChange) {
    let control = group.orc(1).part(1).text();
    let status = group.orc(5).part(1).text();
    let by_status = status.as_deref().and_then(order_status);
    let by_control = control
        .as_deref()
        .filter(|_| by_status.is_none())
        .and_then(control_status);
    say.status = by_status.or(by_control).into();
    let code = |number: &str, code: &String| Coding::new(&terms::v2(number), code, None);
    // What happened first, then the state: the former is FHIR's business event.
    let happened = control.iter().map(|control| code("0119", control));
    let codings: Vec<Coding> = happened
        .chain(status.iter().map(|status| code("0038", status)))
        .collect();
    if !codings.is_empty() {
        say.status_original = Patch::Set(Concept { codings, text: None });
    }
    let moved = data::when(group.orc(9));
    if control.as_deref() == Some("NW") {
        say.authored = moved.clone().into();
    }
    say.status_changed = moved.into();
}

/// ORC-5, table 0038.
fn order_status(code: &str) -> Option<OrderStatus> {
    Some(match code {
        "CM" => OrderStatus::Completed,
        "HD" => OrderStatus::OnHold,
        "CA" | "DC" | "RP" => OrderStatus::Revoked,
        "ER" => OrderStatus::EnteredInError,
        "IP" | "SC" | "A" => OrderStatus::Active,
        _ => return None,
    })
}

/// ORC-1, table 0119. `RE` comes with results: it makes an order active that is new, and moves none that is known. `PR` stands with
/// results of before, and says nothing of how far anything is.
fn control_status(code: &str) -> Option<OrderStatus> {
    Some(match code {
        "NW" | "OK" | "RR" | "SN" | "NA" | "XO" | "XR" | "RO" | "RL" | "OE" | "OR" | "AF" | "PY" => {
            OrderStatus::Active
        }
        "HD" | "OH" | "HR" => OrderStatus::OnHold,
        // What is replaced is not to be done any more; RO is what stands for it.
        "RP" | "RU" | "RQ" | "CA" | "OC" | "CR" | "DC" | "OD" | "DR" | "DF" | "UA" => OrderStatus::Revoked,
        "FU" => OrderStatus::Completed,
        _ => return None,
    })
}

/// TQ1, else ORC-7, else OBR-27; OBR-5 and -6 where those say nothing of urgency and time.
pub fn times<'m>(group: &Group<'m>) -> Option<Times<'m>> {
    if let Some(tq1) = group.timings.first() {
        return Some(timing::from_tq1(*tq1));
    }
    let at = of_both(group, 7, 27).first();
    at.is_there().then(|| timing::from_tq(at))
}

fn when(group: &Group<'_>, say: &mut OrderChange) {
    let times = times(group);
    say.occurrence_at = group.obr(6).patch(data::when);
    let urgency = times
        .as_ref()
        .and_then(|times| terms::concept(times.urgency, table("0485")));
    let urgency = urgency.or_else(|| terms::concept(group.obr(5), table("0485")));
    say.priority = urgency.as_ref().and_then(priority).into();
    say.priority_original = urgency.into();
    let Some(times) = times else { return };
    say.occurrence_timing = times.timing.into();
    say.quantity = data::quantity(times.quantity).into();
    let words = notes::TIMING_NOTES.into_iter().zip([times.condition, times.text]);
    let remarks = words.filter_map(|(kind, text)| {
        Some(Annotation {
            text: text?,
            kind: Some(Concept::words(kind)),
            ..Annotation::default()
        })
    });
    say.notes = Items::replace(remarks.collect());
}

/// Table 0485 → urgency.
fn priority(urgency: &Concept) -> Option<Priority> {
    priority_of(urgency.code()?)
}

/// Table 0485 → urgency, by the code.
pub fn priority_of(code: &str) -> Option<Priority> {
    Some(match code {
        "S" => Priority::Stat,
        "A" => Priority::Asap,
        "R" => Priority::Routine,
        _ => return None,
    })
}

/// ORC-12, OBR-16, ORC-21 to -24 → who ordered, and for which organisation.
fn requester<'m>(out: &mut Collected<'m>, group: &Group<'m>, say: &mut OrderChange) {
    say.requester = requester_of(out, group).into();
    say.requester_organization = organisation(out, group).into();
}

/// ORC-12, OBR-16, ORC-24, and of 2.7 and later PRT of role OP → who ordered.
pub fn requester_of<'m>(out: &mut Collected<'m>, group: &Group<'m>) -> Option<Ref> {
    let by_field = parties::practitioner(out, of_both(group, 12, 16).first());
    let by_role = || people::in_roles(out, &group.roles, &["OP"]).into_iter().next();
    let person = by_field.or_else(by_role)?;
    let addresses: Vec<Address> = group
        .orc(24)
        .reps()
        .into_iter()
        .filter_map(data::address)
        .collect();
    if let Some(Body::Practitioner(known)) = out.change_mut(&person).map(|change| &mut change.say) {
        for address in addresses {
            parties::add(&mut known.addresses, Some(address));
        }
    }
    Some(person)
}

/// ORC-21 to -23 → the organisation that ordered.
fn organisation<'m>(out: &mut Collected<'m>, group: &Group<'m>) -> Option<Ref> {
    let organisation = parties::organisation(out, group.orc(21).first())?;
    let addresses: Vec<Address> = group
        .orc(22)
        .reps()
        .into_iter()
        .filter_map(data::address)
        .collect();
    let telecoms: Vec<Telecom> = group
        .orc(23)
        .reps()
        .into_iter()
        .filter_map(|rep| data::telecom(rep, None))
        .collect();
    if let Some(Body::Clinic(known)) = out.change_mut(&organisation).map(|change| &mut change.say) {
        for address in addresses {
            parties::add(&mut known.addresses, Some(address));
        }
        for telecom in telecoms {
            parties::add(&mut known.telecoms, Some(telecom));
        }
    }
    Some(organisation)
}

/// ORC-21 to -23 → the place of the organisation that ordered, where it was ordered (HL7 v2-to-FHIR,
/// ORC[Provenance]).
fn facility<'m>(out: &mut Collected<'m>, group: &Group<'m>) -> Option<Ref> {
    let place = parties::site_from_xon(out, group.orc(21).first())?;
    let address = data::address(group.orc(22).first());
    let telecoms: Vec<Telecom> = group
        .orc(23)
        .reps()
        .into_iter()
        .filter_map(|rep| data::telecom(rep, None))
        .collect();
    if let Some(Body::Site(known)) = out.change_mut(&place).map(|change| &mut change.say) {
        parties::set(&mut known.address, address);
        for telecom in telecoms {
            parties::add(&mut known.telecoms, Some(telecom));
        }
    }
    Some(place)
}

/// ORC → who did what to the order: ORC-1, -9 to -13, -16, -17, -19, -21 to -23.
pub fn act<'m>(out: &mut Collected<'m>, group: &Group<'m>, target: Ref) {
    let Some(orc) = group.orc else { return };
    let mut agents: Vec<(Ref, Concept)> = vec![];
    let roles = [
        (10, "enterer", "Enterer"),
        (11, "verifier", "Verifier"),
        (12, "author", "Author"),
        (19, "performer", "Performer"),
    ];
    for (field, role, display) in roles {
        let role = Concept::coded(&hl7("provenance-participant-type"), role, Some(display));
        for rep in orc.f(field).reps() {
            agents.extend(parties::practitioner(out, rep).map(|person| (person, role.clone())));
        }
    }
    let operation = |code, display| Concept::coded(&hl7("v3-DataOperation"), code, Some(display));
    let activity = match orc.f(1).part(1).peek().as_deref() {
        Some("NW") => Some(operation("CREATE", "create")),
        Some("SC") => Some(operation("UPDATE", "revise")),
        Some("OC" | "CA") => Some(operation("CANCEL", "cancel")),
        Some(_) | None => None,
    };
    if agents.is_empty() && activity.is_none() {
        return;
    }
    let place = parties::place(out, orc.f(13).first()).or_else(|| facility(out, group));
    let act = Act {
        target: vec![target],
        activity,
        reason: terms::concept(orc.f(16), NO_TABLE),
        recorded: data::when(orc.f(9)),
        agents,
        on_behalf_of: observations::organisation_from_cwe(out, orc.f(17)),
        place,
    };
    out.about.acts.push(act);
}
