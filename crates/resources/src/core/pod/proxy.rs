//! `proxy` of pods, services and nodes: passes a request on to a port, and mends what comes back.
//!
//! The name in the path may say more than a name: `[http:|https:]NAME[:PORT]`.

use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object::{int_at, list_at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::relay::links;
use apiserver::resource::{
    HttpRequest, HttpResponse, ObjectApi, SubresourceAnswer, SubresourceHandler, SubresourceRequest,
};
use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::core::node::kubelet_of;
use crate::deps::{Deps, NodeTransport, Target};

/// Whose proxy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A pod's port.
    Pod,
    /// A service's port, straight to one of its endpoints.
    Service,
    /// A node's kubelet, or a port of the node.
    Node,
}

/// Proxies.
pub(crate) struct Proxy {
    nodes: Arc<dyn NodeTransport>,
    parent: Parent,
}

/// `[scheme:]name[:port]`.
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let named = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(name), None, ..) => Self { scheme: "", name, port: "" },
            (Some(scheme @ ("http" | "https")), Some(name), None, _) => {
                Self { scheme, name, port: "" }
            }
            (Some(name), Some(port), None, _) => Self { scheme: "", name, port },
            (Some(scheme), Some(name), Some(port), None) => Self { scheme, name, port },
            _ => return None,
        };
        let known = matches!(named.scheme, "" | "http" | "https");
        (known && !named.name.is_empty()).then_some(named)
    }
}

impl Proxy {
    pub(crate) fn new(deps: &Deps, parent: Parent) -> Self {
        Self { nodes: Arc::clone(&deps.nodes), parent }
    }

    async fn target(
        &self,
        api: &dyn ObjectApi,
        namespace: &str,
        named: &Named<'_>,
    ) -> ApiResult<Target> {
        let tls = named.scheme == "https";
        match self.parent {
            Parent::Pod => {
                let pod = api.get(&GroupResource::new("", "pods"), namespace, named.name).await?;
                pod_target(&pod, named, tls)
            }
            Parent::Service => service_target(api, namespace, named, tls).await,
            Parent::Node => {
                let target = kubelet_of(api, named.name).await?;
                match (target, named.port) {
                    (Target::Kubelet { host, port, .. }, given)
                        if !given.is_empty() && given.parse() != Ok(port) =>
                    {
                        Ok(Target::Address { tls, host, port: port_number(given)? })
                    }
                    (target, _) => Ok(target),
                }
            }
        }
    }
}

fn port_number(text: &str) -> ApiResult<u16> {
    text.parse().map_err(|_| ApiError::bad_request(format!("invalid port {text:?}")))
}

