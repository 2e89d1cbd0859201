"""RuntimeClass: the resource, and pods that ask for one."""

from api import ApiError
from harness import NODE, conformance, equal, expect_error, unique, wait_for, wait_gone
from operations import Walk, discovered

GROUP = "node.k8s.io"
PREFIX = "[sig-node] RuntimeClass "


def classes(t):
    return t.cluster_api(f"{GROUP}/v1", "runtimeclasses")


def pod(runtime_class):
    container = {"name": "test", "image": "registry.k8s.io/pause:3.10", "command": ["true"]}
    return {
        "metadata": {"generateName": f"test-runtimeclass-{runtime_class}-"},
        "spec": {"runtimeClassName": runtime_class, "containers": [container],
                 "restartPolicy": "Never"},
    }


def make_class(t, **more):
    body = {"metadata": {"name": f"preconfigured-{unique()}"}, "handler": "myhandler", **more}
    created = classes(t).create(body)
    t.cleanup(classes(t).delete, created["metadata"]["name"])
    return created["metadata"]["name"]


@conformance(PREFIX + "should support RuntimeClasses API operations [Conformance]")
def should_support_runtimeclass_operations(t):
    discovered(t, GROUP, "v1", "runtimeclasses")
    label = unique()
    selector = {"labelSelector": f"test={label}"}
    t.cleanup(classes(t).delete_collection, **selector)

    def make(number):
        return {"metadata": {"name": f"{label}-handler-{number}", "labels": {"test": label}},
                "handler": f"{label}-handler-{number}"}

    walk = Walk(classes(t), make, **selector)
    walk.create()
    expect_error(409, walk.resource.create, make(2), reason="AlreadyExists")
    walk.change(walk.read())
    walk.delete()


@conformance(PREFIX + "should reject a Pod requesting a non-existent RuntimeClass "
             "[NodeConformance] [Conformance]")
def should_reject_a_pod_of_a_class_that_never_was(t):
    reject(t, f"nonexistent-{unique()}")


@conformance(PREFIX + "should reject a Pod requesting a deleted RuntimeClass [NodeConformance] "
             "[Conformance]")
def should_reject_a_pod_of_a_deleted_class(t):
    name = make_class(t)
    classes(t).delete(name)
    wait_gone(classes(t), name)
    reject(t, name)


def reject(t, name):
    """The pod is forbidden; a cache that lags may let a dry run through for a moment."""

    def forbidden():
        try:
            t.api("v1", "pods").create(pod(name), dryRun="All")
        except ApiError as error:
            equal((error.code, error.reason), (403, "Forbidden"))
            return True
        return False

    wait_for("the pod is forbidden", forbidden, seconds=60)


@conformance(PREFIX + "should schedule a Pod requesting a RuntimeClass without PodOverhead "
             "[NodeConformance] [Conformance]", NODE)
def should_schedule_a_pod_without_overhead(t):
    created = scheduled(t, make_class(t))
    equal(created["spec"].get("overhead"), None)


@conformance(PREFIX + "should schedule a Pod requesting a RuntimeClass and initialize its Overhead "
             "[NodeConformance] [Conformance]", NODE)
def should_schedule_a_pod_with_its_overhead(t):
    overhead = {"cpu": "10m", "memory": "1Mi"}
    created = scheduled(t, make_class(t, overhead={"podFixed": overhead}))
    equal(created["spec"]["overhead"], overhead)


def scheduled(t, name):
    """Makes the pod and waits until it has a node."""
    pods = t.api("v1", "pods")
    created = pods.create(pod(name))["metadata"]["name"]
    with pods.watch(fieldSelector=f"metadata.name={created}") as watch:
        return watch.until(lambda event: event.object["spec"].get("nodeName"), what="scheduled")
