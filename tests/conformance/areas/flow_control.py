"""Priority and fairness as objects."""

from harness import conformance, equal, newer, retry_conflict, unique
from operations import Walk, discovered

GROUP = "flowcontrol.apiserver.k8s.io"
PREFIX = "[sig-api-machinery] API priority and fairness "


def through_status(walk, kind):
    """get, patch and put of /status, with a condition of the test's own."""
    before = walk.get_sub("status", kind)
    status = walk.resource.sub("status")

    def entry(word):
        return {"type": word, "status": "True", "reason": "E2E", "message": f"{word} by e2e",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}

    patched = status.patch(walk.name, {"status": {"conditions": [entry("PatchStatusFailed")]}})
    newer(patched, before)
    equal([c["type"] for c in patched["status"]["conditions"]], ["PatchStatusFailed"])

    def once():
        found = walk.resource.get(walk.name)
        found["status"]["conditions"] = [entry("StatusUpdate")]
        return status.update(found)

    # The server has a condition of its own to set, and may come between.
    updated = retry_conflict(once)
    equal([c["type"] for c in updated["status"]["conditions"]], ["StatusUpdate"])
    newer(updated, patched)


def operations(t, plural, kind, make):
    discovered(t, GROUP, "v1", plural, f"{plural}/status")
    word = unique()
    resource = t.cluster_api(f"{GROUP}/v1", plural)
    selector = {"labelSelector": f"special-label={word}"}
    t.cleanup(resource.delete_collection, **selector)
    walk = Walk(resource, lambda _: {
        "metadata": {"generateName": "e2e-test-", "labels": {"special-label": word}},
        "spec": make(),
    }, **selector)
    walk.create()
    walk.change(walk.read())
    through_status(walk, kind)
    walk.delete()


@conformance(PREFIX + "should support FlowSchema API operations [Conformance]")
def should_support_flowschemas(t):
    operations(t, "flowschemas", "FlowSchema", lambda: {
        "matchingPrecedence": 10000,
        "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{
            "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    })


@conformance(PREFIX + "should support PriorityLevelConfiguration API operations [Conformance]")
def should_support_prioritylevelconfigurations(t):
    operations(t, "prioritylevelconfigurations", "PriorityLevelConfiguration", lambda: {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
    })
