//! Joins the fact tables (`facts/`) into one static table of definitions, one string each, which
//! `schema::table` reads on first use. Nothing here runs when the program starts.
//!
//! The form of a definition: a header line `FLAGS TAB UNIONS`, then a line a field,
//! `NAME TAB TYPE TAB FLAGS TAB LIST-KEYS TAB MERGE-KEY TAB DEFAULT TAB GO-TYPE`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::Value;

/// What `types.tsv` knows of a field.
#[derive(Clone)]
struct GoField {
    json: String,
    go: String,
    pointer: bool,
    omit: String,
    number: u32,
}

/// Definition name → its Go fields.
type GoTypes = HashMap<String, Vec<GoField>>;

fn main() {
    println!("cargo:rerun-if-changed=facts");
    println!("cargo:rerun-if-changed=build.rs");
    let mut schema: BTreeMap<String, Value> =
        serde_json::from_str(&read("schema.json")).expect("facts/schema.json is JSON");
    let mut go = go_types();
    derive_old(&mut schema, &mut go);
    let ids: HashMap<&str, usize> =
        schema.keys().enumerate().map(|(id, name)| (name.as_str(), id)).collect();
    let mut out = String::from("pub(super) static DEFINITIONS: &[(&str, &str)] = &[\n");
    let mut kinds = BTreeMap::new();
    for (id, (name, definition)) in schema.iter().enumerate() {
        let body = definition_body(name, definition, &schema, &ids, &go);
        writeln!(out, "({name:?}, {body:?}),").expect("a String takes all");
        for gvk in definition["gvk"].as_array().into_iter().flatten() {
            let part = |index: usize| gvk[index].as_str().unwrap_or_default();
            kinds.insert(format!("{}/{}/{}", part(0), part(1), part(2)), id);
        }
    }
    out.push_str("];\npub(super) static KINDS: &[(&str, u16)] = &[\n");
    for (kind, id) in kinds {
        writeln!(out, "({kind:?}, {id}),").expect("a String takes all");
    }
    out.push_str("];\n");
    write_out("schema_table.rs", &out);
    write_out("proto_table.rs", &proto_table(&go));
    pack_openapi(&schema);
}

/// Adds the definitions of removed versions, which `old.json` says by their differences from current
/// ones: `of` the current one, `without` these fields, with `f` of its own (`p`: unset is not zero).
fn derive_old(schema: &mut BTreeMap<String, Value>, go: &mut GoTypes) {
    let old: BTreeMap<String, Value> =
        serde_json::from_str(&read("old.json")).expect("facts/old.json is JSON");
    for (name, differences) in old {
        let of = differences["of"].as_str().unwrap_or_default();
        let mut definition = schema.get(of).cloned().unwrap_or_else(|| serde_json::json!({}));
        let mut fields = definition["f"].as_object().cloned().unwrap_or_default();
        for field in differences["without"].as_array().into_iter().flatten() {
            fields.remove(field.as_str().expect("a field has a name"));
        }
        let mut printed = go.get(of).cloned().unwrap_or_default();
        for (field, facts) in differences["f"].as_object().into_iter().flatten() {
            let kind = facts.as_str().or(facts["t"].as_str()).expect("a field has a type");
            let points = facts["p"] == 1;
            if fields.insert(field.clone(), facts.clone()).is_some() && !points {
                continue;
            }
            printed.retain(|known| known.json != *field);
            printed.push(GoField {
                json: field.clone(),
                go: String::new(),
                pointer: points || kind.starts_with('#'),
                omit: "omitempty".to_owned(),
                number: 0,
            });
        }
        definition["f"] = fields.into();
        // Where the texts of its fields are.
        definition["of"] = of.into();
        if let Some(map) = definition.as_object_mut() {
            map.remove("gvk");
        }
        schema.insert(name.clone(), definition);
        go.insert(name, printed);
    }
}

/// The tables of the OpenAPI documents, deflated, a zero byte between them.
fn pack_openapi(schema: &BTreeMap<String, Value>) {
    let schema = serde_json::to_string(schema).expect("JSON can be written");
    let text = [schema, read("paths.tsv"), read("descriptions.tsv"), read("enums.tsv")].join("\0");
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).expect("a Vec takes all");
    let packed = packed.finish().expect("a Vec takes all");
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("openapi.bin"), packed).expect("OUT_DIR can be written");
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new("facts").join(name)).expect("the fact table is in the crate")
}

