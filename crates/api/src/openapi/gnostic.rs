//! The v2 document as protobuf, in gnostic's `openapi.v2.Document`: what client-go's discovery
//! asks for.

use serde_json::{Map, Value};

use crate::proto::wire::{put_bytes, put_double, put_int, put_nested};

type Out = Vec<u8>;

/// Puts a nested message that cannot fail.
fn nested(number: u32, out: &mut Out, write: impl FnOnce(&mut Out)) {
    let done: Result<(), std::convert::Infallible> = put_nested(number, out, |out| {
        write(out);
        Ok(())
    });
    done.unwrap_or_default();
}

fn text(number: u32, value: &Value, out: &mut Out) {
    if let Some(text) = value.as_str() {
        put_bytes(number, text.as_bytes(), out);
    }
}

fn texts(number: u32, value: &Value, out: &mut Out) {
    for item in value.as_array().into_iter().flatten() {
        text(number, item, out);
    }
}

fn flag(number: u32, value: &Value, out: &mut Out) {
    if value == &Value::Bool(true) {
        put_int(number, 1, out);
    }
}

fn each(value: &Value, mut write: impl FnMut(&str, &Value)) {
    for (name, value) in value.as_object().into_iter().flatten() {
        write(name, value);
    }
}

/// Any value, as YAML (JSON is).
fn any(number: u32, value: &Value, out: &mut Out) {
    nested(number, out, |out| put_bytes(2, format!("{value}\n").as_bytes(), out));
}

fn extensions(number: u32, value: &Value, out: &mut Out) {
    each(value, |name, value| {
        if name.starts_with("x-") {
            nested(number, out, |out| {
                put_bytes(1, name.as_bytes(), out);
                any(2, value, out);
            });
        }
    });
}

/// The v2 document (JSON) as protobuf.
#[must_use]
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 << 20);
    text(1, &document["swagger"], &mut out);
    nested(2, &mut out, |out| {
        text(1, &document["info"]["title"], out);
        text(2, &document["info"]["version"], out);
    });
    nested(8, &mut out, |out| {
        each(&document["paths"], |path, item| {
            nested(2, out, |out| {
                put_bytes(1, path.as_bytes(), out);
                nested(2, out, |out| path_item(item, out));
            });
        });
    });
    nested(9, &mut out, |out| {
        each(&document["definitions"], |name, definition| named_schema(name, definition, out));
    });
    for requirement in document["security"].as_array().into_iter().flatten() {
        nested(12, &mut out, |out| {
            each(requirement, |name, scopes| {
                nested(1, out, |out| {
                    put_bytes(1, name.as_bytes(), out);
                    nested(2, out, |out| texts(1, scopes, out));
                });
            });
        });
    }
    nested(13, &mut out, |out| {
        each(&document["securityDefinitions"], |name, scheme| {
            nested(1, out, |out| {
                put_bytes(1, name.as_bytes(), out);
                // The item's second alternative is an API key.
                nested(2, out, |out| {
                    nested(2, out, |out| {
                        text(1, &scheme["type"], out);
                        text(2, &scheme["name"], out);
                        text(3, &scheme["in"], out);
                        text(4, &scheme["description"], out);
                    });
                });
            });
        });
    });
    out
}

fn path_item(item: &Value, out: &mut Out) {
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (6, "options"),
        (7, "head"),
        (8, "patch"),
    ] {
        if let Some(operation) = item.get(method) {
            nested(number, out, |out| write_operation(operation, out));
        }
    }
    parameters(9, &item["parameters"], out);
}

fn write_operation(operation: &Value, out: &mut Out) {
    texts(1, &operation["tags"], out);
    text(3, &operation["description"], out);
    text(5, &operation["operationId"], out);
    texts(6, &operation["produces"], out);
    texts(7, &operation["consumes"], out);
    parameters(8, &operation["parameters"], out);
    nested(9, out, |out| {
        each(&operation["responses"], |code, response| {
            nested(1, out, |out| {
                put_bytes(1, code.as_bytes(), out);
                nested(2, out, |out| {
                    nested(1, out, |out| {
                        text(1, &response["description"], out);
                        if response["schema"].is_object() {
                            nested(2, out, |out| {
                                nested(1, out, |out| schema(&response["schema"], out));
                            });
                        }
                    });
                });
            });
        });
    });
    texts(10, &operation["schemes"], out);
    extensions(13, operation, out);
}

