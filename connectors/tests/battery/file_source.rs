//! Folders into which files are put, well and not so well.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::connector::{Accept, EndSettings, Outcome, Stop, Surroundings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{Engine, paths, until, within};

/// A folder that is read: quickly, unless said otherwise.
struct Folder {
    home: TempDir,
    settings: Value,
}

struct Reading {
    stop: Stop,
    task: JoinHandle<()>,
}

impl Folder {
    fn new(more: Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("in")).unwrap();
        let mut settings = json!({ "folder": "in", "stable": "0s", "every": "5ms" });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Folder { home, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("in").join(name)
    }

    /// Puts a file there whole, as a careful sender does.
    fn put(&self, name: &str, body: &[u8]) {
        let hidden = self.path(&format!(".{name}"));
        fs::write(&hidden, body).unwrap();
        fs::rename(hidden, self.path(name)).unwrap();
    }

    /// The names in one of its folders, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return vec![];
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    async fn opened(&self, engine: &Arc<Engine>) -> Reading {
        let connector = connectors::all().get("file").unwrap();
        assert_eq!(connector.check_source(&self.settings), []);
        let surroundings = Surroundings {
            folder: self.home.path().to_owned(),
            ..Surroundings::default()
        };
        let source = connector
            .open_source(&self.settings, &surroundings)
            .await
            .unwrap();
        let stop = Stop::new();
        let intake: Arc<dyn Accept> = engine.clone();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { source.run(intake, stop).await.unwrap() }
        });
        Reading { stop, task }
    }
}

impl Reading {
    async fn stopped(self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        within(3, self.task).await.unwrap();
        begun.elapsed()
    }
}

#[tokio::test]
async fn each_file_is_taken_once_in_its_order_and_moved() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({ "pattern": ["*.hl7", "*.csv"] }));
    for (name, body) in [
        ("b.hl7", "two"),
        ("a.hl7", "one"),
        ("c.csv", "three"),
        ("d.tmp", "no"),
        (".e.hl7", "no"),
    ] {
        fs::write(folder.path(name), body).unwrap();
    }
    fs::create_dir(folder.path("sub.hl7")).unwrap();
    fs::write(folder.path("sub.hl7/f.hl7"), "no").unwrap();
    let reading = folder.opened(&engine).await;
    until("three are done", || folder.names("done").len() == 3).await;
    assert_eq!(engine.bodies(), ["one", "two", "three"]);
    assert_eq!(folder.names("done"), ["a.hl7", "b.hl7", "c.csv"]);
    assert_eq!(folder.read("done/b.hl7"), "two");
    assert_eq!(
        folder.names("."),
        [".e.hl7", "d.tmp", "done", "failed", "sub.hl7"]
    );
    {
        let taken = engine.taken.lock().unwrap();
        assert_eq!(taken[0].headers[0], ("file".to_owned(), "a.hl7".to_owned()));
        assert_eq!(taken[0].headers[1].0, "modified");
        assert_eq!(taken[0].content_type, "application/hl7-v2");
        assert_eq!(taken[2].content_type, "text/csv");
    }
    // The same name comes again, and again: nothing that is done is overwritten.
    for body in ["two again", "and again"] {
        folder.put("b.hl7", body.as_bytes());
        until("taken", || {
            engine.bodies().last().is_some_and(|last| last == body)
        })
        .await;
        until("moved", || !folder.path("b.hl7").exists()).await;
    }
    assert_eq!(
        folder.names("done"),
        ["a.hl7", "b-2.hl7", "b-3.hl7", "b.hl7", "c.csv"]
    );
    assert_eq!(folder.read("done/b-3.hl7"), "and again");
    assert_eq!(engine.kept(), []);
    assert!(reading.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_file_that_is_being_written_waits() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({ "stable": "2s" }));
    let reading = folder.opened(&engine).await;
    let mut file = fs::File::create(folder.path("slow.hl7")).unwrap();
    let mut whole = String::new();
    for piece in 0..40 {
        let piece = format!("piece {piece}\r");
        file.write_all(piece.as_bytes()).unwrap();
        whole.push_str(&piece);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(file);
    until("done", || folder.names("done").len() == 1).await;
    assert_eq!(engine.bodies(), [whole]);
    reading.stopped().await;
}

