"""LimitRange: what pods leave out is filled in, and what is out of bounds refused."""

from api import ApiError
from harness import conformance, equal, expect_error, names, retry_conflict, unique, wait_for, wait_gone

PREFIX = "[sig-scheduling] LimitRange should "
IMAGE = "registry.k8s.io/pause:3.10"


def amounts(cpu, memory, storage):
    return {"cpu": cpu, "memory": memory, "ephemeral-storage": storage}


def limit_range(name, least, most, default, request):
    item = {"type": "Container", "min": least, "max": most, "default": default,
            "defaultRequest": request}
    return {"metadata": {"name": name}, "spec": {"limits": [item]}}


def pod(name, requests=None, limits=None):
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"metadata": {"name": name},
            "spec": {"containers": [{"name": "pause", "image": IMAGE, "resources": resources}]}}


def resources(thing):
    return thing["spec"]["containers"][0]["resources"]


@conformance(PREFIX + "create a LimitRange with defaults and ensure pod has those defaults applied. "
             "[Conformance]")
def should_apply_defaults(t):
    ranges, pods = t.api("v1", "limitranges"), t.api("v1", "pods")
    least, most = amounts("50m", "100Mi", "100Gi"), amounts("500m", "500Mi", "500Gi")
    default, request = amounts("500m", "500Mi", "500Gi"), amounts("100m", "200Mi", "200Gi")
    name = f"limit-range-{unique()}"
    with ranges.watch() as watch:
        made = ranges.create(limit_range(name, least, most, default, request))
        watch.expect("ADDED", name)
        equal(made["spec"], limit_range(name, least, most, default, request)["spec"])
        equal(resources(pods.create(pod("no-defaults"))), {"requests": request, "limits": default})
        partial = amounts("300m", "150Mi", "150Gi")
        found = resources(pods.create(pod("partial", partial, {"cpu": "300m"})))
        equal(found, {"requests": partial, "limits": {**default, "cpu": "300m"}})
        expect_error(403, pods.create, pod("small", amounts("10m", "50Mi", "50Gi")),
                     message="minimum cpu usage per Container is 50m, but request is 10m")
        expect_error(403, pods.create, pod("large", None, amounts("600m", "600Mi", "600Gi")),
                     message="maximum cpu usage per Container is 500m, but limit is 600m")

        lower = amounts("9m", "49Mi", "49Gi")

        def change():
            body = ranges.get(name)
            body["spec"]["limits"][0]["min"] = lower
            return ranges.update(body)

        retry_conflict(change)
        watch.expect("MODIFIED", name)
        equal(ranges.get(name)["spec"]["limits"][0]["min"], lower)
        wait_for("a smaller pod is taken", lambda: taken(
            pods, pod("small", amounts("10m", "50Mi", "50Gi"))), seconds=30)
        expect_error(403, pods.create, pod("large", None, amounts("600m", "600Mi", "600Gi")))
        ranges.delete(name)
        watch.expect("DELETED", name)
    wait_gone(ranges, name)
    wait_for("a larger pod is taken", lambda: taken(
        pods, pod("large", None, amounts("600m", "600Mi", "600Gi"))), seconds=30)


def taken(pods, body):
    try:
        return pods.create(body)
    except ApiError as error:
        equal(error.code, 403)
        return None


@conformance(PREFIX + "list, patch and delete a LimitRange by collection [Conformance]")
def should_be_deleted_by_collection(t):
    label = unique()
    selector = {"labelSelector": f"e2e-test={label}"}
    other = t.new_namespace("limitrange")
    least, most = amounts("50m", "100Mi", "100Gi"), amounts("500m", "500Mi", "500Gi")
    body = limit_range("range", least, most, most, amounts("100m", "200Mi", "200Gi"))
    body["metadata"]["labels"] = {"e2e-test": label}
    ranges, others = t.api("v1", "limitranges"), t.api("v1", "limitranges", other)
    for resource in (ranges, others):
        resource.create(body)
    equal(names(ranges.everywhere().list(**selector)["items"]), ["range", "range"])
    item = {**body["spec"]["limits"][0], "min": amounts("40m", "80Mi", "80Gi")}
    patch = {"metadata": {"labels": {"range": "patched"}}, "spec": {"limits": [item]}}
    patched = ranges.patch("range", patch)
    equal(patched["metadata"]["labels"]["range"], "patched")
    equal(patched["spec"]["limits"][0]["min"], item["min"])
    ranges.delete_collection(labelSelector="range=patched")
    wait_gone(ranges, "range")
    equal(len(ranges.everywhere().list(**selector)["items"]), 1)
