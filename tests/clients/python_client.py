#!/usr/bin/env python3
"""PyPI's `kubernetes` against a running cluster: its typed models, its watch, its dynamic client.

    python_client.py KUBECONFIG

Every function that begins with `test_` runs, with a namespace of its own. Closes with
`N passed, N failed`.
"""

import json
import logging
import secrets
import sys
import threading
import traceback

from kubernetes import client, config, dynamic, informer, watch
from kubernetes.client.exceptions import ApiException


class World:
    """What a test works with: the client's own APIs and a namespace."""

    def __init__(self, kubeconfig):
        settings = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=settings)
        self.api = client.ApiClient(settings)
        self.core = client.CoreV1Api(self.api)
        self.apps = client.AppsV1Api(self.api)
        self.dynamic = dynamic.DynamicClient(self.api)
        name = f"python-{secrets.token_hex(4)}"
        self.core.create_namespace({"metadata": {"name": name}})
        self.namespace = name

    def close(self):
        self.core.delete_namespace(self.namespace)

    def config_map(self, name, data=None, **labels):
        meta = client.V1ObjectMeta(name=name, labels=labels or None)
        return client.V1ConfigMap(metadata=meta, data=data)

    def deployment(self, name, replicas=2):
        labels = {"app": name}
        container = client.V1Container(name="web", image="ferry.local/demo:v1")
        template = client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels),
            spec=client.V1PodSpec(containers=[container]),
        )
        spec = client.V1DeploymentSpec(
            replicas=replicas,
            selector=client.V1LabelSelector(match_labels=labels),
            template=template,
        )
        return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


