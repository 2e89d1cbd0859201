//! Defaults of pod specs, in pods and in the templates of workloads.
//!
//! Some hold for pods only ([`pod`]): requests that follow limits, service links, host ports.

use api::Value;
use api::object::{at, entry, list_at, set, set_default, str_at};
use api::quantity::Quantity;
use serde_json::json;

/// The lists of containers of a pod spec, ephemeral ones last.
pub(crate) const CONTAINER_LISTS: [&str; 3] =
    ["initContainers", "containers", "ephemeralContainers"];

/// Runs over the maps of a list.
pub(crate) fn each(object: &mut Value, path: &[&str], change: impl FnMut(&mut Value)) {
    let target = path.iter().try_fold(object, |value, key| value.get_mut(*key));
    if let Some(Value::Array(list)) = target {
        list.iter_mut().filter(|item| item.is_object()).for_each(change);
    }
}

/// Sets a string when it is absent or empty.
pub(crate) fn set_text(object: &mut Value, path: &[&str], text: &str) {
    if str_at(object, path).is_empty() {
        set(object, path, text);
    }
}

/// Sets a number when it is absent or 0.
fn set_number(object: &mut Value, field: &str, number: i64) {
    if at(object, &[field]).and_then(Value::as_i64).unwrap_or_default() == 0 {
        object[field] = number.into();
    }
}

/// Defaults of a pod.
pub(crate) fn pod(object: &mut Value) {
    if !object["spec"].is_object() {
        set(object, &["spec"], json!({}));
    }
    let spec = &mut object["spec"];
    pod_spec(spec);
    set_default(spec, &["enableServiceLinks"], true);
    for list in ["containers", "initContainers"] {
        each(spec, &[list], |container| requests_from_limits(container, &["resources"]));
    }
    if spec["hostNetwork"] == true {
        host_ports(spec);
    }
    pod_level_resources(spec);
}

/// Defaults of the pod template at `path` of a workload.
pub(crate) fn template(object: &mut Value, path: &[&str]) {
    let template = entry(object, path);
    if !template.is_object() {
        *template = json!({});
    }
    if !template["spec"].is_object() {
        template["spec"] = json!({});
    }
    pod_spec(&mut template["spec"]);
}

/// Defaults of a pod spec, wherever it stands.
pub(crate) fn pod_spec(spec: &mut Value) {
    set_text(spec, &["dnsPolicy"], "ClusterFirst");
    set_text(spec, &["restartPolicy"], "Always");
    set_text(spec, &["schedulerName"], "default-scheduler");
    set_default(spec, &["securityContext"], json!({}));
    set_default(spec, &["terminationGracePeriodSeconds"], 30);
    // The old name of the field is kept in step with the new one.
    let account = match str_at(spec, &["serviceAccountName"]) {
        "" => str_at(spec, &["serviceAccount"]).to_owned(),
        account => account.to_owned(),
    };
    if !account.is_empty() {
        set(spec, &["serviceAccountName"], account.as_str());
        set(spec, &["serviceAccount"], account);
    }
    for list in CONTAINER_LISTS {
        each(spec, &[list], container);
    }
    each(spec, &["volumes"], volume);
}

/// Always for an image without tag or with `latest`, unless it has a digest.
#[must_use]
pub(crate) fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or(name);
    if !is_reference(name) {
        return "IfNotPresent";
    }
    let tag = last.split_once(':').map_or("", |(_, tag)| tag);
    if matches!(tag, "latest") || (tag.is_empty() && !digest) { "Always" } else { "IfNotPresent" }
}

/// Whether a text could be the name of an image; what could not is never pulled anew.
fn is_reference(name: &str) -> bool {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let mut parts = path.split('/').enumerate().peekable();
    let several = path.contains('/');
    let fits = |(index, part): (usize, &str)| {
        let bytes = part.as_bytes();
        // Only the name of a host may have capitals and a port.
        let host = index == 0 && several;
        let known = |byte: &u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b"._-".contains(byte)
                || (host && (byte.is_ascii_uppercase() || b":[]".contains(byte)))
        };
        (edge(bytes.first()) || (host && part.starts_with('[')))
            && edge(bytes.last())
            && bytes.iter().all(known)
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let tagged = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.bytes().all(word)
    });
    name.len() <= 255 && tagged && parts.peek().is_some() && parts.all(fits)
}

