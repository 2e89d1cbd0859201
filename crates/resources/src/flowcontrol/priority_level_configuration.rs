//! PriorityLevelConfiguration: how many requests of a level run at once, and how others wait.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, set_default, str_at};
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::check::{in_range, non_negative};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations")
        .tracks_generation()
        .rules(Level)
}

struct Level;

impl Rules for Level {
    fn default(&self, object: &mut Value) {
        for (kind, shares) in [("limited", 30), ("exempt", 0)] {
            if at(object, &["spec", kind]).is_some() {
                set_default(object, &["spec", kind, "nominalConcurrencyShares"], shares);
                set_default(object, &["spec", kind, "lendablePercent"], 0);
            }
        }
        let queuing = ["spec", "limited", "limitResponse", "queuing"];
        if at(object, &queuing).is_some() {
            for (field, number) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                let path: Vec<_> = queuing.into_iter().chain([field]).collect();
                if int_at(object, &path).unwrap_or_default() == 0 {
                    api::object::set(object, &path, number);
                }
            }
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let (limited, exempt) = (spec.get("limited"), spec.get("exempt"));
        match spec.get("type").str() {
            "Exempt" => {
                if limited.is_set() {
                    let text = "must be nil if the type is not Limited";
                    errors.push(limited.forbidden(text));
                }
                self::shares(exempt, errors);
            }
            "Limited" => {
                if exempt.is_set() {
                    errors.push(exempt.forbidden("must be nil if the type is Limited"));
                }
                if limited.is_set() {
                    self::limited(limited, errors);
                } else {
                    errors.push(limited.required("must not be empty when type is Limited"));
                }
            }
            _ => errors.push(spec.get("type").not_supported(&["Exempt", "Limited"])),
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let number = |path: &[&str]| -> Value {
            int_at(object, path).map_or(NONE.to_owned(), |number| number.to_string()).into()
        };
        let queuing = |field| number(&["spec", "limited", "limitResponse", "queuing", field]);
        vec![
            table::name(object),
            str_at(object, &["spec", "type"]).into(),
            number(&["spec", "limited", "nominalConcurrencyShares"]),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            table::age(object, now),
        ]
    }
}

fn shares(part: Field<'_>, errors: &mut ErrorList) {
    let shares = part.get("nominalConcurrencyShares");
    if shares.int().is_some_and(|value| value < 0) {
        errors.push(shares.invalid("must be a non-negative integer"));
    }
    in_range(part.get("lendablePercent"), 0, 100, errors);
}

fn limited(limited: Field<'_>, errors: &mut ErrorList) {
    shares(limited, errors);
    non_negative(limited.get("borrowingLimitPercent"), errors);
    let response = limited.get("limitResponse");
    let queuing = response.get("queuing");
    match response.get("type").str() {
        "Reject" => {
            if queuing.is_set() {
                errors.push(
                    queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
                );
            }
        }
        "Queue" => {
            if !queuing.is_set() {
                errors.push(
                    queuing.required("must not be empty if limited.limitResponse.type is Limited"),
                );
                return;
            }
            let number = |field: &'static str| queuing.get(field).int().unwrap_or_default();
            for field in ["queueLengthLimit", "queues", "handSize"] {
                if number(field) <= 0 {
                    let at = Field::get(queuing, field);
                    errors.push(at.invalid_as(number(field), "must be positive"));
                }
            }
            if number("queues") > 10_000_000 {
                let text = "must not be greater than 10000000";
                errors.push(queuing.get("queues").invalid(text));
            }
            if number("handSize") > number("queues") {
                let text = format!("should not be greater than queues ({})", number("queues"));
                errors.push(queuing.get("handSize").invalid(text));
            }
        }
        _ => errors.push(response.get("type").not_supported(&["Queue", "Reject"])),
    }
}
