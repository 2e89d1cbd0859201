//! Which FlowSchema a request belongs to. Pure: schemas are compiled once, requests compared.

use api::k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};
use auth::{Attributes, NonResource, ResourceAttributes, Target, UserInfo, users};

/// By what the requests of a schema are told apart into flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distinguisher {
    /// They are all one flow.
    None,
    /// By who sends them.
    ByUser,
    /// By the namespace that they are about.
    ByNamespace,
}

/// The rules of a FlowSchema.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    rules: Vec<PolicyRulesWithSubjects>,
    distinguisher: Distinguisher,
}

impl Matcher {
    pub(crate) fn new(schema: &FlowSchema) -> Self {
        let spec = schema.spec.as_ref();
        let method = spec.and_then(|spec| spec.distinguisher_method.as_ref());
        Self {
            rules: spec.and_then(|spec| spec.rules.clone()).unwrap_or_default(),
            distinguisher: match method.map(|method| method.type_.as_str()) {
                Some("ByUser") => Distinguisher::ByUser,
                Some("ByNamespace") => Distinguisher::ByNamespace,
                _ => Distinguisher::None,
            },
        }
    }

    /// Whether a request belongs to the schema.
    pub(crate) fn matches(&self, request: &Attributes) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|one| subject(one, &request.user))
                && match &request.target {
                    Target::Resource(target) => {
                        rule.resource_rules.iter().flatten().any(|one| resource(one, target))
                    }
                    Target::NonResource(target) => {
                        rule.non_resource_rules.iter().flatten().any(|one| path(one, target))
                    }
                }
        })
    }

    /// What tells the request's flow from the schema's others.
    pub(crate) fn distinguisher<'a>(&self, request: &'a Attributes) -> &'a str {
        match (self.distinguisher, &request.target) {
            (Distinguisher::ByUser, _) => &request.user.username,
            (Distinguisher::ByNamespace, Target::Resource(target)) => &target.namespace,
            _ => "",
        }
    }
}

fn subject(subject: &Subject, user: &UserInfo) -> bool {
    match subject.kind.as_str() {
        "User" => subject
            .user
            .as_ref()
            .is_some_and(|wanted| wanted.name == "*" || wanted.name == user.username),
        "Group" => subject
            .group
            .as_ref()
            .is_some_and(|wanted| wanted.name == "*" || user.is_in(&wanted.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|wanted| {
            let own = user.username.strip_prefix(users::SERVICE_ACCOUNT_PREFIX);
            own.and_then(|own| own.split_once(':')).is_some_and(|(namespace, name)| {
                namespace == wanted.namespace && (wanted.name == "*" || wanted.name == name)
            })
        }),
        _ => false,
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

fn resource(rule: &ResourcePolicyRule, target: &ResourceAttributes) -> bool {
    let names_resource = || {
        rule.resources.iter().any(|one| match one.split_once('/') {
            _ if one == "*" => true,
            Some((resource, subresource)) => {
                resource == target.resource && subresource == target.subresource
            }
            None => target.subresource.is_empty() && *one == target.resource,
        })
    };
    let in_namespace = || {
        if target.namespace.is_empty() {
            return rule.cluster_scope == Some(true);
        }
        rule.namespaces.as_ref().is_some_and(|list| has(list, &target.namespace))
    };
    has(&rule.verbs, &target.verb)
        && has(&rule.api_groups, &target.group)
        && names_resource()
        && in_namespace()
}

fn path(rule: &NonResourcePolicyRule, target: &NonResource) -> bool {
    has(&rule.verbs, &target.verb)
        && rule.non_resource_urls.iter().any(|one| {
            let below = one.strip_suffix('*').filter(|prefix| prefix.ends_with('/'));
            one == "*"
                || *one == target.path
                || below.is_some_and(|prefix| target.path.starts_with(prefix))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::typed::Kind as _;
    use serde_json::json;

    fn matcher(rule: serde_json::Value) -> Matcher {
        let schema = json!({
            "metadata": {"name": "t"},
            "spec": {
                "matchingPrecedence": 10,
                "priorityLevelConfiguration": {"name": "p"},
                "distinguisherMethod": {"type": "ByNamespace"},
                "rules": [rule],
            },
        });
        Matcher::new(&FlowSchema::decode(schema.to_string().as_bytes()).unwrap())
    }

    fn pods(namespace: &str, subresource: &str) -> Target {
        Target::Resource(ResourceAttributes {
            verb: "get".into(),
            resource: "pods".into(),
            namespace: namespace.into(),
            subresource: subresource.into(),
            ..ResourceAttributes::default()
        })
    }

    fn asks(user: &str, target: Target) -> Attributes {
        Attributes { user: UserInfo::named(user, &["team"]), target }
    }

    #[test]
    fn subjects() {
        let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "namespaces": ["*"], "clusterScope": true}]);
        for (subject, expected) in [
            (json!({"kind": "User", "user": {"name": "*"}}), true),
            (json!({"kind": "User", "user": {"name": "other"}}), false),
            (json!({"kind": "Group", "group": {"name": "team"}}), true),
            (
                json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}),
                true,
            ),
            (
                json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "b", "name": "*"}}),
                false,
            ),
        ] {
            let matcher = matcher(json!({"subjects": [subject], "resourceRules": all}));
            let request = asks("system:serviceaccount:a:x", pods("a", ""));
            assert_eq!(matcher.matches(&request), expected, "{matcher:?}");
            assert_eq!(matcher.distinguisher(&request), "a");
        }
    }

    #[test]
    fn targets() {
        let subjects = json!([{"kind": "Group", "group": {"name": "team"}}]);
        let matcher = matcher(json!({
            "subjects": subjects,
            "resourceRules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"], "namespaces": ["a"]},
            ],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz/*"]}],
        }));
        let url =
            |path: &str| Target::NonResource(NonResource { verb: "get".into(), path: path.into() });
        for (target, expected) in [
            (pods("a", ""), true),
            (pods("a", "log"), true),
            (pods("a", "status"), false),
            (pods("b", ""), false),
            (pods("", ""), false),
            (url("/healthz"), true),
            (url("/healthz/x"), false),
            (url("/readyz/x"), true),
            (url("/metrics"), false),
        ] {
            assert_eq!(matcher.matches(&asks("u", target.clone())), expected, "{target:?}");
        }
    }
}
