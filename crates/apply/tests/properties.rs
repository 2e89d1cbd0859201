//! What must hold of patches and server-side apply whatever the objects, tried on random objects
//! of real kinds; and that no patch makes anything panic.

use api::sample::{self, Rng};
use api::schema::{Schema, by_kind};
use apply::ssa::{self, ApplyOptions};
use apply::strategic;
use serde_json::{Map, Value, json};

const KINDS: [(&str, &str, &str); 6] = [
    ("", "v1", "Pod"),
    ("apps", "v1", "Deployment"),
    ("", "v1", "Service"),
    ("batch", "v1", "CronJob"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Node"),
];

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn object(schema: &Schema, kind: (&str, &str, &str), rng: &mut Rng) -> Value {
    let mut object = without_nulls(sample::value(schema, rng));
    object["apiVersion"] = api::names::join_api_version(kind.0, kind.1).into();
    object["kind"] = kind.2.into();
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]["name"] = "x".into();
    // The server's own, which nobody owns and no configuration takes away.
    for field in
        ["creationTimestamp", "generation", "namespace", "resourceVersion", "selfLink", "uid"]
    {
        api::object::remove(&mut object, &["metadata", field]);
    }
    object
}

fn each(rounds: u64, check: impl Fn(&Schema, (&str, &str, &str), &mut Rng, u64)) {
    for kind in KINDS {
        let schema = by_kind(kind.0, kind.1, kind.2).expect("a built-in kind");
        for seed in 1..=rounds {
            check(&schema, kind, &mut Rng::seeded(seed), seed);
        }
    }
}

/// The object without what apply adds, and without the server's own metadata.
fn bare(mut object: Value) -> Value {
    api::object::remove(&mut object, &["metadata", "managedFields"]);
    object
}

/// Shows only where the two differ first.
fn assert_same(a: &Value, b: &Value, what: &str) {
    fn first(a: &Value, b: &Value, path: &str) -> Option<String> {
        match (a, b) {
            (Value::Object(a), Value::Object(b)) => {
                let null = &Value::from("absent");
                a.keys().chain(b.keys()).find_map(|key| {
                    let path = format!("{path}.{key}");
                    first(a.get(key).unwrap_or(null), b.get(key).unwrap_or(null), &path)
                })
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                let pairs = a.iter().zip(b).enumerate();
                pairs.into_iter().find_map(|(at, (a, b))| first(a, b, &format!("{path}[{at}]")))
            }
            (a, b) => (a != b).then(|| format!("{path}: {a} and {b}")),
        }
    }
    let body = first(&bare(a.clone()), &bare(b.clone()), "");
    if let Some(difference) = body.or_else(|| first(a, b, "")) {
        panic!("{what}: {difference}");
    }
}

#[test]
fn a_merge_patch_turns_one_object_into_the_other() {
    each(10, |schema, kind, rng, seed| {
        let (a, b) = (object(schema, kind, rng), object(schema, kind, rng));
        let patch = apply::create_merge_patch(&a, &b);
        assert_eq!(apply::merge_patch(&a, &patch), b, "{} {seed}", kind.2);
    });
}

#[test]
fn a_two_way_strategic_patch_turns_one_object_into_the_other() {
    each(12, |schema, kind, rng, seed| {
        let (a, b) = (object(schema, kind, rng), object(schema, kind, rng));
        let patch = strategic::create_two_way_merge_patch(&a, &b, schema).expect("a patch");
        let patched = apply::strategic_merge_patch(&a, &patch, schema).expect("an object");
        assert_eq!(patched, b, "{} {seed}: {patch}", kind.2);
        let none = strategic::create_two_way_merge_patch(&b, &b, schema).expect("a patch");
        assert_eq!(none, json!({}), "{} {seed}", kind.2);
    });
}

