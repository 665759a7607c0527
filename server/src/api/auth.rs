//! Who asks, and what they may do. Keys come as `Authorization: Bearer …`; each has scopes.

use axum::http::{HeaderMap, StatusCode, header};
use engine::store::ApiKey;

use super::{Problem, State};

/// The scopes that a key can have. `admin` contains the others.
pub const SCOPES: &[&str] = &["messages:read", "clinic:read", "clinic:write", "admin"];

/// A fresh secret: 32 random bytes, in hex, with a prefix by which leaked ones are found.
pub fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes could be had"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("punte_{hex}"))
}

/// Lets pass who has a key with this scope.
pub async fn require(state: &State, headers: &HeaderMap, scope: &str) -> Result<ApiKey, Problem> {
    let denied = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let secret = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim())
        .ok_or_else(|| denied("a key is needed: Authorization: Bearer … (punte key add NAME --scope …)"))?;
    let key = if constant_time_equal(secret.as_bytes(), state.inner.local_key.as_bytes()) {
        ApiKey {
            name: "local".into(),
            scopes: vec!["admin".into()],
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    } else {
        state
            .store()
            .api_key(secret)
            .await?
            .ok_or_else(|| denied("this key is not known"))?
    };
    if key.scopes.iter().any(|has| has == scope || has == "admin") {
        return Ok(key);
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        format!("the key {:?} does not have the scope {scope}", key.name),
    ))
}

fn constant_time_equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
