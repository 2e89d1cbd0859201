//! Label selectors against typed labels.

use std::collections::BTreeMap;

use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Whether labels match a selector. No selector matches nothing, an empty one everything.
#[must_use]
pub(crate) fn matches(
    selector: Option<&LabelSelector>,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let Some(selector) = selector else { return false };
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let equal = selector.match_labels.iter().flatten();
    let mut equal = equal.map(|(key, wanted)| value(key) == Some(wanted.as_str()));
    let expressions = selector.match_expressions.iter().flatten();
    let mut expressions = expressions.map(|wanted| {
        let listed = |own: &str| wanted.values.iter().flatten().any(|value| value == own);
        match wanted.operator.as_str() {
            "In" => value(&wanted.key).is_some_and(listed),
            "NotIn" => !value(&wanted.key).is_some_and(listed),
            "Exists" => value(&wanted.key).is_some(),
            "DoesNotExist" => value(&wanted.key).is_none(),
            _ => false,
        }
    });
    equal.all(|holds| holds) && expressions.all(|holds| holds)
}