#[tokio::test]
async fn what_is_not_stored_stays_and_keeps_its_place() {
    let engine = Arc::new(Engine::default());
    *engine.outcome.lock().unwrap() = Outcome::Unavailable;
    let folder = Folder::new(json!({ "after": "delete" }));
    folder.put("a", b"one");
    folder.put("b", b"two");
    let reading = folder.opened(&engine).await;
    until("tried again", || 3 <= engine.bodies().len()).await;
    assert_eq!(folder.names("."), ["a", "b", "failed"]);
    *engine.outcome.lock().unwrap() = Outcome::Stored;
    until("both are gone", || folder.names(".") == ["failed"]).await;
    let bodies = engine.bodies();
    let (tries, last) = bodies.split_at(bodies.len() - 1);
    assert!(tries.iter().all(|body| body == "one"), "{bodies:?}");
    assert_eq!(last, ["two"]);
    // Each try is known as the same; the name with another time or content is another.
    let identity = |at: usize| engine.taken.lock().unwrap()[at].identity.clone().unwrap();
    assert_eq!(identity(0), identity(1));
    assert_ne!(identity(0), identity(bodies.len() - 1));
    folder.put("a", b"one");
    until("taken", || engine.bodies().len() == bodies.len() + 1).await;
    assert_ne!(identity(0), identity(bodies.len()));
    reading.stopped().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_set_aside_with_its_reason() {
    let engine = Arc::new(Engine::default());
    *engine.outcome.lock().unwrap() = Outcome::Failed;
    let folder = Folder::new(json!({}));
    folder.put("a.hl7", b"nonsense");
    let reading = folder.opened(&engine).await;
    until("set aside", || folder.names("failed").len() == 2).await;
    assert_eq!(folder.names("failed"), ["a.hl7", "a.hl7.reason.txt"]);
    assert_eq!(folder.read("failed/a.hl7.reason.txt"), "As the test wants it.\n");
    assert_eq!(folder.names("done"), [""; 0]);
    assert_eq!(engine.bodies(), ["nonsense"]);
    reading.stopped().await;
}

#[tokio::test]
async fn bad_files_are_kept_and_set_aside_and_the_others_go_on() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({ "max_size": "1 MB" }));
    folder.put("empty", b"");
    folder.put("just right", &vec![b'x'; 1024 * 1024]);
    let huge = fs::File::create(folder.path(".huge")).unwrap();
    huge.set_len(2 << 30).unwrap();
    fs::rename(folder.path(".huge"), folder.path("huge")).unwrap();
    let secret = folder.home.path().join("secret");
    fs::write(&secret, "not for everybody").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::os::unix::fs::symlink(&secret, folder.path("link")).unwrap();
        std::os::unix::fs::symlink(folder.path("nowhere"), folder.path("dangling")).unwrap();
        fs::write(
            folder.path("").join(std::ffi::OsStr::from_bytes(b"caf\xE9")),
            "latin",
        )
        .unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path("pipe"))
            .status()
            .unwrap();
        assert!(made.success());
    }
    let reading = folder.opened(&engine).await;
    until("two are set aside", || folder.names("failed").len() == 4).await;
    until("the others are done", || folder.names("done").len() == 2).await;
    assert_eq!(
        folder.names("failed"),
        ["empty", "empty.reason.txt", "huge", "huge.reason.txt"]
    );
    assert!(
        folder
            .read("failed/empty.reason.txt")
            .starts_with("The file is empty.")
    );
    assert!(
        folder
            .read("failed/huge.reason.txt")
            .contains("2147483648 bytes, over the limit of 1048576")
    );
    assert_eq!(fs::metadata(folder.path("failed/huge")).unwrap().len(), 2 << 30);
    let lengths: Vec<usize> = engine.kept().iter().map(|(length, _)| *length).collect();
    assert_eq!(lengths, [0, 256 * 1024]);
    assert_eq!(engine.bodies()[0], "latin");
    assert_eq!(engine.bodies()[1].len(), 1024 * 1024);
    assert_eq!(engine.taken.lock().unwrap()[0].headers[0].1, "caf\u{FFFD}");
    // Links are not followed, whatever they lead to, and stay where they are.
    assert_eq!(folder.names("."), ["dangling", "done", "failed", "link", "pipe"]);
    assert!(secret.exists());
    reading.stopped().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_away_is_not_read_again() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({}));
    let reading = folder.opened(&engine).await;
    fs::remove_dir(folder.path("done")).unwrap();
    fs::write(folder.path(".obstacle"), "").unwrap();
    fs::rename(folder.path(".obstacle"), folder.path("done")).unwrap();
    // The obstacle itself is a file of the folder: it is empty, so it is set aside, and the way is free again.
    folder.put("a", b"one");
    until("moved", || folder.names("done") == ["a"]).await;
    assert_eq!(engine.bodies(), ["one"]);
    reading.stopped().await;
}

