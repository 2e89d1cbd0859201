"""Events, by their two groups."""

from api import STRATEGIC_PATCH
from harness import conformance, equal, newer, wait_count

WHEN = "2017-09-19T13:49:16.000000Z"


def event(t, name, label):
    return {
        "metadata": {"name": name, "labels": {label: "true"}},
        "regarding": {"namespace": t.namespace},
        "eventTime": WHEN,
        "note": f"This is {name}",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
    }


def core_event(t, name, label):
    return {
        "metadata": {"name": name, "labels": {label: "true"}},
        "message": f"This is {name}",
        "reason": "Test",
        "type": "Normal",
        "count": 1,
        "source": {"component": "test-source"},
        "involvedObject": {"namespace": t.namespace},
        "reportingComponent": "test-controller",
        "reportingInstance": "test-node",
        "action": "Do",
        "eventTime": WHEN,
    }


def exists(resource, t, name):
    found = resource.list(labelSelector="testevent-constant=true")["items"]
    wanted = (t.namespace, name)
    return wanted in [(e["metadata"]["namespace"], e["metadata"]["name"]) for e in found]


def without_versions(thing):
    meta = {k: v for k, v in thing["metadata"].items()
            if k not in ("resourceVersion", "managedFields")}
    return {**thing, "metadata": meta}


@conformance("[sig-instrumentation] Events API should ensure that an event can be fetched, patched, "
             "deleted, and listed [Conformance]")
def should_fetch_patch_delete_and_list(t):
    events, core = t.api("events.k8s.io/v1", "events"), t.api("v1", "events")
    name = "event-test"
    events.create(event(t, name, "testevent-constant"))
    assert exists(events.everywhere(), t, name), "in all namespaces"
    assert exists(events, t, name), "in the namespace"
    for resource, selector in [(core, "source=test-controller"),
                               (events, "reportingController=test-controller")]:
        found = resource.list(fieldSelector=selector)["items"]
        equal([e["metadata"]["name"] for e in found], [name], selector)

    before = events.get(name)
    before["series"] = {"count": 2, "lastObservedTime": "2017-09-19T13:49:11.000000Z"}
    newer(events.patch(name, {"series": before["series"]}, STRATEGIC_PATCH), before)
    after = events.get(name)
    equal(without_versions(after), without_versions(before), "the patched event")

    after["series"] = {"count": 100, "lastObservedTime": WHEN}
    updated = events.update(after)
    newer(updated, after)
    equal(without_versions(events.get(name)), without_versions(after), "the updated event")

    events.delete(name)
    assert not exists(events.everywhere(), t, name), "gone from all namespaces"
    assert not exists(events, t, name), "gone from the namespace"


@conformance("[sig-instrumentation] Events API should delete a collection of events [Conformance]")
def should_delete_a_collection(t):
    collection(t.api("events.k8s.io/v1", "events"), lambda name: event(t, name, "testevent-set"))


@conformance("[sig-instrumentation] Events should delete a collection of events [Conformance]")
def should_delete_a_collection_of_core_events(t):
    collection(t.api("v1", "events"), lambda name: core_event(t, name, "testevent-set"))


def collection(events, make):
    for number in (1, 2, 3):
        events.create(make(f"test-event-{number}"))
    wait_count(events, 3, labelSelector="testevent-set=true")
    events.delete_collection(labelSelector="testevent-set=true")
    wait_count(events, 0, labelSelector="testevent-set=true")


@conformance("[sig-instrumentation] Events should manage the lifecycle of an event [Conformance]")
def should_manage_the_lifecycle_of_a_core_event(t):
    events = t.api("v1", "events")
    name = "event-test"
    created = events.create(core_event(t, name, "testevent-constant"))
    assert exists(events.everywhere(), t, name), "in all namespaces"
    message = "This is a test event - patched"
    patched = events.patch(name, {"message": message}, STRATEGIC_PATCH)
    newer(patched, created)
    equal(events.get(name)["message"], message)

    patched["series"] = {"count": 100, "lastObservedTime": "2014-01-05T00:00:00.000000Z"}
    updated = events.update(patched)
    newer(updated, patched)
    equal(events.get(name)["series"], patched["series"])

    events.delete(name)
    assert not exists(events.everywhere(), t, name), "gone from all namespaces"
