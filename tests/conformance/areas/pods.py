"""Pods: their lives, their generation, their status and their quality of service."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    IMAGE, IMAGE_NEW, NODE, condition, conformance, equal, expect_error, names, newer,
    retry_conflict, running, unique, wait_count, wait_for, wait_gone,
)
from workloads import all_running

PREFIX = "[sig-node] Pods "
EXTENDED = "[sig-node] Pods Extended "
GENERATION = EXTENDED + "(pod generation) Pod Generation "


def pod(name, image=IMAGE, grace=0, labels=None, **spec):
    container = {"name": "web", "image": image}
    return {"metadata": {"name": name, "labels": labels or {"name": "foo"}}, "spec": {
        "terminationGracePeriodSeconds": grace, "containers": [container], **spec}}


@conformance(PREFIX + "should get a host IP [NodeConformance] [Conformance]", NODE)
def should_get_a_host_ip(t):
    pods = t.api("v1", "pods")
    pods.create(pod("pod-hostip"))
    status = running(pods, "pod-hostip")["status"]
    assert status["hostIP"], status
    equal(status["hostIPs"][0]["ip"], status["hostIP"])


@conformance(PREFIX + "should be submitted and removed [NodeConformance] [Conformance]", NODE)
def should_be_submitted_and_removed(t):
    pods, word = t.api("v1", "pods"), unique()
    name = f"pod-submit-remove-{word}"
    selector = {"labelSelector": f"time={word}"}
    listed = pods.list(**selector)
    equal(listed["items"], [])
    version = listed["metadata"]["resourceVersion"]
    with pods.watch(resourceVersion=version, **selector) as watch:
        pods.create(pod(name, grace=30, labels={"name": "foo", "time": word}))
        equal(len(pods.list(**selector)["items"]), 1)
        watch.until_type("ADDED", name)
        running(pods, name)
        answer = pods.delete(name, gracePeriodSeconds=30)
        assert answer["metadata"]["deletionTimestamp"], answer
        last = watch.until_type("DELETED", name, seconds=120)
        assert last["metadata"]["deletionTimestamp"], "the last event tells when"
        assert last["spec"]["terminationGracePeriodSeconds"] != 0
    equal(pods.list(**selector)["items"], [])


@conformance(PREFIX + "should be updated [NodeConformance] [Conformance]", NODE)
def should_be_updated(t):
    pods, word = t.api("v1", "pods"), unique()
    name = f"pod-update-{word}"
    pods.create(pod(name, labels={"name": "foo", "time": word}))
    running(pods, name)
    equal(names(pods.list(labelSelector=f"time={word}")["items"]), [name])

    def relabel():
        found = pods.get(name)
        found["metadata"]["labels"]["time"] = f"updated-{word}"
        return pods.update(found)

    retry_conflict(relabel)
    running(pods, name)
    equal(names(pods.list(labelSelector=f"time=updated-{word}")["items"]), [name])


@conformance(PREFIX + "should allow activeDeadlineSeconds to be updated [NodeConformance] "
             "[Conformance]", NODE)
def should_update_the_active_deadline(t):
    pods = t.api("v1", "pods")
    name = "pod-update-activedeadlineseconds"
    pods.create(pod(name))
    running(pods, name)

    def shorten():
        found = pods.get(name)
        found["spec"]["activeDeadlineSeconds"] = 5
        return pods.update(found)

    retry_conflict(shorten)
    with pods.watch(fieldSelector=f"metadata.name={name}") as watch:
        ended = watch.until(lambda e: e.object["status"].get("phase") == "Failed", 60)
    equal(ended["status"]["reason"], "DeadlineExceeded")


@conformance(PREFIX + "should delete a collection of pods [Conformance]", NODE)
def should_delete_a_collection(t):
    pods = t.api("v1", "pods")
    for number in (1, 2, 3):
        pods.create(pod(f"test-pod-{number}", grace=1, labels={"type": "Testing"}))
    all_running(pods, 3, labelSelector="type=Testing")
    pods.delete_collection(labelSelector="type=Testing")
    wait_count(pods, 0, seconds=90, labelSelector="type=Testing")


@conformance(PREFIX + "should patch a pod status [Conformance]", NODE)
def should_patch_the_status(t):
    pods, name = t.api("v1", "pods"), "pod-" + unique(5)
    pods.create(pod(name))
    before = running(pods, name)
    patched = pods.sub("status").patch(name, {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"message": "Patched by e2e test", "reason": "E2E"},
    }, MERGE_PATCH)
    equal((patched["status"]["message"], patched["status"]["reason"]),
          ("Patched by e2e test", "E2E"))
    newer(patched, before)


@conformance(PREFIX + "should run through the lifecycle of Pods and PodStatus [Conformance]", NODE)
def should_run_through_the_lifecycle(t):
    pods, name = t.api("v1", "pods"), "pod-test"
    selector = {"labelSelector": "test-pod-static=true"}
    with pods.watch(**selector) as watch:
        created = pods.create(pod(name, grace=1, labels={"test-pod-static": "true"}))
        watch.until_type("ADDED", name)
        running(pods, name)
        patched = pods.patch(name, {
            "metadata": {"labels": {"test-pod": "patched"}},
            "spec": {"terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "web", "image": IMAGE_NEW}]},
        }, STRATEGIC_PATCH)
        newer(patched, created)
        watch.until(lambda e: e.object["metadata"]["labels"].get("test-pod") == "patched"
                    and e.object["spec"]["containers"][0]["image"] == IMAGE_NEW
                    and condition(e.object, "Ready").get("status") == "True", 120, "the new image")
        got = pods.get(name)
        equal(got["metadata"]["labels"]["test-pod"], "patched")
        status = pods.sub("status")

        def unready():
            found = status.get(name)
            for entry in found["status"]["conditions"]:
                if entry["type"] == "Ready":
                    entry["status"] = "False"
            return status.update(found)

        equal(condition(retry_conflict(unready), "Ready")["status"], "False")
        found = pods.everywhere().list(**selector)["items"]
        equal(len([p for p in found if p["metadata"]["namespace"] == t.namespace]), 1)
        pods.delete_collection(gracePeriodSeconds=1, **selector)
        watch.until_type("DELETED", name, 120)


@conformance(PREFIX + "should contain environment variables for services [NodeConformance] "
             "[Conformance]", NODE)
def should_contain_variables_for_services(t):
    pods, services = t.api("v1", "pods"), t.api("v1", "services")
    pods.create(pod("server-envvars", labels={"name": "srv"}))
    running(pods, "server-envvars")
    address = services.create({"metadata": {"name": "fooservice"}, "spec": {
        "selector": {"name": "srv"}, "ports": [{"port": 8765, "targetPort": 8080}]}})
    address = address["spec"]["clusterIP"]

    def told():
        name = "client-envvars-" + unique(5)
        pods.create(pod(name))
        running(pods, name)
        answer = t.cluster.request("GET", f"{pods.path(name)}:8080/proxy/env").data.decode()
        wanted = {
            "FOOSERVICE_SERVICE_HOST": address, "FOOSERVICE_SERVICE_PORT": "8765",
            "FOOSERVICE_PORT": f"tcp://{address}:8765",
            "FOOSERVICE_PORT_8765_TCP": f"tcp://{address}:8765",
            "FOOSERVICE_PORT_8765_TCP_PROTO": "tcp", "FOOSERVICE_PORT_8765_TCP_PORT": "8765",
            "FOOSERVICE_PORT_8765_TCP_ADDR": address,
        }
        lines = answer.splitlines()
        return all(f"{key}={value}" in lines for key, value in wanted.items())

    wait_for("a new pod is told of the Service", told, seconds=120)


@conformance(EXTENDED + "Pods Set QOS Class should be set on Pods with matching resource requests "
             "and limits for memory and cpu [Conformance]")
def should_set_the_qos_class(t):
    pods, name = t.api("v1", "pods"), "pod-qos-class-" + unique()
    body = pod(name)
    amounts = {"cpu": "100m", "memory": "100Mi"}
    body["spec"]["containers"][0]["resources"] = {"limits": amounts, "requests": amounts}
    pods.create(body)
    equal(pods.get(name)["status"]["qosClass"], "Guaranteed")


@conformance(GENERATION + "pod generation should start at 1 and increment per update "
             "[MinimumKubeletVersion:1.34] [Conformance]", NODE)
def should_count_generations(t):
    pods, name = t.api("v1", "pods"), "pod-generation-" + unique()
    created = pods.create(pod(name))
    equal(created["metadata"]["generation"], 1)
    running(pods, name)
    number = 1

    def update(what, change, counts=True):
        nonlocal number

        def once():
            found = pods.get(name)
            change(found)
            return pods.update(found)

        updated = retry_conflict(once)
        number += counts
        equal(updated["metadata"]["generation"], number, what)
        observed(pods, name, number)

    update("a toleration", lambda p: p["spec"]["tolerations"].append(
        {"key": "foo-" + unique(), "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": 60}))
    update("a label is not the spec", lambda p: p["metadata"]["labels"].update(a="b"), False)
    update("the image", lambda p: p["spec"]["containers"][0].update(image=IMAGE_NEW))
    update("the deadline", lambda p: p["spec"].update(activeDeadlineSeconds=5000))
    ephemeral = {"name": "debugger", "image": IMAGE, "terminationMessagePolicy": "File"}
    patched = pods.sub("ephemeralcontainers").patch(
        name, {"spec": {"ephemeralContainers": [ephemeral]}}, STRATEGIC_PATCH)
    equal(patched["metadata"]["generation"], number + 1, "an ephemeral container")
    observed(pods, name, number + 1)


def observed(pods, name, generation):
    wait_for(f"generation {generation} is observed", lambda: pods.get(name)["status"].get(
        "observedGeneration") == generation, seconds=120)


@conformance(GENERATION + "custom-set generation on new pods and graceful delete [Conformance]",
             NODE)
def should_ignore_a_generation_of_the_clients(t):
    pods, name = t.api("v1", "pods"), "pod-generation-" + unique()
    body = pod(name, grace=30)
    body["metadata"]["generation"] = 100
    equal(pods.create(body)["metadata"]["generation"], 1)
    running(pods, name)
    with pods.watch(fieldSelector=f"metadata.name={name}") as watch:
        pods.delete(name)
        watch.until(lambda e: e.object["metadata"].get("deletionTimestamp")
                    and e.object["metadata"]["generation"] == 2, 60, "generation 2")
    wait_gone(pods, name, seconds=120)


@conformance(GENERATION + "issue 500 podspec updates and verify generation and observedGeneration "
             "eventually converge [MinimumKubeletVersion:1.34] [Conformance]", NODE)
def should_converge_after_500_updates(t):
    pods, name = t.api("v1", "pods"), "pod-generation-" + unique()
    pods.create(pod(name, activeDeadlineSeconds=5000))
    running(pods, name)
    for number in range(1, 500):
        def shorten():
            found = pods.get(name)
            found["spec"]["activeDeadlineSeconds"] = 5000 - number
            return pods.update(found)

        last = retry_conflict(shorten, tries=100)
    equal(last["metadata"]["generation"], 500)
    observed(pods, name, 500)


@conformance("[sig-node] Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls "
             "[Conformance]")
def should_reject_invalid_sysctls(t):
    sysctls = [{"name": name, "value": value} for name, value in (
        ("foo-", "bar"), ("kernel.shmmax", "100000000"), ("safe-and-unsafe", "100000000"),
        ("bar..", "42"))]
    body = pod("sysctl-" + unique(), securityContext={"sysctls": sysctls})
    error = expect_error(422, t.api("v1", "pods").create, body, reason="Invalid")
    for wrong in ("foo-", "bar.."):
        assert f'Invalid value: "{wrong}"' in error.message, error.message
    for right in ("safe-and-unsafe", "kernel.shmmax"):
        assert right not in error.message, error.message
