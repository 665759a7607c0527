//! Objects that a peer asks for: to itself on its own association (C-GET, PS3.4 C.4.3), or to somebody whose address the
//! channel knows, on one of ours (C-MOVE, PS3.4 C.4.2).
//!
//! Each object is a sub-operation, in the transfer syntax that it lies in, and where the far side does not take that,
//! written anew without compression (PS3.5 §10.1). What can't be, has failed, and the others go on. After each the peer is
//! told how far it is, and may cancel.

use dimse::scu::Counts;
use dimse::{AeTitle, Association, Error, Message, Status, StatusKind, tags, uids};
use engine::archive::KeptObject;
use engine::connector::Intake;
use engine::message::Incoming;

use super::answer::Answer;
use super::caller::Caller;
use super::objects::{Broken, Opened, way, with_plain};
use crate::tls::Stream;

/// So many pairs of class and transfer syntax are proposed at once; with each class it is proposed without compression too.
const PROPOSED: usize = 60;
/// So often a far side that breaks off is called again within one request.
const CALLED_AGAIN: u32 = 3;
/// So many bytes the list of what failed may have: a short length of explicit VR (PS3.5 7.1.2).
const LONGEST_LIST: usize = 65_534;

/// What became of one object.
enum Became {
    Done,
    Warned,
    /// Why.
    Failed(String),
}

impl Became {
    fn by(status: Status) -> Self {
        match status.kind() {
            StatusKind::Success => Became::Done,
            StatusKind::Warning => Became::Warned,
            StatusKind::Failure | StatusKind::Cancel | StatusKind::Pending => {
                Became::Failed(format!("it was answered with {status:?}"))
            }
        }
    }
}

/// How far a request is.
struct Progress {
    remaining: usize,
    counts: Counts,
    failed: Vec<String>,
    /// Why the last one failed.
    why: Option<String>,
}

impl Progress {
    fn new(objects: usize) -> Self {
        Progress {
            remaining: objects,
            counts: Counts::default(),
            failed: vec![],
            why: None,
        }
    }

    fn count(&mut self, uid: &str, became: Became) {
        self.remaining = self.remaining.saturating_sub(1);
        let counts = &mut self.counts;
        match became {
            Became::Done => counts.completed = counts.completed.saturating_add(1),
            Became::Warned => counts.warning = counts.warning.saturating_add(1),
            Became::Failed(why) => {
                counts.failed = counts.failed.saturating_add(1);
                self.failed.push(uid.to_owned());
                self.why = Some(why);
            }
        }
    }

    /// What remains is told on the way and where it was cancelled, and not at the end (PS3.7 9.1.4.1.7).
    fn counts(&self, status: Status) -> Counts {
        let is_told = matches!(status.kind(), StatusKind::Pending | StatusKind::Cancel);
        Counts {
            remaining: is_told.then(|| u16::try_from(self.remaining).unwrap_or(u16::MAX)),
            ..self.counts
        }
    }

    fn end(&self) -> Status {
        match self.failed.len() {
            0 if self.counts.warning == 0 => Status::SUCCESS,
            failed if failed != 0 && self.counts.completed == 0 && self.counts.warning == 0 => {
                Status::UNABLE_TO_PERFORM
            }
            _ => Status::COERCED,
        }
    }
}

/// Answers a C-MOVE or C-GET. `incoming`: the request as a message; `peer`: where it is to go, of a C-MOVE.
pub(super) async fn retrieve(
    association: &mut Association<Stream>,
    request: &Message,
    intake: &Intake,
    incoming: Incoming,
    peer: Option<&Caller>,
) -> Result<(), Error> {
    let objects = match intake.fetch(incoming).await {
        Ok(objects) => objects,
        Err(acknowledgement) => {
            let operation = request.command.operation();
            let answer = Answer::by(acknowledgement, operation.unwrap_or(dimse::Operation::Get));
            let answer = answer.command(&request.command);
            return association.send(request.context.id, &answer, None).await;
        }
    };
    let originator = (association.calling().clone(), request.command.message_id());
    let mut mover = peer.map(|peer| Mover::new(peer, &objects, (&originator.0, originator.1)));
    let mut progress = Progress::new(objects.len());
    for (at, object) in objects.iter().enumerate() {
        if association.is_cancelled(request.command.message_id()).await? {
            release(mover).await;
            return tell(association, request, Status::CANCELLED, &progress).await;
        }
        let became = match &mut mover {
            Some(mover) => mover.store(at, object).await,
            None => give(association, object).await?,
        };
        if let Became::Failed(why) = &became {
            tracing::debug!(instance = object.uid(), %why, "An object that was asked for could not be given.");
        }
        progress.count(object.uid(), became);
        if progress.remaining != 0 {
            tell(association, request, Status::PENDING, &progress).await?;
        }
    }
    release(mover).await;
    let status = progress.end();
    if !status.is_success() {
        tracing::warn!(
            ?status,
            failed = progress.failed.len(),
            of = objects.len(),
            why = progress.why,
            "Not all objects that were asked for could be given."
        );
    }
    tell(association, request, status, &progress).await
}

