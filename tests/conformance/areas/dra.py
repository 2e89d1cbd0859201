"""Dynamic resources as objects: create, read, change, status, delete and collections of each kind."""

from api import MERGE_PATCH
from harness import conformance, equal, newer, retry_conflict, unique, wait_count, wait_gone

V1 = "resource.k8s.io/v1"
PREFIX = "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 "


def crud(t, resource, make, change, status=None):
    """The suite's walk of one kind; `change` alters the spec, `status` is what /status takes."""
    label = unique()
    selector = {"labelSelector": f"e2e-test.resource.kubernetes.io={label}"}
    t.cleanup(resource.delete_collection, **selector)

    def create(number):
        body = make(f"{label}-{number}")
        body["metadata"]["labels"] = {"e2e-test.resource.kubernetes.io": label}
        return resource.create(body)

    with resource.watch(**selector) as watch:
        created = create(1)
        name = created["metadata"]["name"]
        watch.until_type("ADDED", name)
        equal(resource.get(name)["metadata"]["uid"], created["metadata"]["uid"])
        wait_count(resource, 1, **selector)

        def update():
            found = resource.get(name)
            change(found)
            return resource.update(found)

        updated = retry_conflict(update)
        newer(updated, created)
        watch.until_type("MODIFIED", name)
        patch = {"metadata": {"annotations": {"patched": "true"}}}
        patched = resource.patch(name, patch, MERGE_PATCH)
        equal(patched["metadata"]["annotations"]["patched"], "true")
        newer(patched, updated)
        watch.until_type("MODIFIED", name)
        if status:
            through_status(resource, name, patched, status)
        resource.delete(name)
        watch.until_type("DELETED", name)
    wait_gone(resource, name)
    create(2)
    create(3)
    wait_count(resource, 2, **selector)
    resource.delete_collection(**selector)
    wait_count(resource, 0, **selector)


def through_status(resource, name, before, status):
    sub = resource.sub("status")
    equal(sub.get(name)["metadata"]["uid"], before["metadata"]["uid"])
    patched = sub.patch(name, {"status": status}, MERGE_PATCH)
    newer(patched, before)
    equal(patched["status"]["reservedFor"], status["reservedFor"])

    def clear():
        found = resource.get(name)
        found["status"].pop("reservedFor")
        return sub.update(found)

    cleared = retry_conflict(clear)
    equal(cleared.get("status", {}).get("reservedFor"), None)
    newer(cleared, patched)


def request(name="req-0"):
    return {"name": name, "exactly": {"deviceClassName": "example-class"}}


def note(found):
    found["metadata"].setdefault("annotations", {})["updated"] = "true"


@conformance(PREFIX + "DeviceClass [Conformance]")
def should_support_deviceclasses(t):
    def change(found):
        found["spec"]["selectors"] = [{"cel": {"expression": "true"}}]

    crud(t, t.cluster_api(V1, "deviceclasses"), lambda name: {
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": "false"}}]},
    }, change)


@conformance(PREFIX + "ResourceClaim [Conformance]")
def should_support_resourceclaims(t):
    allocation = {"allocation": {"devices": {"results": [{
        "request": "req-0", "driver": "example.com", "pool": "pool", "device": "dev-0"}]}},
        "reservedFor": [{"resource": "pods", "name": "e2e", "uid": unique()}]}
    crud(t, t.api(V1, "resourceclaims"), lambda name: {
        "metadata": {"name": name}, "spec": {"devices": {"requests": [request()]}},
    }, note, allocation)


@conformance(PREFIX + "ResourceClaimTemplate [Conformance]")
def should_support_resourceclaimtemplates(t):
    crud(t, t.api(V1, "resourceclaimtemplates"), lambda name: {
        "metadata": {"name": name},
        "spec": {"spec": {"devices": {"requests": [request()]}}},
    }, note)


@conformance(PREFIX + "ResourceSlice [Conformance]")
def should_support_resourceslices(t):
    def change(found):
        found["spec"]["devices"].append({"name": "dev-1"})

    crud(t, t.cluster_api(V1, "resourceslices"), lambda name: {
        "metadata": {"name": name},
        "spec": {"nodeName": "no-such-node", "driver": "dra.example.com",
                 "pool": {"name": name, "resourceSliceCount": 1},
                 "devices": [{"name": "dev-0"}]},
    }, change)