fn pod_target(pod: &Value, named: &Named<'_>, tls: bool) -> ApiResult<Target> {
    let ip = list_at(pod, &["status", "podIPs"])
        .first()
        .map_or(str_at(pod, &["status", "podIP"]), |ip| str_at(ip, &["ip"]));
    if ip.is_empty() {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let ports =
        || list_at(pod, &["spec", "containers"]).iter().flat_map(|one| list_at(one, &["ports"]));
    let number =
        |port: &Value| int_at(port, &["containerPort"]).and_then(|n| u16::try_from(n).ok());
    let port = match named.port {
        "" => ports().find_map(number).unwrap_or(if tls { 443 } else { 80 }),
        text => match text.parse() {
            Ok(port) => port,
            Err(_) => ports()
                .find(|port| str_at(port, &["name"]) == text)
                .and_then(number)
                .ok_or_else(|| ApiError::bad_request(format!("invalid port {text:?}")))?,
        },
    };
    Ok(Target::Address { tls, host: ip.to_owned(), port })
}

async fn service_target(
    api: &dyn ObjectApi,
    namespace: &str,
    named: &Named<'_>,
    tls: bool,
) -> ApiResult<Target> {
    let services = GroupResource::new("", "services");
    let service = api.get(&services, namespace, named.name).await?;
    let unavailable = |what: &str| {
        ApiError::unavailable(format!("no {what} available for service {:?}", named.name))
    };
    let ports = list_at(&service, &["spec", "ports"]);
    let wanted = match named.port {
        // A service with one port needs no name for it.
        "" => ports.first(),
        text => ports.iter().find(|port| {
            str_at(port, &["name"]) == text
                || int_at(port, &["port"]).is_some_and(|number| number.to_string() == text)
        }),
    };
    let Some(wanted) = wanted else {
        let text = format!("no service port {:?} found for service {:?}", named.port, named.name);
        return Err(ApiError::unavailable(text));
    };
    let endpoints = GroupResource::new("", "endpoints");
    let endpoints = match api.get(&endpoints, namespace, named.name).await {
        Ok(endpoints) => endpoints,
        Err(error) if error.code() == 404 => return Err(unavailable("endpoints")),
        Err(error) => return Err(error),
    };
    let name = str_at(wanted, &["name"]);
    for subset in list_at(&endpoints, &["subsets"]) {
        let port = list_at(subset, &["ports"]).iter().find(|port| str_at(port, &["name"]) == name);
        let number =
            port.and_then(|port| int_at(port, &["port"])).and_then(|n| u16::try_from(n).ok());
        let addresses = list_at(subset, &["addresses"]);
        if let (Some(port), false) = (number, addresses.is_empty()) {
            let host = str_at(&addresses[spread(addresses.len())], &["ip"]).to_owned();
            return Ok(Target::Address { tls, host, port });
        }
    }
    Err(unavailable("endpoints"))
}

/// One of several, each in turn.
fn spread(count: usize) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % count
}

/// GET and HEAD of `…/proxy` go to `…/proxy/`, so that relative links work.
fn needs_slash(request: &HttpRequest, rest: &str) -> bool {
    let plain = matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrade = request.headers().contains_key(header::UPGRADE);
    plain && !upgrade && rest.is_empty() && !request.uri().path().ends_with('/')
}

fn redirect(request: &HttpRequest) -> ApiResult<HttpResponse> {
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    let location = format!("{}/{query}", request.uri().path());
    let mut response: HttpResponse = http::Response::new(Default::default());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let value = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

#[async_trait]
impl SubresourceHandler for Proxy {
    fn is_connect(&self) -> bool {
        true
    }

    fn connect_options(&self, _: &str, rest: &str) -> Option<Value> {
        Some(if rest.is_empty() { json!({}) } else { json!({ "path": inner_path(rest) }) })
    }

    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let mut http = request.http;
        if needs_slash(&http, &request.rest) {
            return Ok(SubresourceAnswer::Http(redirect(&http)?));
        }
        let invalid = || ApiError::bad_request(format!("invalid name {:?}", request.name));
        let named = Named::parse(&request.name).ok_or_else(invalid)?;
        let target = self.target(api, &request.namespace, &named).await?;
        let outer = http.uri().path().to_owned();
        let prefix =
            outer.strip_suffix(&request.rest).unwrap_or(&outer).trim_end_matches('/').to_owned();
        let query = http.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let asked = asked_host(&http);
        let inner = format!("{}{query}", inner_path(&request.rest));
        *http.uri_mut() = inner.parse().map_err(|_| invalid())?;
        let (Target::Kubelet { host, port, .. } | Target::Address { host, port, .. }) = &target;
        let backend = format!("{host}:{port}");
        forwarded(&mut http, &outer, &asked);
        let back = Back { backend, asked, prefix };
        let response = self.nodes.send(&target, http).await?;
        Ok(SubresourceAnswer::Http(back.answer(response).await))
    }
}

/// What the backend is asked for. Of `…/proxy/` only a slash is left, and there is one root.
fn inner_path(rest: &str) -> String {
    format!("/{}", rest.trim_start_matches('/'))
}

