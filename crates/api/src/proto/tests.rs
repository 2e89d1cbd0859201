//! Round trips and hostile input of the protobuf transcoder.

use super::*;
use crate::sample::{self, Rng};
use crate::schema::by_kind;
use serde_json::json;

#[test]
fn any_object_goes_to_protobuf_and_back() {
    let mut done = 0;
    for (group, version, kind, def) in schema::all_kinds() {
        let api_version = join_api_version(group, version);
        // A watch event carries no kind of its own.
        if !is_supported(&api_version, kind) || def.get().field("kind").is_none() {
            continue;
        }
        for seed in 1..8u64 {
            let mut rng = Rng::seeded(seed * 1000 + done);
            let mut object = sample::value(&Schema::Def(def), &mut rng);
            object["apiVersion"] = api_version.as_str().into();
            object["kind"] = kind.into();
            let object = canonical(object, &Schema::Def(def)).unwrap();
            let bytes = encode(&object).unwrap();
            let back = decode(&bytes).unwrap();
            assert_eq!(back, object, "{api_version} {kind}, seed {seed}");
            done += 1;
        }
    }
    assert!(done > 7 * 150, "only {done} objects");
}

#[test]
fn every_kind_of_the_schema_has_a_message_but_those_that_have_none_upstream() {
    let missing: Vec<_> = schema::all_kinds()
        .filter(|(group, version, kind, _)| !is_supported(&join_api_version(group, version), kind))
        .map(|(group, version, kind, _)| format!("{group}/{version}/{kind}"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_removed_version_keeps_its_name_on_the_way() {
    let budget = |version: &str| {
        json!({"apiVersion": version, "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}})
    };
    let old = encode(&budget("policy/v1beta1")).unwrap();
    let back = decode(&old).unwrap();
    assert_eq!(back["apiVersion"], "policy/v1beta1");
    assert_eq!(back["spec"], budget("")["spec"]);
    let now = encode(&budget("policy/v1")).unwrap();
    assert_eq!(envelope(&old).unwrap().raw, envelope(&now).unwrap().raw);
}

#[test]
fn bytes_are_those_of_upstreams_marshalers() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let bytes = encode(&object).unwrap();
    let mut expected = b"k8s\0".to_vec();
    expected.extend(b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap");
    // ObjectMeta writes its strings, generation and creation time whether they are set or not.
    let meta = b"\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00";
    let mut raw = vec![0x0a, meta.len() as u8];
    raw.extend(meta);
    raw.extend(b"\x12\x06\x0a\x01k\x12\x01v");
    expected.extend([0x12, raw.len() as u8]);
    expected.extend(raw);
    expected.extend(b"\x1a\x00\x22\x00");
    assert_eq!(bytes, expected);
}

#[test]
fn lists_statuses_and_options_have_their_kinds() {
    for object in [
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": [
            {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": {}}]}, "status": {}}]}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404,
            "details": {"name": "x", "causes": [{"reason": "r"}]}}),
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}),
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "x"}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"holderIdentity": "h", "renewTime": "2026-01-01T00:00:00.123456Z"}}),
    ] {
        assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object);
    }
    assert!(!is_supported("example.com/v1", "Thing"));
    assert!(matches!(
        encode(&json!({"apiVersion": "example.com/v1", "kind": "Thing"})),
        Err(ProtoError::NoMessage(..))
    ));
}

#[test]
fn schemas_of_custom_resources_keep_their_unions() {
    let props = json!({"type": "object", "properties": {
        "a": {"type": "array", "items": {"type": "string"}},
        "b": {"additionalProperties": false, "default": {"x": [1]}},
        "c": {"additionalProperties": {"type": "string"}, "enum": [1, "two", null]},
        "d": {"items": [{"type": "string"}], "maximum": 1.5, "dependencies": {"q": ["r"], "s": {"type": "string"}}}}});
    let object = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
        "spec": {"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": props}}]}});
    let crd = by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let object = canonical(object, &crd).unwrap();
    assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object);
}

#[test]
fn watch_events_are_framed() {
    let enveloped = encode(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap();
    let mut out = Vec::new();
    watch_frame("ADDED", &enveloped, &mut out);
    let length = u32::from_be_bytes(*out.first_chunk().unwrap()) as usize;
    assert_eq!(length, out.len() - 4);
    assert_eq!(read_watch_event(&out[4..]).unwrap(), ("ADDED".to_owned(), &*enveloped));
}

#[test]
fn no_bytes_make_it_panic() {
    let mut rng = Rng::seeded(42);
    let pod = by_kind("", "v1", "Pod").unwrap();
    for _ in 0..1500 {
        let mut object = sample::value(&pod, &mut rng);
        object["apiVersion"] = "v1".into();
        object["kind"] = "Pod".into();
        let bytes = encode(&canonical(object, &pod).unwrap()).unwrap();
        let _ = decode(&rng.mutated(&bytes));
    }
    // A message that holds itself is cut off.
    let mut deep = Vec::new();
    for _ in 0..5000 {
        let mut outer = Vec::new();
        wire::put_bytes(28, &deep, &mut outer);
        deep = outer;
    }
    let props = table::json_schema_props();
    assert!(read::message(props, &deep).is_err());
}
