//! The ConfigMap `kube-system/extension-apiserver-authentication`: whom other servers may believe.
//! They read it to know users' certificates, and to know the front proxy that sends them requests.
//!
//! What must be in it is in it; keys that others added stay.
//! (Kubernetes `pkg/controlplane/controller/clusterauthenticationtrust`)

use std::collections::BTreeMap;

use api::k8s_openapi::api::core::v1::ConfigMap;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use apiserver::authn::RequestHeaders;
use async_trait::async_trait;
use reconcile::{Action, Cache, Caches, Ctx, Error, Key, Reconciler, Watches, or_gone};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// Whom other servers may believe.
#[derive(Debug, Clone, Default)]
pub struct AuthenticationTrust {
    /// The authorities of users' client certificates, PEM.
    pub client_ca_pem: String,
    /// The authorities of front proxies, PEM.
    pub proxy_ca_pem: String,
    /// The headers by which front proxies say who a caller is, and what they are called
    /// themselves.
    pub headers: RequestHeaders,
}

impl AuthenticationTrust {
    fn data(&self) -> BTreeMap<String, String> {
        let list = |names: &[String]| serde_json::json!(names).to_string();
        let headers = &self.headers;
        [
            ("client-ca-file", self.client_ca_pem.clone()),
            ("requestheader-allowed-names", list(&headers.allowed_names)),
            ("requestheader-client-ca-file", self.proxy_ca_pem.clone()),
            ("requestheader-extra-headers-prefix", list(&headers.extra_prefixes)),
            ("requestheader-group-headers", list(&headers.groups)),
            ("requestheader-uid-headers", list(&headers.uid)),
            ("requestheader-username-headers", list(&headers.username)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Keeps the ConfigMap.
pub(crate) struct Keeper {
    maps: Cache<ConfigMap>,
    wanted: BTreeMap<String, String>,
}

impl Keeper {
    pub(crate) fn new(caches: &Caches, trust: AuthenticationTrust) -> Self {
        Self { maps: caches.of(), wanted: trust.data() }
    }
}

#[async_trait]
impl Reconciler for Keeper {
    fn name(&self) -> &'static str {
        "cluster-authentication-trust-controller"
    }

    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        watches.once(Key::new(NAMESPACE, NAME));
        watches.on(&self.maps, |event, queue| {
            let key = Key::of(&event.object().metadata);
            if &*key.namespace == NAMESPACE && &*key.name == NAME {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(current) = self.maps.get_key(key) else {
            let made = ConfigMap {
                metadata: ObjectMeta {
                    namespace: Some(NAMESPACE.to_owned()),
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                data: Some(self.wanted.clone()),
                ..ConfigMap::default()
            };
            return match ctx.writer.create(&made).await {
                // Another server of the same cluster was quicker.
                Err(failure) if failure.is_already_exists() => Ok(Action::Await),
                created => Ok(created.map(|_| Action::Await)?),
            };
        };
        let mut data = current.data.clone().unwrap_or_default();
        data.extend(self.wanted.clone());
        if current.data.as_ref() != Some(&data) {
            let changed = ConfigMap { data: Some(data), ..(*current).clone() };
            or_gone(ctx.writer.update(&changed).await)?;
        }
        Ok(Action::Await)
    }
}