fn parameters(number: u32, list: &Value, out: &mut Out) {
    for parameter in list.as_array().into_iter().flatten() {
        nested(number, out, |out| nested(1, out, |out| write_parameter(parameter, out)));
    }
}

fn write_parameter(parameter: &Value, out: &mut Out) {
    if parameter["in"] == "body" {
        nested(1, out, |out| {
            text(1, &parameter["description"], out);
            text(2, &parameter["name"], out);
            text(3, &parameter["in"], out);
            flag(4, &parameter["required"], out);
            nested(5, out, |out| schema(&parameter["schema"], out));
        });
        return;
    }
    // The alternatives for query and path have the same first fields; the query's type is behind
    // one that the path's has not.
    let is_path = parameter["in"] == "path";
    nested(2, out, |out| {
        nested(if is_path { 4 } else { 3 }, out, |out| {
            flag(1, &parameter["required"], out);
            text(2, &parameter["in"], out);
            text(3, &parameter["description"], out);
            text(4, &parameter["name"], out);
            text(if is_path { 5 } else { 6 }, &parameter["type"], out);
            // `uniqueItems` comes behind the format, items and bounds.
            flag(if is_path { 18 } else { 19 }, &parameter["uniqueItems"], out);
        });
    });
}

fn named_schema(name: &str, value: &Value, out: &mut Out) {
    nested(1, out, |out| {
        put_bytes(1, name.as_bytes(), out);
        nested(2, out, |out| schema(value, out));
    });
}

fn number(field: u32, value: &Value, out: &mut Out) {
    if let Some(value) = value.as_f64() {
        put_double(field, value, out);
    }
}

fn integer(field: u32, value: &Value, out: &mut Out) {
    if let Some(value) = value.as_i64() {
        put_int(field, value, out);
    }
}

fn schema(value: &Value, out: &mut Out) {
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    let get = |key: &str| map.get(key).unwrap_or(&Value::Null);
    text(1, get("$ref"), out);
    text(2, get("format"), out);
    text(3, get("title"), out);
    text(4, get("description"), out);
    if let Some(default) = map.get("default") {
        any(5, default, out);
    }
    number(6, get("multipleOf"), out);
    number(7, get("maximum"), out);
    flag(8, get("exclusiveMaximum"), out);
    number(9, get("minimum"), out);
    flag(10, get("exclusiveMinimum"), out);
    integer(11, get("maxLength"), out);
    integer(12, get("minLength"), out);
    text(13, get("pattern"), out);
    integer(14, get("maxItems"), out);
    integer(15, get("minItems"), out);
    flag(16, get("uniqueItems"), out);
    integer(17, get("maxProperties"), out);
    integer(18, get("minProperties"), out);
    texts(19, get("required"), out);
    for item in get("enum").as_array().into_iter().flatten() {
        any(20, item, out);
    }
    match get("additionalProperties") {
        Value::Bool(flag) => nested(21, out, |out| put_int(2, i64::from(*flag), out)),
        inner @ Value::Object(_) => {
            nested(21, out, |out| nested(1, out, |out| schema(inner, out)));
        }
        _ => {}
    }
    if let Some(kind) = map.get("type") {
        nested(22, out, |out| text(1, kind, out));
    }
    match get("items") {
        Value::Null => {}
        items => nested(23, out, |out| nested(1, out, |out| schema(items, out))),
    }
    for part in get("allOf").as_array().into_iter().flatten() {
        nested(24, out, |out| schema(part, out));
    }
    if let Some(properties) = map.get("properties") {
        nested(25, out, |out| {
            each(properties, |name, property| named_schema(name, property, out));
        });
    }
    if let Some(example) = map.get("example") {
        any(30, example, out);
    }
    extensions(31, value, out);
}
