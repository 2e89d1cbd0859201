//! Event: what happened to an object. One storage, two served forms: `v1` and `events.k8s.io/v1`.
//!
//! Events are stored as `v1`. The kind of `events.k8s.io` has the same key prefix and names its
//! storage version [`STORED`], which is not served, so that every read and write of it is
//! converted: `to [`STORED`]` yields the core form, `to v1` its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, int_at, namespace, str_at};
use api::status::ApiResult;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use crate::check::required;
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The storage version of the kind of `events.k8s.io`: the core group's form.
pub const STORED: &str = "core";

const TTL: Duration = Duration::from_secs(3600);

/// The kind of the core group.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "events")
        .creates_on_update()
        .relaxed(Some(TTL))
        .selectable(&[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ])
        .rules(Event { new_form: false })
}

/// The kind of `events.k8s.io`.
#[must_use]
pub fn kind_of_events_group() -> Arc<dyn Resource> {
    Kind::of("events.k8s.io", "events")
        .creates_on_update()
        .relaxed(Some(TTL))
        .stored_as(STORED)
        .with_schema(STORED, "io.k8s.api.core.v1.Event")
        .selectable(&[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ])
        .rules(Event { new_form: true })
}

struct Event {
    /// Whether writes come through `events.k8s.io`, whose rules are stricter.
    new_form: bool,
}

/// The fields that differ: the core form's name, and the new form's.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(object: Value, to_core: bool) -> Value {
    let Value::Object(map) = object else { return object };
    let renamed = map.into_iter().map(|(key, value)| {
        let known = NAMES.iter().find(|(core, new)| key == if to_core { *new } else { *core });
        let name = known.map(|(core, new)| if to_core { *core } else { *new });
        (name.map_or(key, str::to_owned), value)
    });
    Value::Object(renamed.collect())
}

/// What Go's structs always print.
fn complete(mut object: Value, core: bool) -> Value {
    let texts: &[&str] = if core { &["reportingComponent", "reportingInstance"] } else { &[] };
    for field in texts {
        if at(&object, &[field]).is_none() {
            object[*field] = "".into();
        }
    }
    let (structs, times): (&[&str], &[&str]) = if core {
        (&["involvedObject", "source"], &["eventTime", "firstTimestamp", "lastTimestamp"])
    } else {
        (
            &["regarding", "deprecatedSource"],
            &["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"],
        )
    };
    for field in structs {
        if at(&object, &[field]).is_none() {
            object[*field] = json!({});
        }
    }
    for field in times {
        if object.get(*field).is_none() {
            object[*field] = Value::Null;
        }
    }
    object
}

