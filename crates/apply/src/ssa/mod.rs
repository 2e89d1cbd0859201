//! Server-side apply: who owns which field, written down in `metadata.managedFields`; what an
//! applier no longer mentions goes, what others own is a conflict.
//!
//! [`apply()`] is the `PATCH` with `application/apply-patch+yaml`; [`track_update`] follows every
//! other write. The sets and rules are those of sigs.k8s.io/structured-merge-diff and
//! apimachinery's `managedfields`.

mod compare;
mod csa;
mod managed;
mod merge;
mod quick;
mod set;
mod typed;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub use csa::upgrade_managed_fields;
use managed::{Entry, Managed, Manager};
pub use set::Set;

/// Turns an object into another version of its kind, with that version's schema; `None` when the
/// version is not served any more.
pub type Convert<'a> = &'a dyn Fn(&Value, &str) -> Option<(Value, Cow<'a, Schema>)>;

/// Who writes, and by which rules.
#[derive(Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Take fields that others own instead of failing.
    pub force: bool,
    /// The subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// The present moment.
    pub now: Timestamp,
    /// The `apiVersion` of the request, in which objects are given and fields are tracked.
    pub api_version: &'a str,
    /// Fields that this endpoint resets and nobody owns through it: `status` for the object
    /// itself, `spec` for `status`; dots between names.
    pub reset_fields: &'a [&'a str],
    /// For managers that wrote in other versions; without it their fields are compared as they
    /// are.
    pub convert: Option<Convert<'a>>,
}

impl<'a> ApplyOptions<'a> {
    /// Options for a manager, with nothing special.
    #[must_use]
    pub fn new(manager: &'a str, api_version: &'a str, now: Timestamp) -> Self {
        Self {
            manager,
            force: false,
            subresource: "",
            now,
            api_version,
            reset_fields: &[],
            convert: None,
        }
    }
}

/// Never owned by anybody: the server's own.
const STRIPPED: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// Under this name the fields are owned that an object without managed fields has when it is
/// applied to for the first time.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies a configuration. `live` is the object as it is, in the request's version; `None` when
/// it does not exist yet. `applied` is the configuration as the client sent it.
///
/// The result carries the new `managedFields`. When nothing changes it is `live` as it was,
/// timestamps of managed fields and all.
///
/// # Errors
/// 400 for a wrong version or managed fields in the configuration, 409 with a cause a field for
/// conflicts, 500 as upstream for a configuration that does not fit the schema.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> ApiResult<Value> {
    check_configuration(applied, options)?;
    let blank = blank(applied, schema);
    let live_object = live.unwrap_or(&blank);
    let own = Manager::applier(options.manager, options.subresource);
    let mut managed = Managed::of(live_object);
    let mut live_bare = live_object.clone();
    remove_managed_fields(&mut live_bare);
    if live.is_some() && managed.entries.is_empty() {
        track_first(&live_bare, schema, &mut managed, options);
    }
    let configuration = typed::configuration_set(applied, schema)
        .map_err(|errors| misfit("patch", applied, options.api_version, &errors))?;
    let (mut object, merged) =
        match try_apply(&live_bare, applied, schema, &configuration, &managed, &own, options) {
            Err(conflicts) => allowed_by_last_applied(live_object, conflicts, schema, options)
                .and_then(|()| {
                    let forced = ApplyOptions { force: true, ..*options };
                    try_apply(&live_bare, applied, schema, &configuration, &managed, &own, &forced)
                        .map_err(|conflicts| conflict_error(&conflicts))
                })?,
            Ok(applied) => applied,
        };
    object = canonical(object, schema)?;
    let unchanged = live.is_some() && object == live_bare;
    managed.entries = merged;
    if !unchanged || !managed.has_time(&own) || managed.is_changed(live_object) {
        managed.touch(&own, options.now);
    }
    if options.manager == "kubectl" {
        csa::sync_last_applied(live_object, applied, &mut object);
    }
    managed.strip(stripped());
    managed.write(&mut object);
    Ok(keep_when_same(live, object))
}

