//! Folders that are written to, with room and without.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use engine::connector::{About, Destination, Outgoing, SendError, Surroundings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{outgoing, paths};

struct Folder {
    home: TempDir,
}

impl Folder {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("out")).unwrap();
        Folder { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("out").join(name)
    }

    async fn opened(&self, more: Value) -> Arc<dyn Destination> {
        let mut settings = json!({ "folder": "out", "name": "{MSH-10}.hl7" });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let connector = connectors::all().get("file").unwrap();
        assert_eq!(connector.check_destination(&settings), []);
        let surroundings = Surroundings {
            folder: self.home.path().to_owned(),
            ..Surroundings::default()
        };
        connector
            .open_destination(&settings, &surroundings)
            .await
            .unwrap()
    }

    /// All files, hidden ones too, with what is in them.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut files: Vec<(String, String)> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}

/// A delivery of a message with this number in MSH-10.
fn message(delivery: i64, number: &'static str, body: &str) -> Outgoing {
    let values = move |path: &str| {
        Ok(if path == "MSH-10" {
            vec![number.to_owned()]
        } else {
            vec![]
        })
    };
    Outgoing {
        delivery,
        about: About {
            values: Arc::new(values),
            ..About::default()
        },
        ..outgoing(body.to_owned())
    }
}

async fn send(to: &Arc<dyn Destination>, outgoing: Outgoing) -> Result<String, SendError> {
    let answer = to.send(&outgoing, &|_| true).await?;
    Ok(String::from_utf8(answer.body).unwrap())
}

fn told(result: Result<String, SendError>) -> String {
    match result {
        Ok(name) => format!("written as {name}"),
        Err(SendError::Retry { why, .. }) => format!("retry: {why}"),
        Err(SendError::Refused { why }) => format!("refused: {why}"),
        Err(SendError::Unsure { why } | SendError::BrokenOff { why, .. }) => format!("unsure: {why}"),
    }
}

