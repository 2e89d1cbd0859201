"""ReplicaSets and ReplicationControllers on a real node."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE_NEW, NODE, conformance, equal, newer, retry_conflict, running, unique,
    wait_count, wait_for,
)
from workloads import all_running, ready, scales, status_endpoints, template, workload

SETS = "[sig-apps] ReplicaSet "
RC = "[sig-apps] ReplicationController "


def sets(t):
    return t.api("apps/v1", "replicasets")


def controllers(t):
    return t.api("v1", "replicationcontrollers")


def controller(name, replicas, labels=None, **pod):
    labels = labels or {"name": name}
    return {"metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "selector": labels, "template": template(labels, **pod)}}


def lone_pod(t, name, labels):
    pods = t.api("v1", "pods")
    pods.create({"metadata": {"name": name, "labels": labels}, "spec": template({})["spec"]})
    running(pods, name)
    return pods


def owner(pod):
    owners = pod["metadata"].get("ownerReferences", [])
    return next((o["uid"] for o in owners if o.get("controller")), None)


def released(pods, name):
    """Another label, and the controller lets go."""
    pods.patch(name, {"metadata": {"labels": {"name": "not-matching-name"}}}, MERGE_PATCH)
    wait_for("the pod is released", lambda: owner(pods.get(name)) is None)


def serves(t, name, count):
    """Each replica answers through the API server's proxy with its own name. A container that runs
    need not listen yet: as the suite does, it is asked again."""
    pods = t.api("v1", "pods")
    for pod in all_running(pods, count, labelSelector=f"name={name}"):
        own = pod["metadata"]["name"]

        def answers(path=f"{pods.path(own)}:8080/proxy/", own=own):
            return own in t.cluster.request("GET", path).data.decode()

        wait_for(f"{own} answers with its name", answers, 120)


@conformance(SETS + "should serve a basic image on each replica with a public image [Conformance]",
             NODE)
def should_serve_on_each_replica(t):
    name = "my-hostname-basic-" + unique(5)
    sets(t).create(workload(name, {"name": name}))
    ready(sets(t), name, 1)
    serves(t, name, 1)


@conformance(SETS + "should adopt matching pods on creation and release no longer matching pods "
             "[Conformance]", NODE)
def should_adopt_and_release(t):
    name = "pod-adoption-release"
    pods = lone_pod(t, name, {"name": name})
    made = sets(t).create(workload(name, {"name": name}))
    wait_for("the pod is adopted", lambda: owner(pods.get(name)) == made["metadata"]["uid"])
    released(pods, name)


@conformance(SETS + "Replicaset should have a working scale subresource [Conformance]", NODE)
def should_have_a_working_scale_subresource(t):
    name = "test-rs"
    sets(t).create(workload(name, {"name": "sample-pod"}))
    ready(sets(t), name, 1)
    scales(sets(t), name, [2, 4])


@conformance(SETS + "Replace and Patch tests [Conformance]", NODE)
def should_replace_and_patch(t):
    name = "test-rs"
    api = sets(t)
    api.create(workload(name, {"name": "sample-pod"}))
    ready(api, name, 1)
    scales(api, name, [2])
    all_running(t.api("v1", "pods"), 2)
    patch = {
        "metadata": {"labels": {"test-rs": "patched"}},
        "spec": {"replicas": 3, "template": {"spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": IMAGE_NEW}]}}},
    }
    patched = api.patch(name, patch, STRATEGIC_PATCH)
    equal(patched["metadata"]["labels"]["test-rs"], "patched")
    equal(patched["spec"]["template"]["spec"]["containers"][0]["image"], IMAGE_NEW)
    ready(api, name, 3)


@conformance(SETS + "should list and delete a collection of ReplicaSets [Conformance]", NODE)
def should_list_and_delete_a_collection(t):
    name = "test-rs-" + unique(5)
    sets(t).create(workload(name, {"e2e": name}, 3))
    all_running(t.api("v1", "pods"), 3)
    selector = {"labelSelector": f"e2e={name}"}
    equal(len(sets(t).everywhere().list(**selector)["items"]), 1)
    sets(t).delete_collection(**selector)
    wait_count(sets(t), 0, **selector)


@conformance(SETS + "should validate Replicaset Status endpoints [Conformance]", NODE)
def should_validate_status_endpoints(t):
    name = "test-rs"
    sets(t).create(workload(name, {"name": "sample-pod"}))
    ready(sets(t), name, 1)
    status_endpoints(sets(t), name)


@conformance(RC + "should serve a basic image on each replica with a public image [Conformance]",
             NODE)
def rc_should_serve_on_each_replica(t):
    name = "my-hostname-basic-" + unique(5)
    controllers(t).create(controller(name, 1))
    serves(t, name, 1)


@conformance(RC + "should adopt matching pods on creation [Conformance]", NODE)
def rc_should_adopt(t):
    name = "pod-adoption"
    pods = lone_pod(t, name, {"name": name})
    made = controllers(t).create(controller(name, 1))
    wait_for("the pod is adopted", lambda: owner(pods.get(name)) == made["metadata"]["uid"])


@conformance(RC + "should release no longer matching pods [Conformance]", NODE)
def rc_should_release(t):
    name = "pod-release"
    controllers(t).create(controller(name, 1))
    pods = t.api("v1", "pods")
    found = wait_count(pods, 1, labelSelector=f"name={name}")
    released(pods, found[0]["metadata"]["name"])


@conformance(RC + "should get and update a ReplicationController scale [Conformance]", NODE)
def rc_should_get_and_update_its_scale(t):
    name = "e2e-rc-" + unique(5)
    controllers(t).create(controller(name, 1))
    all_running(t.api("v1", "pods"), 1)
    scale = controllers(t).sub("scale")
    found = scale.get(name)
    equal((found["spec"]["replicas"], found["status"]["replicas"]), (1, 1))
    found["spec"]["replicas"] = 2
    found["metadata"].pop("resourceVersion")
    scale.update(found)
    all_running(t.api("v1", "pods"), 2)


@conformance(RC + "should test the lifecycle of a ReplicationController [Conformance]", NODE)
def rc_should_test_the_lifecycle(t):
    name, api = "rc-test", controllers(t)
    labels = {"test-rc-static": "true"}
    selector = {"labelSelector": "test-rc-static=true"}

    def shows(word, **wanted):
        def probe(event):
            status = event.object.get("status", {})
            return event.object["metadata"]["labels"].get("test-rc") == word and all(
                status.get(key, 0) == value for key, value in wanted.items())
        return probe

    with api.watch(**selector) as watch:
        created = api.create(controller(name, 1, labels))
        watch.until_type("ADDED", name)
        watch.until(shows(None, replicas=1, readyReplicas=1), 120, "a replica")
        patched = api.patch(name, {
            "metadata": {"labels": {"test-rc": "patched"}},
            "spec": {"replicas": 2},
        }, STRATEGIC_PATCH)
        newer(patched, created)
        zeroed = api.sub("status").patch(name, {"status": {"readyReplicas": 0}}, STRATEGIC_PATCH)
        equal(zeroed["status"].get("readyReplicas", 0), 0)
        equal(api.sub("status").get(name)["metadata"]["uid"], created["metadata"]["uid"])
        watch.until(shows("patched", replicas=2, readyReplicas=2), 120, "two replicas")
        scale = api.sub("scale").get(name)
        equal(scale["spec"]["replicas"], 2)
        api.sub("scale").patch(name, {"spec": {"replicas": 1}}, STRATEGIC_PATCH)
        watch.until(shows("patched", replicas=1, readyReplicas=1), 120, "one replica")
        found = api.everywhere().list(**selector)["items"]
        equal(len([c for c in found if c["metadata"]["namespace"] == t.namespace]), 1)

        def update():
            got = api.get(name)
            got["metadata"]["labels"]["test-rc"] = "updated"
            got["status"]["availableReplicas"] = 1
            return api.sub("status").update(got)

        retry_conflict(update)
        api.delete_collection(**selector)
        watch.until_type("DELETED", name, 120)
