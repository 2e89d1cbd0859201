//! What built-in kinds do around the store, seen from outside: addresses and ports of services,
//! binding, eviction, tokens, reviews, approval, kinds in several versions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use auth::UserInfo;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Cluster(testkit::ApiServer);

impl Cluster {
    async fn start() -> Self {
        let cluster = Self(testkit::full_api_server());
        cluster.create("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
        let account = json!({"metadata": {"name": "default"}});
        cluster.create("/api/v1/namespaces/default/serviceaccounts", account).await;
        cluster
    }

    async fn call(&self, method: &str, uri: &str, body: Value) -> (u16, Value) {
        let kind =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(uri).header("content-type", kind);
        let service = self.0.server.client_service(UserInfo::named("t", &["system:masters"]));
        let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn create(&self, uri: &str, body: Value) -> Value {
        let (code, made) = self.call("POST", uri, body).await;
        assert_eq!(code, 201, "{uri}: {made}");
        made
    }

    async fn get(&self, uri: &str) -> (u16, Value) {
        self.call("GET", uri, Value::Null).await
    }

    async fn service(&self, name: &str, spec: Value) -> (u16, Value) {
        let body = json!({"metadata": {"name": name}, "spec": spec});
        self.call("POST", SERVICES, body).await
    }

    async fn addresses(&self) -> usize {
        let (_, list) = self.get("/apis/networking.k8s.io/v1/ipaddresses").await;
        list["items"].as_array().unwrap().len()
    }
}

const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_service_gets_an_address_and_gives_it_back() {
    let c = Cluster::start().await;
    let (code, made) =
        c.service("a", json!({"ports": [{"port": 80}], "selector": {"x": "y"}})).await;
    assert_eq!(code, 201, "{made}");
    let ip = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(ip.starts_with("10."), "{made}");
    assert_eq!(made["spec"]["clusterIPs"], json!([ip]));
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(made["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    let (code, address) = c.get(&format!("/apis/networking.k8s.io/v1/ipaddresses/{ip}")).await;
    assert_eq!(code, 200);
    assert_eq!(
        address["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "a"})
    );
    assert_eq!(
        address["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"],
        "ipallocator.k8s.io"
    );

    let (code, error) = c.service("b", json!({"clusterIP": ip, "ports": [{"port": 80}]})).await;
    assert_eq!(code, 422);
    assert_eq!(
        error["message"],
        format!(
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: provided IP is already allocated"
        )
    );
    let (code, error) =
        c.service("b", json!({"clusterIP": "1.2.3.4", "ports": [{"port": 80}]})).await;
    assert_eq!(code, 422, "{error}");
    assert_eq!(c.addresses().await, 1, "a refused service keeps nothing");

    // An old client's PUT without the address keeps it; a change of it is refused.
    let (code, same) = c
        .call(
            "PUT",
            &format!("{SERVICES}/a"),
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 81}]}}),
        )
        .await;
    assert_eq!((code, &same["spec"]["clusterIP"]), (200, &json!(ip)));
    let (code, error) = c
        .call(
            "PATCH",
            &format!("{SERVICES}/a"),
            json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}),
        )
        .await;
    assert_eq!(code, 422);
    assert!(error["message"].as_str().unwrap().contains("may not change once set"), "{error}");

    // To ExternalName and back: the address goes and a new one comes.
    let patch = json!({"spec": {"type": "ExternalName", "externalName": "x.y"}});
    let (code, external) = c.call("PATCH", &format!("{SERVICES}/a"), patch).await;
    assert_eq!(code, 200, "{external}");
    assert_eq!(external["spec"]["clusterIP"], Value::Null, "{external}");
    assert_eq!(c.addresses().await, 0);
    let patch = json!({"spec": {"type": "ClusterIP", "externalName": null}});
    let (code, back) = c.call("PATCH", &format!("{SERVICES}/a"), patch).await;
    assert_eq!(code, 200, "{back}");
    assert!(back["spec"]["clusterIP"].as_str().unwrap().starts_with("10."), "{back}");
    let (code, _) = c.call("DELETE", &format!("{SERVICES}/a"), Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(c.addresses().await, 0);
}

