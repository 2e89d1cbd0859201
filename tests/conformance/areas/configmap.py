"""ConfigMaps and Secrets as objects: their lives, empty keys, and immutability."""

from api import STRATEGIC_PATCH
from harness import b64, conformance, equal, expect_error, newer, unique


@conformance("[sig-node] ConfigMap should run through a ConfigMap lifecycle [Conformance]")
def should_run_through_a_configmap_lifecycle(t):
    maps = t.api("v1", "configmaps")
    name = "test-configmap-" + unique()
    selector = {"labelSelector": "test-configmap-static=true"}
    with maps.everywhere().watch(**selector) as watch:
        created = maps.create({
            "metadata": {"name": name, "labels": {"test-configmap-static": "true"}},
            "data": {"valueName": "value"},
        })
        watch.until_type("ADDED", name)
        patch = {
            "metadata": {"labels": {"test-configmap": "patched"}},
            "data": {"valueName": "value1"},
        }
        newer(maps.patch(name, patch, STRATEGIC_PATCH), created)
        watch.until_type("MODIFIED", name)
        got = maps.get(name)
        equal(got["data"]["valueName"], "value1")
        equal(got["metadata"]["labels"]["test-configmap"], "patched")
        listed = maps.everywhere().list(**selector)["items"]
        mine = [item for item in listed if item["metadata"]["name"] == name]
        equal(len(mine), 1)
        equal(mine[0]["metadata"]["labels"]["test-configmap"], "patched")
        equal(mine[0]["data"]["valueName"], "value1")
        maps.delete_collection(**selector)
        watch.until_type("DELETED", name)
    equal(maps.list(**selector)["items"], [])


@conformance("[sig-node] ConfigMap should fail to create ConfigMap with empty key [Conformance]")
def should_fail_with_an_empty_key(t):
    body = {"metadata": {"name": "configmap-test-emptyKey-" + unique()}, "data": {"": "value-1"}}
    body["metadata"]["name"] = body["metadata"]["name"].lower()
    expect_error(422, t.api("v1", "configmaps").create, body, reason="Invalid")


@conformance("[sig-node] ConfigMap should update ConfigMap successfully [NodeConformance] "
             "[Conformance]")
def should_update_successfully(t):
    maps = t.api("v1", "configmaps")
    name = "configmap-test-" + unique()
    created = maps.create({"metadata": {"name": name}, "data": {"data-1": "value-1"}})
    newer(maps.update({"metadata": {"name": name}, "data": {"data": "value"}}), created)
    equal(maps.get(name)["data"], {"data": "value"})


@conformance("[sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]")
def should_be_immutable(t):
    immutable(t.api("v1", "configmaps"), lambda text: text)


@conformance("[sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]")
def secrets_should_be_immutable(t):
    immutable(t.api("v1", "secrets"), b64)


def immutable(resource, encode):
    """Data changes until `immutable` is set; afterwards only metadata does."""
    name = "immutable"
    current = resource.create({
        "metadata": {"name": name},
        "data": {f"data-{n}": encode(f"value-{n}") for n in (1, 2, 3)},
    })
    current["data"]["data-4"] = encode("value-4")
    current = resource.update(current)

    current["immutable"] = True
    current = resource.update(current)
    changed = {**current, "data": {**current["data"], "data-5": encode("value-5")}}
    expect_error(422, resource.update, changed, reason="Invalid")
    reverted = {key: value for key, value in current.items() if key != "immutable"}
    expect_error(422, resource.update, reverted, reason="Invalid")

    current["metadata"]["labels"] = {"label1": "value1"}
    equal(resource.update(current)["metadata"]["labels"], {"label1": "value1"})
    resource.delete(name)
    expect_error(404, resource.get, name)


@conformance("[sig-node] Secrets should fail to create secret due to empty secret key "
             "[Conformance]")
def should_fail_with_an_empty_secret_key(t):
    body = {"metadata": {"name": "secret-emptykey-test-" + unique()}, "data": {"": b64("value-1\n")}}
    expect_error(422, t.api("v1", "secrets").create, body, reason="Invalid")


@conformance("[sig-node] Secrets should patch a secret [Conformance]")
def should_patch_a_secret(t):
    secrets = t.api("v1", "secrets")
    name = "test-secret-" + unique()
    selector = {"labelSelector": "testsecret-constant=true"}
    created = secrets.create({
        "metadata": {"name": name, "labels": {"testsecret-constant": "true"}},
        "data": {"key": b64("value")},
        "type": "Opaque",
    })
    listed = secrets.everywhere().list(**selector)["items"]
    equal([item["data"]["key"] for item in listed if item["metadata"]["name"] == name],
          [b64("value")])
    patch = {
        "metadata": {"labels": {"testsecret": "true"}},
        "data": {"key": b64("value1")},
    }
    newer(secrets.patch(name, patch, STRATEGIC_PATCH), created)
    got = secrets.get(name)
    equal(got["data"]["key"], b64("value1"))
    equal(got["metadata"]["labels"]["testsecret"], "true")
    secrets.delete_collection(**selector)
    listed = secrets.everywhere().list(**selector)["items"]
    assert name not in [item["metadata"]["name"] for item in listed], "it is gone"