fn write_out(name: &str, text: &str) {
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join(name), text).expect("OUT_DIR can be written");
}

/// `core/v1` → `io.k8s.api.core.v1`.
fn definition_prefix(package: &str) -> String {
    let staged =
        ["apimachinery/", "apiextensions-apiserver/", "kube-aggregator/", "metrics/", "apiserver/"];
    let dotted = package.replace('/', ".");
    if staged.iter().any(|prefix| package.starts_with(prefix)) {
        format!("io.k8s.{dotted}")
    } else {
        format!("io.k8s.api.{dotted}")
    }
}

fn go_types() -> GoTypes {
    let mut types = GoTypes::new();
    for line in read("types.tsv").lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [package, name, json, go, pointer, omit, number] = columns[..] else { continue };
        // A field that upstream has commented out, kept in the table for its number.
        if go.starts_with("//") {
            continue;
        }
        types.entry(format!("{}.{name}", definition_prefix(package))).or_default().push(GoField {
            json: json.to_owned(),
            go: go.to_owned(),
            pointer: pointer == "ptr",
            omit: omit.to_owned(),
            number: number.split(':').next().and_then(|n| n.parse().ok()).unwrap_or_default(),
        });
    }
    types
}

/// The Go field behind a JSON field, looked for in inlined structs too.
fn go_field<'a>(go: &'a GoTypes, definition: &str, json: &str) -> Option<&'a GoField> {
    let fields = go.get(definition)?;
    let package = &definition[..definition.rfind('.')?];
    fields.iter().find(|field| field.json == json && field.omit != "inline").or_else(|| {
        fields
            .iter()
            .filter(|field| field.omit == "inline" && !field.go.contains("TypeMeta"))
            .find_map(|field| {
                let name = field.go.rsplit('.').next().unwrap_or(&field.go);
                go_field(go, &format!("{package}.{name}"), json)
            })
    })
}

fn definition_body(
    name: &str,
    definition: &Value,
    schema: &BTreeMap<String, Value>,
    ids: &HashMap<&str, usize>,
    go: &GoTypes,
) -> String {
    let flag = if definition["mt"] == "atomic" { "A" } else { "-" };
    let unions = definition.get("un").map(Value::to_string).unwrap_or_default();
    let mut body = format!("{flag}\t{unions}");
    for (field, facts) in definition["f"].as_object().into_iter().flatten() {
        let facts =
            if facts.is_string() { serde_json::json!({ "t": facts }) } else { facts.clone() };
        let text = |key: &str| facts[key].as_str().unwrap_or_default();
        let go_field = go_field(go, name, field);
        let keys: Vec<_> =
            facts["lk"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let kind = type_code(text("t"), schema, ids);
        let default = facts.get("df").map(Value::to_string).unwrap_or_default();
        let go_type = go_field.map(|field| go_type(name, &field.go)).unwrap_or_default();
        write!(
            body,
            "\n{field}\t{kind}\t{}\t{}\t{}\t{default}\t{go_type}",
            flags(name, field, &facts, go_field),
            keys.join(","),
            text("pk"),
        )
        .expect("a String takes all");
    }
    body
}

fn flags(definition: &str, name: &str, facts: &Value, go: Option<&GoField>) -> String {
    let mut flags = String::new();
    if facts["r"] == 1 {
        flags.push('r');
    }
    match facts["lt"].as_str() {
        Some("set") => flags.push('S'),
        Some("map") => flags.push('M'),
        _ => {}
    }
    match facts["mt"].as_str() {
        Some("atomic") => flags.push('A'),
        Some("granular") => flags.push('G'),
        _ => {}
    }
    for strategy in facts["ps"].as_str().unwrap_or_default().split(',') {
        match strategy {
            "merge" => flags.push('m'),
            "retainKeys" => flags.push('k'),
            _ => {}
        }
    }
    let Some(go) = go else {
        // apiVersion and kind come from the inlined TypeMeta, which omits what is empty.
        return flags + "o";
    };
    if go.pointer {
        flags.push('p');
    }
    if go.omit == "omitempty" {
        flags.push('o');
    }
    // The one `omitzero`: since 1.34 an unset creationTimestamp is left out.
    if name == "creationTimestamp" && definition.ends_with(".ObjectMeta") {
        flags.push('z');
    }
    flags
}

/// The Go type as `encoding/json` names it: `[]v1.Container`, `int32`, `map[string]string`.
fn go_type(definition: &str, go: &str) -> String {
    let go = go.trim_start_matches('*');
    if let Some(item) = go.strip_prefix("[]") {
        return format!("[]{}", go_type(definition, item));
    }
    if let Some((key, value)) = go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return format!("map[{}]{}", go_type(definition, key), go_type(definition, value));
    }
    const BUILTIN: [&str; 9] =
        ["string", "int32", "int64", "bool", "float64", "byte", "uint8", "interface{}", "int"];
    if BUILTIN.contains(&go) {
        return if go == "byte" { "uint8".to_owned() } else { go.to_owned() };
    }
    match go.split_once('.') {
        Some((package @ ("resource" | "intstr" | "types" | "runtime"), name)) => {
            format!("{package}.{name}")
        }
        Some((_, name)) => format!("v1.{name}"),
        None => {
            let package = definition.rsplit('.').nth(1).unwrap_or("v1");
            format!("{package}.{go}")
        }
    }
}

