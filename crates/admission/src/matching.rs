//! Which requests a rule or a selector means, for webhooks and policies alike.
//! (apiserver `plugin/webhook/predicates`)

use api::Value;
use api::names::GroupResource;
use api::object::{list_at, str_at};
use api::selector::LabelSelector;
use api::status::ApiResult;
use apiserver::admission::{AdmissionRequest, Operation, ServedKind};
use apiserver::resource::ObjectApi;

const GROUP: &str = "admissionregistration.k8s.io";

/// Kinds that nobody may stand in the way of: whoever locked himself out could not mend it.
const EXEMPT: [&str; 6] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// Whether a request is about the configuration of admission itself.
pub(crate) fn is_exempt(resource: &GroupResource) -> bool {
    &*resource.group == GROUP && EXEMPT.contains(&&*resource.resource)
}

/// An operation's name.
pub(crate) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn is_namespaces(resource: &GroupResource) -> bool {
    resource.group.is_empty() && &*resource.resource == "namespaces"
}

/// The namespace of a request as admission has it: a Namespace's own is its name.
pub(crate) fn namespace<'r>(request: &'r AdmissionRequest<'_>) -> &'r str {
    if is_namespaces(&request.resource) { object_name(request) } else { request.namespace }
}

/// The name of the object that a request is about, where it has one already.
pub(crate) fn object_name<'r>(request: &'r AdmissionRequest<'_>) -> &'r str {
    if !request.name.is_empty() {
        return request.name;
    }
    request.object.as_deref().map_or("", |object| str_at(object, &["metadata", "name"]))
}

/// How a request reads to a rule: by its own resource, or by another way to the same object.
pub(crate) struct Subject<'r> {
    pub(crate) operation: &'static str,
    pub(crate) resource: &'r GroupResource,
    pub(crate) version: &'r str,
    pub(crate) subresource: &'r str,
    pub(crate) namespace: &'r str,
    pub(crate) name: &'r str,
}

/// A rule: operations on resources of groups and versions.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<(String, String)>,
    /// Names that alone are meant; empty for all. Policies only.
    names: Vec<String>,
    scope: String,
}

impl Rule {
    /// Reads a `RuleWithOperations` or `NamedRuleWithOperations`.
    pub(crate) fn of(rule: &Value) -> Self {
        let texts = |field: &str| -> Vec<String> {
            list_at(rule, &[field])
                .iter()
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect()
        };
        let split = |text: String| match text.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
            None => (text, String::new()),
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources").into_iter().map(split).collect(),
            names: texts("resourceNames"),
            scope: str_at(rule, &["scope"]).to_owned(),
        }
    }

    /// Whether a request is meant.
    pub(crate) fn matches(&self, subject: &Subject<'_>) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        has(&self.operations, subject.operation)
            && has(&self.groups, &subject.resource.group)
            && has(&self.versions, subject.version)
            && self.resources.iter().any(|(resource, subresource)| {
                (resource == "*" || **resource == *subject.resource.resource)
                    && (subresource == "*" || *subresource == subject.subresource)
            })
            && self.matches_scope(subject)
            && (self.names.is_empty() || self.names.iter().any(|name| name == subject.name))
    }

    fn matches_scope(&self, subject: &Subject<'_>) -> bool {
        // Namespaces lie in no namespace, though requests to them carry one.
        let is_cluster = subject.namespace.is_empty() || is_namespaces(subject.resource);
        match self.scope.as_str() {
            "Cluster" => is_cluster,
            "Namespaced" => !is_cluster,
            _ => true,
        }
    }
}

/// The kind by which a request was meant: its own, or with `Equivalent` another of the same
/// objects. The earlier rule wins.
pub(crate) fn matched_kind(
    rules: &[Rule],
    equivalent: bool,
    request: &AdmissionRequest<'_>,
) -> Option<ServedKind> {
    let operation = operation_name(request.operation);
    let matches = |rule: &Rule, resource: &GroupResource, version: &str| {
        rule.matches(&Subject {
            operation,
            resource,
            version,
            subresource: request.subresource.unwrap_or_default(),
            namespace: namespace(request),
            name: object_name(request),
        })
    };
    if rules.iter().any(|rule| matches(rule, &request.resource, request.version)) {
        return Some(own_kind(request));
    }
    if !equivalent {
        return None;
    }
    let others = request.kinds.equivalents(&request.resource, request.subresource);
    rules.iter().find_map(|rule| {
        others.iter().find(|other| matches(rule, &other.resource, &other.version)).cloned()
    })
}

/// The kind of a request as its caller speaks of it.
pub(crate) fn own_kind(request: &AdmissionRequest<'_>) -> ServedKind {
    ServedKind {
        resource: request.resource.clone(),
        version: request.version.into(),
        kind: request.kind.clone(),
    }
}

