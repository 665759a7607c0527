//! The chart of one patient, asked over the FHIR interface as any client would, and whether it is right.

use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use crate::command::serve::Started;
use crate::demo::day::NEW_NUMBER;
use crate::demo::imaging::IMAGES;

/// What the chart shows.
pub struct Chart {
    /// For people.
    pub text: String,
    /// What is not as the day made it, a sentence each.
    pub wrong: Vec<String>,
}

/// The chart of the patient with this CNP.
pub async fn of(started: &Started, cnp: &str) -> anyhow::Result<Chart> {
    let ask = Ask {
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?,
        started,
    };
    let mut wrong = vec![];
    let patients = ask.search(&format!("Patient?identifier={cnp}")).await?;
    let Some(patient) = patients.first() else {
        return Ok(Chart {
            text: "  nobody\n".into(),
            wrong: vec!["the chart: nobody is found by the CNP".into()],
        });
    };
    if patients.len() != 1 {
        wrong.push(format!("the chart: {} patients have one CNP", patients.len()));
    }
    let id = text_at(patient, "/id");
    let mut text = format!(
        "  {} {}, born {}, mobile {}\n",
        text_at(patient, "/name/0/given/0"),
        text_at(patient, "/name/0/family"),
        text_at(patient, "/birthDate"),
        phones(patient)
    );
    if !phones(patient).contains(NEW_NUMBER) {
        wrong.push("the chart: the new number is not there".into());
    }
    let encounters = ask.search(&format!("Encounter?patient={id}")).await?;
    for encounter in &encounters {
        text.push_str(&format!(
            "  visit {} {}\n",
            text_at(encounter, "/identifier/0/value"),
            text_at(encounter, "/status")
        ));
    }
    if !encounters
        .iter()
        .any(|encounter| text_at(encounter, "/status") == "finished")
    {
        wrong.push("the chart: the visit is not finished".into());
    }
    let orders = ask.search(&format!("ServiceRequest?patient={id}")).await?;
    for order in &orders {
        text.push_str(&format!(
            "  order {} {}\n",
            name(order),
            text_at(order, "/status")
        ));
    }
    if orders.len() != 2 {
        wrong.push(format!("the chart: {} orders where there are two", orders.len()));
    }
    if !orders
        .iter()
        .any(|order| text_at(order, "/status") == "completed")
    {
        wrong.push("the chart: the CT is not done".into());
    }
    let studies = ask.search(&format!("ImagingStudy?patient={id}")).await?;
    for study in &studies {
        text.push_str(&format!(
            "  study {} {}, {} images\n",
            text_at(study, "/description"),
            text_at(study, "/status"),
            study["numberOfInstances"]
        ));
    }
    let images: Vec<Option<u64>> = studies
        .iter()
        .map(|study| study["numberOfInstances"].as_u64())
        .collect();
    if images != [u64::try_from(IMAGES).ok()] {
        wrong.push(format!(
            "the chart: {} studies, where one of {IMAGES} images was made",
            studies.len()
        ));
    }
    for report in ask.search(&format!("DiagnosticReport?patient={id}")).await? {
        text.push_str(&format!(
            "  report {} {}\n",
            name(&report),
            text_at(&report, "/status")
        ));
    }
    let observations = ask.search(&format!("Observation?patient={id}")).await?;
    for observation in &observations {
        let value = &observation["valueQuantity"]["value"];
        text.push_str(&format!(
            "  {} {value} {} ({}, version {})\n",
            name(observation),
            text_at(observation, "/valueQuantity/unit"),
            text_at(observation, "/status"),
            text_at(observation, "/meta/versionId")
        ));
    }
    let cholesterol = observations
        .iter()
        .find(|o| text_at(o, "/code/coding/0/code") == "2093-3");
    match cholesterol {
        Some(found) if found["valueQuantity"]["value"] == 234 && text_at(found, "/status") == "corrected" => {
        }
        Some(_) => wrong.push("the chart: the correction of the cholesterol is not there".into()),
        None => wrong.push("the chart: there is no cholesterol".into()),
    }
    let twins = ask.search("Patient?family=tiru").await?;
    if twins.iter().filter(|twin| twin["active"] != false).count() != 1 {
        wrong.push("the chart: the two records of one person were not merged".into());
    }
    Ok(Chart { text, wrong })
}

fn phones(patient: &Value) -> String {
    let all: Vec<&str> = patient["telecom"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| text_at(t, "/value"))
        .collect();
    all.join(", ").replace(' ', "")
}

fn name(resource: &Value) -> &str {
    let text = text_at(resource, "/code/text");
    if text.is_empty() {
        text_at(resource, "/code/coding/0/display")
    } else {
        text
    }
}

/// How many messages wait for a person's decision, by the channel.
pub async fn parked(started: &Started, channel: &str) -> anyhow::Result<usize> {
    let url = format!("http://{}/admin/parked", started.http);
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let answer = http
        .get(url)
        .bearer_auth(&started.key)
        .send()
        .await?
        .error_for_status()?;
    let told: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let parked = told["parked"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(parked
        .iter()
        .filter(|message| message["channel"] == channel)
        .count())
}

struct Ask<'a> {
    http: reqwest::Client,
    started: &'a Started,
}

impl Ask<'_> {
    async fn search(&self, query: &str) -> anyhow::Result<Vec<Value>> {
        let url = format!("http://{}/fhir/{query}", self.started.http);
        let answer = self.http.get(url).bearer_auth(&self.started.key).send().await?;
        let status = answer.status();
        let bundle: Value = serde_json::from_slice(&answer.bytes().await?)?;
        if !status.is_success() {
            bail!("the FHIR interface answered {status}");
        }
        Ok(bundle["entry"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| entry["resource"].clone())
            .collect())
    }
}

/// Something of a resource as text, or nothing.
fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
