"""ResourceQuota: what a namespace uses is counted, charged before it is made, and given back."""

from harness import conformance, equal, expect_error, retry_conflict, unique, wait_for, wait_gone

PREFIX = "[sig-api-machinery] ResourceQuota should "
LIFE = PREFIX + "create a ResourceQuota and capture the life of a "
IMAGE = "registry.k8s.io/pause:3.10"

# What a test's quota allows, wide enough for all but what the test is about.
HARD = {
    "pods": "5", "services": "10", "replicationcontrollers": "10", "resourcequotas": "1",
    "cpu": "1", "memory": "500Mi", "configmaps": "10", "secrets": "10",
    "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
    "services.nodeports": "1", "services.loadbalancers": "1",
    "requests.example.com/dongle": "3", "count/replicasets.apps": "5",
}


def quotas(t):
    return t.api("v1", "resourcequotas")


def make_quota(t, name="test-quota", **spec):
    """Makes a quota and waits until it has counted something."""
    spec.setdefault("hard", HARD)
    quotas(t).create({"metadata": {"name": name}, "spec": spec})
    wait_for("the quota counts", lambda: set(used(t, name)) == set(spec["hard"]))
    return used(t, name)


def used(t, name="test-quota"):
    return quotas(t).get(name).get("status", {}).get("used", {})


def until_used(t, name="test-quota", **wanted):
    wanted = {key.replace("__", "/").replace("_", "."): value for key, value in wanted.items()}

    def is_so():
        found = used(t, name)
        return all(found.get(key) == value for key, value in wanted.items())

    wait_for(f"{name} says {wanted}", is_so)


def pod(name, requests=None, limits=None, **spec):
    resources = {"requests": requests or {}, "limits": limits or {}}
    container = {"name": "pause", "image": IMAGE, "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def delete_pod(t, name):
    t.api("v1", "pods").delete(name, {"gracePeriodSeconds": 0})
    wait_gone(t.api("v1", "pods"), name)


def template():
    return {"metadata": {"labels": {"name": "test"}},
            "spec": {"containers": [{"name": "pause", "image": IMAGE}]}}


def life(t, resource, body, counted):
    """An object is counted when it is there and not when it is gone."""
    before = int(make_quota(t)[counted])
    name = resource.create(body)["metadata"]["name"]
    wait_for("it is counted", lambda: used(t)[counted] == str(before + 1))
    resource.delete(name)
    wait_for("it is given back", lambda: used(t)[counted] == str(before))


@conformance(PREFIX + "create a ResourceQuota and ensure its status is promptly calculated. "
             "[Conformance]")
def should_calculate_its_status_promptly(t):
    found = make_quota(t)
    equal(found["resourcequotas"], "1")
    equal(quotas(t).get("test-quota")["status"]["hard"], HARD)


@conformance(LIFE + "configMap. [Conformance]")
def should_capture_a_configmap(t):
    life(t, t.api("v1", "configmaps"), {"metadata": {"name": "m"}, "data": {"a": "b"}}, "configmaps")


@conformance(LIFE + "secret. [Conformance]")
def should_capture_a_secret(t):
    life(t, t.api("v1", "secrets"), {"metadata": {"name": "s"}, "data": {}}, "secrets")


@conformance(LIFE + "replica set. [Conformance]")
def should_capture_a_replica_set(t):
    body = {"metadata": {"name": "r"}, "spec": {"replicas": 0, "template": template(),
            "selector": {"matchLabels": {"name": "test"}}}}
    life(t, t.api("apps/v1", "replicasets"), body, "count/replicasets.apps")


@conformance(LIFE + "replication controller. [Conformance]")
def should_capture_a_replication_controller(t):
    body = {"metadata": {"name": "r"}, "spec": {"replicas": 0, "template": template(),
            "selector": {"name": "test"}}}
    life(t, t.api("v1", "replicationcontrollers"), body, "replicationcontrollers")


@conformance(LIFE + "service. [Conformance]")
def should_capture_a_service(t):
    make_quota(t)
    services = t.api("v1", "services")

    def service(name, kind):
        return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}}

    services.create(service("plain", "ClusterIP"))
    services.create(service("node-port", "NodePort"))
    until_used(t, services="2", services_nodeports="1", services_loadbalancers="0")
    expect_error(403, services.create, service("balancer", "LoadBalancer"),
                 message="exceeded quota: test-quota, requested: services.nodeports=1")
    services.delete("plain")
    services.delete("node-port")
    until_used(t, services="0", services_nodeports="0", services_loadbalancers="0")


