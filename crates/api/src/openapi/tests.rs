//! The documents, as clients read them.

use super::*;

fn catalogue(custom: &[CustomKind]) -> Catalogue<'_> {
    Catalogue {
        git_version: "v1.36.0",
        is_served: &|_, version| version != "v1alpha1",
        custom,
        old: &[],
    }
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, at: &str, known: &Map<String, Value>) {
    match document {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let name = reference.rsplit('/').next().unwrap();
                assert!(known.contains_key(name), "{at}: {reference}");
            }
            map.iter().for_each(|(key, value)| check_references(value, key, known));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(item, at, known)),
        _ => {}
    }
}

fn cron_tab() -> CustomKind {
    CustomKind {
        group: "stable.example.com".into(),
        version: "v1".into(),
        kind: "CronTab".into(),
        list_kind: "CronTabList".into(),
        plural: "crontabs".into(),
        namespaced: true,
        schema: Some(json!({"type": "object", "description": "A tab.", "properties": {
            "spec": {"type": "object", "required": ["a", "n"], "properties": {
                "a": {"type": "string", "default": "x", "oneOf": [{"minLength": 1}]},
                "n": {"type": "string", "nullable": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"z": {"type": "string"}}}}}}})),
        selectable_fields: vec!["spec.a".into()],
        status: true,
        scale: true,
    }
}

#[test]
fn a_v3_document_holds_its_paths_and_all_that_they_refer_to() {
    let document = catalogue(&[]).v3("apis/apps/v1").unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    check_references(&document, "", schemas);
    let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert!(deployment["description"].as_str().unwrap().starts_with("Deployment enables"));
    let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"];
    assert_eq!(path["post"]["operationId"], "createAppsV1NamespacedDeployment");
    assert_eq!(path["parameters"][0]["name"], "namespace");
    let names: Vec<_> = path["post"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"fieldValidation"));
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["items"]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    assert!(schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]["oneOf"].is_array());
    let scale =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["operationId"], "readAppsV1NamespacedDeploymentScale");
    let all = &document["paths"]["/apis/apps/v1/deployments"]["get"];
    assert_eq!(all["operationId"], "listAppsV1DeploymentForAllNamespaces");
}

