"""Services as objects: where they are listed, their status, collections, and the API server's own."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import condition, conformance, equal, names, newer, retry_conflict, unique, wait_count, wait_gone

PREFIX = "[sig-network] Services "


@conformance("[sig-network] API Server should provide secure master service [Conformance]")
def should_provide_secure_master_service(t):
    found = t.api("v1", "services", "default").get("kubernetes")
    assert "https" in [(port.get("name")) for port in found["spec"]["ports"] if port["port"] == 443]


@conformance("[sig-network] API Server should have Endpoints and EndpointSlices pointing to API "
             "Server [Conformance]")
def should_have_endpoints_of_the_api_server(t):
    t.api("v1", "services", "default").get("kubernetes")
    endpoints = t.api("v1", "endpoints", "default").get("kubernetes")
    equal(len(endpoints["subsets"]), 1)
    subset = endpoints["subsets"][0]
    slices = t.api("discovery.k8s.io/v1", "endpointslices", "default").list(
        labelSelector="kubernetes.io/service-name=kubernetes")["items"]
    assert slices, "a slice"
    addresses = [a for s in slices for e in s["endpoints"] for a in e["addresses"]]
    equal(sorted(addresses), sorted(a["ip"] for a in subset["addresses"]))
    for own in slices:
        equal([(p["name"], p["port"]) for p in own["ports"]],
              [(p["name"], p["port"]) for p in subset["ports"]])


@conformance(PREFIX + "should find a service from listing all namespaces [Conformance]")
def should_find_a_service_in_all_namespaces(t):
    found = t.cluster_api("v1", "services").list()["items"]
    assert ("default", "kubernetes") in [
        (s["metadata"]["namespace"], s["metadata"]["name"]) for s in found]


@conformance(PREFIX + "should complete a service status lifecycle [Conformance]")
def should_complete_a_status_lifecycle(t):
    services = t.api("v1", "services")
    name = "test-service-" + unique(5)
    selector = {"labelSelector": "test-service-static=true"}
    with services.watch(**selector) as watch:
        created = services.create({
            "metadata": {"name": name, "labels": {"test-service-static": "true"}},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/internal-vip",
                     "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]},
        })
        watch.until_type("ADDED", name)
        status = services.sub("status")
        equal(status.get(name)["status"].get("loadBalancer"), {})

        ingress = [{"ip": "203.0.113.1"}]
        patched = status.patch(name, {
            "metadata": {"annotations": {"patchedstatus": "true"}},
            "status": {"loadBalancer": {"ingress": ingress}},
        }, MERGE_PATCH)
        newer(patched, created)
        shown = watch.until(
            lambda e: e.object["metadata"].get("annotations", {}).get("patchedstatus") == "true")
        equal([i["ip"] for i in shown["status"]["loadBalancer"]["ingress"]], ["203.0.113.1"])

        def update():
            found = services.get(name)
            found["status"].setdefault("conditions", []).append({
                "type": "StatusUpdate", "status": "True", "reason": "E2E",
                "message": "Set from e2e test", "lastTransitionTime": "2026-01-01T00:00:00Z"})
            return status.update(found)

        updated = retry_conflict(update)
        equal(condition(updated, "StatusUpdate")["reason"], "E2E")
        watch.until(lambda e: condition(e.object, "StatusUpdate"))

        patch = {"metadata": {"labels": {"test-service": "patched"}}}
        newer(services.patch(name, patch, STRATEGIC_PATCH), updated)
        watch.until(lambda e: e.object["metadata"]["labels"].get("test-service") == "patched")
        services.delete(name)
        watch.until_type("DELETED", name)
    wait_gone(services, name)


@conformance(PREFIX + "should delete a collection of services [Conformance]")
def should_delete_a_collection(t):
    services = t.api("v1", "services")
    word = unique(5)

    def service(name, kind, label):
        ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}]
        return {"metadata": {"name": name, "labels": {"e2e": word, **label}},
                "spec": {"type": kind, "ports": ports, "selector": {"e2e": word}}}

    services.create(service("e2e-svc-a", "ClusterIP", {"e2e-test-service": "delete"}))
    services.create(service("e2e-svc-b", "ClusterIP", {"e2e-test-service": "delete"}))
    services.create(service("e2e-svc-c", "ClusterIP", {"e2e-test-service": "keep"}))
    wait_count(services, 3, labelSelector=f"e2e={word}")
    services.delete_collection(labelSelector="e2e-test-service=delete")
    left = wait_count(services, 1, labelSelector=f"e2e={word}")
    equal(names(left), ["e2e-svc-c"])
