//! Containers of a pod spec: names, images, ports, mounts, and what each of the three lists allows.

use api::field::{ErrorList, FieldError};
use api::validate;

use super::volume::Volumes;
use super::{Place, env, probe, resources, security};
use crate::check::{one_of, required, required_in_order, required_one_of};
use crate::cursor::{Field, rule};

/// What is wrong with the three lists of containers.
pub(crate) fn containers(
    spec: Field<'_>,
    volumes: &Volumes<'_>,
    place: Place,
    errors: &mut ErrorList,
) {
    let grace = spec.get("terminationGracePeriodSeconds").int().unwrap_or_default();
    let host_network = spec.get("hostNetwork").bool();
    let mut names: Vec<&str> = Vec::new();
    let list = spec.get("containers");
    if list.is_empty() {
        errors.push(list.required(""));
    }
    for one in list.items() {
        common(one, volumes, place, &mut names, errors);
        resources::claims(one.at(&["resources", "claims"]), spec, errors);
        env::file_volumes(one, spec, errors);
        probe::lifecycle(one.get("lifecycle"), grace, spec, errors);
        probe::probes(one, grace, errors);
        restart_rules(one, errors);
        if host_network {
            host_network_ports(one, errors);
        }
    }
    host_port_conflicts(list, errors);
    for one in spec.get("initContainers").items() {
        common(one, volumes, place, &mut names, errors);
        resources::claims(one.at(&["resources", "claims"]), spec, errors);
        env::file_volumes(one, spec, errors);
        init(one, spec, grace, errors);
        restart_rules(one, errors);
        if host_network {
            host_network_ports(one, errors);
        }
    }
    ephemeral(spec, volumes, &mut names, place, errors);
}

fn common<'a>(
    one: Field<'a>,
    volumes: &Volumes<'_>,
    place: Place,
    names: &mut Vec<&'a str>,
    errors: &mut ErrorList,
) {
    let name = one.get("name");
    if required(name, errors) {
        rule(name, validate::dns1123_label, errors);
        if names.contains(&name.str()) {
            errors.push(name.duplicate());
        }
        names.push(name.str());
    }
    let image = one.get("image");
    // A template's image may be filled in later by who makes the pod.
    if required(image, errors) && place == Place::Pod && image.str().trim() != image.str() {
        errors.push(image.invalid("must not have leading or trailing whitespace"));
    }
    let policies = ["File", "FallbackToLogsOnError"];
    required_in_order(one.get("terminationMessagePolicy"), &policies, errors);
    ports(one.get("ports"), errors);
    env::env(one, errors);
    mounts(one, volumes, errors);
    devices(one, volumes, errors);
    required_one_of(one.get("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
    resources::container(one.get("resources"), errors);
    resize_policy(one.get("resizePolicy"), errors);
    security::container(one.get("securityContext"), errors);
}

fn ports(list: Field<'_>, errors: &mut ErrorList) {
    let mut names: Vec<&str> = Vec::new();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            rule(name, validate::port_name, errors);
            if names.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            names.push(name.str());
        }
        let number = port.get("containerPort");
        match number.int().unwrap_or_default() {
            0 => errors.push(number.required("")),
            value => {
                errors.extend(
                    validate::port_number(value).into_iter().map(|text| number.invalid(text)),
                );
            }
        }
        let host = port.get("hostPort");
        if let Some(value) = host.int().filter(|value| *value != 0) {
            errors.extend(validate::port_number(value).into_iter().map(|text| host.invalid(text)));
        }
        required_one_of(port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
    }
}

fn host_port_conflicts(list: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<String> = Vec::new();
    for port in list.items().flat_map(|one| one.get("ports").items()) {
        let number = port.get("hostPort").int().unwrap_or_default();
        if number == 0 {
            continue;
        }
        let key = format!("{}/{}/{number}", port.get("protocol").str(), port.get("hostIP").str());
        if seen.contains(&key) {
            let path = port.get("hostPort").path();
            errors.push(FieldError::duplicate(path, key.as_str()));
        }
        seen.push(key);
    }
}

fn host_network_ports(one: Field<'_>, errors: &mut ErrorList) {
    for port in one.get("ports").items() {
        let host = port.get("hostPort");
        if host.int().unwrap_or_default() != port.get("containerPort").int().unwrap_or_default() {
            errors.push(host.invalid("must match `containerPort` when `hostNetwork` is true"));
        }
    }
}

fn mounts(one: Field<'_>, volumes: &Volumes<'_>, errors: &mut ErrorList) {
    let mut paths: Vec<&str> = Vec::new();
    let privileged = one.at(&["securityContext", "privileged"]).bool();
    for mount in one.get("volumeMounts").items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        required(name, errors);
        if !volumes.has(name.str()) {
            errors.push(name.not_found());
        }
        required(path, errors);
        if paths.contains(&path.str()) {
            errors.push(path.invalid("must be unique"));
        }
        paths.push(path.str());
        for device in one.get("volumeDevices").items() {
            if device.get("name").str() == name.str() {
                errors.push(name.invalid("must not already exist in volumeDevices"));
            }
            if device.get("devicePath").str() == path.str() {
                errors.push(path.invalid("must not already exist as a path in volumeDevices"));
            }
        }
        mount_options(mount, one.get("volumeMounts"), privileged, errors);
    }
}

