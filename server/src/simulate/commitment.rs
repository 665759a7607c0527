//! Storage commitment (PS3.4 annex J): who asks waits for the report, on the association that it asked by and, where it
//! listens, on another one.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use connectors::dicom::Caller;
use connectors::tls::Stream;
use dimse::pdu::Refusal;
use dimse::{Answers, Association, Message, Operation, Requested, Status, tags, uids};
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::part10::packing;
use mappings::dicom::write::{Out, Said};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use super::image::Made;
use super::modality::{associate, is_done, said};
use super::step::{at, items};
use super::{PLAIN, reference, text, uid, written};

/// The longest report that is read.
const LONGEST: usize = 4 << 20;

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of which request.
    pub transaction: String,
    /// How many objects are kept for good.
    pub committed: usize,
    /// How many are not, and the first reason.
    pub failed: (usize, Option<Status>),
    /// It came by an association that the other side opened.
    pub called_back: bool,
}

impl Report {
    fn read(data: &[u8], syntax: &str) -> anyhow::Result<Report> {
        let set = DataSet::read(data, packing(syntax).coding, Fallback::default())?;
        let failed = items(&set, "FailedSOPSequence");
        let reason = failed
            .first()
            .and_then(|item| at(item, "FailureReason").parse().ok());
        Ok(Report {
            transaction: at(&set, "TransactionUID"),
            committed: items(&set, "ReferencedSOPSequence").len(),
            failed: (failed.len(), reason.map(Status)),
            called_back: false,
        })
    }
}

/// Asks that objects are kept for good, and waits for the report.
pub async fn ask(
    caller: &Caller,
    class: &str,
    made: &[Made],
    listener: Option<&TcpListener>,
    patience: Duration,
) -> anyhow::Result<Report> {
    let (mut association, context) = associate(caller, uids::COMMITMENT).await?;
    let transaction = uid();
    let mut out = Out::default();
    text(&mut out, "TransactionUID", &transaction);
    let references = made.iter().map(|made| reference(class, &made.instance));
    out.put("ReferencedSOPSequence", Said::Items(references.collect()));
    let data = written(out, &context.syntax);
    let answer = association
        .n_action(&context, uids::COMMITMENT_INSTANCE, 1, &data)
        .await?;
    if !is_done(answer.status()) {
        bail!("storage commitment was refused: {}", said(answer.status()));
    }
    let deadline = Instant::now() + patience;
    let report = timeout_at(deadline, waited(association, listener, &transaction)).await;
    report.unwrap_or_else(|_| {
        let listens = match listener {
            Some(_) => "it listens; is its address known there?",
            None => "the report may come by an association of its own: let the device listen (--listen), and make its address known there",
        };
        Err(anyhow!("no report of storage commitment within {patience:?}; {listens}"))
    })
}

/// The report of a transaction, by whichever way it comes. Others are answered and left.
async fn waited(
    mut association: Association<Stream>,
    listener: Option<&TcpListener>,
    transaction: &str,
) -> anyhow::Result<Report> {
    let mut is_open = true;
    let mut calls = std::pin::pin!(called(listener));
    loop {
        let report = tokio::select! {
            message = association.receive(), if is_open => match message {
                Ok(message) => reported(&mut association, &message).await?,
                Err(_) if listener.is_some() => {
                    is_open = false;
                    None
                }
                Err(error) => bail!("the association ended before the report of storage commitment: {error}"),
            },
            called = &mut calls, if listener.is_some() => {
                calls.set(self::called(listener));
                called.map(|report| Report { called_back: true, ..report })
            }
        };
        let Some(report) = report.filter(|report| report.transaction == transaction) else {
            continue;
        };
        if is_open {
            // It has done what it was for.
            let _ = association.release().await;
        }
        return Ok(report);
    }
}

/// An association that the other side opens, to its end, and the report in it.
async fn called(listener: Option<&TcpListener>) -> Option<Report> {
    let (stream, _) = match listener {
        Some(listener) => listener.accept().await.ok()?,
        None => std::future::pending().await,
    };
    stream.set_nodelay(true).ok()?;
    let requested = Requested::read(Stream::plain(stream), dimse::Limits::default())
        .await
        .ok()?;
    let answers = answers(&requested);
    let mut association = requested.accept(answers).await.ok()?;
    let mut report = None;
    while let Ok(message) = association.receive().await {
        match reported(&mut association, &message).await {
            Ok(found) => report = found.or(report),
            Err(_) => break,
        }
    }
    report
}

