//! Golden tests of channels, and the small commands around channel files, as a person uses them.

use anyhow::Result;
use e2e::program::Home;

use crate::scenes;

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn channel(sex: &str, destination: &str) -> String {
    format!(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nset = {{ \"PID-8\" = \"{sex}\" }}\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = {{ on_unmatched = \"park\" }}\n[[destination]]\nname = \"{destination}\"\nmllp.connect = \"127.0.0.1:1\"\n[[destination]]\nname = \"portal\"\nencode = \"fhir-r4\"\nfhir.base = \"http://127.0.0.1:1/fhir\"\n"
    )
}

#[test]
fn a_golden_test_is_made_holds_and_shows_what_changed() -> Result<()> {
    let home = Home::with(&[("adt", &channel("F", "ris"))])?;
    let sample = home.path().join("sample.hl7");
    std::fs::write(&sample, scenes::result("T1", "P-1", "C-1", "5.40"))?;
    let sample = sample.to_string_lossy().into_owned();

    let none = home.run(&["test", "adt"])?;
    assert_eq!(
        none.status.code(),
        Some(1),
        "a channel that is named and has no test"
    );
    assert!(text(&none).contains("--add NAME FILE"), "{}", text(&none));
    let added = home.run(&["test", "adt", "--add", "unknown", &sample])?;
    assert!(added.status.success(), "{}", text(&added));
    let folder = home.path().join("channels/adt.tests/unknown");
    let state = std::fs::read_to_string(folder.join("state.txt"))?;
    assert!(state.starts_with("parked\n"), "{state}");

    // What the clinic knows before makes the difference.
    std::fs::create_dir_all(home.path().join("channels/adt.tests/known"))?;
    let known = home.path().join("channels/adt.tests/known");
    std::fs::copy(&sample, known.join("in.hl7"))?;
    std::fs::write(known.join("before-1.hl7"), scenes::register("T0", "P-1", "Pop"))?;
    let unblessed = home.run(&["test", "adt"])?;
    assert_eq!(unblessed.status.code(), Some(1));
    assert!(
        text(&unblessed).contains("nothing is expected yet"),
        "{}",
        text(&unblessed)
    );
    assert!(home.run(&["test", "--bless"])?.status.success());
    // A sample before it is parked too, so that nothing is known: nothing comes of a `before` that is parked.
    let state = std::fs::read_to_string(known.join("state.txt"))?;
    assert!(state.starts_with("parked\n"), "{state}");
    home.channel("adt", &channel("F", "ris").replace("\"park\"", "\"create\""))?;
    let blessed = home.run(&["test", "--bless"])?;
    assert!(text(&blessed).contains("blessed"), "{}", text(&blessed));
    assert_eq!(std::fs::read_to_string(known.join("state.txt"))?, "routed\n");
    let changes = std::fs::read_to_string(known.join("changes.json"))?;
    assert!(changes.contains("2093-3"), "{changes}");
    let portal = std::fs::read_to_string(known.join("out.portal.json"))?;
    assert!(portal.contains("5.40"), "digits are kept: {portal}");
    let reply = std::fs::read_to_string(known.join("reply.hl7"))?;
    assert!(reply.contains("MSA|AA|T1"), "{reply}");

    home.channel(
        "bare",
        &channel("F", "ris").replace("id = \"adt\"", "id = \"bare\""),
    )?;
    let none = home.run(&["test", "bare"])?;
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("There are no tests."), "{}", text(&none));
    std::fs::remove_file(home.path().join("channels/bare.toml"))?;

    // The same at each run.
    for _ in 0..2 {
        let again = home.run(&["test"])?;
        assert!(again.status.success(), "{}", text(&again));
        assert!(
            text(&again).contains("2 tests, all as expected"),
            "{}",
            text(&again)
        );
    }

    // The channel changes: the field is named, and the exit code says so.
    let other = channel("M", "ris").replace("\"park\"", "\"create\"");
    home.channel("adt", &other)?;
    let differs = home.run(&["test"])?;
    assert_eq!(differs.status.code(), Some(1));
    let said = text(&differs);
    assert!(said.contains("out.ris.hl7 differs"), "{said}");
    assert!(said.contains("PID-8: \"F\" became \"M\""), "{said}");
    assert!(said.contains("punte test --bless"), "{said}");
    let json = home.run(&["test", "--json"])?;
    let value: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    assert_eq!(value["tests"].as_array().map(Vec::len), Some(2));

    // A destination is called otherwise now, a file is missing, a folder has no channel.
    home.channel("adt", &channel("F", "riss").replace("\"park\"", "\"create\""))?;
    std::fs::create_dir_all(home.path().join("channels/atd.tests/x"))?;
    let said = text(&home.run(&["test"])?);
    assert!(
        said.contains("has no destination \"ris\" any more; did it become \"riss\"?"),
        "{said}"
    );
    assert!(
        said.contains("there is no channel \"atd\" for these tests; did you mean \"adt\"? Rename the folder, or remove it."),
        "{said}"
    );
    assert!(
        home.run(&["test", "--bless"])?.status.code() == Some(1),
        "the folder without a channel stays wrong"
    );
    assert!(!known.join("out.ris.hl7").exists() && known.join("out.riss.hl7").exists());
    let unknown = home.run(&["test", "adtt"])?;
    assert!(
        text(&unknown).contains("did you mean \"adt\"?"),
        "{}",
        text(&unknown)
    );
    Ok(())
}

#[test]
fn uses_says_where_a_name_stands_and_check_refuses_a_secret() -> Result<()> {
    let home = Home::with(&[("adt", &channel("F", "ris"))])?;
    let uses = home.run(&["uses", "ris"])?;
    assert!(uses.status.success());
    assert!(
        text(&uses).contains("destination[0].name") && text(&uses).contains("adt.toml:10:8"),
        "{}",
        text(&uses)
    );
    assert_eq!(home.run(&["uses", "nothing"])?.status.code(), Some(1));

    let secret = channel("F", "ris").replace(
        "fhir.base = \"http://127.0.0.1:1/fhir\"",
        "fhir = { base = \"http://127.0.0.1:1/fhir\", auth = { user = \"punte\", password = \"geheim\" } }",
    );
    home.channel("adt", &secret)?;
    let check = home.run(&["check"])?;
    assert_eq!(check.status.code(), Some(1));
    let said = text(&check);
    assert!(
        said.contains("destination[1].fhir.auth.password  a secret does not stand in a channel file"),
        "{said}"
    );
    assert!(
        said.contains("password_env") && !said.contains("geheim"),
        "{said}"
    );
    Ok(())
}

#[test]
fn try_shows_what_each_step_changed() -> Result<()> {
    let home = Home::with(&[("adt", &channel("M", "ris").replace("\"park\"", "\"create\""))])?;
    let sample = home.path().join("sample.hl7");
    std::fs::write(&sample, scenes::register("T1", "P-1", "Pop"))?;
    let tried = home.run(&["try", "adt", &sample.to_string_lossy()])?;
    let said = text(&tried);
    assert!(tried.status.success(), "{said}");
    assert!(
        said.contains("- PID|1||P-1") && said.contains("+ PID|1||P-1"),
        "{said}"
    );
    assert!(said.contains("PID-8: \"F\" became \"M\""), "{said}");
    Ok(())
}
