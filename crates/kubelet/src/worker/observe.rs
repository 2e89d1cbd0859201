//! Asks the runtime for the picture of one pod.

use container_runtime::{ContainerFilter, Error, PodSandboxFilter, RuntimeService};

use super::view::PodView;
use crate::config::labels;

/// Everything that the runtime has of a pod.
pub(crate) async fn observe(runtime: &dyn RuntimeService, uid: &str) -> Result<PodView, Error> {
    let label_selector = [(labels::POD_UID.to_owned(), uid.to_owned())];
    let filter = PodSandboxFilter {
        label_selector: label_selector.clone().into(),
        ..PodSandboxFilter::default()
    };
    let mut sandboxes = Vec::new();
    for listed in runtime.list_pod_sandbox(&filter).await? {
        // What is removed between the list and the question is simply not there.
        match runtime.pod_sandbox_status(&listed.id).await {
            Ok(status) => sandboxes.push(status),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let filter =
        ContainerFilter { label_selector: label_selector.into(), ..ContainerFilter::default() };
    let mut containers = Vec::new();
    for listed in runtime.list_containers(&filter).await? {
        match runtime.container_status(&listed.id).await {
            Ok(status) => containers.push(status),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(PodView::new(sandboxes, containers))
}
