//! Pods against the rows of the validation rules: one change to a good pod, one message.

use api::Value;
use api::field::ErrorList;
use serde_json::json;

use super::*;
use crate::core::pod::defaults;

fn good() -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [
        {"name": "c", "image": "i:1"}]}});
    defaults::pod(&mut pod);
    pod
}

fn texts(pod: &Value) -> Vec<String> {
    let mut errors = ErrorList::new();
    pod_spec(Field::root(pod).get("spec"), Place::Pod, &mut errors);
    pod_create(Field::root(pod), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

/// Merges `change` into the spec of a good pod (into its first container under `c`).
fn check(change: Value, expected: &str) {
    let mut pod = good();
    for (key, value) in change.as_object().unwrap() {
        if key == "c" {
            for (key, value) in value.as_object().unwrap() {
                pod["spec"]["containers"][0][key] = value.clone();
            }
        } else {
            pod["spec"][key] = value.clone();
        }
    }
    defaults::pod(&mut pod);
    let found = texts(&pod);
    let fits = found.iter().any(|text| text.starts_with(expected));
    assert!(fits, "{found:#?} has no {expected:?}");
}

#[test]
fn a_good_pod_is_good() {
    assert_eq!(texts(&good()), Vec::<String>::new());
}

#[test]
fn containers() {
    check(json!({"containers": []}), "spec.containers: Required value");
    check(
        json!({"c": {"name": "A"}}),
        "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist",
    );
    check(json!({"c": {"name": ""}}), "spec.containers[0].name: Required value");
    check(json!({"c": {"image": ""}}), "spec.containers[0].image: Required value");
    check(
        json!({"c": {"image": " i"}}),
        "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
    );
    check(
        json!({"initContainers": [{"name": "c", "image": "i"}]}),
        "spec.initContainers[0].name: Duplicate value: \"c\"",
    );
    check(
        json!({"c": {"imagePullPolicy": "Often"}}),
        "spec.containers[0].imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
    );
    check(
        json!({"initContainers": [{"name": "i", "image": "i", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
        "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    );
    check(
        json!({"ephemeralContainers": [{"name": "e", "image": "i"}]}),
        "spec.ephemeralContainers: Forbidden: cannot be set on create",
    );
}

#[test]
fn ports() {
    check(
        json!({"c": {"ports": [{}]}}),
        "spec.containers[0].ports[0].containerPort: Required value",
    );
    check(
        json!({"c": {"ports": [{"containerPort": 65536}]}}),
        "spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
    );
    check(
        json!({"c": {"ports": [{"containerPort": 1, "name": "80"}]}}),
        "spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
    );
    check(
        json!({"c": {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}}),
        "spec.containers[0].ports[1].name: Duplicate value: \"a\"",
    );
    check(
        json!({"c": {"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}}),
        "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\"",
    );
    check(
        json!({"hostNetwork": true, "c": {"ports": [{"containerPort": 1, "hostPort": 5}]}}),
        "spec.containers[0].ports[0].hostPort: Invalid value: 5: must match `containerPort` when `hostNetwork` is true",
    );
}

#[test]
fn environment() {
    check(json!({"c": {"env": [{"name": ""}]}}), "spec.containers[0].env[0].name: Required value");
    check(
        json!({"c": {"env": [{"name": "a=b"}]}}),
        "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
    );
    check(
        json!({"c": {"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}}),
        "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
    );
    check(
        json!({"c": {"env": [{"name": "a", "valueFrom": {}}]}}),
        "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
    );
    check(
        json!({"c": {"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.foo"}}}]}}),
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.foo\": error converting fieldPath: field label not supported: metadata.foo",
    );
    check(
        json!({"c": {"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}}),
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\"",
    );
    check(
        json!({"c": {"envFrom": [{}]}}),
        "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
    );
}

#[test]
fn volumes_and_mounts() {
    check(json!({"volumes": [{"name": "A"}]}), "spec.volumes[0].name: Invalid value: \"A\"");
    check(
        json!({"volumes": [{"name": "a"}, {"name": "a"}]}),
        "spec.volumes[1].name: Duplicate value: \"a\"",
    );
    check(
        json!({"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    );
    check(
        json!({"volumes": [{"name": "a", "hostPath": {"path": ""}}]}),
        "spec.volumes[0].hostPath.path: Required value",
    );
    check(
        json!({"volumes": [{"name": "a", "hostPath": {"path": "/a/../b"}}]}),
        "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
    );
    check(
        json!({"volumes": [{"name": "a", "secret": {"secretName": "s", "defaultMode": 512}}]}),
        "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
    );
    check(
        json!({"volumes": [{"name": "a", "secret": {"secretName": "s", "items": [{"key": "k", "path": "/x"}]}}]}),
        "spec.volumes[0].secret.items[0].path: Invalid value: \"/x\": must be a relative path",
    );
    check(
        json!({"volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}}]}),
        "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes",
    );
    check(
        json!({"c": {"volumeMounts": [{"name": "x", "mountPath": "/x"}]}}),
        "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
    );
    check(
        json!({"volumes": [{"name": "a"}], "c": {"volumeMounts": [{"name": "a", "mountPath": "/x"}, {"name": "a", "mountPath": "/x"}]}}),
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique",
    );
    check(
        json!({"volumes": [{"name": "a"}], "c": {"volumeMounts": [{"name": "a", "mountPath": "/x", "subPath": "../y"}]}}),
        "spec.containers[0].volumeMounts.subPath: Invalid value: \"../y\": must not contain '..'",
    );
    check(
        json!({"volumes": [{"name": "a"}], "c": {"volumeMounts": [{"name": "a", "mountPath": "/x", "mountPropagation": "Bidirectional"}]}}),
        "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
    );
}

#[test]
fn probes_and_hooks() {
    check(
        json!({"c": {"livenessProbe": {}}}),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    );
    check(
        json!({"c": {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}}),
        "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    );
    check(
        json!({"c": {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}}),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    );
    check(
        json!({"c": {"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 2}}}),
        "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes",
    );
    check(
        json!({"c": {"readinessProbe": {"httpGet": {"port": "UPPER"}}}}),
        "spec.containers[0].readinessProbe.httpGet.port: Invalid value: \"UPPER\": must contain only alpha-numeric characters",
    );
    check(
        json!({"c": {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}}}),
        "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
    );
    check(
        json!({"c": {"lifecycle": {"preStop": {"exec": {}}}}}),
        "spec.containers[0].lifecycle.preStop.exec.command: Required value",
    );
}

#[test]
fn resources() {
    let with = |resources: Value| json!({"c": {"resources": resources}});
    check(
        with(json!({"requests": {"cpu": "-1"}})),
        "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
    );
    check(
        with(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
    );
    check(
        with(json!({"requests": {"foo": "1"}})),
        "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers",
    );
    check(
        with(json!({"requests": {"a.b/c": "1"}})),
        "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
    );
    check(
        with(json!({"requests": {"a.b/c": "1"}, "limits": {"a.b/c": "2"}})),
        "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to a.b/c limit of 2",
    );
    check(
        with(json!({"limits": {"a.b/c": "1500m"}})),
        "spec.containers[0].resources.limits[a.b/c]: Invalid value: \"1500m\": must be an integer",
    );
    check(
        with(json!({"limits": {"hugepages-2Mi": "2Mi"}})),
        "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
    );
}

#[test]
fn the_pod_as_a_whole() {
    check(
        json!({"restartPolicy": "Sometimes"}),
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
    );
    check(
        json!({"dnsPolicy": "None"}),
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    );
    check(
        json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}}),
        "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers",
    );
    check(
        json!({"activeDeadlineSeconds": 0}),
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    );
    check(
        json!({"hostname": "a.b"}),
        "spec.hostname: Invalid value: \"a.b\": must not contain dots",
    );
    check(json!({"serviceAccountName": "A"}), "spec.serviceAccountName: Invalid value: \"A\"");
    check(json!({"nodeSelector": {"-a": "b"}}), "spec.nodeSelector: Invalid value: \"-a\"");
    check(
        json!({"os": {"name": "plan9"}}),
        "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
    );
    check(
        json!({"nodeName": "n", "schedulingGates": [{"name": "g"}]}),
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
    );
    check(
        json!({"hostAliases": [{"ip": "x"}]}),
        "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address",
    );
    check(
        json!({"shareProcessNamespace": true, "hostPID": true}),
        "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
    );
    check(
        json!({"securityContext": {"runAsUser": -1}}),
        "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    );
    check(
        json!({"securityContext": {"sysctls": [{"name": "A", "value": "1"}]}}),
        "spec.securityContext.sysctls[0].name: Invalid value: \"A\": must have at most 253 characters and match regex",
    );
    check(
        json!({"c": {"securityContext": {"allowPrivilegeEscalation": false, "privileged": true}}}),
        "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    );
}

#[test]
fn scheduling_rules() {
    check(
        json!({"tolerations": [{"operator": "Equal"}]}),
        "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
    );
    check(
        json!({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5, "effect": "NoSchedule"}]}),
        "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
    );
    check(
        json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "X"}]}),
        "spec.tolerations[0].effect: Unsupported value: \"X\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
    );
    check(
        json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}),
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    );
    check(
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "X"}]}),
        "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"X\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
    );
    let node = |value: Value| json!({"affinity": {"nodeAffinity": value}});
    check(
        node(json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}})),
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
    );
    check(
        node(
            json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101, "preference": {}}]}),
        ),
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100",
    );
    check(
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}),
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
    );
}

