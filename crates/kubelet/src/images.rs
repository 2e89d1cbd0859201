//! Makes sure that a container's image is on the node: pull policy, secrets, back-off.
//!
//! Texts of events and reasons are upstream's (`pkg/kubelet/images/image_manager.go`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use container_runtime::{AuthConfig, Error, Image, ImageService, ImageSpec, PodSandboxConfig};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use parking_lot::Mutex;

use crate::objects::Objects;
use crate::pod;
use crate::status::containers::Waiting;
use crate::worker::backoff::Backoff;
use base::clock::SharedClock;

/// An image that is there.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    /// What to name it to the runtime.
    pub(crate) reference: String,
    /// What the runtime knows of it.
    pub(crate) image: Option<Image>,
}

/// An image that cannot be had now.
#[derive(Debug, Clone)]
pub(crate) struct Absent {
    /// What the container's status shows.
    pub(crate) waiting: Waiting,
    /// When to try again.
    pub(crate) retry_in: Duration,
}

/// What happened, for an event: reason, text, whether it is a warning.
pub(crate) type Say<'a> = &'a (dyn Fn(&str, String, bool) + Send + Sync);

/// The node's images.
#[derive(Debug)]
pub(crate) struct Images {
    service: Arc<dyn ImageService>,
    clock: SharedClock,
    backoff: Mutex<Backoff>,
    last_errors: Mutex<HashMap<String, String>>,
}

impl Images {
    /// Over a runtime's image service.
    pub(crate) fn new(service: Arc<dyn ImageService>, clock: SharedClock) -> Self {
        Self { service, clock, backoff: Mutex::default(), last_errors: Mutex::default() }
    }

    /// The image of a container, pulled when its policy wants that.
    pub(crate) async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        objects: &Objects,
        sandbox: Option<&PodSandboxConfig>,
        say: Say<'_>,
    ) -> Result<Present, Absent> {
        let name = container.image.clone().unwrap_or_default();
        let spec = ImageSpec::named(name.clone());
        let policy = policy(container.image_pull_policy.as_deref(), &name);
        let known = match self.service.image_status(&spec).await {
            Ok(known) => known,
            Err(Error::InvalidArgument(_)) => return Err(self.invalid_name(&name, say)),
            Err(error) => {
                let message = format!("Failed to inspect image \"{name}\": {error}");
                say("InspectFailed", message.clone(), true);
                return Err(absent("ImageInspectError", message, Duration::from_secs(10)));
            }
        };
        match (policy, known) {
            ("Never", None) => {
                let message =
                    format!("Container image \"{name}\" is not present with pull policy of Never");
                say("ErrImageNeverPull", message.clone(), true);
                Err(absent("ErrImageNeverPull", message, Duration::from_secs(60)))
            }
            ("Never" | "IfNotPresent", Some(image)) => {
                let message = format!(
                    "Container image \"{name}\" already present on machine and can be accessed by the pod"
                );
                say("Pulled", message, false);
                Ok(Present { reference: image.id.clone(), image: Some(image) })
            }
            _ => self.pull(pod, &name, &spec, objects, sandbox, say).await,
        }
    }

    fn invalid_name(&self, name: &str, say: Say<'_>) -> Absent {
        let message = format!(
            "Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": invalid reference format"
        );
        say("InspectFailed", message.clone(), true);
        absent("InvalidImageName", message, Duration::from_secs(60))
    }

    async fn pull(
        &self,
        pod: &Pod,
        name: &str,
        spec: &ImageSpec,
        objects: &Objects,
        sandbox: Option<&PodSandboxConfig>,
        say: Say<'_>,
    ) -> Result<Present, Absent> {
        let key = format!("{}_{name}", pod::uid(pod));
        if let Some(wait) = self.waits(&key, name, say) {
            return Err(wait);
        }
        say("Pulling", format!("Pulling image \"{name}\""), false);
        let started = tokio::time::Instant::now();
        let auths = credentials(pod, objects, name).await;
        let mut result = Err(Error::Internal("no pull was tried".to_owned()));
        for auth in auths.iter().map(Some).chain((auths.is_empty()).then_some(None)) {
            result = self.service.pull_image(spec, auth, sandbox).await;
            if result.is_ok() {
                break;
            }
        }
        match result {
            Ok(reference) => {
                self.backoff.lock().forget(&key);
                self.last_errors.lock().remove(&key);
                let image = self
                    .service
                    .image_status(&ImageSpec::named(reference.clone()))
                    .await
                    .ok()
                    .flatten();
                let took = seconds(started.elapsed());
                let size = image.as_ref().map_or(0, |image| image.size);
                say(
                    "Pulled",
                    format!(
                        "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {size} bytes."
                    ),
                    false,
                );
                Ok(Present { reference, image })
            }
            Err(error) => {
                let detail = format!("failed to pull image \"{name}\": {error}");
                say("Failed", format!("Failed to pull image \"{name}\": {error}"), true);
                say("Failed", "Error: ErrImagePull".to_owned(), true);
                let now = self.clock.now();
                let mut backoff = self.backoff.lock();
                backoff.next(&key, now, now);
                let retry_in = backoff
                    .remaining(&key, now, now)
                    .map_or(Duration::from_secs(10), |(left, _)| left);
                self.last_errors.lock().insert(key, detail.clone());
                Err(absent("ErrImagePull", detail, retry_in))
            }
        }
    }

    /// Whether a failed pull is too recent to be tried again.
    fn waits(&self, key: &str, name: &str, say: Say<'_>) -> Option<Absent> {
        let now = self.clock.now();
        let mut backoff = self.backoff.lock();
        backoff.sweep(now);
        let (left, _) = backoff.updated(key).and_then(|at| backoff.remaining(key, at, now))?;
        say("BackOff", format!("Back-off pulling image \"{name}\""), false);
        say("Failed", "Error: ImagePullBackOff".to_owned(), true);
        let why = self.last_errors.lock().get(key).cloned().unwrap_or_default();
        Some(absent(
            "ImagePullBackOff",
            format!("Back-off pulling image \"{name}\": ErrImagePull: {why}"),
            left,
        ))
    }
}

