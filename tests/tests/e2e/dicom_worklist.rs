//! What is planned, asked by DCMTK and by pynetdicom, and moved by what the modality says.

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Modality, dcmtk};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::json;
use tempfile::TempDir;

use crate::python;

fn channel(id: &str, charset: &str) -> String {
    format!(
        "id = \"{id}\"\n{charset}[source]\nquestions = \"clinic\"\n\
         dicom = {{ listen = \"127.0.0.1:0\", ae_title = \"{}\", services = [\"worklist\", \"mpps\", \"store\"] }}\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n",
        id.to_uppercase()
    )
}

const RIS: &str = "id = \"ris\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";

/// Somebody with an order for a CT, as a RIS sends it (OMI^O23).
fn ordered(number: &str, family: &str, start: &str) -> String {
    [
        format!("MSH|^~\\&|RIS|TEST|PUNTE|TEST|20261126080000+0200||OMI^O23^OMI_O23|OMI-{number}|P|2.5.1||||||UNICODE UTF-8"),
        format!("PID|1||N-{number}^^^TEST^MR||{family}^Ana^^^^^L||19800512|F"),
        format!("ORC|NW|C-{number}^TEST|F-{number}^RIS||SC||||20261126080000+0200"),
        format!("TQ1|1||||||{start}|||R"),
        format!("OBR|1|C-{number}^TEST|F-{number}^RIS|24627-2^CT torace cu substanță^LN"),
        format!("IPC|A-{number}^TEST|RP-{number}|2.25.90{number}|S-{number}|CT^^DCM|CT-TN^Torace nativ^99AUR||SALA-CT|"),
        String::new(),
    ]
    .join("\r")
}