fn changed(change: impl Fn(&mut Value)) -> Vec<String> {
    let old = good();
    let mut new = old.clone();
    change(&mut new);
    let mut errors = ErrorList::new();
    update::spec(Field::root(&new), Field::root(&old), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_may_change_and_what_may_not() {
    let allowed: [fn(&mut Value); 4] = [
        |pod| pod["spec"]["containers"][0]["image"] = "i:2".into(),
        |pod| pod["spec"]["activeDeadlineSeconds"] = 5.into(),
        |pod| pod["spec"]["tolerations"] = json!([{"key": "a", "operator": "Exists"}]),
        |pod| pod["metadata"]["labels"] = json!({"a": "b"}),
    ];
    for change in allowed {
        assert_eq!(changed(change), Vec::<String>::new());
    }
    let found = changed(|pod| pod["spec"]["restartPolicy"] = "Never".into());
    assert!(
        found[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"),
        "{found:?}"
    );
    let found = changed(|pod| pod["spec"]["containers"] = json!([]));
    assert_eq!(found, ["spec.containers: Forbidden: pod updates may not add or remove containers"]);
}

fn resized(resources: Value) -> Vec<String> {
    let mut old = good();
    old["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
    let mut new = old.clone();
    new["spec"]["containers"][0]["resources"] = resources;
    let mut errors = ErrorList::new();
    resize::resize(Field::root(&new), Field::root(&old), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn resizing() {
    assert_eq!(
        resized(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "3"}})),
        Vec::<String>::new()
    );
    assert_eq!(
        resized(json!({"requests": {"cpu": "1"}})),
        ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"]
    );
    assert_eq!(
        resized(
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "ephemeral-storage": "1"}})
        ),
        ["spec: Forbidden: only cpu and memory resources are mutable"]
    );
    let found = resized(
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}),
    );
    assert_eq!(
        found,
        ["spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing"]
    );
}