async fn tell(
    association: &mut Association<Stream>,
    request: &Message,
    status: Status,
    progress: &Progress,
) -> Result<(), Error> {
    let answer = progress.counts(status).on(request.command.answer(status));
    let context = &request.context;
    if status == Status::PENDING || progress.failed.is_empty() {
        return association.send(context.id, &answer, None).await;
    }
    let answer = match &progress.why {
        Some(why) => answer.comment(why),
        None => answer,
    };
    let list = failed_list(&progress.failed, &context.syntax);
    association.send(context.id, &answer, Some(&list)).await
}

/// Failed SOP Instance UID List (0008,0058), the whole data set; of a list too long for it as much as it takes.
fn failed_list(failed: &[String], syntax: &str) -> Vec<u8> {
    let mut value = Vec::new();
    for uid in failed {
        if LONGEST_LIST < value.len() + 1 + uid.len() {
            break;
        }
        if !value.is_empty() {
            value.push(b'\\');
        }
        value.extend_from_slice(uid.as_bytes());
    }
    if value.len() % 2 == 1 {
        value.push(0);
    }
    // At most 65,534.
    let length = u16::try_from(value.len()).unwrap_or(0);
    let mut list = vec![0x08, 0x00, 0x58, 0x00];
    match syntax == uids::IMPLICIT_LITTLE {
        true => list.extend(u32::from(length).to_le_bytes()),
        false => {
            list.extend(b"UI");
            list.extend(length.to_le_bytes());
        }
    }
    list.extend(value);
    list
}

/// Gives an object on the association on which it was asked for. An error is one of the association.
async fn give(association: &mut Association<Stream>, object: &KeptObject) -> Result<Became, Error> {
    let opened = match Opened::of(object).await {
        Ok(opened) => opened,
        Err(why) => return Ok(Became::Failed(why)),
    };
    let (class, syntax) = (opened.meta.class.clone(), opened.meta.syntax.clone());
    let is_odd = opened.is_odd();
    let is_provider = association
        .roles()
        .iter()
        .any(|role| role.class == class && role.scp);
    let context = way(association, &class, &syntax, is_odd);
    let Some(context) = context.filter(|_| is_provider) else {
        return Ok(Became::Failed(not_taken(&class, &syntax)));
    };
    let written = match opened.written(&context.syntax).await {
        Ok(written) => written,
        Err(why) => return Ok(Became::Failed(why)),
    };
    match written.store(association, &context, None).await {
        Ok(status) => Ok(Became::by(status)),
        Err(Broken::Sent(error)) => Err(error),
        Err(Broken::Read(error)) => {
            tracing::error!(%error, "An object that was being given can't be read to its end; its association is cut.");
            Err(Error::Closed)
        }
    }
}

fn not_taken(class: &str, syntax: &str) -> String {
    format!("class {class} in {syntax} is not taken there")
}

/// Stores objects at somebody else's, by associations of ours.
struct Mover<'m> {
    peer: &'m Caller,
    objects: &'m [KeptObject],
    originator: (&'m AeTitle, u16),
    standing: Option<Standing>,
    /// How often the far side has broken off.
    broken: u32,
    /// Why nobody is called any more.
    given_up: Option<String>,
}

/// An association, and the pairs of class and syntax that it was asked to carry.
struct Standing {
    association: Association<Stream>,
    proposed: Vec<(String, String)>,
}

