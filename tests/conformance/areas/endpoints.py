"""Endpoints, EndpointSlices, and what the controllers make of Services."""

from api import STRATEGIC_PATCH
from harness import conformance, equal, unique, wait_count, wait_for, wait_gone
from operations import Walk, discovered

SLICES = "discovery.k8s.io/v1"


@conformance("[sig-network] Endpoints should test the lifecycle of an Endpoint [Conformance]")
def should_test_the_lifecycle_of_an_endpoint(t):
    endpoints = t.api("v1", "endpoints")
    name = "testservice"
    selector = {"labelSelector": "test-endpoint-static=true"}
    with endpoints.watch(**selector) as watch:
        endpoints.create({
            "metadata": {"name": name, "labels": {"test-endpoint-static": "true"}},
            "subsets": [{"addresses": [{"ip": "10.0.0.24"}],
                         "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}],
        })
        watch.until_type("ADDED", name)
        found = endpoints.everywhere().list(**selector)["items"]
        mine = [e for e in found if e["metadata"]["namespace"] == t.namespace]
        equal([e["metadata"]["name"] for e in mine], [name])
        mine[0]["metadata"]["labels"]["test-service"] = "updated"
        endpoints.update(mine[0])
        watch.until_type("MODIFIED", name)
        equal(endpoints.get(name)["metadata"]["labels"]["test-service"], "updated")
        subset = {"addresses": [{"ip": "10.0.0.25"}],
                  "ports": [{"name": "http-test", "port": 8080, "protocol": "TCP"}]}
        patch = {"metadata": {"labels": {"test-service": "patched"}}, "subsets": [subset]}
        endpoints.patch(name, patch, STRATEGIC_PATCH)
        watch.until_type("MODIFIED", name)
        got = endpoints.get(name)
        equal(got["metadata"]["labels"]["test-service"], "patched")
        equal(got["subsets"], [subset])
        endpoints.delete_collection(**selector)
        watch.until_type("DELETED", name)
    equal(endpoints.list(**selector)["items"], [])


def empty_service(t):
    """A Service whose selector no pod matches."""
    services = t.api("v1", "services")
    name = "example-empty-selector"
    services.create({"metadata": {"name": name}, "spec": {
        "selector": {"does-not-match-anything": "endpoints-and-endpoint-slices-should-still-be-created"},
        "ports": [{"name": "example", "port": 80, "protocol": "TCP"}],
    }})
    return services, name


@conformance("[sig-network] EndpointsController should create and delete Endpoints for a Service "
             "with a selector that matches no pods [Conformance]")
def should_create_and_delete_endpoints_without_pods(t):
    services, name = empty_service(t)
    endpoints = t.api("v1", "endpoints")
    found = wait_for("the Endpoints are there", lambda: endpoints.get(name))
    equal(found.get("subsets") or [], [])
    services.delete(name)
    wait_gone(endpoints, name)


@conformance("[sig-network] EndpointSlice should create and delete EndpointSlices for a Service with "
             "a selector that matches no pods [Conformance]")
def should_create_and_delete_slices_without_pods(t):
    services, name = empty_service(t)
    slices = t.api(SLICES, "endpointslices")
    selector = {"labelSelector": f"kubernetes.io/service-name={name}"}
    found = wait_count(slices, 1, **selector)[0]
    equal((found.get("endpoints") or [], found.get("ports") or []), ([], []))
    owner = found["metadata"]["ownerReferences"][0]
    equal((owner["kind"], owner["name"]), ("Service", name))
    services.delete(name)
    wait_count(slices, 0, **selector)
    wait_gone(t.api("v1", "endpoints"), name)


@conformance("[sig-network] EndpointSlice should support creating EndpointSlice API operations "
             "[Conformance]")
def should_support_endpointslice_operations(t):
    discovered(t, "discovery.k8s.io", "v1", "endpointslices")
    word = unique()
    walk = Walk(t.api(SLICES, "endpointslices"), lambda _: {
        "metadata": {"generateName": "e2e-example-ing", "labels": {"special-label": word}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"]}],
    }, labelSelector=f"special-label={word}")
    walk.create()
    walk.change(walk.read(), widely=True)
    walk.delete()


@conformance("[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through "
             "create update and delete [Conformance]")
def should_mirror_custom_endpoints(t):
    services, endpoints = t.api("v1", "services"), t.api("v1", "endpoints")
    slices = t.api(SLICES, "endpointslices")
    name = "example-custom-endpoints"
    services.create({"metadata": {"name": name}, "spec": {
        "ports": [{"name": "example", "port": 80, "protocol": "TCP"}]}})
    endpoints.create({"metadata": {"name": name}, "subsets": [{
        "addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "example", "port": 80}]}]})
    selector = {"labelSelector": f"kubernetes.io/service-name={name},"
                "endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io"}

    def mirrored(ip, port):
        def same():
            found = slices.list(**selector)["items"]
            return len(found) == 1 and (
                [e["addresses"] for e in found[0]["endpoints"]] == [[ip]]
                and [(p["name"], p["port"]) for p in found[0]["ports"]] == [("example", port)])

        # The suite waits twelve seconds for each.
        wait_for(f"a slice with {ip}:{port}", same, seconds=12)

    mirrored("10.1.2.3", 80)
    endpoints.update({"metadata": {"name": name}, "subsets": [{
        "addresses": [{"ip": "10.2.3.4"}], "ports": [{"name": "example", "port": 8080}]}]})
    mirrored("10.2.3.4", 8080)
    endpoints.delete(name)
    wait_count(slices, 0, seconds=12, **selector)
