"""Deployments on a real node."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE, IMAGE_NEW, NODE, conformance, equal, newer, retry_conflict, unique, wait_count,
    wait_for, wait_gone,
)
from workloads import all_running, ready, scales, status_endpoints, workload

PREFIX = "[sig-apps] Deployment "
REVISION = "deployment.kubernetes.io/revision"


def deployments(t):
    return t.api("apps/v1", "deployments")


def sets(t):
    return t.api("apps/v1", "replicasets")


def image_of(thing):
    return thing["spec"]["template"]["spec"]["containers"][0]["image"]


@conformance(PREFIX + "Deployment should have a working scale subresource [Conformance]", NODE)
def should_have_a_working_scale_subresource(t):
    name = "test-new-deployment"
    deployments(t).create(workload(name, {"name": "sample-pod"}))
    ready(deployments(t), name, 1)
    scales(deployments(t), name, [2, 4])
    ready(deployments(t), name, 4)


@conformance(PREFIX + "should validate Deployment Status endpoints [Conformance]", NODE)
def should_validate_status_endpoints(t):
    name = "test-deployment-" + unique(5)
    deployments(t).create(workload(name, {"e2e": name}))
    ready(deployments(t), name, 1)
    status_endpoints(deployments(t), name)


@conformance(PREFIX + "should run the lifecycle of a Deployment [Conformance]", NODE)
def should_run_the_lifecycle(t):
    name, labels = "test-deployment", {"test-deployment-static": "true"}
    api = deployments(t)
    selector = {"labelSelector": "test-deployment-static=true"}

    def shows(**wanted):
        def probe(event):
            meta, status = event.object["metadata"], event.object.get("status", {})
            return event.type == "MODIFIED" and meta["labels"].get("test-deployment") == wanted.get(
                "label") and status.get("readyReplicas", 0) == wanted["ready"] and (
                image_of(event.object) == wanted["image"])
        return probe

    with api.watch(**selector) as watch:
        created = api.create(workload(name, labels, 2))
        watch.until_type("ADDED", name)
        watch.until(shows(ready=2, image=IMAGE), 120, "two replicas")
        patched = api.patch(name, {
            "metadata": {"labels": {"test-deployment": "patched"}},
            "spec": {"replicas": 1, "template": {"spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "web", "image": IMAGE_NEW}]}}},
        }, STRATEGIC_PATCH)
        newer(patched, created)
        watch.until(shows(label="patched", ready=1, image=IMAGE_NEW), 120, "the patched one")
        found = api.everywhere().list(**selector)["items"]
        mine = [d for d in found if d["metadata"]["namespace"] == t.namespace]
        equal([(d["metadata"]["name"], image_of(d)) for d in mine], [(name, IMAGE_NEW)])

        def update():
            got = api.get(name)
            got["metadata"]["labels"]["test-deployment"] = "updated"
            got["spec"]["replicas"] = 2
            got["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE
            return api.update(got)

        newer(retry_conflict(update), patched)
        watch.until(shows(label="updated", ready=2, image=IMAGE), 120, "the updated one")
        ready(api, name, 2)

        read = api.sub("status").get(name)
        equal(read["status"]["readyReplicas"], 2)
        zeroed = api.sub("status").patch(name, {
            "metadata": {"labels": {"test-deployment": "patched-status"}},
            "status": {"readyReplicas": 0},
        }, MERGE_PATCH)
        equal(zeroed["status"].get("readyReplicas", 0), 0)
        # The label is of the object, not of its status.
        equal(zeroed["metadata"]["labels"]["test-deployment"], "updated")
        watch.until(shows(label="updated", ready=2, image=IMAGE), 120, "the controller's word")
        api.delete_collection(**selector)
        watch.until_type("DELETED", name, 120)


@conformance(PREFIX + "RollingUpdateDeployment should delete old pods and create new ones "
             "[Conformance]", NODE)
def should_roll_over_adopted_pods(t):
    labels = {"name": "sample-pod", "pod": "httpd"}
    sets(t).create(workload("test-rolling-update-controller", labels))
    sets(t).patch("test-rolling-update-controller",
                  {"metadata": {"annotations": {REVISION: "3546343826724305832"}}}, MERGE_PATCH)
    all_running(t.api("v1", "pods"), 1)
    name = "test-rolling-update-deployment"
    deployments(t).create(workload(name, labels, image=IMAGE_NEW))
    found = ready(deployments(t), name, 1)
    equal(found["metadata"]["annotations"][REVISION], "3546343826724305833")
    own = {s["metadata"]["name"]: s for s in sets(t).list()["items"]}
    old = own.pop("test-rolling-update-controller")
    wait_for("the old set is empty",
             lambda: sets(t).get(old["metadata"]["name"])["spec"]["replicas"] == 0)
    equal(old["metadata"]["ownerReferences"][0]["uid"], found["metadata"]["uid"])
    equal(len(own), 1)


@conformance(PREFIX + "RecreateDeployment should delete old pods and create new ones [Conformance]",
             NODE)
def should_recreate(t):
    name, labels = "test-recreate-deployment", {"name": "sample-pod-3"}
    api = deployments(t)
    api.create(workload(name, labels, strategy={"type": "Recreate"}))
    first = ready(api, name, 1)
    equal(first["metadata"]["annotations"][REVISION], "1")
    version = first["metadata"]["resourceVersion"]
    image = {"template": {"spec": {"containers": [{"name": "web", "image": IMAGE_NEW}]}}}
    with api.watch(resourceVersion=version, fieldSelector=f"metadata.name={name}") as watch:
        patched = api.patch(name, {"spec": image}, STRATEGIC_PATCH)

        def done(event):
            status = event.object["status"]
            new, every = status.get("updatedReplicas", 0), status.get("replicas", 0)
            if status["observedGeneration"] >= patched["metadata"]["generation"]:
                assert not (new > 0 and new != every), f"old and new pods together: {status}"
            return new == every == status.get("availableReplicas", 0) == 1 and (
                status["observedGeneration"] >= patched["metadata"]["generation"])

        watch.until(done, 120, "the new pods alone")
    equal(ready(api, name, 1)["metadata"]["annotations"][REVISION], "2")


@conformance(PREFIX + "deployment should delete old replica sets [Conformance]", NODE)
def should_delete_old_replica_sets(t):
    labels = {"name": "cleanup-pod", "pod": "httpd"}
    sets(t).create(workload("test-cleanup-controller", labels))
    pods = t.api("v1", "pods")
    all_running(pods, 1)
    version = pods.list()["metadata"]["resourceVersion"]
    name = "test-cleanup-deployment"
    with pods.watch(resourceVersion=version) as watch:
        deployments(t).create(workload(name, labels, image=IMAGE_NEW, revisionHistoryLimit=0))
        ready(deployments(t), name, 1)
        wait_count(sets(t), 1)
        made = 0
        while not watch.events.empty():
            event = watch.next()
            made += event.type == "ADDED"
        equal(made, 1, "pods made while an old set is adopted and replaced")


@conformance(PREFIX + "deployment should support rollover [Conformance]", NODE)
def should_support_rollover(t):
    labels = {"name": "rollover-pod"}
    sets(t).create(workload("test-rollover-controller", labels))
    all_running(t.api("v1", "pods"), 1)
    name, api = "test-rollover-deployment", deployments(t)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    api.create(workload(name, labels, image="ferry.local/nothing:nonexistent", strategy=rolling,
                        minReadySeconds=10, pod={"containers": [{
                            "name": "web", "image": "ferry.local/nothing:nonexistent",
                            "imagePullPolicy": "Never"}]}))
    wait_for("the new set has a pod", lambda: any(
        s["status"]["replicas"] for s in sets(t).list()["items"]
        if s["metadata"]["name"].startswith(name)))
    wait_for("revision 1", lambda: api.get(name)["metadata"]["annotations"].get(REVISION) == "1")
    image = {"template": {"spec": {"containers": [{"name": "web", "image": IMAGE_NEW}]}}}
    api.patch(name, {"spec": image}, STRATEGIC_PATCH)
    found = ready(api, name, 1, seconds=180)
    equal(found["metadata"]["annotations"][REVISION], "2")
    wait_for("the old sets are empty", lambda: sum(
        s["spec"]["replicas"] for s in sets(t).list()["items"]) == 1)


@conformance(PREFIX + "deployment should support proportional scaling [Conformance]", NODE)
def should_scale_proportionally(t):
    name, labels, api = "webserver-deployment", {"name": "httpd"}, deployments(t)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    api.create(workload(name, labels, 10, strategy=rolling))
    ready(api, name, 10, seconds=180)
    broken = {"name": "web", "image": "ferry.local/webserver:404", "imagePullPolicy": "Never"}
    api.patch(name, {"spec": {"template": {"spec": {"containers": [broken]}}}}, STRATEGIC_PATCH)

    def spread(*wanted):
        def reached():
            found = sorted((int(s["metadata"]["annotations"][REVISION]), s["spec"]["replicas"])
                           for s in sets(t).list()["items"])
            return [count for _, count in found] == list(wanted)

        wait_for(f"the sets have {wanted}", reached, seconds=120)

    spread(8, 5)
    wait_for("eight are available", lambda: api.get(name)["status"]["availableReplicas"] == 8)
    api.patch(name, {"spec": {"replicas": 30}}, MERGE_PATCH)
    spread(20, 13)
    api.delete(name, propagationPolicy="Background")
    wait_gone(api, name)
