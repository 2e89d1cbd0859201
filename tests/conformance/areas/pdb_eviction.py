"""PodDisruptionBudgets and evictions."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    NODE, conformance, equal, expect_error, names, newer, retry_conflict,
    unique, wait_count, wait_for, wait_gone,
)
from workloads import all_running, template

PREFIX = "[sig-apps] DisruptionController "


def budgets(t, namespace=None):
    return t.api("policy/v1", "poddisruptionbudgets", namespace)


def budget(name, least=None, most=None, labels=None):
    spec = {"selector": {"matchLabels": {"foo": "bar"}}}
    if least is not None:
        spec["minAvailable"] = least
    if most is not None:
        spec["maxUnavailable"] = most
    return {"metadata": {"name": name, "labels": labels or {"foo_pdb": "bar_pdb"}}, "spec": spec}


def processed(api, name):
    """Waits until the controller has seen the budget."""

    def seen():
        found = api.get(name)
        status = found.get("status", {})
        return status.get("observedGeneration", 0) >= found["metadata"]["generation"] and found

    return wait_for(f"{name} is processed", seen)


def pods(t, count):
    api = t.api("v1", "pods")
    for number in range(count):
        api.create({"metadata": {"name": f"pod-{number}", "labels": {"foo": "bar"}},
                    "spec": template({})["spec"]})
    return api


@conformance(PREFIX + "Listing PodDisruptionBudgets for all namespaces should list and delete a "
             "collection of PodDisruptionBudgets [Conformance]")
def should_list_and_delete_a_collection(t):
    word = unique()
    label = {"e2e": word}
    selector = {"labelSelector": f"e2e={word}"}
    for name in ("foo", "foo2"):
        budgets(t).create(budget(name, least="1%", labels=label))
        processed(budgets(t), name)
    other = t.new_namespace("disruption-2")
    budgets(t, other).create(budget("foo3", least="1%", labels=label))
    processed(budgets(t, other), "foo3")
    found = budgets(t).everywhere().list(**selector)["items"]
    equal(sorted(names(found)), ["foo", "foo2", "foo3"])
    equal(names(budgets(t).list(**selector)["items"]), ["foo", "foo2"])
    budgets(t).delete_collection(**selector)
    wait_count(budgets(t), 0, **selector)


@conformance(PREFIX + "should create a PodDisruptionBudget [Conformance]")
def should_create(t):
    api = budgets(t)
    api.create(budget("foo", least="1%"))
    processed(api, "foo")

    def replace():
        found = api.get("foo")
        found["spec"]["minAvailable"] = "2%"
        return api.update(found)

    updated = retry_conflict(replace)
    equal(updated["spec"]["minAvailable"], "2%")
    processed(api, "foo")
    patched = api.patch("foo", {"spec": {"minAvailable": "3%"}}, STRATEGIC_PATCH)
    equal(patched["spec"]["minAvailable"], "3%")
    newer(patched, updated)
    processed(api, "foo")
    api.delete("foo")
    wait_gone(api, "foo")


@conformance(PREFIX + "should observe PodDisruptionBudget status updated [Conformance]", NODE)
def should_observe_the_status(t):
    budgets(t).create(budget("foo", least=1))
    pods(t, 3)
    all_running(t.api("v1", "pods"), 3)

    def counted():
        status = budgets(t).get("foo")["status"]
        return status["disruptionsAllowed"] > 0

    wait_for("disruptions are allowed", counted)


@conformance(PREFIX + "should update/patch PodDisruptionBudget status [Conformance]", NODE)
def should_update_and_patch_the_status(t):
    api = budgets(t)
    api.create(budget("foo", least=1))
    pods(t, 3)
    all_running(t.api("v1", "pods"), 3)
    wait_for("the budget counts", lambda: api.get("foo")["status"]["currentHealthy"] == 3)
    when = "2026-11-28T00:00:00Z"

    def update():
        found = api.get("foo")
        found["status"]["disruptedPods"] = {name: when for name in ("pod-0", "pod-1")}
        return api.sub("status").update(found)

    updated = retry_conflict(update)
    equal(sorted(updated["status"]["disruptedPods"]), ["pod-0", "pod-1"])

    def patch():
        version = api.get("foo")["metadata"]["resourceVersion"]
        return api.sub("status").patch("foo", {
            "metadata": {"resourceVersion": version},
            "status": {"disruptedPods": {name: None for name in ("pod-0", "pod-1")}},
        }, MERGE_PATCH)

    equal(retry_conflict(patch)["status"].get("disruptedPods") or {}, {})


@conformance(PREFIX + "should block an eviction until the PDB is updated to allow it [Conformance]",
             NODE)
def should_block_an_eviction_until_allowed(t):
    api = budgets(t)
    running_pods = pods(t, 3)
    all_running(running_pods, 3)
    evictions = running_pods.sub("eviction")

    def evict(name):
        return evictions.create({"apiVersion": "policy/v1", "kind": "Eviction",
                                 "metadata": {"name": name}}, name=name)

    def blocked(name):
        error = expect_error(429, evict, name, reason="TooManyRequests",
                             message="Cannot evict pod as it would violate the pod's disruption budget.")
        equal([cause["reason"] for cause in error.causes], ["DisruptionBudget"])

    api.create(budget("foo", least=3))
    processed(api, "foo")
    wait_for("all are healthy", lambda: api.get("foo")["status"]["currentHealthy"] == 3)
    blocked("pod-0")

    def two():
        found = api.get("foo")
        found["spec"]["minAvailable"] = 2
        return api.update(found)

    retry_conflict(two)
    processed(api, "foo")
    wait_for("one may go", lambda: api.get("foo")["status"]["disruptionsAllowed"] == 1)
    evict("pod-0")
    wait_gone(running_pods, "pod-0")
    # Back to three of three: with two left, none may go, until the budget itself does.
    api.patch("foo", {"spec": {"minAvailable": 3}}, MERGE_PATCH)
    processed(api, "foo")
    blocked("pod-1")
    api.delete("foo")
    wait_gone(api, "foo")
    evict("pod-1")
    wait_gone(running_pods, "pod-1")
