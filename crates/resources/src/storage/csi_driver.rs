//! CSIDriver: what a storage driver can do.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, one_of};
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "csidrivers").needs_resource_version().rules(CsiDriver)
}

struct CsiDriver;

impl Rules for CsiDriver {
    fn default(&self, object: &mut Value) {
        for (field, value) in [
            ("attachRequired", true),
            ("podInfoOnMount", false),
            ("storageCapacity", false),
            ("requiresRepublish", false),
            ("seLinuxMount", false),
        ] {
            set_default(object, &["spec", field], value);
        }
        set_default(object, &["spec", "fsGroupPolicy"], "ReadWriteOnceWithFSType");
        if list_at(object, &["spec", "volumeLifecycleModes"]).is_empty() {
            set(object, &["spec", "volumeLifecycleModes"], vec!["Persistent"]);
        }
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        // Counted from the first change on: new drivers have no generation.
        if !same(at(object, &["spec"]), at(old, &["spec"])) {
            set(object, &["metadata", "generation"], api::object::generation(old) + 1);
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        driver_name(object.at(&["metadata", "name"]), errors);
        let spec = object.get("spec");
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        one_of(spec.get("fsGroupPolicy"), &policies, errors);
        for mode in spec.get("volumeLifecycleModes").items() {
            if !matches!(mode.str(), "Ephemeral" | "Persistent") {
                let modes = spec.get("volumeLifecycleModes").with(mode.value());
                errors.push(modes.not_supported_in(&["Persistent", "Ephemeral"]));
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for request in spec.get("tokenRequests").items() {
            let audience = request.get("audience");
            if seen.contains(&audience.str()) {
                errors.push(audience.duplicate());
            }
            seen.push(audience.str());
            let seconds = request.get("expirationSeconds");
            if seconds.int().is_some_and(|value| value < 600) {
                let text = "may not specify a duration less than 10 minutes";
                errors.push(seconds.invalid(text));
            }
            if seconds.int().is_some_and(|value| value > 1 << 32) {
                let text = "may not specify a duration larger than 2^32 seconds";
                errors.push(seconds.invalid(text));
            }
        }
        let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
        if period.int().is_some_and(|value| value < 10) {
            errors.push(period.invalid("must be greater than or equal to 10 seconds"));
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        for field in ["attachRequired", "volumeLifecycleModes"] {
            let path = ["spec", field];
            immutable(new.at(&path), old.at(&path), errors);
        }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let unset = at(new, &["spec", "serviceAccountTokenInSecrets"]).is_none();
        let mut warnings = Vec::new();
        if unset && !list_at(new, &["spec", "tokenRequests"]).is_empty() {
            let text = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";
            warnings.push(text.to_owned());
        }
        warnings
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let flag = |field, default| {
            let value = at(object, &["spec", field]).and_then(Value::as_bool);
            Value::from(value.unwrap_or(default))
        };
        let texts = |list: &[Value], field: Option<&str>| -> String {
            let all: Vec<&str> = list
                .iter()
                .map(|one| {
                    field.map_or_else(
                        || one.as_str().unwrap_or_default(),
                        |field| str_at(one, &[field]),
                    )
                })
                .collect();
            all.join(",")
        };
        let tokens = list_at(object, &["spec", "tokenRequests"]);
        let modes = list_at(object, &["spec", "volumeLifecycleModes"]);
        let or =
            |text: String, absent: &str, empty: bool| if empty { absent.to_owned() } else { text };
        vec![
            table::name(object),
            flag("attachRequired", true),
            flag("podInfoOnMount", false),
            flag("storageCapacity", false),
            or(texts(tokens, Some("audience")), UNSET, tokens.is_empty()).into(),
            flag("requiresRepublish", false),
            or(texts(modes, None), NONE, modes.is_empty()).into(),
            table::age(object, now),
        ]
    }
}
