//! The add-ons that are ordinary objects in `kube-system`: applied at every start, under a manager
//! of their own, so that what people add to them stays.

use api::Value;
use api::names::split_api_version;
use api::object::{api_version, kind, name, namespace};
use api::typed::ResourceType;
use reconcile::{Key, Patch, Writer};

use super::Process;

const MANAGER: &str = "ferry-addons";

/// Applies every add-on that is not disabled.
pub(crate) async fn apply(process: &Process, client: kube::Client) {
    let options = &process.options;
    let mut objects = Vec::new();
    if options.has("dns") {
        objects.extend(dns::manifests(
            env!("CARGO_PKG_VERSION"),
            &options.cluster_dns.to_string(),
            &options.cluster_domain,
        ));
    }
    let writer = Writer::new(client, MANAGER);
    for object in objects {
        let resource = resource_of(&object);
        let key = Key::new(namespace(&object), name(&object));
        let shown = format!("{} {}", kind(&object), name(&object));
        let patch = Patch::Apply { object, manager: MANAGER.to_owned(), force: true };
        if let Err(error) = writer.patch_raw(&resource, &key, "", patch).await {
            tracing::error!(object = shown, %error, "an add-on could not be applied");
        }
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
