//! What the runtime is asked for to make a container.

use std::path::PathBuf;

use container_runtime::{
    ContainerConfig, ContainerMetadata, Image, ImageSpec, KeyValue, LinuxContainerConfig, Mount,
    MountPropagation,
};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{labels, resources, security};
use crate::env::expansion;

/// All that a container's configuration needs beside the pod.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// How often it was restarted before; names its log.
    pub(crate) restarts: u32,
    /// What `pull_image` or `image_status` answered.
    pub(crate) image_ref: String,
    /// The image, for its user.
    pub(crate) image: Option<&'a Image>,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Volumes, already prepared, in the pod's order, and the files that the kubelet keeps.
    pub(crate) mounts: Vec<Mount>,
    /// The container whose processes an ephemeral container sees.
    pub(crate) target: Option<String>,
    /// The node's memory, for the OOM score.
    pub(crate) node_memory: i64,
    /// Where seccomp profiles of the node lie.
    pub(crate) seccomp_root: String,
}

/// The path of a container's log below the pod's log folder.
pub(crate) fn log_path(container: &str, restarts: u32) -> String {
    PathBuf::from(container).join(format!("{restarts}.log")).to_string_lossy().into_owned()
}

/// A container as the runtime takes it.
pub(crate) fn container_config(
    pod: &Pod,
    container: &Container,
    inputs: Inputs<'_>,
) -> Result<ContainerConfig, String> {
    let lookup = |name: &str| {
        inputs.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expansion::expand(word, lookup)).collect()
    };
    let stop_signal = container.lifecycle.as_ref().and_then(|hooks| hooks.stop_signal.clone());
    Ok(ContainerConfig {
        metadata: ContainerMetadata { name: container.name.clone(), attempt: inputs.restarts },
        image: ImageSpec {
            image: inputs.image_ref.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        },
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: inputs.mounts,
        devices: Vec::new(),
        labels: labels::container_labels(pod, container),
        annotations: labels::container_annotations(pod, container, inputs.restarts),
        log_path: log_path(&container.name, inputs.restarts),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: LinuxContainerConfig {
            resources: resources::of_container(pod, container, inputs.node_memory),
            security_context: security::of_container(
                pod,
                container,
                inputs.image,
                inputs.target.as_deref(),
                &inputs.seccomp_root,
            )?,
        },
        stop_signal: stop_signal.unwrap_or_default(),
        envs: inputs.env.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
    })
}

/// The part of a volume that a mount shows: `subPath`, or `subPathExpr` with the container's
/// environment. Empty for the whole volume. (kubelet `makeMounts`)
pub(crate) fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let path = if let Some(expression) = given(&mount.sub_path_expr) {
        let known = |name: &str| env.iter().any(|(key, _)| key == name);
        if let Some(name) = expansion::first_unknown(&expression, known) {
            return Err(format!(
                "failed to expand subPath for volumeMount \"{}\": missing value for \"{name}\"",
                mount.name
            ));
        }
        expansion::expand(&expression, |name| {
            env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        })
    } else {
        given(&mount.sub_path).unwrap_or_default()
    };
    if path.starts_with('/') {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("unable to provision SubPath `{path}`: must not contain '..'"));
    }
    Ok(path)
}

/// How a mount passes changes between host and container.
pub(crate) fn propagation(mount: &VolumeMount) -> MountPropagation {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::HostToContainer,
        Some("Bidirectional") => MountPropagation::Bidirectional,
        _ => MountPropagation::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expected: Result<&str, &str>) {
        let mount = VolumeMount {
            name: "v".into(),
            sub_path_expr: Some(expression.into()),
            ..VolumeMount::default()
        };
        let env = [("POD".to_owned(), "p-0".to_owned()), ("ABS".to_owned(), "/x".to_owned())];
        let got = sub_path(&mount, &env);
        assert_eq!(got.as_deref(), expected.map_err(str::to_owned).as_ref().map(|s| *s));
    }

    #[test]
    fn sub_paths_stay_inside_the_volume() {
        check("$(POD)/logs", Ok("p-0/logs"));
        check("$(ABS)", Err("error SubPath `/x` must not be an absolute path"));
        check("../x", Err("unable to provision SubPath `../x`: must not contain '..'"));
        check(
            "$(NONE)",
            Err("failed to expand subPath for volumeMount \"v\": missing value for \"NONE\""),
        );
    }
}
