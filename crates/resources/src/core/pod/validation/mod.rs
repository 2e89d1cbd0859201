//! What is wrong with a pod spec, in a pod or in a template.
//!
//! One module a part of the spec; this one holds the fields that concern the pod as a whole and
//! the differences between a pod and a template.

pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod probe;
pub(crate) mod resize;
pub(crate) mod resources;
pub(crate) mod scheduling;
pub(crate) mod security;
#[cfg(test)]
mod tests;
pub(crate) mod update;
pub(crate) mod volume;

use api::Value;
use api::field::ErrorList;
use api::validate;

use crate::check::{self, one_of, required, required_in_order};
use crate::cursor::{Field, rule};

/// Where a pod spec stands; some rules hold for pods only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a pod.
    Pod,
    /// In a workload's template.
    Template,
}

/// What is wrong with a pod spec.
pub(crate) fn pod_spec(spec: Field<'_>, place: Place, errors: &mut ErrorList) {
    let volumes = volume::volumes(spec.get("volumes"), place, errors);
    container::containers(spec, &volumes, place, errors);
    let policies = ["Always", "OnFailure", "Never"];
    required_in_order(spec.get("restartPolicy"), &policies, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_in_order(spec.get("dnsPolicy"), &policies, errors);
    dns_config(spec, errors);
    check::labels(spec.get("nodeSelector"), errors);
    security::pod(spec, errors);
    scheduling::affinity(spec.get("affinity"), errors);
    scheduling::tolerations(spec.get("tolerations"), errors);
    scheduling::spread(spec.get("topologySpreadConstraints"), errors);
    scheduling::gates(spec, errors);
    identity(spec, errors);
    times(spec, errors);
    host_aliases(spec.get("hostAliases"), errors);
    resources::pod_level(spec, errors);
    resource_claims(spec.get("resourceClaims"), errors);
    operating_system(spec, errors);
}

fn identity(spec: Field<'_>, errors: &mut ErrorList) {
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        rule(spec.get(name), validate::dns1123_subdomain, errors);
    }
    for name in ["hostname", "subdomain"] {
        rule(spec.get(name), validate::dns1123_label, errors);
    }
    let over = spec.get("hostnameOverride");
    if over.is_set() {
        let texts = validate::dns1123_subdomain(over.str());
        errors.extend(texts.into_iter().map(|text| over.invalid(text)));
        if over.str().len() > 64 {
            errors.push(over.too_long(64));
        }
        if spec.get("setHostnameAsFQDN").bool() {
            errors.push(over.forbidden("may not be specified when setHostnameAsFQDN is true"));
        }
        if spec.get("hostNetwork").bool() {
            errors.push(over.forbidden("may not be specified when hostNetwork is true"));
        }
    }
    let policies = ["Never", "PreemptLowerPriority"];
    one_of(spec.get("preemptionPolicy"), &policies, errors);
    for gate in spec.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        errors.extend(
            validate::qualified_name(kind.str()).into_iter().map(|text| kind.invalid(text)),
        );
    }
    // An overhead is checked as the limits of a container, and shown as them.
    let overhead = spec.get("overhead");
    for (name, quantity) in overhead.entries() {
        let shown = overhead.get("limits").key(name).with(quantity.value());
        resources::container_resource_name(name, shown, errors);
        check::resource_quantity(name, shown, errors);
    }
}

fn times(spec: Field<'_>, errors: &mut ErrorList) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if !grace.is_set() {
        errors.push(grace.required(""));
    }
    let deadline = spec.get("activeDeadlineSeconds");
    check::in_range(deadline, 1, i64::from(i32::MAX), errors);
}

fn dns_config(spec: Field<'_>, errors: &mut ErrorList) {
    let config = spec.get("dnsConfig");
    let servers = config.get("nameservers");
    if spec.get("dnsPolicy").str() == "None" {
        if !config.is_set() {
            let text = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(config.required(text));
            return;
        }
        if servers.is_empty() {
            let text = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(servers.required(text));
            return;
        }
    }
    if servers.len() > 3 {
        let value = servers.value().cloned().unwrap_or_default();
        errors.push(servers.invalid_as(value, "must not have more than 3 nameservers"));
    }
    check::each(servers, validate::net::ip_legacy, errors);
    let searches = config.get("searches");
    let value = || searches.value().cloned().unwrap_or_default();
    if searches.len() > 32 {
        errors.push(searches.invalid_as(value(), "must not have more than 32 search paths"));
    }
    let length: usize = searches.items().map(|search| search.str().len()).sum::<usize>()
        + searches.len().saturating_sub(1);
    if length > 2048 {
        let text = "must not have more than 2048 characters (including spaces) in the search list";
        errors.push(searches.invalid_as(value(), text));
    }
    // A search path may end with a dot, be one, and have underscores.
    for search in searches.items() {
        let plain = search.str().strip_suffix('.').unwrap_or(search.str()).replace('_', "a");
        if search.str() != "." {
            errors.extend(
                validate::dns1123_subdomain(&plain).into_iter().map(|text| search.invalid(text)),
            );
        }
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            errors.push(option.required("must not be empty"));
        }
    }
}

