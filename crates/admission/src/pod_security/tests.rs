//! Each check with what it says, and the plugin in a namespace.

use serde_json::{Value, json};

use super::policy::Version;
use super::*;
use crate::testing::{Objects, Request};

fn hardened() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    })
}

fn with(base: Value, changes: &[(&str, Value)]) -> Value {
    let mut spec = base;
    for (pointer, value) in changes {
        let mut slot = &mut spec;
        for key in pointer.split('/') {
            slot = match key.parse::<usize>() {
                Ok(index) => &mut slot[index],
                Err(_) => &mut slot[key],
            };
        }
        *slot = value.clone();
    }
    spec
}

fn said(level: Level, version: Version, metadata: &Value, spec: &Value) -> String {
    in_detail(&violations(LevelVersion { level, version }, Subject { metadata, spec }))
}

#[test]
fn a_hardened_pod_passes_and_a_plain_one_is_told_all() {
    let nothing = json!({});
    let latest = |level, spec: &Value| said(level, Version::Latest, &nothing, spec);
    assert_eq!(latest(Level::Restricted, &hardened()), "");
    let plain = json!({"containers": [{"name": "x"}]});
    assert_eq!(latest(Level::Baseline, &plain), "");
    assert_eq!(
        latest(Level::Restricted, &plain),
        "allowPrivilegeEscalation != false (container \"x\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
         \"x\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or \
         container \"x\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
         container \"x\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")"
    );
}

