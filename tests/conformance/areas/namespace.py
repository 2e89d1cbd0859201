"""Namespaces: what goes with them, in which order, and their subresources."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE, NODE, SERIAL, condition, conformance, equal, expect_error, newer, retry_conflict,
    running, unique, wait_for, wait_gone,
)

PREFIX = "[sig-api-machinery] Namespaces [Serial] "


def namespaces(t):
    return t.cluster_api("v1", "namespaces")


def pod(name, **meta):
    container = {"name": "nginx", "image": IMAGE}
    return {"metadata": {"name": name, **meta}, "spec": {"containers": [container]}}


def remade_empty(t, plural, make, ready=None):
    """A namespace goes with what it holds; made again by its name it is empty."""
    name = t.new_namespace("nsdeletetest")
    resource = t.cluster.resource("v1", plural, name)
    made = resource.create(make)["metadata"]["name"]
    if ready:
        ready(resource, made)
    namespaces(t).delete(name)
    wait_gone(namespaces(t), name, seconds=90)
    namespaces(t).create({"metadata": {"name": name}})
    expect_error(404, resource.get, made, reason="NotFound")
    equal(resource.list()["items"], [])


@conformance(PREFIX + "should ensure that all pods are removed when a namespace is deleted "
             "[Conformance]", SERIAL, NODE)
def should_remove_all_pods(t):
    remade_empty(t, "pods", pod("test-pod"), running)


@conformance(PREFIX + "should ensure that all services are removed when a namespace is deleted "
             "[Conformance]", SERIAL)
def should_remove_all_services(t):
    remade_empty(t, "services", {
        "metadata": {"name": "test-service"},
        "spec": {"selector": {"foo": "bar", "baz": "blah"},
                 "ports": [{"port": 80, "targetPort": 80}]},
    })


@conformance(PREFIX + "should patch a Namespace [Conformance]", SERIAL)
def should_patch(t):
    name = t.new_namespace("nspatchtest")
    before = namespaces(t).get(name)
    patch = {"metadata": {"labels": {"testLabel": "testValue"}}}
    newer(namespaces(t).patch(name, patch, STRATEGIC_PATCH), before)
    equal(namespaces(t).get(name)["metadata"]["labels"]["testLabel"], "testValue")


@conformance(PREFIX + "should apply an update to a Namespace [Conformance]", SERIAL)
def should_update(t):
    def label():
        found = namespaces(t).get(t.namespace)
        found["metadata"]["labels"][t.namespace] = "updated"
        return namespaces(t).update(found)

    before = namespaces(t).get(t.namespace)
    updated = retry_conflict(label)
    equal(updated["metadata"]["labels"][t.namespace], "updated")
    newer(updated, before)


@conformance(PREFIX + "should apply changes to a namespace status [Conformance]", SERIAL)
def should_change_the_status(t):
    status = namespaces(t).sub("status")
    read = status.get(t.namespace)
    equal(read["status"]["phase"], "Active")
    patch = {
        "metadata": {"annotations": {"e2e-patched-ns-status": t.namespace}},
        "status": {"conditions": [{
            "type": "StatusPatch", "status": "True",
            "reason": "E2E", "message": "Patched by an e2e test",
        }]},
    }
    patched = status.patch(t.namespace, patch, MERGE_PATCH)
    newer(patched, read)
    equal(patched["metadata"]["annotations"]["e2e-patched-ns-status"], t.namespace)
    equal(condition(patched, "StatusPatch")["message"], "Patched by an e2e test")

    def update():
        found = namespaces(t).get(t.namespace)
        found["status"].setdefault("conditions", []).append({
            "type": "StatusUpdate", "status": "True",
            "reason": "E2E", "message": "Updated by an e2e test",
        })
        return status.update(found)

    updated = retry_conflict(update)
    equal(len(updated["status"]["conditions"]), len(patched["status"]["conditions"]) + 1)
    equal(condition(updated, "StatusUpdate")["message"], "Updated by an e2e test")
    newer(updated, patched)


@conformance(PREFIX + "should apply a finalizer to a Namespace [Conformance]", SERIAL)
def should_apply_a_finalizer(t):
    name = t.new_namespace("e2e-ns")
    finalizer = "e2e.example.com/fakeFinalizer"

    def finalizers(change):
        def once():
            found = namespaces(t).get(name)
            found["spec"]["finalizers"] = change(found["spec"]["finalizers"])
            return namespaces(t).sub("finalize").update(found)

        return retry_conflict(once)["spec"]["finalizers"]

    assert finalizer in finalizers(lambda present: [*present, finalizer])
    assert finalizer not in finalizers(lambda present: [f for f in present if f != finalizer])


@conformance("[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first "
             "[Conformance]", SERIAL)
def should_delete_in_order(t):
    held = "example.com/conformance"
    name = t.new_namespace("nsdeletetest")
    pods = t.cluster.resource("v1", "pods", name)
    maps = t.cluster.resource("v1", "configmaps", name)
    pod_name, map_name = "test-pod", "test-configmap-" + unique()
    pods.create(pod(pod_name, finalizers=[held]))
    maps.create({"metadata": {"name": map_name}, "data": {"key": "value"}})
    namespaces(t).delete(name)
    wait_for("the pod is being deleted",
             lambda: pods.get(pod_name)["metadata"].get("deletionTimestamp"))

    def told():
        found = namespaces(t).get(name)
        return found["status"]["phase"] == "Terminating" and condition(
            found, "NamespaceDeletionContentFailure")

    wait_for("the condition", told)
    assert "deletionTimestamp" not in maps.get(map_name)["metadata"], "the ConfigMap waits"
    pods.patch(pod_name, {"metadata": {"finalizers": None}}, MERGE_PATCH)
    wait_gone(namespaces(t), name, seconds=90)
