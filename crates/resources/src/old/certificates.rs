//! CertificateSigningRequest of `certificates.k8s.io/v1beta1`: a condition is true because it is
//! there, and usages have a default.

use api::Value;
use api::object::{list_at, set, set_default};
use serde_json::json;

use super::items;

pub(super) fn to_current(request: &mut Value) {
    if list_at(request, &["spec", "usages"]).is_empty() {
        set(request, &["spec", "usages"], json!(["digital signature", "key encipherment"]));
    }
    for condition in items(request, &["status", "conditions"]) {
        set_default(condition, &["status"], "True");
    }
}
