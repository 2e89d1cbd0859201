//! What the maker of a pod, or of something that makes pods, is warned of: fields that are on
//! their way out, and definitions that are allowed and hardly meant.
//!
//! Texts and order are those of upstream's `api/pod`; warnings never refuse anything.

use api::Value;
use api::object;
use api::quantity::Quantity;
use api::validate;

use crate::cursor::Field;

/// Annotations without effect, and what took their place.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Sources of volumes that are deprecated, the name under which upstream says so, and since when.
const VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "v1.28, non-functional in v1.31+"),
];

/// The labels of nodes that have newer names.
#[must_use]
pub(crate) fn old_node_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        _ => return None,
    })
}

/// The sources of a list of volumes or of a PersistentVolume's spec that are deprecated.
pub(crate) fn volume_sources(volume: Field<'_>, warnings: &mut Vec<String>) {
    for (name, shown, since) in VOLUMES {
        if volume.get(name).is_set() {
            warnings.push(format!("{}: deprecated in {since}", volume.get(shown).path()));
        }
    }
}

/// A term of a node selector.
pub(crate) fn node_term(term: Field<'_>, warnings: &mut Vec<String>) {
    for requirement in term.get("matchExpressions").items() {
        let key = requirement.get("key");
        if let Some(text) = old_node_label(key.str()) {
            warnings.push(format!("{}: {} is {text}", key.path(), key.str()));
        }
    }
}

/// What there is to say of a new pod.
#[must_use]
pub(crate) fn of_pod(pod: Field<'_>) -> Vec<String> {
    let name = pod.at(&["metadata", "name"]);
    let mut warnings = Vec::new();
    let texts = validate::dns1123_label(name.str());
    if !texts.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            texts.join(" ")
        ));
    }
    template(pod, &mut warnings);
    warnings
}

/// What there is to say of a new or changed object that makes pods by the template at `path`.
/// With `named`, its own name is part of theirs.
#[must_use]
pub(crate) fn of_workload(
    new: &Value,
    old: Option<&Value>,
    path: &[&'static str],
    named: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    match old {
        Some(old) if object::generation(old) == object::generation(new) => return warnings,
        Some(_) => {}
        None if named => {
            let texts = validate::dns1123_label(object::name(new));
            if !texts.is_empty() {
                warnings.push(format!(
                    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
                    texts.join(" ")
                ));
            }
        }
        None => {}
    }
    template(Field::root(new).at(path), &mut warnings);
    warnings
}

/// A pod or a template of one.
fn template(template: Field<'_>, warnings: &mut Vec<String>) {
    let (meta, spec) = (template.get("metadata"), template.get("spec"));
    placement(spec, warnings);
    for (key, text) in ANNOTATIONS {
        let annotation = meta.get("annotations").key(key);
        if annotation.is_set() {
            warnings.push(format!("{}: {text}", annotation.path()));
        }
    }
    for volume in spec.get("volumes").items() {
        volume_sources(volume, warnings);
    }
    twice(spec.get("hostAliases"), "ip", "ip", warnings);
    twice(spec.get("imagePullSecrets"), "name", "name", warnings);
    for secret in spec.get("imagePullSecrets").items() {
        let name = secret.get("name");
        if name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", name.path()));
        }
    }
    fractions(spec.get("overhead"), warnings);
    for container in containers(spec) {
        fractions(container.at(&["resources", "limits"]), warnings);
        fractions(container.at(&["resources", "requests"]), warnings);
        hidden_variables(container.get("env"), warnings);
    }
    ports(spec, warnings);
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path()
        ));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let side = spec.get("affinity").get(kind);
        for term in side.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
            no_selector(term, warnings);
        }
        for term in side.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            no_selector(term.get("podAffinityTerm"), warnings);
        }
    }
}

fn placement(spec: Field<'_>, warnings: &mut Vec<String>) {
    for (key, label) in spec.get("nodeSelector").entries() {
        if let Some(text) = old_node_label(key) {
            warnings.push(format!("{}: {text}", label.path()));
        }
    }
    let node = spec.at(&["affinity", "nodeAffinity"]);
    let required = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    for term in required.get("nodeSelectorTerms").items() {
        node_term(term, warnings);
    }
    for term in node.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        node_term(term.get("preference"), warnings);
    }
    for constraint in spec.get("topologySpreadConstraints").items() {
        let key = constraint.get("topologyKey");
        if let Some(text) = old_node_label(key.str()) {
            warnings.push(format!("{}: {} is {text}", key.path(), key.str()));
        }
        no_selector(constraint, warnings);
    }
}

fn no_selector(term: Field<'_>, warnings: &mut Vec<String>) {
    let selector = term.get("labelSelector");
    if !selector.is_set() {
        warnings
            .push(format!("{}: a null labelSelector results in matching no pod", selector.path()));
    }
}

