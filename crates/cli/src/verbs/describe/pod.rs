//! Pods, and the pod templates of what makes pods.

use api::Value;
use api::object::{at, int_at, is_deleting, list_at, str_at};

use super::page::{Page, controller, equations, or, plain};
use super::when::{since, time};

/// A pod.
pub(super) fn pod(page: &mut Page, pod: &Value) {
    let spec = |name: &str| str_at(pod, &["spec", name]);
    let status = |name: &str| str_at(pod, &["status", name]);
    page.identity(pod);
    if let Some(priority) = int_at(pod, &["spec", "priority"]) {
        page.field(0, "Priority", priority);
    }
    page.field_if(0, "Priority Class Name", spec("priorityClassName"));
    page.field_if(0, "Runtime Class Name", spec("runtimeClassName"));
    page.field_if(0, "Service Account", spec("serviceAccountName"));
    match spec("nodeName") {
        "" => page.field(0, "Node", "<none>"),
        node => page.field(0, "Node", format!("{node}/{}", status("hostIP"))),
    }
    if !status("startTime").is_empty() {
        page.field(0, "Start Time", time(status("startTime")));
    }
    page.marks(pod);
    if is_deleting(pod) {
        let left = since(str_at(pod, &["metadata", "deletionTimestamp"]));
        page.field(0, "Status", format!("Terminating (lasts {left})"));
        let grace = int_at(pod, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or_default();
        page.field(0, "Termination Grace Period", format!("{grace}s"));
    } else {
        page.field(0, "Status", status("phase"));
    }
    page.field_if(0, "Reason", status("reason"));
    page.field_if(0, "Message", status("message"));
    page.field(0, "IP", status("podIP"));
    let ips = list_at(pod, &["status", "podIPs"]);
    if ips.is_empty() {
        page.field(0, "IPs", "<none>");
    } else {
        page.line(0, "IPs:");
        ips.iter().for_each(|ip| page.field(1, "IP", str_at(ip, &["ip"])));
    }
    if let Some(owner) = controller(pod) {
        page.field(0, "Controlled By", owner);
    }
    page.field_if(0, "NominatedNodeName", status("nominatedNodeName"));
    for (title, list, states) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        let all = list_at(pod, &["spec", list]);
        if list == "containers" || !all.is_empty() {
            containers(page, title, all, list_at(pod, &["status", states]), Some(pod));
        }
    }
    conditions(page, pod);
    volumes(page, list_at(pod, &["spec", "volumes"]), false);
    page.field_if(0, "QoS Class", status("qosClass"));
    placement(page, at(pod, &["spec"]).unwrap_or(&Value::Null), "");
}

/// A pod template.
pub(super) fn template(page: &mut Page, template: &Value) {
    let null = Value::Null;
    let spec = template.get("spec").unwrap_or(&null);
    page.line(0, "Pod Template:");
    page.pairs("  Labels", at(template, &["metadata", "labels"]));
    if at(template, &["metadata", "annotations"]).is_some() {
        page.annotations("  Annotations", template);
    }
    page.field_if(1, "Service Account", str_at(spec, &["serviceAccountName"]));
    let init = list_at(spec, &["initContainers"]);
    if !init.is_empty() {
        containers(page, "  Init Containers", init, &[], None);
    }
    containers(page, "  Containers", list_at(spec, &["containers"]), &[], None);
    volumes(page, list_at(spec, &["volumes"]), true);
    page.field_if(1, "Priority Class Name", str_at(spec, &["priorityClassName"]));
    placement(page, spec, "  ");
}

fn placement(page: &mut Page, spec: &Value, indent: &str) {
    page.pairs(&format!("{indent}Node-Selectors"), spec.get("nodeSelector"));
    let mut all: Vec<_> = list_at(spec, &["tolerations"]).iter().map(toleration).collect();
    all.sort();
    page.several(&format!("{indent}Tolerations"), &all);
    let spread: Vec<_> = list_at(spec, &["topologySpreadConstraints"])
        .iter()
        .map(|own| {
            format!(
                "{}:{} when max skew {} is exceeded for selector {}",
                str_at(own, &["topologyKey"]),
                str_at(own, &["whenUnsatisfiable"]),
                int_at(own, &["maxSkew"]).unwrap_or_default(),
                super::page::selector(own.get("labelSelector")),
            )
        })
        .collect();
    if !spread.is_empty() {
        page.several(&format!("{indent}Topology Spread Constraints"), &spread);
    }
}

