//! `punte ask`: a question to another system, by a destination of a channel.

use std::path::Path;
use std::process::ExitCode;

use super::client::{Client, path_word};
use super::{print, read_input};
use crate::home::Home;
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "A FHIR server is asked by a read or a search, an HL7 system by a message:\n\n  punte ask results registry 'Patient?identifier=P-1'\n  punte ask results lis - < question.hl7\n\nThe question is recorded with its answer, and noted in the journal.\n\nExit codes: 0 something was found, 1 nothing was found or there was no answer."
)]
pub struct Args {
    /// The channel
    channel: String,
    /// Its destination
    destination: String,
    /// The question, or `-` for standard input
    question: String,
    /// How long the answer may take
    #[arg(long, default_value = "5s")]
    within: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Asks. Exit code 1 where nothing was found.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let (channel, destination) = (path_word(&args.channel)?, path_word(&args.destination)?);
    let question = match args.question.as_str() {
        "-" => read_input(Path::new("-"))?,
        text => text.as_bytes().to_vec(),
    };
    let client = Client::needed(home, "a question").await?;
    let within = path_word(&args.within)?;
    let path = format!("/clinic/ask/{channel}/{destination}?within={within}");
    let value = client.post_patiently(&path, question).await?;
    if args.json {
        print(&format!("{value:#}\n"));
    } else {
        match value["answer"].as_str() {
            Some(text) => print(&format!("{}\n", render::lines(text).trim_end())),
            None => print(&format!("{:#}\n", value["answer"])),
        }
    }
    Ok(match value["found"].as_u64() {
        Some(0) => ExitCode::FAILURE,
        Some(_) | None => ExitCode::SUCCESS,
    })
}