impl<'m> Mover<'m> {
    fn new(peer: &'m Caller, objects: &'m [KeptObject], originator: (&'m AeTitle, u16)) -> Self {
        Mover {
            peer,
            objects,
            originator,
            standing: None,
            broken: 0,
            given_up: None,
        }
    }

    async fn store(&mut self, at: usize, object: &KeptObject) -> Became {
        let opened = match Opened::of(object).await {
            Ok(opened) => opened,
            Err(why) => return Became::Failed(why),
        };
        let wanted = (opened.meta.class.clone(), opened.meta.syntax.clone());
        let mut standing = match self.carrying(at, &wanted).await {
            Ok(standing) => standing,
            Err(why) => return Became::Failed(why),
        };
        let (class, syntax) = &wanted;
        let Some(context) = way(&standing.association, class, syntax, opened.is_odd()) else {
            self.standing = Some(standing);
            return Became::Failed(not_taken(class, syntax));
        };
        let written = match opened.written(&context.syntax).await {
            Ok(written) => written,
            Err(why) => {
                self.standing = Some(standing);
                return Became::Failed(why);
            }
        };
        let stored = written.store(&mut standing.association, &context, Some(self.originator));
        match stored.await {
            Ok(status) => {
                self.standing = Some(standing);
                Became::by(status)
            }
            Err(broken) => {
                self.broken += 1;
                Became::Failed(match broken {
                    Broken::Read(error) => format!("it can't be read: {error}"),
                    Broken::Sent(error) => format!("the far side broke off: {error}"),
                })
            }
        }
    }

    /// An association that was asked to carry this: the one that stands, or a new one that proposes what is to come too.
    async fn carrying(&mut self, at: usize, wanted: &(String, String)) -> Result<Standing, String> {
        if let Some(standing) = self.standing.take() {
            if standing.proposed.contains(wanted) {
                return Ok(standing);
            }
            ended(standing).await;
        }
        if let Some(why) = &self.given_up {
            return Err(why.clone());
        }
        if CALLED_AGAIN < self.broken {
            return Err("the far side has broken off too often".to_owned());
        }
        let mut proposed = vec![wanted.clone()];
        for object in &self.objects[at..] {
            let pair = (object.class().to_owned(), object.syntax().to_owned());
            let is_whole = !pair.0.is_empty() && !pair.1.is_empty();
            if is_whole && !proposed.contains(&pair) {
                proposed.push(pair);
            }
            if proposed.len() == PROPOSED {
                break;
            }
        }
        let mut proposal = self.peer.proposal();
        for (class, syntax) in &proposed {
            proposal = proposal.with(class, [syntax.as_str()]);
        }
        let proposal = with_plain(proposal, proposed.iter().map(|(class, _)| class.as_str()));
        match self.peer.associate(proposal).await {
            Ok(association) => Ok(Standing {
                association,
                proposed,
            }),
            Err(why) => {
                // Whom nobody reaches is not called again for each object.
                self.given_up = Some(why.clone());
                Err(why)
            }
        }
    }
}

async fn release(mover: Option<Mover<'_>>) {
    if let Some(standing) = mover.and_then(|mover| mover.standing) {
        ended(standing).await;
    }
}

/// How a far side takes it changes nothing.
async fn ended(standing: Standing) {
    if let Err(error) = standing.association.release().await {
        tracing::debug!(%error, "An association that carried objects ended without a release.");
    }
}

/// Where a C-MOVE is to go.
pub(super) fn destination(request: &Message) -> String {
    request
        .command
        .get_text(tags::MOVE_DESTINATION)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_request_ends() {
        let ends = |became: Vec<Became>| {
            let mut progress = Progress::new(became.len() + 1);
            became
                .into_iter()
                .for_each(|became| progress.count("1.2", became));
            let status = progress.end();
            (
                status.0,
                progress.counts(status).remaining,
                progress.counts(Status::PENDING).remaining,
            )
        };
        let failed = || Became::Failed("no".to_owned());
        assert_eq!(ends(vec![]), (0x0000, None, Some(1)));
        assert_eq!(ends(vec![Became::Done]), (0x0000, None, Some(1)));
        assert_eq!(ends(vec![Became::Done, failed()]), (0xB000, None, Some(1)));
        assert_eq!(ends(vec![Became::Warned]), (0xB000, None, Some(1)));
        assert_eq!(ends(vec![failed(), failed()]), (0xA702, None, Some(1)));
    }

    #[test]
    fn what_failed_is_a_data_set() {
        let failed = ["1.2".to_owned(), "1.2.3".to_owned()];
        assert_eq!(
            failed_list(&failed, uids::EXPLICIT_LITTLE),
            b"\x08\0\x58\0UI\x0a\x001.2\\1.2.3\0"
        );
        assert_eq!(
            failed_list(&failed, uids::IMPLICIT_LITTLE),
            b"\x08\0\x58\0\x0a\0\0\x001.2\\1.2.3\0"
        );
        let many = vec!["1".repeat(64); 2_000];
        let list = failed_list(&many, uids::EXPLICIT_LITTLE);
        assert!(list.len() <= 8 + LONGEST_LIST && 60_000 < list.len());
    }
}
