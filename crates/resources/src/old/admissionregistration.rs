//! Webhooks of `admissionregistration.k8s.io/v1beta1`: lenient by default.

use api::Value;
use api::object::{set, set_default, str_at};
use serde_json::json;

use super::items;

/// What the old version filled in. It knew webhooks that did not say whether they have side effects;
/// now all must, and those are taken to look at `dryRun`, as the review asks them to.
pub(super) fn to_current(configuration: &mut Value) {
    for webhook in items(configuration, &["webhooks"]) {
        set_default(webhook, &["failurePolicy"], "Ignore");
        set_default(webhook, &["matchPolicy"], "Exact");
        set_default(webhook, &["timeoutSeconds"], 30);
        set_default(webhook, &["admissionReviewVersions"], json!(["v1beta1"]));
        if matches!(str_at(webhook, &["sideEffects"]), "" | "Unknown") {
            set(webhook, &["sideEffects"], "NoneOnDryRun");
        }
    }
}
