//! `metadata.managedFields`: its entries, read and written.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ApplyOptions;
use super::set::Set;

/// Updaters beyond this many are put together, the oldest first.
pub(super) const MAX_UPDATERS: usize = 10;
/// The name of what is put together.
const ANCIENT: &str = "ancient-changes";

/// What a manager does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Apply, Self::Update].into_iter().find(|operation| operation.name() == name)
    }
}

/// Who owns fields: an applier under one name, an updater under its name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Of updaters only.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    pub(super) fn applier(name: &str, subresource: &str) -> Self {
        Self {
            name: name.to_owned(),
            operation: Operation::Apply,
            api_version: String::new(),
            subresource: subresource.to_owned(),
        }
    }

    pub(super) fn updater(options: &ApplyOptions<'_>) -> Self {
        Self {
            name: options.manager.to_owned(),
            operation: Operation::Update,
            api_version: options.api_version.to_owned(),
            subresource: options.subresource.to_owned(),
        }
    }
}

/// As conflicts name it: `"kubectl" with subresource "status" using v1`.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// What a manager owns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) api_version: String,
    pub(super) time: Option<Timestamp>,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Managed {
    pub(super) entries: BTreeMap<Manager, Entry>,
}

/// What a writer sent as managed fields.
pub(super) enum Given {
    /// Nothing of use: the live object's stand.
    Nothing,
    /// One empty entry: they are to be forgotten.
    Reset,
    /// The writer's own idea of them.
    Entries(Managed),
}

/// The list itself.
pub(super) fn field(object: &Value) -> &[Value] {
    api::object::list_at(object, &["metadata", "managedFields"])
}

impl Managed {
    /// Of a stored object; empty when they cannot be read.
    pub(super) fn of(object: &Value) -> Self {
        Self::read(field(object)).unwrap_or_default()
    }

    /// Of an object that somebody sent.
    pub(super) fn given(object: &Value) -> Given {
        let list = field(object);
        if let [one] = list
            && one.as_object().is_some_and(Map::is_empty)
        {
            return Given::Reset;
        }
        match Self::read(list) {
            Some(managed) if !managed.entries.is_empty() => Given::Entries(managed),
            _ => Given::Nothing,
        }
    }

    fn read(list: &[Value]) -> Option<Self> {
        let mut managed = Self::default();
        for entry in list {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let operation = Operation::named(entry["operation"].as_str()?)?;
            if !matches!(entry["fieldsType"].as_str(), Some("FieldsV1") | None) {
                return None;
            }
            let manager = Manager {
                name: text("manager"),
                operation,
                api_version: if operation == Operation::Apply {
                    String::new()
                } else {
                    text("apiVersion")
                },
                subresource: text("subresource"),
            };
            let set = Set::from_fields_v1(&entry["fieldsV1"]);
            let time = entry["time"].as_str().and_then(|time| time.parse().ok());
            managed.entries.insert(manager, Entry { set, api_version: text("apiVersion"), time });
        }
        Some(managed)
    }

    pub(super) fn has_time(&self, manager: &Manager) -> bool {
        self.entries.get(manager).is_none_or(|entry| entry.time.is_some())
    }

    /// Whether the sets are others than those that the object carries.
    pub(super) fn is_changed(&self, object: &Value) -> bool {
        let old = Self::of(object);
        let sets = |managed: &Self| -> Vec<_> {
            managed
                .entries
                .iter()
                .map(|(manager, entry)| {
                    (manager.clone(), entry.set.clone(), entry.api_version.clone())
                })
                .collect()
        };
        sets(&old) != sets(self)
    }

    pub(super) fn touch(&mut self, manager: &Manager, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(manager) {
            entry.time = Some(now);
        }
    }

    /// Takes from all what nobody may own.
    pub(super) fn strip(&mut self, stripped: &Set) {
        for entry in self.entries.values_mut() {
            entry.set.subtract(stripped);
        }
        self.entries.retain(|_, entry| !entry.set.is_empty());
    }

    /// Puts the oldest updaters of the object itself together when there are too many.
    pub(super) fn cap_updaters(&mut self) {
        let mut updaters: Vec<_> = self
            .entries
            .iter()
            .filter(|(manager, _)| {
                manager.operation == Operation::Update && manager.subresource.is_empty()
            })
            .map(|(manager, entry)| (entry.time, manager.clone()))
            .collect();
        if updaters.len() <= MAX_UPDATERS {
            return;
        }
        updaters.sort();
        let mut surplus = updaters.len() - MAX_UPDATERS;
        for (_, manager) in updaters {
            let bucket = Manager { name: ANCIENT.to_owned(), ..manager.clone() };
            if manager == bucket {
                continue;
            }
            if let Some(entry) = self.entries.remove(&manager) {
                let is_new = !self.entries.contains_key(&bucket);
                let kept = self.entries.entry(bucket).or_insert_with(|| Entry {
                    api_version: entry.api_version.clone(),
                    ..Entry::default()
                });
                kept.set.extend(&entry.set);
                kept.time = kept.time.max(entry.time);
                // A new bucket is an updater too.
                if is_new {
                    continue;
                }
            }
            surplus -= 1;
            if surplus == 0 {
                break;
            }
        }
    }

    /// Writes the list into the object; none when nobody owns anything.
    pub(super) fn write(self, object: &mut Value) {
        let mut entries: Vec<_> =
            self.entries.into_iter().filter(|(_, entry)| !entry.set.is_empty()).collect();
        entries.sort_by_key(|(manager, entry)| {
            (
                manager.operation,
                entry.time.map(Timestamp::as_second),
                manager.name.clone(),
                entry.api_version.clone(),
                manager.subresource.clone(),
            )
        });
        if entries.is_empty() {
            super::remove_managed_fields(object);
            return;
        }
        let list: Vec<Value> = entries
            .into_iter()
            .map(|(manager, Entry { set, api_version, time })| {
                write_entry(manager, &api_version, time, set)
            })
            .collect();
        api::object::set(object, &["metadata", "managedFields"], list);
    }
}

/// One entry as it is written.
pub(super) fn write_entry(
    manager: Manager,
    api_version: &str,
    time: impl Into<Option<Timestamp>>,
    set: Set,
) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("apiVersion", api_version.into());
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", set.into_fields_v1());
    if !manager.name.is_empty() {
        put("manager", manager.name.into());
    }
    put("operation", manager.operation.name().into());
    if !manager.subresource.is_empty() {
        put("subresource", manager.subresource.into());
    }
    if let Some(time) = time.into() {
        put("time", time_text(time).into());
    }
    Value::Object(out)
}

/// The time of an entry as it is written.
pub(super) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
