//! Channel files, right and wrong, against a small format and small connectors.

mod ask;
mod fake;
mod right;

use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// The tables that lie beside the channels of the tests.
fn table_text(path: &Path) -> io::Result<String> {
    let text = match path.to_string_lossy().as_ref() {
        "channels/lis-codes.csv" => {
            "system,code,system,code,display\nlis,K,http://loinc.org,2823-3,Potassium\n"
        }
        "channels/two-systems.csv" => "system,code,system,code\na,K,,1\nb,K,,2\n",
        "channels/wrong.csv" => "system,code,system,code,display\nlis,,x,1,\nlis,K,x\n",
        "channels/secret.csv" => return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not allowed")),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(text.to_owned())
}

fn checked(files: &[(&str, &str)]) -> Checked {
    let files: Vec<(PathBuf, String)> = files
        .iter()
        .map(|(file, text)| (PathBuf::from(file), (*text).to_owned()))
        .collect();
    check(
        &files,
        &fake::formats(),
        &fake::connectors(),
        &table_text,
        &fake::Named,
    )
}

/// Cases of `wrong.txt`: `=== title`, one or several files (the first is `channels/x.toml`; `--- channels/y.toml`
/// begins another), then `>>>` and the lines that are told. Warnings begin with `warning: `.
///
/// With `UPDATE_WRONG=1` in the environment the file is written anew from what is told now.
#[test]
fn each_wrong_file_is_told_what_is_wrong_with_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/channel/tests/wrong.txt");
    let cases = std::fs::read_to_string(&path).expect("wrong.txt");
    let mut told = String::new();
    let mut n_cases = 0;
    for case in cases.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (source, _) = rest.split_once(">>>\n").expect("lines that are told");
        let mut files = vec![("channels/x.toml", String::new())];
        for line in source.lines() {
            if let Some(file) = line.strip_prefix("--- ") {
                files.push((file, String::new()));
            } else if let Some((_, text)) = files.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (*file, text.as_str())).collect();
        let checked = checked(&files);
        told.push_str(&format!("=== {title}\n{source}>>>\n"));
        for problem in &checked.problems {
            told.push_str(&format!("{problem}\n"));
        }
        for warning in &checked.warnings {
            told.push_str(&format!("warning: {warning}\n"));
        }
        told.push('\n');
        let (problems, warnings) = (checked.problems.len(), checked.warnings.len());
        assert!(0 < problems + warnings, "{title}: nothing is told");
        n_cases += 1;
    }
    if std::env::var_os("UPDATE_WRONG").is_some() {
        std::fs::write(&path, &told).expect("wrong.txt is written");
    }
    for (now, kept) in told.split("=== ").zip(cases.split("=== ")) {
        assert_eq!(now, kept);
    }
    assert_eq!(told, cases);
    assert!(40 <= n_cases);
}

#[test]
fn a_wrong_file_gives_no_channel_and_the_right_one_beside_it_does() {
    let right = "id = \"a\"\nsource.mllp.listen = \"127.0.0.1:1\"\n[[destination]]\nname = \"d\"\nmllp.connect = \"127.0.0.1:2\"\n";
    let checked = checked(&[("channels/a.toml", right), ("channels/b.toml", "id = 3")]);
    assert_eq!(checked.channels.len(), 1);
    assert!(!checked.problems.is_empty());
    assert!(checked.into_result().is_err());
}

#[test]
fn no_secret_is_repeated() {
    let text = "id = \"a\"\nsource.mllp = { listen = [\"hunter2\"], password = \"hunter2\", max_frame = \"hunter2\" }\n\
                [[destination]]\nname = \"d\"\nfhir = { base = { token = \"hunter2\" }, auth = \"hunter2\" }\n";
    let checked = checked(&[("channels/a.toml", text)]);
    assert!(3 <= checked.problems.len());
    let told: Vec<String> = checked
        .problems
        .iter()
        .filter(|problem| !problem.path.ends_with("max_frame"))
        .map(Problem::to_string)
        .collect();
    assert!(!told.concat().contains("hunter2"), "{told:#?}");
}

/// What a right file looks like, to be damaged.
const EVERYTHING: &str = include_str!("everything.toml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_file_never_panics_and_always_has_a_place(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[a-z\"'=\\[\\]{}.,#\n0-9ș -]{0,4}"), 1..6)
    ) {
        let mut letters: Vec<char> = EVERYTHING.chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(letters.len() + 1);
            let end = (at + removed).min(letters.len());
            letters.splice(at..end, inserted.chars());
        }
        let text: String = letters.into_iter().collect();
        let checked = checked(&[("channels/x.toml", &text)]);
        prop_assert_eq!(checked.channels.is_empty(), !checked.problems.is_empty());
        for problem in checked.problems.iter().chain(&checked.warnings) {
            prop_assert!(1 <= problem.line && 1 <= problem.column);
            if problem.file == Path::new("channels/x.toml") {
                prop_assert!(problem.line <= text.lines().count() + 1, "{}", problem);
            }
            prop_assert!(!problem.what.is_empty());
        }
    }

    #[test]
    fn a_removed_line_never_panics(removed in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let mut lines: Vec<&str> = EVERYTHING.lines().collect();
        for at in removed {
            lines.remove(at.index(lines.len()));
        }
        let text = lines.join("\n");
        let checked = checked(&[("channels/x.toml", &text)]);
        prop_assert_eq!(checked.channels.is_empty(), !checked.problems.is_empty());
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        let checked = checked(&[("channels/x.toml", &text)]);
        prop_assert!(!checked.problems.is_empty());
    }
}
