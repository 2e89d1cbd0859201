//! Tables of bodies, and what strict decoding says of them.

use super::*;
use crate::schema::{by_kind, from_structural};
use serde_json::json;

fn deployment() -> Schema {
    by_kind("apps", "v1", "Deployment").unwrap()
}

fn pod() -> Schema {
    by_kind("", "v1", "Pod").unwrap()
}

fn decode(text: &str, schema: &Schema) -> Decoded {
    body(text.as_bytes(), Format::Json, schema).unwrap()
}

#[test]
fn strict_errors_are_collected_in_order() {
    let text = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","unknownMeta":1},
        "spec":{"replicas":1,"unknownField":{"a":[1]},"replicas":2,
        "template":{"spec":{"containers":[{"name":"c","imagePullPolic":"x","env":[{"name":"a"},{"name":"b","name":"c"}]}]}}}}"#;
    let decoded = decode(text, &deployment());
    assert_eq!(
        decoded.strict_text().unwrap(),
        r#"strict decoding error: unknown field "metadata.unknownMeta", unknown field "spec.unknownField", duplicate field "spec.replicas", unknown field "spec.template.spec.containers[0].imagePullPolic", duplicate field "spec.template.spec.containers[0].env[1].name""#
    );
    assert_eq!(decoded.object["spec"]["replicas"], 2);
    assert!(decoded.object["spec"].get("unknownField").is_none());
    let error = decoded.strict_object("Deployment", "v1").unwrap_err();
    assert_eq!(error.code(), 400);
    assert!(error.to_string().starts_with(
        r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown"#
    ));
}

#[test]
fn wrong_types_get_gos_text() {
    for (text, expected) in [
        (
            r#"{"spec":{"replicas":"3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":99999999999}}"#,
            "json: cannot unmarshal number 99999999999 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":["a"]}}}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"a","value":1}]}]}}}}"#,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("[]", "json: cannot unmarshal array into Go value of type v1.Deployment"),
    ] {
        let error = body(text.as_bytes(), Format::Json, &deployment()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = body(b"{", Format::Json, &pod()).unwrap_err().handled_as("Pod", "v1");
    assert_eq!(
        error.to_string(),
        r#"Pod in version "v1" cannot be handled as a Pod: unexpected end of JSON input"#
    );
}

#[test]
fn values_come_out_as_go_prints_them() {
    let decoded = decode(
        r#"{"kind":"Pod","metadata":{"name":"p","creationTimestamp":null,"labels":{}},
            "spec":{"containers":[{"name":"c","image":"","tty":false,"resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}},
              "ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":"http"}}}],
              "terminationGracePeriodSeconds":0,"hostNetwork":false,"nodeSelector":null},
            "status":{"startTime":"2026-01-01T01:00:00+01:00","conditions":[{"type":"Ready","status":"True"}]}}"#,
        &pod(),
    );
    assert_eq!(
        decoded.object,
        json!({"kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": "http"}}}],
                "terminationGracePeriodSeconds": 0},
            "status": {"startTime": "2026-01-01T00:00:00Z",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}]}})
    );
    assert!(decoded.strict.is_empty());
    // What nobody set, and Go prints anyway.
    let empty = decode(r#"{"spec":{}}"#, &deployment()).object;
    assert_eq!(
        empty,
        json!({"metadata": {}, "spec": {"selector": null, "strategy": {},
            "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
    );
    // Reading what was printed changes nothing.
    assert_eq!(value(empty.clone(), &deployment()).unwrap().object, empty);
}

#[test]
fn yaml_bodies_are_read_by_the_same_rules() {
    let text = b"kind: Pod\nmetadata:\n  name: p\n  foo: 1\nspec:\n  volumes:\n  - name: v\n    configMap: {defaultMode: 0644}\n    name: w\n";
    let decoded = body(text, Format::Yaml, &pod()).unwrap();
    assert_eq!(decoded.object["spec"]["volumes"][0]["configMap"]["defaultMode"], 420);
    assert_eq!(
        decoded.strict,
        ["line 9: key \"name\" already set in map", "unknown field \"metadata.foo\""]
    );
}

#[test]
fn custom_resources_are_pruned_and_otherwise_kept() {
    let schema = from_structural(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        }},
    }}))
    .unwrap();
    let decoded = decode(
        r#"{"apiVersion":"g/v1","kind":"K","metadata":{"name":"x","foo":1},
            "spec":{"size":"wrong","extra":1,"size":1.0,"free":{"x":{"y":null},"x":2,"known":{"a":"","b":1}}}}"#,
        &schema,
    );
    assert_eq!(
        decoded.strict,
        [
            "unknown field \"metadata.foo\"",
            "unknown field \"spec.extra\"",
            "duplicate field \"spec.size\"",
            "duplicate field \"spec.free.x\"",
            "unknown field \"spec.free.known.b\"",
        ]
    );
    assert_eq!(
        decoded.object,
        json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"},
            "spec": {"size": 1, "free": {"x": 2, "known": {"a": ""}}}})
    );
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(untyped(deep.as_bytes(), Format::Json).is_err());
}

