//! `EncryptionConfiguration` (`apiserver.config.k8s.io/v1`), read and written.
//!
//! Texts are upstream's. `kms` is refused: it takes a plugin on a socket, and a file that names one
//! must not seem to work. (apiserver `pkg/apis/apiserver/validation/validation_encryption.go`)

use api::names::GroupResource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chain::{Chain, Encryption, NamedKey, Provider};
use crate::provider::{AesCbc, AesGcm, Cipher, SecretBox};

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML, or not of this kind.
    #[error("the encryption configuration cannot be read: {0}")]
    Form(String),
    /// It says what cannot be.
    #[error("invalid encryption configuration: {path}: {why}")]
    Invalid {
        /// Where.
        path: String,
        /// What.
        why: String,
    },
    /// The system gave no randomness for a key.
    #[error("the system gives no randomness for a new key")]
    Randomness,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<Providers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Providers {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Nothing>,
    kms: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

fn invalid(path: &str, why: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { path: path.to_owned(), why: why.into() }
}

impl std::str::FromStr for Encryption {
    type Err = ConfigError;

    /// Reads a configuration file.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let document = api::yaml::parse(text.as_bytes())
            .map_err(|error| ConfigError::Form(error.to_string()))?;
        let file: File = serde_json::from_value(document.value)
            .map_err(|error| ConfigError::Form(error.to_string()))?;
        let known = matches!(
            (file.api_version.as_str(), file.kind.as_str()),
            ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") | ("v1", "EncryptionConfig")
        );
        if !known {
            return Err(ConfigError::Form(format!(
                "no kind {:?} is registered for version {:?}",
                file.kind, file.api_version
            )));
        }
        if file.resources.is_empty() {
            return Err(invalid("resources", "Required value: at least one resources is required"));
        }
        let mut chains: Vec<(GroupResource, Chain)> = Vec::new();
        for (index, entry) in file.resources.iter().enumerate() {
            let path = format!("resources[{index}]");
            check_resources(&entry.resources, &format!("{path}.resources"))?;
            if entry.providers.is_empty() {
                let place = format!("{path}.providers");
                let why = format!("Required value: at least one {place} is required");
                return Err(invalid(&place, why));
            }
            for name in &entry.resources {
                let resource = parse_resource(name);
                masked(&chains, &resource)?;
                // Ciphers are made for each resource: keys are few, and a chain is its own.
                let providers = (0..entry.providers.len())
                    .map(|at| provider(&entry.providers[at], &format!("{path}.providers[{at}]")))
                    .collect::<Result<Vec<_>, _>>()?;
                match chains.iter_mut().find(|(known, _)| *known == resource) {
                    Some((_, chain)) => chain.0.extend(providers),
                    None => chains.push((resource, Chain(providers))),
                }
            }
        }
        Ok(Self { chains })
    }
}

/// `deployments.apps`; `*.apps` for a group, `*.` for the core group, `*.*` for all.
fn parse_resource(name: &str) -> GroupResource {
    let (resource, group) = name.split_once('.').unwrap_or((name, ""));
    GroupResource::new(group, resource)
}

fn masked(chains: &[(GroupResource, Chain)], resource: &GroupResource) -> Result<(), ConfigError> {
    let earlier = |group: &str| {
        chains.iter().any(|(known, _)| &*known.group == group && &*known.resource == "*")
    };
    let by = if &*resource.resource == "*" && &*resource.group == "*" {
        None
    } else if earlier("*") {
        Some("*.*".to_owned())
    } else if &*resource.resource != "*" && earlier(&resource.group) {
        Some(format!("*.{}", resource.group))
    } else {
        None
    };
    match by {
        None => Ok(()),
        Some(rule) => Err(invalid(
            "resources",
            format!("resource {:?} is masked by earlier rule {rule:?}", resource.to_string()),
        )),
    }
}

fn check_resources(names: &[String], path: &str) -> Result<(), ConfigError> {
    if names.is_empty() {
        return Err(invalid(path, format!("Required value: at least one {path} is required")));
    }
    for (at, name) in names.iter().enumerate() {
        let resource = parse_resource(name);
        let why = if name.chars().any(char::is_uppercase) {
            "resource name should not contain capital letters"
        } else if name == "*" {
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        } else if matches!(
            name.as_str(),
            "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations"
        ) {
            "resources which do not have REST API/s cannot be encrypted"
        } else if &*resource.group == "events.k8s.io" {
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
        } else if &*resource.group == "extensions" {
            "'extensions' group has been removed and cannot be used for encryption"
        } else if &*resource.group == "*" && &*resource.resource != "*" {
            "encrypting the same resource across groups is not supported"
        } else {
            continue;
        };
        return Err(invalid(&format!("{path}[{at}]"), format!("Invalid value: {name:?}: {why}")));
    }
    let all: Vec<GroupResource> = names.iter().map(|name| parse_resource(name)).collect();
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            if one == other {
                return Err(invalid(path, "the same resource cannot be specified multiple times"));
            }
            let is_all = |resource: &GroupResource| &*resource.group == "*";
            let overlaps = is_all(one)
                || is_all(other)
                || (one.group == other.group && (&*one.resource == "*" || &*other.resource == "*"));
            if overlaps {
                return Err(invalid(
                    path,
                    "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
                ));
            }
        }
    }
    Ok(())
}

