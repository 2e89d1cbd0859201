"""The garbage collector: who goes with whom, and who stays."""

import time

from api import STRATEGIC_PATCH
from harness import (
    IMAGE, SERIAL, conformance, equal, names, unique, wait_count, wait_for, wait_gone,
)

PREFIX = "[sig-api-machinery] Garbage collector "
# The suite takes what its nodes hold, between 10 and 100.
MANY = 20


def pod_spec():
    return {"terminationGracePeriodSeconds": 0, "containers": [{"name": "nginx", "image": IMAGE}]}


def controller(t, name, replicas):
    labels = {"name": name, "run": unique()}
    created = t.api("v1", "replicationcontrollers").create({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": labels,
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    })
    return created


def deployment(t, name):
    labels = {"app": unique()}
    created = t.api("apps/v1", "deployments").create({
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
        },
    })
    wait_count(t.api("apps/v1", "replicasets"), 1)
    return created


def options(thing, policy):
    """DeleteOptions for this very incarnation."""
    return {
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy,
        "preconditions": {"uid": thing["metadata"]["uid"]},
    }


def all_replicas(t, name, count):
    controllers = t.api("v1", "replicationcontrollers")
    wait_for(f"{name} has {count} replicas",
             lambda: controllers.get(name)["status"]["replicas"] == count, seconds=120)
    wait_count(t.api("v1", "pods"), count)


@conformance(PREFIX + "should delete pods created by rc when not orphaning [Conformance]")
def should_delete_pods_created_by_rc(t):
    rc = controller(t, "simpletest.rc", 2)
    wait_for("a pod is made", lambda: t.api("v1", "pods").list()["items"])
    t.api("v1", "replicationcontrollers").delete("simpletest.rc", options(rc, "Background"))
    wait_count(t.api("v1", "pods"), 0, seconds=120)


@conformance(PREFIX + "should orphan pods created by rc if delete options say so [Serial] "
             "[Conformance]", SERIAL)
def should_orphan_pods_created_by_rc(t):
    rc = controller(t, "simpletest.rc", MANY)
    all_replicas(t, "simpletest.rc", MANY)
    controllers = t.api("v1", "replicationcontrollers")
    controllers.delete("simpletest.rc", options(rc, "Orphan"))
    wait_gone(controllers, "simpletest.rc", seconds=120)
    # The suite waits as long to see whether the collector takes them by mistake.
    time.sleep(30)
    pods = t.api("v1", "pods").list()["items"]
    equal(len(pods), MANY)
    equal([p["metadata"].get("ownerReferences") for p in pods], [None] * MANY)


@conformance(PREFIX + "should delete RS created by deployment when not orphaning [Conformance]")
def should_delete_rs_created_by_deployment(t):
    made = deployment(t, "simpletest.deployment")
    t.api("apps/v1", "deployments").delete("simpletest.deployment", options(made, "Background"))
    for resource in (t.api("apps/v1", "deployments"), t.api("apps/v1", "replicasets"),
                     t.api("v1", "pods")):
        wait_count(resource, 0, seconds=120)


@conformance(PREFIX + "should orphan RS created by deployment when "
             "deleteOptions.PropagationPolicy is Orphan [Conformance]")
def should_orphan_rs_created_by_deployment(t):
    made = deployment(t, "simpletest.deployment")
    deployments = t.api("apps/v1", "deployments")
    deployments.delete("simpletest.deployment", options(made, "Orphan"))
    wait_gone(deployments, "simpletest.deployment", seconds=120)
    time.sleep(30)
    sets = t.api("apps/v1", "replicasets").list()["items"]
    equal(len(sets), 1)
    owners = sets[0]["metadata"].get("ownerReferences", [])
    equal([o for o in owners if o["uid"] == made["metadata"]["uid"]], [])


@conformance(PREFIX + "should keep the rc around until all its pods are deleted if the "
             "deleteOptions says so [Serial] [Conformance]", SERIAL)
def should_keep_the_rc_until_its_pods_are_gone(t):
    rc = controller(t, "simpletest.rc", MANY)
    all_replicas(t, "simpletest.rc", MANY)
    controllers, pods = t.api("v1", "replicationcontrollers"), t.api("v1", "pods")
    controllers.delete("simpletest.rc", options(rc, "Foreground"))
    wait_gone(controllers, "simpletest.rc", seconds=120)
    equal(names(pods.list()["items"]), [], "pods that outlive it")


@conformance(PREFIX + "should not delete dependents that have both valid owner and owner that's "
             "waiting for dependents to be deleted [Serial] [Conformance]", SERIAL)
def should_not_delete_dependents_with_a_valid_owner(t):
    first = controller(t, "simpletest-rc-to-be-deleted", MANY)
    second = controller(t, "simpletest-rc-to-stay", 0)
    all_replicas(t, "simpletest-rc-to-be-deleted", MANY)
    controllers, pods = t.api("v1", "replicationcontrollers"), t.api("v1", "pods")
    owner = {
        "apiVersion": "v1", "kind": "ReplicationController",
        "name": second["metadata"]["name"], "uid": second["metadata"]["uid"],
    }
    kept = names(pods.list()["items"])[: MANY // 2]
    for name in kept:
        pods.patch(name, {"metadata": {"ownerReferences": [owner]}}, STRATEGIC_PATCH)
    controllers.delete(first["metadata"]["name"], options(first, "Foreground"))
    wait_gone(controllers, first["metadata"]["name"], seconds=120)
    left = pods.list()["items"]
    equal(names(left), sorted(kept))
    for pod in left:
        assert "deletionTimestamp" not in pod["metadata"], pod["metadata"]
        uids = [o["uid"] for o in pod["metadata"]["ownerReferences"]]
        equal(uids, [second["metadata"]["uid"]])


@conformance(PREFIX + "should not be blocked by dependency circle [Conformance]")
def should_not_be_blocked_by_a_circle(t):
    pods = t.api("v1", "pods")
    made = [pods.create({"metadata": {"name": f"pod{n}"}, "spec": pod_spec()}) for n in (1, 2, 3)]
    for index, owner in [(0, 2), (1, 0), (2, 1)]:
        reference = {
            "apiVersion": "v1", "kind": "Pod", "name": made[owner]["metadata"]["name"],
            "uid": made[owner]["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }
        patch = {"metadata": {"ownerReferences": [reference]}}
        pods.patch(made[index]["metadata"]["name"], patch, STRATEGIC_PATCH)
    pods.delete("pod1", options(made[0], "Foreground"))
    wait_count(pods, 0, seconds=150)
