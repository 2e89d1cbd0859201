"""Objects and states that the tests of workloads share."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import IMAGE, condition, equal, newer, retry_conflict, wait_for


def template(labels, image=IMAGE, **spec):
    """A pod template of one web server that ends at once."""
    return {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": image}],
                 **spec},
    }


def workload(name, labels, replicas=1, image=IMAGE, pod=None, **spec):
    """A Deployment, ReplicaSet or StatefulSet, by where it is sent."""
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels, image, **(pod or {})),
            **spec,
        },
    }


def ready(resource, name, replicas, seconds=120):
    """Waits until as many replicas are ready, of what was asked for last; gives the object."""

    def reached():
        found = resource.get(name)
        status = found.get("status", {})
        current = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        updated = status.get("updatedReplicas", replicas)
        return current and status.get("replicas", 0) == replicas == updated and (
            status.get("readyReplicas", 0) == replicas) and found

    return wait_for(f"{name} has {replicas} ready replicas", reached, seconds)


def status_endpoints(resource, name, seconds=120):
    """What the suite does to the /status of Deployments, ReplicaSets, StatefulSets and DaemonSets:
    an update and a patch of conditions, each seen by a watch."""
    status = resource.sub("status")
    read = status.get(name)
    version = resource.list()["metadata"]["resourceVersion"]

    def update():
        found = resource.get(name)
        found["status"].setdefault("conditions", []).append({
            "type": "StatusUpdate", "status": "True", "reason": "E2E",
            "message": "Set from e2e test"})
        return status.update(found)

    updated = retry_conflict(update)
    newer(updated, read)
    equal(condition(updated, "StatusUpdate")["reason"], "E2E")
    mine = {"fieldSelector": f"metadata.name={name}"}
    with resource.watch(resourceVersion=version, **mine) as watch:
        watch.until(lambda e: condition(e.object, "StatusUpdate"), seconds, "the updated status")

    version = resource.list()["metadata"]["resourceVersion"]
    entry = {"type": "StatusPatched", "status": "True"}
    patched = status.patch(name, {"status": {"conditions": [entry]}}, MERGE_PATCH)
    newer(patched, updated)
    with resource.watch(resourceVersion=version, **mine) as watch:
        watch.until(lambda e: condition(e.object, "StatusPatched"), seconds, "the patched status")


def scales(resource, name, steps):
    """Takes /scale through these numbers, by update and patch in turn."""
    scale = resource.sub("scale")
    for number, replicas in enumerate(steps):
        if number % 2:
            got = scale.patch(name, {"spec": {"replicas": replicas}}, STRATEGIC_PATCH)
        else:
            def update():
                found = scale.get(name)
                found["spec"]["replicas"] = replicas
                return scale.update(found)

            got = retry_conflict(update)
        equal(got["spec"]["replicas"], replicas, "the answer of /scale")
        equal(scale.get(name)["spec"]["replicas"], replicas, "/scale")
        equal(resource.get(name)["spec"]["replicas"], replicas, "the object")


def all_running(pods, count, seconds=120, **selector):
    """Waits until so many pods run, are ready, and no others are there."""

    def reached():
        found = pods.list(**selector)["items"]
        well = [p for p in found if p["status"].get("phase") == "Running"
                and condition(p, "Ready").get("status") == "True"
                and "deletionTimestamp" not in p["metadata"]]
        return len(found) == len(well) == count and found

    return wait_for(f"{count} pods run", reached, seconds)
