//! The files that a volume shall show: pure, from config objects and the pod.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};

use super::VolumeError;
use crate::env::downward::{self, Place};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Contents.
    pub(crate) data: Vec<u8>,
    /// Permissions.
    pub(crate) mode: u32,
    /// Owner, when not the node's root.
    pub(crate) owner: Option<u32>,
}

/// Files by their path in the volume.
pub(crate) type Payload = BTreeMap<String, File>;

/// A mode of the API (an int) as permissions.
pub(crate) fn mode(given: Option<i32>, default: Option<i32>) -> u32 {
    given.or(default).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644) & 0o7777
}

fn select(
    all: BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    default: Option<i32>,
    optional: bool,
    missing: impl Fn(&str) -> VolumeError,
) -> Result<Payload, VolumeError> {
    let file = |data: &[u8], own: Option<i32>| File {
        data: data.to_vec(),
        mode: mode(own, default),
        owner: None,
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(all.into_iter().map(|(key, data)| (key.to_owned(), file(data, None))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match all.get(item.key.as_str()) {
            Some(data) => {
                payload.insert(item.path.clone(), file(data, item.mode));
            }
            None if optional => {}
            None => return Err(missing(&item.key)),
        }
    }
    Ok(payload)
}

/// The files of a ConfigMap.
pub(crate) fn of_config_map(
    object: Option<&ConfigMap>,
    name: &str,
    items: Option<&[KeyToPath]>,
    default: Option<i32>,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let Some(object) = object else {
        let kind = "configmap";
        return if optional {
            Ok(Payload::new())
        } else {
            Err(VolumeError::ObjectMissing { kind, name: name.to_owned() })
        };
    };
    let text = object.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
    let binary = object
        .binary_data
        .iter()
        .flatten()
        .map(|(key, ByteString(data))| (key.as_str(), data.as_slice()));
    select(text.chain(binary).collect(), items, default, optional, |key| VolumeError::KeyMissing {
        kind: "configmap",
        what: "config",
        key: key.to_owned(),
    })
}

/// The files of a Secret.
pub(crate) fn of_secret(
    object: Option<&Secret>,
    name: &str,
    items: Option<&[KeyToPath]>,
    default: Option<i32>,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let Some(object) = object else {
        let kind = "secret";
        return if optional {
            Ok(Payload::new())
        } else {
            Err(VolumeError::ObjectMissing { kind, name: name.to_owned() })
        };
    };
    let all =
        object.data.iter().flatten().map(|(key, ByteString(data))| (key.as_str(), data.as_slice()));
    select(all.collect(), items, default, optional, |key| VolumeError::KeyMissing {
        kind: "secret",
        what: "secret",
        key: key.to_owned(),
    })
}

/// The files of a downward API volume.
pub(crate) fn of_downward(
    pod: &Pod,
    place: &Place,
    items: Option<&[DownwardAPIVolumeFile]>,
    default: Option<i32>,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items.unwrap_or_default() {
        let text = if let Some(field) = &item.field_ref {
            downward::field(pod, place, &field.field_path)
        } else if let Some(resource) = &item.resource_field_ref {
            downward::resource(pod, place, "", resource)
        } else {
            Ok(String::new())
        };
        let data = text.map_err(VolumeError::Field)?.into_bytes();
        payload
            .insert(item.path.clone(), File { data, mode: mode(item.mode, default), owner: None });
    }
    Ok(payload)
}