fn container(container: &mut Value) {
    let policy = pull_policy(str_at(container, &["image"]));
    set_text(container, &["imagePullPolicy"], policy);
    set_text(container, &["terminationMessagePath"], "/dev/termination-log");
    set_text(container, &["terminationMessagePolicy"], "File");
    each(container, &["ports"], |port| set_text(port, &["protocol"], "TCP"));
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = container.get_mut(name).filter(|found| found.is_object()) {
            probe(found);
        }
    }
    for hook in ["postStart", "preStop"] {
        if at(container, &["lifecycle", hook, "httpGet"]).is_some() {
            http_get(&mut container["lifecycle"][hook]["httpGet"]);
        }
    }
    each(container, &["env"], |env| {
        if at(env, &["valueFrom", "fieldRef"]).is_some() {
            set_text(env, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
        if at(env, &["valueFrom", "fileKeyRef"]).is_some() {
            set_default(env, &["valueFrom", "fileKeyRef", "optional"], false);
        }
    });
    for kind in ["limits", "requests"] {
        round_quantities(container, &["resources", kind]);
    }
}

fn probe(probe: &mut Value) {
    for (field, number) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        set_number(probe, field, number);
    }
    if probe["httpGet"].is_object() {
        http_get(&mut probe["httpGet"]);
    }
    if probe["grpc"].is_object() {
        set_default(probe, &["grpc", "service"], "");
    }
}

fn http_get(action: &mut Value) {
    set_text(action, &["path"], "/");
    set_text(action, &["scheme"], "HTTP");
}

/// Rounds quantities finer than a thousandth up.
pub(crate) fn round_quantities(object: &mut Value, path: &[&str]) {
    let target = path.iter().try_fold(object, |value, key| value.get_mut(*key));
    for value in target.and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
    {
        let Some(quantity) = value.as_str().and_then(|text| text.parse::<Quantity>().ok()) else {
            continue;
        };
        let rounded = quantity.round_up_to_milli();
        if rounded != quantity {
            *value = rounded.to_string().into();
        }
    }
}

/// Every field of a volume that is not its source.
fn has_source(volume: &Value) -> bool {
    volume
        .as_object()
        .is_some_and(|map| map.iter().any(|(key, value)| key != "name" && !value.is_null()))
}

fn volume(volume: &mut Value) {
    if !has_source(volume) {
        volume["emptyDir"] = json!({});
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if volume[source].is_object() {
            set_default(volume, &[source, "defaultMode"], 420);
        }
    }
    let field_version = |item: &mut Value| {
        if item["fieldRef"].is_object() {
            set_text(item, &["fieldRef", "apiVersion"], "v1");
        }
    };
    each(volume, &["downwardAPI", "items"], field_version);
    each(volume, &["projected", "sources"], |source| {
        if source["serviceAccountToken"].is_object() {
            set_default(source, &["serviceAccountToken", "expirationSeconds"], 3600);
        }
        each(source, &["downwardAPI", "items"], field_version);
    });
    if volume["hostPath"].is_object() {
        set_default(volume, &["hostPath", "type"], "");
    }
    if volume["image"].is_object() {
        let policy = pull_policy(str_at(volume, &["image", "reference"]));
        set_text(volume, &["image", "pullPolicy"], policy);
    }
    if at(volume, &["ephemeral", "volumeClaimTemplate"]).is_some() {
        set_default(
            volume,
            &["ephemeral", "volumeClaimTemplate", "spec", "volumeMode"],
            "Filesystem",
        );
    }
    volume_source(volume);
}