#[test]
fn no_body_makes_it_panic_and_canonical_is_canonical() {
    let kinds = [pod(), deployment(), by_kind("", "v1", "Service").unwrap()];
    let crd = by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let mut rng = crate::sample::Rng::seeded(7);
    for round in 0..600 {
        let schema = if round % 8 == 0 { &crd } else { &kinds[round % 3] };
        let object = value(crate::sample::value(schema, &mut rng), schema).unwrap();
        assert_eq!(object.strict, [""; 0]);
        let again = body(object.object.to_string().as_bytes(), Format::Json, schema).unwrap();
        assert_eq!(again, object, "round {round}");
        let json = rng.mutated(object.object.to_string().as_bytes());
        let by_schema = body(&json, Format::Json, schema);
        // What is passed over is not looked at closely, as long as it is JSON but for its bytes.
        let is_text = std::str::from_utf8(&json).is_ok();
        if is_text && serde_json::from_slice::<Value>(&json).is_err() && by_schema.is_ok() {
            panic!("round {round}: no JSON, and read: {}", String::from_utf8_lossy(&json));
        }
        let yaml = serde_norway::to_string(&object.object).unwrap();
        if round % 4 == 0 {
            let read = body(yaml.as_bytes(), Format::Yaml, schema);
            assert_eq!(read.unwrap(), object, "round {round}");
            let _ = body(&rng.mutated(yaml.as_bytes()), Format::Yaml, schema);
        }
        let _ = crate::schema::from_structural(&object.object);
    }
}

#[test]
fn small_texts_do_not_make_their_readers_panic() {
    let mut rng = crate::sample::Rng::seeded(11);
    for _ in 0..20_000 {
        for seed in [
            "app in (a,b),!c,d!=e",
            "metadata.name=a\\,b,x!=y",
            "-12.5e3",
            "1.5Gi",
            "2026-01-01T00:00:00.5+01:00",
        ] {
            let text = String::from_utf8_lossy(&rng.mutated(seed.as_bytes())).into_owned();
            if let Ok(selector) = crate::selector::LabelSelector::parse(&text) {
                let shown = selector.to_string();
                assert_eq!(
                    crate::selector::LabelSelector::parse(&shown).unwrap(),
                    selector,
                    "{text:?} {shown:?}"
                );
            }
            let _ = crate::selector::FieldSelector::parse(&text);
            if let Ok(quantity) = text.parse::<crate::quantity::Quantity>() {
                let shown = quantity.to_string();
                assert_eq!(shown.parse(), Ok(quantity), "{text:?} {shown:?}");
            }
            let _ = (canonical_time(&text), canonical_micro_time(&text), crate::yaml::plain(&text));
        }
    }
}

#[test]
fn what_a_patch_left_alone_is_as_if_it_had_been_visited() {
    use crate::sample::{self, Rng};
    for kind in ["Pod", "Service", "Node", "ConfigMap"] {
        let schema = crate::schema::by_kind("", "v1", kind).unwrap();
        for seed in 1..=40 {
            let rng = &mut Rng::seeded(seed);
            let before = value(sample::value(&schema, rng), &schema).unwrap().object;
            let other = sample::value(&schema, rng);
            let mut after = before.clone();
            for part in ["metadata", "spec", "status", "data"] {
                if rng.below(2) == 0 {
                    continue;
                }
                let from = other[part].as_object().filter(|_| after[part].is_object());
                let chosen = rng.below(from.map_or(1, Map::len).max(1));
                match from.and_then(|from| from.iter().nth(chosen)) {
                    Some((key, one)) => {
                        after[part][key] = one.clone();
                        after[part]["unknown"] = "x".into();
                    }
                    None => after[part] = other[part].clone(),
                }
            }
            let visited = value(after.clone(), &schema).unwrap();
            assert_eq!(value_from(after, &before, &schema).unwrap(), visited, "{kind} {seed}");
        }
    }
}
