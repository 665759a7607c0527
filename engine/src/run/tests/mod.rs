//! The engine over a real store, with a small format and ends that tests hold in their hands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod archive;
mod bell;
mod course;
mod decide;
mod events;
mod fake;
mod keyed;
mod links;
mod panics;
mod parts;
mod pieces;
mod responses;
mod states;
mod unsure;
mod windows;
mod worklist;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use self::fake::{Counted, Ends, FakeEnd, Text};
use super::{Engine, Parts, World};
use crate::channel::{Channel, Checked, check};
use crate::connector::{Acknowledgement, Connectors};
use crate::format::Formats;
use crate::message::{Incoming, MessageDetail, MessageRow};
use crate::script::NoScripts;
use crate::store::{MasterKey, MessageFilter, SqliteOptions, SqliteStore};

/// A store that outlives engines, and what is at the ends of their channels.
pub(super) struct Place {
    folder: tempfile::TempDir,
    key: MasterKey,
    ends: Arc<Ends>,
}

/// A running engine.
pub(super) struct Running {
    pub engine: Arc<Engine>,
    ends: Arc<Ends>,
}

impl Place {
    pub fn new() -> Self {
        Place {
            folder: tempfile::tempdir().unwrap(),
            key: MasterKey::generate().unwrap(),
            ends: Arc::default(),
        }
    }

    pub fn checked(&self, files: &[&str]) -> Checked {
        let files: Vec<(PathBuf, String)> = files
            .iter()
            .enumerate()
            .map(|(n, text)| (PathBuf::from(format!("channels/{n}.toml")), (*text).to_owned()))
            .collect();
        let nothing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        check(&files, &formats(), &self.connectors(), &nothing, &NoScripts)
    }

    /// The channels of these files, which must be right.
    pub fn channels(&self, files: &[&str]) -> Vec<Channel> {
        self.checked(files)
            .into_result()
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn connectors(&self) -> Connectors {
        Connectors::default().with(FakeEnd {
            ends: self.ends.clone(),
        })
    }

    pub async fn open_store(&self) -> Arc<SqliteStore> {
        SqliteStore::open(self.folder.path(), &self.key, SqliteOptions::default())
            .await
            .unwrap()
    }

    pub async fn start(&self, channels: Vec<Channel>) -> Running {
        let store = self.open_store().await;
        let parts = Parts {
            channels,
            formats: formats(),
            connectors: self.connectors(),
            store,
            world: World {
                now: {
                    let ends = self.ends.clone();
                    Arc::new(move || ends.clock.now())
                },
                new_id: Arc::new(Uuid::now_v7),
            },
            keep: Default::default(),
        };
        Running {
            engine: Engine::start(parts).await.unwrap(),
            ends: self.ends.clone(),
        }
    }
}

fn formats() -> Formats {
    Formats::default()
        .with(Text { name: "text" })
        .with(Text { name: "anything" })
        .with(Text { name: "clinic" })
        .with(Text { name: "heads" })
        .with(Text { name: "courses" })
        .with_splitter(Counted)
}

impl Running {
    /// Hands a message to the source of that name.
    pub async fn send(&self, source: &str, text: &str) -> Acknowledgement {
        let intake = eventually(async || self.ends.intake(source)).await;
        intake
            .accept(Incoming {
                body: Bytes::copy_from_slice(text.as_bytes()),
                big: None,
                content_type: "text/plain".into(),
                headers: vec![("file".into(), "day.txt".into())],
                identity: None,
                received_at: Timestamp::now(),
            })
            .await
    }

    /// The messages of a channel, the first one first.
    pub async fn messages(&self, channel: &str) -> Vec<MessageRow> {
        let filter = MessageFilter {
            channel: Some(channel.into()),
            limit: 5000,
            ..MessageFilter::default()
        };
        let mut rows = self.engine.store().messages(&filter).await.unwrap();
        rows.reverse();
        rows
    }

    /// The messages of a channel once there are so many.
    pub async fn messages_of(&self, channel: &str, count: usize) -> Vec<MessageRow> {
        eventually(async || {
            let rows = self.messages(channel).await;
            (count <= rows.len()).then_some(rows)
        })
        .await
    }

    pub async fn detail(&self, id: Uuid) -> MessageDetail {
        self.engine.store().message(id).await.unwrap().unwrap()
    }
}

/// Waits for a condition.
pub(super) async fn eventually<T>(mut is_so: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(it) = is_so().await {
            return it;
        }
        assert!(Instant::now() < until, "it did not become so within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
