//! Events about pods, with the field of the container that they are about.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use reconcile::recorder::{NORMAL, Recorder, WARNING, reference};

use crate::pod;

/// Tells what happens to one pod. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PodEvents {
    recorder: Recorder,
    on: ObjectReference,
    fields: Vec<(String, String)>,
}

impl PodEvents {
    /// About a pod.
    pub(crate) fn new(recorder: &Recorder, of: &Pod) -> Self {
        let fields = pod::containers(of)
            .iter()
            .map(|(kind, container)| {
                let name = &container.name;
                (name.clone(), format!("spec.{}{{{name}}}", kind.field()))
            })
            .collect();
        Self { recorder: recorder.clone(), on: reference(of), fields }
    }

    /// Ordinary news.
    pub(crate) fn normal(&self, reason: &str, message: impl Into<String>) {
        self.recorder.tell(self.on.clone(), NORMAL, reason, message);
    }

    /// News that someone should look at.
    pub(crate) fn warning(&self, reason: &str, message: impl Into<String>) {
        self.recorder.tell(self.on.clone(), WARNING, reason, message);
    }

    /// Ordinary news about a container.
    pub(crate) fn container_normal(
        &self,
        container: &str,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.tell(self.container(container), NORMAL, reason, message);
    }

    /// News about a container that someone should look at.
    pub(crate) fn container_warning(
        &self,
        container: &str,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.tell(self.container(container), WARNING, reason, message);
    }

    fn container(&self, name: &str) -> ObjectReference {
        let path = self
            .fields
            .iter()
            .find(|(container, _)| container == name)
            .map(|(_, path)| path.clone());
        ObjectReference { field_path: path, ..self.on.clone() }
    }
}
