//! Folders: files in, HL7 and files out; killed in the middle; files that can't be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use e2e::disk::SmallDisk;
use e2e::eventually;
use e2e::mllp::field;
use e2e::program::Home;
use e2e::sink::Sink;

use crate::python::root;
use crate::scenes;

const PATIENCE: Duration = Duration::from_secs(60);

/// HL7 files to an HL7 receiver and to files; other files, which have no number of their own, into one file.
fn channels(ris: std::net::SocketAddr) -> [(&'static str, String); 2] {
    let hl7 = format!(
        r#"id = "results"
[source]
format = "hl7v2"
file = {{ folder = "../in", pattern = "*.hl7", stable = "0s", every = "10ms" }}
[[destination]]
name = "ris"
mllp = {{ connect = "{ris}", reply_timeout = "1s" }}
retry = {{ first = "50ms", max = "200ms" }}
[[destination]]
name = "copies"
file = {{ folder = "../out", name = "{{MSH-10}}.hl7" }}
"#
    );
    let rows = r#"id = "rows"
[source]
format = "bytes"
file = { folder = "../in", pattern = "*.csv", stable = "0s", every = "10ms", after = { move = "done-rows" } }
[[destination]]
name = "all"
file = { folder = "../out", name = "all.csv", append = true }
"#;
    [("results", hl7), ("rows", rows.to_owned())]
}

fn home(channels: &[(&str, String)]) -> Result<Home> {
    let channels: Vec<(&str, &str)> = channels
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let home = Home::with(&channels)?;
    std::fs::create_dir(home.path().join("in"))?;
    std::fs::create_dir(home.path().join("out"))?;
    Ok(home)
}

/// Puts a file there whole.
fn put(home: &Path, name: &str, body: &str) -> Result<()> {
    let hidden = home.join("in").join(format!(".{name}"));
    std::fs::write(&hidden, body)?;
    std::fs::rename(hidden, home.join("in").join(name))?;
    Ok(())
}

/// The names in a folder that are not hidden, sorted.
fn names(folder: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_each_file_is_taken_once() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = home(&channels(ris.address))?;
    let mut punte = home.serve()?;
    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU32::new(0));
    let writer = {
        let (over, written, folder) = (over.clone(), written.clone(), home.path().to_owned());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let number = written.load(Ordering::Relaxed);
                let result = scenes::result(&format!("F{number:05}"), "P-1", "O1", "1.0");
                put(&folder, &format!("{number:05}.hl7"), &result)?;
                put(&folder, &format!("{number:05}.csv"), &format!("row {number}"))?;
                written.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(())
        })
    };
    let done = |folder: &str| names(home.path().join("in").join(folder));
    for kill in 0..12_usize {
        let before = done("done").len() + done("done-rows").len();
        eventually("some more are done", PATIENCE, async || {
            (before + 3 + kill * 5 % 17 <= done("done").len() + done("done-rows").len()).then_some(())
        })
        .await;
        punte.kill();
        punte = home.serve()?;
    }
    over.store(true, Ordering::Relaxed);
    writer.await??;
    let count = written.load(Ordering::Relaxed) as usize;
    eventually("all files are done", PATIENCE, async || {
        (done("done").len() == count && done("done-rows").len() == count).then_some(())
    })
    .await;
    // Stored once each, none failed.
    let mut stored: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut before = String::new();
    loop {
        let (_, page) = punte.get(&format!("/admin/messages?limit=1000{before}")).await?;
        for row in page["messages"].as_array().into_iter().flatten() {
            assert_eq!(row["state"], "routed");
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            *stored.entry((text("channel"), text("control_id"))).or_default() += 1;
        }
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(stored.len(), 2 * count);
    assert!(stored.values().all(|times| *times == 1));
    assert_eq!(done("failed"), [""; 0]);
    // Written once each, whole, and in order.
    let out = home.path().join("out");
    let all = || std::fs::read_to_string(out.join("all.csv")).unwrap_or_default();
    eventually("all are written", PATIENCE, async || {
        (names(out.clone()).len() == count + 1 && count <= all().lines().count()).then_some(())
    })
    .await;
    let rows: Vec<String> = (0..count).map(|number| format!("row {number}")).collect();
    let (mut found, mut expected) = (all().lines().map(str::to_owned).collect::<Vec<_>>(), rows);
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "each row once");
    for number in 0..count {
        let id = format!("F{number:05}");
        let copy = std::fs::read_to_string(out.join(format!("{id}.hl7")))?;
        assert_eq!(copy, scenes::result(&id, "P-1", "O1", "1.0"));
    }
    eventually("all are delivered", PATIENCE, async || {
        let mut ids: Vec<String> = ris.received().iter().map(|body| field(body, "MSH", 10)).collect();
        ids.dedup();
        (ids.last().map(String::as_str) == Some(&*format!("F{:05}", count - 1))).then_some(())
    })
    .await;
    punte.stop()?;
    Ok(())
}