#[tokio::test]
async fn stopped_while_the_store_is_slow() {
    let engine = Engine::slow(Duration::from_secs(60));
    let folder = Folder::new(json!({}));
    folder.put("a", b"one");
    let reading = folder.opened(&engine).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(reading.stopped().await < Duration::from_secs(1));
    assert_eq!(folder.names("."), ["a", "done", "failed"]);
    // The next start takes it.
    *engine.slow.lock().unwrap() = Duration::from_millis(20);
    let reading = folder.opened(&engine).await;
    until("done", || folder.names("done") == ["a"]).await;
    assert_eq!(engine.bodies(), ["one"]);
    reading.stopped().await;
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({}));
    let reading = folder.opened(&engine).await;
    let away = folder.home.path().join("away");
    fs::rename(folder.path(""), &away).unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    fs::rename(&away, folder.path("")).unwrap();
    folder.put("a", b"one");
    until("done", || folder.names("done") == ["a"]).await;
    assert!(reading.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn many_files_in_the_order_of_their_times() {
    let engine = Arc::new(Engine::default());
    let folder = Folder::new(json!({ "order": "modified" }));
    let start = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    for number in 0..200_u64 {
        let path = folder.path(&format!("{:03}", 999 - number));
        let file = fs::File::create(&path).unwrap();
        (&file).write_all(number.to_string().as_bytes()).unwrap();
        file.set_modified(start + Duration::from_secs(number)).unwrap();
    }
    let reading = folder.opened(&engine).await;
    until("all are done", || folder.names("done").len() == 200).await;
    let expected: Vec<String> = (0..200).map(|number: u64| number.to_string()).collect();
    assert_eq!(engine.bodies(), expected);
    reading.stopped().await;
}

#[tokio::test]
async fn wrong_settings() {
    let connector = connectors::all().get("file").unwrap();
    let problems = |settings: Value| connector.check_source(&settings);
    assert_eq!(problems(json!({ "folder": "in" })), []);
    assert_eq!(
        problems(json!({ "folder": "in", "after": { "move": "/elsewhere" }, "stable": "0s" })),
        []
    );
    let wrong = problems(json!({
        "folder": "in", "pattern": ["a/*", ""], "stable": "2 sec", "every": "0s",
        "after": { "move": "x/.." }, "failed": ".", "max_size": "2 GB"
    }));
    assert_eq!(
        paths(&wrong),
        [
            "pattern[0]",
            "pattern[1]",
            "after.move",
            "failed",
            "stable",
            "every",
            "max_size"
        ]
    );
    assert_eq!(
        paths(&problems(json!({ "folder": " ", "pattern": [] }))),
        ["folder", "pattern"]
    );
    let home = tempfile::tempdir().unwrap();
    let surroundings = Surroundings {
        folder: home.path().to_owned(),
        ..Surroundings::default()
    };
    let error = connector
        .open_source(&json!({ "folder": "nowhere" }), &surroundings)
        .await
        .err()
        .unwrap();
    assert!(
        error.what.contains("nowhere can't be read") && error.what.contains("Make it"),
        "{error}"
    );
}

#[test]
fn ends_that_cannot_both_work() {
    let connector = connectors::all().get("file").unwrap();
    let clash = |this: (bool, &str, Value), other: (bool, &str, Value)| {
        let end = |end: &(bool, &str, Value)| (end.0, PathBuf::from(end.1), end.2.clone());
        let ((a, file_a, settings_a), (b, file_b, settings_b)) = (end(&this), end(&other));
        let this = EndSettings {
            is_source: a,
            settings: &settings_a,
            file: Path::new(&file_a),
        };
        let other = EndSettings {
            is_source: b,
            settings: &settings_b,
            file: Path::new(&file_b),
        };
        connector.clash(this, other).map(|problem| problem.path)
    };
    let reads = |folder: &str, pattern: &str| json!({ "folder": folder, "pattern": pattern });
    let writes = |name: &str, append: bool| json!({ "folder": "../in", "name": name, "append": append });
    let (a, b) = ("channels/a.toml", "channels/b.toml");
    let folder = Some("folder".to_owned());
    assert_eq!(
        clash(
            (true, a, reads("../in", "*.hl7")),
            (true, b, reads("./../in/", "lab*"))
        ),
        folder
    );
    assert_eq!(
        clash(
            (true, a, reads("../in", "*.hl7")),
            (true, b, reads("../in", "*.csv"))
        ),
        None
    );
    assert_eq!(
        clash((true, a, reads("../in", "*")), (true, b, reads("../other", "*"))),
        None
    );
    assert_eq!(
        clash(
            (false, a, writes("{id}.hl7", false)),
            (true, a, reads("../in", "*.hl7"))
        ),
        folder
    );
    assert_eq!(
        clash(
            (false, a, writes("{id}.hl7", false)),
            (true, b, reads("../in", "*.hl7"))
        ),
        None
    );
    assert_eq!(
        clash(
            (false, a, writes("{id}.txt", false)),
            (true, a, reads("../in", "*.hl7"))
        ),
        None
    );
    assert_eq!(
        clash(
            (false, a, writes("{date}.csv", true)),
            (false, b, writes("{date}.csv", true))
        ),
        Some("name".to_owned())
    );
    assert_eq!(
        clash(
            (false, a, writes("{id}", false)),
            (false, b, writes("{id}", false))
        ),
        None
    );
}
