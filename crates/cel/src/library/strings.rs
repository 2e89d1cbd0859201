//! Texts: the language's own functions and those of the strings extension. Places count code
//! points.

use super::{Builtin, Context, Given, format_text, lists, no_overload};
use crate::error::EvalError;
use crate::value::{Value, count};

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "contains" => |_, args| ask(args, |text, part| text.contains(part)),
        "startsWith" => |_, args| ask(args, |text, part| text.starts_with(part)),
        "endsWith" => |_, args| ask(args, |text, part| text.ends_with(part)),
        "charAt" => char_at,
        "indexOf" => index_of,
        "lastIndexOf" => last_index_of,
        "lowerAscii" => |_, args| change(args, |text| text.to_ascii_lowercase()),
        "upperAscii" => |_, args| change(args, |text| text.to_ascii_uppercase()),
        "trim" => |_, args| change(args, |text| text.trim().to_owned()),
        "strings.quote" => |_, args| change(args, quote),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "format" => |context, args| match args {
            [Value::String(text), Value::List(args)] => {
                format_text::format(context, text, args).map(Value::text)
            }
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn ask<'a>(args: &[Value<'a>], holds: fn(&str, &str) -> bool) -> Given<'a> {
    match args {
        [Value::String(text), Value::String(part)] => Ok(Value::Bool(holds(text, part))),
        _ => no_overload(),
    }
}

fn change<'a>(args: &[Value<'a>], to: fn(&str) -> String) -> Given<'a> {
    match args {
        [Value::String(text)] => Ok(Value::text(to(text))),
        _ => no_overload(),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// Where the code point at a place begins; the end of the text counts as one.
fn offset(text: &str, place: i64) -> Result<usize, EvalError> {
    let at = usize::try_from(place).map_err(|_| out_of_range(place))?;
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().nth(at).ok_or_else(|| out_of_range(place))
}

fn char_at<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::String(text), Value::Int(place)] => {
            let at = offset(text, *place)?;
            Ok(Value::text(text[at..].chars().next().map(String::from).unwrap_or_default()))
        }
        _ => no_overload(),
    }
}

fn place(text: &str, at: Option<usize>) -> Value<'static> {
    let place = at.map(|at| i64::try_from(count(&text[..at])).unwrap_or(i64::MAX));
    Value::Int(place.unwrap_or(-1))
}

fn index_of<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::List(items), wanted] => lists::position(items, wanted, 0..items.len()),
        [Value::String(text), Value::String(part)] => Ok(place(text, text.find(&**part))),
        [Value::String(text), Value::String(part), Value::Int(from)] => {
            if *from < 0 {
                return Err(out_of_range(*from));
            }
            match offset(text, *from) {
                Ok(start) => {
                    Ok(place(text, text[start..].find(&**part).map(|found| start + found)))
                }
                // Beyond the end nothing is found but the empty text, at the end.
                Err(_) if part.is_empty() => Ok(place(text, Some(text.len()))),
                Err(_) => Ok(Value::Int(-1)),
            }
        }
        _ => no_overload(),
    }
}

fn last_index_of<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::List(items), wanted] => lists::position(items, wanted, (0..items.len()).rev()),
        [Value::String(text), Value::String(part)] => Ok(place(text, text.rfind(&**part))),
        [Value::String(text), Value::String(part), Value::Int(from)] => {
            if *from < 0 {
                return Err(out_of_range(*from));
            }
            match offset(text, *from) {
                Ok(start) if start < text.len() => {
                    // The last place at which the part may begin is `start`.
                    let end = (start + part.len()).min(text.len());
                    let end = (end..=text.len())
                        .find(|end| text.is_char_boundary(*end))
                        .unwrap_or(text.len());
                    let mut found = text[..end].rfind(&**part);
                    if found.is_some_and(|found| found > start) {
                        found = text[..start].rfind(&**part);
                    }
                    Ok(place(text, found))
                }
                _ if part.is_empty() => Ok(place(text, Some(text.len()))),
                _ => Ok(Value::Int(-1)),
            }
        }
        _ => no_overload(),
    }
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn replace<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (text, old, new, most) = match args {
        [Value::String(text), Value::String(old), Value::String(new)] => {
            (text, old, new, usize::MAX)
        }
        [Value::String(text), Value::String(old), Value::String(new), Value::Int(most)] => {
            (text, old, new, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return no_overload(),
    };
    let times = text.matches(&**old).take(most).count() as u64;
    context
        .room_for_text(times.saturating_mul(new.len() as u64).saturating_add(text.len() as u64))?;
    Ok(Value::text(text.replacen(&**old, new, most)))
}

fn split<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (text, separator, most) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, usize::MAX),
        [Value::String(text), Value::String(separator), Value::Int(most)] => {
            (text, separator, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return no_overload(),
    };
    context.room_for_text(text.len() as u64)?;
    let parts: Vec<Value<'a>> = if most == 0 {
        Vec::new()
    } else if separator.is_empty() {
        // An empty separator splits into code points.
        let mut parts = Vec::new();
        let mut rest: &str = text;
        while !rest.is_empty() && parts.len() + 1 < most {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            let (one, tail) = rest.split_at(length);
            parts.push(Value::text(one));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Value::text(rest));
        }
        parts
    } else {
        text.splitn(most, &**separator).map(Value::text).collect()
    };
    Ok(Value::list(parts))
}

fn substring<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::String(text), Value::Int(start)] => Ok(Value::text(&text[offset(text, *start)?..])),
        [Value::String(_), Value::Int(start), Value::Int(end)] if start > end => {
            Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")))
        }
        [Value::String(text), Value::Int(start), Value::Int(end)] => {
            Ok(Value::text(&text[offset(text, *start)?..offset(text, *end)?]))
        }
        _ => no_overload(),
    }
}

fn join<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (items, separator) = match args {
        [Value::List(items)] => (items, ""),
        [Value::List(items), Value::String(separator)] => (items, &**separator),
        _ => return no_overload(),
    };
    let items = items.items()?;
    let mut size = 0_u64;
    for item in &items {
        let Value::String(text) = item else {
            let shown = super::convert::display(item);
            return Err(EvalError::new(format!("join: invalid input: {shown}")));
        };
        size = size.saturating_add((text.len() + separator.len()) as u64);
    }
    context.room_for_text(size)?;
    let texts: Vec<&str> = items.iter().filter_map(Value::as_text).collect();
    Ok(Value::text(texts.join(separator)))
}
