//! What belongs together in an object before and after a change, and whether it was changed.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Deeper schemas are not followed.
const DEPTH_MAX: usize = 64;

/// What of a schema says which parts belong together.
#[derive(Debug, Default)]
pub(super) struct Spine {
    properties: BTreeMap<String, Spine>,
    additional: Option<Box<Spine>>,
    items: Option<Box<Spine>>,
    /// The keys of a list's items, if they have such.
    keys: Option<Vec<String>>,
}

impl Spine {
    pub(super) fn of(schema: &Json) -> Self {
        Self::at(schema, 0)
    }

    fn at(schema: &Json, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::default();
        }
        let below = |name: &str| match schema.get(name) {
            Some(inner @ Json::Object(_)) => Some(Box::new(Self::at(inner, depth + 1))),
            _ => None,
        };
        let is_map = schema.get("x-kubernetes-list-type").and_then(Json::as_str) == Some("map");
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Json::as_array);
        let keys = keys.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned);
        Self {
            properties: schema
                .get("properties")
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
                .map(|(name, inner)| (name.clone(), Self::at(inner, depth + 1)))
                .collect(),
            additional: below("additionalProperties"),
            items: below("items"),
            keys: is_map.then(|| keys.collect()),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    pub(super) fn items(&self) -> Option<&Self> {
        self.items.as_deref()
    }

    /// The item of an old list with the keys of a new item.
    pub(super) fn counterpart<'j>(&self, old: Option<&'j Json>, item: &Json) -> Option<&'j Json> {
        let keys = self.keys.as_ref()?;
        let old = old?.as_array()?;
        old.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
    }
}

/// A part of the new object with what it was before.
#[derive(Debug, Clone, Copy)]
struct Pair<'j, 's> {
    new: &'j Json,
    old: &'j Json,
    spine: &'s Spine,
}

impl<'j, 's> Pair<'j, 's> {
    fn field(self, name: &str) -> Option<Self> {
        let spine = self.spine.field(name)?;
        Some(Self { new: self.new.get(name)?, old: self.old.get(name)?, spine })
    }

    fn item(self, index: usize) -> Option<Self> {
        let new = self.new.as_array()?.get(index)?;
        let old = self.spine.counterpart(Some(self.old), new)?;
        Some(Self { new, old, spine: self.spine.items()? })
    }

    fn is_unchanged(self) -> bool {
        match (self.new, self.old) {
            (Json::Array(new), Json::Array(old)) => {
                if self.spine.keys.is_none() {
                    return new == old;
                }
                new.len() == old.len()
                    && (0..new.len()).all(|at| self.item(at).is_some_and(Self::is_unchanged))
            }
            (Json::Object(new), Json::Object(old)) => {
                new.len() == old.len()
                    && new.keys().all(|name| self.field(name).is_some_and(Self::is_unchanged))
            }
            (new, old) => new == old,
        }
    }
}

/// Where the walk is: the part here, if it has a counterpart, and the nearest part above that has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ratchet<'j, 's> {
    here: Option<Pair<'j, 's>>,
    above: Option<Pair<'j, 's>>,
}

impl<'j, 's> Ratchet<'j, 's> {
    pub(super) fn root(new: &'j Json, old: Option<&'j Json>, spine: &'s Spine) -> Self {
        Self { here: old.map(|old| Pair { new, old, spine }), above: None }
    }

    /// Whether an error here was there before and nothing was changed.
    pub(super) fn tolerates(&self) -> bool {
        self.here.or(self.above).is_some_and(Pair::is_unchanged)
    }

    pub(super) fn field(self, name: &str) -> Self {
        let Some(here) = self.here else {
            return self;
        };
        // A change of version or kind is not visible here: both objects were converted.
        if self.above.is_none() && matches!(name, "apiVersion" | "kind") {
            return Self::default();
        }
        Self { here: here.field(name), above: Some(here) }
    }

    pub(super) fn item(self, index: usize) -> Self {
        let Some(here) = self.here else {
            return self;
        };
        Self { here: here.item(index), above: Some(here) }
    }

    /// Below `allOf` only what is above counts, as upstream has it.
    pub(super) fn nested(self) -> Self {
        Self { here: None, above: self.above }
    }
}
