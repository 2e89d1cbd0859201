"""ReplicationController: what keeps pods from being made is said in the status."""

from harness import condition, conformance, equal, retry_conflict, wait_for

LABELS = {"name": "condition-test"}


@conformance("[sig-apps] ReplicationController should surface a failure condition on a common issue "
             "like exceeded quota [Conformance]")
def should_surface_a_failure(t):
    quotas, owners = t.api("v1", "resourcequotas"), t.api("v1", "replicationcontrollers")
    quotas.create({"metadata": {"name": "condition-test"}, "spec": {"hard": {"pods": "2"}}})
    wait_for("the quota counts", lambda: quotas.get("condition-test").get("status", {}).get("hard"))
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [
        {"name": "pause", "image": "registry.k8s.io/pause:3.10"}]}}
    owners.create({"metadata": {"name": "condition-test"}, "spec": {
        "replicas": 3, "selector": LABELS, "template": template}})

    def failure():
        return condition(owners.get("condition-test"), "ReplicaFailure")

    found = wait_for("the failure is said", failure)
    equal((found["status"], found["reason"]), ("True", "FailedCreate"))
    assert "exceeded quota" in found["message"], found["message"]

    def scale_down():
        body = owners.get("condition-test")
        body["spec"]["replicas"] = 2
        return owners.update(body)

    retry_conflict(scale_down)
    wait_for("the failure is gone", lambda: not failure())
