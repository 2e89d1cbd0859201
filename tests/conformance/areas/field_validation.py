"""Unknown and duplicate fields, of typed objects."""

from harness import conformance, expect_error

PREFIX = "[sig-api-machinery] FieldValidation "

# As text: a dictionary could not say a field twice.
DEPLOYMENT = """{
  "apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": {"name": "my-dep", %s "labels": {"app": "nginx"}},
  "spec": {
    %s
    "selector": {"matchLabels": {"app": "nginx"}},
    "template": {
      "metadata": {"labels": {"app": "nginx"}},
      "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]}
    }
  }
}"""


def refused(t, body, message):
    query = {"fieldManager": "field_validation_mgr", "fieldValidation": "Strict"}
    expect_error(400, t.api("apps/v1", "deployments").create, body, message=message, **query)


@conformance(PREFIX + "should detect unknown and duplicate fields of a typed object [Conformance]")
def should_detect_unknown_and_duplicate_fields(t):
    refused(t, DEPLOYMENT % ("", '"unknownField": "foo", "replicas": 2, "replicas": 3,'),
            'strict decoding error: unknown field "spec.unknownField", '
            'duplicate field "spec.replicas"')


@conformance(PREFIX + "should detect unknown metadata fields of a typed object [Conformance]")
def should_detect_unknown_metadata(t):
    refused(t, DEPLOYMENT % ('"unknownMeta": "foo",', ""),
            'strict decoding error: unknown field "metadata.unknownMeta"')
