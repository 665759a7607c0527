//! `punte send`: the messages of a file to a listener over MLLP.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use engine::connector::{About, Outgoing, SendError, Surroundings};
use mappings::hl7v2::{self, Message};

use super::{print, read_input};
use crate::render;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  punte send samples/hl7v2/adt-a04-register-minimal.hl7 127.0.0.1:2575\n  punte send day.hl7 ris.example:2576 --tls --ca ca.pem --cert ours.pem --key ours.key\n\nExit codes: 0 each answer is AA or CA, 1 one is not or there is none."
)]
pub struct Args {
    /// The messages, a file or `-`
    file: PathBuf,
    /// Where to
    #[arg(value_name = "HOST:PORT")]
    to: String,
    /// How long to wait for each answer
    #[arg(long, default_value = "30s")]
    timeout: String,
    /// By TLS; the far side's certificate is checked by the roots of the operating system unless --ca is said
    #[arg(long)]
    tls: bool,
    /// A PEM file: one of these must have signed the far side's certificate, or be it
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// The certificate to show where the far side asks for one, a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// Its private key, a PEM file without a password
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name in the far side's certificate, where it is not the host that is connected to
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
}

impl Args {
    /// `tls` as a destination has it.
    fn tls(&self) -> serde_json::Value {
        if !self.tls {
            return false.into();
        }
        let mut table = serde_json::Map::new();
        let files = [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)];
        for (name, file) in files {
            table.extend(
                file.iter()
                    .map(|file| (name.to_owned(), file.display().to_string().into())),
            );
        }
        let name = self.server_name.iter();
        table.extend(name.map(|name| ("name".to_owned(), name.clone().into())));
        table.into()
    }
}

/// Sends each message and prints its answer; exit code 1 where one is not AA or CA.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let timeout: Duration = engine::channel::duration::parse(&args.timeout)
        .map_err(|error| anyhow::anyhow!("--timeout {:?}: {error}", args.timeout))?;
    let input = read_input(&args.file)?;
    let file = hl7v2::batch::take_apart(&input, &Default::default())?;
    if file.messages.is_empty() {
        bail!("there is no HL7 message in {}", args.file.display());
    }
    let connectors = connectors::all();
    let mllp = connectors
        .get("mllp")
        .context("this program has no mllp connector")?;
    let settings = serde_json::json!({
        "connect": args.to,
        "reply_timeout": format!("{}ms", timeout.as_millis()),
        "tls": args.tls(),
    });
    let surroundings = Surroundings::default();
    let mut problems = mllp.check_destination(&settings);
    if problems.is_empty() {
        problems = mllp.look_at_destination(&settings, &surroundings).problems;
    }
    if let Some(problem) = problems.first() {
        bail!("{}: {}", option_of(&problem.path), problem.what);
    }
    let destination = mllp.open_destination(&settings, &surroundings).await?;
    let mut right = true;
    for (idx, part) in file.messages.iter().enumerate() {
        let body = bytes::Bytes::copy_from_slice(&part.bytes);
        let outgoing = Outgoing {
            delivery: idx as i64,
            body: body.clone(),
            big: None,
            content_type: String::new(),
            about: About::default(),
        };
        let mine = |candidate: &[u8]| hl7v2::is_answer_to(&body, candidate);
        match destination.send(&outgoing, &mine).await {
            Ok(answer) => {
                print(&format!(
                    "{}\n",
                    render::lines(&String::from_utf8_lossy(&answer.body)).trim_end()
                ));
                right &= is_positive(&answer.body);
            }
            Err(error) => {
                right = false;
                let (SendError::Retry { why, .. }
                | SendError::Refused { why }
                | SendError::Unsure { why }
                | SendError::BrokenOff { why, .. }) = error;
                eprintln!("{}:{} {}", args.file.display(), part.line, render::line(&why));
            }
        }
    }
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a setting of the destination is called here.
fn option_of(path: &str) -> &str {
    match path {
        "connect" => "HOST:PORT",
        "reply_timeout" => "--timeout",
        "tls.ca" => "--ca",
        "tls.cert" => "--cert",
        "tls.key" => "--key",
        "tls.name" => "--server-name",
        "tls" => "--tls",
        _ => path,
    }
}

/// AA or CA.
fn is_positive(answer: &[u8]) -> bool {
    let Ok(message) = Message::read(answer) else {
        return false;
    };
    let Ok(path) = "MSA-1".parse() else { return false };
    ["AA", "CA"]
        .iter()
        .any(|code| hl7v2::any_is(&message, &path, code))
}
