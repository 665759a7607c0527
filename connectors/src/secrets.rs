//! Secrets: named in a channel file, read from the environment or a file, never shown.

use std::fmt;
use std::path::Path;

use engine::channel::secret;
use engine::connector::{ConnectorError, Surroundings};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::Problems;

/// Who we are to a far side: a bearer token, or a user and a password (HTTP Basic).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The environment variable that holds the bearer token.
    pub bearer_env: Option<String>,
    /// The file that holds the bearer token, beside the channel file unless its path is absolute.
    pub bearer_file: Option<String>,
    /// The user, for HTTP Basic.
    pub user: Option<String>,
    /// The environment variable that holds the user's password.
    pub password_env: Option<String>,
    /// The file that holds the user's password.
    pub password_file: Option<String>,
}

/// The bearer token that callers must show.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The environment variable that holds the token.
    pub bearer_env: Option<String>,
    /// The file that holds the token, beside the channel file unless its path is absolute.
    pub bearer_file: Option<String>,
}

/// A value that nothing prints.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes as long for a wrong value as for the right one.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), shown).is_ok()
    }
}

/// What is shown to a far side.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    Bearer(Secret),
    Basic { user: String, password: Secret },
}

impl Auth {
    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        let bearer = [&self.bearer_env, &self.bearer_file]
            .into_iter()
            .flatten()
            .count();
        let password = [&self.password_env, &self.password_file]
            .into_iter()
            .flatten()
            .count();
        let is_right = match &self.user {
            None => bearer == 1 && password == 0,
            Some(user) => bearer == 0 && password == 1 && !user.is_empty() && !user.contains(':'),
        };
        if !is_right {
            problems.add(
                path,
                "write one of `bearer_env` and `bearer_file`, or `user` with one of `password_env` and `password_file`",
            );
        }
    }

    pub(crate) async fn resolve(&self, surroundings: &Surroundings) -> Result<Credentials, ConnectorError> {
        match &self.user {
            None => Ok(Credentials::Bearer(
                read(&self.bearer_env, &self.bearer_file, surroundings).await?,
            )),
            Some(user) => Ok(Credentials::Basic {
                user: user.clone(),
                password: read(&self.password_env, &self.password_file, surroundings).await?,
            }),
        }
    }
}

impl Bearer {
    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        if [&self.bearer_env, &self.bearer_file]
            .into_iter()
            .flatten()
            .count()
            != 1
        {
            problems.add(path, "write one of `bearer_env` and `bearer_file`");
        }
    }

    pub(crate) async fn resolve(&self, surroundings: &Surroundings) -> Result<Secret, ConnectorError> {
        read(&self.bearer_env, &self.bearer_file, surroundings).await
    }
}

pub(crate) async fn read(
    variable: &Option<String>,
    file: &Option<String>,
    surroundings: &Surroundings,
) -> Result<Secret, ConnectorError> {
    let (text, origin) = match (variable, file) {
        (Some(variable), _) => {
            let text = std::env::var(variable).map_err(|_| {
                ConnectorError::new(format!(
                    "The environment variable {variable} is not set; the secret is read from it."
                ))
            })?;
            (text, format!("The environment variable {variable}"))
        }
        (None, Some(file)) => {
            let path = surroundings.folder.join(file);
            let text = read_file(&path).await.map_err(|why| {
                ConnectorError::new(format!("The secret can't be read from {}: {why}", path.display()))
            })?;
            (text, format!("The file {}", path.display()))
        }
        (None, None) => {
            return Err(ConnectorError::new(
                "No place is named from which the secret is read.",
            ));
        }
    };
    let Some(secret) = secret::in_text(&text) else {
        return Err(ConnectorError::new(format!("{origin} {}.", secret::NONE)));
    };
    Ok(Secret(secret.to_owned()))
}

async fn read_file(path: &Path) -> Result<String, String> {
    let length = tokio::fs::metadata(path)
        .await
        .map_err(|error| error.to_string())?
        .len();
    if secret::LONGEST < length {
        return Err(format!("{length} bytes are too long for one"));
    }
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_only() {
        let some = || Some("NAME".to_owned());
        let count = |auth: Auth| {
            let mut problems = Problems::default();
            auth.check("auth", &mut problems);
            problems
                .into_result(())
                .err()
                .map_or(0, |problems| problems.len())
        };
        assert_eq!(
            count(Auth {
                bearer_env: some(),
                ..Auth::default()
            }),
            0
        );
        assert_eq!(
            count(Auth {
                user: some(),
                password_file: some(),
                ..Auth::default()
            }),
            0
        );
        assert_eq!(count(Auth::default()), 1);
        assert_eq!(
            count(Auth {
                bearer_env: some(),
                bearer_file: some(),
                ..Auth::default()
            }),
            1
        );
        assert_eq!(
            count(Auth {
                bearer_env: some(),
                user: some(),
                ..Auth::default()
            }),
            1
        );
        assert_eq!(
            count(Auth {
                password_env: some(),
                ..Auth::default()
            }),
            1
        );
    }

    #[test]
    fn nothing_is_shown() {
        let secret = Secret("geheim".to_owned());
        assert_eq!(
            format!("{:?}", Credentials::Bearer(secret.clone())),
            "Bearer(•••)"
        );
        assert!(secret.is(b"geheim") && !secret.is(b"geheiM") && !secret.is(b"geheim2") && !secret.is(b""));
    }

    #[tokio::test]
    async fn files_stand_beside_the_channel() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), "abc123\n").expect("written");
        std::fs::write(folder.path().join("empty"), "\n").expect("written");
        let surroundings = Surroundings {
            folder: folder.path().to_owned(),
            ..Surroundings::default()
        };
        let from = |file: &str| Bearer {
            bearer_env: None,
            bearer_file: Some(file.to_owned()),
        };
        assert!(
            from("token")
                .resolve(&surroundings)
                .await
                .expect("a secret")
                .is(b"abc123")
        );
        assert!(from("empty").resolve(&surroundings).await.is_err());
        assert!(from("missing").resolve(&surroundings).await.is_err());
    }
}
