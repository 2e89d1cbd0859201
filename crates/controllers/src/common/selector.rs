//! Label selectors, as workloads and policies carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

/// Whether a selector selects these labels. One that cannot be understood selects nothing, so
/// that a bad object harms no other; an empty one selects everything.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
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

/// Whether a selector selects everything.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether a map of labels (a Service's or ReplicationController's selector) selects these
/// labels. An empty map selects nothing here: such objects are not for a controller.
pub(crate) fn map_matches(selector: &Labels, labels: Option<&Labels>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
        let check = |json: &str, expected| {
            let selector: LabelSelector = serde_json::from_str(json).unwrap();
            assert_eq!(matches(&selector, Some(&labels)), expected, "{json}");
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
        assert!(!map_matches(&Labels::new(), Some(&labels)));
    }
}
