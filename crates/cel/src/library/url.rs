//! URLs: absolute, or absolute paths, as Go's `ParseRequestURI` takes them.

use std::sync::Arc;

use super::opaque::Opaque;
use super::{Builtin, Context, Given, no_overload};
use crate::error::EvalError;
use crate::value::{Key, Map, MapData, Value};

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    user: Option<String>,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "url" => |_, args| match args {
            [Value::String(text)] => match parse(text) {
                Ok(url) => Ok(Value::opaque(Opaque::Url(url))),
                Err(why) => Err(EvalError::new(format!(
                    "URL parse error during conversion from string: {why}"
                ))),
            },
            _ => no_overload(),
        },
        "isURL" => |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(parse(text).is_ok())),
            _ => no_overload(),
        },
        "getScheme" => |_, args| part(args, |url| url.scheme.clone()),
        "getHost" => |_, args| part(args, |url| url.host.clone()),
        "getHostname" => |_, args| part(args, |url| split_port(&url.host).0.to_owned()),
        "getPort" => |_, args| part(args, |url| split_port(&url.host).1.to_owned()),
        "getEscapedPath" => |_, args| part(args, |url| escape_path(&url.path)),
        "getQuery" => query,
        _ => return None,
    })
}

fn url<'v>(args: &'v [Value<'_>]) -> Option<&'v Url> {
    match args {
        [Value::Opaque(opaque)] => match &**opaque {
            Opaque::Url(url) => Some(url),
            _ => None,
        },
        _ => None,
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> String) -> Given<'a> {
    match url(args) {
        Some(url) => Ok(Value::text(of(url))),
        None => no_overload(),
    }
}

fn query<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let Some(url) = url(args) else {
        return no_overload();
    };
    let mut found: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in url.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (unescape(name, true), unescape(value, true)) else {
            continue;
        };
        let value = Value::text(value);
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => found.push((name, vec![value])),
        }
    }
    let mut data = MapData::default();
    for (name, values) in found {
        let name: Arc<str> = name.into();
        data.put(Key::Text(Arc::clone(&name)), Value::text(name), Value::list(values));
    }
    Ok(Value::Map(Map::Owned(Arc::new(data))))
}

/// Reads a URL as a request would have it.
///
/// # Errors
/// Why it is none, as Go says it.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let bad = |why: &str| format!("parse {text:?}: {why}");
    if text.is_empty() {
        return Err(bad("empty url"));
    }
    if text.chars().any(|char| char.is_ascii_control()) {
        return Err(bad("net/url: invalid control character in URL"));
    }
    let (scheme, rest) = scheme(text).map_err(bad)?;
    if scheme.is_empty() && !text.starts_with('/') {
        return Err(bad("invalid URI for request"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_empty() {
            return Err(bad("invalid URI for request"));
        }
        // `mailto:x` has no path.
        return Ok(Url {
            scheme: scheme.to_ascii_lowercase(),
            user: None,
            host: String::new(),
            path: String::new(),
            query: query.to_owned(),
            fragment: fragment.to_owned(),
        });
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() || !rest.starts_with('/') => {
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        }
        _ => ("", rest),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, authority),
    };
    check_host(host).map_err(|why| bad(&why))?;
    if unescape(path, false).is_none() {
        return Err(bad(&format!("invalid URL escape {:?}", bad_escape(path))));
    }
    Ok(Url {
        scheme: scheme.to_ascii_lowercase(),
        user,
        host: host.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        fragment: fragment.to_owned(),
    })
}

fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (index, char) in text.char_indices() {
        match char {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.rfind(']').ok_or("missing ']' in host")?;
            &rest[end + 1..]
        }
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    if let Some(char) =
        host.chars().find(|char| matches!(char, ' ' | '\\' | '^' | '`' | '{' | '}' | '|'))
    {
        return Err(format!("invalid character {:?} in host name", char.to_string()));
    }
    Ok(())
}

fn split_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rfind(':') {
        Some(colon) if host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) => {
            (&host[..colon], &host[colon + 1..])
        }
        _ => (host, ""),
    };
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inner) => (inner, port),
        None => (name, port),
    }
}

/// Text with `%xx` (and `+`) replaced; `None` when an escape is none or the bytes are no text.
fn unescape(text: &str, plus: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let code = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
                out.push(u8::from_str_radix(code, 16).ok()?);
                at += 3;
            }
            byte => {
                out.push(if byte == b'+' && plus { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn bad_escape(text: &str) -> &str {
    let at = text
        .match_indices('%')
        .map(|(at, _)| at)
        .find(|at| {
            !text.get(at + 1..at + 3).is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
        })
        .unwrap_or(0);
    let end = (at + 3).min(text.len());
    text.get(at..end).unwrap_or("%")
}

/// The path with what may not stand in one escaped; what is escaped already stays.
fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*%[]".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