/// The options of a mount. Upstream names the list where it should name the mount: `list`.
fn mount_options<'a>(mount: Field<'a>, list: Field<'a>, privileged: bool, errors: &mut ErrorList) {
    let of = |name: &'static str| Field::get(list, name).with(mount.get(name).value());
    let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    descending_path(of("subPath"), errors);
    if !expression.is_empty() {
        if !sub.is_empty() {
            let text = "subPathExpr and subPath are mutually exclusive";
            errors.push(expression.invalid(text));
        }
        descending_path(of("subPathExpr"), errors);
    }
    let propagation = of("mountPropagation");
    one_of(propagation, &["Bidirectional", "HostToContainer", "None"], errors);
    if propagation.str() == "Bidirectional" && !privileged {
        let text = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(propagation.forbidden(text));
    }
    let recursive = of("recursiveReadOnly");
    one_of(recursive, &["Disabled", "Enabled", "IfPossible"], errors);
    if matches!(recursive.str(), "Enabled" | "IfPossible") {
        if !mount.get("readOnly").bool() {
            errors.push(recursive.forbidden("may only be specified when readOnly is true"));
        }
        if !matches!(propagation.str(), "" | "None") {
            let text = "may only be specified when mountPropagation is None or not specified";
            errors.push(recursive.forbidden(text));
        }
    }
}

/// A path that stays below where it starts.
pub(crate) fn descending_path(field: Field<'_>, errors: &mut ErrorList) {
    if field.str().starts_with('/') {
        errors.push(field.invalid("must be a relative path"));
    }
    no_backsteps(field, errors);
}

/// A path without `..`.
pub(crate) fn no_backsteps(field: Field<'_>, errors: &mut ErrorList) {
    if field.str().split('/').any(|part| part == "..") {
        errors.push(field.invalid("must not contain '..'"));
    }
}

fn devices(one: Field<'_>, volumes: &Volumes<'_>, errors: &mut ErrorList) {
    let (mut paths, mut names): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in one.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        required(name, errors);
        if names.contains(&name.str()) {
            errors.push(name.invalid("must be unique"));
        }
        match volumes.is_claim(name.str()) {
            None => errors.push(name.not_found()),
            Some(true) => {}
            Some(false) => errors.push(name.invalid(
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )),
        }
        required(path, errors);
        if paths.contains(&path.str()) {
            errors.push(path.invalid("must be unique"));
        }
        if path.str().split('/').any(|part| part == "..") {
            errors.push(path.invalid("can not contain backsteps ('..')"));
        } else {
            paths.push(path.str());
        }
        for mount in one.get("volumeMounts").items() {
            if mount.get("name").str() == name.str() {
                errors.push(name.invalid("must not already exist in volumeMounts"));
            }
            if mount.get("mountPath").str() == path.str() {
                errors.push(path.invalid("must not already exist as a path in volumeMounts"));
            }
        }
        if !name.is_empty() {
            names.push(name.str());
        }
    }
}

/// Policies of resizing; what is wrong with one is shown at the list.
fn resize_policy(list: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in list.items() {
        let name = policy.get("resourceName");
        if seen.contains(&name.str()) {
            errors.push(FieldError::duplicate(policy.path(), name.str()));
        }
        seen.push(name.str());
        required_one_of(list.with(name.value()), &["cpu", "memory"], errors);
        let restart = list.with(policy.get("restartPolicy").value());
        required_one_of(restart, &["NotRequired", "RestartContainer"], errors);
    }
}

fn restart_rules(one: Field<'_>, errors: &mut ErrorList) {
    let policy = one.get("restartPolicy");
    one_of(policy, &["Always", "OnFailure", "Never"], errors);
    let rules = one.get("restartPolicyRules");
    if rules.is_empty() {
        return;
    }
    if policy.is_empty() {
        errors.push(policy.required("must specify restartPolicy when restart rules are used"));
    }
    if rules.len() > 20 {
        errors.push(rules.too_many(20));
    }
    for rule in rules.items() {
        let action = rule.get("action");
        if !matches!(action.str(), "Restart" | "RestartAllContainers") {
            errors.push(action.not_supported(&["Restart", "RestartAllContainers"]));
        }
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            errors.push(codes.required("must be specified"));
            continue;
        }
        if !matches!(codes.get("operator").str(), "In" | "NotIn") {
            errors.push(codes.get("operator").not_supported(&["In", "NotIn"]));
        }
        if codes.get("values").len() > 255 {
            errors.push(codes.get("values").too_many(255));
        }
    }
}

fn init(one: Field<'_>, spec: Field<'_>, grace: i64, errors: &mut ErrorList) {
    if one.get("restartPolicy").str() == "Always" {
        probe::lifecycle(one.get("lifecycle"), grace, spec, errors);
        probe::probes(one, grace, errors);
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let field = Field::get(one, field);
        if field.is_set() {
            let text = "may not be set for init containers without restartPolicy=Always";
            errors.push(field.forbidden(text));
        }
    }
}

/// Only these fields may be set on an ephemeral container.
const EPHEMERAL_FIELDS: [&str; 16] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
];

fn ephemeral<'a>(
    spec: Field<'a>,
    volumes: &Volumes<'_>,
    names: &mut Vec<&'a str>,
    place: Place,
    errors: &mut ErrorList,
) {
    let targets: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| Field::get(spec, list).items())
        .map(|one| one.get("name").str())
        .collect();
    for one in spec.get("ephemeralContainers").items() {
        common(one, volumes, place, names, errors);
        let target = one.get("targetContainerName");
        if !target.is_empty() && !targets.contains(&target.str()) {
            errors.push(target.not_found());
        }
        for mount in one.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).is_empty() {
                    let text = "cannot be set for an Ephemeral Container";
                    errors.push(Field::get(mount, field).forbidden(text));
                }
            }
        }
        for (name, field) in one.entries() {
            let allowed = EPHEMERAL_FIELDS.contains(&name) || name == "targetContainerName";
            if !allowed && !field.is_empty() {
                let text = "cannot be set for an Ephemeral Container";
                errors.push(one.get(name).forbidden(text));
            }
        }
    }
}
