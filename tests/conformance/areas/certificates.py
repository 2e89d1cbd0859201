"""CertificateSigningRequests through every verb and subresource."""

import base64
import subprocess
import tempfile

from harness import conformance, equal, newer, unique
from operations import Walk, discovered

GROUP = "certificates.k8s.io"


def signing_request():
    """A PEM request and a self-signed certificate, as base64 of their bytes."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=e2e.example.com",
                  "-addext", "subjectAltName=DNS:e2e.example.com", "-keyout", f"{folder}/key"]
        run = {"check": True, "capture_output": True}
        request = subprocess.run(common, **run).stdout
        certificate = subprocess.run([*common, "-x509", "-days", "1"], **run).stdout
    return base64.b64encode(request).decode(), base64.b64encode(certificate).decode()


@conformance("[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API "
             "operations [Conformance]")
def should_support_csr_operations(t):
    request, certificate = signing_request()
    signer = f"example.com/e2e-{unique()}"
    plural = "certificatesigningrequests"
    discovered(t, GROUP, "v1", plural, f"{plural}/approval", f"{plural}/status")
    requests = t.cluster_api(f"{GROUP}/v1", plural)
    t.cleanup(requests.delete_collection, fieldSelector=f"spec.signerName={signer}")
    walk = Walk(requests, lambda _: {
        "metadata": {"generateName": "e2e-example-csr-"},
        "spec": {
            "request": request,
            "signerName": signer,
            "expirationSeconds": 3600,
            "usages": ["digital signature", "key encipherment", "server auth"],
        },
    }, fieldSelector=f"spec.signerName={signer}")
    created = walk.create()
    equal(requests.get(walk.name)["spec"]["expirationSeconds"], 3600)
    walk.change(walk.read())
    approve(walk)
    sign(walk, certificate)
    walk.delete()
    assert created["spec"]["username"], "the requester is noted"


def approve(walk):
    walk.get_sub("approval", "CertificateSigningRequest")
    approval = walk.resource.sub("approval")
    patch = {"type": "ApprovalPatch", "status": "True", "reason": "e2e"}
    patched = walk.annotate(approval, "patchedapproval", walk.created,
                            {"status": {"conditions": [patch]}})
    equal([entry["type"] for entry in patched["status"]["conditions"]], ["ApprovalPatch"])
    patched["status"]["conditions"].append({
        "type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test",
    })
    updated = approval.update(patched)
    newer(updated, patched)
    equal([entry["type"] for entry in updated["status"]["conditions"]],
          ["ApprovalPatch", "Approved"])


def sign(walk, certificate):
    before = walk.get_sub("status", "CertificateSigningRequest")
    status = walk.resource.sub("status")
    patched = walk.annotate(status, "patchedstatus", before, {"status": {"certificate": certificate}})
    equal(patched["status"]["certificate"], certificate)
    patched["status"]["conditions"].append({
        "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from an e2e test",
    })
    updated = status.update(patched)
    newer(updated, patched)
    equal(len(updated["status"]["conditions"]), len(patched["status"]["conditions"]))
    equal(updated["status"]["conditions"][-1]["type"], "StatusUpdate")