const AES_LENGTHS: &[usize] = &[16, 24, 32];

fn provider(from: &Providers, path: &str) -> Result<Provider, ConfigError> {
    let Providers { aesgcm, aescbc, secretbox, identity, kms } = from;
    let given = [
        aesgcm.is_some(),
        aescbc.is_some(),
        secretbox.is_some(),
        identity.is_some(),
        kms.is_some(),
    ];
    match given.iter().filter(|one| **one).count() {
        0 => {
            return Err(invalid(
                path,
                "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
            ));
        }
        1 => {}
        _ => {
            return Err(invalid(
                path,
                "more than one provider specified in a single element, should split into different list elements",
            ));
        }
    }
    if kms.is_some() {
        return Err(invalid(
            &format!("{path}.kms"),
            "KMS providers are not supported by this server: use secretbox, aesgcm or aescbc",
        ));
    }
    const AES: &str = "no matching key was found for the provided AES transformer";
    let made = |prefix, unknown, keys| Ok(Provider::Keys { prefix, unknown, keys });
    if let Some(list) = aesgcm {
        let make = |key: &[u8]| AesGcm::new(key).map(|one| Box::new(one) as Box<dyn Cipher>);
        let keys = ciphers(list, &format!("{path}.aesgcm.keys"), AES_LENGTHS, &make)?;
        return made("k8s:enc:aesgcm:v1:", AES, keys);
    }
    if let Some(list) = aescbc {
        let make = |key: &[u8]| AesCbc::new(key).map(|one| Box::new(one) as Box<dyn Cipher>);
        let keys = ciphers(list, &format!("{path}.aescbc.keys"), AES_LENGTHS, &make)?;
        return made("k8s:enc:aescbc:v1:", AES, keys);
    }
    if let Some(list) = secretbox {
        let make = |key: &[u8]| SecretBox::new(key).map(|one| Box::new(one) as Box<dyn Cipher>);
        let keys = ciphers(list, &format!("{path}.secretbox.keys"), &[32], &make)?;
        let unknown = "no matching key was found for the provided Secretbox transformer";
        return made("k8s:enc:secretbox:v1:", unknown, keys);
    }
    Ok(Provider::Identity)
}

type Make<'a> = &'a dyn Fn(&[u8]) -> Option<Box<dyn Cipher>>;

fn ciphers(
    list: &Keys,
    path: &str,
    lengths: &[usize],
    make: Make<'_>,
) -> Result<Vec<NamedKey>, ConfigError> {
    if list.keys.is_empty() {
        return Err(invalid(path, "Required value: at least one keys is required"));
    }
    let mut ciphers = Vec::new();
    for (at, key) in list.keys.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let missing = |field: &str| {
            let why = format!("Required value: {field} is a mandatory field for a key");
            invalid(&format!("{path}.{field}"), why)
        };
        if key.name.is_empty() {
            return Err(missing("name"));
        }
        if key.secret.is_empty() {
            return Err(missing("secret"));
        }
        // The secret itself stays out of messages.
        let wrong = |why: String| {
            invalid(&format!("{path}.secret"), format!("Invalid value: \"REDACTED\": {why}"))
        };
        let secret = STANDARD
            .decode(&key.secret)
            .map_err(|_| wrong("secrets must be base64 encoded".to_owned()))?;
        let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
        let cipher = make(&secret).ok_or_else(|| {
            wrong(format!(
                "secret is not of the expected length, got {}, expected one of [{}]",
                secret.len(),
                lengths.join(" ")
            ))
        })?;
        ciphers.push((key.name.clone(), cipher));
    }
    Ok(ciphers)
}

/// A configuration that encrypts Secrets with a new key named `name`, and reads what was stored
/// before.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_configuration(name: &str) -> Result<Value, ConfigError> {
    let mut configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [{ "secretbox": { "keys": [] } }, { "identity": {} }],
        }],
    });
    configuration["resources"][0]["providers"][0]["secretbox"]["keys"] = json!([new_key(name)?]);
    Ok(configuration)
}

/// The same configuration with a new key before all others: it writes from now on, and the others
/// still read.
///
/// # Errors
/// When the first provider takes no keys of this kind, or the system gives no randomness.
pub fn with_new_key(configuration: &Value, name: &str) -> Result<Value, ConfigError> {
    let mut changed = configuration.clone();
    let path = "/resources/0/providers/0/secretbox/keys";
    let Some(keys) = changed.pointer_mut(path).and_then(Value::as_array_mut) else {
        return Err(invalid("resources[0].providers[0]", "is no secretbox: add the key by hand"));
    };
    keys.insert(0, new_key(name)?);
    Ok(changed)
}

fn new_key(name: &str) -> Result<Value, ConfigError> {
    let mut secret = [0_u8; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| ConfigError::Randomness)?;
    Ok(json!({ "name": name, "secret": STANDARD.encode(secret) }))
}

#[cfg(test)]
mod tests;
