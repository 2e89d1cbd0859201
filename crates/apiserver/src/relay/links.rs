//! Pages that come through a proxy: their links to where they came from lead through it again.
//!
//! Pure but for [`mended`]. A page is copied byte by byte; only values of attributes that hold
//! addresses change. (apimachinery `util/proxy/transport.go`)

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use crate::resource::HttpResponse;

/// Pages larger than this go on as they are.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Elements whose content is text, whatever it looks like.
const TEXTS: [&str; 6] = ["script", "style", "textarea", "title", "iframe", "noscript"];

/// What of an element holds an address.
fn holds_link(element: &str, attribute: &str) -> bool {
    let attributes: &[&str] = match element {
        "a" | "area" | "base" | "link" => &["href"],
        "audio" | "embed" | "script" | "source" => &["src"],
        "blockquote" | "del" | "ins" | "q" => &["cite"],
        "body" => &["background"],
        "applet" => &["codebase"],
        "button" => &["formaction"],
        "command" => &["icon"],
        "form" => &["action"],
        "frame" | "iframe" => &["longdesc", "src"],
        "head" => &["profile"],
        "html" => &["manifest"],
        "img" => &["longdesc", "src", "usemap"],
        "input" => &["src", "usemap", "formaction"],
        "object" => &["classid", "codebase", "data", "usemap"],
        "video" => &["poster", "src"],
        _ => &[],
    };
    attributes.contains(&attribute)
}

/// A page with its links mended; anything else as it is. `mend` says what an address becomes.
pub async fn mended(
    mut response: HttpResponse,
    mend: impl Fn(&str) -> Option<String>,
) -> HttpResponse {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind != "text/html" || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let mut rest = std::mem::take(response.body_mut()).into_data_stream();
    let mut page = Vec::new();
    while let Some(piece) = rest.next().await {
        let (long, piece) = match piece {
            Ok(bytes) => {
                page.extend_from_slice(&bytes);
                (page.len() > PAGE_BYTES_MAX, None)
            }
            Err(error) => (true, Some(Err(error))),
        };
        if long {
            let begun = std::iter::once(Ok(Bytes::from(page))).chain(piece);
            *response.body_mut() = Body::from_stream(stream::iter(begun).chain(rest));
            return response;
        }
    }
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(rewritten(&page, mend));
    response
}

/// A page in which each address is what `mend` makes of it.
fn rewritten(page: &[u8], mend: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + page.len() / 8);
    let mut at = 0;
    while let Some(found) = page[at..].iter().position(|byte| *byte == b'<') {
        let start = at + found;
        out.extend_from_slice(&page[at..start]);
        let tail = &page[start..];
        let length = if tail.starts_with(b"<!--") {
            end_of(tail, b"-->")
        } else if tail.get(1).is_some_and(u8::is_ascii_alphabetic) {
            let element = tag(tail, &mend, &mut out);
            at = start + element.length;
            if TEXTS.contains(&&*element.name) {
                let end = end_of_text(&page[at..], &element.name);
                out.extend_from_slice(&page[at..at + end]);
                at += end;
            }
            continue;
        } else {
            1
        };
        out.extend_from_slice(&tail[..length]);
        at = start + length;
    }
    out.extend_from_slice(&page[at..]);
    out
}

/// How far a piece goes that ends with `mark`.
fn end_of(tail: &[u8], mark: &[u8]) -> usize {
    let found = tail.windows(mark.len()).position(|window| window == mark);
    found.map_or(tail.len(), |at| at + mark.len())
}

/// How far the text of an element goes.
fn end_of_text(tail: &[u8], element: &str) -> usize {
    let mark = format!("</{element}");
    let is_end = |window: &[u8]| window.eq_ignore_ascii_case(mark.as_bytes());
    tail.windows(mark.len()).position(is_end).unwrap_or(tail.len())
}

struct Element {
    name: String,
    length: usize,
}