/// What a crash between storing and moving leaves: the file lies there as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_stored_and_not_yet_moved_is_known_again() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = home(&channels(ris.address))?;
    let punte = home.serve()?;
    put(home.path(), "a.csv", "one")?;
    let (file, done) = (home.path().join("in/a.csv"), home.path().join("in/done-rows"));
    eventually("done", PATIENCE, async || {
        (names(done.clone()) == ["a.csv"]).then_some(())
    })
    .await;
    punte.kill();
    std::fs::rename(done.join("a.csv"), &file)?;
    let punte = home.serve()?;
    eventually("done again", PATIENCE, async || {
        (names(done.clone()) == ["a.csv"]).then_some(())
    })
    .await;
    let rows = punte.messages("&channel=rows").await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["repeats"], 1);
    // The same name and content, written anew, is another file.
    put(home.path(), "a.csv", "one")?;
    eventually("a second", PATIENCE, async || {
        let rows = punte.messages("&channel=rows").await.ok()?;
        (rows.len() == 2).then_some(())
    })
    .await;
    let all = home.path().join("out/all.csv");
    eventually("two rows", PATIENCE, async || {
        (std::fs::read_to_string(&all).ok()? == "one\none\n").then_some(())
    })
    .await;
    Ok(())
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_set_aside_with_their_reason_and_kept() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let ris = Sink::hl7().await?;
    let home = home(&channels(ris.address))?;
    let folder = home.path().join("in");
    put(home.path(), "a-nonsense.hl7", "no HL7 at all")?;
    put(home.path(), "b-empty.hl7", "")?;
    let huge = std::fs::File::create(folder.join(".huge"))?;
    huge.set_len(2 << 30)?;
    std::fs::rename(folder.join(".huge"), folder.join("c-huge.hl7"))?;
    put(
        home.path(),
        "d-secret.hl7",
        &scenes::result("S1", "P-1", "O1", "1"),
    )?;
    std::fs::set_permissions(
        folder.join("d-secret.hl7"),
        std::fs::Permissions::from_mode(0o000),
    )?;
    put(home.path(), "e-good.hl7", &scenes::result("G1", "P-1", "O1", "1"))?;
    let is_root = std::fs::File::open(folder.join("d-secret.hl7")).is_ok();
    let punte = if is_root {
        home.serve_by(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"])?
    } else {
        home.serve()?
    };
    let failed = folder.join("failed");
    eventually("four are set aside and one is done", PATIENCE, async || {
        (names(failed.clone()).len() == 8 && names(folder.join("done")).len() == 1).then_some(())
    })
    .await;
    assert_eq!(names(folder.clone()), ["done", "done-rows", "failed"]);
    for (name, words) in [
        ("a-nonsense.hl7", "MSH"),
        ("b-empty.hl7", "The file is empty."),
        (
            "c-huge.hl7",
            "The file has 2147483648 bytes, over the limit of 67108864.",
        ),
        ("d-secret.hl7", "The file can't be read: Permission denied"),
    ] {
        let reason = std::fs::read_to_string(failed.join(format!("{name}.reason.txt")))?;
        assert!(reason.contains(words), "{name}: {reason}");
    }
    let rows = punte.messages("&channel=results").await?;
    let states: Vec<&str> = rows.iter().filter_map(|row| row["state"].as_str()).collect();
    assert_eq!(states, ["routed", "failed", "failed", "failed", "failed"]);
    assert!(
        punte.resident().is_none_or(|bytes| bytes < 300 << 20),
        "a file of 2 GB is not read whole"
    );
    assert!(!home.log().contains("e-good"), "names of files are not logged");
    punte.stop()?;
    Ok(())
}