fn absent(reason: &str, message: String, retry_in: Duration) -> Absent {
    Absent { waiting: Waiting { reason: reason.to_owned(), message }, retry_in }
}

/// `1.234s`, `85ms`: Go's form with three digits.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{:.3}s", duration.as_secs_f64())
    }
}

/// The policy that applies: what is given, or `Always` for `latest` and `IfNotPresent` for others.
fn policy<'a>(given: Option<&'a str>, image: &str) -> &'a str {
    given.filter(|policy| !policy.is_empty()).unwrap_or_else(|| {
        let last = image.rsplit('/').next().unwrap_or(image);
        let latest = !last.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
        if latest { "Always" } else { "IfNotPresent" }
    })
}

/// The credentials that the pod's pull secrets hold for an image, in order.
async fn credentials(pod: &Pod, objects: &Objects, image: &str) -> Vec<AuthConfig> {
    let spec = pod::spec(pod);
    let mut all = Vec::new();
    for reference in spec.image_pull_secrets.iter().flatten() {
        if let Ok(Some(secret)) = objects.secret(pod::namespace(pod), &reference.name).await {
            all.extend(from_secret(&secret, image));
        }
    }
    all
}

/// The registry that an image's name means.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn from_secret(secret: &Secret, image: &str) -> Vec<AuthConfig> {
    let data = secret.data.as_ref();
    let field =
        |key: &str| data.and_then(|data| data.get(key)).map(|ByteString(bytes)| bytes.as_slice());
    let (bytes, nested) = match (field(".dockerconfigjson"), field(".dockercfg")) {
        (Some(bytes), _) => (bytes, true),
        (None, Some(bytes)) => (bytes, false),
        (None, None) => return Vec::new(),
    };
    let Ok(config) = serde_json::from_slice::<serde_json::Value>(bytes) else { return Vec::new() };
    let entries = if nested { config.get("auths").cloned().unwrap_or_default() } else { config };
    let wanted = registry(image);
    let mut found: Vec<(usize, AuthConfig)> = Vec::new();
    for (server, entry) in entries.as_object().into_iter().flatten() {
        let plain = server.trim_start_matches("https://").trim_start_matches("http://");
        let plain = plain.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
        let (host, path) = plain.split_once('/').unwrap_or((plain, ""));
        let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") {
            "docker.io"
        } else {
            host
        };
        let fits_host = host == wanted
            || host.strip_prefix("*.").is_some_and(|rest| wanted.ends_with(&format!(".{rest}")));
        let fits_path = path.is_empty() || image.contains(&format!("{wanted}/{path}"));
        if fits_host && fits_path {
            found.push((plain.len(), auth_config(server, entry)));
        }
    }
    // The longest, most exact entry first.
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

fn auth_config(server: &str, entry: &serde_json::Value) -> AuthConfig {
    let text = |key: &str| api::object::str_at(entry, &[key]).to_owned();
    let mut auth = AuthConfig {
        username: text("username"),
        password: text("password"),
        auth: text("auth"),
        server_address: server.to_owned(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
    };
    if auth.username.is_empty() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim()).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        if let Some((user, password)) = decoded.split_once(':') {
            auth.username = user.to_owned();
            auth.password = password.trim_end_matches('\0').to_owned();
        }
    }
    auth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_follow_the_tag() {
        for (image, expected) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(policy(None, image), expected, "{image}");
        }
        assert_eq!(policy(Some("Never"), "nginx"), "Never");
    }

    #[test]
    fn secrets_give_credentials_for_their_registry_only() {
        let config = serde_json::json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNz"},
            "quay.io/team": {"username": "q", "password": "r"},
        }});
        let mut secret = Secret::default();
        let bytes = ByteString(config.to_string().into_bytes());
        secret.data = Some([(".dockerconfigjson".to_owned(), bytes)].into());
        let users = |image: &str| {
            from_secret(&secret, image).into_iter().map(|auth| auth.username).collect::<Vec<_>>()
        };
        assert_eq!(users("nginx:1"), ["user"]);
        assert_eq!(users("quay.io/team/app"), ["q"]);
        assert!(users("quay.io/other/app").is_empty() && users("ghcr.io/x").is_empty());
    }
}