#[test]
fn v3_paths_are_those_that_have_documents() {
    let custom = [cron_tab()];
    let catalogue = catalogue(&custom);
    let paths = catalogue.v3_paths();
    for known in [
        "api",
        "api/v1",
        "apis",
        "apis/apps",
        "apis/apps/v1",
        "version",
        "apis/stable.example.com/v1",
    ] {
        assert!(paths.iter().any(|path| path == known), "{known} in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.ends_with("v1alpha1")));
    for path in paths.iter().step_by(9) {
        assert!(catalogue.v3(path).is_some(), "{path}");
    }
    assert!(catalogue.v3("apis/nothing/v1").is_none());
}

fn published(schema: Option<Value>) -> (Value, Value) {
    let custom = [CustomKind { schema, selectable_fields: Vec::new(), ..cron_tab() }];
    let catalogue = catalogue(&custom);
    let name = "com.example.stable.v1.CronTab";
    let v3 = catalogue.v3("apis/stable.example.com/v1").unwrap();
    (catalogue.v2()["definitions"][name].clone(), v3["components"]["schemas"][name].clone())
}

#[test]
fn a_custom_kind_of_any_fields_is_opaque_where_kubectl_would_refuse_them() {
    let gvk = json!([{"group": "stable.example.com", "version": "v1", "kind": "CronTab"}]);
    let opaque = json!({"type": "object", "x-kubernetes-group-version-kind": gvk});
    let (v2, v3) = published(None);
    assert_eq!((&v2, &v3), (&opaque, &opaque));
    let (v2, v3) = published(Some(json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Any."})));
    assert_eq!(v2, opaque);
    assert_eq!(v3["description"], "Any.");
    assert_eq!(v3["x-kubernetes-preserve-unknown-fields"], true);
    assert!(v3["properties"]["metadata"].is_object());
}

#[test]
fn an_embedded_object_has_what_objects_have() {
    let (v2, v3) = published(Some(json!({"type": "object", "properties": {
        "one": {"type": "object", "x-kubernetes-embedded-resource": true,
            "required": ["apiVersion"], "properties": {"spec": {"type": "object"}}},
        "any": {"type": "array", "items": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}}}})));
    for form in [&v2, &v3] {
        let one = &form["properties"]["one"];
        assert_eq!(one["required"], json!(["apiVersion", "kind"]));
        assert_eq!(one["properties"]["kind"]["type"], "string");
        assert!(one["properties"]["metadata"].is_object());
        assert!(one["properties"]["spec"].is_object());
    }
    assert!(v2["properties"]["any"]["items"].get("properties").is_none());
    let any = &v3["properties"]["any"]["items"];
    assert_eq!(any["required"], json!(["kind", "apiVersion"]));
    let text = any["properties"]["apiVersion"]["description"].as_str().unwrap();
    assert!(text.starts_with("apiVersion defines"), "{text}");
}

#[test]
fn the_v2_document_is_whole() {
    let document = catalogue(&[cron_tab()]).v2();
    let definitions = document["definitions"].as_object().unwrap();
    check_references(&document, "", definitions);
    assert!(definitions.len() > 600, "{}", definitions.len());
    assert_eq!(
        definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"],
        "int-or-string"
    );
    let custom = &definitions["com.example.stable.v1.CronTab"];
    assert_eq!(custom["description"], "A tab.");
    let spec = &custom["properties"]["spec"];
    assert_eq!(spec["properties"]["a"], json!({"type": "string"}));
    assert_eq!(spec["properties"]["n"], json!({}));
    assert_eq!(spec["required"], json!(["a"]));
    assert!(spec["properties"]["free"].get("properties").is_none());
    assert_eq!(custom["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.a"}]));
    assert!(custom["properties"]["metadata"]["$ref"].as_str().unwrap().ends_with("ObjectMeta"));
    assert!(document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}/scale"]["get"].is_object());
}

#[test]
fn the_v2_document_has_a_protobuf_form() {
    let document = catalogue(&[cron_tab()]).v2();
    let bytes = v2_protobuf(&document);
    let mut reader = crate::proto::wire::Reader::new(&bytes);
    let mut fields = Vec::new();
    while let Some((number, _)) = reader.next_field().unwrap() {
        fields.push(number);
    }
    assert_eq!(fields, [1, 2, 8, 9, 12, 13]);
}

/// Removed versions have the paths and the words of a current version, under their own names.
#[test]
fn removed_versions_are_described() {
    let deployments = |group: &str, version: &str, definition: &str| OldKind {
        group: group.into(),
        version: version.into(),
        plural: "deployments".into(),
        kind: "Deployment".into(),
        current: ("apps".into(), "v1".into()),
        current_definition: "io.k8s.api.apps.v1.Deployment".into(),
        definition: definition.into(),
    };
    let old = [
        deployments("extensions", "v1beta1", "io.k8s.api.extensions.v1beta1.Deployment"),
        deployments("apps", "v1beta2", "io.k8s.api.apps.v1.Deployment"),
    ];
    let catalogue = Catalogue { old: &old, ..catalogue(&[]) };
    let paths = catalogue.v3_paths();
    for path in ["apis/extensions", "apis/extensions/v1beta1", "apis/apps/v1beta2"] {
        assert!(paths.iter().any(|known| known == path), "{path}");
    }
    let document = catalogue.v3("apis/extensions/v1beta1").unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    check_references(&document, "", schemas);
    let deployment = &schemas["io.k8s.api.extensions.v1beta1.Deployment"];
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "extensions", "version": "v1beta1", "kind": "Deployment"}])
    );
    assert!(deployment["description"].as_str().unwrap().starts_with("Deployment enables"));
    let list = &document["paths"]["/apis/extensions/v1beta1/deployments"]["get"];
    assert_eq!(list["operationId"], "listExtensionsV1beta1DeploymentForAllNamespaces");
    assert_eq!(list["x-kubernetes-group-version-kind"]["group"], "extensions");
    let items = &schemas["io.k8s.api.extensions.v1beta1.DeploymentList"]["properties"]["items"];
    assert_eq!(
        items["items"]["$ref"],
        "#/components/schemas/io.k8s.api.extensions.v1beta1.Deployment"
    );
    // Not a definition too many in the current version's document, and all in that of version 2.
    let current = catalogue.v3("apis/apps/v1").unwrap();
    assert!(current["components"]["schemas"].get("io.k8s.api.apps.v1beta2.Deployment").is_none());
    let v2 = catalogue.v2();
    check_references(&v2, "", v2["definitions"].as_object().unwrap());
    assert!(v2["definitions"].get("io.k8s.api.apps.v1beta2.Deployment").is_some());
}

#[test]
fn fields_say_which_values_they_take() {
    let v2 = catalogue(&[]).v2();
    let policy = &v2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"];
    assert_eq!(policy["enum"], json!(["Always", "Never", "OnFailure"]));
    let text = policy["description"].as_str().unwrap();
    assert!(
        text.ends_with(
            "Possible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`"
        ),
        "{text}"
    );
    let modes = &v2["definitions"]["io.k8s.api.core.v1.PersistentVolumeSpec"]["properties"];
    assert_eq!(modes["accessModes"]["items"]["enum"][0], "ReadOnlyMany");
}