async fn orders(punte: &Punte, all: &[String]) -> Result<()> {
    let mut ris = Sender::connect(punte.listens("ris")).await?;
    for order in all {
        let answer = ris.ask(order.as_bytes()).await?;
        assert_eq!(
            field(&answer, "MSA", 1),
            "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// The bytes of each answer that findscu gets.
fn find(port: u16, called: &str, keys: &[&str]) -> Result<Vec<Vec<u8>>> {
    let folder = TempDir::new()?;
    let port = port.to_string();
    let path = folder.path().to_string_lossy().into_owned();
    let mut args = vec!["-W", "-aet", "CT1", "-aec", called, "-X", "-od", &path];
    keys.iter().for_each(|key| args.extend(["-k", key]));
    args.extend(["127.0.0.1", &port]);
    let output = dcmtk("findscu", &args)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut files: Vec<_> = std::fs::read_dir(folder.path())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worklist_is_asked_in_each_character_set() -> Result<()> {
    let home = Home::with(&[
        ("ris", RIS),
        ("any", &channel("any", "")),
        ("latin2", &channel("latin2", "charset = \"iso-8859-2\"\n")),
        ("latin1", &channel("latin1", "charset = \"iso-8859-1\"\n")),
    ])?;
    let punte = home.serve()?;
    let all = [
        ordered("1", "Țîră", "20261127083000+0200"),
        ordered("2", "Pop", "20261127100000+0200"),
        ordered("3", "Ionescu", "20261128083000+0200"),
    ];
    orders(&punte, &all).await?;
    let port = |channel| punte.listens(channel).port();
    let today = "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20261127";
    for (channel, name, set) in [
        ("any", "Țîră^Ana".as_bytes(), &b"ISO_IR 192"[..]),
        ("latin2", b"\xDE\xEEr\xE3^Ana", b"ISO_IR 101"),
        ("latin1", b"T\xEEra^Ana", b"ISO_IR 100"),
    ] {
        let found = find(
            port(channel),
            &channel.to_uppercase(),
            &["PatientName=tira*", "PatientID", today],
        )?;
        ensure!(found.len() == 1, "{channel}: {} answers", found.len());
        ensure!(
            has(&found[0], name) && has(&found[0], set) && has(&found[0], b"N-1"),
            "{channel}"
        );
    }
    let asks = |keys: &[&str]| -> Result<usize> { Ok(find(port("any"), "ANY", keys)?.len()) };
    assert_eq!(asks(&["PatientName", today])?, 2);
    assert_eq!(asks(&["PatientName=Pop"])?, 1);
    assert_eq!(asks(&["AccessionNumber=A-3"])?, 1);
    assert_eq!(asks(&["PatientID=N-9"])?, 0);
    assert_eq!(asks(&["ScheduledProcedureStepSequence[0].Modality=MR"])?, 0);
    let morning = "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartTime=080000-090000";
    assert_eq!(asks(&["PatientName", today, morning])?, 1);
    // Who was told of whom stands in the journal.
    let journal = home.json(&["journal", "--patient", "N-1", "--json"])?;
    let rows = journal["journal"].as_array().context("rows")?;
    ensure!(
        rows.iter()
            .any(|row| row["action"] == "ask" && row["outcome"] == "shown"),
        "{journal}"
    );
    Ok(())
}

/// A day with two examinations, S-1 and S-2, and the modality for them.
async fn two_are_planned() -> Result<(Home, Punte, Modality)> {
    let home = Home::with(&[("ris", RIS), ("ct", &channel("ct", ""))])?;
    let punte = home.serve()?;
    let all = [
        ordered("1", "Țîră", "20261127083000+0200"),
        ordered("2", "Pop", "20261127100000+0200"),
    ];
    orders(&punte, &all).await?;
    let modality = Modality::start(
        &python::root().join("tests/python"),
        punte.listens("ct").port(),
        "CT",
        "CT1",
    )?;
    Ok((home, punte, modality))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modality_moves_what_was_planned() -> Result<()> {
    let (_home, punte, mut modality) = two_are_planned().await?;
    let listed = |modality: &mut Modality| -> Result<Vec<String>> {
        let told = modality.does("worklist Date=20261127")?;
        ensure!(told["status"] == 0, "{told}");
        let steps = told["steps"].as_array().context("steps")?;
        let ids = steps.iter().filter_map(|step| step["step"].as_str());
        Ok(ids.map(str::to_owned).collect())
    };
    assert_eq!(listed(&mut modality)?, ["S-1", "S-2"]);
    let begun = modality.does("begin 0")?;
    ensure!(begun["status"] == 0, "{begun}");
    let again = modality.does("again")?;
    ensure!(again["status"] == 0x0111, "{again}");
    // It was known again: nothing has failed, and nobody has to look at it.
    let all = punte.messages("&channel=ct").await?;
    let begun = all.iter().filter(|row| row["message_type"] == "N-CREATE^MPPS");
    let begun: Vec<_> = begun.map(|row| (&row["state"], &row["repeats"])).collect();
    assert_eq!(begun, [(&json!("routed"), &json!(1))]);
    // One that says something else under the same UID has failed.
    let other = modality.does("again Cap")?;
    ensure!(other["status"] == 0x0111, "{other}");
    let failed = punte.messages("&channel=ct&state=failed").await?;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(
        listed(&mut modality)?,
        ["S-1", "S-2"],
        "the station that works on it sees it"
    );
    let stored = modality.does("images 2")?;
    ensure!(stored["statuses"] == json!([0, 0]), "{stored}");
    let ended = modality.does("end COMPLETED")?;
    ensure!(ended["status"] == 0, "{ended}");
    assert_eq!(listed(&mut modality)?, ["S-2"]);
    let again = modality.does("end COMPLETED")?;
    ensure!(again["status"] == 0, "the same end again: {again}");
    let other = modality.does("end DISCONTINUED")?;
    ensure!(other["status"] == 0x0110, "an end is final: {other}");
    ensure!(other["error"] == 0xA710, "PS3.4 table F.7.2-2: {other}");
    Ok(())
}

/// The device says that an examination began and ended before a person has said whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_parked_beginning_is_taken_with_it() -> Result<()> {
    let (home, punte, mut modality) = two_are_planned().await?;
    let does = |modality: &mut Modality, word: &str, status: u32| -> Result<()> {
        let told = modality.does(word)?;
        ensure!(told["status"] == status, "{word}: {told}");
        Ok(())
    };
    does(&mut modality, "worklist Date=20261127", 0)?;
    modality.does("mistake 0 1")?;
    does(&mut modality, "begin 0", 0)?;
    does(&mut modality, "again Cap", 0x0111)?;
    does(&mut modality, "again", 0x0111)?;
    does(&mut modality, "end COMPLETED", 0)?;
    does(&mut modality, "end COMPLETED", 0)?;
    let states = async || -> Result<Vec<(String, String)>> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let all = punte.messages("&channel=ct").await?;
        let mut all: Vec<_> = all
            .iter()
            .map(|row| (text(&row["message_type"]), text(&row["state"])))
            .filter(|(kind, _)| kind.ends_with("^MPPS"))
            .collect();
        all.sort();
        Ok(all)
    };
    let of = |kind: &str, state: &str| (kind.to_owned(), state.to_owned());
    let (create, set) = ("N-CREATE^MPPS", "N-SET^MPPS");
    assert_eq!(
        states().await?,
        [of(create, "failed"), of(create, "parked"), of(set, "parked")]
    );
    let parked = punte.messages("&channel=ct&state=parked").await?;
    let begun = parked.iter().find(|row| row["message_type"] == create);
    let begun = begun.context("the beginning")?;
    let id = begun["id"].as_str().context("an id")?;
    let order = begun["candidates"][0]["id"].as_str().context("the order")?;
    let done = home.run(&["parked", "resolve", id, "--as", order])?;
    ensure!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(
        states().await?,
        [of(create, "failed"), of(create, "routed"), of(set, "routed")]
    );
    let told = modality.does("worklist Date=20261127")?;
    let steps = told["steps"].as_array().context("steps")?;
    ensure!(steps.len() == 1 && steps[0]["step"] == "S-2", "{told}");
    // Where nothing is to come of the beginning, nothing comes of the end, nor of one that comes later.
    orders(&punte, &[ordered("3", "Rusu", "20261127110000+0200")]).await?;
    does(&mut modality, "worklist Date=20261127", 0)?;
    modality.does("mistake 0 1")?;
    does(&mut modality, "begin 0", 0)?;
    does(&mut modality, "end COMPLETED", 0)?;
    let parked = punte.messages("&channel=ct&state=parked").await?;
    let begun = parked.iter().find(|row| row["message_type"] == create);
    let id = begun
        .and_then(|row| row["id"].as_str())
        .context("the beginning")?;
    let done = home.run(&[
        "parked",
        "resolve",
        id,
        "--ignore",
        "--reason",
        "a test of the device",
    ])?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    does(&mut modality, "end DISCONTINUED", 0)?;
    let filtered = punte.messages("&channel=ct&state=filtered").await?;
    assert_eq!(filtered.len(), 3, "{filtered:?}");
    Ok(())
}

/// Several devices, or one that is impatient, begin the same examination at the same moment: one of them has begun it, also where a
/// person has to decide about it first.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_beginnings_at_the_same_moment_one_counts() -> Result<()> {
    let (_home, punte, mut modality) = two_are_planned().await?;
    let statuses: Vec<u32> = std::iter::once(0).chain([0x0111; 7]).collect();
    for (day, words, is_parked) in [
        ("05", "together 8 0", false),
        ("06", "together 8 0 alike", false),
        ("07", "together 8 0", true),
        ("08", "together 8 0 alike", true),
    ] {
        let all = [("1", "Pop", "08"), ("2", "Rusu", "09")].map(|(n, family, hour)| {
            ordered(
                &format!("{day}{n}"),
                family,
                &format!("202612{day}{hour}0000+0200"),
            )
        });
        orders(&punte, &all).await?;
        let told = modality.does(&format!("worklist Date=202612{day}"))?;
        ensure!(told["steps"].as_array().context("steps")?.len() == 2, "{told}");
        if is_parked {
            modality.does("mistake 0 1")?;
        }
        let before = punte.messages("&channel=ct").await?.len();
        let told = modality.does(words)?;
        ensure!(
            told["statuses"] == json!(statuses),
            "{words}, {is_parked}: {told}"
        );
        let rows = punte.messages("&channel=ct").await?;
        let of = |state: &str| {
            let begun = rows[..rows.len() - before].iter();
            begun
                .filter(|row| row["message_type"] == "N-CREATE^MPPS" && row["state"] == state)
                .count()
        };
        let wanted = if is_parked { (0, 1) } else { (1, 0) };
        ensure!(
            (of("routed"), of("parked")) == wanted,
            "{words}, {is_parked}: {rows:?}"
        );
    }
    Ok(())
}