/// Which namespaces and objects are meant.
#[derive(Debug)]
pub(crate) struct Selectors {
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Selectors {
    /// Reads `namespaceSelector` and `objectSelector`; what is not there selects everything.
    ///
    /// # Errors
    /// A selector is not valid, which validation does not let through.
    pub(crate) fn of(holder: &Value) -> ApiResult<Self> {
        let read = |field: &str| match &holder[field] {
            Value::Null => Ok(LabelSelector::everything()),
            selector => LabelSelector::from_object(selector),
        };
        Ok(Self { namespaces: read("namespaceSelector")?, objects: read("objectSelector")? })
    }

    /// Whether the object is meant, as it is or as it was.
    pub(crate) fn match_object(&self, request: &AdmissionRequest<'_>) -> bool {
        if self.objects.is_everything() {
            return true;
        }
        let matches = |object: &Value| {
            object.get("metadata").is_some() && self.objects.matches_object(object)
        };
        request.object.as_deref().is_some_and(matches) || request.old.is_some_and(matches)
    }

    /// Whether the namespace is meant. Objects in no namespace always are.
    ///
    /// # Errors
    /// The namespace does not exist.
    pub(crate) async fn match_namespace(
        &self,
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
    ) -> ApiResult<bool> {
        let of_namespace = is_namespaces(&request.resource);
        if self.namespaces.is_everything() || (request.namespace.is_empty() && !of_namespace) {
            return Ok(true);
        }
        let is_written = matches!(request.operation, Operation::Create | Operation::Update);
        if of_namespace && request.subresource.is_none() && is_written {
            // The labels that it is about to have.
            let object = request.object.as_deref();
            return Ok(object.is_some_and(|object| self.namespaces.matches_object(object)));
        }
        let namespaces = GroupResource::new("", "namespaces");
        let found = api.get(&namespaces, "", namespace(request)).await?;
        Ok(self.namespaces.matches_object(&found))
    }
}

/// `matchConstraints` and `matchResources` of policies.
#[derive(Debug)]
pub(crate) struct MatchResources {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    equivalent: bool,
    selectors: Selectors,
}

impl MatchResources {
    /// Reads one.
    ///
    /// # Errors
    /// A selector is not valid.
    pub(crate) fn of(resources: &Value) -> ApiResult<Self> {
        let rules = |field: &str| list_at(resources, &[field]).iter().map(Rule::of).collect();
        Ok(Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: str_at(resources, &["matchPolicy"]) != "Exact",
            selectors: Selectors::of(resources)?,
        })
    }

    /// By which kind a request is meant; `None` when it is not.
    ///
    /// # Errors
    /// The namespace does not exist.
    pub(crate) async fn matched(
        &self,
        api: &dyn ObjectApi,
        request: &AdmissionRequest<'_>,
    ) -> ApiResult<Option<ServedKind>> {
        let kind = if self.rules.is_empty() {
            Some(own_kind(request))
        } else {
            matched_kind(&self.rules, self.equivalent, request)
        };
        let Some(kind) = kind else { return Ok(None) };
        if !self.selectors.match_object(request)
            || matched_kind(&self.excluded, self.equivalent, request).is_some()
            || !self.selectors.match_namespace(api, request).await?
        {
            return Ok(None);
        }
        Ok(Some(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(rule: Value, resource: &str, subresource: &str, namespace: &str, expected: bool) {
        let mut all = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"]});
        all.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        let subject = Subject {
            operation: "CREATE",
            resource: &GroupResource::new("", resource),
            version: "v1",
            subresource,
            namespace,
            name: "a",
        };
        assert_eq!(Rule::of(&all).matches(&subject), expected, "{all} {resource}/{subresource}");
    }

    #[test]
    fn resources_and_scopes() {
        for (resources, resource, subresource, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "", true),
            ("pods/*", "pods", "exec", true),
            ("pods/exec", "pods", "exec", true),
            ("pods/exec", "pods", "attach", false),
            ("*", "pods", "", true),
            ("*", "pods", "exec", false),
            ("*/exec", "pods", "exec", true),
            ("*/*", "services", "proxy", true),
        ] {
            check(json!({"resources": [resources]}), resource, subresource, "n", expected);
        }
        for (scope, resource, namespace, expected) in [
            ("*", "pods", "n", true),
            ("Namespaced", "pods", "n", true),
            ("Cluster", "pods", "n", false),
            ("Namespaced", "nodes", "", false),
            ("Cluster", "nodes", "", true),
            // A Namespace is in no namespace, though its requests carry its name as one.
            ("Namespaced", "namespaces", "n", false),
            ("Cluster", "namespaces", "n", true),
        ] {
            check(json!({"resources": ["*"], "scope": scope}), resource, "", namespace, expected);
        }
        check(json!({"resources": ["*"], "apiVersions": ["v2"]}), "pods", "", "n", false);
        check(json!({"resources": ["*"], "operations": ["DELETE"]}), "pods", "", "n", false);
        check(json!({"resources": ["*"], "resourceNames": ["b"]}), "pods", "", "n", false);
        check(json!({"resources": ["*"], "resourceNames": ["a"]}), "pods", "", "n", true);
    }
}