fn twice(list: Field<'_>, key: &'static str, what: &str, warnings: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for item in list.items() {
        let field = Field::get(item, key);
        if seen.contains(&field.str()) {
            warnings.push(format!("{}: duplicate {what} {:?}", field.path(), field.str()));
        } else {
            seen.push(field.str());
        }
    }
}

/// Bytes come in wholes.
fn fractions(map: Field<'_>, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let field = map.key(name);
        let value = field.str().parse::<Quantity>();
        if let Some(value) = value.ok().filter(|value| !value.is_integer()) {
            warnings.push(format!(
                "{}: fractional byte value \"{value}\" is invalid, must be an integer",
                field.path()
            ));
        }
    }
}

/// A variable that is set again, unless it is made of its former self.
fn hidden_variables(list: Field<'_>, warnings: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for variable in list.items() {
        let (name, value) = (variable.get("name").str(), variable.get("value").str());
        if !seen.contains(&name) {
            seen.push(name);
            continue;
        }
        let own = format!("$({name})");
        if variable.get("valueFrom").is_set() || value == own || !value.contains(&own) {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                variable.path()
            ));
        }
    }
}

fn containers(spec: Field<'_>) -> impl Iterator<Item = Field<'_>> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(move |list| Field::get(spec, list).items())
}

/// Ports that are defined twice, by number and by name.
fn ports(spec: Field<'_>, warnings: &mut Vec<String>) {
    let all: Vec<Field<'_>> = containers(spec).flat_map(|one| one.get("ports").items()).collect();
    let number =
        |port: Field<'_>, name: &'static str| Field::get(port, name).int().unwrap_or_default();
    let same = |a: Field<'_>, b: Field<'_>| {
        number(a, "containerPort") == number(b, "containerPort")
            && a.get("protocol").str() == b.get("protocol").str()
    };
    for (index, &port) in all.iter().enumerate() {
        let (host, ip) = (number(port, "hostPort"), port.get("hostIP").str());
        for &other in all[..index].iter().filter(|other| same(**other, port)) {
            let (other_host, other_ip) = (number(other, "hostPort"), other.get("hostIP").str());
            let how = if (host, ip) == (other_host, other_ip) {
                "duplicate"
            } else if host == 0 || other_host == 0 {
                "overlapping"
            } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!("{}: {how} port definition with {}", port.path(), other.path()));
        }
    }
    let mut names: Vec<Field<'_>> = Vec::new();
    for port in all {
        let name = port.get("name").str();
        if name.is_empty() {
            continue;
        }
        match names.iter().find(|other| other.get("name").str() == name) {
            None => names.push(port),
            Some(other) => {
                let other = other.path();
                warnings.push(format!(
                    "{}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}",
                    port.path()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, expected: &[&str]) {
        let template = json!({"metadata": {"name": "a"}, "spec": spec});
        assert_eq!(of_pod(Field::root(&template)), expected, "{template}");
    }

    #[test]
    fn pods_are_warned_of() {
        check(json!({"containers": [{"name": "c"}]}), &[]);
        check(
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "storageos": {}}]}),
            &[
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
            ],
        );
        check(
            json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}],
                "resources": {"limits": {"memory": "100m"}}}]}),
            &[
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
            ],
        );
        let port = |host: i64| json!({"name": "p", "containerPort": 80, "protocol": "TCP", "hostPort": host});
        check(
            json!({"containers": [{"ports": [port(1)]}, {"ports": [port(1), port(0)]}]}),
            &[
                "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[1]: overlapping port definition with spec.containers[1].ports[0]",
                "spec.containers[1].ports[0]: duplicate port name \"p\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
                "spec.containers[1].ports[1]: duplicate port name \"p\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
            ],
        );
        check(
            json!({"terminationGracePeriodSeconds": -1, "topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]}),
            &[
                "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ],
        );
    }

    #[test]
    fn workloads_are_warned_of_their_names_when_made_and_of_templates_when_changed() {
        let made = |generation: i64| {
            json!({"metadata": {"name": "a.b", "generation": generation},
                "spec": {"template": {"spec": {"imagePullSecrets": [{"name": ""}]}}}})
        };
        let secret = "spec.template.spec.imagePullSecrets[0].name: invalid empty name \"\"";
        let path = ["spec", "template"];
        let warnings = of_workload(&made(1), None, &path, true);
        assert!(warnings[0].starts_with("metadata.name: this is used in Pod names and hostnames"));
        assert_eq!(warnings[1..], [secret]);
        assert_eq!(of_workload(&made(2), Some(&made(1)), &path, true), [secret]);
        assert!(of_workload(&made(2), Some(&made(2)), &path, true).is_empty());
    }
}
