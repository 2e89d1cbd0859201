"""What a test is given, and how tests are found.

A test is a function in `areas/`, decorated with the complete name of the conformance test whose steps
it replays. It gets a [`Test`][Test] with a namespace of its own, which goes afterwards.
"""

import base64
import random
import string
import time

from api import ApiError

# Every registered test, in the order of its files.
ALL = []

# A web server in two versions, and a shell: scripts/conformance.sh makes them.
IMAGE, IMAGE_NEW = "conformance.local/demo:v1", "conformance.local/demo:v2"
SHELL = "conformance.local/busybox:1"

# What a registered test needs beyond an API server with its controllers.
NODE = "node"
SLOW = "slow"
SERIAL = "serial"


def conformance(name, *needs):
    """Registers a function as the replay of the conformance test of this name."""

    def register(function):
        ALL.append(Case(name, function, frozenset(needs)))
        return function

    return register


class Case:
    """A registered test."""

    def __init__(self, name, function, needs):
        self.name = name
        self.function = function
        self.needs = needs
        self.area = function.__module__.rsplit(".", 1)[-1]

    @property
    def id(self):
        return f"tests/conformance/areas/{self.area}.py::{self.function.__name__}"


class Test:
    """What a test stands on: a cluster, a namespace of its own, and waiting."""

    def __init__(self, cluster, base):
        self.cluster = cluster
        self.base = base
        self.cleanups = []
        self.namespaces = []
        self._namespace = None

    @property
    def namespace(self):
        """The test's namespace; made when first asked for."""
        if self._namespace is None:
            self._namespace = self.new_namespace(self.base)
        return self._namespace

    def new_namespace(self, base, **labels):
        """Makes a namespace and waits for what every namespace has, as the suite's framework does."""
        name = f"{base}-{unique()}"[:63]
        labels = {
            "e2e-framework": base,
            "e2e-run": "ferry",
            "pod-security.kubernetes.io/enforce": "privileged",
            **labels,
        }
        namespaces = self.cluster.resource("v1", "namespaces")
        namespaces.create({"metadata": {"name": name, "labels": labels}})
        self.namespaces.append(name)
        for plural, wanted in [("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")]:
            resource = self.cluster.resource("v1", plural, name)
            with resource.watch(fieldSelector=f"metadata.name={wanted}") as watch:
                watch.until_type("ADDED", wanted)
        return name

    def api(self, api_version, plural, namespace=None):
        """A resource in the test's namespace, or in another."""
        return self.cluster.resource(api_version, plural, namespace or self.namespace)

    def cluster_api(self, api_version, plural):
        """A resource without namespaces, or one in all of them."""
        return self.cluster.resource(api_version, plural)

    def cleanup(self, function, *args, **kwargs):
        """Done after the test, the last first; what is gone already is no failure."""
        self.cleanups.append((function, args, kwargs))

    def finish(self):
        for function, args, kwargs in reversed(self.cleanups):
            try:
                function(*args, **kwargs)
            except ApiError as error:
                if error.code != 404:
                    raise
        for name in self.namespaces:
            try:
                self.cluster.resource("v1", "namespaces").delete(name)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise


def unique(length=8):
    """A word that nothing else is named by."""
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=length))


def wait_for(what, probe, seconds=60, pause=0.1):
    """Asks again until `probe` gives something true, as the suite's polls do; gives it back."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except ApiError as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds} s; last: {last}")


def wait_gone(resource, name, seconds=60):
    """Waits until an object is gone."""

    def gone():
        try:
            resource.get(name)
        except ApiError as error:
            return error.code == 404
        return False

    wait_for(f"{resource.path(name)} is gone", gone, seconds)


def running(pods, name, seconds=120):
    """Waits until a pod runs and is ready; gives it back."""

    def ready(event):
        status = event.object.get("status", {})
        return status.get("phase") == "Running" and condition(event.object, "Ready").get(
            "status") == "True"

    with pods.watch(fieldSelector=f"metadata.name={name}") as watch:
        return watch.until(ready, seconds, f"{name} runs")


def wait_count(resource, count, seconds=60, **query):
    """Waits until a list has so many items; gives them back."""
    found = []

    def enough():
        found[:] = resource.list(**query)["items"]
        return len(found) == count

    wait_for(f"{resource.path()} {query} has {count} items", enough, seconds)
    return list(found)


def expect_error(code, function, *args, reason=None, message=None, **kwargs):
    """The call must fail so; gives the error back."""
    try:
        answer = function(*args, **kwargs)
    except ApiError as error:
        assert error.code == code, f"wanted {code}, got {error}"
        if reason is not None:
            assert error.reason == reason, f"wanted {reason}, got {error.reason}: {error}"
        if message is not None:
            assert message in error.message, f"wanted {message!r} in: {error.message}"
        return error
    raise AssertionError(f"wanted {code}, but it went well: {answer}")


def equal(got, wanted, what=""):
    """Two values must be the same."""
    assert got == wanted, f"{what}: wanted {wanted!r}, got {got!r}"


def newer(after, before, what="the object"):
    """An object's resourceVersion must have grown, and be of the form that clients may compare."""
    versions = [item["metadata"]["resourceVersion"] for item in (before, after)]
    for version in versions:
        assert version.isdecimal() and version[0] != "0", f"resourceVersion {version!r}"
    assert int(versions[1]) > int(versions[0]), f"{what}: {versions[0]} then {versions[1]}"


def retry_conflict(function, tries=10):
    """Runs a read-modify-write again when another writer came between."""
    for _ in range(tries):
        try:
            return function()
        except ApiError as error:
            if error.code != 409 or error.reason != "Conflict":
                raise
    raise AssertionError("conflicts without end")


def names(items):
    """The names of objects, in their order."""
    return [item["metadata"]["name"] for item in items]


def b64(text):
    """Text as the JSON of bytes has it."""
    return base64.b64encode(text.encode()).decode()


def condition(thing, kind):
    """A condition of an object's status by its type, or an empty one."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})
