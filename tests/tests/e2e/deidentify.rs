//! Objects without their patient, through a running channel: in by storescu, out to storescp and to Orthanc. And the way back,
//! for those who may.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Orthanc, dcmtk, dumped, free_port, listening, made};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use tempfile::TempDir;

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

/// What must be in no object that leaves.
const WORDS: [&str; 14] = [
    "tirbei", "Ruxandra", "Medic", "Ioana", "P-7001", "ACC7001", "19790312", "20260305", "20260306",
    "Clinica", "CT1", "1.2.826", "Strada", "ACME",
];

fn object(number: u32, date: &str) -> String {
    format!(
        "(0008,0005) CS [ISO_IR 192]\n(0008,0008) CS [ORIGINAL\\PRIMARY\\AXIAL]\n(0008,0012) DA [{date}]\n\
         (0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]\n(0008,0018) UI [1.2.826.0.1.7.1.{number}]\n(0008,0020) DA [20260305]\n\
         (0008,0022) DA [{date}]\n(0008,002a) DT [{date}101500.5]\n(0008,0030) TM [101500]\n(0008,0050) SH [ACC7001]\n\
         (0008,0060) CS [CT]\n(0008,0080) LO [Clinica Știrbei]\n(0008,0090) PN [Medic^Ioana]\n(0008,1010) SH [CT1]\n\
         (0008,1030) LO [Torace, doamna Știrbei]\n(0008,1140) SQ\n(fffe,e000) -\n(0008,1150) UI [1.2.840.10008.5.1.4.1.1.2]\n\
         (0008,1155) UI [1.2.826.0.1.7.1.1]\n(fffe,e00d) -\n(fffe,e0dd) -\n(0009,0010) LO [ACME]\n(0009,1001) LO [Ruxandra]\n\
         (0010,0010) PN [Știrbei^Ruxandra]\n(0010,0020) LO [P-7001]\n(0010,0030) DA [19790312]\n(0010,0040) CS [F]\n\
         (0010,1040) LO [Strada Lungă 7]\n(0018,0050) DS [5]\n(0020,000d) UI [1.2.826.0.1.7]\n(0020,000e) UI [1.2.826.0.1.7.1]\n\
         (0020,0010) SH [P-7001]\n(0020,0013) IS [{number}]\n(0020,0052) UI [1.2.826.0.1.7.9]\n(0028,0002) US 1\n\
         (0028,0004) CS [MONOCHROME2]\n(0028,0010) US 2\n(0028,0011) US 2\n(0028,0100) US 16\n(0028,0101) US 12\n(0028,0102) US 11\n\
         (0028,0103) US 0\n(6000,0010) US 2\n(6000,3000) OW 0001\\0002\n(7053,0010) LO [Philips PET Private Group]\n(7053,1000) DS [0.00021]\n\
         (7053,1003) ST [ruxandra.img]\n(7fe0,0010) OW 0102\\0304\\0506\\0708\n"
    )
}

fn send(port: u16, file: &Path) -> Result<()> {
    let (port, file) = (port.to_string(), file.to_string_lossy().into_owned());
    let output = dcmtk(
        "storescu",
        &["-aet", "CT1", "-aec", "PUNTE", "127.0.0.1", &port, &file],
    )?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The files that came, the oldest object first by its number.
async fn arrived(folder: &Path, count: usize) -> Result<Vec<String>> {
    let files = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).into_iter().flatten();
        files
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|file| file.extension().is_some_and(|ending| ending == "dcm"))
            .collect()
    };
    let all = eventually("the objects arrive", SOON, async || {
        let all: Vec<String> = files().iter().filter_map(|file| dumped(file).ok()).collect();
        (all.len() == count && all.iter().all(|said| said.contains("(7fe0,0010)"))).then_some(all)
    })
    .await;
    let mut all = all;
    all.sort_by_key(|said| value(said, "(0020,0013)").ok());
    Ok(all)
}

/// The value of an element on the first level, without its brackets.
fn value(said: &str, tag: &str) -> Result<String> {
    let line = said.lines().find(|line| line.starts_with(tag));
    let line = line.with_context(|| format!("no {tag} in\n{said}"))?;
    let value = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Ok(value.map(|(value, _)| value.to_owned()).unwrap_or_default())
}

