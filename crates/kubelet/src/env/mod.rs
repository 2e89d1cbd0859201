//! A container's environment: from config objects, from the pod itself, from services.
//!
//! Invariant: pure. What it needs of the cluster is handed in as a [`Sources`]; a missing object or
//! key becomes an error in upstream's words, which the pod shows as CreateContainerConfigError.

pub(crate) mod downward;
pub(crate) mod expansion;
pub(crate) mod services;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};

use downward::Place;

/// Config objects as the node knows them, by name in the pod's namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// ConfigMaps; `None` for one that does not exist.
    pub(crate) config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    /// Secrets; `None` for one that does not exist.
    pub(crate) secrets: BTreeMap<String, Option<Arc<Secret>>>,
}

impl Sources {
    fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_deref()
    }

    fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_deref()
    }
}

/// The names of the ConfigMaps and Secrets that a container's environment needs.
pub(crate) fn referenced(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.as_ref().map(|one| one.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|one| one.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|one| one.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|one| one.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|one| one.name.clone()));
    }
    (config_maps, secrets)
}

/// The whole environment of a container, in a stable order: what the pod sets, then services.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources,
    services: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, String> {
    let mut variables = from_objects(pod, container, sources)?;
    for one in container.env.iter().flatten() {
        let value = match (&one.value, &one.value_from) {
            (Some(value), _) if !value.is_empty() => Some(expansion::expand(value, |name| {
                variables.get(name).or_else(|| services.get(name)).map(String::as_str)
            })),
            (_, Some(source)) => from_source(pod, container, place, sources, source)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            variables.insert(one.name.clone(), value);
        }
    }
    let rest = services.iter().filter(|(name, _)| !variables.contains_key(*name));
    let rest: Vec<_> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(variables.into_iter().chain(rest).collect())
}

fn from_objects(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(&reference.name) {
                Some(object) => variables.extend(
                    object.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone())),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secret(&reference.name) {
                Some(object) => variables.extend(
                    object.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), text(&v.0))),
                ),
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", &reference.name)),
            }
        }
    }
    tracing::trace!(pod = %crate::pod::name(pod), count = variables.len(), "read envFrom");
    Ok(variables)
}

/// The value of one `valueFrom`; `None` when it is optional and not there.
fn from_source(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    let namespace = crate::pod::namespace(pod);
    if let Some(field) = &source.field_ref {
        return downward::field(pod, place, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return downward::resource(pod, place, &container.name, selector).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let Some(object) = sources.config_map(&reference.name) else {
            return if optional { Ok(None) } else { Err(missing("configmap", &reference.name)) };
        };
        let value = object.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        if value.is_none() && !optional {
            let (key, name) = (&reference.key, &reference.name);
            return Err(format!("couldn't find key {key} in ConfigMap {namespace}/{name}"));
        }
        return Ok(value);
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let Some(object) = sources.secret(&reference.name) else {
            return if optional { Ok(None) } else { Err(missing("secret", &reference.name)) };
        };
        let value = object.data.as_ref().and_then(|data| data.get(&reference.key));
        if value.is_none() && !optional {
            let (key, name) = (&reference.key, &reference.name);
            return Err(format!("couldn't find key {key} in Secret {namespace}/{name}"));
        }
        return Ok(value.map(|value| text(&value.0)));
    }
    if source.file_key_ref.is_some() {
        return Err("env from a file (fileKeyRef) is not supported yet".to_owned());
    }
    Ok(Some(String::new()))
}

fn missing(kind: &str, name: &str) -> String {
    format!("{kind} \"{name}\" not found")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(container: serde_json::Value) -> Result<Vec<(String, String)>, String> {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}}))
        .unwrap();
        let container = serde_json::from_value(container).unwrap();
        let map = json!({"data": {"k": "v", "1-odd": "yes"}});
        let secret = json!({"data": {"s": "aGlkZGVu"}});
        let sources = Sources {
            config_maps: [("cm".into(), Some(Arc::new(serde_json::from_value(map).unwrap())))]
                .into(),
            secrets: [("sec".into(), Some(Arc::new(serde_json::from_value(secret).unwrap())))]
                .into(),
        };
        let services = [("SVC_HOST".to_owned(), "10.96.0.9".to_owned())].into();
        environment(&pod, &container, &Place::default(), &sources, &services)
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn sources_combine_and_later_ones_see_earlier_ones() {
        let got = check(json!({"name": "c",
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}},
            {"secretRef": {"name": "none", "optional": true}}],
        "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)-$(SVC_HOST)-$(P_k)-$(LATER)"},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "s"}}},
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "O", "valueFrom": {"configMapKeyRef":
                {"name": "cm", "key": "none", "optional": true}}},
        ]}));
        let expected = pairs(&[
            ("A", "a"),
            ("B", "a-10.96.0.9-v-$(LATER)"),
            ("N", "p"),
            ("P_1-odd", "yes"),
            ("P_k", "v"),
            ("S", "hidden"),
            ("SVC_HOST", "10.96.0.9"),
        ]);
        assert_eq!(got, Ok(expected));
    }

    #[test]
    fn what_is_missing_is_said_in_upstreams_words() {
        let env = |source: serde_json::Value| {
            check(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).unwrap_err()
        };
        assert_eq!(
            env(json!({"configMapKeyRef": {"name": "cm", "key": "x"}})),
            "couldn't find key x in ConfigMap ns/cm"
        );
        assert_eq!(
            env(json!({"secretKeyRef": {"name": "gone", "key": "x"}})),
            "secret \"gone\" not found"
        );
    }
}