fn toleration(own: &Value) -> String {
    let (key, value) = (str_at(own, &["key"]), str_at(own, &["value"]));
    let mut text = key.to_owned();
    if !value.is_empty() {
        text.push_str(&format!("={value}"));
    }
    let effect = str_at(own, &["effect"]);
    if !effect.is_empty() {
        text.push_str(&format!(":{effect}"));
    }
    if str_at(own, &["operator"]) == "Exists" && value.is_empty() {
        text.push_str(if text.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = int_at(own, &["tolerationSeconds"]) {
        text.push_str(&format!(" for {seconds}s"));
    }
    text
}

fn conditions(page: &mut Page, pod: &Value) {
    let all = list_at(pod, &["status", "conditions"]);
    if all.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus");
    for own in all {
        page.line(1, format!("{} \t{} ", str_at(own, &["type"]), str_at(own, &["status"])));
    }
}

fn containers(page: &mut Page, title: &str, all: &[Value], states: &[Value], pod: Option<&Value>) {
    page.line(0, if all.is_empty() { format!("{title}: <none>") } else { format!("{title}:") });
    let indent = if pod.is_some() { "" } else { " " };
    for own in all {
        let name = str_at(own, &["name"]);
        page.line(1, format!("{indent}{name}:"));
        let state = states.iter().find(|state| str_at(state, &["name"]) == name);
        if let Some(state) = state {
            page.field(2, "Container ID", str_at(state, &["containerID"]));
        }
        page.field(2, "Image", str_at(own, &["image"]));
        if let Some(state) = state {
            page.field(2, "Image ID", str_at(state, &["imageID"]));
        }
        ports(page, own);
        for (title, list) in [("Command", "command"), ("Args", "args")] {
            let words = list_at(own, &[list]);
            if !words.is_empty() {
                page.line(2, format!("{title}:"));
            }
            for line in words.iter().flat_map(|word| word.as_str().unwrap_or_default().split('\n'))
            {
                page.line(3, line);
            }
        }
        if let Some(state) = state {
            states_of(page, state);
        }
        for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
            let Some(map) = at(own, &["resources", field]).and_then(Value::as_object) else {
                continue;
            };
            page.line(2, format!("{title}:"));
            map.iter().for_each(|(name, amount)| page.field(3, name, plain(amount)));
        }
        for (title, field) in [
            ("Liveness", "livenessProbe"),
            ("Readiness", "readinessProbe"),
            ("Startup", "startupProbe"),
        ] {
            if let Some(own) = own.get(field) {
                page.field(2, title, probe(own));
            }
        }
        environment(page, own, pod);
        mounts(page, own);
    }
}

fn ports(page: &mut Page, container: &Value) {
    let ports = list_at(container, &["ports"]);
    let list = |field: &str| {
        let texts = ports.iter().map(|port| {
            let number = int_at(port, &[field]).unwrap_or_default();
            let name = str_at(port, &["name"]);
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            format!("{number}/{}{name}", or(str_at(port, &["protocol"]), "TCP"))
        });
        or(&texts.collect::<Vec<_>>().join(", "), "<none>").to_owned()
    };
    let plural = if ports.len() > 1 { "s" } else { "" };
    page.field(2, &format!("Port{plural}"), list("containerPort"));
    page.field(2, &format!("Host Port{plural}"), list("hostPort"));
}

fn states_of(page: &mut Page, status: &Value) {
    let null = Value::Null;
    state(page, "State", status.get("state").unwrap_or(&null));
    if let Some(last) = status.get("lastState").filter(|own| own.get("terminated").is_some()) {
        state(page, "Last State", last);
    }
    page.field(2, "Ready", if status["ready"] == true { "True" } else { "False" });
    page.field(2, "Restart Count", int_at(status, &["restartCount"]).unwrap_or_default());
}

fn state(page: &mut Page, title: &str, state: &Value) {
    if let Some(own) = state.get("running") {
        page.field(2, title, "Running");
        page.field(3, "Started", time(str_at(own, &["startedAt"])));
    } else if let Some(own) = state.get("terminated") {
        page.field(2, title, "Terminated");
        page.field_if(3, "Reason", str_at(own, &["reason"]));
        page.field_if(3, "Message", str_at(own, &["message"]));
        page.field(3, "Exit Code", int_at(own, &["exitCode"]).unwrap_or_default());
        if let Some(signal) = int_at(own, &["signal"]).filter(|signal| *signal > 0) {
            page.field(3, "Signal", signal);
        }
        page.field(3, "Started", time(str_at(own, &["startedAt"])));
        page.field(3, "Finished", time(str_at(own, &["finishedAt"])));
    } else {
        page.field(2, title, "Waiting");
        page.field_if(3, "Reason", str_at(state, &["waiting", "reason"]));
    }
}

fn probe(own: &Value) -> String {
    let number = |field: &str| int_at(own, &[field]).unwrap_or_default();
    let numbers = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    );
    let target = if let Some(exec) = own.get("exec") {
        let words: Vec<_> = list_at(exec, &["command"]).iter().map(plain).collect();
        format!("exec [{}]", words.join(" "))
    } else if let Some(http) = own.get("httpGet") {
        let port = http.get("port").map(plain).unwrap_or_default();
        let scheme = or(str_at(http, &["scheme"]), "HTTP").to_lowercase();
        let (host, path) = (str_at(http, &["host"]), str_at(http, &["path"]));
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("http-get {scheme}://{host}:{port}{slash}{path}")
    } else if let Some(tcp) = own.get("tcpSocket") {
        let port = tcp.get("port").map(plain).unwrap_or_default();
        format!("tcp-socket {}:{port}", str_at(tcp, &["host"]))
    } else if let Some(grpc) = own.get("grpc") {
        format!(
            "grpc <pod>:{} {}",
            int_at(grpc, &["port"]).unwrap_or_default(),
            str_at(grpc, &["service"])
        )
    } else {
        "unknown".to_owned()
    };
    format!("{target} {numbers}")
}

