"""StatefulSets on a real node."""

import time

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE, IMAGE_NEW, NODE, SLOW, condition, conformance, equal, names, unique,
    wait_count, wait_for,
)
from workloads import all_running, ready, scales, status_endpoints, workload

PREFIX = "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] "
NAME = "ss"
LABELS = {"foo": "bar", "baz": "blah"}
# The demo server fails this path once it is told to, and answers it again when told so.
PROBE = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1,
                            "successThreshold": 1, "failureThreshold": 1}}


def sets(t):
    return t.api("apps/v1", "statefulsets")


def make(t, replicas, image=IMAGE, probe=None, **spec):
    """The suite's headless Service and StatefulSet."""
    t.api("v1", "services").create({"metadata": {"name": "test"}, "spec": {
        "clusterIP": "None", "selector": LABELS, "ports": [{"name": "http", "port": 80}]}})
    container = {"name": "web", "image": image, **(probe or {})}
    body = workload(NAME, LABELS, replicas, pod={"containers": [container]},
                    serviceName="test", **spec)
    return sets(t).create(body)


def image_of(thing):
    spec = thing["spec"]
    return spec.get("template", {"spec": spec})["spec"]["containers"][0]["image"]


def revision(pod):
    return pod["metadata"]["labels"]["controller-revision-hash"]


def pods_of(t):
    found = t.api("v1", "pods").list(labelSelector="foo=bar,baz=blah")["items"]
    return sorted(found, key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 1)[1]))


def set_image(t, image):
    container = [{"name": "web", "image": image}]
    patch = {"spec": {"template": {"spec": {"containers": container}}}}
    return sets(t).patch(NAME, patch, STRATEGIC_PATCH)


def settled(t):
    """Waits until every pod is of the update revision, and it is the current one."""

    def same():
        found = sets(t).get(NAME)
        status = found["status"]
        return status.get("observedGeneration", 0) >= found["metadata"]["generation"] and (
            status["currentRevision"] == status["updateRevision"]) and (
            status.get("readyReplicas", 0) == found["spec"]["replicas"]) and found

    return wait_for("the update is complete", same, seconds=180)


@conformance(PREFIX + "should have a working scale subresource [Conformance]", NODE)
def should_have_a_working_scale_subresource(t):
    make(t, 1)
    ready(sets(t), NAME, 1)
    scales(sets(t), NAME, [2, 4])


@conformance(PREFIX + "should validate Statefulset Status endpoints [Conformance]", NODE)
def should_validate_status_endpoints(t):
    make(t, 1)
    ready(sets(t), NAME, 1)
    status_endpoints(sets(t), NAME)


@conformance(PREFIX + "should list, patch and delete a collection of StatefulSets [Conformance]",
             NODE)
def should_list_patch_and_delete_a_collection(t):
    make(t, 1)
    ready(sets(t), NAME, 1)
    word = unique(5)
    patch = {
        "metadata": {"labels": {"test-ss": word}},
        "spec": {"replicas": 2, "template": {"spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": IMAGE_NEW}]}}},
    }
    patched = sets(t).patch(NAME, patch, STRATEGIC_PATCH)
    equal((patched["spec"]["replicas"], image_of(patched)), (2, IMAGE_NEW))
    ready(sets(t), NAME, 2)
    selector = {"labelSelector": f"test-ss={word}"}
    equal(len(sets(t).everywhere().list(**selector)["items"]), 1)
    sets(t).delete_collection(**selector)
    wait_count(sets(t), 0, **selector)


@conformance(PREFIX + "should perform rolling updates and roll backs of template modifications "
             "[Conformance]", NODE)
def should_roll_and_roll_back(t):
    make(t, 3)
    first = settled(t)["status"]["currentRevision"]
    set_image(t, IMAGE_NEW)
    wait_for("a new revision", lambda: sets(t).get(NAME)["status"]["updateRevision"] != first)
    second = settled(t)["status"]["currentRevision"]
    equal([(image_of(p), revision(p)) for p in pods_of(t)], [(IMAGE_NEW, second)] * 3)
    set_image(t, IMAGE)
    wait_for("the old revision", lambda: sets(t).get(NAME)["status"]["updateRevision"] == first)
    equal(settled(t)["status"]["currentRevision"], first)
    equal([(image_of(p), revision(p)) for p in pods_of(t)], [(IMAGE, first)] * 3)


@conformance(PREFIX + "should perform canary updates and phased rolling updates of template "
             "modifications [Conformance]", NODE)
def should_perform_canaries_and_phases(t):
    def partition(value):
        sets(t).patch(NAME, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": value}}}},
                      MERGE_PATCH)

    def spread(*wanted):
        def reached():
            found = pods_of(t)
            return [revision(p) for p in found] == list(wanted) and all(
                condition(p, "Ready").get("status") == "True" for p in found)

        wait_for(f"pods of {wanted}", reached, seconds=120)

    make(t, 3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 3}})
    old = settled(t)["status"]["currentRevision"]
    set_image(t, IMAGE_NEW)
    wait_for("a new revision", lambda: sets(t).get(NAME)["status"]["updateRevision"] != old)
    new = sets(t).get(NAME)["status"]["updateRevision"]
    # Beyond the replicas: nothing may be updated.
    spread(old, old, old)
    partition(2)
    spread(old, old, new)
    # A deleted pod comes back at the revision that its ordinal belongs to.
    for name in ("ss-0", "ss-2"):
        uid = t.api("v1", "pods").get(name)["metadata"]["uid"]
        t.api("v1", "pods").delete(name)
        wait_for(f"{name} is another", lambda: t.api("v1", "pods").get(name)["metadata"]["uid"] != uid)
    spread(old, old, new)
    partition(1)
    spread(old, new, new)
    partition(0)
    spread(new, new, new)
    settled(t)


