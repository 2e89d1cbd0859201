//! CronJob: makes Jobs by the clock.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{job_validation, schedule};
use crate::check::{non_negatives, required_one_of};
use crate::core::pod::defaults::set_text;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("batch", "cronjobs").tracks_generation().rules(CronJob)
}

struct CronJob;

/// A job's name gets 11 characters more.
const NAME_MAX: usize = 52;

impl Rules for CronJob {
    fn default(&self, object: &mut Value) {
        set_text(object, &["spec", "concurrencyPolicy"], "Allow");
        set_default(object, &["spec", "suspend"], false);
        set_default(object, &["spec", "successfulJobsHistoryLimit"], 3);
        set_default(object, &["spec", "failedJobsHistoryLimit"], 1);
        let spec = api::object::entry(object, &["spec", "jobTemplate", "spec"]);
        if !spec.is_object() {
            *spec = serde_json::json!({});
        }
        default_template(spec);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let text = spec.get("schedule");
        if text.is_empty() {
            errors.push(text.required(""));
        } else {
            if let Some(why) = schedule::problem(strip_zone(text.str())) {
                errors.push(text.invalid(why));
            }
            if text.str().contains("TZ") {
                let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
                errors.push(text.invalid(why));
            }
        }
        non_negatives(
            spec,
            &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
            errors,
        );
        time_zone(spec.get("timeZone"), errors);
        let policies = ["Allow", "Forbid", "Replace"];
        required_one_of(spec.get("concurrencyPolicy"), &policies, errors);
        let template = spec.at(&["jobTemplate", "spec"]);
        job_validation::template_spec(template, errors);
        if template.get("selector").is_set() {
            let value = template.get("selector").value().cloned().unwrap_or_default();
            let why = "`selector` will be auto-generated";
            errors.push(template.get("selector").invalid_as(value, why));
        }
        let manual = template.get("manualSelector");
        if manual.bool() {
            errors.push(manual.not_supported(&["nil", "false"]));
        }
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        let name = new.at(&["metadata", "name"]);
        if name.str().len() > NAME_MAX {
            errors.push(name.invalid("must be no more than 52 characters"));
        }
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(
            new,
            old,
            &["spec", "jobTemplate", "spec", "template"],
            true,
        )
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let suspend = match at(object, &["spec", "suspend"]).and_then(Value::as_bool) {
            Some(true) => "True",
            Some(false) => "False",
            None => UNSET,
        };
        let last = match str_at(object, &["status", "lastScheduleTime"]) {
            "" => NONE.to_owned(),
            time => table::since(time, now),
        };
        let template = at(object, &["spec", "jobTemplate", "spec"]);
        let [names, images] =
            table::containers(template.and_then(|template| at(template, &["template", "spec"])));
        let selector = template.and_then(|template| at(template, &["selector"]));
        vec![
            table::name(object),
            str_at(object, &["spec", "schedule"]).into(),
            table::text_or(object, &["spec", "timeZone"], NONE),
            suspend.into(),
            list_at(object, &["status", "active"]).len().into(),
            last.into(),
            table::age(object, now),
            names,
            images,
            table::selector(selector).into(),
        ]
    }
}

/// A template's own defaults are those of pods; the counts are defaulted in each Job that is made.
fn default_template(spec: &mut Value) {
    crate::core::pod::defaults::template(spec, &["template"]);
}

fn strip_zone(text: &str) -> &str {
    let zoned = text.starts_with("TZ=") || text.starts_with("CRON_TZ=");
    if zoned { text.split_once(' ').map_or("", |(_, rest)| rest) } else { text }
}

fn time_zone(zone: Field<'_>, errors: &mut ErrorList) {
    if !zone.is_set() {
        return;
    }
    let name = zone.str();
    if name.is_empty() {
        errors.push(zone.invalid("timeZone must be nil or non-empty string"));
    } else if name.eq_ignore_ascii_case("local") {
        errors.push(zone.invalid(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ));
    } else if !is_known_zone(name) {
        errors.push(zone.invalid(format!("unknown time zone {name}")));
    }
}

fn is_known_zone(name: &str) -> bool {
    name == "UTC" || jiff::tz::TimeZone::get(name).is_ok()
}
