//! How an association begins (PS3.8 7.1, 9.2), on either side.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::ae::AeTitle;
use crate::association::{Association, Context};
use crate::error::Error;
use crate::pdu::{
    self, Answered, AssociateAc, AssociateRq, Fault, Limit, Pdu, Proposed, Refusal, Reject, Role, User,
};
use crate::uids;
use crate::wire::Wire;

/// Limits of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest P-DATA that we take; said in the negotiation.
    pub max_pdu: u32,
    /// ARTIM (PS3.8 9.1.5): to the complete request, or answer to ours; and for the peer to close at the end.
    pub artim: Duration,
    /// How long the peer may be silent between messages; none: for ever.
    pub idle: Option<Duration>,
    /// From the first byte of a PDU to its last, between the PDUs of one message, and for ours to be taken.
    pub within: Duration,
    /// How long the peer may take to answer a message, or to send the next of many answers.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_pdu: 128 * 1024,
            artim: Duration::from_secs(30),
            idle: Some(Duration::from_secs(60)),
            within: Duration::from_secs(30),
            answer: Duration::from_secs(60),
        }
    }
}

impl Limits {
    fn limit(&self) -> Limit {
        Limit { data: self.max_pdu }
    }
}

/// A request for an association that has come whole and waits for a decision.
pub struct Requested<S> {
    wire: Wire<S>,
    limits: Limits,
    request: AssociateRq,
}

/// What is answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// One for each context that was proposed.
    pub contexts: Vec<Answered>,
    /// Roles that are accepted, of the classes that the requestor names.
    pub roles: Vec<Role>,
}