/// The host that the client asked; with HTTP/2 it stands in the address.
fn asked_host(request: &HttpRequest) -> String {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let address = request.uri().authority().map(http::uri::Authority::as_str);
    address.or(header).unwrap_or_default().to_owned()
}

fn forwarded(request: &mut HttpRequest, outer: &str, asked: &str) {
    let headers = request.headers_mut();
    for (name, value) in [("x-forwarded-uri", outer), ("x-forwarded-host", asked)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    // The caller's credentials are for this server only.
    headers.remove(header::AUTHORIZATION);
    // A page has to be read, for its links.
    headers.remove(header::ACCEPT_ENCODING);
}

/// The way back through the proxy, for what a backend says of its own addresses.
struct Back {
    /// The backend, as `HOST:PORT`.
    backend: String,
    /// The host that the client asked.
    asked: String,
    /// The proxy's path, without a slash at its end.
    prefix: String,
}

impl Back {
    /// What an address becomes: it leads through the proxy when it is the backend's own and says a
    /// whole path. `None` when it stays as it is.
    fn mend(&self, link: &str) -> Option<String> {
        let scheme = link.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_scheme = !scheme.is_empty() && !scheme.contains(['/', '?', '#']);
        let rest = if is_scheme { &link[scheme.len() + 1..] } else { link };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let is_own = [&*self.backend, &*self.asked, ""].contains(&authority);
        if !is_own || !path.starts_with('/') {
            return None;
        }
        // Who asked by this name goes on doing so; the backend's own says nothing to the client.
        let host = if authority == self.asked { &link[..link.len() - path.len()] } else { "" };
        let prefix = if path.starts_with(&self.prefix) { "" } else { &self.prefix };
        Some(format!("{host}{prefix}{path}"))
    }

    /// Mends a redirect, or the links of a page.
    async fn answer(&self, mut response: HttpResponse) -> HttpResponse {
        let Some(location) = response.headers().get(header::LOCATION) else {
            return links::mended(response, |link| self.mend(link)).await;
        };
        let mended = location.to_str().ok().and_then(|location| self.mend(location));
        if let Some(value) = mended.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_backend() {
        for (rest, expected) in [("", "/"), ("/", "/"), ("x", "/x"), ("x%2Fy/", "/x%2Fy/")] {
            assert_eq!(inner_path(rest), expected, "{rest:?}");
        }
    }

    #[test]
    fn addresses_lead_through_the_proxy() {
        let back = Back {
            backend: "10.0.0.1:80".to_owned(),
            asked: "master:6443".to_owned(),
            prefix: "/api/p/proxy".to_owned(),
        };
        for (link, expected) in [
            ("/x/?a=b#c", Some("/api/p/proxy/x/?a=b#c")),
            ("http://10.0.0.1:80/x", Some("/api/p/proxy/x")),
            ("//10.0.0.1:80/x", Some("/api/p/proxy/x")),
            ("https://master:6443/x", Some("https://master:6443/api/p/proxy/x")),
            ("https://master:6443/api/p/proxy/x", Some("https://master:6443/api/p/proxy/x")),
            ("/api/p/proxy/x", Some("/api/p/proxy/x")),
            ("http://10.0.0.1:81/x", None),
            ("//elsewhere/x", None),
            ("http://10.0.0.1:80", None),
            ("x/y", None),
            ("?a=b:c", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            assert_eq!(back.mend(link).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn names_that_say_more() {
        let check = |text: &str, expected: Option<(&str, &str, &str)>| {
            let named = Named::parse(text);
            let found = named.as_ref().map(|named| (named.scheme, named.name, named.port));
            assert_eq!(found, expected, "{text}");
        };
        check("a", Some(("", "a", "")));
        check("a:80", Some(("", "a", "80")));
        check("https:a:443", Some(("https", "a", "443")));
        check("https:a:", Some(("https", "a", "")));
        check("http:a", Some(("http", "a", "")));
        check("ftp:a:1", None);
        check("a:b:c:d", None);
    }
}
