"""Leases."""

from api import STRATEGIC_PATCH
from harness import conformance, equal, expect_error, names, newer


@conformance("[sig-node] Lease lease API should be available [Conformance]")
def should_be_available(t):
    leases = t.api("coordination.k8s.io/v1", "leases")
    spec = {
        "holderIdentity": "holder",
        "leaseDurationSeconds": 30,
        "acquireTime": "2015-01-01T10:30:45.123456Z",
        "renewTime": "2015-01-01T10:31:02.654321Z",
        "leaseTransitions": 0,
    }
    created = leases.create({"metadata": {"name": "lease"}, "spec": spec})
    equal(created["spec"], spec)
    read = leases.get("lease")
    equal(read["spec"], spec)

    spec = {
        "holderIdentity": "holder2",
        "leaseDurationSeconds": 20,
        "acquireTime": "2015-01-01T10:38:44.111111Z",
        "renewTime": "2015-01-01T10:39:02.222222Z",
        "leaseTransitions": 1,
    }
    read["spec"] = spec
    newer(leases.update(read), created)
    read = leases.get("lease")
    equal(read["spec"], spec)

    patched = {
        "holderIdentity": "holder3",
        "leaseDurationSeconds": 60,
        "acquireTime": "2015-01-01T10:50:14.333333Z",
        "renewTime": "2015-01-01T10:51:02.444444Z",
        "leaseTransitions": 2,
    }
    newer(leases.patch("lease", {"spec": patched}, STRATEGIC_PATCH), read)
    equal(leases.get("lease")["spec"], patched)

    second = {"metadata": {"name": "lease2", "labels": {"deletecollection": "true"}}, "spec": spec}
    leases.create(second)
    equal(names(leases.list()["items"]), ["lease", "lease2"])
    leases.delete_collection(labelSelector="deletecollection=true")
    equal(names(leases.list()["items"]), ["lease"])
    leases.delete("lease")
    expect_error(404, leases.get, "lease", reason="NotFound")