fn host_aliases(aliases: Field<'_>, errors: &mut ErrorList) {
    for alias in aliases.items() {
        let ip = alias.get("ip");
        errors.extend(validate::net::ip_legacy(ip.str()).into_iter().map(|text| ip.invalid(text)));
        check::each(alias.get("hostnames"), validate::dns1123_subdomain, errors);
    }
}

fn resource_claims(claims: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for claim in claims.items() {
        let name = claim.get("name");
        if required(name, errors) {
            rule(name, validate::dns1123_label, errors);
            if seen.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            seen.push(name.str());
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|source| claim.get(source).is_set()).count() {
            0 => {
                let text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(claim.invalid_as(as_struct(claim), text));
            }
            1 => {}
            _ => {
                let text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(claim.invalid_as(as_struct(claim), text));
            }
        }
        for source in sources {
            rule(Field::get(claim, source), validate::dns1123_subdomain, errors);
        }
    }
}

/// A claim as upstream shows it: by its own names for the fields.
fn as_struct(claim: Field<'_>) -> Value {
    let of = |name: &'static str| Field::get(claim, name).value().cloned().unwrap_or_default();
    serde_json::json!({
        "Name": claim.get("name").str(),
        "ResourceClaimName": of("resourceClaimName"),
        "ResourceClaimTemplateName": of("resourceClaimTemplateName"),
    })
}

fn operating_system(spec: Field<'_>, errors: &mut ErrorList) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    let name = os.get("name");
    if required(name, errors) {
        one_of(os.with(name.value()), &["linux", "windows"], errors);
    }
    let security = spec.get("securityContext");
    match name.str() {
        "windows" => {
            let text = "cannot be set for a windows pod";
            for field in ["hostPID", "hostIPC", "shareProcessNamespace"] {
                if spec.get(field).bool() {
                    errors.push(Field::get(spec, field).forbidden(text));
                }
            }
            if spec.get("hostUsers").is_set() {
                errors.push(spec.get("hostUsers").forbidden(text));
            }
            if spec.get("resources").is_set() {
                let text = "may not be set for a windows pod";
                errors.push(spec.get("resources").forbidden(text));
            }
            windows_containers(spec, errors);
            for field in [
                "seLinuxChangePolicy",
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
                "supplementalGroupsPolicy",
            ] {
                let field = Field::get(security, field);
                if field.is_set() {
                    errors.push(field.forbidden("cannot be set for a windows pod"));
                }
            }
        }
        "linux" => {
            let contexts = CONTAINER_LISTS
                .into_iter()
                .flat_map(|list| Field::get(spec, list).items())
                .map(|one| one.get("securityContext"));
            for context in std::iter::once(security).chain(contexts) {
                let options = context.get("windowsOptions");
                if options.is_set() {
                    let text = "windows options cannot be set for a linux pod";
                    errors.push(options.forbidden(text));
                }
            }
        }
        _ => {}
    }
}

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What a container of a Windows pod may not set.
fn windows_containers(spec: Field<'_>, errors: &mut ErrorList) {
    for one in CONTAINER_LISTS.into_iter().flat_map(|list| Field::get(spec, list).items()) {
        for field in [
            "appArmorProfile",
            "seLinuxOptions",
            "seccompProfile",
            "capabilities",
            "readOnlyRootFilesystem",
            "privileged",
            "allowPrivilegeEscalation",
            "procMount",
            "runAsUser",
            "runAsGroup",
        ] {
            let field = Field::get(one.get("securityContext"), field);
            if field.is_set() {
                errors.push(field.forbidden("cannot be set for a windows pod"));
            }
        }
    }
}

/// What is wrong with the template of a workload whose pods restart always. `template` is the
/// `PodTemplateSpec`.
pub(crate) fn always_template(template: Field<'_>, errors: &mut ErrorList) {
    self::template(template, errors);
    let policy = template.at(&["spec", "restartPolicy"]);
    if policy.str() != "Always" {
        errors.push(policy.not_supported(&["Always"]));
    }
    let deadline = template.at(&["spec", "activeDeadlineSeconds"]);
    if deadline.is_set() {
        errors.push(deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
    }
}

/// What is wrong with a `PodTemplateSpec`.
pub(crate) fn template(template: Field<'_>, errors: &mut ErrorList) {
    let metadata = template.get("metadata");
    check::labels(metadata.get("labels"), errors);
    let annotations = metadata.get("annotations");
    errors.extend(validate::annotations(annotations.value(), &annotations.path()));
    let spec = template.get("spec");
    pod_spec(spec, Place::Template, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
}

/// What is wrong with a new pod.
pub(crate) fn pod_create(pod: Field<'_>, errors: &mut ErrorList) {
    let spec = pod.get("spec");
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("cannot be set on create"));
    }
    if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
        let text = "cannot be set until all schedulingGates have been cleared";
        errors.push(spec.get("nodeName").forbidden(text));
    }
}
