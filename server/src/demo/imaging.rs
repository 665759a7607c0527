//! The imaging visit of the day: a device finds what was ordered, examines, and has its images stored; a PACS gets them.
//!
//! The device and the PACS are those of `punte simulate`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use connectors::tls::Acceptor;
use dimse::Status;

use crate::command::dicom::Far;
use crate::command::dicom::keys::Keys;
use crate::simulate::modality::{self, Examination, Manners, said};
use crate::simulate::mpps::End;
use crate::simulate::pacs::{self, Pacs};

/// The accession number of the order.
pub const ACCESSION: &str = "ACC-19";
/// So many images are made of the right patient.
pub const IMAGES: usize = 3;
/// The device.
const DEVICE: &str = "CT1";

/// Something that the device does.
pub struct Act {
    /// How DICOM calls it.
    pub kind: &'static str,
    /// What it is, for the table.
    pub what: String,
    /// What the device was told.
    pub told: String,
    /// What it should be told.
    pub due: String,
    /// The object that it stores, and whether the PACS should have it.
    pub object: Option<(String, bool)>,
}

impl Act {
    fn new(kind: &'static str, what: &str, status: Status) -> Act {
        Act {
            kind,
            what: what.to_owned(),
            told: said(status),
            due: said(Status::SUCCESS),
            object: None,
        }
    }
}

/// A PACS of the demo, and where it listens.
pub async fn archive(folder: &Path) -> anyhow::Result<(Arc<Pacs>, SocketAddr)> {
    let title = "PACS".parse()?;
    let pacs = Pacs::open(
        Some(title),
        folder,
        pacs::Manners::default(),
        None,
        Box::new(|_| {}),
    )?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(pacs.clone().serve(listener, Acceptor::open(None, folder, &[])?));
    Ok((pacs, address))
}

/// The examination: all that the device does, in order.
pub async fn examination(punte: SocketAddr) -> anyhow::Result<Vec<Act>> {
    let caller = Far::plain(&punte.to_string(), "PUNTE", DEVICE).caller()?;
    let mut keys = Keys::default();
    for key in [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
    ] {
        keys.add(key, "")?;
    }
    keys.add("AccessionNumber", ACCESSION)?;
    for (key, value) in [
        ("Modality", ""),
        ("ScheduledStationAETitle", DEVICE),
        ("ScheduledProcedureStepID", ""),
    ] {
        keys.add(&format!("ScheduledProcedureStepSequence.{key}"), value)?;
    }
    let mut steps = modality::worklist(&caller, &keys).await?;
    let mut acts = vec![Act {
        kind: "C-FIND",
        what: "the CT asks for its worklist".to_owned(),
        told: format!("{} planned", steps.len()),
        due: "1 planned".to_owned(),
        object: None,
    }];
    let Some(step) = steps.pop() else {
        bail!("the worklist of the CT is empty, where one examination is ordered");
    };
    let examination = Examination::of(step, DEVICE, 128);
    let manners = Manners::default();
    for status in modality::begin(&caller, &examination, 1, &manners).await? {
        acts.push(Act::new("N-CREATE", "the CT begins", status));
    }
    let mut told = vec![];
    let stored = modality::store(&caller, &examination, IMAGES, &manners, &mut |made, status| {
        told.push((made.clone(), status));
    })
    .await?;
    for (made, status) in told {
        acts.push(Act {
            object: Some((made.instance, true)),
            ..Act::new("C-STORE", &format!("image {} of {IMAGES}", made.number), status)
        });
    }
    let strange = Manners {
        wrong_patient: true,
        ..manners
    };
    let mut told = vec![];
    modality::store(&caller, &examination, 1, &strange, &mut |made, status| {
        told.push((made.clone(), status));
    })
    .await?;
    for (made, status) in told {
        acts.push(Act {
            object: Some((made.instance, false)),
            ..Act::new("C-STORE", "an image that names another patient", status)
        });
    }
    let status = modality::end(&caller, &examination, &stored.taken, End::Completed, &manners).await?;
    acts.push(Act::new("N-SET", "the CT is done", status));
    Ok(acts)
}

/// What is not as it should be: what the device was told, and what the PACS has.
pub fn wrong(acts: &[Act], pacs: &Pacs) -> Vec<String> {
    let mut wrong = vec![];
    for act in acts.iter().filter(|act| act.told != act.due) {
        wrong.push(format!(
            "{}: the CT was told {:?} where {:?} was due",
            act.what, act.told, act.due
        ));
    }
    let mut held: BTreeSet<String> = pacs.shelf().instances().into_iter().collect();
    for act in acts {
        match &act.object {
            Some((uid, true)) if !held.remove(uid) => {
                wrong.push(format!("{}: the PACS does not have it", act.what))
            }
            Some((uid, false)) if held.remove(uid) => {
                wrong.push(format!("{}: the PACS got it and should not have", act.what))
            }
            Some(_) | None => {}
        }
    }
    wrong.extend(
        held.into_iter()
            .map(|uid| format!("{uid}: the PACS got it, and nobody has sent it")),
    );
    wrong
}
