"""Admission policies, which validate and which mutate: what they do to Deployments, and their API."""

from harness import ApiError, conformance, equal, retry_conflict, unique, wait_for
from operations import Walk, discovered

GROUP = "admissionregistration.k8s.io"
V1 = f"{GROUP}/v1"
VALIDATING = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] "
MUTATING = "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] "

DEPLOYMENTS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
               "resources": ["deployments"]}
OTHERS = "Internal error! Other namespace should not be allowed."


class Site:
    """A namespace that only one policy and its binding mean."""

    def __init__(self, t, kind, spec, binding):
        self.word = unique()
        self.namespace = t.new_namespace("policies", **{self.word: "true"})
        selector = {"namespaceSelector": {"matchLabels": {self.word: "true"}}}
        spec["matchConstraints"] = {"resourceRules": [DEPLOYMENTS], **selector}
        for validation in spec.get("validations", []):
            validation["expression"] = validation["expression"].replace("NAMESPACE", self.namespace)
        policy, bound = f"{self.word}.policy.example.com", f"{self.word}.binding.example.com"
        policies = t.cluster_api(V1, f"{kind}admissionpolicies")
        policies.create({"metadata": {"name": policy}, "spec": spec})
        t.cleanup(policies.delete, policy)
        bindings = t.cluster_api(V1, f"{kind}admissionpolicybindings")
        bindings.create({"metadata": {"name": bound}, "spec": {
            "policyName": policy, "matchResources": selector, **binding}})
        t.cleanup(bindings.delete, bound)
        self.deployments = t.api("apps/v1", "deployments", self.namespace)
        self.replicasets = t.api("apps/v1", "replicasets", self.namespace)

    def until(self, wanted, what):
        """Makes and deletes a Deployment of one replica until its making is as wanted."""

        def probe():
            try:
                made = self.deployments.create(workload("marker-deployment", 1))
            except ApiError as error:
                return wanted(error)
            self.deployments.delete("marker-deployment")
            return wanted(made)

        wait_for(what, probe)

    def until_refused(self):
        self.until(lambda made: isinstance(made, ApiError) and made.reason == "Invalid",
                   "the marker is refused")


def workload(name, replicas):
    labels = {"app": "sample"}
    container = {"name": "main", "image": "conformance.local/demo:v1"}
    return {"metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}


@conformance(VALIDATING + "should validate against a Deployment [Conformance]")
def should_validate_against_a_deployment(t):
    site = Site(t, "validating", {"validations": [
        {"expression": "object.spec.replicas > 1",
         "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
        {"expression": "namespaceObject.metadata.name == 'NAMESPACE'", "message": OTHERS},
    ]}, {"validationActions": ["Deny"]})
    site.until_refused()
    site.deployments.create(workload("replicated", 2))
    site.replicasets.create(workload("non-replicated", 1))


@conformance(VALIDATING + "should allow expressions to refer variables. [Conformance]")
def should_allow_variables(t):
    site = Site(t, "validating", {
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"},
                      {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
        "validations": [{"expression": "variables.replicas > 1"},
                        {"expression": "variables.oddReplicas"}],
    }, {"validationActions": ["Deny"]})
    site.until_refused()
    site.deployments.create(workload("replicated", 3))
    site.replicasets.create(workload("non-replicated", 1))


def mutated(t, expression, is_mutated):
    site = Site(t, "mutating", {"failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}},
    ]}, {})
    site.until(lambda made: isinstance(made, dict) and is_mutated(made), "the marker is mutated")


@conformance(MUTATING + "should mutate a Deployment [Conformance]")
def should_mutate_a_deployment(t):
    mutated(t, "Object{spec: Object.spec{replicas: 1337}}",
            lambda made: made["spec"]["replicas"] == 1337)


@conformance(MUTATING + "should mutate a Deployment with annotations [Conformance]")
def should_mutate_annotations(t):
    expression = """
        Object{
            metadata: Object.metadata{
                annotations: {
                    "mutated-by": "admission-policy"
                }
            }
        }"""
    mutated(t, expression, lambda made: made["metadata"].get("annotations", {}).get(
        "mutated-by") == "admission-policy")


def walk(t, plural, spec, field, other):
    """The API's operations on policies or bindings; a patch gives `field` its other value."""
    discovered(t, GROUP, "v1", plural)
    label = unique()
    resource = t.cluster_api(V1, plural)
    selector = {"labelSelector": f"example-e2e-label={label}"}
    t.cleanup(resource.delete_collection, **selector)
    way = Walk(resource, lambda _: {
        "metadata": {"generateName": "e2e-example-", "labels": {"example-e2e-label": label}},
        "spec": spec,
    }, **selector)
    way.create()
    listed = way.read()
    before = way.created["spec"].get(field)
    patched = way.annotate(resource, "patched", way.created, {"spec": {field: other}})
    equal(patched["spec"][field], other)

    def put_back():
        found = resource.get(way.name)
        found["spec"][field] = before
        return resource.update(found)

    equal(retry_conflict(put_back)["spec"][field], before)
    way.change(listed)
    return way


def with_status(way, kind):
    """The subresource `status`: read, patched, updated."""
    status = way.resource.sub("status")
    way.get_sub("status", kind)
    condition = {"type": "PatchStatusFailed", "status": "False", "reason": "e2e",
                 "message": "Set from an e2e test", "lastTransitionTime": "2024-01-01T00:00:00Z"}
    patched = status.patch(way.name, {"status": {"conditions": [condition]}})
    assert "PatchStatusFailed" in types(patched), patched["status"]

    def append():
        found = way.resource.get(way.name)
        found["status"].setdefault("conditions", []).append(
            {**condition, "type": "StatusUpdateFailed", "reason": "E2E"})
        return status.update(found)

    updated = retry_conflict(append)
    assert "StatusUpdateFailed" in types(updated), updated["status"]


def types(policy):
    return [condition["type"] for condition in policy["status"].get("conditions", [])]


@conformance(VALIDATING + "should support ValidatingAdmissionPolicy API operations [Conformance]")
def should_support_validating_policies(t):
    discovered(t, GROUP, "v1", "validatingadmissionpolicies/status")
    way = walk(t, "validatingadmissionpolicies", {
        "validations": [{"expression": "object.spec.replicas <= 100"}],
        "matchConstraints": {"resourceRules": [DEPLOYMENTS]},
    }, "failurePolicy", "Ignore")
    with_status(way, "ValidatingAdmissionPolicy")
    way.delete()


@conformance(VALIDATING + "should support ValidatingAdmissionPolicyBinding API operations [Conformance]")
def should_support_validating_bindings(t):
    walk(t, "validatingadmissionpolicybindings", {
        "policyName": "replicalimit-policy.example.com", "validationActions": ["Deny"],
    }, "validationActions", ["Warn"]).delete()


@conformance(MUTATING + "should support MutatingAdmissionPolicy API operations [Conformance]")
def should_support_mutating_policies(t):
    expression = "Object{spec: Object.spec{replicas: 100}}"
    walk(t, "mutatingadmissionpolicies", {
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration",
                       "applyConfiguration": {"expression": expression}}],
        "matchConstraints": {"resourceRules": [DEPLOYMENTS]},
    }, "reinvocationPolicy", "IfNeeded").delete()


@conformance(MUTATING + "should support MutatingAdmissionPolicyBinding API operations [Conformance]")
def should_support_mutating_bindings(t):
    walk(t, "mutatingadmissionpolicybindings", {"policyName": "replicalimit-policy.example.com"},
         "policyName", "other-policy.example.com").delete()