/// A provider that brings its report is the one who asks for the association (PS3.4 J.3.3).
fn answers(requested: &Requested<Stream>) -> Answers {
    let request = requested.request();
    let mut answers = Answers::by(request, |proposed| {
        if ![uids::COMMITMENT, uids::VERIFICATION].contains(&proposed.class.as_str()) {
            return Err(Refusal::Class);
        }
        let syntax = proposed
            .syntaxes
            .iter()
            .find(|syntax| PLAIN.contains(&syntax.as_str()));
        syntax.cloned().ok_or(Refusal::Syntaxes)
    });
    for role in answers
        .roles
        .iter_mut()
        .filter(|role| role.class == uids::COMMITMENT)
    {
        let asked = request.user.roles.iter().find(|asked| asked.class == role.class);
        role.scp = asked.is_some_and(|asked| asked.scp);
    }
    answers
}

/// Answers a message, and reads it where it is a report.
async fn reported(
    association: &mut Association<Stream>,
    message: &Message,
) -> anyhow::Result<Option<Report>> {
    let data = association.whole_data(LONGEST).await?;
    let (report, status) = match message.command.operation() {
        Some(Operation::EventReport) => match Report::read(&data, &message.context.syntax) {
            Ok(report) => (Some(report), Status::SUCCESS),
            Err(_) => (None, Status::PROCESSING_FAILURE),
        },
        Some(Operation::Echo) => (None, Status::SUCCESS),
        Some(_) => (None, Status::UNRECOGNIZED_OPERATION),
        None => return Ok(None),
    };
    association
        .send(message.context.id, &message.command.answer(status), None)
        .await?;
    Ok(report)
}

/// A request: the transaction, and class and instance of each object.
pub struct Asked {
    /// Its UID.
    pub transaction: String,
    /// What it is about.
    pub objects: Vec<(String, String)>,
}

impl Asked {
    /// As it came.
    pub fn read(data: &[u8], syntax: &str) -> anyhow::Result<Asked> {
        let set = DataSet::read(data, packing(syntax).coding, Fallback::default())?;
        let object = |item: &DataSet<'_>| {
            (
                at(item, "ReferencedSOPClassUID"),
                at(item, "ReferencedSOPInstanceUID"),
            )
        };
        let asked = Asked {
            transaction: at(&set, "TransactionUID"),
            objects: items(&set, "ReferencedSOPSequence").iter().map(object).collect(),
        };
        match asked.transaction.is_empty() || asked.objects.is_empty() {
            true => bail!("no transaction, or no object"),
            false => Ok(asked),
        }
    }

    /// The report: what is held is kept for good, the rest is not there (0112). Its event, and its data set.
    pub fn report(&self, is_held: impl Fn(&str) -> bool, syntax: &str) -> (u16, Vec<u8>) {
        let (held, missing): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|(_, instance)| is_held(instance));
        let mut out = Out::default();
        text(&mut out, "TransactionUID", &self.transaction);
        if !held.is_empty() {
            let held = held.iter().map(|(class, instance)| reference(class, instance));
            out.put("ReferencedSOPSequence", Said::Items(held.collect()));
        }
        let event = if missing.is_empty() { 1 } else { 2 };
        if !missing.is_empty() {
            let missing = missing.iter().map(|(class, instance)| {
                let mut item = reference(class, instance);
                item.put("FailureReason", Said::Number(Status::NO_SUCH_INSTANCE.0));
                item
            });
            out.put("FailedSOPSequence", Said::Items(missing.collect()));
        }
        (event, written(out, syntax))
    }
}

/// Brings a report by an association of its own.
pub async fn bring(caller: &Caller, report: impl FnOnce(&str) -> (u16, Vec<u8>)) -> anyhow::Result<Status> {
    let proposal = caller
        .proposal()
        .with(uids::COMMITMENT, PLAIN)
        .with_role(uids::COMMITMENT, false, true);
    let mut association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    let context = association
        .context_of(uids::COMMITMENT)
        .context("the report of storage commitment")?;
    let (event, data) = report(&context.syntax);
    let answer = association
        .n_event_report(&context, uids::COMMITMENT_INSTANCE, event, &data)
        .await?;
    association.release().await?;
    Ok(answer.status())
}

/// The command of a report by the association that the request came by.
pub fn command(event: u16) -> impl FnOnce(u16) -> dimse::Command {
    move |id| {
        dimse::Command::request(Operation::EventReport, id)
            .uid(tags::AFFECTED_CLASS, uids::COMMITMENT)
            .uid(tags::AFFECTED_INSTANCE, uids::COMMITMENT_INSTANCE)
            .number(tags::EVENT_TYPE, event)
    }
}
