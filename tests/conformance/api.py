"""The wire to a cluster: requests, errors, resources and watches as plain JSON.

Stands on the connection pool of PyPI's `kubernetes` client, so TLS, certificates and kubeconfig are
that client's. Bodies stay plain dictionaries: what the server answers is judged, not what a model
makes of it. Watches are read by a thread each, so that no event waits for its reader.
"""

import json
import queue
import threading
from urllib.parse import quote, urlencode

import kubernetes
import urllib3

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# A watch that nobody closes ends by itself.
WATCH_SECONDS = 300


class ApiError(Exception):
    """An answer that is not 2xx, as the Status that it carried."""

    def __init__(self, code, status, text):
        super().__init__(f"{code}: {text}")
        self.code = code
        self.status = status if isinstance(status, dict) else {}
        self.text = text

    @property
    def reason(self):
        return self.status.get("reason", "")

    @property
    def message(self):
        return self.status.get("message", self.text)

    @property
    def causes(self):
        return self.status.get("details", {}).get("causes", [])


class Answer:
    """A 2xx answer: its code, headers and body."""

    def __init__(self, code, headers, data):
        self.code = code
        self.headers = headers
        self.data = data

    @property
    def json(self):
        return json.loads(self.data)


class Connection:
    """A cluster as one kubeconfig shows it."""

    def __init__(self, kubeconfig, headers=()):
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(kubeconfig, client_configuration=configuration)
        configuration.connection_pool_maxsize = 64
        self.kubeconfig = kubeconfig
        self.host = configuration.host
        self.pool = kubernetes.client.ApiClient(configuration).rest_client.pool_manager
        self.headers = list(headers)

    def impersonating(self, user, groups=(), uid=None):
        """The same cluster as another user sees it."""
        headers = [("Impersonate-User", user)] + [("Impersonate-Group", group) for group in groups]
        if uid:
            headers.append(("Impersonate-Uid", uid))
        return Connection(self.kubeconfig, headers)

    def open(self, method, path, query=None, body=None, headers=None):
        query = {key: value for key, value in (query or {}).items() if value is not None}
        url = self.host + path + ("?" + urlencode(query) if query else "")
        sent = urllib3.HTTPHeaderDict(self.headers)
        sent.update({"Accept": "application/json", "User-Agent": "conformance/v1"})
        if body is not None:
            sent["Content-Type"] = "application/json"
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
        sent.update(headers or {})
        response = self.pool.request(
            method, url, body=body, headers=sent, preload_content=False, retries=False
        )
        if 200 <= response.status < 300:
            return response
        data = response.read().decode(errors="replace")
        try:
            status = json.loads(data)
        except ValueError:
            status = {}
        raise ApiError(response.status, status, data)

    def request(self, method, path, query=None, body=None, headers=None):
        response = self.open(method, path, query, body, headers)
        return Answer(response.status, response.headers, response.read())

    def get(self, path, **query):
        return self.request("GET", path, query).json

    def resource(self, api_version, plural, namespace=None):
        return Resource(self, api_version, plural, namespace)


class Resource:
    """One resource of the API, in one namespace, in all, or without any."""

    def __init__(self, connection, api_version, plural, namespace=None, sub=None):
        self.connection = connection
        self.api_version = api_version
        self.plural = plural
        self.namespace = namespace
        self.sub_path = f"/{sub}" if sub else ""

    def sub(self, name):
        """A subresource: `status`, `scale` …"""
        return Resource(self.connection, self.api_version, self.plural, self.namespace, name)

    def everywhere(self):
        """The same in all namespaces."""
        return Resource(self.connection, self.api_version, self.plural)

    def path(self, name=None):
        root = "/api/" if "/" not in self.api_version else "/apis/"
        path = root + self.api_version
        if self.namespace:
            path += f"/namespaces/{self.namespace}"
        path += f"/{self.plural}"
        return path if name is None else f"{path}/{quote(name)}{self.sub_path}"

    def create(self, body, name=None, **query):
        return self.connection.request("POST", self.path(name), query, body).json

    def get(self, name, **query):
        return self.connection.get(self.path(name), **query)

    def list(self, **query):
        return self.connection.get(self.path(), **query)

    def update(self, body, **query):
        name = body["metadata"]["name"]
        return self.connection.request("PUT", self.path(name), query, body).json

    def patch(self, name, body, kind=MERGE_PATCH, **query):
        headers = {"Content-Type": kind}
        return self.connection.request("PATCH", self.path(name), query, body, headers).json

    def apply(self, name, body, manager="conformance", **query):
        query["fieldManager"] = manager
        return self.patch(name, body, APPLY_PATCH, **query)

    def delete(self, name, body=None, **query):
        return self.connection.request("DELETE", self.path(name), query, body).json

    def delete_collection(self, body=None, **query):
        return self.connection.request("DELETE", self.path(), query, body).json

    def watch(self, **query):
        return Watch(self, query)


class Event:
    """One event of a watch."""

    def __init__(self, kind, thing):
        self.type = kind
        self.object = thing

    def __repr__(self):
        meta = self.object.get("metadata", {})
        return f"{self.type} {meta.get('name')}@{meta.get('resourceVersion')}"


class Watch:
    """A watch, open from its making on. Use it as a context."""

    def __init__(self, resource, query):
        query.setdefault("timeoutSeconds", WATCH_SECONDS)
        query["watch"] = "true"
        self.events = queue.Queue()
        self.seen = []
        self.response = resource.connection.open("GET", resource.path(), query)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        shutdown = getattr(self.response, "shutdown", None)
        if shutdown is not None:
            try:
                shutdown()
            except (OSError, ValueError, RuntimeError):
                pass  # it has ended already

    def _read(self):
        rest = b""
        try:
            for chunk in self.response.stream(None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        event = json.loads(line)
                        self.events.put(Event(event["type"], event["object"]))
        except Exception as error:  # the reader hears of it; a thread has nobody else to tell
            self.events.put(error)
        self.events.put(None)

    def next(self, seconds=60):
        """The next event; fails when none comes."""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no event within {seconds} s; seen: {self.seen[-20:]}") from None
        if not isinstance(event, Event):
            raise AssertionError(f"the watch ended ({event}); seen: {self.seen[-20:]}")
        self.seen.append(event)
        return event

    def expect(self, kind, name=None, data=None):
        """The very next event must be this one."""
        event = self.next()
        assert event.type == kind, f"wanted {kind}, got {event}"
        if name is not None:
            assert event.object["metadata"]["name"] == name, f"wanted {name}, got {event}"
        if data is not None:
            assert event.object.get("data") == data, f"wanted {data}, got {event.object}"
        return event.object

    def until(self, wanted, seconds=60, what="the wanted event"):
        """The first event that `wanted` says yes to; others are passed over."""
        while True:
            try:
                event = self.next(seconds)
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from None
            if wanted(event):
                return event.object

    def until_type(self, kind, name=None, seconds=60):
        def wanted(event):
            return event.type == kind and name in (None, event.object["metadata"]["name"])

        return self.until(wanted, seconds, f"{kind} {name or ''}")

    def nothing(self, seconds):
        """Nothing but bookmarks may come for a while."""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"wanted nothing, got {event}")
