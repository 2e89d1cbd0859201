"""Unknown and duplicate fields, of typed objects and of custom ones."""

from harness import ApiError, conformance, expect_error, unique, wait_for

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


PORTS = {
    "type": "array", "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    "items": {"type": "object", "required": ["containerPort", "protocol"], "properties": {
        "containerPort": {"type": "integer", "format": "int32"},
        "hostIP": {"type": "string"},
        "hostPort": {"type": "integer", "format": "int32"},
        "name": {"type": "string"},
        "protocol": {"type": "string"},
    }},
}
SPEC = {"type": "object", "properties": {
    "foo": {"type": "string"},
    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
    "ports": PORTS,
}}
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PORT_LINES = """
  cronSpec: "* * * * */5"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP"""


def schema(spec):
    return {"type": "object", "properties": {"spec": spec}}


def applied(t, of, text):
    """Defines a kind, then applies an object of it, strictly: what that gives, or its refusal."""
    word = unique()
    group, plural = f"{word}.example.com", f"noxus{word}"
    version = {"served": True, "schema": {"openAPIV3Schema": of}}
    definitions = t.cluster_api("apiextensions.k8s.io/v1", "customresourcedefinitions")
    name = f"{plural}.{group}"
    definitions.create({"metadata": {"name": name}, "spec": {
        "group": group, "scope": "Cluster",
        "names": {"plural": plural, "singular": f"noxu{word}", "kind": f"Noxu{word}",
                  "listKind": f"Noxu{word}List"},
        "versions": [{"name": "v1beta1", "storage": False, **version},
                     {"name": "v1beta2", "storage": True, **version}],
    }})
    t.cleanup(definitions.delete, name)
    resource = t.cluster_api(f"{group}/v1beta1", plural)
    wait_for(f"{name} is served", resource.list)
    body = f"\napiVersion: {group}/v1beta1\nkind: Noxu{word}\nmetadata:\n  name: mytest{text}{PORT_LINES}"
    try:
        return resource.apply("mytest", body, "field_validation_mgr", fieldValidation="Strict")
    except ApiError as error:
        return error


def done(answer):
    assert isinstance(answer, dict), answer


def missed(answer, *messages):
    assert isinstance(answer, ApiError), f"it went well: {answer}"
    assert any(message in answer.message for message in messages), answer


@conformance(PREFIX + "should create/apply a valid CR for CRD with validation schema [Conformance]")
def should_apply_a_valid_object(t):
    done(applied(t, schema(SPEC), "\nspec:\n  foo: foo1"))


@conformance(PREFIX + "should create/apply a CR with unknown fields for CRD with no validation schema "
             "[Conformance]")
def should_apply_unknown_fields_without_a_schema(t):
    done(applied(t, ANY, "\nspec:\n  unknown: uk1"))


@conformance(PREFIX + "should create/apply an invalid CR with extra properties for CRD with validation "
             "schema [Conformance]")
def should_miss_extra_properties(t):
    missed(applied(t, schema(SPEC), "\nunknownField: unknown\nspec:\n  foo: foo1"),
           ".unknownField: field not declared in schema")


@conformance(PREFIX + "should detect unknown metadata fields in both the root and embedded object of a "
             "CR [Conformance]")
def should_detect_unknown_metadata_of_custom_objects(t):
    template = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object"},
    }}
    spec = {**SPEC, **ANY, "properties": {**SPEC["properties"], "template": template}}
    missed(applied(t, schema(spec), f"""
  unknownMeta: unknown
spec:
  template:
    apiversion: foo/v1
    kind: Sub
    metadata:
        unknownSubMeta: unknown
        name: subobject
        namespace: {t.namespace}
  foo: foo1"""), ".spec.template.metadata.unknownSubMeta: field not declared in schema",
           ".metadata.unknownMeta: field not declared in schema")


@conformance(PREFIX + "should detect duplicates in a CR when preserving unknown fields [Conformance]")
def should_detect_duplicates_of_custom_objects(t):
    missed(applied(t, schema({**SPEC, **ANY, "properties": SPEC["properties"]}),
                   "\nspec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2"),
           'line 9: key "foo" already set in map')
