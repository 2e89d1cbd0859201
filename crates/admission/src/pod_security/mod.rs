//! The Pod Security Standards: a namespace's labels say what its pods may not do.
//!
//! Pods are refused, workloads (whose pods would be refused later) only warned of. Rules and texts
//! are upstream's `k8s.io/pod-security-admission`.

mod baseline;
mod checks;
mod policy;
mod restricted;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::Value;
use api::names::GroupResource;
use api::object::{at, list_at, name, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use checks::{Subject, in_detail, in_short, violations};
use policy::{Level, LevelVersion, Policy};

/// What namespaces without labels ask for, and who the standards do not hold for: upstream's
/// `PodSecurityConfiguration`.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    defaults: Policy,
    /// Callers, by name.
    users: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

impl Configuration {
    /// Reads a `PodSecurityConfiguration`.
    ///
    /// # Errors
    /// What is not understood, in words.
    pub fn read(configuration: &Value) -> Result<Self, String> {
        let mut read = Self::default();
        for (field, value) in configuration.as_object().into_iter().flatten() {
            match field.as_str() {
                "apiVersion" | "kind" => {}
                "defaults" => read.defaults = Policy::of_defaults(value)?,
                "exemptions" => read.read_exemptions(value)?,
                other => return Err(format!("a PodSecurityConfiguration has no field {other:?}")),
            }
        }
        Ok(read)
    }

    fn read_exemptions(&mut self, exemptions: &Value) -> Result<(), String> {
        for (field, value) in exemptions.as_object().into_iter().flatten() {
            let list = match field.as_str() {
                "usernames" => &mut self.users,
                "namespaces" => &mut self.namespaces,
                "runtimeClasses" => &mut self.runtime_classes,
                other => return Err(format!("exemptions has no field {other:?}")),
            };
            let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
            *list = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        Ok(())
    }
}

/// `PodSecurity`.
pub(crate) struct PodSecurity {
    configuration: Configuration,
}

/// At most so many pods are looked at when a namespace's policy changes.
const PODS_MAX: usize = 3000;

/// What a request to a pod's subresource cannot change the spec by.
const IGNORED: [&str; 8] =
    ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

impl PodSecurity {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self { configuration }
    }

    fn exempts(&self, request: &AdmissionRequest<'_>) -> bool {
        self.is_exempt(request.namespace)
            || self.configuration.users.contains(&request.user.username)
    }

    fn is_exempt(&self, namespace: &str) -> bool {
        self.configuration.namespaces.iter().any(|exempt| exempt == namespace)
    }
}

/// Where a kind has the pod that it is, or makes: the path of what has `metadata` and `spec`.
fn pod_path(resource: &GroupResource) -> Option<&'static [&'static str]> {
    const TEMPLATE: &[&str] = &["spec", "template"];
    match (&*resource.group, &*resource.resource) {
        ("", "pods") => Some(&[]),
        ("", "podtemplates") => Some(&["template"]),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some(TEMPLATE),
        ("batch", "cronjobs") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

fn is(resource: &GroupResource, plural: &str) -> bool {
    resource.group.is_empty() && &*resource.resource == plural
}

#[async_trait]
impl AdmissionPlugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return false;
        }
        match request.subresource {
            None => is(&request.resource, "namespaces") || pod_path(&request.resource).is_some(),
            Some(view) => is(&request.resource, "pods") && !IGNORED.contains(&view),
        }
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if is(&request.resource, "namespaces") {
            return self.namespace(api, request).await;
        }
        let Some(path) = pod_path(&request.resource).filter(|_| !self.exempts(request)) else {
            return Ok(());
        };
        let namespaces = GroupResource::new("", "namespaces");
        let namespace = api.get(&namespaces, "", request.namespace).await?;
        let (policy, errors) = Policy::of(&namespace, &self.configuration.defaults);
        let enforces = path.is_empty();
        if policy.is_silent() && !(enforces && policy.enforce.level > Level::Privileged) {
            return Ok(());
        }
        if !errors.is_empty() {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let text = format!("Failed to parse policy: {}", texts.join(", "));
            note(request, "error", text);
        }
        let Some(object) = request.object.as_deref().and_then(|object| at(object, path)) else {
            return Ok(());
        };
        let unchanged = |old| enforces && !is_significant(object, old);
        if request.old.is_some_and(unchanged) {
            return Ok(());
        }
        let class = str_at(object, &["spec", "runtimeClassName"]);
        if self.configuration.runtime_classes.iter().any(|exempt| exempt == class) {
            return Ok(());
        }
        let subject = Subject { metadata: &object["metadata"], spec: &object["spec"] };
        let judge = |policy: LevelVersion| {
            let found = violations(policy, subject);
            (!found.is_empty())
                .then(|| format!("violate PodSecurity \"{policy}\": {}", in_detail(&found)))
        };
        let enforced = judge(policy.enforce).filter(|_| enforces);
        let (audited, warned) = (judge(policy.audit), judge(policy.warn));
        if enforces {
            note(request, "enforce-policy", policy.enforce.to_string());
        }
        if let Some(text) = audited {
            note(request, "audit-violations", format!("would {text}"));
        }
        if let Some(text) = enforced {
            let text = text.replacen("violate", "violates", 1);
            return Err(ApiError::forbidden(&request.resource, request.name, &text));
        }
        request.warnings.extend(warned.map(|text| format!("would {text}")));
        Ok(())
    }
}