/// The folder is a small file system of its own, in a mount namespace that needs no rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_tried_again_until_there_is_room() -> Result<()> {
    let channel = r#"id = "copies"
source = { format = "bytes", file = { folder = "../in", stable = "0s", every = "10ms" } }
[[destination]]
name = "out"
file = { folder = "../out", name = "{seq}" }
retry = { first = "50ms", max = "200ms" }
"#;
    let mut home = home(&[("copies", channel.to_owned())])?;
    let out = home.path().join("out");
    let Some(disk) = SmallDisk::over(&out, "200k")? else {
        return Ok(());
    };
    home.lies_on(&disk);
    let punte = home.serve()?;
    let out = disk.seen(&out);
    for number in 0..4 {
        put(
            home.path(),
            &number.to_string(),
            &number.to_string().repeat(80_000),
        )?;
    }
    let last = eventually("one waits", PATIENCE, async || {
        let rows = punte.messages("").await.ok()?;
        let deliveries = rows.iter().filter_map(|row| row["deliveries"][0].as_object());
        let waiting = deliveries.filter(|delivery| delivery["state"] == "retrying");
        waiting
            .filter_map(|delivery| delivery["last"].as_str().map(str::to_owned))
            .next()
    })
    .await;
    assert!(
        last.contains("Can't write to") && last.contains("No space left"),
        "{last}"
    );
    assert_eq!(names(out.clone()).len(), 2, "whole files only");
    let mut bodies = vec![];
    while bodies.len() < 4 {
        eventually("there are more", PATIENCE, async || {
            (!names(out.clone()).is_empty()).then_some(())
        })
        .await;
        for name in names(out.clone()) {
            bodies.push(std::fs::read_to_string(out.join(&name))?);
            std::fs::remove_file(out.join(name))?;
        }
    }
    let expected: Vec<String> = (0..4)
        .map(|number: u8| number.to_string().repeat(80_000))
        .collect();
    assert!(bodies == expected, "each whole, in order");
    Ok(())
}