#[test]
fn every_check_of_baseline() {
    let container = "containers/0/securityContext";
    for (pointer, value, expected) in [
        (
            "securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            "containers/0/securityContext/capabilities/add",
            json!(["NET_RAW", "CHOWN"]),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\" in securityContext.capabilities.add)",
        ),
        ("hostNetwork", json!(true), "host namespaces (hostNetwork=true)"),
        (
            "volumes",
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
            "hostPath volumes (volume \"v\")",
        ),
        (
            "containers/0/ports",
            json!([{"containerPort": 1, "hostPort": 80}, {"hostPort": 443}]),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            "containers/0/livenessProbe",
            json!({"httpGet": {"host": "x"}}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"x\")",
        ),
        (
            "containers/0/securityContext/privileged",
            json!(true),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            "containers/0/securityContext/procMount",
            json!("Unmasked"),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            "securityContext/seLinuxOptions",
            json!({"type": "spc_t", "user": "u"}),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            "containers/0/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            "securityContext/sysctls",
            json!([{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            "securityContext/windowsOptions",
            json!({"hostProcess": true}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        let spec = with(hardened(), &[(pointer, value)]);
        let got = said(Level::Baseline, Version::Latest, &json!({}), &spec);
        assert_eq!(got, expected, "{container}");
    }
}

#[test]
fn every_check_of_restricted() {
    for (pointer, value, expected) in [
        (
            "containers/0/securityContext/capabilities/add",
            json!(["CHOWN"]),
            "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            "volumes",
            json!([{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {}}, {"name": "x", "image": {}}]),
            "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            "containers/0/securityContext/runAsNonRoot",
            json!(false),
            "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)",
        ),
        ("securityContext/runAsUser", json!(0), "runAsUser=0 (pod must not set runAsUser=0)"),
    ] {
        let spec = with(hardened(), &[(pointer, value)]);
        let got = said(Level::Restricted, Version::Latest, &json!({}), &spec);
        assert_eq!(got, expected);
    }
}

#[test]
fn a_version_has_the_checks_of_its_release() {
    let none = json!({});
    for (level, minor, spec, expected) in [
        (
            Level::Restricted,
            7,
            json!({"containers": [{"name": "x"}]}),
            "runAsNonRoot != true (pod or container \"x\" must set securityContext.runAsNonRoot=true)",
        ),
        (Level::Restricted, 22, with(hardened(), &[("securityContext/runAsUser", json!(0))]), ""),
        (
            Level::Restricted,
            34,
            with(
                hardened(),
                &[("hostUsers", json!(false)), ("securityContext/runAsUser", json!(0))],
            ),
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            Level::Restricted,
            99,
            with(
                hardened(),
                &[("hostUsers", json!(false)), ("securityContext/runAsUser", json!(0))],
            ),
            "",
        ),
        (
            Level::Baseline,
            26,
            with(
                hardened(),
                &[(
                    "securityContext/sysctls",
                    json!([{"name": "net.ipv4.ip_local_reserved_ports"}]),
                )],
            ),
            "forbidden sysctls (net.ipv4.ip_local_reserved_ports)",
        ),
        (
            Level::Baseline,
            27,
            with(
                hardened(),
                &[(
                    "securityContext/sysctls",
                    json!([{"name": "net.ipv4.ip_local_reserved_ports"}]),
                )],
            ),
            "",
        ),
    ] {
        assert_eq!(said(level, Version::Minor(minor), &none, &spec), expected, "v1.{minor}");
    }
    let old = json!({"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}});
    assert_eq!(
        said(Level::Baseline, Version::Minor(18), &old, &hardened()),
        "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
    );
    assert_eq!(said(Level::Baseline, Version::Minor(19), &old, &hardened()), "");
}

fn namespace(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}})
}

fn pod(operation: Operation, object: Value) -> Request {
    Request::new(operation, "", "pods", "Pod", object)
}

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

#[tokio::test]
async fn pods_are_refused_and_workloads_warned_of() {
    let plugin = PodSecurity::new(Configuration::default());
    let api = Objects::of([namespace(json!({ENFORCE: "baseline"}))]);
    let spec = json!({"hostPID": true, "containers": [{"name": "a", "image": "i"}]});
    let error =
        pod(Operation::Create, json!({ "spec": spec })).validate(&plugin, &api).await.unwrap_err();
    assert_eq!(error.code(), 403);
    assert_eq!(
        error.to_string(),
        "pods is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
    );
    let deployment = json!({"spec": {"template": {"spec": spec}}});
    let request = Request::new(Operation::Create, "apps", "deployments", "Deployment", deployment);
    assert_eq!(
        request.warnings(&plugin, &api).await.unwrap(),
        ["would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"]
    );
    let mut relabelled =
        pod(Operation::Update, json!({"metadata": {"labels": {"a": "b"}}, "spec": spec}));
    relabelled.old = json!({ "spec": spec });
    relabelled.validate(&plugin, &api).await.unwrap();
    let configuration = json!({"exemptions": {"usernames": ["ann"], "namespaces": ["exempt"]}});
    let exempt = PodSecurity::new(Configuration::read(&configuration).unwrap());
    pod(Operation::Create, json!({ "spec": spec })).validate(&exempt, &api).await.unwrap();
}

#[tokio::test]
async fn a_configuration_has_defaults_and_exemptions() {
    let configuration =
        json!({"defaults": {"enforce": "baseline"}, "exemptions": {"namespaces": ["free"]}});
    let plugin = PodSecurity::new(Configuration::read(&configuration).unwrap());
    let spec = json!({"hostPID": true, "containers": []});
    let free = json!({"kind": "Namespace", "metadata": {"name": "free"}});
    let api = Objects::of([namespace(json!({})), free]);
    for (name, refused) in [("default", true), ("free", false)] {
        let mut request = pod(Operation::Create, json!({ "spec": spec }));
        request.namespace = name.to_owned();
        assert_eq!(request.validate(&plugin, &api).await.is_err(), refused, "{name}");
    }
    let object = json!({"metadata": {"name": "free", "labels": {ENFORCE: "restricted"}}});
    let request = Request::new(Operation::Create, "", "namespaces", "Namespace", object);
    assert_eq!(
        request.warnings(&plugin, &api).await.unwrap(),
        [
            "namespace \"free\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored"
        ]
    );
    for bad in [json!({"x": 1}), json!({"exemptions": {"users": []}})] {
        assert!(Configuration::read(&bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_stricter_namespace_says_which_pods_violate() {
    let plugin = PodSecurity::new(Configuration::default());
    let bad = |name: &str| {
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"hostPID": true, "containers": []}})
    };
    let api = Objects::of([bad("b"), bad("a")]);
    let change = |labels: Value| {
        let mut request =
            Request::new(Operation::Update, "", "namespaces", "Namespace", namespace(labels));
        request.old = namespace(json!({}));
        request
    };
    assert_eq!(
        change(json!({ENFORCE: "baseline"})).warnings(&plugin, &api).await.unwrap(),
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): host namespaces",
        ]
    );
    let error = change(json!({ENFORCE: "x"})).warnings(&plugin, &api).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (422, "Invalid"));
}
