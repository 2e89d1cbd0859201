//! The policy: `audit.k8s.io/v1 Policy`. The first rule that matches a request says how much of it
//! is noted; what no rule matches is not noted. Pure.

use apiserver::audit::{Level, Stage, Verdict};
use auth::{Attributes, ResourceAttributes, Target};
use serde::Deserialize;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is no YAML, or not of a policy's form.
    #[error("the policy cannot be read: {0}")]
    Unreadable(String),
    /// The document is something else.
    #[error("the policy is a {kind} of {api_version:?}; it must be a Policy of audit.k8s.io/v1")]
    WrongKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// There are no rules.
    #[error("loaded illegal policy with 0 rules")]
    NoRules,
    /// A rule makes no sense.
    #[error("rules[{index}].{field}: {why}")]
    Rule {
        /// Its number.
        index: usize,
        /// Where in it.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A stage that is left out has no such name.
    #[error("omitStages: Unsupported value: {0:?}: allowed values are {STAGES}")]
    Stage(String),
}

const STAGES: &str = "RequestReceived,ResponseStarted,ResponseComplete,Panic";
const LEVELS: &str = "None,Metadata,Request,RequestResponse";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    level: String,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// A policy in force.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<(Rule, Verdict)>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// When it is none, or makes no sense.
    pub fn parse(yaml: &[u8]) -> Result<Self, PolicyError> {
        let unreadable = |error: &dyn std::fmt::Display| PolicyError::Unreadable(error.to_string());
        let document = api::yaml::parse(yaml).map_err(|error| unreadable(&error))?;
        let document: Document =
            serde_json::from_value(document.value).map_err(|error| unreadable(&error))?;
        if document.api_version != "audit.k8s.io/v1" || document.kind != "Policy" {
            return Err(PolicyError::WrongKind {
                api_version: document.api_version,
                kind: document.kind,
            });
        }
        if document.rules.is_empty() {
            return Err(PolicyError::NoRules);
        }
        let common = omitted(&document.omit_stages).map_err(PolicyError::Stage)?;
        let mut rules = Vec::new();
        for (index, rule) in document.rules.into_iter().enumerate() {
            let verdict = verdict(&rule, common, document.omit_managed_fields)
                .map_err(|(field, why)| PolicyError::Rule { index, field, why })?;
            rules.push((rule, verdict));
        }
        Ok(Self { rules })
    }

    /// What is wanted of a request.
    #[must_use]
    pub fn verdict(&self, request: &Attributes) -> Verdict {
        let found = self.rules.iter().find(|(rule, _)| rule.matches(request));
        found.map(|(_, verdict)| *verdict).unwrap_or_default()
    }
}

fn omitted(stages: &[String]) -> Result<[bool; 4], String> {
    let mut omits = [false; 4];
    for name in stages {
        let at = Stage::ALL.iter().position(|stage| stage.name() == name);
        omits[at.ok_or_else(|| name.clone())?] = true;
    }
    Ok(omits)
}

fn verdict(
    rule: &Rule,
    common: [bool; 4],
    omit_managed_fields: bool,
) -> Result<Verdict, (&'static str, String)> {
    let level = match rule.level.as_str() {
        "None" => Level::None,
        "Metadata" => Level::Metadata,
        "Request" => Level::Request,
        "RequestResponse" => Level::RequestResponse,
        "" => return Err(("level", "Required value".to_owned())),
        other => {
            let why = format!("Unsupported value: {other:?}: supported values: {LEVELS}");
            return Err(("level", why));
        }
    };
    let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if of_resources && !rule.non_resource_urls.is_empty() {
        let why = "rules cannot apply to both regular resources and non-resource URLs";
        return Err(("nonResourceURLs", why.to_owned()));
    }
    for url in &rule.non_resource_urls {
        let star = url.find('*');
        if url != "*" && (!url.starts_with('/') || star.is_some_and(|at| at + 1 < url.len())) {
            let why = format!(
                "Invalid value: {url:?}: non-resource URLs start with a '/' and have a '*' at their end only"
            );
            return Err(("nonResourceURLs", why));
        }
    }
    for one in &rule.resources {
        if !one.resource_names.is_empty() && one.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            return Err(("resources.resourceNames", why.to_owned()));
        }
    }
    let own = omitted(&rule.omit_stages)
        .map_err(|name| ("omitStages", format!("Unsupported value: {name:?}: {STAGES}")))?;
    let mut omits = common;
    omits.iter_mut().zip(own).for_each(|(omit, own)| *omit |= own);
    let omit_managed_fields = rule.omit_managed_fields.unwrap_or(omit_managed_fields);
    Ok(Verdict { level, omits, omit_managed_fields })
}