@conformance(LIFE + "pod. [Conformance]")
def should_capture_a_pod(t):
    make_quota(t)
    pods = t.api("v1", "pods")
    dongle = "example.com/dongle"
    asked = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", dongle: "2"}
    made = pods.create(pod("first", asked, {dongle: "2"}))
    until_used(t, pods="1", cpu="500m", memory="252Mi", requests_example_com__dongle="2")
    equal(used(t)["ephemeral-storage"], "30Gi")
    for more in [{"cpu": "600m", "memory": "100Mi"}, {"cpu": "10m", "memory": "100Mi", dongle: "2"}]:
        limits = {dongle: "2"} if dongle in more else {}
        expect_error(403, pods.create, pod("second", more, limits), message="exceeded quota")

    def change():
        body = pods.get("first")
        body["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"
        return expect_error(422, pods.update, body)

    retry_conflict(change)
    until_used(t, pods="1", cpu="500m")
    delete_pod(t, made["metadata"]["name"])
    until_used(t, pods="0", cpu="0", memory="0", requests_example_com__dongle="0")


@conformance(PREFIX + "verify ResourceQuota with best effort scope. [Conformance]")
def should_count_best_effort_pods(t):
    for name, scope in [("best-effort", "BestEffort"), ("not-best-effort", "NotBestEffort")]:
        make_quota(t, name, hard={"pods": "5"}, scopes=[scope])
    pods = t.api("v1", "pods")
    pods.create(pod("plain"))
    until_used(t, "best-effort", pods="1")
    until_used(t, "not-best-effort", pods="0")
    delete_pod(t, "plain")
    until_used(t, "best-effort", pods="0")
    amounts = {"cpu": "500m", "memory": "200Mi"}
    pods.create(pod("burstable", amounts, {"cpu": "1", "memory": "400Mi"}))
    until_used(t, "not-best-effort", pods="1")
    until_used(t, "best-effort", pods="0")
    delete_pod(t, "burstable")
    until_used(t, "not-best-effort", pods="0")


@conformance(PREFIX + "verify ResourceQuota with terminating scopes. [Conformance]")
def should_count_terminating_pods(t):
    hard = {"pods": "5", "requests.cpu": "1", "limits.cpu": "2", "requests.memory": "500Mi",
            "limits.memory": "1Gi"}
    for name, scope in [("terminating", "Terminating"), ("not-terminating", "NotTerminating")]:
        make_quota(t, name, hard=hard, scopes=[scope])
    pods = t.api("v1", "pods")
    requests, limits = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    for name, spec, counts, other in [
        ("stays", {}, "not-terminating", "terminating"),
        ("ends", {"activeDeadlineSeconds": 3600}, "terminating", "not-terminating"),
    ]:
        pods.create(pod(name, requests, limits, **spec))
        until_used(t, counts, pods="1", requests_cpu="500m", limits_memory="400Mi")
        until_used(t, other, pods="0", requests_cpu="0")
        delete_pod(t, name)
        until_used(t, counts, pods="0", requests_cpu="0", limits_memory="0")


@conformance(PREFIX + "be able to update and delete ResourceQuota. [Conformance]")
def should_update_and_delete(t):
    quotas(t).create({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}})
    equal(quotas(t).get("q")["spec"]["hard"], {"cpu": "1", "memory": "500Mi"})

    def change():
        body = quotas(t).get("q")
        body["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
        return quotas(t).update(body)

    equal(retry_conflict(change)["spec"]["hard"], {"cpu": "2", "memory": "1Gi"})
    equal(quotas(t).get("q")["spec"]["hard"], {"cpu": "2", "memory": "1Gi"})
    quotas(t).delete("q")
    expect_error(404, quotas(t).get, "q", reason="NotFound")


@conformance(PREFIX + "manage the lifecycle of a ResourceQuota [Conformance]")
def should_manage_its_life(t):
    label = f"e2e-{unique()}"
    selector = {"labelSelector": f"test={label}"}
    quotas(t).create({"metadata": {"name": label, "labels": {"test": label}},
                      "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}})
    equal(quotas(t).get(label)["spec"]["hard"], {"cpu": "1", "memory": "500Mi"})
    equal(len(quotas(t).everywhere().list(**selector)["items"]), 1)
    patch = {"metadata": {"labels": {label: "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = quotas(t).patch(label, patch)
    equal(patched["metadata"]["labels"][label], "patched")
    equal(patched["spec"]["hard"]["memory"], "750Mi")
    quotas(t).delete_collection(labelSelector=f"{label}=patched")
    wait_gone(quotas(t), label)


@conformance(PREFIX + "apply changes to a resourcequota status [Conformance]")
def should_apply_changes_to_its_status(t):
    hard, more = {"cpu": "500m", "memory": "500Mi"}, {"cpu": "1", "memory": "1Gi"}
    name = f"e2e-rq-status-{unique()}"
    quotas(t).create({"metadata": {"name": name}, "spec": {"hard": hard}})

    def says(wanted):
        wait_for(f"the status says {wanted}",
                 lambda: quotas(t).get(name).get("status", {}).get("hard") == wanted)

    says(hard)

    def change():
        body = quotas(t).get(name)
        body["status"]["hard"] = more
        return quotas(t).sub("status").update(body)

    equal(retry_conflict(change)["status"]["hard"], more)
    # The quota's keeper says again what the spec does.
    says(hard)
    patched = quotas(t).patch(name, {"spec": {"hard": more}})
    equal(patched["spec"]["hard"], more)
    says(more)
    equal(quotas(t).sub("status").get(name)["status"]["hard"], more)
    patched = quotas(t).sub("status").patch(name, {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}})
    equal(patched["status"]["hard"], {"cpu": "2", "memory": "2Gi"})
    equal(patched["spec"]["hard"], more, "the spec stays")
    says(more)
