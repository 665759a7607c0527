//! The master key and the store.

use engine::store::{MasterKey, SqliteStore};

use super::{Level, Line};
use crate::home::{Home, Settings};
use crate::master::KeyPlace;

/// What is odd about a master key that is there, for the log of a start.
pub fn key_at_start(home: &Home, settings: &Settings) -> Option<Line> {
    let is_there = matches!(home.key_place(settings), Ok(KeyPlace::File(path)) if path.exists());
    let line = is_there.then(|| key(home, settings))?;
    (line.level != Level::Ok).then_some(line)
}

/// Where the master key lies, and who can read it.
pub fn key(home: &Home, settings: &Settings) -> Line {
    let path = match home.key_place(settings) {
        Ok(KeyPlace::File(path)) => path,
        Ok(place @ (KeyPlace::Variable | KeyPlace::Command(_))) => {
            return match home.master_key(settings, false) {
                Ok(_) => Line::ok("key", format!("{place}. Is there a copy in a safe place?")),
                Err(error) => Line::problem("key", format!("{error:#}"), "give the key that you kept"),
            };
        }
        Err(error) => return Line::problem("key", format!("{error:#}"), "name its place"),
    };
    let shown = path.display();
    if !path.exists() {
        return match home.needs_a_store() {
            Ok(()) => Line::problem(
                "key",
                format!("there is no master key in {shown}, and the store can't be read without it"),
                "put the copy you kept there, or name its place with PUNTE_KEY_FILE",
            ),
            Err(_) => Line::ok("key", format!("none yet; punte serve makes one in {shown}")),
        };
    }
    if home.is_inside(&path) {
        return Line::problem(
            "key",
            format!("the master key {shown} lies inside the home folder"),
            "move it elsewhere: whoever takes the folder has the key too",
        );
    }
    if let Err(error) = MasterKey::from_file(&path) {
        return Line::problem("key", error.to_string(), "put the copy you kept there");
    }
    #[cfg(unix)]
    if let Ok(found) = std::fs::metadata(&path) {
        use std::os::unix::fs::PermissionsExt;
        let others = found.permissions().mode() & 0o077;
        if others != 0 {
            return Line::warning(
                "key",
                format!("others on this machine may read the master key {shown}"),
                format!("chmod 600 {shown}"),
            );
        }
    }
    Line::ok(
        "key",
        format!("{shown}, readable by its owner only. Is there a copy in a safe place?"),
    )
}

/// Whether the store is one that this program, with this key, can open. Nothing of it is changed.
pub fn store(home: &Home, settings: &Settings) -> Line {
    if home.needs_a_store().is_err() {
        return Line::ok("store", "none yet; punte serve makes one");
    }
    let key = match home.master_key(settings, false) {
        Ok(key) => key,
        Err(error) => {
            return Line::problem(
                "store",
                format!("it can't be looked into: {error:#}"),
                "see the line about the key",
            );
        }
    };
    match SqliteStore::look(&home.data(), &key, settings.clinic) {
        Ok(Some(clinic)) => Line::ok(
            "store",
            format!("the store of the clinic {clinic}, which this program can open"),
        ),
        Ok(None) => Line::ok("store", "an empty one"),
        Err(error) => Line::problem(
            "store",
            error.to_string(),
            "punte serve refuses it as well; the line says what it needs",
        ),
    }
}
