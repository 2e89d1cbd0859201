//! Times the hot paths of a write: decoding, tracking, patching, protobuf. `cargo run --release
//! -p apply --example bench`. What is shown is time on the processor, so that a busy machine does
//! not spoil it.

use std::hint::black_box;
use std::time::Instant;

use api::decode::{self, Format};
use api::schema::by_kind;
use apply::ssa::{self, ApplyOptions};
use serde_json::{Value, json};

fn time(name: &str, mut work: impl FnMut()) {
    let rounds = 5_000u32;
    (0..rounds / 10).for_each(|_| work());
    let start = on_processor();
    (0..rounds).for_each(|_| work());
    println!("{name:<44} {:>8.2} µs", (on_processor() - start) / 1e3 / f64::from(rounds));
}

/// The nanoseconds that this process has had the processor for.
fn on_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

fn pod() -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": "registry.example.com/team/app:v1.2.3", "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "1"}, {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "250m", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "volumeMounts": [{"name": "kube-api-access-x", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"})
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-7d4b9c6f5-x2x9k", "namespace": "default", "labels": {"app": "web", "pod-template-hash": "7d4b9c6f5"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5", "uid": "0d4a1d0a-1111-2222-3333-444455556666", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"containers": [container("app"), container("side")], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
            "schedulerName": "default-scheduler", "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority", "priority": 0,
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}]}})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let schema = by_kind("", "v1", "Pod").ok_or("no schema")?;
    let bytes = pod().to_string().into_bytes();
    let object = decode::body(&bytes, Format::Json, &schema)?.object;
    println!("first decode, {} bytes: {:?}", bytes.len(), start.elapsed());
    let options = ApplyOptions::new("kubelet", "v1", "2026-01-01T00:00:00Z".parse()?);
    let status = ApplyOptions { subresource: "status", reset_fields: &["spec"], ..options };
    let tracked = ssa::track_update(None, object.clone(), &schema, &options);
    let mut running = tracked.clone();
    running["status"] = json!({"phase": "Running", "podIP": "10.42.0.7", "conditions": [{"type": "Ready", "status": "True"}]});
    let patch = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "app", "image": "b"}]}});
    time("parse as a plain value", || {
        black_box(serde_json::from_slice::<Value>(&bytes).ok());
    });
    time("decode a pod by schema", || {
        black_box(decode::body(&bytes, Format::Json, &schema).ok());
    });
    time("make a value canonical (with its clone)", || {
        black_box(decode::value(object.clone(), &schema).ok());
    });
    time("clone a pod", || {
        black_box(object.clone());
    });
    time("serialize a pod", || {
        black_box(serde_json::to_vec(&object).ok());
    });
    time("track a creation (with its clone)", || {
        black_box(ssa::track_update(None, object.clone(), &schema, &options));
    });
    time("track a status update (with its clone)", || {
        black_box(ssa::track_update(Some(&tracked), running.clone(), &schema, &status));
    });
    time("apply what is applied already", || {
        let mut applied = object.clone();
        applied["spec"]["containers"] = Value::Null;
        black_box(ssa::apply(Some(&tracked), &applied, &schema, &options).ok());
    });
    time("strategic merge patch", || {
        black_box(apply::strategic_merge_patch(&tracked, &patch, &schema).ok());
    });
    let enveloped = api::proto::encode(&tracked)?;
    println!("protobuf: {} bytes, JSON: {}", enveloped.len(), tracked.to_string().len());
    time("to protobuf", || {
        black_box(api::proto::encode(&tracked).ok());
    });
    time("from protobuf", || {
        black_box(api::proto::decode(&enveloped).ok());
    });
    Ok(())
}