#[test]
fn a_three_way_patch_reaches_the_configuration_and_settles() {
    each(12, |schema, kind, rng, seed| {
        let (original, modified) = (object(schema, kind, rng), object(schema, kind, rng));
        let patch = |current: &Value, original: &Value| {
            strategic::create_three_way_merge_patch(
                Some(original),
                &modified,
                current,
                schema,
                true,
            )
            .expect("a patch")
        };
        let first = patch(&original, &original);
        let patched = apply::strategic_merge_patch(&original, &first, schema)
            .unwrap_or_else(|error| panic!("{} {seed}: {error}: {first}", kind.2));
        assert_eq!(patched, modified, "{} {seed}: {first}", kind.2);
        assert_eq!(patch(&patched, &modified), json!({}), "{} {seed}", kind.2);
    });
}

#[test]
fn a_lone_applier_gets_exactly_what_it_applies() {
    each(12, |schema, kind, rng, seed| {
        let (a, b) = (object(schema, kind, rng), object(schema, kind, rng));
        let api_version = api::object::api_version(&a).to_owned();
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let options = ApplyOptions::new("one", &api_version, now);
        let store = |object: Value| api::decode::value(object, schema).expect("fits").object;
        let put = |live: Option<&Value>, configuration: &Value| {
            ssa::apply(live, configuration, schema, &options).map(store).expect("no conflict")
        };
        let first = put(None, &a);
        assert_eq!(bare(first.clone()), store(a.clone()), "{} {seed}", kind.2);
        let later =
            ApplyOptions { now: "2026-06-01T00:00:00Z".parse().expect("a time"), ..options };
        let again = ssa::apply(Some(&first), &a, schema, &later).expect("no conflict");
        assert_same(&again, &first, &format!("{} {seed}: applied twice", kind.2));
        let second = put(Some(&first), &b);
        assert_same(
            &bare(second.clone()),
            &bare(put(None, &b)),
            &format!("{} {seed}: b after a", kind.2),
        );
        // Nobody else owns anything, so there is nothing to conflict with for the same values.
        let other = ApplyOptions::new("two", &api_version, now);
        let shared = ssa::apply(Some(&second), &bare(second.clone()), schema, &other);
        assert!(shared.is_ok(), "{} {seed}: {shared:?}", kind.2);
    });
}

#[test]
fn tracked_updates_own_what_they_change_and_survive_the_wire() {
    each(10, |schema, kind, rng, seed| {
        let store = |object: Value| api::decode::value(object, schema).expect("fits").object;
        let (a, b) = (store(object(schema, kind, rng)), store(object(schema, kind, rng)));
        let api_version = api::object::api_version(&a).to_owned();
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let options = ApplyOptions::new("one", &api_version, now);
        let created = ssa::track_update(None, a, schema, &options);
        let written = ssa::track_update(Some(&created), b.clone(), schema, &options);
        assert_eq!(bare(written.clone()), b, "{} {seed}", kind.2);
        // One writer alone owns all: another's different value conflicts, unless nothing differs.
        let entries = api::object::list_at(&written, &["metadata", "managedFields"]);
        assert!(entries.len() <= 1, "{} {seed}", kind.2);
        for entry in entries {
            let set = ssa::Set::from_fields_v1(&entry["fieldsV1"]);
            assert_eq!(set.clone().into_fields_v1(), entry["fieldsV1"], "{} {seed}", kind.2);
        }
        let bytes = api::proto::encode(&written).expect("protobuf");
        assert_eq!(api::proto::decode(&bytes).expect("an object"), written, "{} {seed}", kind.2);
    });
}

