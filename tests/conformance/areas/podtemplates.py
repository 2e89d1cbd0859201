"""PodTemplates."""

from api import STRATEGIC_PATCH
from harness import conformance, equal, expect_error, newer, retry_conflict, wait_count

PREFIX = "[sig-node] PodTemplates "


def template(name, label):
    containers = [{"name": "nginx", "image": "nginx"}]
    return {
        "metadata": {"name": name, "labels": {label: "true"}},
        "template": {"spec": {"containers": containers}},
    }


@conformance(PREFIX + "should run the lifecycle of PodTemplates [Conformance]")
def should_run_the_lifecycle(t):
    templates = t.api("v1", "podtemplates")
    selector = {"labelSelector": "podtemplate-static=true"}
    name = "nginx-pod-template-" + t.namespace[-8:]
    equal(templates.everywhere().list(**selector)["items"], [])
    created = templates.create(template(name, "podtemplate-static"))
    equal(templates.get(name)["metadata"]["name"], name)
    patch = {"metadata": {"labels": {"podtemplate": "patched"}}}
    newer(templates.patch(name, patch, STRATEGIC_PATCH), created)
    equal(templates.get(name)["metadata"]["labels"]["podtemplate"], "patched")
    templates.delete(name)
    equal(templates.everywhere().list(**selector)["items"], [])
    expect_error(404, templates.get, name, reason="NotFound")


@conformance(PREFIX + "should delete a collection of pod templates [Conformance]")
def should_delete_a_collection(t):
    templates = t.api("v1", "podtemplates")
    for number in (1, 2, 3):
        templates.create(template(f"test-podtemplate-{number}", "podtemplate-set"))
    wait_count(templates, 3, labelSelector="podtemplate-set=true")
    templates.delete_collection(labelSelector="podtemplate-set=true")
    wait_count(templates, 0, labelSelector="podtemplate-set=true")


@conformance(PREFIX + "should replace a pod template [Conformance]")
def should_replace(t):
    templates = t.api("v1", "podtemplates")
    name = "podtemplate-" + t.namespace[-8:]
    created = templates.create(template(name, "podtemplate"))

    def annotate():
        found = templates.get(name)
        found["metadata"]["annotations"] = {"updated": "true"}
        return templates.update(found)

    updated = retry_conflict(annotate)
    equal(updated["metadata"]["annotations"]["updated"], "true")
    newer(updated, created)
