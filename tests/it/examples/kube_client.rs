//! A kube-rs program against a running cluster, over TLS, by a kubeconfig: what an operator does.
//!
//! `kube_client KUBECONFIG`. Each test gets a namespace of its own, and waits for states, never for
//! time. Closes with `N passed, N failed`; `scripts/clients.sh rust` runs it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch,
    PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;

/// Longer than any of this takes; a test that waits longer has failed.
const LATE: Duration = Duration::from_secs(60);

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let path = std::env::args().nth(1).expect("usage: kube_client KUBECONFIG");
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a kubeconfig with a context");
    let client = Client::try_from(config).expect("a client");
    let mut tally = Tally { client, passed: 0, failed: 0 };
    tally.run("objects come, change and go", objects).await;
    tally.run("errors are statuses", errors).await;
    tally.run("pages, selectors and collections", pages).await;
    tally.run("a watch with bookmarks", watches).await;
    tally.run("a reflector's store follows", reflects).await;
    tally.run("patches of three kinds", patches).await;
    tally.run("server-side apply, conflict and force", applies).await;
    tally.run("scale, status and dry run", scales).await;
    tally.run("discovery, and kinds known by name only", discovers).await;
    tally.run("owners are followed", owners).await;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Tally {
    client: Client,
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Runs a test in a namespace of its own, which goes afterwards.
    async fn run<F>(&mut self, name: &str, test: fn(Client, String) -> F)
    where
        F: Future<Output = Outcome>,
    {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let meta = ObjectMeta { generate_name: Some("rust-".to_owned()), ..ObjectMeta::default() };
        let made = namespaces
            .create(&PostParams::default(), &Namespace { metadata: meta, ..Namespace::default() })
            .await
            .expect("a namespace can be made");
        let outcome =
            match tokio::time::timeout(LATE, test(self.client.clone(), made.name_any())).await {
                Ok(outcome) => outcome,
                Err(late) => Err(late.into()),
            };
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok    {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL  {name}: {error}");
            }
        }
        if let Err(error) = namespaces.delete(&made.name_any(), &DeleteParams::default()).await {
            println!("the namespace of {name} stays: {error}");
        }
    }
}

/// A failed demand, in words.
fn demand(holds: bool, what: impl std::fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

/// The Status of a call that must fail.
fn refused<T>(answer: Result<T, kube::Error>) -> Result<kube::core::Status, String> {
    match answer {
        Err(kube::Error::Api(status)) => Ok(*status),
        Err(other) => Err(format!("no Status but {other}")),
        Ok(_) => Err("it went well".to_owned()),
    }
}

fn config_map(name: &str, data: &[(&str, &str)], labels: &[(&str, &str)]) -> ConfigMap {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(map(labels)),
            ..ObjectMeta::default()
        },
        data: Some(map(data)),
        ..ConfigMap::default()
    }
}

fn deployment(name: &str, replicas: i32) -> Result<Deployment, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "web", "image": "ferry.local/demo:v1" }] },
            },
        },
    }))
}

async fn objects(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let made = maps.create(&PostParams::default(), &config_map("a", &[("n", "1")], &[])).await?;
    demand(made.uid().is_some(), "a uid")?;
    let mut changed = maps.get("a").await?;
    changed.data.get_or_insert_default().insert("n".to_owned(), "2".to_owned());
    let replaced = maps.replace("a", &PostParams::default(), &changed).await?;
    demand(replaced.resource_version() != made.resource_version(), "a new version")?;
    // `changed` has the old version still.
    let status = refused(maps.replace("a", &PostParams::default(), &changed).await)?;
    demand(status.code == 409 && status.reason == "Conflict", format!("{status:?}"))?;
    let gone = maps.delete("a", &DeleteParams::default()).await?;
    demand(gone.right().is_some_and(|status| status.is_success()), "a Status of success")?;
    demand(maps.get_opt("a").await?.is_none(), "it is gone")
}

