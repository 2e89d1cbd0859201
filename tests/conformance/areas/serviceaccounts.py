"""ServiceAccounts: their lives, their tokens, and the root certificate beside them."""

from api import STRATEGIC_PATCH
from harness import (
    conformance, equal, expect_error, newer, retry_conflict, unique, wait_for,
)

PREFIX = "[sig-auth] ServiceAccounts "


@conformance(PREFIX + "should run through the lifecycle of a ServiceAccount [Conformance]")
def should_run_through_the_lifecycle(t):
    accounts = t.api("v1", "serviceaccounts")
    name = "testserviceaccount"
    selector = {"labelSelector": "test-serviceaccount-static=true"}
    with accounts.watch(**selector) as watch:
        created = accounts.create({
            "metadata": {"name": name, "labels": {"test-serviceaccount-static": "true"}},
        })
        watch.until_type("ADDED", name)
        patch = {"automountServiceAccountToken": False}
        newer(accounts.patch(name, patch, STRATEGIC_PATCH), created)
        watch.until_type("MODIFIED", name)
        found = accounts.everywhere().list(**selector)["items"]
        mine = [item for item in found if item["metadata"]["namespace"] == t.namespace]
        equal([item["metadata"]["name"] for item in mine], [name])
        equal(mine[0]["automountServiceAccountToken"], False)
        accounts.delete_collection(**selector)
        watch.until_type("DELETED", name)


@conformance(PREFIX + "should guarantee kube-root-ca.crt exist in any namespace [Conformance]")
def should_guarantee_the_root_certificate(t):
    maps = t.api("v1", "configmaps")
    name = "kube-root-ca.crt"
    wait_for("it is there", lambda: maps.get(name))
    maps.delete(name)
    wait_for("it is there again", lambda: maps.get(name)["data"]["ca.crt"])

    def spoil():
        found = maps.get(name)
        found["data"] = {"ca.crt": ""}
        return maps.update(found)

    retry_conflict(spoil)
    wait_for("it is as it was", lambda: maps.get(name)["data"]["ca.crt"])


@conformance(PREFIX + "should update a ServiceAccount [Conformance]")
def should_update(t):
    accounts = t.api("v1", "serviceaccounts")
    name = "e2e-sa-" + unique()
    created = accounts.create({"metadata": {"name": name}})

    def automount():
        found = accounts.get(name)
        found["automountServiceAccountToken"] = True
        return accounts.update(found)

    updated = retry_conflict(automount)
    equal(updated["automountServiceAccountToken"], True)
    newer(updated, created)


@conformance(PREFIX + "should create a serviceAccountToken and ensure a successful TokenReview "
             "[Conformance]")
def should_create_a_token_that_a_review_accepts(t):
    accounts = t.api("v1", "serviceaccounts")
    name = "e2e-sa-" + unique()
    accounts.create({"metadata": {"name": name}})
    token = accounts.sub("token").create({"spec": {}}, name=name)["status"]["token"]
    assert token, "a token"
    reviews = t.cluster_api("authentication.k8s.io/v1", "tokenreviews")
    status = reviews.create({"spec": {"token": token}})["status"]
    equal(status.get("error"), None)
    equal(status["authenticated"], True)
    equal(status["user"]["username"], f"system:serviceaccount:{t.namespace}:{name}")
    expect_error(422, accounts.sub("token").create, {"spec": {"expirationSeconds": 1}}, name=name)