#[test]
fn resizing_init_containers_and_whole_pods() {
    let amounts = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let check = |change: &dyn Fn(&mut Value, &mut Value), expected: &[&str]| {
        let mut old = good();
        old["spec"]["initContainers"] = json!([{"name": "i", "resources": amounts("1")}]);
        old["spec"]["containers"][0]["resources"] = amounts("1");
        let mut new = old.clone();
        change(&mut new, &mut old);
        let mut errors = ErrorList::new();
        resize::resize(Field::root(&new), Field::root(&old), &mut errors);
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    };
    check(&|new, _| new["spec"]["initContainers"][0]["resources"] = amounts("2"), &[]);
    check(
        &|new, old| {
            let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
            for pod in [new, old] {
                pod["spec"]["initContainers"][0]["resizePolicy"] = policy.clone();
            }
        },
        &[],
    );
    check(
        &|new, old| {
            let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
            for pod in [&mut *new, old] {
                pod["spec"]["initContainers"][0]["resizePolicy"] = policy.clone();
            }
            new["spec"]["initContainers"][0]["resources"] = amounts("2");
        },
        &[
            "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized",
        ],
    );
    check(
        &|new, _| new["spec"]["initContainers"][0]["image"] = "other".into(),
        &[
            "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable",
        ],
    );
    check(
        &|new, _| new["spec"]["containers"][0]["name"] = "other".into(),
        &[
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ],
    );
    check(
        &|new, old| {
            old["spec"]["resources"] = amounts("2");
            new["spec"]["resources"] = amounts("3");
        },
        &[],
    );
    check(&|new, _| new["spec"]["resources"] = amounts("3"), &[]);
    check(
        &|new, old| {
            old["spec"]["resources"] = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
            new["spec"]["resources"] = json!({"requests": {"cpu": "1"}});
        },
        &["spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"],
    );
    check(
        &|new, _| new["spec"]["priority"] = 7.into(),
        &["spec: Forbidden: only cpu and memory resources are mutable"],
    );
    check(
        &|_, old| old["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"}),
        &["<nil>: Forbidden: static pods cannot be resized"],
    );
    check(
        &|_, old| {
            old["status"]["containerStatuses"] = json!([{"name": "c", "state": {"running": {}}}]);
        },
        &["spec: Forbidden: Pod running on node without support for resize"],
    );
}
