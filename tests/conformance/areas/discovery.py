"""Discovery: the plain documents, the aggregated ones, and the server's version."""

import re

from harness import conformance, equal, unique, wait_for

PLAIN = "[sig-api-machinery] Discovery "
AGGREGATED = "[sig-api-machinery] AggregatedDiscovery "
ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What a client's own discovery asks for: aggregated if there is, plain otherwise.
ACCEPT_ANY = ",".join([ACCEPT, ACCEPT.replace("v=v2", "v=v2beta1"), "application/json"])

EXPECTED = [
    ("", "v1", "namespaces"),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("batch", "v1", "jobs"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"),
    ("coordination.k8s.io", "v1", "leases"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("events.k8s.io", "v1", "events"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("node.k8s.io", "v1", "runtimeclasses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "csinodes"),
]


def aggregated(t, path, accept=ACCEPT):
    answer = t.cluster.request("GET", path, headers={"Accept": accept})
    content = answer.headers["Content-Type"]
    for part in ("g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"):
        assert part in content, f"the content type of {path} is {content}"
    equal(answer.json["kind"], "APIGroupDiscoveryList")
    return answer.json


def present(document, group, version, plural):
    for item in document["items"]:
        if item.get("metadata", {}).get("name", "") == group:
            for served in item["versions"]:
                if served["version"] == version:
                    return any(entry["resource"] == plural for entry in served["resources"])
    return False


@conformance(AGGREGATED + "should support raw aggregated discovery endpoint Accept headers "
             "[Conformance]")
def should_support_raw_aggregated_discovery(t):
    documents = aggregated(t, "/apis"), aggregated(t, "/api")
    for group, version, plural in EXPECTED:
        assert present(documents[0 if group else 1], group, version, plural), (group, plural)


@conformance(AGGREGATED + "should support aggregated discovery interface [Conformance]")
def should_support_the_aggregated_discovery_interface(t):
    documents = aggregated(t, "/apis", ACCEPT_ANY), aggregated(t, "/api", ACCEPT_ANY)
    for group, version, plural in EXPECTED:
        assert present(documents[0 if group else 1], group, version, plural), (group, plural)


def defined(t, accept):
    """Defines a kind: its resource must come into the aggregated document, with its group."""
    group = f"group{unique()}.example.com"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    names = {"plural": "testcrds", "singular": "testcrd", "kind": "Testcrd", "listKind": "TestcrdList"}
    definitions = t.cluster_api("apiextensions.k8s.io/v1", "customresourcedefinitions")
    name = f"testcrds.{group}"
    definitions.create({"metadata": {"name": name}, "spec": {
        "group": group, "scope": "Namespaced", "names": names, "versions": [version]}})
    t.cleanup(definitions.delete, name)
    wait_for(f"{name} is in /apis",
             lambda: present(aggregated(t, "/apis", accept), group, "v1", "testcrds"), 30)


@conformance(AGGREGATED + "should support raw aggregated discovery request for CRDs [Conformance]")
def should_support_raw_aggregated_discovery_of_definitions(t):
    defined(t, ACCEPT)


@conformance(AGGREGATED + "should support aggregated discovery interface for CRDs [Conformance]")
def should_support_the_aggregated_interface_for_definitions(t):
    defined(t, ACCEPT_ANY)


@conformance(PLAIN + "should validate PreferredVersion for each APIGroup [Conformance]")
def should_validate_preferred_version_for_each_group(t):
    groups = t.cluster.get("/apis/")["groups"]
    assert groups, "there are groups"
    for group in groups:
        if group["name"].endswith(".example.com"):
            continue
        found = t.cluster.get(f"/apis/{group['name']}/")
        versions = [entry["groupVersion"] for entry in found["versions"]]
        assert found["preferredVersion"]["groupVersion"] in versions, found


@conformance(PLAIN + "should locate the groupVersion and a resource within each APIGroup "
             "[Conformance]")
def should_locate_the_group_version_and_a_resource(t):
    for group, version, plural in EXPECTED:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        found = t.cluster.get(path)
        equal(found["groupVersion"], f"{group}/{version}" if group else version)
        assert any(entry["name"] == plural for entry in found["resources"]), (path, plural)


@conformance("[sig-api-machinery] server version should find the server version [Conformance]")
def should_find_the_server_version(t):
    version = t.cluster.get("/version")
    assert re.fullmatch(r"[1-9]\d*", version["major"]), version
    assert re.fullmatch(r"\d+\+?", version["minor"]), version
