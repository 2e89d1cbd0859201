"""ServiceCIDR and IPAddress."""

from harness import conformance, equal
from operations import Walk, discovered

GROUP = "networking.k8s.io"
PREFIX = "[sig-network] ServiceCIDR and IPAddress API "


@conformance(PREFIX + "should support ServiceCIDR API operations [Conformance]")
def should_support_servicecidr_operations(t):
    discovered(t, GROUP, "v1", "servicecidrs", "servicecidrs/status")
    cidrs = t.cluster_api(f"{GROUP}/v1", "servicecidrs")
    default = cidrs.get("kubernetes")
    status = cidrs.sub("status").get("kubernetes")
    equal((status["apiVersion"], status["kind"]), (f"{GROUP}/v1", "ServiceCIDR"))
    equal(status["metadata"]["uid"], default["metadata"]["uid"])
    assert cidrs.list()["items"], "at least the default one"
    with cidrs.watch() as watch:
        watch.until_type("ADDED", "kubernetes")


@conformance(PREFIX + "should support IPAddress API operations [Conformance]")
def should_support_ipaddress_operations(t):
    discovered(t, GROUP, "v1", "ipaddresses")
    addresses = t.cluster_api(f"{GROUP}/v1", "ipaddresses")
    parent = {"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}

    def address(name, kind):
        return {"metadata": {"name": name, "labels": {"type": kind}}, "spec": {"parentRef": parent}}

    walk = Walk(addresses, lambda _: address("255.255.255.255", "broadcast"),
                labelSelector="type=broadcast")
    walk.create(1)
    t.cleanup(addresses.delete, walk.name)
    second = addresses.create(address("fe80::42:1dff:fe84:f9e2", "link-local"))
    t.cleanup(addresses.delete, second["metadata"]["name"])
    walk.annotate(addresses, "patched", walk.created)
    walk.put_annotation(addresses, "updated")
    listed = walk.read(1)
    with addresses.watch(**walk.selector) as watch:
        watch.until_type("ADDED", walk.name)
    equal(len(listed["items"]), 1)
    addresses.delete(walk.name)
    addresses.delete_collection(labelSelector="type=link-local")
    equal(addresses.list(labelSelector="type=link-local")["items"], [])
