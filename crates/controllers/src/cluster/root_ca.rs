//! Root CA: every namespace has the ConfigMap `kube-root-ca.crt`, as it should read.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Action, Cache, Caches, Ctx, Error, Key, Reconciler, Scope, Watches};

use tokio::sync::watch;

use super::serviceaccount::{is_active, unless_gone};
use crate::deps::Deps;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// The controller.
pub(crate) struct Controller {
    namespaces: Cache<Namespace>,
    configmaps: Cache<ConfigMap>,
    pem: watch::Receiver<String>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        namespaces: deps.caches.of(),
        configmaps: named(&deps.caches),
        pem: deps.options.root_ca_pem.clone(),
    })
}

/// Only the ConfigMaps of this name: nothing else here reads any.
fn named(caches: &Caches) -> Cache<ConfigMap> {
    let field_selector = format!("metadata.name={NAME}");
    caches.scoped(Scope { field_selector, ..Scope::default() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.namespaces);
        watches.on(&self.configmaps, |event, queue| {
            if let Some(namespace) = &event.object().metadata.namespace {
                queue.add(Key::new("", namespace));
            }
        });
        let (namespaces, queue) = (self.namespaces.clone(), watches.queue().clone());
        let mut pem = self.pem.clone();
        tokio::spawn(async move {
            // Ends with the sender, which lives as long as the process.
            while pem.changed().await.is_ok() {
                for namespace in namespaces.list() {
                    queue.add(Key::of(&namespace.metadata));
                }
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let pem = self.pem.borrow().clone();
        if pem.is_empty() || !is_active(&self.namespaces, &key.name) {
            return Ok(Action::Await);
        }
        let Some(existing) = self.configmaps.get(&key.name, NAME) else {
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(key.name.to_string()),
                ..ObjectMeta::default()
            };
            unless_gone(ctx.writer.create(&wanted(&pem, metadata)).await)?;
            return Ok(Action::Await);
        };
        let wanted = wanted(&pem, existing.metadata.clone());
        if existing.data != wanted.data || existing.metadata != wanted.metadata {
            reconcile::or_gone(ctx.writer.update(&wanted).await)?;
        }
        Ok(Action::Await)
    }
}

fn wanted(pem: &str, mut metadata: ObjectMeta) -> ConfigMap {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned());
    let data = BTreeMap::from([("ca.crt".to_owned(), pem.to_owned())]);
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}