async fn errors(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let post = PostParams::default();
    let missing = refused(maps.get("none").await)?;
    demand(missing.message == "configmaps \"none\" not found", &missing.message)?;
    maps.create(&post, &config_map("a", &[], &[])).await?;
    let again = refused(maps.create(&post, &config_map("a", &[], &[])).await)?;
    demand(again.reason == "AlreadyExists", &again.reason)?;
    let invalid = refused(maps.create(&post, &config_map("Not A Name", &[], &[])).await)?;
    let field = invalid.details.and_then(|own| own.causes.into_iter().next()).map(|own| own.field);
    demand(field.as_deref() == Some("metadata.name"), format!("{field:?}"))
}

async fn pages(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    for number in 0..5 {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        let name = format!("page-{number}");
        let map = config_map(&name, &[], &[("paged", "yes"), ("parity", parity)]);
        maps.create(&PostParams::default(), &map).await?;
    }
    let mut params = ListParams::default().labels("paged=yes").limit(2);
    let mut seen = Vec::new();
    loop {
        let page = maps.list(&params).await?;
        seen.extend(page.items.iter().map(ConfigMap::name_any));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    demand(seen == ["page-0", "page-1", "page-2", "page-3", "page-4"], format!("{seen:?}"))?;
    let odd = ListParams::default().labels("parity in (odd)");
    let _gone = maps.delete_collection(&DeleteParams::default(), &odd).await?;
    demand(maps.list(&ListParams::default().labels("paged")).await?.items.len() == 3, "3 left")?;
    let one = maps.list(&ListParams::default().fields("metadata.name=page-2")).await?;
    demand(one.items.len() == 1, "by its name")
}

async fn watches(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let start = maps.list(&ListParams::default()).await?.metadata.resource_version;
    let start = start.unwrap_or_default();
    let params = WatchParams::default().labels("watched").timeout(2);
    let mut events = pin!(maps.watch(&params, &start).await?);
    let map = config_map("a", &[("n", "1")], &[("watched", "yes")]);
    maps.create(&PostParams::default(), &map).await?;
    let patch = Patch::Merge(json!({ "data": { "n": "2" } }));
    maps.patch("a", &PatchParams::default(), &patch).await?;
    maps.delete("a", &DeleteParams::default()).await?;
    let (mut seen, mut bookmarks) = (Vec::new(), 0);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            WatchEvent::Bookmark(_) => bookmarks += 1,
            WatchEvent::Error(status) => return Err(format!("{status:?}").into()),
        }
    }
    demand(seen == ["added", "modified", "deleted"], format!("{seen:?}"))?;
    demand(bookmarks > 0, "a bookmark before a timed end")
}

async fn reflects(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    maps.create(&PostParams::default(), &config_map("before", &[], &[("own", "yes")])).await?;
    // Both ways to begin: a list and a watch, and a watch that sends the list.
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (reader, writer) = reflector::store();
        let stream = watcher(maps.clone(), config.labels("own"));
        let mut changes = pin!(reflector(writer, stream).applied_objects());
        let before = changes.try_next().await?.ok_or("the stream ended")?;
        demand(before.name_any() == "before", before.name_any())?;
        maps.create(&PostParams::default(), &config_map("after", &[], &[("own", "yes")])).await?;
        let after = changes.try_next().await?.ok_or("the stream ended")?;
        demand(after.name_any() == "after", after.name_any())?;
        demand(reader.len() == 2, "both are kept")?;
        maps.delete("after", &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn patches(client: Client, namespace: String) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(client, &namespace);
    deployments.create(&PostParams::default(), &deployment("web", 2)?).await?;
    let params = PatchParams::default();
    let side = json!({ "name": "side", "image": "ferry.local/demo:v2" });
    let strategic = json!({ "spec": { "template": { "spec": { "containers": [side] } } } });
    let merged = deployments.patch("web", &params, &Patch::Strategic(strategic)).await?;
    let containers = merged.spec.and_then(|spec| spec.template.spec).map(|pod| pod.containers);
    demand(containers.is_some_and(|all| all.len() == 2), "the containers are merged")?;
    let replicas = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
    deployments.patch("web", &params, &replicas).await?;
    let operations = serde_json::from_value(json!([
        { "op": "test", "path": "/spec/replicas", "value": 5 },
        { "op": "replace", "path": "/spec/replicas", "value": 6 },
    ]))?;
    let tested = deployments.patch("web", &params, &Patch::<()>::Json(operations)).await?;
    demand(tested.spec.and_then(|spec| spec.replicas) == Some(6), "six")
}

async fn applies(client: Client, namespace: String) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let body = |value: &str| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "applied" }, "data": { "a": value },
        }))
    };
    maps.patch("applied", &PatchParams::apply("one"), &body("1")).await?;
    let status = refused(maps.patch("applied", &PatchParams::apply("two"), &body("2")).await)?;
    let cause = status.details.and_then(|own| own.causes.into_iter().next()).ok_or("no cause")?;
    demand(status.code == 409 && cause.field == ".data.a", format!("{cause:?}"))?;
    demand(cause.message == "conflict with \"one\"", &cause.message)?;
    let forced = maps.patch("applied", &PatchParams::apply("two").force(), &body("2")).await?;
    let managers: Vec<_> =
        forced.managed_fields().iter().filter_map(|own| own.manager.as_deref()).collect();
    demand(managers.contains(&"two"), format!("{managers:?}"))
}

