//! Which patient a pseudonym stands for.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::command::client::Client;
use crate::command::print;
use crate::home::Home;
use crate::journal;
use crate::pseudonyms::{self, Asked};

/// `punte dicom who`
#[derive(clap::Args)]
pub struct Who {
    /// PatientID or StudyInstanceUID of an object without its patient
    pseudonym: String,
    /// The project of the step `deidentify`
    #[arg(long)]
    project: String,
    /// Why it is asked; it stands in the journal
    #[arg(long)]
    reason: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(home: &Home, who: &Who) -> anyhow::Result<ExitCode> {
    let asked = Asked {
        project: who.project.clone(),
        pseudonym: who.pseudonym.clone(),
        reason: who.reason.clone(),
    };
    let value = match Client::find(home).await? {
        Some(client) => {
            let body =
                json!({ "project": asked.project, "pseudonym": asked.pseudonym, "reason": asked.reason });
            client
                .post_patiently("/admin/reidentify", body.to_string().into_bytes())
                .await?
        }
        None => {
            let store = home.open_store(false).await?;
            let told = pseudonyms::told(store.as_ref(), journal::owner(), &asked).await?;
            store.close().await?;
            told.map_err(|what| anyhow!(what))?
        }
    };
    let patients = value["patients"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if who.json {
        print(&format!("{value:#}\n"));
    } else if patients.is_empty() {
        print(&format!(
            "Nobody whom this clinic knows is {} in {}. Is it the right project, and was the object made here?\n",
            asked.pseudonym, asked.project
        ));
    }
    for patient in patients.iter().filter(|_| !who.json) {
        print(&line(patient));
    }
    Ok(if patients.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(patient: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = &patient["names"][0];
    let given: Vec<String> = name["given"].as_array().into_iter().flatten().map(text).collect();
    let numbers: Vec<String> = patient["identifiers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|number| text(&number["value"]))
        .collect();
    format!(
        "{} {}, born {}, {}, Patient/{}\n",
        text(&name["family"]),
        given.join(" "),
        text(&patient["birth_date"]),
        numbers.join(", "),
        text(&patient["id"]),
    )
}
