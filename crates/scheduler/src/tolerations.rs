//! Taints and the tolerations that lift them. (component-helpers `corev1.toleration`)

use api::k8s_openapi::api::core::v1::{PodSpec, Taint, Toleration};

/// Whether one of the pod's tolerations lifts a taint.
#[must_use]
pub(crate) fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|toleration| lifts(toleration, taint))
}

/// Whether a toleration lifts a taint: an empty effect is every effect, an empty key with `Exists`
/// every key.
#[must_use]
pub(crate) fn lifts(toleration: &Toleration, taint: &Taint) -> bool {
    let is = |own: &Option<String>, wanted: &str| {
        own.as_deref().is_none_or(|own| own.is_empty() || own == wanted)
    };
    if !is(&toleration.effect, &taint.effect) || !is(&toleration.key, &taint.key) {
        return false;
    }
    let value = toleration.value.as_deref().unwrap_or_default();
    let tainted = taint.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.key.as_deref().is_some_and(|key| !key.is_empty()) && value == tainted
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toleration: &str, expected: bool) {
        let toleration: Toleration = serde_json::from_str(toleration).unwrap();
        let taint = Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        assert_eq!(lifts(&toleration, &taint), expected, "{toleration:?}");
    }

    #[test]
    fn tolerations_by_key_value_and_effect() {
        check(r#"{"operator":"Exists"}"#, true);
        check(r#"{"key":"k","operator":"Exists"}"#, true);
        check(r#"{"key":"k","value":"v"}"#, true);
        check(r#"{"key":"k","value":"w"}"#, false);
        check(r#"{"key":"k","value":"v","effect":"NoExecute"}"#, false);
        check(r#"{"key":"other","operator":"Exists"}"#, false);
    }
}
