//! Questions to a far side (C-FIND): of an archive, or of a worklist.

use bytes::Bytes;
use clinic::exchange::Response;
use dimse::scu::Found;
use dimse::{Command, Operation};
use engine::connector::{Outgoing, SendError};

use super::answer::status_line;
use super::caller::Caller;
use super::part10::{self, Meta};

/// So many matches are counted; the far side is told to stop after that.
const MOST: usize = 100;

/// Asks on an association of its own. What comes back is what was found as a file, or a status line: `0000` for nothing, `FF00`
/// and their number for several, else what the far side said.
pub(super) async fn query(caller: &Caller, outgoing: &Outgoing) -> Result<Response, SendError> {
    let refused = |why: &str| SendError::Refused {
        why: format!("This can't be asked by DICOM: {why}."),
    };
    let unsure = |error: dimse::Error| SendError::Unsure {
        why: format!("No answer: {error}."),
    };
    let (meta, begins) = part10::read(&outgoing.body).map_err(refused)?;
    let operation = meta.command.as_ref().map(Command::read);
    let is_question = matches!(operation, Some(Ok(command)) if command.operation() == Some(Operation::Find));
    if !is_question {
        return Err(refused("it is no C-FIND"));
    }
    let proposal = caller.proposal().with(&meta.class, [meta.syntax.as_str()]);
    let mut association = caller
        .associate(proposal)
        .await
        .map_err(|why| SendError::Retry { why, after: None })?;
    let Some(context) = association.context(&meta.class, None).cloned() else {
        return Err(SendError::Refused {
            why: format!("{} answers no such questions.", caller.settings.called_ae),
        });
    };
    let asked = association
        .find(&context, &outgoing.body[begins..])
        .await
        .map_err(unsure)?;
    let (mut first, mut count): (Option<Bytes>, usize) = (None, 0);
    let end = loop {
        match association.next_match(asked).await.map_err(unsure)? {
            Found::Match(answer) => {
                count += 1;
                first.get_or_insert(answer.data);
                if count == MOST {
                    association.cancel(asked).await.map_err(unsure)?;
                }
            }
            Found::End(answer) => break answer,
        }
    };
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "An association that carried a question ended without a release.");
    }
    let is_over = end.status().is_success() || MOST <= count;
    let body = match first {
        _ if !is_over => status_line(&end.command),
        None => status_line(&end.command),
        Some(found) if count == 1 => {
            let meta = Meta {
                command: None,
                ..meta
            };
            let settings = &caller.settings;
            let mut file = part10::head(&meta, &settings.called_ae, &settings.calling_ae);
            file.extend_from_slice(&found);
            file
        }
        Some(_) => format!("FF00 {count}").into_bytes(),
    };
    Ok(Response {
        body,
        ..Response::default()
    })
}