impl Answers {
    /// Answers each proposed context by `choose`, in the order of the request; of the roles that are proposed those of the
    /// requestor as user are accepted, where a context of the class is.
    pub fn by(request: &AssociateRq, mut choose: impl FnMut(&Proposed) -> Result<String, Refusal>) -> Self {
        let contexts: Vec<Answered> = request
            .contexts
            .iter()
            .map(|proposed| Answered {
                id: proposed.id,
                result: choose(proposed),
            })
            .collect();
        let is_accepted = |class: &str| {
            let mut both = request.contexts.iter().zip(&contexts);
            both.any(|(proposed, answered)| proposed.class == class && answered.result.is_ok())
        };
        let mut roles: Vec<Role> = Vec::new();
        for role in &request.user.roles {
            let is_new = roles.iter().all(|known| known.class != role.class);
            if is_new && is_accepted(&role.class) {
                roles.push(Role {
                    class: role.class.clone(),
                    scu: role.scu,
                    scp: false,
                });
            }
        }
        Answers { contexts, roles }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Requested<S> {
    /// Waits for the complete request: ARTIM runs from now. Where something else comes, it is aborted (PS3.8 9.2, Sta2).
    pub async fn read(stream: S, limits: Limits) -> Result<Self, Error> {
        let mut wire = Wire::new(stream, limits.within);
        let deadline = Instant::now() + limits.artim;
        let fault = match wire
            .pdu_before(limits.limit(), deadline, "the request for an association")
            .await
        {
            Ok(Pdu::AssociateRq(request)) => {
                return Ok(Requested {
                    wire,
                    limits,
                    request: *request,
                });
            }
            Ok(Pdu::Abort(abort)) => return Err(Error::PeerAborted(abort)),
            Ok(
                Pdu::AssociateAc(_) | Pdu::AssociateRj(_) | Pdu::Data(_) | Pdu::ReleaseRq | Pdu::ReleaseRp,
            ) => Fault::unexpected("a PDU before the request for an association"),
            Err(Error::Fault(fault)) => fault,
            Err(error) => return Err(error),
        };
        wire.abort(fault.abort(), limits.artim).await;
        Err(fault.into())
    }

    /// What is asked for.
    pub fn request(&self) -> &AssociateRq {
        &self.request
    }

    /// What the request itself is to be rejected for.
    pub fn fault(&self) -> Option<Reject> {
        if self.request.version & 1 == 0 {
            return Some(Reject::VERSION);
        }
        (self.request.application_context != uids::APPLICATION_CONTEXT).then_some(Reject::APPLICATION_CONTEXT)
    }

    /// Says no, and waits for the peer to close.
    pub async fn reject(mut self, reject: Reject) -> Result<(), Error> {
        pdu::reject(reject, self.wire.output());
        self.wire.flush().await?;
        self.wire.linger(self.limits.artim).await;
        Ok(())
    }

    /// Says yes. A refused context does not refuse the association, even where all are.
    pub async fn accept(mut self, answers: Answers) -> Result<Association<S>, Error> {
        let request = self.request;
        // An answer is due where one was asked for (PS3.7 D.3.3.7.2); nothing is known of the user, and nothing to say.
        let identity_answer = request
            .user
            .identity
            .is_some_and(|identity| identity.wants_answer)
            .then(Bytes::new);
        let acceptance = AssociateAc {
            called: request.called.clone(),
            calling: request.calling.clone(),
            application_context: uids::APPLICATION_CONTEXT.to_owned(),
            contexts: answers.contexts,
            user: User {
                roles: answers.roles,
                identity_answer,
                ..ourselves(&self.limits)
            },
        };
        pdu::associate_ac(&acceptance, self.wire.output());
        self.wire.flush().await?;
        let contexts = agreed(&request.contexts, acceptance.contexts);
        Ok(Association::new(
            self.wire,
            self.limits,
            contexts,
            crate::association::Ends {
                calling: request.calling,
                called: request.called,
                is_requestor: false,
                max_length: request.user.max_length,
                roles: acceptance.user.roles,
            },
        ))
    }
}

/// What we propose.
#[derive(Clone, Debug)]
pub struct Proposal {
    calling: AeTitle,
    called: AeTitle,
    contexts: Vec<Proposed>,
    roles: Vec<Role>,
}

/// As many contexts as there are odd ids (PS3.8 9.3.2.2).
const MOST_CONTEXTS: usize = 128;

impl Proposal {
    /// To call somebody.
    pub fn new(calling: AeTitle, called: AeTitle) -> Self {
        Proposal {
            calling,
            called,
            contexts: Vec::new(),
            roles: Vec::new(),
        }
    }

    /// Proposes a class with any of these syntaxes, the first one first. Over 128 contexts nothing is added.
    pub fn with<'s>(mut self, class: &str, syntaxes: impl IntoIterator<Item = &'s str>) -> Self {
        if let Ok(at) = u8::try_from(self.contexts.len())
            && usize::from(at) < MOST_CONTEXTS
        {
            self.contexts.push(Proposed {
                id: at * 2 + 1,
                class: class.to_owned(),
                syntaxes: syntaxes.into_iter().map(str::to_owned).collect(),
            });
        }
        self
    }

    /// Proposes roles for a class: user, provider (C-GET, and results of storage commitment).
    pub fn with_role(mut self, class: &str, scu: bool, scp: bool) -> Self {
        self.roles.push(Role {
            class: class.to_owned(),
            scu,
            scp,
        });
        self
    }

    /// There is room for no more contexts.
    pub fn is_full(&self) -> bool {
        self.contexts.len() == MOST_CONTEXTS
    }
}

/// Asks for an association.
pub async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    proposal: Proposal,
    limits: Limits,
) -> Result<Association<S>, Error> {
    let mut wire = Wire::new(stream, limits.within);
    let request = AssociateRq {
        version: 1,
        called: proposal.called,
        calling: proposal.calling,
        application_context: uids::APPLICATION_CONTEXT.to_owned(),
        contexts: proposal.contexts,
        user: User {
            roles: proposal.roles,
            ..ourselves(&limits)
        },
    };
    pdu::associate_rq(&request, wire.output());
    wire.flush().await?;
    let deadline = Instant::now() + limits.artim;
    let fault = match wire
        .pdu_before(
            limits.limit(),
            deadline,
            "the answer to our request for an association",
        )
        .await
    {
        Ok(Pdu::AssociateAc(acceptance)) => match check(&request, &acceptance) {
            Ok(()) => {
                let contexts = agreed(&request.contexts, acceptance.contexts);
                let ends = crate::association::Ends {
                    calling: request.calling,
                    called: request.called,
                    is_requestor: true,
                    max_length: acceptance.user.max_length,
                    roles: acceptance.user.roles,
                };
                return Ok(Association::new(wire, limits, contexts, ends));
            }
            Err(fault) => fault,
        },
        Ok(Pdu::AssociateRj(reject)) => return Err(Error::Rejected(reject)),
        Ok(Pdu::Abort(abort)) => return Err(Error::PeerAborted(abort)),
        Ok(Pdu::AssociateRq(_) | Pdu::Data(_) | Pdu::ReleaseRq | Pdu::ReleaseRp) => {
            Fault::unexpected("a PDU before the answer to our request for an association")
        }
        Err(Error::Fault(fault)) => fault,
        Err(error @ Error::TimedOut { .. }) => {
            wire.abort(pdu::Abort::USER, Duration::from_millis(100)).await;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    wire.abort(fault.abort(), limits.artim).await;
    Err(fault.into())
}

fn ourselves(limits: &Limits) -> User {
    User {
        max_length: limits.max_pdu,
        implementation_class: uids::IMPLEMENTATION_CLASS.to_owned(),
        implementation_version: Some(uids::IMPLEMENTATION_VERSION.to_owned()),
        ..User::default()
    }
}

/// An acceptance speaks of what was proposed, and of nothing else.
fn check(request: &AssociateRq, acceptance: &AssociateAc) -> Result<(), Fault> {
    for answered in &acceptance.contexts {
        let proposed = request
            .contexts
            .iter()
            .find(|proposed| proposed.id == answered.id);
        let is_right = match (&answered.result, proposed) {
            (Ok(syntax), Some(proposed)) => proposed.syntaxes.contains(syntax),
            (Err(_), Some(_)) => true,
            (_, None) => false,
        };
        if !is_right {
            return Err(Fault::invalid(
                "an accepted context, or its transfer syntax, that was not proposed",
            ));
        }
    }
    Ok(())
}

fn agreed(proposed: &[Proposed], answered: Vec<Answered>) -> Vec<Context> {
    let mut contexts: Vec<Context> = Vec::with_capacity(answered.len());
    for answered in answered {
        let Ok(syntax) = answered.result else { continue };
        let Some(proposed) = proposed.iter().find(|proposed| proposed.id == answered.id) else {
            continue;
        };
        if contexts.iter().all(|known| known.id != answered.id) {
            contexts.push(Context {
                id: answered.id,
                class: proposed.class.clone(),
                syntax,
            });
        }
    }
    contexts
}
