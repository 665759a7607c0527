//! What a modality says that it does (MPPS, PS3.4 F.7) → what was performed of an order.
//!
//! N-CREATE begins a step and says for which planned ones it is: by the UID of the study and the accession number, and of
//! several orders that have these by the number of the step; where nothing tells them apart it is for all.
//! One that is for none is an examination that nobody planned: an order of its own, where the patient is known, else a
//! person decides. One that was planned, and not here, is such an order only where the channel says so in words. N-SET is
//! known by the instance alone, and is said of every order that the step is for.

use clinic::change_set::{Change, Find, Missing};
use clinic::diagnostics::{OrderChange, OrderIntent, OrderStatus};
use clinic::exchange::{MapError, Reason};
use clinic::imaging::{PerformedStatus, PerformedStep, accession, uid};
use clinic::patch::{Items, Patch};
use clinic::value::{Concept, Identifier, Ref};
use clinic::{About, ChangeSet};

use super::Profile;
use super::message::{Command, Service};
use super::part10::File;
use super::said::{At, Ledger};
use super::study::{about, patient};

/// The most orders that one step may be for.
const MAX_ORDERS: usize = 64;

/// What word of a modality says about the clinic.
pub fn decode(file: &File<'_>, command: &Command, profile: &Profile) -> Result<ChangeSet, MapError> {
    if !clinic::imaging::may_be_uid(&command.instance) {
        return Err(MapError::missing("0000,1000", "The UID of the performed step"));
    }
    let set = file.data_set(profile.of(&file.meta.calling).fallback)?;
    let ledger = Ledger::default();
    let at = At::new(&set, &ledger);
    let performed = performed(&at, command, profile)?;
    let (kind, changes) = match command.service {
        Service::MppsCreate => ("N-CREATE^MPPS", created(&at, performed)),
        _ => ("N-SET^MPPS", vec![set_change(performed)]),
    };
    Ok(ChangeSet {
        about: About {
            notes: at.doubts(),
            ..about(file, kind, &command.instance)
        },
        changes,
        merges: vec![],
        extra: at.rest(),
    })
}

fn performed(at: &At<'_>, command: &Command, profile: &Profile) -> Result<PerformedStep, MapError> {
    const STATUS: &str = "0040,0252";
    let is_new = command.service == Service::MppsCreate;
    let status = match at.text("PerformedProcedureStepStatus").as_deref() {
        Some("IN PROGRESS") => Some(PerformedStatus::InProgress),
        Some("COMPLETED") if !is_new => Some(PerformedStatus::Completed),
        Some("DISCONTINUED") if !is_new => Some(PerformedStatus::Discontinued),
        None if !is_new => None,
        None => return Err(MapError::missing(STATUS, "The state of the performed step")),
        Some(_) => {
            let what = match is_new {
                true => "a step begins IN PROGRESS and as nothing else",
                false => "is no state of a step; write IN PROGRESS, COMPLETED or DISCONTINUED",
            };
            return Err(MapError::new(Reason::DataType, Some(STATUS), what));
        }
    };
    let mut series = vec![];
    for one in at.items("PerformedSeriesSequence") {
        series.extend(one.uid("SeriesInstanceUID"));
    }
    Ok(PerformedStep {
        uid: command.instance.clone(),
        steps: vec![],
        status,
        id: at.text("PerformedProcedureStepID"),
        station_ae: at.text("PerformedStationAETitle"),
        station_name: at.text("PerformedStationName"),
        location: at.text("PerformedLocation"),
        modality: at.text("Modality"),
        started: at.when(
            "PerformedProcedureStepStartDate",
            "PerformedProcedureStepStartTime",
            &profile.zone,
        ),
        ended: at.when(
            "PerformedProcedureStepEndDate",
            "PerformedProcedureStepEndTime",
            &profile.zone,
        ),
        description: at
            .text("PerformedProcedureStepDescription")
            .or_else(|| at.text("PerformedProcedureTypeDescription")),
        protocols: at.concepts("PerformedProtocolCodeSequence"),
        reason: at.first_concept("PerformedProcedureStepDiscontinuationReasonCodeSequence"),
        series,
        note: at.text("CommentsOnThePerformedProcedureStep"),
        ..PerformedStep::default()
    })
}

