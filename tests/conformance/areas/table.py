"""Tables that the server makes."""

from harness import conformance, expect_error


@conformance("[sig-api-machinery] Servers with support for Table transformation should return a "
             "406 for a backend which does not implement metadata [Conformance]")
def should_return_406_for_a_backend_without_metadata(t):
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    }
    expect_error(
        406, t.cluster.request, "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review,
        headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    )
