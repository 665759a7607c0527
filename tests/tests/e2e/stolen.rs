//! A stolen folder: after a day with names, numbers and results in every charset, nothing of them stands in the data
//! folder, a backup, temporary files, the log at TRACE, the metrics or an error answer. The people are invented.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use e2e::grep::{Grep, LATIN_2, LATIN_10, with};
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::{Manner, Sink};
use tempfile::TempDir;

use crate::crash::sabotaged;
use crate::scenes;

/// A charset as MSH-18 and channels name it, and its letters for those of our names.
struct Charset {
    header: &'static str,
    channel: Option<&'static str>,
    family: &'static str,
    given: &'static str,
    cnp: &'static str,
    result: &'static str,
    encode: fn(&str) -> Vec<u8>,
}

const CHARSETS: [Charset; 5] = [
    Charset {
        header: "UNICODE UTF-8",
        channel: None,
        family: "Mâțășel",
        given: "Ștefăniță",
        cnp: "2800514018887",
        result: "Pseudomonas veșnică",
        encode: |text| text.as_bytes().to_vec(),
    },
    Charset {
        header: "8859/1",
        channel: None,
        family: "Brânzîcel",
        given: "Rînduniel",
        cnp: "1790214018882",
        result: "Klebsiella cîmpenească",
        encode: |text| with(text, &[('â', 0xE2), ('î', 0xEE), ('ă', b'a')]),
    },
    Charset {
        header: "8859/2",
        channel: None,
        family: "Ghiţuleşteanu",
        given: "Ioniţăşel",
        cnp: "1660808018884",
        result: "Candida râncedă",
        encode: |text| with(text, LATIN_2),
    },
    Charset {
        header: "8859/16",
        channel: None,
        family: "Căpățânoșu",
        given: "Măriuțoaia",
        cnp: "2910303018889",
        result: "Serratia roșiatică",
        encode: |text| with(text, LATIN_10),
    },
    Charset {
        header: "",
        channel: Some("windows-1250"),
        family: "Zăpăceştu",
        given: "Gheorghiţoi",
        cnp: "1551212018881",
        result: "Proteus năvalnică",
        encode: |text| with(text, LATIN_2),
    },
];

/// What a PDF says inside, sent as Base64.
const PDF: &str = "%PDF-1.4 Diagnostic: Mielofibroza Zvanturata";
const PHONE: &str = "0799123987";
const STREET: &str = "Strada Cotcodacului";

impl Charset {
    fn message(&self, id: &str) -> Vec<u8> {
        let pdf = base64::engine::general_purpose::STANDARD.encode(PDF);
        let text = format!(
            "MSH|^~\\&|LIS|LAB|PUNTE|TEST|20260505083000+0300||ORU^R01^ORU_R01|{id}|P|2.5.1|||||ROU|{}\rPID|1||{}^^^^NNROU||{}^{}^^^^^L||19800514|F|||{STREET} 7^^Cluj||{PHONE}\rORC|RE|O-{id}^TEST|F-{id}^LIS\rOBR|1|O-{id}^TEST|F-{id}^LIS|600-7^Culture^LN|||20260505084500|||||||||||||||20260505133000||MB|F\rOBX|1|TX|600-7^Culture^LN||{}||||||F\rNTE|1||{} la {}\rOBX|2|ED|PDF^Report^L||^application^pdf^Base64^{pdf}||||||F\r",
            self.header, self.cnp, self.family, self.given, self.result, self.result, self.family
        );
        (self.encode)(&text)
    }

    /// What may stand nowhere.
    fn secrets(&self) -> Vec<&'static str> {
        vec![self.family, self.given, self.cnp, self.result]
    }
}