def refused(code, reason, call, *args, **kwargs):
    """The call must fail so; gives the Status that the client hands on."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        status = json.loads(error.body)
        assert error.status == code and status["reason"] == reason, f"{error.status}: {status}"
        return status
    raise AssertionError(f"wanted {code} {reason}, but it went well")


def test_create_read_replace_and_delete(w):
    made = w.core.create_namespaced_config_map(w.namespace, w.config_map("a", {"k": "v"}))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
    read = w.core.read_namespaced_config_map("a", w.namespace)
    assert read.data == {"k": "v"}
    read.data["more"] = "x"
    replaced = w.core.replace_namespaced_config_map("a", w.namespace, read)
    assert int(replaced.metadata.resource_version) > int(made.metadata.resource_version)
    status = w.core.delete_namespaced_config_map("a", w.namespace)
    assert status["status"] == "Success" and status["details"]["uid"] == made.metadata.uid, status
    refused(404, "NotFound", w.core.read_namespaced_config_map, "a", w.namespace)


def test_errors_are_statuses(w):
    w.core.create_namespaced_config_map(w.namespace, w.config_map("a"))
    again = refused(409, "AlreadyExists", w.core.create_namespaced_config_map, w.namespace,
                    w.config_map("a"))
    assert again["message"] == 'configmaps "a" already exists', again
    invalid = refused(422, "Invalid", w.core.create_namespaced_config_map, w.namespace,
                      w.config_map("Not A Name"))
    assert invalid["details"]["causes"][0]["field"] == "metadata.name", invalid
    bad = refused(400, "BadRequest", w.core.list_namespaced_config_map, w.namespace,
                  label_selector="a b c")
    assert "unable to parse requirement" in bad["message"], bad


def test_a_stale_update_conflicts(w):
    w.core.create_namespaced_config_map(w.namespace, w.config_map("a", {"n": "1"}))
    old = w.core.read_namespaced_config_map("a", w.namespace)
    new = w.core.read_namespaced_config_map("a", w.namespace)
    new.data["n"] = "2"
    w.core.replace_namespaced_config_map("a", w.namespace, new)
    old.data["n"] = "3"
    status = refused(409, "Conflict", w.core.replace_namespaced_config_map, "a", w.namespace, old)
    assert "the object has been modified" in status["message"], status


def test_pages_and_selectors(w):
    for number in range(7):
        parity = "even" if number % 2 == 0 else "odd"
        w.core.create_namespaced_config_map(
            w.namespace, w.config_map(f"page-{number}", paged="yes", parity=parity))
    seen, token = [], None
    while True:
        page = w.core.list_namespaced_config_map(
            w.namespace, limit=3, _continue=token, label_selector="paged=yes")
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"page-{number}" for number in range(7)], seen

    def names(**selector):
        found = w.core.list_namespaced_config_map(w.namespace, **selector)
        return [item.metadata.name for item in found.items]

    assert names(label_selector="parity in (odd), paged") == ["page-1", "page-3", "page-5"]
    assert names(label_selector="parity notin (odd),paged")[0] == "page-0"
    assert names(field_selector="metadata.name=page-4") == ["page-4"]
    w.core.delete_collection_namespaced_config_map(w.namespace, label_selector="parity=odd")
    assert len(names(label_selector="paged")) == 4


def test_watch_and_bookmarks(w):
    start = w.core.list_namespaced_config_map(w.namespace).metadata.resource_version
    w.core.create_namespaced_config_map(w.namespace, w.config_map("a", {"n": "1"}, watched="yes"))
    w.core.patch_namespaced_config_map("a", w.namespace, {"data": {"n": "2"}})
    w.core.delete_namespaced_config_map("a", w.namespace)
    seen, own = [], watch.Watch()
    for event in own.stream(w.core.list_namespaced_config_map, w.namespace,
                            label_selector="watched", resource_version=start, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name, event["object"].data))
        if event["type"] == "DELETED":
            own.stop()
    assert [entry[0] for entry in seen] == ["ADDED", "MODIFIED", "DELETED"], seen
    assert seen[1] == ("MODIFIED", "a", {"n": "2"}), seen

    bookmarks = []
    for event in watch.Watch().stream(
            w.core.list_namespaced_config_map, w.namespace, resource_version=start,
            allow_watch_bookmarks=True, timeout_seconds=1):
        if event["type"] == "BOOKMARK":
            bookmarks.append(event["raw_object"]["metadata"]["resourceVersion"])
    assert bookmarks and int(bookmarks[-1]) > int(start), "one comes before a timed end"


def test_a_watch_from_a_version_that_never_was(w):
    try:
        for _ in watch.Watch().stream(w.core.list_namespaced_config_map, w.namespace,
                                      resource_version="1", timeout_seconds=5):
            pass
    except ApiException as error:
        assert error.status == 410, error


def test_an_informer_follows(w):
    w.core.create_namespaced_config_map(w.namespace, w.config_map("before"))
    added, changed, gone = threading.Event(), threading.Event(), threading.Event()
    follower = informer.SharedInformer(
        list_func=w.core.list_namespaced_config_map, namespace=w.namespace, resync_period=0)
    follower.add_event_handler(informer.ADDED, lambda o: o.metadata.name == "after" and added.set())
    follower.add_event_handler(informer.MODIFIED,
                               lambda o: o.metadata.name == "after" and changed.set())
    follower.add_event_handler(informer.DELETED, lambda o: gone.set())
    follower.start()
    try:
        w.core.create_namespaced_config_map(w.namespace, w.config_map("after"))
        assert added.wait(30), "it was told of the new one"
        w.core.patch_namespaced_config_map("after", w.namespace, {"data": {"a": "b"}})
        assert changed.wait(30), "and of the change"
        w.core.delete_namespaced_config_map("after", w.namespace)
        assert gone.wait(30), "and of the end"
        kept = {item.metadata.name for item in follower.cache.list()}
        assert "before" in kept and "after" not in kept, kept
    finally:
        follower.stop()


def test_patches_of_three_kinds(w):
    w.apps.create_namespaced_deployment(w.namespace, w.deployment("web"))
    maps = w.dynamic.resources.get(api_version="apps/v1", kind="Deployment")

    def patch(body, kind):
        return maps.patch(name="web", namespace=w.namespace, body=body,
                          content_type=f"application/{kind}")

    sidecar = {"name": "side", "image": "ferry.local/demo:v2"}
    merged = patch({"spec": {"template": {"spec": {"containers": [sidecar]}}}},
                   "strategic-merge-patch+json")
    assert [c.name for c in merged.spec.template.spec.containers] == ["side", "web"]
    replaced = patch({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 5}},
                     "merge-patch+json")
    assert replaced.spec.replicas == 5 and replaced.metadata.labels.a == "b"
    tested = patch([{"op": "test", "path": "/spec/replicas", "value": 5},
                    {"op": "remove", "path": "/metadata/labels"}], "json-patch+json")
    assert tested.metadata.labels is None
    try:
        patch([{"op": "test", "path": "/spec/replicas", "value": 6}], "json-patch+json")
    except dynamic.exceptions.DynamicApiError as error:
        assert error.status == 422, error
    else:
        raise AssertionError("a failed test must fail the patch")


def test_server_side_apply(w):
    maps = w.dynamic.resources.get(api_version="v1", kind="ConfigMap")

    def apply(data, manager, **more):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"},
                "data": data}
        return maps.server_side_apply(body, name="applied", namespace=w.namespace,
                                      field_manager=manager, **more)

    first = apply({"a": "1", "b": "1"}, "one")
    assert first.metadata.managedFields[0].manager == "one"
    apply({"c": "1"}, "two")
    try:
        apply({"a": "2"}, "two")
    except dynamic.exceptions.ConflictError as error:
        status = json.loads(error.body)
        assert status["details"]["causes"] == [{
            "reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a",
        }], status
    else:
        raise AssertionError("another's field must conflict")
    taken = apply({"a": "2"}, "two", force_conflicts=True)
    assert taken.data.a == "2" and taken.data.c is None, "forced, and c given up"
    left = apply({"b": "1"}, "one")
    assert left.data.to_dict() == {"a": "2", "b": "1"}, left.data


def test_scale_and_status(w):
    w.apps.create_namespaced_deployment(w.namespace, w.deployment("web", 1))
    scale = w.apps.read_namespaced_deployment_scale("web", w.namespace)
    assert scale.spec.replicas == 1 and scale.status.selector == "app=web", scale
    scale.spec.replicas = 3
    # The controller writes to the Deployment meanwhile; without a version the last one wins.
    scale.metadata.resource_version = None
    assert w.apps.replace_namespaced_deployment_scale("web", w.namespace, scale).spec.replicas == 3
    w.apps.patch_namespaced_deployment_scale("web", w.namespace, {"spec": {"replicas": 4}})
    assert w.apps.read_namespaced_deployment("web", w.namespace).spec.replicas == 4
    status = {"status": {"conditions": [
        {"type": "Own", "status": "True", "reason": "Test", "message": "set here"}]}}
    patched = w.apps.patch_namespaced_deployment_status("web", w.namespace, status)
    assert "Own" in [c.type for c in patched.status.conditions]


def test_dry_run_leaves_nothing(w):
    made = w.core.create_namespaced_config_map(w.namespace, w.config_map("dry"), dry_run="All")
    assert made.metadata.uid, "everything but the store saw it"
    refused(404, "NotFound", w.core.read_namespaced_config_map, "dry", w.namespace)
    w.core.create_namespaced_config_map(w.namespace, w.config_map("real", {"a": "1"}))
    w.core.patch_namespaced_config_map("real", w.namespace, {"data": {"a": "2"}}, dry_run="All")
    w.core.delete_namespaced_config_map("real", w.namespace, dry_run="All")
    assert w.core.read_namespaced_config_map("real", w.namespace).data == {"a": "1"}


def test_strict_fields(w):
    # The typed models refuse unknown fields themselves; the dynamic client sends them.
    maps = w.dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "strict"}, "colour": "red"}
    try:
        maps.create(body=body, namespace=w.namespace, query_params=[("fieldValidation", "Strict")])
    except dynamic.exceptions.BadRequestError as error:
        message = json.loads(error.body)["message"]
        assert 'strict decoding error: unknown field "colour"' in message, message
    else:
        raise AssertionError("an unknown field must be refused")


def test_discovery(w):
    groups = {group.name for group in client.ApisApi(w.api).get_api_versions().groups}
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= groups, groups
    resources = {r.name: r for r in w.core.get_api_resources().resources}
    assert resources["pods"].short_names == ["po"] and "watch" in resources["pods"].verbs
    assert int(client.VersionApi(w.api).get_code().minor.rstrip("+")) >= 36
    found = w.dynamic.resources.get(kind="Deployment", api_version="apps/v1")
    assert found.name == "deployments" and found.namespaced


def test_tables(w):
    w.apps.create_namespaced_deployment(w.namespace, w.deployment("web"))
    answer = w.api.rest_client.pool_manager.request(
        "GET", f"{w.api.configuration.host}/apis/apps/v1/namespaces/{w.namespace}/deployments",
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    table = json.loads(answer.data)
    assert table["kind"] == "Table"
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns[:5] == ["Name", "Ready", "Up-to-date", "Available", "Age"], columns
    assert table["rows"][0]["cells"][0] == "web"


def test_owners_are_followed(w):
    w.apps.create_namespaced_deployment(w.namespace, w.deployment("web"))
    sets, own = [], watch.Watch()
    for event in own.stream(w.apps.list_namespaced_replica_set, w.namespace, timeout_seconds=30):
        sets.append(event["object"])
        own.stop()
    assert sets[0].metadata.owner_references[0].name == "web"
    w.apps.delete_namespaced_deployment("web", w.namespace, propagation_policy="Foreground")
    for event in watch.Watch().stream(w.apps.list_namespaced_replica_set, w.namespace,
                                      resource_version=sets[0].metadata.resource_version,
                                      timeout_seconds=30):
        if event["type"] == "DELETED":
            return
    raise AssertionError("the ReplicaSet outlived its Deployment")


def test_rights_are_asked_for(w):
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(verb="delete", resource="pods")))
    authorization = client.AuthorizationV1Api(w.api)
    assert authorization.create_self_subject_access_review(review).status.allowed
    review = client.V1SubjectAccessReview(spec=client.V1SubjectAccessReviewSpec(
        user="nobody", resource_attributes=client.V1ResourceAttributes(
            verb="delete", resource="pods", namespace=w.namespace)))
    assert not authorization.create_subject_access_review(review).status.allowed


def main():
    # An informer that is stopped says so as an error.
    logging.getLogger("kubernetes.informer").setLevel(logging.CRITICAL)
    tests = {name: f for name, f in globals().items() if name.startswith("test_")}
    failed = 0
    for name, function in tests.items():
        world = World(sys.argv[1])
        try:
            function(world)
            print(f"ok    {name}")
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}")
        world.close()
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