fn file(name: &str, body: &str) -> (String, String) {
    (name.to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_message_is_a_whole_file_and_a_repeat_is_the_same_one() {
    let folder = Folder::new();
    let to = folder.opened(json!({})).await;
    assert_eq!(send(&to, message(1, "A1", "one")).await.unwrap(), "A1.hl7");
    assert_eq!(send(&to, message(2, "A2", "two")).await.unwrap(), "A2.hl7");
    assert_eq!(send(&to, message(1, "A1", "one")).await.unwrap(), "A1.hl7");
    assert_eq!(folder.files(), [file("A1.hl7", "one"), file("A2.hl7", "two")]);
    // What an earlier try left half written under its hidden name is no file of anybody's.
    fs::write(folder.path(".punte-3.tmp"), "thr").unwrap();
    send(&to, message(3, "A3", "three")).await.unwrap();
    assert_eq!(folder.files()[2], file("A3.hl7", "three"));
    assert_eq!(folder.files().len(), 3);
    // Killed after it had its name and before the hidden one was taken away: both are one file.
    fs::hard_link(folder.path("A3.hl7"), folder.path(".punte-3.tmp")).unwrap();
    send(&to, message(3, "A3", "three")).await.unwrap();
    assert_eq!(folder.files()[2], file("A3.hl7", "three"));
    assert_eq!(folder.files().len(), 3);
    to.probe().await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken() {
    let folder = Folder::new();
    let to = folder.opened(json!({})).await;
    send(&to, message(1, "A", "one")).await.unwrap();
    let refused = told(send(&to, message(2, "A", "other")).await);
    assert!(
        refused.starts_with("refused: a file of this name is there already"),
        "{refused}"
    );
    assert_eq!(folder.files(), [file("A.hl7", "one")]);

    let to = folder.opened(json!({ "exists": "number" })).await;
    assert_eq!(send(&to, message(2, "A", "other")).await.unwrap(), "A-2.hl7");
    assert_eq!(send(&to, message(3, "A", "third")).await.unwrap(), "A-3.hl7");
    assert_eq!(send(&to, message(2, "A", "other")).await.unwrap(), "A-2.hl7");
    assert_eq!(folder.files().len(), 3);

    let to = folder.opened(json!({ "exists": "replace" })).await;
    assert_eq!(send(&to, message(4, "A", "newest")).await.unwrap(), "A.hl7");
    assert_eq!(folder.files()[2], file("A.hl7", "newest"));
    assert_eq!(folder.files().len(), 3);
}

#[tokio::test]
async fn names_stay_in_the_folder() {
    let folder = Folder::new();
    let to = folder.opened(json!({ "name": "{MSH-10}" })).await;
    assert_eq!(
        send(&to, message(1, "../../etc/passwd", "x")).await.unwrap(),
        "_.._.._etc_passwd"
    );
    assert_eq!(send(&to, message(2, "..", "y")).await.unwrap(), "_");
    assert_eq!(
        send(&to, message(3, "/abs\\olute\0", "z")).await.unwrap(),
        "_abs_olute_"
    );
    assert_eq!(folder.files().len(), 3);
    let to = folder.opened(json!({ "name": "{PV1-3}.hl7" })).await;
    let refused = told(send(&to, message(4, "A", "x")).await);
    assert!(refused.starts_with("refused: PV1-3: no value"), "{refused}");
    let to = folder.opened(json!({ "name": "{PV1-3|none}.hl7" })).await;
    assert_eq!(send(&to, message(4, "A", "x")).await.unwrap(), "none.hl7");
}

#[tokio::test]
async fn one_behind_the_other() {
    let folder = Folder::new();
    let to = folder
        .opened(json!({ "name": "day.csv", "append": true, "separator": "\r\n" }))
        .await;
    for (delivery, body) in [(1, "one"), (2, "two"), (2, "two"), (1, "one"), (3, "two")] {
        assert_eq!(send(&to, message(delivery, "", body)).await.unwrap(), "day.csv");
    }
    assert_eq!(
        fs::read_to_string(folder.path("day.csv")).unwrap(),
        "one\r\ntwo\r\ntwo\r\n"
    );
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back() {
    let folder = Folder::new();
    for more in [json!({}), json!({ "name": "all", "append": true })] {
        let to = folder.opened(more).await;
        let away = folder.home.path().join("away");
        fs::rename(folder.path(""), &away).unwrap();
        let retry = told(send(&to, message(1, "A", "one")).await);
        assert!(
            retry.starts_with("retry: Can't write to ") && retry.contains("No such file"),
            "{retry}"
        );
        assert!(to.probe().await.is_err());
        fs::rename(&away, folder.path("")).unwrap();
        send(&to, message(1, "A", "one")).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_settings() {
    let connector = connectors::all().get("file").unwrap();
    let problems = |settings: Value| connector.check_destination(&settings);
    assert_eq!(
        paths(&problems(json!({ "folder": "", "name": "{" }))),
        ["name", "folder"]
    );
    assert_eq!(
        paths(&problems(json!({ "folder": "x", "name": "a/{id}" }))),
        ["name"]
    );
    assert_eq!(
        paths(&problems(
            json!({ "folder": "x", "name": "a", "append": true, "exists": "number" })
        )),
        ["exists"]
    );
    assert_eq!(
        paths(&problems(json!({ "folder": "x", "name": "a", "separator": "" }))),
        ["separator"]
    );
    let named = connector.message_paths(&json!({ "folder": "x", "name": "{MSH-10}-{id}-{PID-3.1|x}" }));
    assert_eq!(
        named,
        [
            ("name".to_owned(), "MSH-10".to_owned()),
            ("name".to_owned(), "PID-3.1".to_owned())
        ]
    );
    let home = tempfile::tempdir().unwrap();
    let surroundings = Surroundings {
        folder: home.path().to_owned(),
        ..Surroundings::default()
    };
    let settings = json!({ "folder": "nowhere", "name": "a" });
    let error = connector
        .open_destination(&settings, &surroundings)
        .await
        .err()
        .unwrap();
    assert!(error.what.contains("nowhere can't be read"), "{error}");
}
