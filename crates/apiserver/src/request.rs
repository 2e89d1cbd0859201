//! What a request is about, read from its method, path and query. Pure.
//!
//! The rules are those of apiserver's `request.RequestInfoFactory`: verbs, `/watch/` and `/proxy/`
//! prefixes of old, and a watch on one name by field selector.

pub(crate) mod duration;

use std::borrow::Cow;

use http::Method;

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Whether it is about a resource; otherwise only `verb` and `path` mean something.
    pub(crate) is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the
    /// method in lower case.
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    /// What follows the subresource.
    pub(crate) rest: String,
}

impl RequestInfo {
    /// Reads a request.
    pub(crate) fn of(method: &Method, path: &str, query: &Query<'_>) -> Self {
        let mut info = Self { verb: method_verb(method), path: path.to_owned(), ..Self::default() };
        let mut parts: Vec<Cow<'_, str>> =
            path.split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
        match parts.first().map(|part| &**part) {
            Some("api") if parts.len() >= 3 => {
                info.version = parts[1].to_string();
                parts.drain(..2);
            }
            Some("apis") if parts.len() >= 4 => {
                info.group = parts[1].to_string();
                info.version = parts[2].to_string();
                parts.drain(..3);
            }
            _ => return info,
        }
        info.is_resource = true;
        info.verb = resource_verb(method);
        let watch_path = parts[0] == "watch" && parts.len() > 1;
        if watch_path {
            parts.remove(0);
        }
        info.take_names(&parts, path);
        info.refine(watch_path, query);
        info
    }

    fn take_names(&mut self, parts: &[Cow<'_, str>], path: &str) {
        let mut parts = parts;
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = parts[1].to_string();
            // `namespaces/x/status` and `/finalize` are the namespace's own subresources.
            if parts.len() > 2 && !matches!(&*parts[2], "status" | "finalize") {
                parts = &parts[2..];
            }
        }
        let at = |index: usize| parts.get(index).map(ToString::to_string).unwrap_or_default();
        self.resource = at(0);
        self.name = at(1);
        self.subresource = at(2);
        if parts.len() > 3 {
            // Kept as it was sent: a proxied path belongs to somebody else.
            let raw: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let skip = raw.len() - (parts.len() - 3);
            self.rest = raw[skip..].join("/");
            if path.ends_with('/') {
                self.rest.push('/');
            }
        } else if parts.len() == 3 && path.ends_with('/') && self.subresource == "proxy" {
            self.rest.push('/');
        }
    }

    fn refine(&mut self, watch_path: bool, query: &Query<'_>) {
        if watch_path {
            self.verb = "watch";
        } else if self.name.is_empty() {
            self.verb = match self.verb {
                "get" if query.flag("watch") => "watch",
                "get" => "list",
                "delete" => "deletecollection",
                other => other,
            };
            // Not deletecollection: a role for one name does not allow it.
            if matches!(self.verb, "list" | "watch") {
                // Authorizing `get pods/x` then also allows watching it by its name.
                if let Some(name) = single_name(query.get("fieldSelector")) {
                    self.name = name;
                }
            }
        } else if self.verb == "get" && self.subresource.is_empty() && query.flag("watch") {
            self.verb = "watch";
        }
    }

    /// Whether the request may last, and is neither timed out nor counted.
    pub(crate) fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || matches!(&*self.subresource, "attach" | "exec" | "proxy" | "log" | "portforward")
    }

    /// Whether the request only reads.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch" | "head" | "options")
    }
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "unknown",
    }
}

fn resource_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

fn single_name(selector: Option<&str>) -> Option<String> {
    selector?.split(',').find_map(|term| {
        let value = term.strip_prefix("metadata.name=")?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// A query string's parameters, decoded.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Parses a query string.
    pub(crate) fn parse(text: &'a str) -> Self {
        Self(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (form_decode(key), form_decode(value))
                })
                .collect(),
        )
    }

    /// The same, owned.
    pub(crate) fn into_owned(self) -> Query<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Query(self.0.into_iter().map(|(key, value)| (own(key), own(value))).collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// The value of a parameter; empty when it is absent.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// Every value of a parameter.
    pub(crate) fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// A boolean as apimachinery converts it: present, and neither `0` nor `false`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A number, when there is one.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }
}

fn form_decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(percent_decode(&text.replace('+', " ")).into_owned())
    } else {
        percent_decode(text)
    }
}

/// Decodes `%xx`; what is no such sequence stays.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, query: &str, expected: [&str; 7]) {
        let info = RequestInfo::of(&method, path, &Query::parse(query));
        let got = [
            info.verb,
            &info.group,
            &info.version,
            &info.namespace,
            &info.resource,
            &info.name,
            &info.subresource,
        ];
        assert_eq!(got, expected, "{method} {path}?{query}");
    }

    #[test]
    fn resource_paths() {
        let get = Method::GET;
        check(get.clone(), "/api/v1/pods", "", ["list", "", "v1", "", "pods", "", ""]);
        check(
            get.clone(),
            "/api/v1/namespaces/a/pods/b/log",
            "",
            ["get", "", "v1", "a", "pods", "b", "log"],
        );
        check(
            get.clone(),
            "/api/v1/namespaces/a/status",
            "",
            ["get", "", "v1", "a", "namespaces", "a", "status"],
        );
        check(
            get.clone(),
            "/api/v1/namespaces/a",
            "",
            ["get", "", "v1", "a", "namespaces", "a", ""],
        );
        check(
            get.clone(),
            "/apis/apps/v1/namespaces/a/deployments",
            "watch=1&fieldSelector=metadata.name%3Dx",
            ["watch", "apps", "v1", "a", "deployments", "x", ""],
        );
        check(
            get,
            "/api/v1/watch/namespaces/a/pods/b",
            "",
            ["watch", "", "v1", "a", "pods", "b", ""],
        );
        check(
            Method::DELETE,
            "/api/v1/namespaces/a/pods",
            "",
            ["deletecollection", "", "v1", "a", "pods", "", ""],
        );
        check(
            Method::POST,
            "/api/v1/namespaces",
            "",
            ["create", "", "v1", "", "namespaces", "", ""],
        );
    }

    #[test]
    fn what_is_no_resource() {
        for path in ["/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/"] {
            assert!(!RequestInfo::of(&Method::GET, path, &Query::default()).is_resource, "{path}");
        }
        let proxy = RequestInfo::of(
            &Method::GET,
            "/api/v1/namespaces/a/services/https:b:80/proxy/x%2Fy/z/",
            &Query::default(),
        );
        assert_eq!(proxy.rest, "x%2Fy/z/");
    }
}