#[tokio::test]
async fn node_ports_are_given_once() {
    let c = Cluster::start().await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30123}]});
    let (code, made) = c.service("a", spec.clone()).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
    let (code, error) = c.service("b", spec.clone()).await;
    assert_eq!(code, 422);
    assert_eq!(
        error["details"]["causes"],
        json!([{"reason": "FieldValueInvalid", "field": "spec.ports[0].nodePort",
            "message": "Invalid value: 30123: provided port is already allocated"}])
    );
    assert_eq!(c.addresses().await, 1, "the address of the refused service is free again");
    let body =
        json!({"metadata": {"name": "d"}, "spec": {"type": "NodePort", "ports": [{"port": 1}]}});
    let (code, dry) = c.call("POST", &format!("{SERVICES}?dryRun=All"), body).await;
    assert_eq!(code, 201, "{dry}");
    assert!(dry["spec"]["ports"][0]["nodePort"].as_i64().unwrap() >= 30_000);
    assert_eq!(c.addresses().await, 1, "a dry run takes nothing");
    let (code, _) = c.call("DELETE", &format!("{SERVICES}/a"), Value::Null).await;
    assert_eq!(code, 200);
    let (code, made) = c.service("b", spec).await;
    assert_eq!(code, 201, "{made}");
    let mut ports = Vec::new();
    for name in ["e", "f", "g"] {
        let (code, made) =
            c.service(name, json!({"type": "NodePort", "ports": [{"port": 80}]})).await;
        assert_eq!(code, 201, "{made}");
        ports.push(made["spec"]["ports"][0]["nodePort"].clone());
    }
    ports.dedup();
    assert_eq!(ports.len(), 3, "{ports:?}");
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

#[tokio::test]
async fn a_pod_is_bound_once_and_deleted_with_grace() {
    let c = Cluster::start().await;
    let made = c.create(PODS, pod("p")).await;
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["status"]["qosClass"], "BestEffort");
    assert_eq!(made["metadata"]["generation"], 1);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let (code, answer) = c.call("POST", &format!("{PODS}/p/binding"), binding.clone()).await;
    assert_eq!((code, &answer["status"]), (201, &json!("Success")), "{answer}");
    let (_, bound) = c.get(&format!("{PODS}/p")).await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(bound["metadata"]["generation"], 1);
    let (code, error) = c.call("POST", &format!("{PODS}/p/binding"), binding).await;
    assert_eq!(code, 409);
    assert_eq!(
        error["message"],
        "Operation cannot be fulfilled on pods \"p\": pod p is already assigned to node \"n1\""
    );
    let (code, going) = c.call("DELETE", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30, "{going}");
    let options = json!({"gracePeriodSeconds": 0});
    let (code, _) = c.call("DELETE", &format!("{PODS}/p"), options).await;
    assert_eq!(code, 200);
    assert_eq!(c.get(&format!("{PODS}/p")).await.0, 404);
    c.create(PODS, pod("unscheduled")).await;
    let (code, _) = c.call("DELETE", &format!("{PODS}/unscheduled"), Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(c.get(&format!("{PODS}/unscheduled")).await.0, 404);
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let c = Cluster::start().await;
    let mut running = pod("p");
    running["spec"]["nodeName"] = "n".into();
    c.create(PODS, running).await;
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let (code, _) = c.call("PATCH", &format!("{PODS}/p/status"), status).await;
    assert_eq!(code, 200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1,
        "selector": {"matchLabels": {"app": "x"}}}});
    c.create(budgets, budget).await;
    let counted = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    let (code, _) = c.call("PATCH", &format!("{budgets}/b/status"), counted).await;
    assert_eq!(code, 200);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (code, error) = c.call("POST", &format!("{PODS}/p/eviction"), eviction.clone()).await;
    assert_eq!(code, 429, "{error}");
    assert_eq!(
        error["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(error["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(
        error["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    );
    let allowed = json!({"status": {"disruptionsAllowed": 1}});
    c.call("PATCH", &format!("{budgets}/b/status"), allowed).await;
    let mut unknown = eviction.clone();
    unknown["apiVersion"] = "policy/v2".into();
    assert_eq!(c.call("POST", &format!("{PODS}/p/eviction"), unknown).await.0, 400);
    // As older clients say it.
    let mut older = eviction;
    older["apiVersion"] = "policy/v1beta1".into();
    let (code, answer) = c.call("POST", &format!("{PODS}/p/eviction"), older).await;
    assert_eq!((code, &answer["status"]), (201, &json!("Success")), "{answer}");
    let (_, budget) = c.get(&format!("{budgets}/b")).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], Value::from(0), "{budget}");
    let (_, evicted) = c.get(&format!("{PODS}/p")).await;
    assert!(evicted["metadata"]["deletionTimestamp"].is_string(), "{evicted}");
}

#[tokio::test]
async fn a_token_is_made_and_known_again() {
    let c = Cluster::start().await;
    let uri = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = c.create(uri, request).await;
    assert_eq!(made["spec"]["expirationSeconds"], 3600, "{made}");
    let token = made["status"]["token"].as_str().unwrap();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let known = c.create(reviews, review.clone()).await;
    assert_eq!(known["status"]["authenticated"], true, "{known}");
    assert_eq!(known["status"]["user"]["username"], "system:serviceaccount:default:default");
    let short = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 10}});
    let (code, error) = c.call("POST", uri, short).await;
    assert_eq!(code, 422, "{error}");
    c.call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default", Value::Null).await;
    let unknown = c.create(reviews, review).await;
    assert_ne!(unknown["status"]["authenticated"], true, "{unknown}");
}