/// Follows a write that was no apply: who changed a field owns it, nobody owns what is gone.
/// `new` is the object about to be stored, in the form of the request's version; `live` the one
/// before, `None` for a creation. Gives `new` back with its new `managedFields`.
#[must_use]
pub fn track_update(
    live: Option<&Value>,
    new: Value,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> Value {
    let mut new = new;
    if let Some(live) = live
        && is_as_before(live, &new, options)
        && quick::track(live, &mut new, schema, options)
    {
        return keep_when_same(Some(live), new);
    }
    track_wholly(live, new, schema, options)
}

/// [`track_update`] by reading and writing the set of every manager: what it is held against.
#[must_use]
pub fn track_wholly(
    live: Option<&Value>,
    mut new: Value,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> Value {
    let blank = blank(&new, schema);
    let live_object = live.unwrap_or(&blank);
    let given = Managed::given(&new);
    remove_managed_fields(&mut new);
    let mut managed = match given {
        // A client may reset managed fields with one empty entry; the write is not tracked then.
        managed::Given::Reset => return new,
        managed::Given::Entries(managed) if options.subresource.is_empty() => managed,
        _ => Managed::of(live_object),
    };
    // Objects from before managed fields are not tracked until somebody applies to them.
    if live.is_some() && managed.entries.is_empty() {
        managed.write(&mut new);
        return new;
    }
    // The live object's managed fields count as a removed field that nobody owns.
    update(live_object, &new, schema, &mut managed, &Manager::updater(options), options);
    managed.cap_updaters();
    managed.write(&mut new);
    keep_when_same(live, new)
}

/// Whether the writer says nothing of its own about the managed fields.
fn is_as_before(live: &Value, new: &Value, options: &ApplyOptions<'_>) -> bool {
    match managed::field(new) {
        [] => true,
        [one] if one.as_object().is_some_and(Map::is_empty) => false,
        given => !options.subresource.is_empty() || given == managed::field(live),
    }
}

/// Merges a configuration into an object as an apply does, but owns nothing: what an
/// `ApplyConfiguration` of a MutatingAdmissionPolicy means.
///
/// # Errors
/// The configuration does not fit the schema, or sets something that has one owner as a whole.
pub fn merge_configuration(
    live: &Value,
    configuration: &Value,
    schema: &Schema,
) -> Result<Value, String> {
    typed::configuration_set(configuration, schema).map_err(|errors| {
        format!("failed to convert patch object to typed object: {}", errors.join("; "))
    })?;
    let mut atomics = Vec::new();
    find_atomics("", configuration, schema, &mut atomics);
    if !atomics.is_empty() {
        let paths = atomics.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"
        ));
    }
    Ok(merge::merge(live, configuration, schema))
}

fn find_atomics(path: &str, value: &Value, schema: &Schema, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if schema.is_atomic() {
                found.push(path.to_owned());
            }
            for (name, value) in map {
                if let Some(child) = schema.child(name) {
                    find_atomics(&format!("{path}.{name}"), value, child, found);
                }
            }
        }
        Value::Array(items) => {
            if schema.is_atomic() {
                found.push(path.to_owned());
            }
            if let Some(list) = schema.as_list() {
                for (index, item) in items.iter().enumerate() {
                    find_atomics(&format!("{path}[{index}]"), item, &list.item, found);
                }
            }
        }
        _ => {}
    }
}

/// The form in which the object will be stored: without it, what the server prints of an atomic
/// list and what was applied would differ for ever.
fn canonical(object: Value, schema: &Schema) -> ApiResult<Value> {
    if !matches!(schema, Schema::Def(_) | Schema::DefAs(..)) {
        return Ok(object);
    }
    match api::decode::value(object, schema) {
        Ok(decoded) => Ok(decoded.object),
        Err(error) => Err(ApiError::new(
            500,
            "",
            format!("failed to convert new typed object to object: {error}"),
        )),
    }
}

/// The empty object that a creation is compared with: what Go prints of a new struct, or just the
/// kind for custom resources.
fn blank(object: &Value, schema: &Schema) -> Value {
    let mut blank = match schema {
        Schema::Def(_) | Schema::DefAs(..) => api::decode::zero(schema),
        _ => Value::Object(Map::new()),
    };
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field) {
            blank[field] = value.clone();
        }
    }
    blank
}

fn check_configuration(applied: &Value, options: &ApplyOptions<'_>) -> ApiResult<()> {
    if !applied.is_object() {
        return Err(ApiError::bad_request("error decoding YAML: expected a map"));
    }
    let version = api::object::api_version(applied);
    if version.is_empty() && api::object::kind(applied).is_empty() {
        return Err(ApiError::bad_request("invalid object type: /, Kind="));
    }
    if version != options.api_version {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            options.api_version
        )));
    }
    if api::object::at(applied, &["metadata", "managedFields"]).is_some() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// What upstream answers for an object that does not fit its schema: a bare error, hence 500.
