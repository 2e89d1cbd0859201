//! DeviceTaintRule (alpha): taints devices by pattern.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::{Timestamp, rfc3339_seconds};

use super::GROUP;
use crate::check::{self, label_key, required, required_one_of};
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::{Field, given};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "devicetaintrules").tracks_generation().stored_as("v1alpha3").rules(TaintRule)
}

struct TaintRule;

const TIME: &[&str] = &["spec", "taint", "timeAdded"];

impl Rules for TaintRule {
    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value) {
        if at(object, TIME).is_none() {
            set(object, TIME, rfc3339_seconds(ctx.now));
        }
    }

    fn prepare_update(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        if at(object, TIME).is_none() {
            // The time is kept while the taint is.
            let part =
                |object: &Value, field: &str| str_at(object, &["spec", "taint", field]).to_owned();
            let same = ["key", "value", "effect"]
                .iter()
                .all(|field| part(object, field) == part(old, field));
            match at(old, TIME).filter(|_| same) {
                Some(time) => set(object, TIME, time.clone()),
                None => set(object, TIME, rfc3339_seconds(ctx.now)),
            }
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let selector = object.at(&["spec", "deviceSelector"]);
        let (driver, pool, device) =
            (selector.get("driver"), selector.get("pool"), selector.get("device"));
        if driver.is_set() && required(driver, errors) {
            driver_name(driver, errors);
        }
        if pool.is_set() && required(pool, errors) {
            for part in pool.str().split('/') {
                let texts = api::validate::dns1123_subdomain(part);
                errors.extend(texts.into_iter().map(|text| pool.invalid_as(part, text)));
            }
        }
        given(device, api::validate::dns1123_label, errors);
        let taint = object.at(&["spec", "taint"]);
        label_key(taint.get("key"), errors);
        for text in api::validate::label_value(taint.get("value").str()) {
            errors.push(taint.get("value").invalid(text));
        }
        required_one_of(taint.get("effect"), &["NoExecute", "NoSchedule", "None"], errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        check::conditions(new.at(&["status", "conditions"]), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |field: &str| Value::from(str_at(object, &["spec", "taint", field]));
        vec![
            table::name(object),
            text("key"),
            text("value"),
            text("effect"),
            table::since(str_at(object, TIME), now).into(),
            table::age(object, now),
        ]
    }
}