/// The code of a type: one letter for a primitive, `[x` a list, `{x` a map, `#N;` a definition.
fn type_code(text: &str, schema: &BTreeMap<String, Value>, ids: &HashMap<&str, usize>) -> String {
    if let Some(item) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return format!("[{}", type_code(item, schema, ids));
    }
    if let Some(value) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return format!("{{{}", type_code(value, schema, ids));
    }
    if let Some(name) = text.strip_prefix('#') {
        return match name.rsplit('.').next().unwrap_or(name) {
            "Quantity" => "q".to_owned(),
            "Time" => "t".to_owned(),
            "MicroTime" => "m".to_owned(),
            "IntOrString" => "n".to_owned(),
            "RawExtension" | "FieldsV1" | "Patch" => "o".to_owned(),
            _ if schema[name]["t"] == "any" => "*".to_owned(),
            _ => format!("#{};", ids[name]),
        };
    }
    match text {
        "string" => "s",
        "string:byte" => "b",
        "string:date-time" => "t",
        "string:int-or-string" => "n",
        "boolean" => "B",
        "integer:int32" | "integer" => "i",
        "integer:int64" => "l",
        "number:double" | "number" => "d",
        "object" => "o",
        "any" => "*",
        other => panic!("facts/schema.json has a type that is not known here: {other}"),
    }
    .to_owned()
}

/// Messages, sorted by name: `(MESSAGE, "NUMBER TAB LABEL TAB TYPE TAB JSON-NAME TAB FLAGS\n…")`.
fn proto_table(go: &GoTypes) -> String {
    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    for line in read("proto.tsv").lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [package, message, number, label, kind, name] = columns[..] else { continue };
        let rename = |path: &str| {
            path.replace("k8s.io.", "io.k8s.")
                .replace("apiextensions_apiserver", "apiextensions-apiserver")
                .replace("kube_aggregator", "kube-aggregator")
        };
        let package = rename(package);
        let definition = format!("{package}.{message}");
        let number: u32 = number.parse().expect("a field has a number");
        let field =
            go.get(&definition).and_then(|all| all.iter().find(|field| field.number == number));
        let json = field.map_or(name, |field| field.json.as_str());
        let flags = match field {
            Some(field) if field.pointer => "p",
            _ => "",
        };
        let label = if kind.starts_with("map<") { "map" } else { label };
        let kind = kind.trim_start_matches("map<string,").trim_end_matches('>').trim();
        let kind = match kind.strip_prefix('.') {
            Some(full) => rename(full),
            None if kind.starts_with(char::is_uppercase) => format!("{package}.{kind}"),
            None => kind.to_owned(),
        };
        let row = messages.entry(definition).or_default();
        if !row.is_empty() {
            row.push('\n');
        }
        write!(row, "{number}\t{label}\t{kind}\t{json}\t{flags}").expect("a String takes all");
    }
    let mut out = String::from("pub(super) static MESSAGES: &[(&str, &str)] = &[\n");
    for (name, body) in messages {
        writeln!(out, "({name:?}, {body:?}),").expect("a String takes all");
    }
    out.push_str("];\n");
    out
}
