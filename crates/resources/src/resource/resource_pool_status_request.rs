//! ResourcePoolStatusRequest (alpha): asks how much of a driver's pools is in use.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, list_at, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::GROUP;
use crate::check::{self, immutable, in_range, required};
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "resourcepoolstatusrequests").rules(Request)
}

struct Request;

impl Rules for Request {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "limit"], 100);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        if required(spec.get("driver"), errors) {
            driver_name(spec.get("driver"), errors);
        }
        in_range(spec.get("limit"), 1, 1000, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("spec"), old.get("spec"), errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        check::conditions(new.at(&["status", "conditions"]), errors);
        if !old.at(&["status", "conditions"]).is_empty() {
            immutable(new.get("status"), old.get("status"), errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let pools = list_at(object, &["status", "pools"]);
        let sum = |field: &str| -> Value {
            let total: i64 = pools.iter().filter_map(|pool| int_at(pool, &[field])).sum();
            total.to_string().into()
        };
        let broken =
            pools.iter().filter(|pool| !str_at(pool, &["validationError"]).is_empty()).count();
        let (state, since) = state(object);
        vec![
            table::name(object),
            str_at(object, &["spec", "driver"]).into(),
            sum("totalDevices"),
            sum("availableDevices"),
            sum("allocatedDevices"),
            sum("unavailableDevices"),
            broken.to_string().into(),
            pools.len().into(),
            state.into(),
            if since.is_empty() { table::NONE.to_owned() } else { table::since(since, now) }.into(),
        ]
    }
}

fn state(object: &Value) -> (String, &str) {
    let found = ["Complete", "Failed"].into_iter().find_map(|kind| {
        let condition = table::condition(object, kind)?;
        (str_at(condition, &["status"]) == "True").then_some((kind, condition))
    });
    let Some((kind, condition)) = found else { return ("Pending".to_owned(), "") };
    let since = str_at(condition, &["lastTransitionTime"]);
    let shown = list_at(object, &["status", "pools"]).len();
    match at(object, &["status", "poolCount"]).and_then(Value::as_i64) {
        Some(all) if kind == "Complete" && all > i64::try_from(shown).unwrap_or(i64::MAX) => {
            (format!("Complete ({shown}/{all} pools)"), since)
        }
        _ => (kind.to_owned(), since),
    }
}
