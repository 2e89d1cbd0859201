//! Every pod runs as a service account, and finds its token where clients look for it.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, at, list_at, set, set_default, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use base::rng::SharedRng;
use serde_json::json;

/// Where clients look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How the names of token volumes begin.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and a little, so that kubelets which renew at 80 % do so well within the hour.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";

/// `ServiceAccount`.
pub(crate) struct ServiceAccount {
    rng: SharedRng,
}

impl ServiceAccount {
    pub(crate) fn new(rng: SharedRng) -> Self {
        Self { rng }
    }
}

#[async_trait]
impl AdmissionPlugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "pods")
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let (resource, namespace, name) =
            (request.resource.clone(), request.namespace, request.name);
        let Some(pod) = request.object.as_deref_mut() else { return Ok(()) };
        if annotation(pod, MIRROR).is_some() {
            return Ok(());
        }
        if str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
            set(pod, &["spec", "serviceAccountName"], "default");
        }
        let account_name = str_at(pod, &["spec", "serviceAccountName"]).to_owned();
        // The field's old name is kept in step. (core/v1 `DeprecatedServiceAccount`)
        set(pod, &["spec", "serviceAccount"], account_name.clone());
        let accounts = GroupResource::new("", "serviceaccounts");
        let account = api.get(&accounts, namespace, &account_name).await.map_err(|error| {
            if error.code() != 404 {
                return error;
            }
            let why = format!(
                "error looking up service account {namespace}/{account_name}: \
                 serviceaccount \"{account_name}\" not found"
            );
            ApiError::forbidden(&resource, name, &why)
        })?;
        if automounts(pod, &account) {
            self.mount_token(pod);
        }
        let own_secrets = list_at(&account, &["imagePullSecrets"]);
        if list_at(pod, &["spec", "imagePullSecrets"]).is_empty() && !own_secrets.is_empty() {
            set(pod, &["spec", "imagePullSecrets"], own_secrets.to_vec());
        }
        Ok(())
    }

    /// A mirror pod stands for what runs already, and may not reach for the API's secrets.
    async fn validate(
        &self,
        _: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(pod) = request.object.as_deref() else { return Ok(()) };
        if annotation(pod, MIRROR).is_none() {
            return Ok(());
        }
        let refuse = |why| Err(ApiError::forbidden(&request.resource, request.name, why));
        if !str_at(pod, &["spec", "serviceAccountName"]).is_empty() {
            return refuse("a mirror pod may not reference service accounts");
        }
        if mentions(&pod["spec"], &["secret", "secretRef", "secretKeyRef", "imagePullSecrets"]) {
            return refuse("a mirror pod may not reference secrets");
        }
        if mentions(&pod["spec"]["volumes"], &["serviceAccountToken"]) {
            return refuse("a mirror pod may not use ServiceAccountToken volume projections");
        }
        Ok(())
    }
}

/// Whether any of these fields is set anywhere in a value.
fn mentions(value: &Value, fields: &[&str]) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, below)| {
            let empty = below.as_array().is_some_and(Vec::is_empty) || below.is_null();
            fields.contains(&key.as_str()) && !empty || mentions(below, fields)
        }),
        Value::Array(list) => list.iter().any(|item| mentions(item, fields)),
        _ => false,
    }
}

fn automounts(pod: &Value, account: &Value) -> bool {
    let own = at(pod, &["spec", "automountServiceAccountToken"]);
    own.or_else(|| at(account, &["automountServiceAccountToken"]))
        .and_then(Value::as_bool)
        .unwrap_or(true)
}