fn environment(page: &mut Page, container: &Value, pod: Option<&Value>) {
    let from = list_at(container, &["envFrom"]);
    if !from.is_empty() {
        page.line(2, "Environment Variables from:");
    }
    for own in from {
        let (kind, source) = match own.get("configMapRef") {
            Some(source) => ("ConfigMap", source),
            None => ("Secret", &own["secretRef"]),
        };
        let prefix = match str_at(own, &["prefix"]) {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        let optional = source["optional"] == true;
        let name = str_at(source, &["name"]);
        page.line(3, format!("{name}\t{kind}{prefix}\tOptional: {optional}"));
    }
    let all = list_at(container, &["env"]);
    page.line(2, if all.is_empty() { "Environment:\t<none>" } else { "Environment:" });
    for own in all {
        let name = str_at(own, &["name"]);
        let Some(source) = own.get("valueFrom") else {
            for (at, line) in str_at(own, &["value"]).split('\n').enumerate() {
                let head = if at == 0 { format!("{name}:") } else { String::new() };
                page.line(3, format!("{head}\t{line}"));
            }
            continue;
        };
        page.line(3, format!("{name}:\t{}", value_from(source, pod)));
    }
}

fn value_from(source: &Value, pod: Option<&Value>) -> String {
    if let Some(field) = source.get("fieldRef") {
        let path = str_at(field, &["fieldPath"]);
        let parts: Vec<_> = path.split('.').collect();
        let value = pod.map(|pod| str_at(pod, &parts)).unwrap_or_default();
        return format!("{value} ({}:{path})", or(str_at(field, &["apiVersion"]), "v1"));
    }
    if let Some(field) = source.get("resourceFieldRef") {
        let divisor = field.get("divisor").map(plain).filter(|own| own != "0");
        let value = divisor.unwrap_or_default();
        return format!("{value} ({})", str_at(field, &["resource"]));
    }
    for (field, words, kind) in
        [("secretKeyRef", "in", "secret"), ("configMapKeyRef", "of", "config map")]
    {
        if let Some(own) = source.get(field) {
            let (key, name) = (str_at(own, &["key"]), str_at(own, &["name"]));
            let optional = own["optional"] == true;
            return format!(
                "<set to the key '{key}' {words} {kind} '{name}'>\tOptional: {optional}"
            );
        }
    }
    String::new()
}

fn mounts(page: &mut Page, container: &Value) {
    let mut all: Vec<_> = list_at(container, &["volumeMounts"]).iter().collect();
    all.sort_by_key(|own| str_at(own, &["mountPath"]));
    page.line(2, if all.is_empty() { "Mounts:\t<none>" } else { "Mounts:" });
    for own in all {
        let mode = if own["readOnly"] == true { "ro" } else { "rw" };
        let sub = match str_at(own, &["subPath"]) {
            "" => String::new(),
            path => format!(",path=\"{path}\""),
        };
        let (path, name) = (str_at(own, &["mountPath"]), str_at(own, &["name"]));
        page.line(3, format!("{path} from {name} ({mode}{sub})"));
    }
    for own in list_at(container, &["volumeDevices"]) {
        page.line(2, "Devices:");
        page.line(3, format!("{} from {}", str_at(own, &["devicePath"]), str_at(own, &["name"])));
    }
}

fn volumes(page: &mut Page, all: &[Value], in_template: bool) {
    let (indent, name_indent) = if in_template { ("  ", " ") } else { ("", "") };
    let none = if all.is_empty() { "\t<none>" } else { "" };
    page.line(0, format!("{indent}Volumes:{none}"));
    for own in all {
        page.line(1, format!("{name_indent}{}:", str_at(own, &["name"])));
        volume(page, own);
    }
}

/// The types that kubectl explains: field, name, explanation, and what it shows of each.
type Explained =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const VOLUMES: &[Explained] = &[
    (
        "hostPath",
        "HostPath",
        "bare host directory volume",
        &[("Path", "path"), ("HostPathType", "type")],
    ),
    (
        "emptyDir",
        "EmptyDir",
        "a temporary directory that shares a pod's lifetime",
        &[("Medium", "medium"), ("SizeLimit", "sizeLimit")],
    ),
    (
        "secret",
        "Secret",
        "a volume populated by a Secret",
        &[("SecretName", "secretName"), ("Optional", "optional")],
    ),
    (
        "configMap",
        "ConfigMap",
        "a volume populated by a ConfigMap",
        &[("Name", "name"), ("Optional", "optional")],
    ),
    (
        "persistentVolumeClaim",
        "PersistentVolumeClaim",
        "a reference to a PersistentVolumeClaim in the same namespace",
        &[("ClaimName", "claimName"), ("ReadOnly", "readOnly")],
    ),
    (
        "nfs",
        "NFS",
        "an NFS mount that lasts the lifetime of a pod",
        &[("Server", "server"), ("Path", "path"), ("ReadOnly", "readOnly")],
    ),
    (
        "image",
        "Image",
        "a container image or OCI artifact",
        &[("Reference", "reference"), ("PullPolicy", "pullPolicy")],
    ),
    (
        "csi",
        "CSI",
        "a Container Storage Interface (CSI) volume source",
        &[("Driver", "driver"), ("FSType", "fsType"), ("ReadOnly", "readOnly")],
    ),
    (
        "ephemeral",
        "EphemeralVolume",
        "an inline specification for a volume that gets created and deleted with the pod",
        &[],
    ),
    ("projected", "Projected", "a volume that contains injected data from multiple sources", &[]),
    ("downwardAPI", "DownwardAPI", "a volume populated by information about the pod", &[]),
];

fn volume(page: &mut Page, own: &Value) {
    let Some((field, kind, words, shown)) =
        VOLUMES.iter().find(|(field, ..)| own.get(*field).is_some())
    else {
        page.line(2, "<unknown>");
        return;
    };
    let source = &own[*field];
    page.field(2, "Type", format!("{kind} ({words})"));
    for (title, key) in *shown {
        let text = match (*key, source.get(*key)) {
            (_, Some(value)) => plain(value),
            ("sizeLimit", None) => "<unset>".to_owned(),
            ("optional" | "readOnly", None) => "false".to_owned(),
            _ => String::new(),
        };
        page.field(2, title, text);
    }
    for own in list_at(source, &["sources"]) {
        projection(page, own);
    }
    if *field == "downwardAPI" {
        page.line(2, "Items:");
        for item in list_at(source, &["items"]) {
            let from = str_at(item, &["fieldRef", "fieldPath"]);
            let from = or(from, str_at(item, &["resourceFieldRef", "resource"]));
            page.line(3, format!("{from} -> {}", str_at(item, &["path"])));
        }
    }
}

fn projection(page: &mut Page, own: &Value) {
    let optional = |source: &Value| source["optional"] == true;
    if let Some(source) = own.get("secret") {
        page.field(2, "SecretName", str_at(source, &["name"]));
        page.field(2, "Optional", optional(source));
    } else if own.get("downwardAPI").is_some() {
        page.field(2, "DownwardAPI", true);
    } else if let Some(source) = own.get("configMap") {
        page.field(2, "ConfigMapName", str_at(source, &["name"]));
        page.field(2, "Optional", optional(source));
    } else if let Some(source) = own.get("serviceAccountToken") {
        let seconds = int_at(source, &["expirationSeconds"]).unwrap_or(3600);
        page.field(2, "TokenExpirationSeconds", seconds);
    }
}

/// A workload's selector of nodes, in one line.
pub(super) fn node_selector(spec: &Value) -> String {
    or(&equations(spec.get("nodeSelector")).join(","), "<none>").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn probes_and_tolerations_in_kubectls_words() {
        let check = |own: Value, expected: &str| assert_eq!(probe(&own), expected);
        check(
            json!({"httpGet": {"path": "/healthy", "port": 8080, "scheme": "HTTP"}, "initialDelaySeconds": 5, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}),
            "http-get http://:8080/healthy delay=5s timeout=1s period=10s #success=1 #failure=3",
        );
        check(
            json!({"exec": {"command": ["cat", "/x"]}}),
            "exec [cat /x] delay=0s timeout=0s period=0s #success=0 #failure=0",
        );
        let check = |own: Value, expected: &str| assert_eq!(toleration(&own), expected);
        check(
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s",
        );
        check(json!({"operator": "Exists"}), "op=Exists");
        check(json!({"key": "a", "value": "b", "effect": "NoSchedule"}), "a=b:NoSchedule");
    }

    #[test]
    fn a_pod_as_kubectl_shows_it() {
        let mut page = Page::default();
        pod(
            &mut page,
            &json!({
                "metadata": {"name": "kuard", "namespace": "default"},
                "spec": {"nodeName": "n1", "containers": [{"name": "kuard", "image": "k:1", "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}]}],
                    "volumes": [{"name": "v", "emptyDir": {}}]},
                "status": {"phase": "Running", "hostIP": "1.2.3.4", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
                    "qosClass": "BestEffort", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "kuard", "ready": true, "restartCount": 2, "containerID": "c://1", "imageID": "i",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            }),
        );
        let text = page.finish();
        let expected = "\
Name:         kuard
Namespace:    default
Node:         n1/1.2.3.4
Labels:       <none>
Annotations:  <none>
Status:       Running
IP:           10.0.0.1
IPs:
  IP:  10.0.0.1
Containers:
  kuard:
    Container ID:   c://1
    Image:          k:1
    Image ID:       i
    Port:           8080/TCP (http)
    Host Port:      0/TCP (http)
    State:          Waiting
      Reason:       CrashLoopBackOff
    Ready:          True
    Restart Count:  2
    Environment:    <none>
    Mounts:         <none>
Conditions:
";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("Conditions:\n  Type    Status\n  Ready   True \nVolumes:\n  v:\n"),
            "{text}"
        );
        assert!(text.contains("SizeLimit:   <unset>\nQoS Class:       BestEffort"), "{text}");
    }
}
