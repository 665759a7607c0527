//! Sends Bundles to a FHIR server.

use async_trait::async_trait;
use clinic::exchange::Response;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_MATCH};
use reqwest::{Method as Verb, RequestBuilder, StatusCode};

use super::FHIR_JSON;
use super::bundle::{Answers, Method, Plan, Step, is_relative, reference_of, type_and_id};
use super::settings::{self, Shape};
use crate::http::client::{Answer, Caller, below};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A FHIR server.
pub(super) struct FhirDestination {
    settings: settings::Destination,
    caller: Caller,
}

impl FhirDestination {
    pub(super) async fn open(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let caller = Caller::open(&settings.calling, surroundings).await?;
        Ok(FhirDestination { settings, caller })
    }

    fn base(&self) -> &str {
        self.settings.base.as_str().trim_end_matches('/')
    }

    async fn request(
        &self,
        verb: Verb,
        address: &str,
        outgoing: &Outgoing,
    ) -> Result<RequestBuilder, SendError> {
        let request = self.caller.client().await?.request(verb, address);
        Ok(request
            .header(ACCEPT, FHIR_JSON)
            .header(X_REQUEST_ID, outgoing.key().to_string()))
    }

    async fn transaction(&self, outgoing: &Outgoing) -> Result<Response, SendError> {
        let request = self
            .request(Verb::POST, self.base(), outgoing)
            .await?
            .header(CONTENT_TYPE, FHIR_JSON)
            .header(PREFER, "return=minimal")
            .body(outgoing.body.clone());
        Ok(self.caller.exchange(request).await?.response)
    }

    async fn resources(&self, outgoing: &Outgoing) -> Result<Response, SendError> {
        let refused = |why| SendError::Refused { why };
        let mut plan = Plan::read(&outgoing.body).map_err(refused)?;
        let mut answers = Answers::new(plan.len());
        while let Some(step) = plan.next().map_err(refused)? {
            let answer = self
                .caller
                .exchange(self.entry(&step, outgoing).await?)
                .await
                .map_err(|error| at(&step, error))?;
            let status = answer
                .response
                .status
                .and_then(|status| StatusCode::from_u16(status).ok())
                .unwrap_or_default();
            let id = learnt(&step, &answer);
            answers.set(step.index, &status.to_string(), id.clone(), &answer.response.body);
            if !status.is_success() {
                return Ok(answers.into_response(status.as_u16()));
            }
            plan.learn(&step, id);
        }
        Ok(answers.into_response(200))
    }

    async fn entry(&self, step: &Step, outgoing: &Outgoing) -> Result<RequestBuilder, SendError> {
        let verb = match step.method {
            Method::Put => Verb::PUT,
            Method::Post => Verb::POST,
            Method::Delete => Verb::DELETE,
        };
        // `|` between system and value: some servers refuse it bare.
        let address = format!("{}/{}", self.base(), step.url.replace('|', "%7C"));
        let mut request = self.request(verb, &address, outgoing).await?;
        if let Some(criteria) = &step.if_none_exist {
            request = request.header(IF_NONE_EXIST, criteria);
        }
        if let Some(version) = &step.if_match {
            request = request.header(IF_MATCH, version);
        }
        Ok(match &step.resource {
            // The id has to come back, where it is not in Location (FHIR R4 §3.1.0.7: an update need not send one).
            Some(resource) => request
                .header(CONTENT_TYPE, FHIR_JSON)
                .header(PREFER, "return=representation")
                .body(resource.clone()),
            None => request,
        })
    }
}

#[async_trait]
impl engine::connector::Destination for FhirDestination {
    /// HTTP pairs question and answer, so `mine` is not asked.
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        match self.settings.shape {
            Shape::Transaction => self.transaction(outgoing).await,
            Shape::Resources => self.resources(outgoing).await,
        }
    }

    /// A read or a search (FHIR R4 §3.1.0.2, §3.1.1): what is asked is the address below the base.
    async fn query(&self, question: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let refused = |why| SendError::Refused { why };
        let text = std::str::from_utf8(&question.body).unwrap_or_default();
        check_question(text).map_err(refused)?;
        let url = below(&self.settings.base, &format!("/{text}")).map_err(refused)?;
        let request = self
            .caller
            .client()
            .await?
            .get(url)
            .header(ACCEPT, FHIR_JSON)
            .header(X_REQUEST_ID, question.about.message.to_string());
        self.caller.question(request).await
    }

    /// Asks for the CapabilityStatement, as every FHIR server has one.
    async fn probe(&self) -> Result<(), ConnectorError> {
        let unreachable = |error: SendError| ConnectorError::new(error.to_string());
        let client = self.caller.client().await.map_err(unreachable)?;
        let request = client
            .get(format!("{}/metadata", self.base()))
            .header(ACCEPT, FHIR_JSON);
        let answer = self.caller.exchange(request).await.map_err(unreachable)?;
        match answer.response.status {
            Some(200..=299) => Ok(()),
            status => Err(ConnectorError::new(format!(
                "The server answers {} to {}/metadata. Is the base address right, and the secret?",
                status.unwrap_or_default(),
                self.base()
            ))),
        }
    }
}

/// Whether this is a read or a search.
pub(super) fn check_question(question: &str) -> Result<(), String> {
    let (path, _) = question.split_once('?').unwrap_or((question, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let is_type = parts.first().is_some_and(|kind| {
        kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphabetic())
    });
    let is_one = match question.contains('?') {
        true => parts.len() == 1,
        false => parts.len() == 2 || (parts.len() == 4 && parts[2] == "_history"),
    };
    match is_type && is_one && is_relative(question) {
        true => Ok(()),
        false => Err(
            "a FHIR server is asked by a read or a search below its base: \"Patient/7\", \"Patient?identifier=7\""
                .to_owned(),
        ),
    }
}

fn learnt(step: &Step, answer: &Answer) -> Option<String> {
    let located = answer.response.location.as_deref().and_then(type_and_id);
    let shown = || {
        if answer.is_cut {
            None
        } else {
            reference_of(&answer.response.body)
        }
    };
    located.or_else(shown).or_else(|| step.id_by_address())
}

/// Says at which entry it happened. What was sent before it is not undone; repeating it changes nothing.
fn at(step: &Step, error: SendError) -> SendError {
    let place = |why: String| format!("Bundle.entry[{}]: {why}", step.index);
    match error {
        SendError::Retry { why, after } => SendError::Retry {
            why: place(why),
            after,
        },
        SendError::Refused { why } => SendError::Refused { why: place(why) },
        SendError::Unsure { why } => SendError::Unsure { why: place(why) },
        SendError::BrokenOff { why, is_sent } => SendError::BrokenOff {
            why: place(why),
            is_sent,
        },
    }
}
