//! What is wrong with the text of an address, in Go's words.

use std::net::IpAddr;

/// What is wrong, and the rest of the text from where it is.
type Wrong<'t> = (&'static str, &'t str);

/// The address that a text without a zone is.
pub(super) fn parse(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        let (what, at) = match text.bytes().find(|byte| b".:%".contains(byte)) {
            Some(b'.') => fields(text).err(),
            Some(b':') => groups(text).err(),
            Some(_) => Some(("missing IPv6 address", "")),
            None => None,
        }
        .unwrap_or(("unable to parse IP", ""));
        let at = if at.is_empty() { String::new() } else { format!(" (at {at:?})") };
        format!("ParseAddr({text:?}): {what}{at}")
    })
}

/// Whether these are the four numbers of an IPv4 address.
fn fields(text: &str) -> Result<(), Wrong<'_>> {
    let (mut value, mut digits, mut position) = (0, 0, 0);
    let mut last = '.';
    for (index, c) in text.char_indices() {
        if let Some(digit) = c.to_digit(10) {
            if digits == 1 && value == 0 {
                return Err(("IPv4 field has octet with leading zero", ""));
            }
            value = value * 10 + digit;
            digits += 1;
            if value > 255 {
                return Err(("IPv4 field has value >255", ""));
            }
        } else if c == '.' {
            if last == '.' || index == text.len() - 1 {
                return Err(("IPv4 field must have at least one digit", &text[index..]));
            }
            if position == 3 {
                return Err(("IPv4 address too long", ""));
            }
            (value, digits, position) = (0, 0, position + 1);
        } else {
            return Err(("unexpected character", &text[index..]));
        }
        last = c;
    }
    if position < 3 { Err(("IPv4 address too short", "")) } else { Ok(()) }
}

/// Whether these are the groups of an IPv6 address.
fn groups(text: &str) -> Result<(), Wrong<'_>> {
    let mut rest = text;
    if let Some((before, zone)) = text.split_once('%') {
        if zone.is_empty() {
            return Err(("zone must be a non-empty string", ""));
        }
        rest = before;
    }
    let mut ellipsis = rest.starts_with("::").then_some(0);
    rest = rest.strip_prefix("::").unwrap_or(rest);
    if rest.is_empty() && ellipsis.is_some() {
        return Ok(());
    }
    let mut bytes = 0;
    while bytes < 16 {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits > 4 {
            return Err(("each group must have 4 or less digits", rest));
        }
        if digits == 0 {
            return Err(("each colon-separated field must have at least one digit", rest));
        }
        if rest[digits..].starts_with('.') {
            if ellipsis.is_none() && bytes != 12 {
                let what = "embedded IPv4 address must replace the final 2 fields of the address";
                return Err((what, rest));
            }
            if bytes > 12 {
                let what = "too many hex fields to fit an embedded IPv4 at the end of the address";
                return Err((what, rest));
            }
            fields(rest)?;
            rest = "";
            bytes += 4;
            break;
        }
        bytes += 2;
        rest = &rest[digits..];
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(':') else {
            return Err(("unexpected character, want colon", rest));
        };
        if after.is_empty() {
            return Err(("colon must be followed by more characters", rest));
        }
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis.is_some() {
                return Err(("multiple :: in address", rest));
            }
            ellipsis = Some(bytes);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    match ellipsis {
        _ if !rest.is_empty() => Err(("trailing garbage after address", rest)),
        None if bytes < 16 => Err(("address string too short", "")),
        Some(_) if bytes == 16 => Err(("the :: must expand to at least one field of zeros", "")),
        _ => Ok(()),
    }
}