fn day(text: &str) -> Result<i64> {
    let part =
        |range: std::ops::Range<usize>| -> Result<i64> { Ok(text.get(range).context("a date")?.parse()?) };
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    // Days from the first of March of year 0.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    Ok(year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_leaves_without_its_patient_and_those_who_may_find_the_way_back() -> Result<()> {
    let folder = TempDir::new()?;
    let (sent, kept) = (folder.path().join("sent"), folder.path().join("kept"));
    std::fs::create_dir(&sent)?;
    std::fs::create_dir(&kept)?;
    for (number, date) in [(1, "20260305"), (2, "20260305"), (3, "20260306")] {
        made(&sent.join(format!("{number}.dcm")), &object(number, date))?;
    }
    let port = free_port()?;
    let place = kept.to_string_lossy().into_owned();
    let args = ["--fork", "+xa", "-od", &place, "-fe", ".dcm", &port.to_string()];
    let _archive = listening("storescp", &args, port)?;
    let orthanc = Orthanc::start(&[]).await?;
    let images = format!(
        "id = \"images\"\n[source]\ndicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = {{ on_unmatched = \"park\" }}\n\
         [[destination]]\nname = \"study\"\nstep = [{{ deidentify = {{ project = \"lung\", keep = [\"dates-shifted\", \"safe-private\"] }} }}]\n\
         dicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"STUDY\" }}\n\
         [[destination]]\nname = \"other\"\nstep = [{{ deidentify = {{ project = \"heart\" }} }}]\n\
         dicom = {{ connect = \"127.0.0.1:{}\", called_ae = \"ORTHANC\" }}\n",
        orthanc.dicom
    );
    let people = "id = \"people\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = { on_unmatched = \"create\" }\n";
    let home = Home::with(&[("images", &images), ("people", people)])?;
    let punte = home.serve()?;
    let mut reception = Sender::connect(punte.listens("people")).await?;
    let registered = "MSH|^~\\&|HIS|C|PUNTE|C|20260305||ADT^A28^ADT_A05|1|P|2.5.1|||||ROU|UNICODE UTF-8\rEVN|A28|20260305\rPID|1||P-7001^^^C^MR||Știrbei^Ruxandra||19790312|F\r";
    let answer = reception.ask(registered.as_bytes()).await?;
    ensure!(
        field(&answer, "MSA", 1) == "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );

    // Two objects, and a late third once the two have left and the program has been started anew.
    let to = punte.listens("images").port();
    send(to, &sent.join("1.dcm"))?;
    send(to, &sent.join("2.dcm"))?;
    let two = arrived(&kept, 2).await?;
    punte.stop()?;
    let punte = home.serve()?;
    send(punte.listens("images").port(), &sent.join("3.dcm"))?;
    let all = arrived(&kept, 3).await?;
    ensure!(all[..2] == two[..]);
    for said in &all {
        for word in WORDS {
            ensure!(
                !said.to_lowercase().contains(&word.to_lowercase()),
                "{word} in\n{said}"
            );
        }
        ensure!(value(said, "(0012,0062)")? == "YES", "{said}");
        ensure!(value(said, "(0012,0063)")?.contains("PS3.15"), "{said}");
        ensure!(
            said.contains("(0012,0064) SQ")
                && said.contains("[113100]")
                && said.contains("[113107]")
                && said.contains("[113111]"),
            "{said}"
        );
        ensure!(value(said, "(0028,0303)")? == "MODIFIED", "{said}");
        ensure!(
            value(said, "(0018,0050)")? == "5" && said.contains("(7fe0,0010)"),
            "{said}"
        );
        ensure!(
            !said.contains("(6000,3000)") && !said.contains("(0009,"),
            "{said}"
        );
        // Of private elements what is known to tell nobody.
        ensure!(
            value(said, "(7053,1000)")? == "0.00021" && !said.contains("(7053,1003)"),
            "{said}"
        );
        // One study, series, frame of reference and patient; the first object is what the others refer to.
        for tag in [
            "(0020,000d)",
            "(0020,000e)",
            "(0020,0052)",
            "(0010,0020)",
            "(0010,0010)",
        ] {
            ensure!(value(said, tag)? == value(&all[0], tag)?, "{tag}");
        }
        ensure!(
            said.contains(&format!("(0008,1155) UI [{}]", value(&all[0], "(0008,0018)")?)),
            "{said}"
        );
        ensure!(
            value(said, "(0002,0003)")? == value(said, "(0008,0018)")?,
            "{said}"
        );
    }
    let uids: std::collections::BTreeSet<String> = all
        .iter()
        .map(|said| value(said, "(0008,0018)"))
        .collect::<Result<_>>()?;
    ensure!(uids.len() == 3);
    // All dates are moved by the same days.
    let study = day("20260305")? - day(&value(&all[0], "(0008,0020)")?)?;
    ensure!((365..3_660).contains(&study), "{study}");
    for (said, was) in all.iter().zip(["20260305", "20260305", "20260306"]) {
        for tag in ["(0008,0012)", "(0008,0022)", "(0008,002a)"] {
            ensure!(day(was)? - day(&value(said, tag)?)? == study, "{tag}:\n{said}");
        }
        ensure!(value(said, "(0008,002a)")?.ends_with("101500.5"));
    }

    // Another project knows them by other names; its dates are gone.
    eventually("the other project has its objects", SOON, async || {
        (orthanc.instances().await.ok()?.len() == 3).then_some(())
    })
    .await;
    let found = orthanc.get("/dicom-web/studies").await?;
    ensure!(found.as_array().map(Vec::len) == Some(1), "one study: {found}");
    let heart = found[0]["00100020"]["Value"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let lung = value(&all[0], "(0010,0020)")?;
    ensure!(heart.starts_with("P-") && heart != lung, "{heart} {lung}");

    // The way back: by the pseudonym and by the study, with a reason, which stands in the journal.
    let who = |project: &str, of: &str, reason: &str| {
        home.run(&["dicom", "who", "--project", project, of, "--reason", reason])
    };
    let said = |output: &std::process::Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    };
    for of in [lung.clone(), value(&all[0], "(0020,000d)")?] {
        let found = who("lung", &of, "incidental finding")?;
        ensure!(
            found.status.success()
                && said(&found).contains("Știrbei Ruxandra")
                && said(&found).contains("P-7001"),
            "{}",
            said(&found)
        );
    }
    ensure!(who("heart", &heart, "the other one")?.status.success());
    let nobody = who("heart", &lung, "by mistake")?;
    ensure!(
        nobody.status.code() == Some(1) && said(&nobody).contains("Nobody whom this clinic knows"),
        "{}",
        said(&nobody)
    );
    let silent = who("lung", &lung, " ")?;
    ensure!(
        silent.status.code() == Some(1) && said(&silent).contains("reason has to be said"),
        "{}",
        said(&silent)
    );
    let journal = home.json(&["journal", "--json", "--patient", "P-7001"])?;
    let rows: Vec<&serde_json::Value> = journal["journal"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["action"] == "reidentify")
        .collect();
    ensure!(
        rows.len() == 3 && rows.iter().any(|row| row["purpose"] == "incidental finding"),
        "{journal}"
    );

    // Not by a key that may read the clinic; by one that may find them.
    let key = |name: &str, scope: &str| -> Result<String> {
        let made = home.json(&["key", "add", name, "--scope", scope, "--json"])?;
        Ok(made["key"].as_str().context("a key")?.to_owned())
    };
    let (reader, finder) = (key("reader", "clinic:read")?, key("finder", "clinic:reidentify")?);
    let ask = async |key: &str| -> Result<reqwest::Response> {
        let body = serde_json::json!({ "project": "lung", "pseudonym": lung, "reason": "asked for by the ethics board" });
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/admin/reidentify", punte.http);
        Ok(client
            .post(url)
            .bearer_auth(key)
            .body(body.to_string())
            .send()
            .await?)
    };
    ensure!(ask(&reader).await?.status() == 403);
    let found = ask(&finder).await?;
    ensure!(found.status() == 200 && found.text().await?.contains("P-7001"));
    // Also where no engine runs.
    punte.stop()?;
    ensure!(who("lung", &lung, "at night")?.status.success());
    Ok(())
}

/// Long objects, of which a channel otherwise reads the beginning alone: nothing leaves of what stands behind their pixels.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_that_stands_behind_the_pixels_of_a_long_object() -> Result<()> {
    let folder = TempDir::new()?;
    let (sent, kept) = (folder.path().join("sent"), folder.path().join("kept"));
    std::fs::create_dir(&sent)?;
    std::fs::create_dir(&kept)?;
    let tail = [
        &b"\xE1\x7F\x10\0LO\x04\0ACME"[..],
        b"\xE1\x7F\x01\x10LO\x08\0Ruxandra",
        b"\xFC\xFF\xFC\xFFOB\0\0\x0c\0\0\0Medic^Ioana ",
    ]
    .concat();
    let pixels = vec![7; 700_000];
    let length = u32::try_from(pixels.len())?.to_le_bytes();
    for (number, value) in [
        (1, [&b"OW\0\0"[..], &length, &pixels].concat()),
        (2, [&b"OW\0\0"[..], &length, &pixels, &tail].concat()),
    ] {
        let file = sent.join(format!("{number}.dcm"));
        made(&file, &object(number, "20260305"))?;
        let mut bytes = std::fs::read(&file)?;
        let head = b"\xE0\x7F\x10\0OW";
        let at = bytes
            .windows(head.len())
            .rposition(|six| six == head)
            .context("pixels")?;
        bytes.truncate(at + 4);
        bytes.extend(value);
        std::fs::write(&file, bytes)?;
    }
    let channel = format!(
        "id = \"images\"\n[source]\ndicomweb = {{}}\n\
         [[destination]]\nname = \"study\"\nformat = \"dicom\"\nstep = [{{ deidentify = {{ project = \"lung\" }} }}]\n\
         file = {{ folder = \"{}\", name = \"{{SOPInstanceUID}}.dcm\" }}\n",
        kept.display()
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    let key = home.json(&["key", "add", "sends", "--json", "--scope", "images:write"])?;
    let mut body = vec![];
    for number in [1, 2] {
        body.extend(b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend(std::fs::read(sent.join(format!("{number}.dcm")))?);
    }
    body.extend(b"\r\n--b--\r\n");
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("http://{}/dicom-web/studies", punte.http))
        .bearer_auth(key["key"].as_str().context("a key")?)
        .header(
            "content-type",
            "multipart/related; type=\"application/dicom\"; boundary=b",
        )
        .body(body)
        .send()
        .await?;
    ensure!(answer.status().as_u16() == 200, "{}", answer.text().await?);
    arrived(&kept, 2).await?;
    for file in std::fs::read_dir(&kept)? {
        let file = file?.path();
        let bytes = std::fs::read(&file)?;
        ensure!(
            bytes.ends_with(&pixels[..1000]),
            "{}: something else ends it",
            file.display()
        );
        for word in ["Ruxandra", "Ioana", "ACME"] {
            let is_there = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            ensure!(!is_there, "{word} in {}", file.display());
        }
    }
    Ok(())
}

/// A copy that is an object of its own: its study stays together, what it refers to is there, and all else stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_out_under_uids_of_its_own() -> Result<()> {
    let folder = TempDir::new()?;
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept)?;
    let images = format!(
        "id = \"images\"\n[source]\ndicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"teaching\"\nformat = \"dicom\"\n\
         step = [{{ set = {{ \"PatientID\" = \"T-1\" }} }}, {{ new_uids = \"teaching\" }}]\n\
         file = {{ folder = \"{}\", name = \"{{SOPInstanceUID}}.dcm\" }}\n",
        kept.display()
    );
    let home = Home::with(&[("images", &images)])?;
    let punte = home.serve()?;
    for number in [1, 2] {
        let file = folder.path().join(format!("{number}.dcm"));
        made(&file, &object(number, "20260305"))?;
        send(punte.listens("images").port(), &file)?;
    }
    let both = arrived(&kept, 2).await?;
    for tag in ["(0020,000d)", "(0020,000e)", "(0020,0052)"] {
        let new = value(&both[0], tag)?;
        ensure!(
            new.starts_with("2.25.") && new == value(&both[1], tag)?,
            "{tag} {new}"
        );
    }
    let own = value(&both[0], "(0008,0018)")?;
    let refers = format!("(0008,1155) UI [{own}]");
    ensure!(both[1].contains(&refers), "{refers} in\n{}", both[1]);
    for said in &both {
        ensure!(
            value(said, "(0002,0003)")? == value(said, "(0008,0018)")?,
            "{said}"
        );
        ensure!(value(said, "(0010,0010)")? == "Știrbei^Ruxandra", "{said}");
        ensure!(
            value(said, "(0010,0020)")? == "T-1" && value(said, "(0009,1001)")? == "Ruxandra",
            "{said}"
        );
        ensure!(
            !said.contains("(0012,0062)") && value(said, "(0008,0020)")? == "20260305",
            "{said}"
        );
    }
    // Where there is no such thing, the file is refused.
    let wrong = "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nnew_uids = \"x\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"127.0.0.1:1\"\n";
    let told = Home::with(&[("adt", wrong)])?.run(&["check"])?;
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    ensure!(
        told.contains("new_uids  there is no profile for messages of hl7v2"),
        "{told}"
    );
    Ok(())
}
