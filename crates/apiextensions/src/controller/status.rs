//! What a definition's status says. Pure.

use api::Value;
use api::object::{at, list_at, set, str_at};
use base::clock::{Timestamp, rfc3339_seconds};
use serde_json::json;

use super::names::{Taken, Verdict, decide};
use crate::definition::Names;

/// What is to become of a definition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The names that it has.
    pub(super) names: Names,
    /// Whether its objects are served.
    pub(super) serves: bool,
    conditions: Vec<(&'static str, Verdict)>,
}

/// Decides by what is asked, what is, and the names of the others in the group.
pub(super) fn plan(definition: &Value, taken: &Taken) -> Plan {
    let asked = Names::of(&definition["spec"]["names"]);
    let has = Names::of(&definition["status"]["acceptedNames"]);
    let mut conditions = Vec::new();
    let (mut accepted, established) =
        (is_true(definition, "NamesAccepted"), is_true(definition, "Established"));
    let mut names = has.clone();
    if asked != has {
        let verdict;
        (names, verdict) = decide(&asked, &has, taken);
        accepted = verdict.status;
        conditions.push(("NamesAccepted", verdict));
    }
    if !established {
        let (reason, message) = if accepted {
            ("InitialNamesAccepted", "the initial names have been accepted")
        } else {
            ("NotAccepted", "not all names are accepted")
        };
        let message = message.to_owned();
        // Somebody who took the conditions away by hand gets only back what is decided anew.
        if accepted || asked != has {
            conditions.push(("Established", Verdict { status: accepted, reason, message }));
        }
    }
    if let Some(verdict) = approval(definition) {
        conditions.push(("KubernetesAPIApprovalPolicyConformant", verdict));
    }
    Plan { names, serves: accepted || established, conditions }
}

impl Plan {
    /// Whether the status does not say so yet.
    pub(super) fn changes(&self, definition: &Value) -> bool {
        let mut changed = definition.clone();
        self.write(&mut changed, Timestamp::UNIX_EPOCH);
        changed != *definition
    }

    /// Writes it into the status.
    pub(super) fn write(&self, definition: &mut Value, now: Timestamp) {
        if self.names != Names::of(&definition["status"]["acceptedNames"]) {
            definition["status"]["acceptedNames"] = self.names.to_value();
        }
        for (kind, verdict) in &self.conditions {
            set_condition(definition, kind, verdict, now);
        }
    }
}

/// Whether a condition holds.
pub(super) fn is_true(definition: &Value, kind: &str) -> bool {
    list_at(definition, &["status", "conditions"])
        .iter()
        .any(|one| str_at(one, &["type"]) == kind && str_at(one, &["status"]) == "True")
}

/// Sets a condition; its time moves when its status does.
pub(super) fn set_condition(definition: &mut Value, kind: &str, verdict: &Verdict, now: Timestamp) {
    let mut conditions = list_at(definition, &["status", "conditions"]).to_vec();
    let status = if verdict.status { "True" } else { "False" };
    let known = conditions.iter_mut().find(|one| str_at(one, &["type"]) == kind);
    match known {
        Some(known) => {
            if str_at(known, &["status"]) != status {
                known["lastTransitionTime"] = rfc3339_seconds(now).into();
            }
            known["status"] = status.into();
            known["reason"] = verdict.reason.into();
            known["message"] = verdict.message.as_str().into();
        }
        None => conditions.push(json!({
            "type": kind,
            "status": status,
            "lastTransitionTime": rfc3339_seconds(now),
            "reason": verdict.reason,
            "message": verdict.message,
        })),
    }
    set(definition, &["status", "conditions"], conditions);
}

const APPROVED: &str = "api-approved.kubernetes.io";

/// Whether a group of Kubernetes' own was approved. (KEP-1111)
fn approval(definition: &Value) -> Option<Verdict> {
    let group = str_at(definition, &["spec", "group"]);
    let is_ours = ["k8s.io", "kubernetes.io"].iter().any(|own| {
        group.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if !is_ours {
        return None;
    }
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let annotation = at(definition, &["metadata", "annotations", APPROVED]);
    let text = annotation.and_then(Value::as_str).unwrap_or_default();
    let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty()
    });
    let (status, reason, message) = if text.is_empty() {
        let must = format!("protected groups must have approval annotation {APPROVED:?}, {see}");
        (false, "MissingAnnotation", must)
    } else if text.starts_with("unapproved") {
        (false, "UnapprovedAnnotation", format!("not approved: {text:?}"))
    } else if is_url {
        (true, "ApprovedAnnotation", format!("approved in {text}"))
    } else {
        let must = format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", {see}"
        );
        (false, "InvalidAnnotation", must)
    };
    Some(Verdict { status, reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(group: &str) -> Value {
        json!({"metadata": {"name": format!("foos.{group}")}, "spec": {"group": group, "names":
            {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}},
            "status": {"acceptedNames": {"plural": "", "kind": ""}}})
    }

    #[test]
    fn names_are_accepted_then_nothing_more_is_said() {
        let mut object = definition("g.io");
        let first = plan(&object, &Taken::default());
        assert!(first.serves && first.changes(&object));
        first.write(&mut object, Timestamp::UNIX_EPOCH);
        assert!(is_true(&object, "Established") && is_true(&object, "NamesAccepted"));
        assert_eq!(object["status"]["conditions"][0]["reason"], "NoConflicts");
        assert_eq!(object["status"]["conditions"][1]["reason"], "InitialNamesAccepted");
        assert_eq!(object["status"]["acceptedNames"], object["spec"]["names"]);
        let again = plan(&object, &Taken::default());
        assert!(again.serves && !again.changes(&object));
        // Conditions that somebody replaced stay replaced.
        object["status"]["conditions"] = json!([{"message": "patched"}]);
        assert!(!plan(&object, &Taken::default()).changes(&object));
    }

    #[test]
    fn conflicts_are_said_and_not_served() {
        let mut taken = Taken::default();
        taken.add(&Names { kind: "Foo".to_owned(), ..Names::default() });
        let mut object = definition("g.io");
        let plan = plan(&object, &taken);
        assert!(!plan.serves);
        plan.write(&mut object, Timestamp::UNIX_EPOCH);
        assert_eq!(object["status"]["conditions"][0]["reason"], "KindConflict");
        assert_eq!(object["status"]["conditions"][1]["reason"], "NotAccepted");
        assert_eq!(object["status"]["acceptedNames"]["kind"], "");
    }

    #[test]
    fn groups_of_kubernetes_own_are_approved() {
        let mut object = definition("x.k8s.io");
        assert_eq!(approval(&object).unwrap().reason, "MissingAnnotation");
        for (text, reason) in [
            ("https://github.com/kubernetes/x/pull/1", "ApprovedAnnotation"),
            ("unapproved, experimental", "UnapprovedAnnotation"),
            ("yes", "InvalidAnnotation"),
        ] {
            object["metadata"]["annotations"] = json!({ APPROVED: text });
            assert_eq!(approval(&object).unwrap().reason, reason);
        }
        assert_eq!(approval(&definition("myk8s.io")), None);
    }
}