#[tokio::test]
async fn reviews_answer_and_nothing_is_stored() {
    let c = Cluster::start().await;
    let review =
        json!({"spec": {"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = c.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    let (code, error) = c
        .call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json!({"spec": {}}))
        .await;
    assert_eq!(code, 422, "{error}");
    let me = c.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await;
    assert_eq!(me["status"]["userInfo"]["username"], "t");
    let (code, parts) = c.get("/api/v1/componentstatuses").await;
    assert_eq!((code, &parts["items"][0]["metadata"]["name"]), (200, &json!("etcd-0")), "{parts}");
}

#[tokio::test]
async fn a_request_for_a_certificate_is_approved() {
    let c = Cluster::start().await;
    let uri = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    // `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=somebody`, in base64.
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlITk1IVUNBUUF3RXpFUk1BOEdBMVVFQXd3SWMyOXRaV0p2Wkhrd1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqTwpQUU1CQndOQ0FBU0dCeHdPQkd4UFJOaXh3TjZOL04xRWFGYnR1SitzbGM1SHNPa0IwSUlHakozOU45b2J3S3FICkJKaTkvT3RBUHVLb25UdDRYbmJ0Tms3MUp0ZWFmMlkwb0FBd0NnWUlLb1pJemowRUF3SURTQUF3UlFJZ1p0WCsKand3QncvL2NFYjh6RnYxejhPN055TGpFR2tsbkJ0N0ZOWDUrUVprQ0lRQzhpR3lhVTRxeldjSUJIenBkTUNJUgo0dnJ5VXRJbXRTT1dOTVNCVzQyS093PT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
    let body = json!({"metadata": {"name": "r"}, "spec": {"request": pem, "username": "somebody else",
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}});
    let made = c.create(uri, body).await;
    assert_eq!(made["spec"]["username"], "t");
    assert_eq!(made["status"], json!({}));
    let verdict = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "R", "message": "m"}]}});
    let (code, ignored) = c.call("PATCH", &format!("{uri}/r/status"), verdict.clone()).await;
    assert_eq!(code, 200, "{ignored}");
    assert_eq!(ignored["status"]["conditions"], Value::Null, "{ignored}");
    let (code, approved) = c.call("PATCH", &format!("{uri}/r/approval"), verdict).await;
    assert_eq!(code, 200, "{approved}");
    assert!(approved["status"]["conditions"][0]["lastUpdateTime"].is_string(), "{approved}");
    let (code, error) =
        c.call("PATCH", &format!("{uri}/r/approval"), json!({"status": {"conditions": []}})).await;
    assert_eq!(code, 422);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("updates may not remove a condition of type \"Approved\""),
        "{error}"
    );
}

#[tokio::test]
async fn an_autoscaler_speaks_both_versions() {
    let c = Cluster::start().await;
    let old = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let new = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let body = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let made = c.create(old, body).await;
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50, "{made}");
    assert_eq!(made["spec"]["minReplicas"], 1);
    let (_, shown) = c.get(&format!("{new}/h")).await;
    assert_eq!(
        shown["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}])
    );
}

#[tokio::test]
async fn what_is_put_back_unchanged_stays_at_its_version() {
    let c = Cluster::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let job_template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let apps = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    for (uri, spec) in [
        ("/apis/apps/v1/namespaces/default/deployments", apps.clone()),
        ("/apis/apps/v1/namespaces/default/replicasets", apps.clone()),
        ("/apis/apps/v1/namespaces/default/statefulsets", apps.clone()),
        ("/apis/apps/v1/namespaces/default/daemonsets", apps),
        ("/api/v1/namespaces/default/pods", pod("x")["spec"].clone()),
        (
            "/api/v1/namespaces/default/services",
            json!({"type": "NodePort", "ports": [{"port": 80}]}),
        ),
        ("/apis/batch/v1/namespaces/default/jobs", json!({"template": job_template})),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": job_template}}}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": 1}]}]}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            json!({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}),
        ),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", json!({"minAvailable": 1})),
        (
            "/api/v1/namespaces/default/persistentvolumeclaims",
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
        ),
        (
            "/api/v1/persistentvolumes",
            json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}),
        ),
        ("/apis/storage.k8s.io/v1/csidrivers", json!({})),
        (
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            json!({"priorityLevelConfiguration": {"name": "x"}}),
        ),
        (
            "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
            json!({"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}]}}),
        ),
    ] {
        let made = c.create(uri, json!({"metadata": {"name": "x"}, "spec": spec})).await;
        let (code, again) = c.call("PUT", &format!("{uri}/x"), made.clone()).await;
        assert_eq!(code, 200, "{uri}: {again}");
        assert_eq!(
            again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"],
            "{uri}"
        );
        assert_eq!(again, made);
        let has_status = made["status"].is_object();
        if has_status {
            let (code, again) = c.call("PUT", &format!("{uri}/x/status"), made.clone()).await;
            assert_eq!(code, 200, "{uri}/status: {again}");
            assert_eq!(again["spec"], made["spec"]);
        }
    }
}
