//! Label selectors, as workloads and policies carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

pub(crate) use api::selector::selects as matches;

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
    fn an_empty_map_selects_nothing() {
        let labels: Labels = [("app".to_owned(), "web".to_owned())].into();
        assert!(!map_matches(&Labels::new(), Some(&labels)));
        assert!(map_matches(&labels, Some(&labels)));
    }
}