fn note(request: &mut AdmissionRequest<'_>, key: &str, text: String) {
    request.audit.push((format!("pod-security.kubernetes.io/{key}"), text));
}

impl PodSecurity {
    /// A namespace's labels must be right; when they become stricter, the pods that are there
    /// already are told of.
    async fn namespace(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(object) = request.object.as_deref() else { return Ok(()) };
        let (policy, errors) = Policy::of(object, &self.configuration.defaults);
        let before = request.old.map(|old| Policy::of(old, &self.configuration.defaults));
        let same = before.as_ref().is_some_and(|(_, old)| *old == errors);
        if !errors.is_empty() && !same {
            let kind = &request.kind;
            return Err(ApiError::invalid(&kind.group, &kind.kind, name(object), &errors));
        }
        if self.is_exempt(name(object)) {
            let said = policy.said(object);
            if !said.is_empty() && policy != self.configuration.defaults {
                let name = name(object);
                request.warnings.push(format!(
                    "namespace {name:?} is exempt from Pod Security, and the policy ({said}) will \
                     be ignored"
                ));
            }
            return Ok(());
        }
        let Some((old, _)) = before else { return Ok(()) };
        let (new, old) = (policy.enforce, old.enforce);
        let relaxed = new.version == old.version && new.level <= old.level;
        if new == old || new.level == Level::Privileged || relaxed {
            return Ok(());
        }
        let pods = api.list(&GroupResource::new("", "pods"), name(object)).await?;
        let warnings = self.of_existing(&pods, name(object), new);
        request.warnings.extend(warnings);
        Ok(())
    }

    fn of_existing(
        &self,
        pods: &[std::sync::Arc<Value>],
        namespace: &str,
        enforce: LevelVersion,
    ) -> Vec<String> {
        // By violation, the first pod's name and the number of pods.
        let mut found: BTreeMap<String, (&str, usize)> = BTreeMap::new();
        for pod in pods.iter().take(PODS_MAX) {
            let class = str_at(pod, &["spec", "runtimeClassName"]);
            if self.configuration.runtime_classes.iter().any(|exempt| exempt == class) {
                continue;
            }
            let subject = Subject { metadata: &pod["metadata"], spec: &pod["spec"] };
            let against = violations(enforce, subject);
            if !against.is_empty() {
                let (first, count) = found.entry(in_short(&against)).or_insert((name(pod), 0));
                *first = name(pod).min(*first);
                *count += 1;
            }
        }
        let mut warnings = Vec::new();
        if pods.len() > PODS_MAX {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {PODS_MAX} of {} existing pods",
                pods.len()
            ));
        }
        if !found.is_empty() {
            warnings.push(format!(
                "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut each: Vec<_> = found
            .into_iter()
            .map(|(violation, (first, count))| match count {
                1 => format!("{first}: {violation}"),
                2 => format!("{first} (and 1 other pod): {violation}"),
                more => format!("{first} (and {} other pods): {violation}", more - 1),
            })
            .collect();
        each.sort();
        warnings.append(&mut each);
        warnings
    }
}

/// Whether a change of a pod is one that the checks could judge otherwise than before.
fn is_significant(new: &Value, old: &Value) -> bool {
    let annotation =
        |pod: &Value, key: &str| str_at(pod, &["metadata", "annotations", key]).to_owned();
    let differs = |key: &str| annotation(new, key) != annotation(old, key);
    if differs("seccomp.security.alpha.kubernetes.io/pod") {
        return true;
    }
    ["containers", "initContainers", "ephemeralContainers"].iter().any(|list| {
        let (now, before) = (list_at(new, &["spec", list]), list_at(old, &["spec", list]));
        now.len() != before.len()
            || now.iter().any(|container| {
                let own = str_at(container, &["name"]);
                let was = before.iter().find(|one| str_at(one, &["name"]) == own);
                let image = |of: &Value| str_at(of, &["image"]).to_owned();
                was.is_none_or(|was| image(was) != image(container))
                    || differs(&format!("container.seccomp.security.alpha.kubernetes.io/{own}"))
            })
    })
}