impl Rules for Event {
    fn convert(&self, mut object: Value, _from: &str, to: &str) -> ApiResult<Value> {
        if !self.new_form {
            return Ok(object);
        }
        let core = to == STORED;
        object["apiVersion"] = if core { "v1" } else { "events.k8s.io/v1" }.into();
        Ok(complete(rename(object, core), core))
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, event: Field<'_>, errors: &mut ErrorList) {
        involved_namespace(event, errors);
        if self.new_form {
            new_form(event, errors);
        } else if event.get("eventTime").is_set() {
            // The core group checks these only where the new fields are used.
            limits(event, errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        involved_namespace(new, errors);
        if !self.new_form {
            return;
        }
        for (core, shown) in [
            ("involvedObject", "regarding"),
            ("reason", "reason"),
            ("message", "note"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("related", "related"),
            ("source", "deprecatedSource"),
            ("firstTimestamp", "deprecatedFirstTimestamp"),
            ("lastTimestamp", "deprecatedLastTimestamp"),
            ("count", "deprecatedCount"),
        ] {
            let (now, before) = (Field::get(new, core).value(), Field::get(old, core).value());
            if !same(now, before) {
                let value = now.cloned().unwrap_or(Value::Null);
                errors.push(FieldError::invalid(Path::new(shown), value, "field is immutable"));
            }
        }
    }

    fn field<'a>(&self, event: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        let text = |path: &[&str]| Some(Cow::Borrowed(str_at(event, path)));
        match name {
            "source" => match str_at(event, &["source", "component"]) {
                "" => text(&["reportingComponent"]),
                _ => text(&["source", "component"]),
            },
            "reportingController" => text(&["reportingComponent"]),
            name => {
                let rest = name.strip_prefix("regarding.")?;
                text(&["involvedObject", rest])
            }
        }
    }

    fn cells(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        // Rows are made of either form.
        let core;
        let event = if at(event, &["regarding"]).is_some() {
            core = rename(event.clone(), true);
            &core
        } else {
            event
        };
        let age = |text: &str| table::since(text, now);
        let first = match str_at(event, &["firstTimestamp"]) {
            "" => age(str_at(event, &["eventTime"])),
            first => age(first),
        };
        let mut last = match str_at(event, &["lastTimestamp"]) {
            "" => first.clone(),
            last => age(last),
        };
        let mut count = int_at(event, &["count"]).unwrap_or_default();
        if at(event, &["series"]).is_some() {
            last = age(str_at(event, &["series", "lastObservedTime"]));
            count = int_at(event, &["series", "count"]).unwrap_or_default();
        } else if count == 0 {
            count = 1;
        }
        let kind = str_at(event, &["involvedObject", "kind"]).to_lowercase();
        let target = match str_at(event, &["involvedObject", "name"]) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        vec![
            last.into(),
            str_at(event, &["type"]).into(),
            str_at(event, &["reason"]).into(),
            target.into(),
            str_at(event, &["involvedObject", "fieldPath"]).into(),
            source(event).into(),
            str_at(event, &["message"]).trim().into(),
            first.into(),
            count.into(),
            table::name(event),
        ]
    }
}

fn source(event: &Value) -> String {
    let component = match str_at(event, &["source", "component"]) {
        "" => str_at(event, &["reportingComponent"]),
        component => component,
    };
    let host = match str_at(event, &["source", "host"]) {
        "" => str_at(event, &["reportingInstance"]),
        host => host,
    };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

/// An event lives in the namespace of what it is about, or in `default`.
fn involved_namespace(event: Field<'_>, errors: &mut ErrorList) {
    let Some(object) = event.value() else { return };
    let (own, about) = (namespace(object), str_at(object, &["involvedObject", "namespace"]));
    let path = Path::new("involvedObject").child("namespace");
    if about.is_empty() {
        if !matches!(own, "" | "default") {
            errors.push(FieldError::invalid(path, about, "does not match event.namespace"));
        }
    } else if own != about {
        errors.push(FieldError::invalid(path, about, "does not match event.namespace"));
    }
}

fn limits(event: Field<'_>, errors: &mut ErrorList) {
    let controller = event.get("reportingComponent");
    if controller.is_empty() {
        errors.push(FieldError::required(Path::new("reportingController"), ""));
    }
    for text in validate::qualified_name(controller.str()) {
        let path = Path::new("reportingController");
        errors.push(FieldError::invalid(path, controller.str(), text));
    }
    for (field, needed) in [("reportingInstance", true), ("action", true), ("reason", true)] {
        let field = Field::get(event, field);
        if needed && required(field, errors) && field.str().len() > 128 {
            errors.push(field.invalid("can have at most 128 characters"));
        }
    }
    let message = event.get("message");
    if message.str().len() > 1024 {
        errors.push(message.invalid("can have at most 1024 characters"));
    }
}

fn new_form(event: Field<'_>, errors: &mut ErrorList) {
    if !event.get("eventTime").is_set() {
        errors.push(event.get("eventTime").required(""));
    }
    let kind = event.get("type");
    if !matches!(kind.str(), "Normal" | "Warning") {
        errors.push(kind.invalid(format!("has invalid value: {}", kind.str())));
    }
    limits(event, errors);
    for (core, shown) in [
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
    ] {
        let field = Field::get(event, core);
        if field.is_set() {
            errors.push(FieldError::invalid(Path::new(shown), field.str(), "needs to be unset"));
        }
    }
    let count = event.get("count").int().unwrap_or_default();
    if count != 0 {
        errors.push(FieldError::invalid(Path::new("deprecatedCount"), count, "needs to be unset"));
    }
    for part in ["component", "host"] {
        let text = event.get("source").get(part).str();
        if !text.is_empty() {
            let path = Path::new("deprecatedSource");
            errors.push(FieldError::invalid(path, text, "needs to be unset"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_storage_two_forms() {
        let (core, new) = (kind(), kind_of_events_group());
        assert_eq!(core.info().key_prefix, new.info().key_prefix);
        let object = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "a", "namespace": "b"}, "note": "n", "reason": "r",
            "regarding": {"kind": "Pod", "name": "p", "namespace": "b"},
            "reportingController": "c", "eventTime": "2026-01-01T00:00:00.000000Z"});
        let stored = new.convert(object.clone(), STORED).unwrap();
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(stored["message"], "n");
        assert_eq!(core.field(&stored, "source"), "c");
        assert_eq!(new.field(&stored, "regarding.name"), "p");
        let back = new.convert(stored, "v1").unwrap();
        assert_eq!(back["regarding"], object["regarding"]);
        assert_eq!(back["note"], "n");
    }

    #[test]
    fn the_row() {
        let event = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"},
            "message": " m ", "firstTimestamp": "2026-01-01T00:00:00Z", "count": 3,
            "lastTimestamp": "2026-01-01T00:01:00Z"});
        let cells = kind().row(&event, "2026-01-01T00:02:00Z".parse().unwrap()).cells;
        assert_eq!(
            Value::Array(cells),
            json!(["60s", "Normal", "Started", "pod/p", "", "kubelet, n", "m", "2m", 3, "e"])
        );
    }
}
