"""Ingress and IngressClass as objects; no traffic."""

from harness import conformance, equal, unique
from operations import Walk, discovered

GROUP = "networking.k8s.io"


@conformance("[sig-network] Ingress API should support creating Ingress API operations [Conformance]")
def should_support_ingress_operations(t):
    discovered(t, GROUP, "v1", "ingresses", "ingresses/status")
    label = unique()
    backend = {"service": {"name": "default-backend", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "ImplementationSpecific", "backend": {
        "service": {"name": "test-backend", "port": {"number": 8080}}}}
    walk = Walk(t.api(f"{GROUP}/v1", "ingresses"), lambda _: {
        "metadata": {"generateName": "e2e-example-ing", "labels": {"special-label": label}},
        "spec": {
            "defaultBackend": backend,
            "rules": [{"host": "foo.bar.com", "http": {"paths": [path]}}],
        },
    }, labelSelector=f"special-label={label}")
    walk.create()
    walk.change(walk.read(), widely=True)

    before = walk.get_sub("status", "Ingress")
    status = walk.resource.sub("status")
    patched = walk.annotate(status, "patchedstatus", before,
                            {"status": {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}})
    equal(patched["status"]["loadBalancer"]["ingress"], [{"ip": "169.1.1.1"}])
    wanted = {"ingress": [
        {"ip": "169.1.1.2"}, {"ip": "169.1.1.3"},
    ]}
    found = walk.resource.get(walk.name)
    found["status"]["loadBalancer"] = wanted
    equal(status.update(found)["status"]["loadBalancer"], wanted)
    walk.get_sub("status", "Ingress")
    walk.delete()


@conformance("[sig-network] IngressClass API should support creating IngressClass API operations "
             "[Conformance]")
def should_support_ingressclass_operations(t):
    discovered(t, GROUP, "v1", "ingressclasses")
    label = f"generic-{unique()}"
    classes = t.cluster_api(f"{GROUP}/v1", "ingressclasses")
    selector = {"labelSelector": f"ingress-class={label}"}
    t.cleanup(classes.delete_collection, **selector)
    walk = Walk(classes, lambda number: {
        "metadata": {"name": f"ingressclass{number}-{label}", "labels": {"ingress-class": label}},
        "spec": {"controller": "example.com/controller"},
    }, **selector)
    walk.create()
    walk.change(walk.read())
    walk.delete()
