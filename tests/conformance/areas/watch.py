"""Watches: what they see, from where they start, and in which order."""

import random
import threading

from harness import conformance, equal, newer, retry_conflict

LABEL = "watch-this-configmap"
PREFIX = "[sig-api-machinery] Watchers "


def config_map(name, label):
    return {"metadata": {"name": name, "labels": {LABEL: label}}}


def mutate(maps, name, change):
    """Reads a ConfigMap, changes it, writes it; gives what the server answered."""

    def once():
        found = maps.get(name)
        change(found)
        return maps.update(found)

    return retry_conflict(once)


def mutation(number):
    def change(found):
        found.setdefault("data", {})["mutation"] = str(number)

    return change


def label(value):
    def change(found):
        found["metadata"]["labels"][LABEL] = value

    return change


def expect(watch, kind, wanted=None):
    """The next event is of this kind and shows this object, to the last field."""
    got = watch.expect(kind)
    if wanted is not None:
        equal(got, wanted, f"the object of {kind}")
    return got


@conformance(PREFIX + "should observe add, update, and delete watch notifications on configmaps "
             "[Conformance]")
def should_observe_add_update_and_delete(t):
    maps = t.api("v1", "configmaps")
    first = maps.watch(labelSelector=f"{LABEL} in (multiple-watchers-A)")
    second = maps.watch(labelSelector=f"{LABEL} in (multiple-watchers-B)")
    both = maps.watch(labelSelector=f"{LABEL} in (multiple-watchers-A,multiple-watchers-B)")
    with first, second, both:
        created = maps.create(config_map("e2e-watch-test-configmap-a", "multiple-watchers-A"))
        name = created["metadata"]["name"]
        for watch in (first, both):
            expect(watch, "ADDED", created)
        before = created
        for number in (1, 2):
            changed = mutate(maps, name, mutation(number))
            newer(changed, before)
            for watch in (first, both):
                expect(watch, "MODIFIED", changed)
            before = changed
        maps.delete(name)
        for watch in (first, both):
            newer(expect(watch, "DELETED"), before, "a deletion's event")
        second.nothing(1)

        created = maps.create(config_map("e2e-watch-test-configmap-b", "multiple-watchers-B"))
        for watch in (second, both):
            expect(watch, "ADDED", created)
        maps.delete(created["metadata"]["name"])
        for watch in (second, both):
            newer(expect(watch, "DELETED"), created, "a deletion's event")
        first.nothing(1)


@conformance(PREFIX + "should be able to start watching from a specific resource version "
             "[Conformance]")
def should_start_watching_from_a_specific_resource_version(t):
    maps = t.api("v1", "configmaps")
    name = "e2e-watch-test-resource-version"
    maps.create(config_map(name, "from-resource-version"))
    first = mutate(maps, name, mutation(1))
    second = mutate(maps, name, mutation(2))
    maps.delete(name)
    from_here = first["metadata"]["resourceVersion"]
    with maps.watch(resourceVersion=from_here,
                    labelSelector=f"{LABEL}=from-resource-version") as watch:
        expect(watch, "MODIFIED", second)
        newer(expect(watch, "DELETED"), second)


@conformance(PREFIX + "should be able to restart watching from the last resource version observed "
             "by the previous watch [Conformance]")
def should_restart_watching_from_the_last_version_observed(t):
    maps = t.api("v1", "configmaps")
    name = "e2e-watch-test-watch-closed"
    selector = f"{LABEL}=watch-closed-and-restarted"
    with maps.watch(labelSelector=selector) as watch:
        created = maps.create(config_map(name, "watch-closed-and-restarted"))
        first = mutate(maps, name, mutation(1))
        expect(watch, "ADDED", created)
        last = expect(watch, "MODIFIED", first)
    second = mutate(maps, name, mutation(2))
    with maps.watch(resourceVersion=last["metadata"]["resourceVersion"],
                    labelSelector=selector) as watch:
        maps.delete(name)
        expect(watch, "MODIFIED", second)
        expect(watch, "DELETED")


@conformance(PREFIX + "should observe an object deletion if it stops meeting the requirements of "
             "the selector [Conformance]")
def should_observe_a_deletion_when_the_selector_no_longer_matches(t):
    maps = t.api("v1", "configmaps")
    name, value = "e2e-watch-test-label-changed", "label-changed-and-restored"
    with maps.watch(labelSelector=f"{LABEL} in ({value})") as watch:
        created = maps.create(config_map(name, value))
        first = mutate(maps, name, mutation(1))
        mutate(maps, name, label("wrong-value"))
        expect(watch, "ADDED", created)
        expect(watch, "MODIFIED", first)
        expect(watch, "DELETED")
        mutate(maps, name, mutation(2))
        # The suite waits ten seconds here.
        watch.nothing(10)
        restored = mutate(maps, name, label(value))
        third = mutate(maps, name, mutation(3))
        maps.delete(name)
        expect(watch, "ADDED", restored)
        expect(watch, "MODIFIED", third)
        expect(watch, "DELETED")


@conformance(PREFIX + "should receive events on concurrent watches in same order [Conformance]")
def should_receive_events_on_concurrent_watches_in_same_order(t):
    maps = t.api("v1", "configmaps")
    version = maps.list()["metadata"]["resourceVersion"]
    stop = threading.Event()
    failures = []
    producer = threading.Thread(target=produce, args=(maps, stop, failures))
    producer.start()
    watches = []
    try:
        for _ in range(100):
            watches.append(maps.watch(resourceVersion=version))
            version = watches[0].next(10).object["metadata"]["resourceVersion"]
            for watch in watches[1:]:
                equal(watch.next(10).object["metadata"]["resourceVersion"], version, "the order")
    finally:
        stop.set()
        producer.join()
        for watch in watches:
            watch.close()
    equal(failures, [], "the producer of events")


def produce(maps, stop, failures):
    """Creates, updates and deletes ConfigMaps until told to stop."""
    existing, made = [], 0
    while not stop.wait(0.005):
        deed = random.choice(["create", "update", "delete"]) if existing else "create"
        try:
            if deed == "create":
                maps.create({"metadata": {"name": f"cm-{made}"}})
                existing.append(f"cm-{made}")
                made += 1
            elif deed == "update":
                maps.update({"metadata": {"name": random.choice(existing)}})
            else:
                maps.delete(existing.pop(random.randrange(len(existing))))
        except Exception as error:
            failures.append(error)
            return