fn misfit(what: &str, object: &Value, api_version: &str, errors: &[String]) -> ApiError {
    let list = match errors {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (namespace, name) = (api::object::namespace(object), api::object::name(object));
    let kind = api::object::kind(object);
    // The core group has no name, but its slash.
    let slash = if api_version.contains('/') { "" } else { "/" };
    ApiError::new(
        500,
        "",
        format!(
            "failed to create typed {what} object ({namespace}/{name}; {slash}{api_version}, Kind={kind}): {list}"
        ),
    )
}

fn remove_managed_fields(object: &mut Value) {
    api::object::remove(object, &["metadata", "managedFields"]);
}

fn stripped() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let mut set = Set::default();
        for path in STRIPPED {
            set.insert_fields(path.split('.'));
        }
        set
    })
}

/// Takes away what the endpoint resets, with all below it.
fn without_reset(mut set: Set, options: &ApplyOptions<'_>) -> Set {
    for path in options.reset_fields {
        set.remove_below(path.split('.'));
    }
    set
}

fn track_first(live: &Value, schema: &Schema, managed: &mut Managed, options: &ApplyOptions<'_>) {
    let blank = blank(live, schema);
    let first = ApplyOptions { manager: BEFORE_FIRST_APPLY, subresource: "", ..*options };
    update(&blank, live, schema, managed, &Manager::updater(&first), &first);
}

/// The fields of one conflict: the manager and the paths.
type Conflicts = BTreeMap<Manager, Set>;

/// The merged object and the entries of its managers.
type Merged = (Value, BTreeMap<Manager, Entry>);

fn try_apply(
    live: &Value,
    applied: &Value,
    schema: &Schema,
    configuration: &Set,
    managed: &Managed,
    own: &Manager,
    options: &ApplyOptions<'_>,
) -> Result<Merged, Conflicts> {
    let mut entries = managed.entries.clone();
    for entry in entries.values_mut().filter(|entry| entry.api_version == options.api_version) {
        typed::reconcile(&mut entry.set, live, schema);
    }
    let last = entries.get(own).cloned();
    // What is never owned is taken out at the very end: until then the configuration's name keeps
    // its metadata from being pruned.
    let set = without_reset(configuration.clone(), options);
    let entry = Entry {
        set,
        api_version: options.api_version.to_owned(),
        time: last.as_ref().and_then(|last| last.time),
    };
    entries.insert(own.clone(), entry);
    let merged = merge::merge(live, applied, schema);
    let merged = match &last {
        // A map that is applied empty, and lost all that it had, is there and empty.
        Some(last) => {
            merge::merge(&merge::prune(merged, schema, &entries, &last.set), applied, schema)
        }
        None => merged,
    };
    compare_managers(live, &merged, schema, &mut entries, Some(own), options)?;
    Ok((merged, entries))
}

/// Takes from all managers but `own` what changed or is gone; without force, and with an own
/// manager, what changed is a conflict. Gives back what changed.
fn compare_managers(
    live: &Value,
    new: &Value,
    schema: &Schema,
    entries: &mut BTreeMap<Manager, Entry>,
    own: Option<&Manager>,
    options: &ApplyOptions<'_>,
) -> Result<compare::Comparison, Conflicts> {
    let comparison = compare::compare(live, new, schema);
    let mut by_version: BTreeMap<String, compare::Comparison> = BTreeMap::new();
    let mut conflicts = Conflicts::new();
    let mut gone = Vec::new();
    for (manager, entry) in &*entries {
        if Some(manager) == own {
            continue;
        }
        let here = if entry.api_version == options.api_version {
            &comparison
        } else if let Some(known) = by_version.get(&entry.api_version) {
            known
        } else {
            let Some(other) = in_version(live, new, &entry.api_version, options) else {
                // A version that is not served any more: nobody can own fields by it.
                gone.push(manager.clone());
                continue;
            };
            by_version.entry(entry.api_version.clone()).or_insert(other)
        };
        let mut conflict = entry.set.intersection(&here.added);
        conflict.extend(&entry.set.intersection(&here.modified));
        if !conflict.is_empty() {
            conflicts.insert(manager.clone(), conflict);
        }
    }
    if own.is_some() && !options.force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    for manager in gone {
        entries.remove(&manager);
    }
    for (manager, entry) in entries.iter_mut() {
        if Some(manager) == own {
            continue;
        }
        let here = by_version.get(&entry.api_version).unwrap_or(&comparison);
        if let Some(conflict) = conflicts.get(manager) {
            entry.set.subtract(conflict);
        }
        entry.set.subtract(&here.removed);
    }
    entries.retain(|_, entry| !entry.set.is_empty());
    Ok(comparison)
}

