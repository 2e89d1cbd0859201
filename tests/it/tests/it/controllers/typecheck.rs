//! Policies' expressions are checked against the kinds that they mean, custom ones too.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};

/// The warnings of a policy, once it was checked.
async fn warnings(cluster: &Cluster, name: &str) -> Vec<(String, String)> {
    let checked = cluster
        .until::<ValidatingAdmissionPolicy>("", name, |policy| {
            policy.status.as_ref().is_some_and(|status| {
                status.type_checking.is_some()
                    && status.observed_generation == policy.metadata.generation
            })
        })
        .await;
    let checking = checked.status.clone().and_then(|status| status.type_checking);
    let found = checking.and_then(|checking| checking.expression_warnings).unwrap_or_default();
    found.into_iter().map(|one| (one.field_ref, one.warning)).collect()
}

async fn policy(cluster: &Cluster, name: &str, group: &str, plural: &str, validations: Value) {
    let object = json!({"metadata": {"name": name}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": [plural]}]},
        "validations": validations,
    }});
    cluster.create::<ValidatingAdmissionPolicy>(object).await;
}

fn check(found: &[(String, String)], expected: &[(&str, &str)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((field, text), (expected_field, part)) in found.iter().zip(expected) {
        assert_eq!(field, expected_field);
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_that_do_not_fit_are_named_in_the_status() {
    let cluster = cluster::without_node().await;
    let validations = json!([
        {"expression": "object.spec.replicas > '1'",
            "messageExpression": "'wants replicas > 1, has ' + object.spec.replicas"},
        {"expression": "object.spec.maxRetries > 10"},
    ]);
    policy(&cluster, "typed", "apps", "deployments", validations).await;
    check(
        &warnings(&cluster, "typed").await,
        &[
            (
                "spec.validations[0].expression",
                "found no matching overload for '_>_' applied to '(int, string)'",
            ),
            (
                "spec.validations[0].messageExpression",
                "found no matching overload for '_+_' applied to '(string, int)'",
            ),
            ("spec.validations[1].expression", "undefined field 'maxRetries'"),
        ],
    );
    let fits = json!([{"expression": "object.spec.replicas > 1"}]);
    policy(&cluster, "fits", "apps", "deployments", fits).await;
    check(&warnings(&cluster, "fits").await, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_kinds_are_checked_by_their_definitions() {
    let cluster = cluster::without_node().await;
    let crd = json!({"metadata": {"name": "jobs.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "jobs", "singular": "job", "kind": "Job", "listKind": "JobList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object",
                "properties": {"retries": {"type": "integer"}}}}}}}]}});
    cluster.create::<CustomResourceDefinition>(crd).await;
    let validations = json!([{"expression": "object.spec.retries < 10"},
        {"expression": "object.spec.maxRetries < 10"}]);
    policy(&cluster, "custom", "example.com", "jobs", validations).await;
    check(
        &warnings(&cluster, "custom").await,
        &[("spec.validations[1].expression", "undefined field 'maxRetries'")],
    );
}