/// The folder of a day: every charset through a channel that applies and one that routes, with scripts that remember and
/// count, big bodies, refusals, and what nobody can read.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_folder_shows_nobody_and_nothing() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let refuses = Sink::hl7().await?;
    refuses.behave(Manner::Refuse);
    let mut channels: Vec<(String, String)> = vec![];
    for (n, charset) in CHARSETS.iter().enumerate() {
        let named = charset
            .channel
            .map_or(String::new(), |name| format!("charset = \"{name}\"\n"));
        let text = scenes::clinic(portal.address, ris.address)
            .replace("id = \"clinic\"", &format!("id = \"clinic-{n}\""));
        channels.push((format!("clinic-{n}"), format!("{named}{text}")));
    }
    channels.push((
        "route".into(),
        format!(
            "{}on_error = \"dead\"\n[[step]]\nscript = \"keep.js\"\n[cache.seen]\nlife = \"1h\"\n[counter.all]\n",
            scenes::route(refuses.address)
        ),
    ));
    let channels: Vec<(&str, &str)> = channels.iter().map(|(name, text)| (&**name, &**text)).collect();
    let home = Home::with(&channels)?;
    std::fs::write(
        home.path().join("channels/keep.js"),
        "export default function (message, context) {\n  context.cache('seen').set('last', message.get('PID-5.1') ?? 'none');\n  context.counter('all').next();\n}\n",
    )?;
    let temporary = TempDir::new()?;
    let punte = home.serve_with(&[
        ("PUNTE_LOG", "trace"),
        ("TMPDIR", temporary.path().to_str().context("no name")?),
    ])?;
    let mut answers: Vec<Vec<u8>> = vec![];
    for (n, charset) in CHARSETS.iter().enumerate() {
        let mut clinic = Sender::connect(punte.listens(&format!("clinic-{n}"))).await?;
        let message = charset.message(&format!("D-{n}"));
        let answer = clinic.ask(&message).await?;
        ensure!(
            field(&answer, "MSA", 1) == "AA",
            "{}: {}",
            charset.header,
            String::from_utf8_lossy(&answer)
        );
        answers.push(answer);
        // A number with a letter too many, a birth date that is a name, a result without its order, half a message.
        let text = String::from_utf8_lossy(&message).into_owned();
        for (kind, broken) in [
            (
                "date",
                text.replace("|19800514|", &format!("|{}|", charset.family)),
            ),
            ("half", text.chars().take(text.chars().count() / 2).collect()),
            (
                "segment",
                text.replace("\rOBR|1", &format!("\r{}|1", charset.family)),
            ),
            ("value", text.replace("|TX|", "|NM|")),
        ] {
            let broken = broken.replace(&format!("D-{n}"), &format!("D-{n}-{kind}"));
            clinic.tell(broken.as_bytes()).await?;
            answers.push(clinic.answer().await?);
        }
        let mut route = Sender::connect(punte.listens("route")).await?;
        answers.push(route.ask(&charset.message(&format!("R-{n}"))).await?);
    }
    // A body that does not fit into its row.
    let mut big = CHARSETS[0].message("BIG");
    for n in 0..6000 {
        big.extend_from_slice(format!("NTE|{n}||{} {}\r", CHARSETS[0].family, CHARSETS[0].result).as_bytes());
    }
    let mut route = Sender::connect(punte.listens("route")).await?;
    answers.push(route.ask(&big).await?);
    // Questions, right and wrong ones.
    let client = reqwest::Client::builder().no_proxy().build()?;
    for path in [
        "metrics",
        "health",
        "admin/messages/0197a3b2",
        "fhir/Patient?birthdate=0799123987",
        "fhir/Nobody",
    ] {
        let answer = client
            .get(format!("http://{}/{path}", punte.http))
            .bearer_auth(&punte.key)
            .send()
            .await?;
        answers.push(answer.bytes().await?.to_vec());
    }
    for body in [
        format!("{{\"patient\": \"{}\"", CHARSETS[0].family),
        format!("{{\"{}\": 1}}", CHARSETS[1].cnp),
    ] {
        let answer = client
            .post(format!("http://{}/admin/keys", punte.http))
            .bearer_auth(&punte.key)
            .body(body)
            .send()
            .await?;
        answers.push(answer.bytes().await?.to_vec());
    }
    home.json(&["messages", "--patient", CHARSETS[0].cnp, "--json"])?;
    let found = punte
        .search(&format!("Patient?identifier={}", CHARSETS[0].cnp))
        .await?;
    assert_eq!(found.len(), 1, "the folder is empty");
    let deadline = Instant::now() + Duration::from_secs(30);
    while punte.messages("&channel=route&state=dead").await?.len() < CHARSETS.len() {
        ensure!(Instant::now() < deadline, "nothing was refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let place = TempDir::new()?;
    let backup = place.path().join("backup");
    home.json(&["backup", backup.to_str().context("no name")?, "--json"])?;

    let mut secrets: Vec<&str> = CHARSETS.iter().flat_map(Charset::secrets).collect();
    secrets.extend([PHONE, STREET, "Mielofibroza Zvanturata"]);
    let grep = Grep::new(&secrets);
    // While it runs, after a kill, and after a stop.
    let mut shown = grep.folder(&home.path().join("data"))?;
    shown.extend(grep.folder(&backup)?);
    punte.kill();
    shown.extend(grep.folder(&home.path().join("data"))?);
    shown.extend(grep.folder(temporary.path())?);
    home.serve()?.stop()?;
    shown.extend(grep.folder(&home.path().join("data"))?);
    let log = home.log();
    assert!(log.contains("TRACE"), "the log has no TRACE");
    shown.extend(grep.find("the log", log.as_bytes()));
    for answer in &answers {
        let text = String::from_utf8_lossy(answer).into_owned();
        shown.extend(grep.find(&format!("the answer {text:?}"), answer));
    }
    let verified = home.json(&["verify", "--json"])?;
    shown.extend(grep.find("punte verify", verified.to_string().as_bytes()));
    shown.sort();
    shown.dedup();
    assert!(shown.is_empty(), "{} places:\n{}", shown.len(), shown.join("\n"));
    assert_eq!(verified["store"]["count"], 0, "{verified}");

    // The same search finds each of them where it does stand.
    grep.finds_what_is_planted(&home.path().join("data/blobs"))?;
    Ok(())
}

/// A step panics with a message at hand, and the text of the panic quotes all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_tells_nothing_of_its_message() -> Result<()> {
    let Some(program) = sabotaged() else { return Ok(()) };
    let mut home = Home::with(&[("clinic", &scenes::chart_only())])?;
    home.runs(program);
    let punte = home.serve_with(&[("PUNTE_SABOTAGE", "panic-one"), ("PUNTE_LOG", "trace")])?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let [ill, well] = [&CHARSETS[0], &CHARSETS[3]];
    let mut answers = vec![];
    for (charset, id, expected) in [(ill, "ILL", "AE"), (well, "WELL", "AA")] {
        let answer = sender.ask(&charset.message(id)).await?;
        ensure!(
            field(&answer, "MSA", 1) == expected,
            "{id}: {}",
            String::from_utf8_lossy(&answer)
        );
        answers.extend(answer);
    }
    let listed = home.json(&["messages", "--json"])?;
    answers.extend(listed.to_string().into_bytes());
    punte.kill();

    let secrets: Vec<&str> = [ill, well].into_iter().flat_map(Charset::secrets).collect();
    let grep = Grep::new(&secrets);
    let mut shown = grep.folder(home.path())?;
    shown.extend(grep.find("an answer", &answers));
    assert!(shown.is_empty(), "{} places:\n{}", shown.len(), shown.join("\n"));
    let log = home.log();
    assert!(
        log.contains("it panicked at engine/src/sabotage.rs:"),
        "{}",
        home.log_end(20)
    );
    assert!(log.contains("A step panicked"), "{}", home.log_end(20));
    grep.finds_what_is_planted(&home.path().join("data/blobs"))
}
