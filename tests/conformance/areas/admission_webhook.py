"""Webhook configurations as objects: their match conditions. No webhook is called."""

from harness import conformance, equal, expect_error, unique

V1 = "admissionregistration.k8s.io/v1"
PREFIX = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should "
FIRST = {"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}
SECOND = {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}
BAD = {"name": "invalid-expression-1", "expression": "... [] bad expression"}


def configuration(t, name, conditions):
    """A configuration whose webhook means only objects of a namespace that nobody has."""
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps"]}
    service = {"namespace": t.namespace, "name": "e2e-test-webhook", "path": "/always-deny", "port": 8443}
    return {"metadata": {"name": name}, "webhooks": [{
        "name": "webhook-with-match-conditions.k8s.io",
        "rules": [rule],
        "clientConfig": {"service": service},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
        "namespaceSelector": {"matchLabels": {name: "true"}},
        "matchConditions": conditions,
    }]}


def kept(t, plural):
    name = unique()
    resource = t.cluster_api(V1, plural)
    resource.create(configuration(t, name, [FIRST]))
    t.cleanup(resource.delete, name)
    found = resource.get(name)
    equal(found["webhooks"][0]["matchConditions"], [FIRST])
    found["webhooks"][0]["matchConditions"] = [FIRST, SECOND]
    resource.update(found)
    equal(resource.get(name)["webhooks"][0]["matchConditions"], [FIRST, SECOND])


def refused(t, plural):
    expect_error(422, t.cluster_api(V1, plural).create, configuration(t, unique(), [BAD]),
                 message="compilation failed")


@conformance(PREFIX + "be able to create and update validating webhook configurations with match "
             "conditions [Conformance]")
def should_keep_validating_match_conditions(t):
    kept(t, "validatingwebhookconfigurations")


@conformance(PREFIX + "be able to create and update mutating webhook configurations with match "
             "conditions [Conformance]")
def should_keep_mutating_match_conditions(t):
    kept(t, "mutatingwebhookconfigurations")


@conformance(PREFIX + "reject validating webhook configurations with invalid match conditions "
             "[Conformance]")
def should_reject_bad_validating_conditions(t):
    refused(t, "validatingwebhookconfigurations")


@conformance(PREFIX + "reject mutating webhook configurations with invalid match conditions "
             "[Conformance]")
def should_reject_bad_mutating_conditions(t):
    refused(t, "mutatingwebhookconfigurations")