impl ServiceAccount {
    fn mount_token(&self, pod: &mut Value) {
        // It is there already in the second round, when others have added containers.
        let volumes = list_at(pod, &["spec", "volumes"]);
        let names = volumes.iter().map(|volume| str_at(volume, &["name"]));
        let known = names.filter(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned).next();
        let is_new = known.is_none();
        let volume = known.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", self.rng.name_suffix(5)));
        let mut mounted = false;
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let mounts = list_at(container, &["volumeMounts"]);
                if mounts.iter().any(|mount| str_at(mount, &["mountPath"]) == MOUNT_PATH) {
                    continue;
                }
                set_default(container, &["volumeMounts"], json!([]));
                if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                    mounts.push(json!({
                        "name": volume, "readOnly": true, "mountPath": MOUNT_PATH,
                    }));
                    mounted = true;
                }
            }
        }
        if !mounted || !is_new {
            return;
        }
        set_default(pod, &["spec", "volumes"], json!([]));
        if let Some(volumes) = pod["spec"]["volumes"].as_array_mut() {
            volumes.push(token_volume(&volume));
        }
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{ "key": "ca.crt", "path": "ca.crt" }],
                } },
                { "downwardAPI": { "items": [{
                    "path": "namespace",
                    "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                }] } },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;

    async fn admit(pod: Value, account: Value) -> ApiResult<Value> {
        let api = Objects::of([account]);
        let plugin = ServiceAccount::new(SharedRng::seeded(1));
        Request::new(Operation::Create, "", "pods", "Pod", pod).admit(&plugin, &api).await
    }

    fn account(rest: Value) -> Value {
        let mut account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"}});
        account.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        account
    }

    #[tokio::test]
    async fn a_pod_gets_the_default_account_its_token_and_its_pull_secrets() {
        let pod = json!({"spec": {"containers": [{"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]}});
        let got = admit(pod, account(json!({"imagePullSecrets": [{"name": "s"}]}))).await.unwrap();
        let spec = &got["spec"];
        assert_eq!(spec["serviceAccountName"], "default");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn asked_again_it_mounts_the_same_volume() {
        let pod = json!({"spec": {"containers": [{"name": "a"}]}});
        let mut pod = admit(pod, account(json!({}))).await.unwrap();
        pod["spec"]["initContainers"] = json!([{"name": "late"}]);
        let got = admit(pod, account(json!({}))).await.unwrap();
        let spec = &got["spec"];
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        let mount = &spec["initContainers"][0]["volumeMounts"][0];
        assert_eq!(mount["name"], spec["volumes"][0]["name"]);
    }

    #[tokio::test]
    async fn the_pods_word_on_automounting_is_stronger_than_the_accounts() {
        for (pod_says, account_says, expected) in [
            (json!(null), json!(null), true),
            (json!(false), json!(true), false),
            (json!(true), json!(false), true),
            (json!(null), json!(false), false),
        ] {
            let pod = json!({"spec": {"containers": [{"name": "a"}],
                "automountServiceAccountToken": pod_says}});
            let got =
                admit(pod, account(json!({"automountServiceAccountToken": account_says}))).await;
            assert_eq!(got.unwrap()["spec"].get("volumes").is_some(), expected);
        }
    }

    #[tokio::test]
    async fn a_mirror_pod_reaches_for_nothing_of_the_api() {
        for (spec, expected) in [
            (json!({}), ""),
            (json!({"serviceAccountName": "s"}), "may not reference service accounts"),
            (
                json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}),
                "may not reference secrets",
            ),
            (
                json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
                "may not reference secrets",
            ),
            (
                json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {}}]}}]}),
                "may not use ServiceAccountToken volume projections",
            ),
        ] {
            let pod = json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": spec});
            let request = Request::new(Operation::Create, "", "pods", "Pod", pod);
            let plugin = ServiceAccount::new(SharedRng::seeded(1));
            let got = request.validate(&plugin, &Objects::default()).await.err();
            let text = got.map(|error| error.to_string()).unwrap_or_default();
            assert!(text.ends_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
        }
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_is_refused() {
        let pod = json!({"spec": {"containers": [], "serviceAccountName": "ghost"}});
        let error = admit(pod, account(json!({}))).await.unwrap_err();
        assert_eq!(error.code(), 403);
        assert!(error.to_string().contains("serviceaccount \"ghost\" not found"), "{error}");
    }
}
