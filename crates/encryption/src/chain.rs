//! Which providers hold for a resource, and their use: the first writes, all read.

use api::names::GroupResource;

use crate::provider::Cipher;

/// What the values of every provider but `identity` begin with.
const ENVELOPE: &[u8] = b"k8s:enc:";

/// Why a stored value cannot be read. `Display` is upstream's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// A key of a provider, with its name.
pub(crate) type NamedKey = (String, Box<dyn Cipher>);

/// One element of `providers`.
pub(crate) enum Provider {
    /// Values as they are; encrypted ones are not its own.
    Identity,
    /// Values behind a prefix, by named keys.
    Keys {
        /// `k8s:enc:aescbc:v1:`.
        prefix: &'static str,
        /// What a value is told whose key is not among these.
        unknown: &'static str,
        /// The name of a key, and the key; the first writes.
        keys: Vec<NamedKey>,
    },
}

/// The providers of a resource, in their order.
pub struct Chain(pub(crate) Vec<Provider>);

impl Chain {
    /// What goes into the store at `place`, the key in the store.
    ///
    /// # Errors
    /// When it cannot be encrypted.
    pub fn seal(&self, plain: &[u8], place: &str) -> Result<Vec<u8>, OpenError> {
        let Some(Provider::Keys { prefix, keys, .. }) = self.0.first() else {
            return Ok(plain.to_vec());
        };
        let Some((name, cipher)) = keys.first() else { return Ok(plain.to_vec()) };
        let sealed = cipher.seal(plain, place.as_bytes()).map_err(OpenError)?;
        Ok([prefix.as_bytes(), name.as_bytes(), b":", &sealed].concat())
    }

    /// What was stored at `place`.
    ///
    /// # Errors
    /// When no provider reads it.
    pub fn open(&self, stored: &[u8], place: &str) -> Result<Vec<u8>, OpenError> {
        let mut errors: Vec<String> = Vec::new();
        for provider in &self.0 {
            match provider {
                Provider::Identity if stored.starts_with(ENVELOPE) => {}
                Provider::Identity => return Ok(stored.to_vec()),
                Provider::Keys { prefix, unknown, keys } => {
                    let Some(rest) = stored.strip_prefix(prefix.as_bytes()) else { continue };
                    match open_with(keys, rest, place.as_bytes()) {
                        Ok(plain) => return Ok(plain),
                        Err(None) => errors.push((*unknown).to_owned()),
                        Err(Some(why)) => errors.push(why),
                    }
                }
            }
        }
        Err(OpenError(match errors.as_slice() {
            [] => "no matching prefix found".to_owned(),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }))
    }

    /// Whether a value is stored as it would be written now.
    #[must_use]
    pub fn is_current(&self, stored: &[u8]) -> bool {
        match self.0.first() {
            Some(Provider::Keys { prefix, keys, .. }) => keys.first().is_some_and(|(name, _)| {
                stored
                    .strip_prefix(prefix.as_bytes())
                    .and_then(|rest| rest.strip_prefix(name.as_bytes()))
                    .is_some_and(|rest| rest.starts_with(b":"))
            }),
            _ => !stored.starts_with(ENVELOPE),
        }
    }
}

/// Tries the keys of the name that a value carries.
fn open_with(keys: &[NamedKey], rest: &[u8], place: &[u8]) -> Result<Vec<u8>, Option<String>> {
    let mut last = None;
    for (name, cipher) in keys {
        let named = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        let Some(sealed) = named else { continue };
        match cipher.open(sealed, place) {
            Ok(plain) => return Ok(plain),
            Err(why) => last = Some(why),
        }
    }
    Err(last)
}

/// The providers of all resources.
pub struct Encryption {
    /// The resources that were named, in the file's order, `*` among them.
    pub(crate) chains: Vec<(GroupResource, Chain)>,
}

impl Encryption {
    /// The providers of a resource; `None` when its values are stored as they are, and always were.
    #[must_use]
    pub fn of(&self, resource: &GroupResource) -> Option<&Chain> {
        let find = |group: &str, plural: &str| {
            self.chains
                .iter()
                .find(|(named, _)| &*named.group == group && &*named.resource == plural)
                .map(|(_, chain)| chain)
        };
        find(&resource.group, &resource.resource)
            .or_else(|| find(&resource.group, "*"))
            .or_else(|| find("*", "*"))
    }
}
