//! Label selectors of typed objects against typed labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Whether a selector selects these labels. One that cannot be understood selects nothing, so
/// that a bad object harms no other; an empty one selects everything.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| label(key).is_some_and(|found| found == value));
    equal
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let found = label(&requirement.key);
            let values = requirement.values.as_deref().unwrap_or_default();
            match requirement.operator.as_str() {
                "In" => found.is_some_and(|found| values.contains(found)),
                "NotIn" => found.is_none_or(|found| !values.contains(found)),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let check = |json: &str, expected| {
            let selector: LabelSelector = serde_json::from_str(json).unwrap();
            assert_eq!(selects(&selector, Some(&labels)), expected, "{json}");
        };
        check("{}", true);
        check(r#"{"matchLabels":{"app":"web"}}"#, true);
        check(r#"{"matchLabels":{"app":"db"}}"#, false);
        check(r#"{"matchExpressions":[{"key":"app","operator":"In","values":["a","web"]}]}"#, true);
        check(r#"{"matchExpressions":[{"key":"app","operator":"NotIn","values":["web"]}]}"#, false);
        check(r#"{"matchExpressions":[{"key":"x","operator":"NotIn","values":["web"]}]}"#, true);
        check(r#"{"matchExpressions":[{"key":"x","operator":"Exists"}]}"#, false);
        check(r#"{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}"#, true);
        check(r#"{"matchExpressions":[{"key":"app","operator":"Gt","values":["1"]}]}"#, false);
    }
}