def tell(t, pod, well):
    """Tells a pod's server to answer its probe, or to fail it."""
    path = f"{t.api('v1', 'pods').path(pod)}:8080/proxy/fail/ready"
    t.cluster.request("DELETE" if well else "PUT", path)


def readiness(t, pod, wanted):
    wait_for(f"{pod} is ready: {wanted}", lambda: condition(
        t.api("v1", "pods").get(pod), "Ready").get("status") == wanted)


@conformance(PREFIX + "Scaling should happen in predictable order and halt if any stateful pod is "
             "unhealthy [Slow] [Conformance]", NODE, SLOW)
def should_scale_in_order_and_halt(t):
    make(t, 1, probe=PROBE)
    ready(sets(t), NAME, 1)
    tell(t, "ss-0", well=False)
    readiness(t, "ss-0", "False")
    sets(t).patch(NAME, {"spec": {"replicas": 3}}, MERGE_PATCH)
    # The suite looks on for ten seconds.
    time.sleep(10)
    equal(names(pods_of(t)), ["ss-0"])
    version = t.api("v1", "pods").list()["metadata"]["resourceVersion"]
    with t.api("v1", "pods").watch(resourceVersion=version, labelSelector="foo=bar") as watch:
        tell(t, "ss-0", well=True)
        ready(sets(t), NAME, 3)
        order = [e.object["metadata"]["name"] for e in drained(watch) if e.type == "ADDED"]
        equal(order, ["ss-1", "ss-2"])
    tell(t, "ss-0", well=False)
    readiness(t, "ss-0", "False")
    version = t.api("v1", "pods").list()["metadata"]["resourceVersion"]
    sets(t).patch(NAME, {"spec": {"replicas": 0}}, MERGE_PATCH)
    time.sleep(10)
    equal(len(pods_of(t)), 3)
    with t.api("v1", "pods").watch(resourceVersion=version, labelSelector="foo=bar") as watch:
        tell(t, "ss-0", well=True)
        wait_count(t.api("v1", "pods"), 0, seconds=120, labelSelector="foo=bar")
        gone = [e.object["metadata"]["name"] for e in drained(watch) if e.type == "DELETED"]
        equal(gone, ["ss-2", "ss-1", "ss-0"])


@conformance(PREFIX + "Burst scaling should run to completion even with unhealthy pods [Slow] "
             "[Conformance]", NODE, SLOW)
def should_burst_despite_unhealthy_pods(t):
    make(t, 1, probe=PROBE, podManagementPolicy="Parallel")
    ready(sets(t), NAME, 1)
    tell(t, "ss-0", well=False)
    readiness(t, "ss-0", "False")
    sets(t).patch(NAME, {"spec": {"replicas": 3}}, MERGE_PATCH)
    wait_for("three pods", lambda: len(pods_of(t)) == 3)
    tell(t, "ss-0", well=True)
    ready(sets(t), NAME, 3)
    tell(t, "ss-0", well=False)
    readiness(t, "ss-0", "False")
    sets(t).patch(NAME, {"spec": {"replicas": 0}}, MERGE_PATCH)
    wait_count(t.api("v1", "pods"), 0, seconds=120, labelSelector="foo=bar")


def drained(watch):
    """What a watch has seen until now."""
    found = []
    while not watch.events.empty():
        found.append(watch.next())
    return found


@conformance(PREFIX + "Should recreate evicted statefulset [Conformance]", NODE)
def should_recreate_an_evicted_pod(t):
    node = t.cluster_api("v1", "nodes").list()["items"][0]["metadata"]["name"]
    port = {"name": "conflict", "containerPort": 21017, "hostPort": 21017}
    container = {"name": "web", "image": IMAGE, "ports": [port]}
    pods = t.api("v1", "pods")
    pods.create({"metadata": {"name": "test-pod"}, "spec": {
        "nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}})
    all_running(pods, 1)
    t.api("v1", "services").create({"metadata": {"name": "test"}, "spec": {
        "clusterIP": "None", "selector": LABELS, "ports": [{"name": "http", "port": 80}]}})
    with pods.watch(fieldSelector="metadata.name=ss-0") as watch:
        body = workload(NAME, LABELS, 1, serviceName="test",
                        pod={"nodeName": node, "containers": [container]})
        sets(t).create(body)
        first = watch.until(
            lambda e: e.object["status"].get("phase") == "Failed", 60, "the node refuses it")
        uid = first["metadata"]["uid"]
        watch.until(lambda e: e.type == "DELETED" and e.object["metadata"]["uid"] == uid, 60)
        pods.delete("test-pod")
        watch.until(lambda e: e.object["metadata"]["uid"] != uid and e.object["status"].get(
            "phase") == "Running", 120, "another one runs")