/// One order for which a step is.
#[derive(Default, PartialEq)]
struct For {
    study: Option<String>,
    accession: Option<String>,
    steps: Vec<String>,
    description: Option<String>,
    code: Option<Concept>,
}

fn created(at: &At<'_>, performed: PerformedStep) -> Vec<Change> {
    let mut orders: Vec<For> = vec![];
    for item in at
        .items("ScheduledStepAttributesSequence")
        .into_iter()
        .take(MAX_ORDERS)
    {
        let one = For {
            study: item.uid("StudyInstanceUID"),
            accession: item.text("AccessionNumber"),
            steps: item.text("ScheduledProcedureStepID").into_iter().collect(),
            description: item.text("RequestedProcedureDescription"),
            code: item.first_concept("RequestedProcedureCodeSequence"),
        };
        let same = |known: &&mut For| known.study == one.study && known.accession == one.accession;
        match orders.iter_mut().find(same) {
            Some(known) => known.steps.extend(one.steps),
            None => orders.push(one),
        }
    }
    if orders.is_empty() {
        orders.push(For::default());
    }
    let planned = orders
        .iter()
        .any(|order| !order.steps.is_empty() || order.accession.is_some());
    let missing = if planned { Missing::Skip } else { Missing::Park };
    let mut changes = vec![not_yet(&performed), patient(at, missing)];
    for (n, order) in orders.into_iter().enumerate() {
        changes.push(order_change(n, order, &performed));
    }
    changes
}

/// A step that was begun can't begin again (0111): nothing is known by its UID yet.
fn not_yet(performed: &PerformedStep) -> Change {
    Change {
        find: Find {
            identifiers: vec![uid(&performed.uid)],
            missing: Missing::Skip,
            version: Some(0),
            each: true,
            ..Find::default()
        },
        ..Change::new("begun", OrderChange::default())
    }
}

fn order_change(n: usize, order: For, performed: &PerformedStep) -> Change {
    let planned = !order.steps.is_empty() || order.accession.is_some();
    let mut identifiers: Vec<Identifier> = order.study.as_deref().map(uid).into_iter().collect();
    identifiers.extend(
        order
            .accession
            .as_deref()
            .map(|number| Identifier::new(None, number)),
    );
    let performed = PerformedStep {
        steps: order.steps,
        ..performed.clone()
    };
    let say = OrderChange {
        // Whom the modality names has to be the patient of the order.
        patient: Patch::Set(Ref::Local("patient".to_owned())),
        performed: Items::Merge(vec![performed]),
        ..OrderChange::default()
    };
    let number = order.accession.as_deref().map(|number| accession(number, None));
    let new = OrderChange {
        identifiers: Items::merge(
            order
                .study
                .as_deref()
                .map(uid)
                .into_iter()
                .chain(number)
                .collect(),
        ),
        status: Patch::Set(OrderStatus::Active),
        intent: Patch::Set(OrderIntent::InstanceOrder),
        code: order.code.or(order.description.map(Concept::words)).into(),
        ..OrderChange::default()
    };
    let key = match n {
        0 => "order".to_owned(),
        n => format!("order-{}", n + 1),
    };
    Change {
        find: Find {
            identifiers,
            bare: true,
            // An accession number may be that of several orders, examined as one.
            each: true,
            // What was planned and is not known is somebody else's order, a number that was mistyped, or was planned elsewhere.
            missing: match planned {
                true => Missing::ParkUnlessSaid,
                false => Missing::Create,
            },
            ..Find::default()
        },
        say_if_new: Some(new.into()),
        ..Change::new(key, say)
    }
}

fn set_change(performed: PerformedStep) -> Change {
    Change {
        find: Find {
            identifiers: vec![uid(&performed.uid)],
            missing: Missing::Refuse,
            // One step may be for several orders.
            each: true,
            ..Find::default()
        },
        ..Change::new(
            "order",
            OrderChange {
                performed: Items::Merge(vec![performed]),
                ..OrderChange::default()
            },
        )
    }
}