async fn scales(client: Client, namespace: String) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(client, &namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    deployments.create(&dry, &deployment("web", 1)?).await?;
    demand(deployments.get_opt("web").await?.is_none(), "a dry run leaves nothing")?;
    deployments.create(&PostParams::default(), &deployment("web", 1)?).await?;
    let patch = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &patch).await?;
    demand(scale.spec.and_then(|spec| spec.replicas) == Some(3), "three")?;
    let scale = deployments.get_scale("web").await?;
    let selector = scale.status.and_then(|status| status.selector);
    demand(selector.as_deref() == Some("app=web"), format!("{selector:?}"))?;
    let condition = json!({ "type": "Own", "status": "True", "reason": "Test", "message": "here" });
    let status = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
    let patched = deployments.patch_status("web", &PatchParams::default(), &status).await?;
    let conditions = patched.status.and_then(|status| status.conditions).unwrap_or_default();
    demand(conditions.iter().any(|own| own.type_ == "Own"), "the condition")
}

async fn discovers(client: Client, namespace: String) -> Outcome {
    let found = kube::discovery::Discovery::new(client.clone()).run_aggregated().await?;
    let gvk = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let (resource, capabilities) = found.resolve_gvk(&gvk).ok_or("no Deployment in discovery")?;
    demand(resource.plural == "deployments", &resource.plural)?;
    demand(capabilities.supports_operation("watch"), "it can be watched")?;
    let gvk = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let resource = ApiResource::from_gvk(&gvk);
    let any: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let object = DynamicObject::new("any", &resource).data(json!({ "data": { "a": "b" } }));
    let made = any.create(&PostParams::default(), &object).await?;
    demand(made.data["data"]["a"] == "b", &made.data)?;
    let meta = any.list_metadata(&ListParams::default().fields("metadata.name=any")).await?;
    demand(meta.items.len() == 1, "as metadata only")
}

async fn owners(client: Client, namespace: String) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    deployments.create(&PostParams::default(), &deployment("web", 2)?).await?;
    let observed = |own: Option<&Deployment>| {
        let status = own.and_then(|own| own.status.as_ref());
        status.and_then(|status| status.replicas) == Some(2)
    };
    await_condition(deployments.clone(), "web", observed).await?;
    let set = sets.list(&ListParams::default()).await?.items.pop().ok_or("no ReplicaSet")?;
    demand(set.owner_references()[0].name == "web", "its owner")?;
    demand(pods.list(&ListParams::default()).await?.items.len() == 2, "its pods")?;
    deployments.delete("web", &DeleteParams::foreground()).await?;
    let gone = |own: Option<&ReplicaSet>| own.is_none();
    await_condition(sets, &set.name_any(), gone).await?;
    let left = pods.list(&ListParams::default()).await?.items.len();
    demand(left == 0, format!("{left} pods outlive the Deployment"))
}
