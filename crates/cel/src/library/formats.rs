//! Named formats: `format.dns1123Label().validate('x')`, and `jsonpatch.escapeKey`.

use std::sync::LazyLock;

use api::validate;
use base64::Engine as _;
use regex::Regex;

use super::moment::Moment;
use super::opaque::Opaque;
use super::{Builtin, Given, no_overload, url};
use crate::value::Value;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format(&'static str);

impl Format {
    /// How long its pattern is taken to be, for costs.
    pub(super) fn pattern_length(self) -> u64 {
        match self.0 {
            "dns1123Label" | "dns1035Label" | "dns1123LabelPrefix" | "dns1035LabelPrefix" => 30,
            "labelValue" => 40,
            "uri" | "byte" => 128,
            "uuid" | "date" | "datetime" => 72,
            _ => 60,
        }
    }
}

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
        .expect("the pattern is right")
});

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    macro_rules! constant {
        ($name:literal) => {
            |_, _| Ok(Value::opaque(Opaque::Format(Format($name))))
        };
    }
    Some(match name {
        "format.dns1123Label" => constant!("dns1123Label"),
        "format.dns1123Subdomain" => constant!("dns1123Subdomain"),
        "format.dns1035Label" => constant!("dns1035Label"),
        "format.qualifiedName" => constant!("qualifiedName"),
        "format.dns1123LabelPrefix" => constant!("dns1123LabelPrefix"),
        "format.dns1123SubdomainPrefix" => constant!("dns1123SubdomainPrefix"),
        "format.dns1035LabelPrefix" => constant!("dns1035LabelPrefix"),
        "format.labelValue" => constant!("labelValue"),
        "format.uri" => constant!("uri"),
        "format.uuid" => constant!("uuid"),
        "format.byte" => constant!("byte"),
        "format.date" => constant!("date"),
        "format.datetime" => constant!("datetime"),
        "format.named" => |_, args| match args {
            [Value::String(name)] => {
                let known = crate::check::declarations::FORMATS.into_iter();
                let format = known.clone().find(|known| **name == **known);
                Ok(match format {
                    Some(name) => Value::some(Value::opaque(Opaque::Format(Format(name)))),
                    None => Value::Optional(None),
                })
            }
            _ => no_overload(),
        },
        "validate" => |_, args| match args {
            [Value::Opaque(opaque), Value::String(text)] => match &**opaque {
                Opaque::Format(format) => validated(*format, text),
                _ => no_overload(),
            },
            _ => no_overload(),
        },
        "jsonpatch.escapeKey" => |_, args| match args {
            [Value::String(text)] => Ok(Value::text(text.replace('~', "~0").replace('/', "~1"))),
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn validated<'a>(format: Format, text: &str) -> Given<'a> {
    let problems = problems(format.0, text);
    if problems.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(Value::list(problems.into_iter().map(Value::text).collect())))
}

fn problems(format: &str, text: &str) -> Vec<String> {
    let masked = || validate::meta::mask_trailing_dash(text, true);
    let unless = |good: bool, problem: &str| {
        if good { Vec::new() } else { vec![problem.to_owned()] }
    };
    match format {
        "dns1123Label" => validate::dns1123_label(text),
        "dns1123Subdomain" => validate::dns1123_subdomain(text),
        "dns1035Label" => validate::dns1035_label(text),
        "dns1123LabelPrefix" => validate::dns1123_label(&masked()),
        "dns1123SubdomainPrefix" => validate::dns1123_subdomain(&masked()),
        "dns1035LabelPrefix" => validate::dns1035_label(&masked()),
        "qualifiedName" => validate::qualified_name(text),
        "labelValue" => validate::label_value(text),
        "uri" => url::parse(text).err().into_iter().collect(),
        "uuid" => unless(UUID.is_match(text), "does not match the UUID format"),
        "byte" => {
            let good = base64::engine::general_purpose::STANDARD.decode(text).is_ok();
            unless(good && !text.is_empty(), "invalid base64")
        }
        "date" => unless(Moment::parse(&format!("{text}T00:00:00Z")).is_ok(), "invalid date"),
        _ => unless(Moment::parse(text).is_ok(), "invalid datetime"),
    }
}
