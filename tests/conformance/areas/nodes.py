"""Nodes as objects, and priority classes."""

from api import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    SERIAL, condition, conformance, equal, expect_error, names, newer, retry_conflict, unique,
    wait_count, wait_gone,
)


@conformance("[sig-node] Node Lifecycle should run through the lifecycle of a node [Conformance]")
def should_run_through_the_lifecycle_of_a_node(t):
    nodes = t.cluster_api("v1", "nodes")
    name = "e2e-fake-node-" + unique(5)
    t.cleanup(nodes.delete, name)
    created = nodes.create({
        "metadata": {"name": name},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "reason": "e2e", "message": "fake"}],
        },
    })
    equal(nodes.get(name)["metadata"]["name"], name)
    patch = {"metadata": {"labels": {name: "patched"}}}
    patched = nodes.patch(name, patch, STRATEGIC_PATCH)
    equal(patched["metadata"]["labels"][name], "patched")
    newer(patched, created)
    wait_count(nodes, 1, labelSelector=f"{name}=patched")

    def update():
        found = nodes.get(name)
        found["metadata"]["labels"][name] = "updated"
        return nodes.update(found)

    updated = retry_conflict(update)
    equal(updated["metadata"]["labels"][name], "updated")
    newer(updated, patched)

    status = nodes.sub("status")
    entry = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Set from e2e"}
    patched = status.patch(name, {"status": {"conditions": [entry]}}, STRATEGIC_PATCH)
    equal(condition(patched, "StatusPatch")["reason"], "E2E")

    def update_status():
        found = nodes.get(name)
        found["status"].setdefault("conditions", []).append({**entry, "type": "StatusUpdate"})
        return status.update(found)

    updated = retry_conflict(update_status)
    equal(condition(updated, "StatusUpdate")["message"], "Set from e2e")
    newer(updated, patched)
    nodes.delete(name)
    wait_gone(nodes, name)

    second = f"{name}-two"
    t.cleanup(nodes.delete, second)
    nodes.create({"metadata": {"name": second, "labels": {"e2e": name}}})
    nodes.delete_collection(labelSelector=f"e2e={name}")
    wait_count(nodes, 0, labelSelector=f"e2e={name}")


@conformance("[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify "
             "PriorityClass endpoints can be operated with different HTTP methods [Conformance]",
             SERIAL)
def should_operate_priorityclasses_by_every_method(t):
    classes = t.cluster_api("scheduling.k8s.io/v1", "priorityclasses")
    word = unique(5)
    made = []
    for number, value in ((1, 1), (2, 2)):
        body = {"metadata": {"name": f"p{number}-{word}", "labels": {"e2e": word}}, "value": value}
        made.append(classes.create(body))
        t.cleanup(classes.delete, made[-1]["metadata"]["name"])
    # The value is immutable, by whichever way it is written.
    for found in made:
        name, value = found["metadata"]["name"], found["value"]
        operation = [{"op": "replace", "path": "/value", "value": value * 10}]
        expect_error(422, classes.patch, name, operation, JSON_PATCH, reason="Invalid")
        expect_error(422, classes.patch, name, {"value": value * 10}, MERGE_PATCH)
        expect_error(422, classes.update, {**found, "value": value * 10}, reason="Invalid")
        described = classes.update({**found, "description": "updated"})
        equal((described["description"], described["value"]), ("updated", value))
        again = classes.patch(name, {"description": "patched"}, STRATEGIC_PATCH)
        newer(again, described)
        equal(classes.get(name)["description"], "patched")
    equal(names(classes.list(labelSelector=f"e2e={word}")["items"]), [f"p1-{word}", f"p2-{word}"])
    classes.delete_collection(labelSelector=f"e2e={word}")
    wait_count(classes, 0, labelSelector=f"e2e={word}")