impl Rule {
    fn matches(&self, request: &Attributes) -> bool {
        let one_of =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        let user = &request.user;
        if !one_of(&self.users, &user.username)
            || !(self.user_groups.is_empty()
                || self.user_groups.iter().any(|group| user.is_in(group)))
        {
            return false;
        }
        let verb = match &request.target {
            Target::Resource(target) => &target.verb,
            Target::NonResource(target) => &target.verb,
        };
        if !one_of(&self.verbs, verb) {
            return false;
        }
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        match &request.target {
            Target::Resource(target) if of_resources => {
                one_of(&self.namespaces, &target.namespace)
                    && (self.resources.is_empty()
                        || self.resources.iter().any(|one| one.matches(target)))
            }
            Target::NonResource(target) if !self.non_resource_urls.is_empty() => {
                self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(prefix) => target.path.starts_with(prefix),
                    None => *url == target.path,
                })
            }
            // A rule that names neither applies to both.
            _ => !of_resources && self.non_resource_urls.is_empty(),
        }
    }
}

impl GroupResources {
    fn matches(&self, target: &ResourceAttributes) -> bool {
        if self.group != target.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.contains(&target.name) {
            return false;
        }
        self.resources.iter().any(|one| match one.split_once('/') {
            None => one == "*" || (target.subresource.is_empty() && *one == target.resource),
            Some(("*", subresource)) => subresource == target.subresource,
            Some((resource, "*")) => resource == target.resource,
            Some((resource, subresource)) => {
                resource == target.resource && subresource == target.subresource
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::{NonResource, UserInfo};

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
metadata:
  name: book
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: ["watch"]
  resources: [{group: "", resources: ["endpoints", "services"]}]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*", "/version"]
- level: Request
  resources: [{group: "", resources: ["configmaps"]}]
  namespaces: ["kube-system"]
- level: Metadata
  omitStages: [ResponseStarted]
  omitManagedFields: true
  resources: [{group: "", resources: ["secrets", "pods/log", "*/status"]}]
- level: RequestResponse
  resources: [{group: "apps"}, {group: "batch", resources: ["jobs/*"], resourceNames: ["a"]}]
- level: Metadata
  namespaces: ["only"]
"#;

    fn of(user: &str, verb: &str, group: &str, resource: &str, namespace: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let target = ResourceAttributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: "a".into(),
            ..ResourceAttributes::default()
        };
        Attributes { user: UserInfo::named(user, &[]), target: Target::Resource(target) }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        for (request, expected) in [
            (of("system:kube-proxy", "watch", "", "services", "a"), Level::None),
            (of("u", "get", "", "configmaps", "kube-system"), Level::Request),
            (of("u", "get", "", "configmaps", "a"), Level::None),
            (of("u", "get", "", "secrets", "a"), Level::Metadata),
            (of("u", "get", "", "pods/log", "a"), Level::Metadata),
            (of("u", "get", "", "pods", "a"), Level::None),
            (of("u", "update", "", "nodes/status", ""), Level::Metadata),
            (of("u", "get", "apps", "deployments/scale", "a"), Level::RequestResponse),
            (of("u", "get", "batch", "jobs/status", "a"), Level::RequestResponse),
            (of("u", "get", "batch", "cronjobs", "only"), Level::Metadata),
        ] {
            assert_eq!(policy.verdict(&request).level, expected, "{request:?}");
        }
        let path = |user: UserInfo, path: &str| Attributes {
            user,
            target: Target::NonResource(NonResource { verb: "get".into(), path: path.into() }),
        };
        let verdict = policy.verdict(&of("u", "get", "", "secrets", "a"));
        assert_eq!(verdict.omits, [true, true, false, false]);
        assert!(verdict.omit_managed_fields);
        assert_eq!(policy.verdict(&path(UserInfo::anonymous(), "/apis")).level, Level::None);
        let all =
            Policy::parse(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]")
                .unwrap();
        assert_eq!(all.verdict(&path(UserInfo::anonymous(), "/apis")).level, Level::Metadata);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (text, word) in [
            ("kind: Policy\napiVersion: v1\nrules: [{level: None}]", "audit.k8s.io/v1"),
            (&*format!("{head}rules: []"), "0 rules"),
            (&*format!("{head}rules: [{{}}]"), "rules[0].level: Required value"),
            (&*format!("{head}rules: [{{level: All}}]"), "Unsupported value: \"All\""),
            (&*format!("{head}omitStages: [x]\nrules: [{{level: None}}]"), "omitStages"),
            (&*format!("{head}rules: [{{level: None, user: [x]}}]"), "unknown field"),
            (
                &*format!("{head}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/x]}}]"),
                "both regular resources",
            ),
            (&*format!("{head}rules: [{{level: None, nonResourceURLs: [/a*b]}}]"), "at their end"),
        ] {
            let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
