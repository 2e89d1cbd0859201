//! The add-ons that are ordinary objects in `kube-system`: applied at every start, under a manager
//! of their own, so that what people add to them stays.
//!
//! Each object is a key of a reconciler that watches nothing: it is applied once, and again with a
//! back-off while it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Value;
use api::names::split_api_version;
use api::object::{api_version, kind, name, namespace};
use api::typed::ResourceType;
use async_trait::async_trait;
use reconcile::{Action, Ctx, Error, Key, Patch, Reconciler, Watches};

use super::Process;

const MANAGER: &str = "ferry-addons";

/// Applies the objects of every add-on that is not disabled.
pub(crate) struct Addons {
    objects: BTreeMap<Key, Value>,
}

impl Addons {
    /// The add-ons of a process.
    pub(crate) fn new(process: &Process) -> Arc<Self> {
        let options = &process.options;
        let mut objects = Vec::new();
        if options.has("dns") {
            objects.extend(dns::manifests(
                env!("CARGO_PKG_VERSION"),
                &options.cluster_dns.to_string(),
                &options.cluster_domain,
            ));
        }
        Arc::new(Self { objects: objects.into_iter().enumerate().map(numbered).collect() })
    }
}

/// An object under its place in the manifests, by which keys sort: an account comes before the
/// pods that run under it.
fn numbered((at, object): (usize, Value)) -> (Key, Value) {
    (Key::new("", &format!("{at:03} {} {}", kind(&object), name(&object))), object)
}

#[async_trait]
impl Reconciler for Addons {
    fn name(&self) -> &'static str {
        "addons"
    }

    /// One after another, in the manifests' order.
    fn workers(&self) -> usize {
        1
    }

    fn watches(&self, watches: &mut Watches) {
        self.objects.keys().for_each(|key| watches.once(key.clone()));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(object) = self.objects.get(key) else { return Ok(Action::Await) };
        let own = Key::new(namespace(object), name(object));
        let patch =
            Patch::Apply { object: object.clone(), manager: MANAGER.to_owned(), force: true };
        ctx.writer.patch_raw(&resource_of(object), &own, "", patch).await?;
        Ok(Action::Await)
    }
}

/// The resource of an object, by the rule that names of built-in kinds follow.
fn resource_of(object: &Value) -> ResourceType {
    let (group, version) = split_api_version(api_version(object));
    let plural = format!("{}s", kind(object).to_lowercase());
    ResourceType::new(group, version, &plural, kind(object), !namespace(object).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_the_name_server_has_its_path() {
        let paths: Vec<_> = dns::manifests("1", "10.96.0.10", "cluster.local")
            .iter()
            .map(|object| resource_of(object).collection_path(namespace(object)))
            .collect();
        assert_eq!(
            paths,
            [
                "/api/v1/namespaces/kube-system/serviceaccounts",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                "/api/v1/namespaces/kube-system/services",
                "/apis/apps/v1/namespaces/kube-system/deployments",
            ]
        );
    }
}
