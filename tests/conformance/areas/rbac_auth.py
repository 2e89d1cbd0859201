"""Reviews of access say what happens."""

from api import ApiError
from harness import conformance, equal


@conformance("[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]")
def should_support_subject_reviews(t):
    account = t.api("v1", "serviceaccounts").create({"metadata": {"name": "e2e"}})
    user, uid = f"system:serviceaccount:{t.namespace}:e2e", account["metadata"]["uid"]
    groups = ["system:authenticated", "system:serviceaccounts",
              f"system:serviceaccounts:{t.namespace}"]
    other = t.cluster.impersonating(user, groups, uid)
    asked = {
        "resourceAttributes": {"verb": "list", "resource": "configmaps",
                               "namespace": t.namespace, "version": "v1"},
        "user": user, "groups": groups, "uid": uid,
    }
    reviews = t.cluster_api("authorization.k8s.io/v1", "subjectaccessreviews")
    answer = reviews.create({"spec": asked})["status"]["allowed"]
    try:
        other.resource("v1", "configmaps", t.namespace).list()
        allowed = True
    except ApiError as error:
        equal((error.code, error.reason), (403, "Forbidden"))
        allowed = False
    equal(answer, allowed, "SubjectAccessReview")
    local = t.api("authorization.k8s.io/v1", "localsubjectaccessreviews")
    body = {"metadata": {"namespace": t.namespace}, "spec": {**asked, "user": "e2e"}}
    equal(local.create(body)["status"]["allowed"], allowed, "LocalSubjectAccessReview")
