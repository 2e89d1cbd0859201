"""Custom resource definitions as the suite's fixtures make them."""

from harness import condition, expect_error, unique, wait_for

OPEN_SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definitions(t):
    return t.cluster_api("apiextensions.k8s.io/v1", "customresourcedefinitions")


def definition(group, plural, kind, versions, scope="Namespaced"):
    """A CustomResourceDefinition of these versions, a dictionary by name each."""
    names = {"plural": plural, "singular": plural[:-1], "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": versions},
    }


def version(name, schema=None, served=True, storage=True, **more):
    schema = {"openAPIV3Schema": schema or OPEN_SCHEMA}
    return {"name": name, "served": served, "storage": storage, "schema": schema, **more}


def simple(name, scope="Namespaced", schema=None):
    """One version that takes anything, in a group of its own."""
    return definition(f"group{unique()}.example.com", f"{name}s", name, [version("v1", schema)], scope)


def noxu(schema=None):
    """The suite's cluster-scoped definition with two versions."""
    word = unique(6)
    versions = [
        version("v1beta1", schema, storage=True),
        version("v1beta2", schema, storage=False),
    ]
    return definition("mygroup.example.com", f"noxu{word}s", f"Noxu{word}", versions, "Cluster")


def create(t, body):
    """Makes a definition and waits until its resource can be listed."""
    api = definitions(t)
    created = api.create(body)
    name = created["metadata"]["name"]
    t.cleanup(api.delete, name)
    wait_for(
        f"{name} is established",
        lambda: condition(api.get(name), "Established").get("status") == "True",
        seconds=30,
    )
    for served in body["spec"]["versions"]:
        if served["served"]:
            resource = of(t, body, served["name"])
            wait_for(f"{name} can be listed", lambda: resource.list()["kind"], seconds=30)
    return api.get(name)


def of(t, body, served=None):
    """The resource that a definition makes, in the test's namespace if it has namespaces."""
    spec = body["spec"]
    served = served or spec["versions"][0]["name"]
    namespace = t.namespace if spec["scope"] == "Namespaced" else None
    return t.cluster.resource(f"{spec['group']}/{served}", spec["names"]["plural"], namespace)


def delete(t, name):
    """Deletes a definition and waits until it is gone."""
    api = definitions(t)
    api.delete(name)
    wait_for(f"{name} is gone", lambda: expect_error(404, api.get, name), seconds=60)