fn in_version(
    live: &Value,
    new: &Value,
    version: &str,
    options: &ApplyOptions<'_>,
) -> Option<compare::Comparison> {
    let Some(convert) = options.convert else { return Some(compare::Comparison::default()) };
    let (live, schema) = convert(live, version)?;
    let (new, _) = convert(new, version)?;
    Some(compare::compare(&live, &new, &schema))
}

fn update(
    live: &Value,
    new: &Value,
    schema: &Schema,
    managed: &mut Managed,
    own: &Manager,
    options: &ApplyOptions<'_>,
) {
    for entry in managed.entries.values_mut() {
        if entry.api_version == options.api_version {
            typed::reconcile(&mut entry.set, live, schema);
        }
    }
    let mut entries = std::mem::take(&mut managed.entries);
    let forced = ApplyOptions { force: true, ..*options };
    // With force nothing is a conflict; the default stands for a case that does not come up.
    let comparison =
        compare_managers(live, new, schema, &mut entries, None, &forced).unwrap_or_default();
    let mut taken = without_reset(comparison.into_changed(), options);
    taken.subtract(stripped());
    if !taken.is_empty() {
        let entry = entries.entry(own.clone()).or_default();
        if entry.set.is_empty() {
            entry.set = taken;
        } else {
            entry.set.extend(&taken);
        }
        entry.api_version = options.api_version.to_owned();
        entry.time = Some(options.now);
    }
    managed.entries = entries;
    managed.strip(stripped());
}

/// Conflicts with what client-side apply wrote do not count for kubectl's server-side apply.
fn allowed_by_last_applied(
    live: &Value,
    conflicts: Conflicts,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> ApiResult<()> {
    let mut left = conflicts;
    if options.manager == "kubectl"
        && let Some(last) = csa::last_applied(live)
        && api::object::api_version(&last) == options.api_version
        && let Ok(mut allowed) = typed::configuration_set(&last, schema)
    {
        // What somebody changed since then does count.
        let since = compare::compare(&last, live, schema);
        for changed in [&since.modified, &since.added, &since.removed] {
            allowed.subtract(changed);
        }
        for set in left.values_mut() {
            *set = set.difference(&allowed);
        }
        left.retain(|_, set| !set.is_empty());
    }
    if left.is_empty() { Ok(()) } else { Err(conflict_error(&left)) }
}

fn conflict_error(conflicts: &Conflicts) -> ApiError {
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    for (manager, set) in conflicts {
        let paths = set.paths();
        texts.push(format!("conflicts with {manager}:"));
        texts.extend(paths.iter().map(|path| format!("- {path}")));
        causes.extend(paths.into_iter().map(|path| (format!("conflict with {manager}"), path)));
    }
    let message = match causes.as_slice() {
        [(text, path)] => format!("Apply failed with 1 conflict: {text}: {path}"),
        many => format!("Apply failed with {} conflicts: {}", many.len(), texts.join("\n")),
    };
    causes.into_iter().fold(ApiError::new(409, "Conflict", message), |error, (text, path)| {
        error.cause("FieldManagerConflict", text, &path)
    })
}

/// When nothing but the times of managed fields changed, nothing changed.
fn keep_when_same(live: Option<&Value>, new: Value) -> Value {
    let Some(live) = live else { return new };
    let (old_fields, new_fields) = (managed::field(live), managed::field(&new));
    if old_fields.len() != new_fields.len() || !same_but_fields(live, &new) {
        return new;
    }
    let same = old_fields.iter().zip(new_fields).all(|(old, new)| {
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
        let timeless = |(key, _): &(&String, &Value)| key.as_str() != "time";
        old.iter().filter(timeless).eq(new.iter().filter(timeless))
    });
    if same { live.clone() } else { new }
}

fn same_but_fields(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    let empty = Map::new();
    let body = |(key, _): &(&String, &Value)| key.as_str() != "metadata";
    let meta = |(key, _): &(&String, &Value)| key.as_str() != "managedFields";
    let meta_a = a.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let meta_b = b.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    a.iter().filter(body).eq(b.iter().filter(body))
        && meta_a.iter().filter(meta).eq(meta_b.iter().filter(meta))
}

#[cfg(test)]
mod tests;
