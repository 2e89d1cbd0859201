"""DaemonSets and their revisions on real nodes. One test at a time: they label nodes."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE_NEW, NODE, SERIAL, conformance, equal, newer, retry_conflict, unique, wait_count,
    wait_for,
)
from workloads import status_endpoints, template

PREFIX = "[sig-apps] Daemon set [Serial] "
NAME = "daemon-set"
LABELS = {"daemonset-name": NAME}
SELECTOR = {"labelSelector": f"daemonset-name={NAME}"}


def sets(t):
    return t.api("apps/v1", "daemonsets")


def make(t, labels=None, **pod):
    return sets(t).create({
        "metadata": {"name": NAME, "labels": labels or LABELS},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template(LABELS, **pod)},
    })


def nodes(t):
    return t.cluster_api("v1", "nodes").list()["items"]


def on_every_node(t, count=None):
    """Waits until as many pods run as there are nodes, and the status says so."""
    count = len(nodes(t)) if count is None else count
    pods = t.api("v1", "pods")

    def reached():
        found = [p for p in pods.list(**SELECTOR)["items"]
                 if "deletionTimestamp" not in p["metadata"]]
        status = sets(t).get(NAME)["status"]
        return len(found) == count and all(
            p["status"].get("phase") == "Running" for p in found) and (
            status["desiredNumberScheduled"] == count == status["currentNumberScheduled"]
            == status["numberReady"]) and found

    def none():
        return not pods.list(**SELECTOR)["items"]

    return wait_for(f"{count} daemons run", reached if count else none, seconds=120)


@conformance(PREFIX + "should run and stop simple daemon [Conformance]", NODE, SERIAL)
def should_run_and_stop_a_simple_daemon(t):
    make(t)
    name = on_every_node(t)[0]["metadata"]["name"]
    t.api("v1", "pods").delete(name)
    wait_for("another one", lambda: name not in [
        p["metadata"]["name"] for p in t.api("v1", "pods").list(**SELECTOR)["items"]])
    on_every_node(t)


@conformance(PREFIX + "should run and stop complex daemon [Conformance]", NODE, SERIAL)
def should_run_and_stop_a_complex_daemon(t):
    make(t, nodeSelector={"daemonset-color": "blue"})
    on_every_node(t, 0)
    node = nodes(t)[0]["metadata"]["name"]
    api = t.cluster_api("v1", "nodes")

    def paint(colour):
        api.patch(node, {"metadata": {"labels": {"daemonset-color": colour}}}, MERGE_PATCH)

    t.cleanup(paint, None)
    paint("blue")
    on_every_node(t, 1)
    paint("green")
    on_every_node(t, 0)
    sets(t).patch(NAME, {"spec": {
        "updateStrategy": {"type": "RollingUpdate"},
        "template": {"spec": {"nodeSelector": {"daemonset-color": "green"}}},
    }}, STRATEGIC_PATCH)
    on_every_node(t, 1)


@conformance(PREFIX + "should retry creating failed daemon pods [Conformance]", NODE, SERIAL)
def should_retry_failed_pods(t):
    make(t)
    pods = t.api("v1", "pods")
    name = on_every_node(t)[0]["metadata"]["name"]

    def fail():
        found = pods.get(name)
        found["status"]["phase"] = "Failed"
        return pods.sub("status").update(found)

    retry_conflict(fail)
    wait_for("the failed one goes", lambda: name not in [
        p["metadata"]["name"] for p in pods.list(**SELECTOR)["items"]])
    on_every_node(t)


@conformance(PREFIX + "should update pod when spec was updated and update strategy is RollingUpdate "
             "[Conformance]", NODE, SERIAL)
def should_update_by_rolling(t):
    make(t)
    first = on_every_node(t)
    equal(revision(t, first[0]), 1)
    container = [{"name": "web", "image": IMAGE_NEW}]
    sets(t).patch(NAME, {"spec": {"template": {"spec": {"containers": container}}}}, STRATEGIC_PATCH)
    wait_for("all have the new image", lambda: all(
        p["spec"]["containers"][0]["image"] == IMAGE_NEW for p in on_every_node(t)), seconds=180)
    equal(revision(t, on_every_node(t)[0]), 2)


def revision(t, pod):
    """The number of the revision that a pod is of."""
    value = pod["metadata"]["labels"]["controller-revision-hash"]
    found = t.api("apps/v1", "controllerrevisions").list(
        labelSelector=f"controller-revision-hash={value}")["items"]
    equal(len(found), 1, "revisions of the pod's hash")
    return found[0]["revision"]


@conformance(PREFIX + "should list and delete a collection of DaemonSets [Conformance]", NODE,
             SERIAL)
def should_list_and_delete_a_collection(t):
    make(t)
    on_every_node(t)
    equal(len(sets(t).everywhere().list(**SELECTOR)["items"]), 1)
    sets(t).delete_collection(**SELECTOR)
    wait_count(sets(t), 0, **SELECTOR)


@conformance(PREFIX + "should verify changes to a daemon set status [Conformance]", NODE, SERIAL)
def should_verify_changes_to_the_status(t):
    make(t)
    on_every_node(t)
    status_endpoints(sets(t), NAME)


@conformance("[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a "
             "ControllerRevision [Conformance]", NODE, SERIAL)
def should_manage_the_lifecycle_of_a_controllerrevision(t):
    made = make(t)
    on_every_node(t)
    revisions = t.api("apps/v1", "controllerrevisions")
    found = revisions.everywhere().list(**SELECTOR)["items"]
    equal(len(found), 1)
    first = found[0]
    owner = first["metadata"]["ownerReferences"][0]
    equal((owner["kind"], owner["uid"]), ("DaemonSet", made["metadata"]["uid"]))
    name = first["metadata"]["name"]
    patched = revisions.patch(name, {"metadata": {"labels": {name: "patched"}}}, STRATEGIC_PATCH)
    equal(patched["metadata"]["labels"][name], "patched")
    newer(patched, first)

    word = unique(9)
    second = revisions.create({
        "metadata": {"name": f"{NAME}-{word}",
                     "labels": {**LABELS, "controller-revision-hash": word},
                     "ownerReferences": [owner]},
        "data": first["data"], "revision": first["revision"] + 1,
    })["metadata"]["name"]
    wait_count(revisions, 2, **SELECTOR)
    revisions.delete(name)
    wait_count(revisions, 1, **SELECTOR)

    def label():
        got = revisions.get(second)
        got["metadata"]["labels"][second] = "updated"
        return revisions.update(got)

    equal(retry_conflict(label)["metadata"]["labels"][second], "updated")
    grace = {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}
    sets(t).patch(NAME, {"spec": grace}, STRATEGIC_PATCH)
    wait_count(revisions, 2, **SELECTOR)
    revisions.delete_collection(labelSelector=f"{second}=updated")
    left = wait_count(revisions, 1, **SELECTOR)
    equal(left[0]["revision"], 3)
