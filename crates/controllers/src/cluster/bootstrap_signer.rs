//! Bootstrap signer: the ConfigMap `kube-public/cluster-info` carries, for each bootstrap token that
//! is meant for it, a signature by that token's secret, so that a new node which knows the token
//! knows that the kubeconfig in it is the cluster's.
//!
//! (Kubernetes `pkg/controller/bootstrap/bootstrapsigner.go`)

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use reconcile::{Action, Cache, Ctx, Error, Key, Reconciler, Scope, Watches, or_gone};
use serde_json::json;

use crate::deps::Deps;

pub(crate) const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const SIGNATURE: &str = "jws-kubeconfig-";

/// The controller.
pub(crate) struct Controller {
    infos: Cache<ConfigMap>,
    tokens: Cache<Secret>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        infos: deps.caches.scoped(Scope {
            namespace: NAMESPACE.to_owned(),
            field_selector: format!("metadata.name={NAME}"),
            ..Scope::default()
        }),
        tokens: tokens(deps),
    })
}

/// The bootstrap tokens' Secrets.
pub(crate) fn tokens(deps: &Deps) -> Cache<Secret> {
    deps.caches.scoped(Scope {
        namespace: "kube-system".to_owned(),
        field_selector: format!("type={TOKEN_TYPE}"),
        ..Scope::default()
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "bootstrap-signer-controller"
    }

    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.infos);
        watches.on(&self.tokens, |_, queue| queue.add(Key::new(NAMESPACE, NAME)));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(info) = self.infos.get_key(key) else { return Ok(Action::Await) };
        let secrets: Vec<BTreeMap<String, String>> =
            self.tokens.list().iter().map(|secret| texts(secret)).collect();
        if let Some(signed) = signed(&info, &secrets) {
            or_gone(ctx.writer.update(&signed).await)?;
        }
        Ok(Action::Await)
    }
}

/// A Secret's values that are texts.
pub(crate) fn texts(secret: &Secret) -> BTreeMap<String, String> {
    let all = secret.data.iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?)))
        .collect()
}

/// The ConfigMap with the signatures that it should have; `None` when it has them.
fn signed(info: &ConfigMap, tokens: &[BTreeMap<String, String>]) -> Option<ConfigMap> {
    let kubeconfig = info.data.as_ref()?.get("kubeconfig")?;
    let wanted: BTreeMap<String, String> = tokens
        .iter()
        .filter(|token| token.get("usage-bootstrap-signing").is_some_and(|on| on == "true"))
        .filter_map(|token| {
            let (id, secret) = (token.get("token-id")?, token.get("token-secret")?);
            (!id.is_empty() && !secret.is_empty())
                .then(|| (format!("{SIGNATURE}{id}"), detached(kubeconfig, id, secret)))
        })
        .collect();
    let mut data = info.data.clone().unwrap_or_default();
    data.retain(|key, _| !key.starts_with(SIGNATURE));
    data.extend(wanted);
    (Some(&data) != info.data.as_ref()).then(|| ConfigMap { data: Some(data), ..info.clone() })
}

/// A JSON web signature (HS256) without its content. (RFC 7515, appendix F)
fn detached(content: &str, id: &str, secret: &str) -> String {
    let header = B64.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", B64.encode(content));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = B64.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{header}..{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, signing: &str) -> BTreeMap<String, String> {
        let pairs = [
            ("token-id", id),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-signing", signing),
        ];
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn signatures_come_and_go_with_their_tokens() {
        let info: ConfigMap = serde_json::from_value(json!({"metadata": {"name": NAME},
            "data": {"kubeconfig": "x", "jws-kubeconfig-old111": "stale"}}))
        .unwrap();
        let tokens = [token("abcdef", "true"), token("ghijkl", "false")];
        let signed = signed(&info, &tokens).unwrap();
        let data = signed.data.clone().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig"]);
        let signature = &data["jws-kubeconfig-abcdef"];
        // What kubeadm would compute.
        assert!(signature.starts_with("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9.."), "{signature}");
        let (header, rest) = signature.split_once("..").unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"0123456789abcdef");
        let content = format!("{header}.{}", B64.encode("x"));
        ring::hmac::verify(&key, content.as_bytes(), &B64.decode(rest).unwrap()).unwrap();
        assert!(super::signed(&signed, &tokens).is_none());
    }
}
