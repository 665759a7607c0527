//! What a script may call outside: far sides that its channel grants, each by a name. The engine knows no protocol;
//! `connectors` brings one. The call is made in this process: a script's own process has no network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connector::{ConnectorError, Looked, SettingsProblem, Surroundings};

/// The most calls that a script makes for one message.
pub const MOST_CALLS: usize = 100;

/// What a script asks a far side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// The name of the far side in the channel file.
    pub to: String,
    /// The method.
    pub method: String,
    /// What follows the base address.
    pub path: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Bytes,
}

/// What a far side answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// Headers, in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// A sentence, without the address and without a secret.
    pub why: String,
    /// True where the far side may have got it.
    pub is_sent: bool,
}

impl CallError {
    /// Surely not sent.
    pub fn not_sent(why: impl Into<String>) -> Self {
        CallError {
            why: why.into(),
            is_sent: false,
        }
    }
}

/// A far side that a script may call.
#[async_trait]
pub trait FarSide: Send + Sync {
    /// Calls it, for at most so long.
    async fn call(&self, request: &CallRequest, within: Duration) -> Result<CallAnswer, CallError>;
}

/// The far sides of one channel, by their names.
pub type FarSides = BTreeMap<String, Arc<dyn FarSide>>;

/// A protocol by which scripts call.
#[async_trait]
pub trait Calls: Send + Sync {
    /// JSON Schema of the table of one far side.
    fn schema(&self) -> Value;
    /// What is wrong with a table beyond its schema.
    fn check(&self, settings: &Value) -> Vec<SettingsProblem>;
    /// What a look at the files around a table that is right finds.
    fn look_at(&self, settings: &Value, surroundings: &Surroundings) -> Looked;
    /// Reads secrets and certificates. Does not connect yet.
    async fn open(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn FarSide>, ConnectorError>;
}

impl fmt::Debug for dyn FarSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a far side")
    }
}
