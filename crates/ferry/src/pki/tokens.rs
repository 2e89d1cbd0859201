//! The keys of service-account tokens: `service.key`, which may hold several. The first signs, all
//! verify, so that a key is rotated by putting a new one first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use auth::token::{TokenAuthority, generate_key};
use base::drain::Drain;
use kubelet::FileWatch;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::{pem, write_secret};

/// The issuer of service-account tokens, as upstream names it by default.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const FILE: &str = "service.key";
/// How many keys a rotation leaves: the new one and those whose tokens may still live.
const KEYS_MAX: usize = 3;

/// The authority of the keys in a folder; the first key is made when there is none.
pub(crate) fn open(dir: &Path) -> Result<TokenAuthority> {
    let path = dir.join(FILE);
    if !path.exists() {
        let der = generate_key().context("cannot make the key of tokens")?;
        write_secret(&path, pem("PRIVATE KEY", &der).as_bytes())?;
    }
    let keys = read(&path)?;
    TokenAuthority::new(ISSUER, &[ISSUER], &keys[0], &keys[1..])
        .with_context(|| format!("cannot use {}", path.display()))
}

/// Puts a new key first. A running server takes it in by itself.
pub(crate) fn rotate(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    let mut keys = vec![generate_key().context("cannot make the key of tokens")?];
    keys.extend(read(&path)?);
    keys.truncate(KEYS_MAX);
    let text: String = keys.iter().map(|key| pem("PRIVATE KEY", key)).collect();
    write_secret(&path, text.as_bytes())
}

/// Takes in what [`rotate`], or somebody by hand, writes, until the drain fires.
pub(crate) async fn follow(dir: PathBuf, tokens: Arc<TokenAuthority>, drain: Drain) {
    let watch = match FileWatch::folder(&dir) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "new keys of tokens will not be seen before a restart");
            return;
        }
    };
    let mut known = read(&dir.join(FILE)).unwrap_or_default();
    loop {
        tokio::select! {
            () = drain.cancelled() => return,
            changed = watch.changed() => if changed.is_err() { return },
        }
        let Ok(keys) = read(&dir.join(FILE)) else { continue };
        if keys == known {
            continue;
        }
        match tokens.replace_keys(&keys[0], &keys[1..]) {
            Ok(()) => tracing::info!("the keys of service-account tokens were read anew"),
            Err(error) => {
                tracing::error!(%error, "the keys of service-account tokens stay as they were")
            }
        }
        known = keys;
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let keys = PrivateKeyDer::pem_slice_iter(&text)
        .map(|key| key.map(|key| key.secret_der().to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} holds no private keys", path.display()))?;
    anyhow::ensure!(!keys.is_empty(), "{} holds no private key", path.display());
    Ok(keys)
}

/// Makes the legacy tokens of service accounts.
pub(crate) struct LegacyTokens(pub(crate) Arc<TokenAuthority>);

impl controllers::TokenIssuer for LegacyTokens {
    fn issue(
        &self,
        namespace: &str,
        account: &str,
        account_uid: &str,
        secret: &str,
    ) -> Result<String, String> {
        let claims = auth::legacy_token::LegacyClaims::new(namespace, account, account_uid, secret);
        self.0.sign_legacy(&claims).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::token::Claims;

    #[test]
    fn a_rotated_key_signs_and_the_former_ones_verify() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = open(dir.path()).unwrap();
        let claims = Claims { exp: 100, ..Claims::default() };
        let before = tokens.sign(claims.clone()).unwrap();
        rotate(dir.path()).unwrap();
        let rotated = open(dir.path()).unwrap();
        assert!(rotated.verify(&before, &[], 1).is_ok());
        let after = rotated.sign(claims).unwrap();
        assert!(tokens.verify(&after, &[], 1).is_err());
        tokens
            .replace_keys(
                &read(&dir.path().join(FILE)).unwrap()[0],
                &read(&dir.path().join(FILE)).unwrap()[1..],
            )
            .unwrap();
        assert!(tokens.verify(&after, &[], 1).is_ok());
        assert_eq!(tokens.jwks()["keys"].as_array().unwrap().len(), 2);
        for _ in 0..5 {
            rotate(dir.path()).unwrap();
        }
        assert_eq!(read(&dir.path().join(FILE)).unwrap().len(), KEYS_MAX);
    }
}
