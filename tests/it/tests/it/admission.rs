//! Quotas, limit ranges and the Pod Security Standards in a whole control plane: what the
//! conformance suite asks of them.

use std::collections::BTreeMap;

use api::typed::Kind;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace, PersistentVolumeClaim, Pod, ReplicationController,
    ResourceQuota, Secret, Service,
};
use reconcile::{Delete, Key, Patch};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

async fn quota(cluster: &Cluster, name: &str, spec: Value) {
    let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    cluster.create::<ResourceQuota>(object).await;
    let hard = spec["hard"].as_object().unwrap().len();
    cluster.until::<ResourceQuota>("default", name, |quota| used(quota).len() == hard).await;
}

fn used(quota: &ResourceQuota) -> BTreeMap<String, String> {
    let used = quota.status.as_ref().and_then(|status| status.used.clone()).unwrap_or_default();
    used.into_iter().map(|(name, amount)| (name, amount.0)).collect()
}

/// What the server itself has, which the cache may not have yet.
async fn used_now(cluster: &Cluster, name: &str) -> BTreeMap<String, String> {
    used(&cluster.writer.get::<ResourceQuota>(&Key::new("default", name)).await.unwrap())
}

async fn refused<K: Kind + std::fmt::Debug>(cluster: &Cluster, object: Value, expected: &str) {
    let object = K::decode(object.to_string().as_bytes()).unwrap();
    let failure = cluster.writer.create(&object).await.unwrap_err().to_string();
    assert!(failure.contains(expected), "{failure}");
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

fn asks(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}})
}

async fn delete<K: Kind>(cluster: &Cluster, name: &str) {
    let how = Delete { grace_seconds: Some(0), ..Delete::default() };
    cluster.writer.delete::<K>(&Key::new("default", name), how).await.unwrap();
}

