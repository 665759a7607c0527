//! Imaging orders as OMI, and how far they are as ORM.

use clinic::Kind;
use clinic::diagnostics::OrderChange;
use clinic::imaging::{PerformedStatus, PerformedStep};
use clinic::patch::Items;
use clinic::value::Concept;
use clinic::{Change, ChangeSet};

use super::event_tests::{after, applied, told};
use clinic::apply::OnUnmatched;
use clinic::memory::MemoryClinic;

fn lines<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    message
        .split('\r')
        .filter(|line| line.starts_with(name))
        .collect()
}

const OMI: &[u8] = include_bytes!("../../../../samples/hl7v2/omi-o23-ct.hl7");

#[test]
fn an_order_of_images_is_an_omi() {
    let (clinic, applied) = after(OMI);
    let id = applied.ids["order"].1;
    let message = told(&clinic, "Order.placed", Kind::Order, id).unwrap();
    assert!(
        lines(&message, "MSH")[0].contains("|OMI^O23^OMI_O23|"),
        "{message}"
    );
    let ipc = lines(&message, "IPC");
    assert_eq!(
        ipc[0],
        "IPC|ACC-2001^AURORA|RP-77|1.2.826.0.1.3680043.8.498.2001|SPS-1|CT^^DCM|CT-TN^Torace nativ^99AUR|Somatom|SALA-CT|CT1\\E\\CT2"
    );
    assert_eq!(ipc.len(), 2);
}

/// What a modality says of the order of the sample.
fn says(clinic: &mut MemoryClinic, steps: &[&str], status: PerformedStatus, reason: Option<Concept>) {
    let performed = PerformedStep {
        uid: "1.2.9".to_owned(),
        steps: steps.iter().map(|id| (*id).to_owned()).collect(),
        status: Some(status),
        modality: Some("CT".to_owned()),
        started: Some("2026-05-13T10:20:00+03:00".parse().unwrap()),
        reason,
        ..PerformedStep::default()
    };
    let say = OrderChange {
        identifiers: Items::merge(vec![clinic::imaging::uid("1.2.826.0.1.3680043.8.498.2001")]),
        performed: Items::merge(vec![performed]),
        ..OrderChange::default()
    };
    let set = ChangeSet {
        changes: vec![Change::new("o", say)],
        ..ChangeSet::default()
    };
    let applied = applied(&set, clinic, OnUnmatched::Create);
    clinic.commit(&applied).unwrap();
}

#[test]
fn how_far_an_examination_is_goes_out_as_orm() {
    let (clinic, applied) = after(OMI);
    let id = applied.ids["order"].1;
    let both = ["SPS-1", "SPS-2"];
    let broken_off = Concept::coded("DCM", "110513", Some("Discontinued for unspecified reason"));
    for (event, status, state, reason) in [
        ("started", PerformedStatus::InProgress, "IP", None),
        ("completed", PerformedStatus::Completed, "CM", None),
        (
            "discontinued",
            PerformedStatus::Discontinued,
            "DC",
            Some(broken_off),
        ),
        (
            "returned",
            PerformedStatus::Discontinued,
            "SC",
            Some(Concept::coded("DCM", "110514", None)),
        ),
    ] {
        let mut clinic = clinic.clone();
        says(&mut clinic, &both, PerformedStatus::InProgress, None);
        if status != PerformedStatus::InProgress {
            says(&mut clinic, &both, status, reason);
        }
        let message = told(&clinic, &format!("Order.{event}"), Kind::Order, id).unwrap();
        assert!(
            lines(&message, "MSH")[0].contains("|ORM^O01^ORM_O01|"),
            "{message}"
        );
        let orc: Vec<&str> = lines(&message, "ORC")[0].split('|').collect();
        assert_eq!((orc[1], orc[2], orc[5]), ("SC", "C-9200^AURORA", state));
        assert_eq!(orc[9], "20260513102000+0300");
        assert_eq!(
            orc.get(16).is_some_and(|reason| reason.starts_with("110513")),
            event == "discontinued"
        );
        let obr: Vec<&str> = lines(&message, "OBR")[0].split('|').collect();
        assert_eq!(
            (obr[18], obr[19], obr[20], obr[24]),
            ("ACC-2001", "RP-77", "", "CT")
        );
        assert!(lines(&message, "IPC").is_empty() && lines(&message, "OBX").is_empty());
    }
}