/// Copies a tag, its addresses mended.
fn tag(tail: &[u8], mend: &impl Fn(&str) -> Option<String>, out: &mut Vec<u8>) -> Element {
    let word = |from: usize, ends: &[u8]| {
        let end = |byte: &u8| byte.is_ascii_whitespace() || ends.contains(byte);
        tail[from..].iter().position(end).map_or(tail.len(), |length| from + length)
    };
    let lower = |from: usize, to: usize| String::from_utf8_lossy(&tail[from..to]).to_lowercase();
    let mut at = word(1, b"/>");
    let name = lower(1, at);
    let mut copied = 0;
    while let Some(&byte) = tail.get(at) {
        if byte == b'>' {
            at += 1;
            break;
        }
        if byte.is_ascii_whitespace() || byte == b'/' || byte == b'=' {
            at += 1;
            continue;
        }
        let end = word(at, b"=/>");
        let attribute = lower(at, end);
        at = skip_spaces(tail, end);
        if tail.get(at) != Some(&b'=') {
            continue;
        }
        at = skip_spaces(tail, at + 1);
        let (from, to, after) = match tail.get(at) {
            Some(&quote @ (b'"' | b'\'')) => {
                let length = tail[at + 1..].iter().position(|byte| *byte == quote);
                let to = length.map_or(tail.len(), |length| at + 1 + length);
                (at + 1, to, (to + 1).min(tail.len()))
            }
            _ => {
                let to = word(at, b">");
                (at, to, to)
            }
        };
        let value = std::str::from_utf8(&tail[from..to]).ok();
        if holds_link(&name, &attribute)
            && let Some(link) = value.and_then(mend)
        {
            out.extend_from_slice(&tail[copied..from]);
            out.extend_from_slice(link.as_bytes());
            copied = to;
        }
        at = after;
    }
    out.extend_from_slice(&tail[copied..at]);
    Element { name, length: at }
}

fn skip_spaces(tail: &[u8], from: usize) -> usize {
    let found = tail[from..].iter().position(|byte| !byte.is_ascii_whitespace());
    found.map_or(tail.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooted(link: &str) -> Option<String> {
        link.starts_with('/').then(|| format!("/p{link}"))
    }

    #[test]
    fn addresses_are_found_and_nothing_else() {
        for (page, expected) in [
            (r#"<a href="/x">test</a>"#, r#"<a href="/p/x">test</a>"#),
            (r#"<a href="x">/a</a> < b"#, r#"<a href="x">/a</a> < b"#),
            ("<A  HREF = '/x' title=/y>", "<A  HREF = '/p/x' title=/y>"),
            ("<a href=/x?a=1&amp;b>t", "<a href=/p/x?a=1&amp;b>t"),
            (r#"<img alt src="/i"/><img src=/j />"#, r#"<img alt src="/p/i"/><img src=/p/j />"#),
            (r#"<p src="/x"><!-- <a href="/x"> -->"#, r#"<p src="/x"><!-- <a href="/x"> -->"#),
            (
                r#"<script src="/s">'<a href="/x">'</SCRIPT><a href="/y">"#,
                r#"<script src="/p/s">'<a href="/x">'</SCRIPT><a href="/p/y">"#,
            ),
            (r#"<a href="/x"#, r#"<a href="/p/x"#),
            (r#"<a href="#, r#"<a href="#),
            ("<a", "<a"),
            ("<", "<"),
            ("", ""),
        ] {
            let got = rewritten(page.as_bytes(), rooted);
            assert_eq!(String::from_utf8_lossy(&got), expected, "{page}");
        }
    }

    async fn check(kind: &str, body: Body, expected: &str, length: Option<&str>) {
        let response = http::Response::builder()
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_LENGTH, "20")
            .body(body)
            .unwrap();
        let got = mended(response, rooted).await;
        let told = got.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
        assert_eq!(told, length, "{kind}");
        let bytes = axum::body::to_bytes(got.into_body(), usize::MAX).await.unwrap();
        assert!(bytes == expected.as_bytes(), "{kind}");
    }

    #[tokio::test]
    async fn only_pages_of_a_reasonable_size_are_read() {
        let page = r#"<a href="/x">test</a>"#;
        let mended = r#"<a href="/p/x">test</a>"#;
        check("text/html; charset=utf-8", page.into(), mended, None).await;
        check("text/plain", page.into(), page, Some("20")).await;
        let long = page.repeat(PAGE_BYTES_MAX / page.len() + 2);
        check("text/html", long.clone().into(), &long, Some("20")).await;
    }
}