/// An object with a part of another, a label more, or a field less.
fn changed(live: &Value, other: &Value, rng: &mut Rng) -> Value {
    let mut new = live.clone();
    match rng.below(4) {
        0 => {
            let label = format!("l{}", rng.below(3));
            api::object::set(&mut new, &["metadata", "labels", &label], rng.below(3).to_string());
        }
        1 => {
            let labels = api::object::at(&new, &["metadata", "labels"]).and_then(Value::as_object);
            if let Some(label) = labels.and_then(|labels| labels.keys().next().cloned()) {
                api::object::remove(&mut new, &["metadata", "labels", &label]);
            }
        }
        _ => {
            let parts: Vec<_> = ["spec", "data", "status", "rules", "webhooks"]
                .into_iter()
                .filter_map(|part| Some((part, other.get(part)?.as_object()?)))
                .collect();
            let entries: usize = parts.iter().map(|(_, map)| map.len()).sum();
            let chosen = rng.below(entries.max(1));
            let all = parts.iter().flat_map(|(part, map)| map.iter().map(move |one| (part, one)));
            if let Some((part, (key, value))) = all.into_iter().nth(chosen) {
                api::object::set(&mut new, &[part, key], value.clone());
            }
        }
    }
    match rng.below(8) {
        0 | 1 => drop(api::object::remove(&mut new, &["metadata", "managedFields"])),
        2 => api::object::set(&mut new, &["metadata", "managedFields"], json!([{}])),
        3 => {
            let theirs = json!([{"manager": "four", "operation": "Update", "apiVersion": "x/v1",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:x": {}}}}]);
            api::object::set(&mut new, &["metadata", "managedFields"], theirs);
        }
        _ => {}
    }
    new
}

#[test]
fn the_quick_way_to_track_an_update_is_the_whole_way() {
    each(10, |schema, kind, rng, seed| {
        let store = |object: Value| api::decode::value(object, schema).expect("fits").object;
        let a = object(schema, kind, rng);
        let api_version = api::object::api_version(&a).to_owned();
        let mut now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let manager = ApplyOptions::new("one", &api_version, now);
        let mut live = match rng.below(2) {
            0 => ssa::track_update(None, store(a), schema, &manager),
            _ => ssa::apply(None, &a, schema, &manager).map(store).expect("no conflict"),
        };
        for step in 0..12 {
            now += std::time::Duration::from_secs(1);
            let name = ["one", "two", "three"][rng.below(3)];
            let mut options = ApplyOptions::new(name, &api_version, now);
            if rng.below(3) == 0 {
                (options.subresource, options.reset_fields) = ("status", &["spec"]);
            } else {
                options.reset_fields = &["status"];
            }
            let other = object(schema, kind, rng);
            let new = store(changed(&live, &other, rng));
            let wholly = ssa::track_wholly(Some(&live), new.clone(), schema, &options);
            let quick = ssa::track_update(Some(&live), new, schema, &options);
            assert_same(&quick, &wholly, &format!("{} {seed}, step {step}", kind.2));
            live = quick;
        }
    });
}

#[test]
fn no_patch_makes_anything_panic() {
    each(12, |schema, kind, rng, _| {
        let (a, b) = (object(schema, kind, rng), object(schema, kind, rng));
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let api_version = api::object::api_version(&a).to_owned();
        let options = ApplyOptions::new("one", &api_version, now);
        for _ in 0..20 {
            let bytes = rng.mutated(b.to_string().as_bytes());
            let Ok(patch) = serde_json::from_slice::<Value>(&bytes) else { continue };
            let _ = apply::merge_patch(&a, &patch);
            let _ = apply::strategic_merge_patch(&a, &patch, schema);
            let _ = strategic::create_three_way_merge_patch(Some(&patch), &b, &a, schema, false);
            let _ = ssa::apply(Some(&a), &patch, schema, &options);
            let _ = ssa::track_update(Some(&a), patch, schema, &options);
        }
        let operations = br#"[{"op":"add","path":"/spec/x/-","value":1},{"op":"copy","from":"/spec","path":"/a"},{"op":"test","path":"/metadata/name","value":"x"}]"#;
        for _ in 0..50 {
            let _ = apply::json_patch(&a, &rng.mutated(operations));
        }
    });
}
