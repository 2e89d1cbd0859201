//! The kubeconfig of whoever started the cluster.

use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pki::Leaf;

/// A kubeconfig with the cluster and no user, for `kube-public/cluster-info`.
pub(crate) fn public(server: &str, authority_pem: &str) -> Value {
    let cluster =
        json!({ "server": server, "certificate-authority-data": STANDARD.encode(authority_pem) });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": cluster }],
        "users": null,
        "contexts": null,
        "current-context": "",
        "preferences": {},
    })
}

/// A kubeconfig with one cluster, one user and one context, all named `ferry`.
pub(crate) fn kubeconfig(server: &str, authority_pem: &str, client: &Leaf) -> Value {
    let encoded = |text: &str| STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "ferry",
            "cluster": { "server": server, "certificate-authority-data": encoded(authority_pem) },
        }],
        "users": [{
            "name": "ferry",
            "user": {
                "client-certificate-data": encoded(&client.pem),
                "client-key-data": encoded(&client.key_pem),
            },
        }],
        "contexts": [{ "name": "ferry", "context": { "cluster": "ferry", "user": "ferry" } }],
        "current-context": "ferry",
        "preferences": {},
    })
}
