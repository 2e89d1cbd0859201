//! The flags by which others than the cluster itself say who somebody is, as kube-apiserver has
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use auth::oidc::Config;
use cli::clap::{Arg, ArgAction};

use super::Values;

/// Who vouches for callers besides the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthOptions {
    /// `--token-auth-file`.
    pub(crate) token_file: Option<PathBuf>,
    /// `--oidc-*`.
    pub(crate) oidc: Option<Config>,
    /// `--oidc-ca-file`.
    pub(crate) oidc_ca_file: Option<PathBuf>,
}

/// The arguments, for the verb's help.
pub(super) fn args() -> Vec<Arg> {
    let flag = |name: &'static str, env: &'static str, help: &'static str| {
        Arg::new(name).long(name).env(env).value_name("VALUE").help(help)
    };
    vec![
        flag("token-auth-file", "FERRY_TOKEN_AUTH_FILE", "A file of tokens: token,user,uid,groups"),
        flag("oidc-issuer-url", "FERRY_OIDC_ISSUER_URL", "The https address of an OpenID issuer"),
        flag("oidc-client-id", "FERRY_OIDC_CLIENT_ID", "Whom its ID tokens must be for"),
        flag("oidc-ca-file", "FERRY_OIDC_CA_FILE", "The CA of the issuer; else the machine's"),
        flag("oidc-username-claim", "FERRY_OIDC_USERNAME_CLAIM", "The claim of the user's name")
            .default_value("sub"),
        flag(
            "oidc-username-prefix",
            "FERRY_OIDC_USERNAME_PREFIX",
            "What goes before the name; - for nothing; the issuer's address by default",
        )
        .allow_hyphen_values(true),
        flag("oidc-groups-claim", "FERRY_OIDC_GROUPS_CLAIM", "The claim of the user's groups"),
        flag("oidc-groups-prefix", "FERRY_OIDC_GROUPS_PREFIX", "What goes before their names"),
        flag("oidc-required-claim", "FERRY_OIDC_REQUIRED_CLAIM", "KEY=VALUE that tokens must have")
            .value_delimiter(',')
            .action(ArgAction::Append),
        flag("oidc-signing-algs", "FERRY_OIDC_SIGNING_ALGS", "The algorithms that are accepted")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .default_value("RS256"),
    ]
}

/// What the flags say.
pub(super) fn parse(values: &Values<'_>) -> Result<AuthOptions> {
    let path = |name: &str| values.optional(name).map(PathBuf::from);
    Ok(AuthOptions {
        token_file: path("token-auth-file"),
        oidc: oidc(values)?,
        oidc_ca_file: path("oidc-ca-file"),
    })
}

fn oidc(values: &Values<'_>) -> Result<Option<Config>> {
    let given = (values.optional("oidc-issuer-url"), values.optional("oidc-client-id"));
    let (issuer, client) = match given {
        (None, None) => return Ok(None),
        (Some(issuer), Some(client)) => (issuer, client),
        _ => bail!("--oidc-issuer-url and --oidc-client-id must be specified together"),
    };
    if !issuer.starts_with("https://") {
        bail!("--oidc-issuer-url {issuer}: it must begin with https://");
    }
    let algorithms = values.list("oidc-signing-algs");
    if let Some(unknown) =
        algorithms.iter().find(|one| !auth::jwks::ALGORITHMS.contains(&one.as_str()))
    {
        let known = auth::jwks::ALGORITHMS.join(", ");
        bail!("--oidc-signing-algs {unknown}: unsupported signing alg; there are {known}");
    }
    let required = values.list("oidc-required-claim");
    let required = required.iter().map(|pair| {
        let (claim, value) = pair
            .split_once('=')
            .with_context(|| format!("--oidc-required-claim {pair}: it must be KEY=VALUE"))?;
        Ok((claim.to_owned(), value.to_owned()))
    });
    Ok(Some(Config {
        username_claim: values.text("oidc-username-claim")?,
        username_prefix: values.optional("oidc-username-prefix"),
        groups_claim: values.optional("oidc-groups-claim").unwrap_or_default(),
        groups_prefix: values.optional("oidc-groups-prefix").unwrap_or_default(),
        required_claims: required.collect::<Result<BTreeMap<_, _>>>()?,
        algorithms,
        ..Config::new(&issuer, &client)
    }))
}