/// Defaults of the sources that pods' volumes and persistent volumes share.
pub(crate) fn volume_source(object: &mut Value) {
    let texts: [(&str, &[(&str, &str)]); 3] = [
        ("iscsi", &[("iscsiInterface", "default")]),
        ("rbd", &[("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")]),
        ("scaleIO", &[("storageMode", "ThinProvisioned"), ("fsType", "xfs")]),
    ];
    for (source, fields) in texts {
        if object[source].is_object() {
            for (field, text) in fields {
                set_text(object, &[source, field], text);
            }
        }
    }
    if object["azureDisk"].is_object() {
        for (field, text) in [("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("kind", "Shared")]
        {
            set_default(object, &["azureDisk", field], text);
        }
        set_default(object, &["azureDisk", "readOnly"], false);
    }
}

/// A request that is not given follows its limit.
pub(crate) fn requests_from_limits(object: &mut Value, path: &[&str]) {
    let Some(limits) = path.iter().try_fold(&*object, |value, key| value.get(key)) else { return };
    let Some(limits) = at(limits, &["limits"]).and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let requests: Vec<_> = path.iter().copied().chain(["requests"]).collect();
    let requests = entry(object, &requests);
    if !requests.is_object() {
        *requests = json!({});
    }
    for (name, limit) in limits {
        if requests.get(&name).is_none() {
            requests[name.as_str()] = limit;
        }
    }
}

fn host_ports(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        each(spec, &[list], |container| {
            each(container, &["ports"], |port| {
                if let Some(number) = at(port, &["containerPort"]).and_then(Value::as_i64) {
                    set_number(port, "hostPort", number);
                }
            });
        });
    }
}

/// Resources of the pod as a whole: requests follow the containers' sum, then the limit.
fn pod_level_resources(spec: &mut Value) {
    if at(spec, &["resources"]).is_none() {
        return;
    }
    let set_somewhere = ["limits", "requests"].iter().any(|kind| {
        at(spec, &["resources", kind]).and_then(Value::as_object).is_some_and(|map| !map.is_empty())
    });
    if !set_somewhere {
        return;
    }
    let sums = container_sums(spec, "requests");
    for (name, sum) in container_sums(spec, "limits") {
        if name.starts_with("hugepages-") && at(spec, &["resources", "limits", &name]).is_none() {
            set(spec, &["resources", "limits", &name], sum.to_string());
        }
    }
    let limits = at(spec, &["resources", "limits"]).and_then(Value::as_object).cloned();
    for (name, limit) in limits.into_iter().flatten() {
        if at(spec, &["resources", "requests", &name]).is_some() {
            continue;
        }
        let sum = sums.iter().find(|(known, _)| *known == name).map(|(_, sum)| sum.to_string());
        let overcommits = matches!(name.as_str(), "cpu" | "memory");
        let request = sum.filter(|_| overcommits).map_or(limit, Value::from);
        set(spec, &["resources", "requests", &name], request);
    }
}

fn container_sums(spec: &Value, kind: &str) -> Vec<(String, Quantity)> {
    let mut sums: Vec<(String, Quantity)> = Vec::new();
    for container in list_at(spec, &["containers"]) {
        let map = at(container, &["resources", kind]).and_then(Value::as_object);
        for (name, value) in map.into_iter().flatten() {
            let Some(value) = value.as_str().and_then(|text| text.parse::<Quantity>().ok()) else {
                continue;
            };
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => sums.push((name.clone(), value)),
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policies() {
        for (image, expected) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("busybox:1.28", "IfNotPresent"),
            ("localhost:5000/busybox", "Always"),
            ("localhost:5000/busybox:1", "IfNotPresent"),
            ("busybox@sha256:abc", "IfNotPresent"),
            ("busybox:latest@sha256:abc", "Always"),
            ("Registry.example:5000/a/b", "Always"),
            ("No such image!", "IfNotPresent"),
            ("-x", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), expected, "{image}");
        }
    }

    fn check(spec: Value, path: &[&str], expected: Value) {
        let mut object = json!({ "spec": spec });
        pod(&mut object);
        assert_eq!(
            at(&object, path).cloned().unwrap_or(Value::Null),
            expected,
            "{path:?} of {object}"
        );
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once, "defaults are idempotent");
    }

    #[test]
    fn rows_of_the_table() {
        check(json!({}), &["spec", "dnsPolicy"], json!("ClusterFirst"));
        check(json!({}), &["spec", "restartPolicy"], json!("Always"));
        check(json!({}), &["spec", "securityContext"], json!({}));
        check(json!({}), &["spec", "terminationGracePeriodSeconds"], json!(30));
        check(json!({}), &["spec", "schedulerName"], json!("default-scheduler"));
        check(json!({}), &["spec", "enableServiceLinks"], json!(true));
        check(json!({"serviceAccountName": "a"}), &["spec", "serviceAccount"], json!("a"));
        check(
            json!({"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "1"}}}]}),
            &["spec", "containers"],
            json!([{"name": "a", "image": "b", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]),
        );
        check(
            json!({"hostNetwork": true, "containers": [{"imagePullPolicy": "Never",
                "terminationMessagePath": "/x", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}}, "startupProbe": {"grpc": {"port": 1}}}]}),
            &["spec", "containers"],
            json!([{"imagePullPolicy": "Never", "terminationMessagePath": "/x",
                "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                    "failureThreshold": 3},
                "startupProbe": {"grpc": {"port": 1, "service": ""},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                    "failureThreshold": 3}}]),
        );
        check(
            json!({"volumes": [{"name": "a"}, {"name": "b", "secret": {}}, {"name": "c", "hostPath": {"path": "/"}},
                {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                    {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]}),
            &["spec", "volumes"],
            json!([{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"defaultMode": 420}},
                {"name": "c", "hostPath": {"path": "/", "type": ""}},
                {"name": "d", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                    {"downwardAPI": {"items": [{"path": "p",
                        "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}]}}]}}]),
        );
        check(
            json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
                "containers": [{"resources": {"requests": {"cpu": "500m"}}}]}),
            &["spec", "resources", "requests"],
            json!({"cpu": "500m", "memory": "1Gi"}),
        );
    }

    #[test]
    fn templates_get_less_than_pods() {
        let mut object = json!({"spec": {"template": {"spec": {"containers": [
            {"image": "a:1", "resources": {"limits": {"cpu": "1"}}}]}}}});
        template(&mut object, &["spec", "template"]);
        assert_eq!(at(&object, &["spec", "template", "spec", "enableServiceLinks"]), None);
        let container = &list_at(&object, &["spec", "template", "spec", "containers"])[0];
        assert_eq!(at(container, &["resources", "requests"]), None);
        assert_eq!(str_at(container, &["imagePullPolicy"]), "IfNotPresent");
    }
}
