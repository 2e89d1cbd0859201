//! Tokens from a file: `token,user,uid,"group1,group2"` a line. (`--token-auth-file`)

use std::collections::HashMap;

use api::status::ApiResult;
use apiserver::authn::{Authenticator, Credentials};
use async_trait::async_trait;
use auth::UserInfo;

/// Takes the caller from a table of tokens that is read once.
pub struct StaticTokens(HashMap<String, UserInfo>);

/// What is wrong with a token file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} of the token file must have at least 3 columns (token, user name, user uid), found {found}"
)]
pub struct TokenFileError {
    line: usize,
    found: usize,
}

impl StaticTokens {
    /// Reads the text of a token file.
    ///
    /// # Errors
    /// When a line has too few columns.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let columns = columns(line);
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(TokenFileError { line: index + 1, found: columns.len() });
            };
            if token.is_empty() {
                tracing::warn!(line = index + 1, "a token of the token file is empty; left out");
                continue;
            }
            let groups: Vec<&str> =
                rest.first().map(|list| list.split(',').collect()).unwrap_or_default();
            let groups: Vec<&str> = groups.into_iter().filter(|one| !one.is_empty()).collect();
            let user = UserInfo { uid: uid.clone(), ..UserInfo::named(name, &groups) };
            tokens.insert(token.clone(), user);
        }
        Ok(Self(tokens))
    }
}

/// The columns of a line of comma-separated values, with double quotes around what has commas.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                columns.last_mut().expect("begun with one").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            other => columns.last_mut().expect("begun with one").push(other),
        }
    }
    columns.iter().map(|one| one.trim().to_owned()).collect()
}

#[async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(credentials.bearer_token.and_then(|token| self.0.get(token)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_names_its_users() {
        let text = "# who\nt1,ann,u1,\"devs,ops\"\n\nt2,bob,u2\n,nobody,u3\n";
        let tokens = StaticTokens::parse(text).unwrap();
        let ask = async |token: &'static str| {
            let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
            tokens.authenticate(&credentials).await.unwrap()
        };
        let ann = ask("t1").await.unwrap();
        assert_eq!(ann.groups, ["devs", "ops", "system:authenticated"]);
        assert_eq!(ann.uid, "u1");
        assert_eq!(ask("t2").await.unwrap().username, "bob");
        assert!(ask("").await.is_none());
        assert!(ask("t3").await.is_none());
        assert!(StaticTokens::parse("t,u").is_err());
    }
}
