//! Who asks, and what they may do. Keys come as `Authorization: Bearer …`; each has scopes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use clap::ValueEnum;
use connectors::tls::Stream;
use engine::actor::Actor;
use engine::store::ApiKey;

use super::{Problem, State};

/// What a key can allow. [`Scope::Admin`] contains the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Listings and bodies of messages, what is parked, the channels and what waits.
    MessagesRead,
    /// Messages taken again, parked ones decided, deliveries sent or taken out.
    MessagesReplay,
    /// The clinic, by FHIR or otherwise.
    ClinicRead,
    /// Whom a pseudonym stands for.
    ClinicReidentify,
    /// Changes of the clinic: the write door.
    ClinicWrite,
    /// Images and other objects handed in by DICOMweb.
    ImagesWrite,
    /// Questions to other systems, by the destinations of channels.
    ClinicAsk,
    /// Channels tried, started, stopped, paused, loaded anew.
    ChannelsAdmin,
    /// Who read what of whom.
    JournalRead,
    /// Keys listed, added and taken away.
    KeysAdmin,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 11] = [
        Scope::MessagesRead,
        Scope::MessagesReplay,
        Scope::ClinicRead,
        Scope::ClinicReidentify,
        Scope::ClinicWrite,
        Scope::ImagesWrite,
        Scope::ClinicAsk,
        Scope::ChannelsAdmin,
        Scope::JournalRead,
        Scope::KeysAdmin,
        Scope::Admin,
    ];

    /// Its name, as it is stored and written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::MessagesRead => "messages:read",
            Scope::MessagesReplay => "messages:replay",
            Scope::ClinicRead => "clinic:read",
            Scope::ClinicReidentify => "clinic:reidentify",
            Scope::ClinicWrite => "clinic:write",
            Scope::ImagesWrite => "images:write",
            Scope::ClinicAsk => "clinic:ask",
            Scope::ChannelsAdmin => "channels:admin",
            Scope::JournalRead => "journal:read",
            Scope::KeysAdmin => "keys:admin",
            Scope::Admin => "admin",
        }
    }

    /// What it is for, in a few words.
    fn about(self) -> &'static str {
        match self {
            Scope::MessagesRead => "listings and bodies of messages, what is parked, the channels",
            Scope::MessagesReplay => "take messages again, decide parked ones, send or take out deliveries",
            Scope::ClinicRead => "the FHIR API, and images by DICOMweb",
            Scope::ClinicReidentify => "find the patient of a pseudonym",
            Scope::ClinicWrite => "write to the clinic",
            Scope::ImagesWrite => "hand in images by DICOMweb",
            Scope::ClinicAsk => "ask other systems by the destinations of channels",
            Scope::ChannelsAdmin => "try, start, stop, pause and reload channels",
            Scope::JournalRead => "who read what of whom",
            Scope::KeysAdmin => "list, add and remove keys",
            Scope::Admin => "everything",
        }
    }

    /// By its name; the error says which there are.
    pub fn of(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str);
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == name)
            .ok_or_else(|| format!("{name:?} is no scope; the scopes are {}", names.join(", ")))
    }
}

impl ValueEnum for Scope {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()).help(self.about()))
    }
}

/// A fresh secret: 32 random bytes, in hex, with a prefix by which leaked ones are found.
pub fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes could be had"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("punte_{hex}"))
}

/// Who sends a request: every handler that shows or changes something takes one and asks whether it [`may`](Who::may),
/// before it looks at anything else. So an answer to somebody without the scope can't hint at what is there.
pub struct Who {
    key: Result<ApiKey, Problem>,
    peer: Option<String>,
    user: Option<String>,
    purpose: Option<String>,
}

/// Somebody who may do what they ask for.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who it is.
    pub actor: Actor,
    /// What the key may do.
    pub scopes: Vec<String>,
    /// What they say that they ask for.
    pub purpose: Option<String>,
}

