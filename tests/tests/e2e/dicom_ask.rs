//! A step asks an archive (Orthanc) and a worklist (wlmscpfs) by C-FIND, and writes what they say into the message.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::dicom::{Listening, Orthanc, dcmtk, free_port, listening, made};
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;
use tempfile::TempDir;

use crate::scenes;

const SOON: Duration = Duration::from_secs(20);

fn worklist(folder: &Path, port: u16) -> Result<Listening> {
    let list = folder.join("WORKLIST");
    std::fs::create_dir(&list)?;
    std::fs::write(list.join("lockfile"), "")?;
    made(
        &list.join("a.wl"),
        "(0008,0050) SH [A-1]\n(0008,1110) SQ\n(fffe,e0dd) -\n(0010,0010) PN [POP^ANA]\n(0010,0020) LO [P-1]\n\
         (0020,000d) UI [2.25.1]\n(0032,1060) LO [CT torace]\n(0040,0100) SQ\n(fffe,e000) -\n(0008,0060) CS [CT]\n\
         (0040,0001) AE [CT1]\n(0040,0002) DA [20261127]\n(0040,0003) TM [0900]\n(0040,0007) LO [CT]\n\
         (0040,0009) SH [S]\n(fffe,e00d) -\n(fffe,e0dd) -\n(0040,1001) SH [R]\n",
    )?;
    let args = ["-csk", "-dfp", &folder.to_string_lossy(), &port.to_string()];
    listening("wlmscpfs", &args, port)
}

fn channel(archive: u16, list: u16, ris: &Sink) -> String {
    format!(
        r#"id = "adt"
source.mllp.listen = "127.0.0.1:0"
[[step]]
lookup = {{ ask = "pacs", question = "STUDY?PatientID={{PID-3.1}}&StudyDescription=&StudyDate=", set = {{ "PID-23" = "StudyDescription" }} }}
[[step]]
lookup = {{ ask = "worklist", question = "WORKLIST?PatientID={{PID-3.1}}&RequestedProcedureDescription=&ScheduledProcedureStepSequence.ScheduledStationAETitle=", set = {{ "PID-27" = "ScheduledProcedureStepSequence[0].ScheduledStationAETitle" }} }}
[[destination]]
name = "pacs"
when = "asked"
dicom = {{ connect = "127.0.0.1:{archive}", called_ae = "ORTHANC" }}
[[destination]]
name = "worklist"
when = "asked"
dicom = {{ connect = "127.0.0.1:{list}", called_ae = "WORKLIST" }}
[[destination]]
name = "ris"
mllp = {{ connect = "{}" }}
"#,
        ris.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_and_a_worklist_are_asked_by_a_step() -> Result<()> {
    let folder = TempDir::new()?;
    let orthanc = Orthanc::start(&[]).await?;
    for (number, patient, study) in [(1, "P-1", 1), (2, "P-1", 1), (3, "P-2", 2), (4, "P-2", 3)] {
        made(
            &folder.path().join(format!("{number}.dcm")),
            &format!(
                "(0008,0005) CS [ISO_IR 192]\n(0008,0016) UI [1.2.840.10008.5.1.4.1.1.7]\n\
                 (0008,0018) UI [2.25.100{number}]\n(0008,0020) DA [20260505]\n(0008,0060) CS [OT]\n\
                 (0008,1030) LO [Torace și abdomen {study}]\n(0010,0010) PN [Pop^Ana]\n(0010,0020) LO [{patient}]\n\
                 (0020,000d) UI [2.25.1{study}]\n(0020,000e) UI [2.25.2{study}]\n"
            ),
        )?;
    }
    let port = orthanc.dicom.to_string();
    let files = folder.path().to_string_lossy().into_owned();
    let output = dcmtk(
        "storescu",
        &["-aec", "ORTHANC", "127.0.0.1", &port, "+sd", &files],
    )?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let list = free_port()?;
    let lists = TempDir::new()?;
    let _worklist = worklist(lists.path(), list)?;
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("adt", &channel(orthanc.dicom, list, &ris))])?;
    let punte = home.serve()?;
    let mut ward = Sender::connect(punte.listens("adt")).await?;
    for (number, patient) in [("1", "P-1"), ("2", "P-2"), ("3", "P-9")] {
        let answer = ward
            .ask(scenes::register(number, patient, "Pop").as_bytes())
            .await?;
        assert_eq!(
            field(&answer, "MSA", 1),
            "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    e2e::eventually("the RIS has them", SOON, async || {
        (ris.received().len() == 3).then_some(())
    })
    .await;
    let sent: Vec<String> = ris
        .received()
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    ensure!(
        sent[0].contains("Torace și abdomen 1") && sent[0].contains("CT1"),
        "{}",
        sent[0]
    );
    // Of two studies none is taken; of nobody nothing is found.
    ensure!(
        !sent[1].contains("Torace") && !sent[2].contains("Torace"),
        "{sent:?}"
    );
    // Each question and what was found is a message of its own.
    let rows = punte.messages("&channel=adt&state=answered").await?;
    assert_eq!(rows.len(), 6, "{rows:?}");
    // An archive that is not there is told to the sender.
    drop(orthanc);
    let answer = ward.ask(scenes::register("4", "P-1", "Pop").as_bytes()).await?;
    ensure!(
        field(&answer, "MSA", 1) != "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

#[test]
fn a_question_that_is_none_is_told_by_check() -> Result<()> {
    let wrong = "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\n\
                 lookup = { ask = \"pacs\", question = \"STUDY?PatientNmae={PID-5}\", set = { \"PID-23\" = \"StudyDate\" } }\n\
                 [[destination]]\nname = \"pacs\"\nwhen = \"asked\"\n\
                 dicom = { connect = \"127.0.0.1:104\", called_ae = \"PACS\" }\n\
                 [[destination]]\nname = \"file\"\nfile.folder = \"out\"\n";
    let home = Home::with(&[("adt", wrong)])?;
    let output = home.run(&["check"])?;
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        !output.status.success() && said.contains("\"PatientNmae\" is no name"),
        "{said}"
    );
    Ok(())
}
