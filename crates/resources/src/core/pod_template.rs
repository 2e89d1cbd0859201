//! PodTemplate: a template of pods that stands alone.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::at;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::core::pod::{defaults, validation};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "podtemplates").tracks_generation().rules(PodTemplate)
}

struct PodTemplate;

impl Rules for PodTemplate {
    fn default(&self, object: &mut Value) {
        defaults::template(object, &["template"]);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        validation::template(object.get("template"), errors);
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(new, old, &["template"], false)
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let [names, images] = table::containers(at(object, &["template", "spec"]));
        let labels = table::labels(at(object, &["template", "metadata", "labels"]));
        vec![table::name(object), names, images, labels.into()]
    }
}