impl Asker {
    /// Who it is, in a few words: the person, as the asker says, and the key.
    pub fn name(&self) -> String {
        let key = self.actor.key.as_deref().unwrap_or_default();
        match &self.actor.user {
            Some(user) => format!("{user} (key {key})"),
            None => key.to_owned(),
        }
    }

    /// Refuses who may not do this too.
    pub fn needs(&self, scope: Scope) -> Result<(), Problem> {
        let has = |scope: Scope| self.scopes.iter().any(|has| has == scope.as_str());
        if has(scope) || has(Scope::Admin) {
            return Ok(());
        }
        let what = format!(
            "the key {:?} does not have the scope {}",
            self.name(),
            scope.as_str()
        );
        Err(Problem::new(StatusCode::FORBIDDEN, what))
    }
}

/// The address that a connection comes from, and whom its certificate names.
#[derive(Clone, Debug)]
pub struct Peer(String);

impl Peer {
    /// The far side of a connection.
    pub fn of(stream: &Stream, address: SocketAddr) -> Self {
        let certificate = stream.peer_subject();
        let address = address.ip();
        Peer(match certificate {
            Some(subject) => format!("{address} ({subject})"),
            None => address.to_string(),
        })
    }
}

/// The address of a request, as it is noted.
pub fn peer_of(extensions: &axum::http::Extensions) -> Option<String> {
    extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.0.clone())
}

/// The name of the key that a request has shown, for whoever looks at its answer.
#[derive(Clone, Default)]
pub struct Named(Arc<OnceLock<String>>);

impl Named {
    fn set(&self, name: &str) {
        // The first one counts; there is one.
        let _ = self.0.set(name.to_owned());
    }

    /// The name; none: no key that is known.
    pub fn get(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// The person on whose behalf a system asks, as that system says.
const USER: &str = "x-user";
/// What it is asked for, as the asker says: a code of the HL7 value set PurposeOfUse, or words.
const PURPOSE: &str = "x-purpose-of-use";
/// The longest that is kept of either.
const LONGEST: usize = 128;

impl FromRequestParts<State> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Infallible> {
        let said = |name: &str| {
            let text = parts.headers.get(name)?.to_str().ok()?.trim();
            (!text.is_empty()).then(|| text.chars().take(LONGEST).collect())
        };
        let who = Who {
            key: key_of(state, &parts.headers).await,
            peer: peer_of(&parts.extensions),
            user: said(USER),
            purpose: said(PURPOSE),
        };
        if let (Some(asked), Ok(key)) = (parts.extensions.get::<Named>(), &who.key) {
            asked.set(&key.name);
        }
        Ok(who)
    }
}

impl Who {
    /// Lets pass who has a key with this scope.
    pub fn may(self, scope: Scope) -> Result<Asker, Problem> {
        let key = self.key?;
        let has = |scope: Scope| key.scopes.iter().any(|has| has == scope.as_str());
        if !has(scope) && !has(Scope::Admin) {
            let what = format!(
                "the key {:?} does not have the scope {}",
                key.name,
                scope.as_str()
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, what));
        }
        Ok(Asker {
            actor: Actor {
                key: Some(key.name),
                user: self.user,
                channel: None,
                peer: self.peer,
            },
            scopes: key.scopes,
            purpose: self.purpose,
        })
    }
}

async fn key_of(state: &State, headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let denied = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let secret = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim())
        .ok_or_else(|| denied("a key is needed: Authorization: Bearer … (punte key add NAME --scope …)"))?;
    if constant_time_equal(secret.as_bytes(), state.inner.serving.local_key.as_bytes()) {
        return Ok(ApiKey {
            name: "local".into(),
            scopes: vec![Scope::Admin.as_str().into()],
            created_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: None,
        });
    }
    let key = state
        .store()
        .api_key(secret)
        .await?
        .ok_or_else(|| denied("this key is not known"))?;
    let now = (crate::world::real().now)();
    if key.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(denied("this key has expired"));
    }
    Ok(key)
}

fn constant_time_equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