#[test]
fn the_check_finds_what_is_wrong_with_folders() -> Result<()> {
    let source =
        |id: &str, file: &str| format!("id = \"{id}\"\nsource.format = \"hl7v2\"\nsource.file = {file}\n");
    let home = home(&[
        (
            "a",
            source("a", r#"{ folder = "../in", pattern = "lab*" }"#)
                + "[[destination]]\nname = \"d\"\nfile = { folder = \"../out\", name = \"{MSH-10}-{MSH-x}.hl7\" }\n",
        ),
        ("b", source("b", r#"{ folder = "../in" }"#)),
        (
            "c",
            source("c", r#"{ folder = "../in/./x/..", pattern = "*.hl7" }"#),
        ),
        (
            "d",
            source(
                "d",
                r#"{ folder = "../nowhere", after = "destroy", order = "nam", stable = "2 sec" }"#,
            ) + "[[destination]]\nname = \"d\"\nfile = { folder = \"../out\", nam = \"x\" }\n",
        ),
        ("e", source("e", r#"{ folder = "../nowhere" }"#)),
        (
            "f",
            source("f", r#"{ folder = "../nowhere/f" }"#)
                + "[[destination]]\nname = \"d\"\nfile = { folder = \"../nowhere/f\", name = \"{id}\" }\n",
        ),
    ])?;
    let output = home.run(&["check"])?;
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in [
        "a.toml:6:36 destination[0].file.name  {MSH-x}: ",
        "c.toml:3:26 source.file.folder  ",
        "b.toml reads files of such names there already; write another folder, or patterns that differ",
        "d.toml:3:48 source.file.after  ",
        "\"delete\", or { move = \"done\" }",
        "d.toml:3:67 source.file.order  not known here; did you mean \"name\"?",
        "d.toml:3:83 source.file.stable  \"2 sec\" is no duration; write \"2s\"",
        "destination[0].file.nam  not known here; did you mean \"name\"?",
        "e.toml:3:26 source.file.folder  there is no folder ",
        "f.toml reads what is written there, in the same channel, again and again; write another folder",
    ] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    // What is only not there yet keeps nothing from being right, and says why it does not open.
    let home = self::home(&[("e", source("e", r#"{ folder = "../nowhere" }"#))])?;
    assert!(home.run(&["check"])?.status.success());
    let error = home
        .serve()
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        error.contains("nowhere can't be read") && error.contains("Make it, or mount it"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_that_ships_works_as_its_page_says() -> Result<()> {
    let text = std::fs::read_to_string(root().join("channels/files-in-out.toml"))?;
    let home = Home::with(&[("files-in-out", &text)])?;
    std::fs::create_dir_all(home.path().join("files/in"))?;
    std::fs::create_dir_all(home.path().join("files/out"))?;
    let punte = home.serve()?;
    for sample in ["oru-r01-rich", "adt-a04-register-minimal"] {
        let sample = format!("{sample}.hl7");
        std::fs::copy(
            root().join("samples/hl7v2").join(&sample),
            home.path().join("files/in").join(&sample),
        )?;
    }
    let out = home.path().join("files/out");
    eventually("two copies and a list", PATIENCE, async || {
        (names(out.clone()).len() == 3).then_some(())
    })
    .await;
    assert_eq!(
        names(home.path().join("files/in/done")),
        ["adt-a04-register-minimal.hl7", "oru-r01-rich.hl7"]
    );
    let names = names(out.clone());
    assert!(
        names[0].starts_with("ADT-") && names[1].starts_with("ORU-") && names[2].starts_with("results-2"),
        "{names:?}"
    );
    let copy = std::fs::read(out.join(&names[1]))?;
    assert_eq!(field(&copy, "MSH", 5), "ARCHIVE");
    let list = std::fs::read_to_string(out.join(&names[2]))?;
    assert!(list.starts_with("MSH|") && list.ends_with("\n"));
    punte.stop()?;
    Ok(())
}

/// A folder, what takes a file of it apart, and where each part goes: into a file that is named by the part.
fn taken_apart(name: &str, source: &str, split: &str, part: &str) -> (String, String) {
    let text = format!(
        r#"id = "{name}"
[source]
{source}
file = {{ folder = "../in", pattern = "*.{name}", stable = "0s", every = "10ms", after = {{ move = "done" }} }}
[[step]]
split = {split}
[[destination]]
name = "parts"
file = {{ folder = "../out", name = "{part}" }}
"#
    );
    (name.to_owned(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn wholes_of_each_kind_are_taken_apart() -> Result<()> {
    let home = home(
        &[
            taken_apart(
                "json",
                "format = \"json\"",
                "{ json = \"$.entry\" }",
                "{$.nr}.part",
            ),
            taken_apart(
                "xml",
                "format = \"xml\"",
                "{ xml = \"Pacient\" }",
                "{/Pacient/@nr}.part",
            ),
            taken_apart(
                "csv",
                "format = \"csv\"",
                "{ lines = { header = true, quoted = true } }",
                "{nr}.part",
            ),
            taken_apart("zip", "format = \"hl7v2\"", "\"zip\"", "{MSH-10}.part"),
        ]
        .each_ref()
        .map(|(name, text)| (name.as_str(), text.clone())),
    )?;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for number in ["Z1", "Z2"] {
        archive.start_file(format!("{number}.hl7"), zip::write::SimpleFileOptions::default())?;
        std::io::Write::write_all(
            &mut archive,
            scenes::result(number, "P-1", "O1", "1.0").as_bytes(),
        )?;
    }
    let archive = archive.finish()?.into_inner();
    let punte = home.serve()?;
    put(
        home.path(),
        "a.json",
        r#"{"entry": [{"nr": "J1"}, {"nr": "J2", "x": [1.50]}], "count": 2}"#,
    )?;
    put(
        home.path(),
        "a.xml",
        "<l xmlns=\"urn:l\"><Pacient nr=\"X1\"><n>Ș</n></Pacient><Pacient nr=\"X2\"/></l>",
    )?;
    put(home.path(), "a.csv", "nr;text\nC1;\"one\ntwo\"\nC2;x\n")?;
    std::fs::write(home.path().join("in/.a.zip"), archive)?;
    std::fs::rename(home.path().join("in/.a.zip"), home.path().join("in/a.zip"))?;
    // Cut in the middle: none of it is taken.
    put(home.path(), "cut.json", r#"{"entry": [{"nr": "J8"}, {"nr": "J9""#)?;

    let wanted = ["C1", "C2", "J1", "J2", "X1", "X2", "Z1", "Z2"].map(|name| format!("{name}.part"));
    eventually("all parts are there", PATIENCE, async || {
        (names(home.path().join("out")) == wanted && names(home.path().join("in")).len() == 2).then_some(())
    })
    .await;
    let part = |name: &str| std::fs::read_to_string(home.path().join("out").join(name));
    assert_eq!(part("J2.part")?, r#"{"nr": "J2", "x": [1.50]}"#);
    assert_eq!(part("C1.part")?, "nr;text\nC1;\"one\ntwo\"\n");
    assert!(part("X1.part")?.contains("<n>Ș</n>"));
    assert_eq!(
        names(home.path().join("in/failed")),
        ["cut.json", "cut.json.reason.txt"]
    );
    // Each part has a link to its whole.
    let parts = punte.messages("&channel=csv").await?;
    let is_part = |row: &&serde_json::Value| row["origin"]["by"] == "part";
    assert_eq!(
        (parts.len(), parts.iter().filter(is_part).count()),
        (3, 2),
        "{parts:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_wrong_is_set_aside_and_the_others_go_on_as_hl7() -> Result<()> {
    let reception = Sink::hl7().await?;
    let shipped = std::fs::read_to_string(root().join("channels/csv-day.toml"))?;
    let channel = shipped
        .replace("127.0.0.1:2594", &reception.address.to_string())
        .replace(
            "pattern = \"*.csv\"",
            "pattern = \"*.csv\", stable = \"0s\", every = \"10ms\"",
        );
    let home = Home::with(&[])?;
    for map in ["csv-day.map.toml", "csv-day-erp.map.toml"] {
        std::fs::copy(
            root().join("channels").join(map),
            home.path().join("channels").join(map),
        )?;
    }
    home.channel("csv-day", &channel)?;
    std::fs::create_dir_all(home.path().join("files/day"))?;
    let punte = home.serve()?;
    let day =
        std::fs::read_to_string(root().join("samples/csv/day.csv"))?.replace("30.11.2026;08:50", ";08:50");
    let day = format!("{day}\nA-2044;1004;;Lup;Eva;;F;;30.11.2026;09:40;20;CONS;\n");
    std::fs::write(home.path().join("files/.day.csv"), day)?;
    std::fs::rename(
        home.path().join("files/.day.csv"),
        home.path().join("files/day/day.csv"),
    )?;
    let sent = eventually("three of four rows are at the reception", PATIENCE, async || {
        let sent = reception.received();
        (sent.len() == 3).then_some(sent)
    })
    .await;
    let numbers: Vec<String> = sent.iter().map(|message| field(message, "SCH", 1)).collect();
    let first = |number: &String| number.split('^').next().unwrap_or_default().to_owned();
    assert_eq!(
        numbers.iter().map(first).collect::<Vec<_>>(),
        ["A-2041", "A-2043", "A-2044"]
    );
    assert!(
        sent.iter()
            .all(|message| field(message, "MSH", 9).starts_with("SIU^S12"))
    );
    let failed = punte.messages("&channel=csv-day&state=failed").await?;
    assert_eq!(failed.len(), 1, "{failed:?}");
    let why = failed[0]["failure"].to_string();
    assert!(
        why.contains("Data") && !why.contains("Ene"),
        "the column, and nothing of the person: {why}"
    );
    Ok(())
}