async fn until_used(cluster: &Cluster, name: &str, resource: &str, amount: &str) {
    cluster
        .until::<ResourceQuota>("default", name, |quota| {
            used(quota).get(resource).is_some_and(|used| used == amount)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_charged_refused_and_given_back() {
    let cluster = cluster::without_node().await;
    let hard = json!({"pods": "2", "cpu": "1", "limits.memory": "1Gi"});
    quota(&cluster, "q", json!({ "hard": hard })).await;
    cluster.create::<Pod>(pod("a", asks("600m", "256Mi"))).await;
    let charged = used_now(&cluster, "q").await;
    assert_eq!((charged["pods"].as_str(), charged["cpu"].as_str()), ("1", "600m"));
    refused::<Pod>(
        &cluster,
        pod("b", asks("500m", "256Mi")),
        "pods \"b\" is forbidden: exceeded quota: q, requested: cpu=500m, used: cpu=600m, limited: cpu=1",
    )
    .await;
    refused::<Pod>(
        &cluster,
        pod("b", json!({})),
        "pods \"b\" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c",
    )
    .await;
    assert_eq!(used_now(&cluster, "q").await["cpu"], "600m", "what is refused is not charged");
    delete::<Pod>(&cluster, "a").await;
    until_used(&cluster, "q", "cpu", "0").await;
    cluster.create::<Pod>(pod("b", asks("500m", "256Mi"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_counted_by_any_name() {
    let cluster = cluster::without_node().await;
    let hard = json!({"configmaps": "5", "secrets": "9", "count/replicasets.apps": "1",
        "replicationcontrollers": "1", "resourcequotas": "1", "services": "3",
        "services.nodeports": "1", "services.loadbalancers": "1", "persistentvolumeclaims": "2",
        "requests.storage": "10Gi", "gold.storageclass.storage.k8s.io/requests.storage": "6Gi"});
    quota(&cluster, "q", json!({ "hard": hard })).await;
    until_used(&cluster, "q", "resourcequotas", "1").await;
    let named = |name: &str| json!({"name": name, "namespace": "default"});

    let before: u32 = used_now(&cluster, "q").await["configmaps"].parse().unwrap();
    cluster.create::<ConfigMap>(json!({"metadata": named("m")})).await;
    let after: u32 = used_now(&cluster, "q").await["configmaps"].parse().unwrap();
    assert_eq!(after, before + 1);
    cluster.create::<Secret>(json!({"metadata": named("s")})).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "c", "image": "i"}]}});
    let set = |name| {
        json!({"metadata": named(name), "spec": {"replicas": 0, "selector":
        {"matchLabels": {"a": "b"}}, "template": template}})
    };
    cluster.create::<ReplicaSet>(set("r")).await;
    refused::<ReplicaSet>(
        &cluster,
        set("t"),
        "exceeded quota: q, requested: count/replicasets.apps=1, used: count/replicasets.apps=1, limited: count/replicasets.apps=1",
    )
    .await;
    let controller = json!({"metadata": named("c"), "spec": {"replicas": 0, "selector": {"a": "b"},
        "template": template}});
    cluster.create::<ReplicationController>(controller).await;
    assert_eq!(used_now(&cluster, "q").await["replicationcontrollers"], "1");

    let service = |name: &str, kind: &str| {
        json!({"metadata": named(name), "spec": {"type": kind,
        "ports": [{"port": 80}]}})
    };
    cluster.create::<Service>(service("one", "NodePort")).await;
    refused::<Service>(
        &cluster,
        service("two", "LoadBalancer"),
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1",
    )
    .await;
    cluster.create::<Service>(service("two", "ClusterIP")).await;
    let becomes = Patch::Merge(json!({"spec": {"type": "NodePort"}}));
    let failure = cluster
        .writer
        .patch::<Service>(&Key::new("default", "two"), "", becomes)
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("exceeded quota: q, requested: services.nodeports=1"));

    let claim = |name: &str, size: &str| {
        json!({"metadata": named(name), "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "gold",
        "resources": {"requests": {"storage": size}}}})
    };
    cluster.create::<PersistentVolumeClaim>(claim("small", "5Gi")).await;
    refused::<PersistentVolumeClaim>(
        &cluster,
        claim("large", "2Gi"),
        "requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi, used: \
         gold.storageclass.storage.k8s.io/requests.storage=5Gi, limited: \
         gold.storageclass.storage.k8s.io/requests.storage=6Gi",
    )
    .await;
    delete::<Service>(&cluster, "one").await;
    until_used(&cluster, "q", "services.nodeports", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scoped_quotas_count_what_is_in_their_scope() {
    let cluster = cluster::without_node().await;
    let hard = json!({"pods": "1"});
    quota(&cluster, "best-effort", json!({"hard": hard, "scopes": ["BestEffort"]})).await;
    quota(&cluster, "not-best-effort", json!({"hard": hard, "scopes": ["NotBestEffort"]})).await;
    quota(&cluster, "terminating", json!({"hard": hard, "scopes": ["Terminating"]})).await;
    let named = json!([{"scopeName": "PriorityClass", "operator": "In",
        "values": ["system-node-critical"]}]);
    let selector = json!({ "matchExpressions": named });
    quota(&cluster, "critical", json!({"hard": hard, "scopeSelector": selector})).await;

    cluster.create::<Pod>(pod("a", json!({}))).await;
    refused::<Pod>(&cluster, pod("b", json!({})), "exceeded quota: best-effort").await;
    let mut ends = pod("ends", asks("1", "1Mi"));
    ends["spec"]["activeDeadlineSeconds"] = json!(3600);
    cluster.create::<Pod>(ends).await;
    for (name, expected) in
        [("best-effort", "1"), ("not-best-effort", "1"), ("terminating", "1"), ("critical", "0")]
    {
        assert_eq!(used_now(&cluster, name).await["pods"], expected, "{name}");
    }
    // The first quota has been charged when the second refuses; it gets that back.
    let mut both = pod("both", asks("1", "1Mi"));
    both["spec"]["priorityClassName"] = json!("system-node-critical");
    refused::<Pod>(&cluster, both, "exceeded quota: not-best-effort").await;
    assert_eq!(used_now(&cluster, "critical").await["pods"], "0");
    delete::<Pod>(&cluster, "a").await;
    until_used(&cluster, "best-effort", "pods", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_follows_its_spec_and_a_failed_creation_costs_nothing() {
    let cluster = cluster::without_node().await;
    quota(&cluster, "q", json!({"hard": {"count/secrets": "5"}})).await;
    let key = Key::new("default", "q");
    let more = Patch::Merge(json!({"spec": {"hard": {"count/secrets": "2"}}}));
    cluster.writer.patch::<ResourceQuota>(&key, "", more).await.unwrap();
    cluster
        .until::<ResourceQuota>("default", "q", |quota| {
            let hard = quota.status.as_ref().and_then(|status| status.hard.as_ref());
            hard.is_some_and(|hard| hard["count/secrets"].0 == "2")
        })
        .await;
    let secret = json!({"metadata": {"name": "s", "namespace": "default"}});
    cluster.create::<Secret>(secret.clone()).await;
    refused::<Secret>(&cluster, secret, "already exists").await;
    until_used(&cluster, "q", "count/secrets", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_ranges_fill_in_and_refuse_until_they_go() {
    let cluster = cluster::without_node().await;
    cluster
        .create::<LimitRange>(json!({"metadata": {"name": "r", "namespace": "default"},
            "spec": {"limits": [{"type": "Container",
                "min": {"cpu": "50m", "memory": "100Mi"}, "max": {"cpu": "500m", "memory": "500Mi"},
                "default": {"cpu": "500m", "memory": "500Mi"},
                "defaultRequest": {"cpu": "100m", "memory": "200Mi"}}]}}))
        .await;
    // The server's own cache is what its watchers see.
    cluster.until::<LimitRange>("default", "r", |_| true).await;
    let of = |pod: &Pod| {
        let resources = pod.spec.as_ref().unwrap().containers[0].resources.clone().unwrap();
        (resources.requests.unwrap()["cpu"].0.clone(), resources.limits.unwrap()["cpu"].0.clone())
    };
    let plain = cluster.create::<Pod>(pod("plain", json!({}))).await;
    assert_eq!(of(&plain), ("100m".to_owned(), "500m".to_owned()));
    let partial = json!({"requests": {"cpu": "300m"}});
    let partial = cluster.create::<Pod>(pod("partial", partial)).await;
    assert_eq!(of(&partial), ("300m".to_owned(), "500m".to_owned()));
    refused::<Pod>(
        &cluster,
        pod("small", json!({"requests": {"cpu": "10m"}})),
        "minimum cpu usage per Container is 50m, but request is 10m",
    )
    .await;
    refused::<Pod>(
        &cluster,
        pod("large", json!({"limits": {"cpu": "600m"}})),
        "maximum cpu usage per Container is 500m, but limit is 600m",
    )
    .await;
    delete::<LimitRange>(&cluster, "r").await;
    cluster.until_all::<LimitRange>(<[_]>::is_empty).await;
    cluster.create::<Pod>(pod("large", json!({"limits": {"cpu": "600m"}}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_namespace_takes_hardened_pods_only() {
    let cluster = cluster::without_node().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let relabel = Patch::Merge(json!({"metadata": { "labels": labels }}));
    cluster.writer.patch::<Namespace>(&Key::new("", "default"), "", relabel).await.unwrap();
    cluster
        .until::<Namespace>("", "default", |namespace| {
            let labels = namespace.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key("pod-security.kubernetes.io/enforce"))
        })
        .await;
    refused::<Pod>(
        &cluster,
        pod("x", json!({})),
        "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": \
         allowPrivilegeEscalation != false (container \"c\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
         \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true",
    )
    .await;
    let mut hardened = pod("x", json!({}));
    hardened["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    hardened["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    cluster.create::<Pod>(hardened).await;
    let wrong =
        Patch::Merge(json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "x"}}}));
    let refused = cluster.writer.patch::<Namespace>(&Key::new("", "default"), "", wrong).await;
    let failure = refused.unwrap_err().to_string();
    assert!(failure.contains("must be one of privileged, baseline, restricted"), "{failure}");
}
