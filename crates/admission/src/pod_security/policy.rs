//! What a namespace's labels say: three modes, each with a level and a version.
//!
//! (Kubernetes `k8s.io/pod-security-admission/api`)

use std::fmt;

use api::Value;
use api::field::{FieldError, Path};
use api::object::label;

/// How strict a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything is allowed.
    Privileged,
    /// Known ways out of a container are not.
    Baseline,
    /// Only what hardened pods do is.
    Restricted,
}

/// Which release's idea of a level: `v1.24`, or the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// `latest`.
    Latest,
    /// `v1.MINOR`.
    Minor(u32),
}

/// A level as of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) version: Version,
}

/// What a namespace asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Violations are refused.
    pub(super) enforce: LevelVersion,
    /// Violations are noted in the audit log.
    pub(super) audit: LevelVersion,
    /// Violations are told to the caller.
    pub(super) warn: LevelVersion,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

fn parse_level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

fn parse_version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = plain && (minor.len() == 1 || !minor.starts_with('0'));
    if canonical { minor.parse().ok().map(Version::Minor) } else { None }
}

/// What a mode's labels say, on the background of `default`. A level that is no level counts as
/// `fallback`: enforcing fails closed, the others open.
fn mode(
    namespace: &Value,
    mode: &str,
    default: LevelVersion,
    fallback: Level,
    errors: &mut Vec<FieldError>,
) -> LevelVersion {
    let mut found = default;
    let mut wrong = |key: &str, value: &str, why: &str| {
        let path = Path::new("metadata").child("labels").key(key);
        errors.push(FieldError::invalid(path, value, why));
    };
    let key = format!("pod-security.kubernetes.io/{mode}");
    if let Some(text) = label(namespace, &key) {
        found.level = parse_level(text).unwrap_or_else(|| {
            wrong(&key, text, "must be one of privileged, baseline, restricted");
            fallback
        });
    }
    let key = format!("{key}-version");
    if let Some(text) = label(namespace, &key) {
        found.version = parse_version(text).unwrap_or_else(|| {
            wrong(&key, text, "must be \"latest\" or \"v1.x\"");
            Version::Latest
        });
    }
    found
}

impl Default for Policy {
    fn default() -> Self {
        let nothing = LevelVersion { level: Level::Privileged, version: Version::Latest };
        Self { enforce: nothing, audit: nothing, warn: nothing }
    }
}

impl Policy {
    /// What a configuration's `defaults` say.
    ///
    /// # Errors
    /// The field that says something else than a level or a version.
    pub(super) fn of_defaults(defaults: &Value) -> Result<Self, String> {
        let mut policy = Self::default();
        for (field, value) in defaults.as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let (name, is_version) = match field.strip_suffix("-version") {
                Some(name) => (name, true),
                None => (field.as_str(), false),
            };
            let mode = match name {
                "enforce" => &mut policy.enforce,
                "audit" => &mut policy.audit,
                "warn" => &mut policy.warn,
                _ => return Err(format!("defaults has no field {field:?}")),
            };
            let wrong = || format!("defaults.{field}: {text:?} is none that there is");
            if is_version {
                mode.version = parse_version(text).ok_or_else(wrong)?;
            } else {
                mode.level = parse_level(text).ok_or_else(wrong)?;
            }
        }
        Ok(policy)
    }

    /// What a namespace asks for where nothing else is the default, and what is wrong with how it
    /// says so.
    pub(super) fn of(namespace: &Value, defaults: &Self) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let enforce = mode(namespace, "enforce", defaults.enforce, Level::Restricted, &mut errors);
        let audit = mode(namespace, "audit", defaults.audit, Level::Privileged, &mut errors);
        // Who enforces is warned too, at workloads, whose pods would be refused later.
        let says = |mode| label(namespace, &format!("pod-security.kubernetes.io/{mode}")).is_some();
        let implied = says("enforce") && !says("warn") && enforce.level > defaults.warn.level;
        let warned = if implied { enforce } else { defaults.warn };
        let warn = mode(namespace, "warn", warned, Level::Privileged, &mut errors);
        (Self { enforce, audit, warn }, errors)
    }

    /// `enforce=baseline:latest, warn=restricted:v1.30`: what labels of a namespace ask for.
    pub(super) fn said(&self, namespace: &Value) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let said = modes.iter().filter(|(mode, asked)| {
            let key = format!("pod-security.kubernetes.io/{mode}");
            let labelled = label(namespace, &key).is_some()
                || label(namespace, &format!("{key}-version")).is_some();
            labelled && asked.level > Level::Privileged
        });
        said.map(|(mode, asked)| format!("{mode}={asked}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether nothing is asked for but of those who write workloads.
    pub(super) fn is_silent(&self) -> bool {
        self.audit.level == Level::Privileged && self.warn.level == Level::Privileged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(labels: Value, expected: [&str; 3], errors: &[&str]) {
        let keyed: serde_json::Map<String, Value> = labels
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone()))
            .collect();
        let (policy, found) =
            Policy::of(&json!({"metadata": {"labels": keyed}}), &Policy::default());
        let got = [policy.enforce, policy.audit, policy.warn].map(|one| one.to_string());
        assert_eq!(got, expected);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, errors);
    }

    #[test]
    fn defaults_hold_where_labels_say_nothing() {
        let defaults =
            json!({"enforce": "baseline", "enforce-version": "v1.30", "warn": "restricted"});
        let defaults = Policy::of_defaults(&defaults).unwrap();
        let policy = Policy::of(&json!({}), &defaults).0;
        assert_eq!(
            (policy.enforce.to_string(), policy.warn.to_string()),
            ("baseline:v1.30".to_owned(), "restricted:latest".to_owned())
        );
        for bad in
            [json!({"enforce": "x"}), json!({"audit-version": "1"}), json!({"x": "baseline"})]
        {
            assert!(Policy::of_defaults(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_say_what_is_asked_for() {
        let nothing = "privileged:latest";
        check(json!({}), [nothing; 3], &[]);
        check(
            json!({"enforce": "baseline", "enforce-version": "v1.24"}),
            ["baseline:v1.24", nothing, "baseline:v1.24"],
            &[],
        );
        check(
            json!({"enforce": "restricted", "warn": "privileged", "audit": "baseline"}),
            ["restricted:latest", "baseline:latest", nothing],
            &[],
        );
        check(
            json!({"enforce": "strict", "audit": "x", "enforce-version": "v1.07"}),
            ["restricted:latest", nothing, "restricted:latest"],
            &[
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"v1.07\": must be \"latest\" or \"v1.x\"",
                "metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"x\": must be one of privileged, baseline, restricted",
            ],
        );
    }
}
