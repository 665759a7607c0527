//! What the tests of DICOM have in common.

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dimse::{AeTitle, uids};
use engine::connector::{Accept, Acknowledgement, Outcome};
use engine::message::Incoming;

use crate::within;

/// CT image storage.
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Secondary capture image storage.
pub const SECONDARY: &str = "1.2.840.10008.5.1.4.1.1.7";

pub fn ae(title: &str) -> AeTitle {
    title.parse().unwrap()
}

/// An engine that answers what the test says.
#[derive(Default)]
pub struct Clinic {
    taken: Mutex<Vec<Incoming>>,
    pub asked: Mutex<Vec<Incoming>>,
    /// Length and reason of what was kept and could not be a message.
    pub kept: Mutex<Vec<(usize, String)>>,
    pub outcome: Mutex<Outcome>,
    /// Storing takes this long.
    pub slow: Mutex<Duration>,
    pub under_way: AtomicUsize,
    frames: Mutex<Vec<Vec<u8>>>,
}

impl Clinic {
    /// From now on.
    pub fn says(&self, frames: &[&str]) {
        *self.frames.lock().unwrap() = frames.iter().map(|frame| frame.as_bytes().to_vec()).collect();
    }

    pub fn taken(&self) -> Vec<Incoming> {
        self.taken.lock().unwrap().clone()
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement {
            frames: self.frames.lock().unwrap().clone(),
            outcome: *self.outcome.lock().unwrap(),
            ..Acknowledgement::default()
        }
    }
}

#[async_trait]
impl Accept for Clinic {
    async fn accept(&self, incoming: Incoming) -> Acknowledgement {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let slow = *self.slow.lock().unwrap();
        tokio::time::sleep(slow).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.taken.lock().unwrap().push(incoming);
        self.acknowledgement()
    }

    async fn ask(&self, question: Incoming) -> Acknowledgement {
        self.asked.lock().unwrap().push(question);
        self.acknowledgement()
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        self.kept.lock().unwrap().push((kept.body.len(), why));
        self.acknowledgement()
    }
}

/// Runs a program of DCMTK, which has to succeed. Without Nagle's algorithm: with it each answer waits 40 ms.
pub async fn dcmtk(mut command: Command) -> Output {
    let program = format!("{:?}", command.get_program());
    command.env("TCP_NODELAY", "1");
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = within(30, running)
        .await
        .unwrap()
        .unwrap_or_else(|error| panic!("{program}: {error}. Install it with: apt-get install dcmtk"));
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&said)
    );
    output
}

/// An object as a file (PS3.10): explicit little endian, with some pixels.
pub fn file(class: &str, instance: &str, pixels: usize) -> Vec<u8> {
    let meta = connectors::dicom::part10::Meta {
        class: class.to_owned(),
        instance: instance.to_owned(),
        syntax: uids::EXPLICIT_LITTLE.to_owned(),
        command: None,
    };
    let mut file = connectors::dicom::part10::head(&meta, &ae("TEST"), &ae("TEST"));
    for (group, element, vr, value) in [
        (8_u16, 0x16_u16, "UI", class.as_bytes()),
        (8, 0x18, "UI", instance.as_bytes()),
        (0x10, 0x10, "PN", b"Test^Object"),
        (0x10, 0x20, "LO", b"1"),
        (0x20, 0x0d, "UI", b"2.25.9"),
        (0x20, 0x0e, "UI", b"2.25.8"),
        (0x7fe0, 0x10, "OW", &vec![7; pixels]),
    ] {
        file.extend(group.to_le_bytes());
        file.extend(element.to_le_bytes());
        file.extend(vr.bytes());
        let padded = value.len() + value.len() % 2;
        match vr {
            "OW" => file.extend([&[0; 2], &(padded as u32).to_le_bytes()[..]].concat()),
            _ => file.extend((padded as u16).to_le_bytes()),
        }
        file.extend(value);
        file.resize(file.len() + value.len() % 2, if vr == "UI" { 0 } else { b' ' });
    }
    file
}

/// The data set of a file: after group 2.
pub fn data_set(file: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
    &file[144 + length..]
}
