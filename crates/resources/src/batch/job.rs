//! Job: pods that run until enough of them have succeeded.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, set, set_default, str_at, uid};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use super::job_validation;
use crate::core::pod::defaults::{self, each, set_text};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("batch", "jobs")
        .tracks_generation()
        .orphans_dependents()
        .selectable(&["status.successful"])
        .rules(Job)
}

struct Job;

/// Defaults of a job's spec, in a job or in a template of one.
pub(crate) fn default_spec(spec: &mut Value) {
    defaults::template(spec, &["template"]);
    let counts =
        |spec: &Value| (at(spec, &["completions"]).is_some(), at(spec, &["parallelism"]).is_some());
    match counts(spec) {
        (false, false) => {
            spec["completions"] = 1.into();
            spec["parallelism"] = 1.into();
        }
        (true, false) => spec["parallelism"] = 1.into(),
        _ => {}
    }
    let per_index = at(spec, &["backoffLimitPerIndex"]).is_some();
    set_default(spec, &["backoffLimit"], if per_index { i64::from(i32::MAX) } else { 6 });
    set_default(spec, &["completionMode"], "NonIndexed");
    set_default(spec, &["suspend"], false);
    let policy = at(spec, &["podFailurePolicy"]).is_some();
    let replacement = if policy { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, &["podReplacementPolicy"], replacement);
    set_default(spec, &["manualSelector"], false);
    each(spec, &["podFailurePolicy", "rules"], |rule| {
        each(rule, &["onPodConditions"], |pattern| set_text(pattern, &["status"], "True"));
    });
}

/// A job without labels gets its template's.
fn default_labels(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    let own = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    if let Some(labels) = labels
        && own.is_none_or(serde_json::Map::is_empty)
        && labels.as_object().is_some_and(|map| !map.is_empty())
    {
        set(object, &["metadata", "labels"], labels);
    }
}

/// The labels that tell a job's pods from all others.
fn generate_selector(job: &mut Value) {
    let (id, name) = (uid(job).to_owned(), api::object::name(job).to_owned());
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &id),
        ("controller-uid", &id),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        let path = ["spec", "template", "metadata", "labels", key];
        if at(job, &path).is_none() {
            set(job, &path, value.as_str());
        }
    }
    let path = ["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"];
    if at(job, &path).is_none() {
        set(job, &path, id);
    }
}

impl Rules for Job {
    fn default(&self, object: &mut Value) {
        if !object["spec"].is_object() {
            object["spec"] = json!({});
        }
        default_spec(&mut object["spec"]);
        default_labels(object);
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, job: &mut Value) {
        if at(job, &["spec", "manualSelector"]) != Some(&Value::Bool(true)) {
            generate_selector(job);
        }
        // The generated labels count as the template's own.
        default_labels(job);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        job_validation::job(object, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        job_validation::change(new, old, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        job_validation::status(new, old, errors);
    }

    fn field<'a>(&self, object: &'a Value, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        (name == "status.successful")
            .then(|| table::number(object, &["status", "succeeded"]).to_string().into())
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(new, old, &["spec", "template"], true)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let succeeded = table::number(object, &["status", "succeeded"]);
        let completions = match int_at(object, &["spec", "completions"]) {
            Some(wanted) => format!("{succeeded}/{wanted}"),
            None => match int_at(object, &["spec", "parallelism"]).unwrap_or_default() {
                parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
                _ => format!("{succeeded}/1"),
            },
        };
        let mut cells = vec![
            table::name(object),
            state(object).into(),
            completions.into(),
            duration(object, now).into(),
            table::age(object, now),
        ];
        crate::apps::wide_cells(object, &mut cells, true);
        cells
    }
}

fn is_true(job: &Value, kind: &str) -> bool {
    table::condition(job, kind).is_some_and(|found| str_at(found, &["status"]) == "True")
}

fn state(job: &Value) -> &'static str {
    if is_true(job, "Complete") {
        "Complete"
    } else if is_true(job, "Failed") {
        "Failed"
    } else if api::object::is_deleting(job) {
        "Terminating"
    } else if is_true(job, "Suspended") {
        "Suspended"
    } else if is_true(job, "FailureTarget") {
        "FailureTarget"
    } else if is_true(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |field| str_at(job, &["status", field]).parse::<Timestamp>().ok();
    let Some(start) = time("startTime") else { return String::new() };
    let end = time("completionTime").unwrap_or(now);
    api::duration::human(end.as_second() - start.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_selector() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}}});
        Job.default(&mut job);
        assert_eq!(job["spec"]["completions"], 1);
        assert_eq!(job["spec"]["backoffLimit"], 6);
        assert_eq!(job["spec"]["podReplacementPolicy"], "TerminatingOrFailed");
        assert_eq!(job["metadata"]["labels"]["a"], "b");
        generate_selector(&mut job);
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
        );
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
        let mut errors = ErrorList::new();
        Job.validate(Field::root(&job), &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }
}
