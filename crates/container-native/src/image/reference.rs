//! Names of images, read as Docker reads them.
//!
//! `busybox:1.28` is `docker.io/library/busybox:1.28`; `oliwave/kubia` is
//! `docker.io/oliwave/kubia:latest`; a first part with a dot or a colon, or `localhost`, is a
//! registry.

use std::fmt;
use std::str::FromStr;

use super::ImageError;

/// A name in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry's host, with a port if it was given.
    pub registry: String,
    /// The path within the registry.
    pub repository: String,
    /// The tag; none for a name with a digest only.
    pub tag: Option<String>,
    /// The digest, `sha256:…`.
    pub digest: Option<String>,
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let bad = |why| ImageError::Name { name: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad("the digest is not sha256 and 64 hex digits")),
            None => (text, None),
        };
        let last_part = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last_part..].find(':') {
            Some(colon) => {
                (&rest[..last_part + colon], Some(rest[last_part + colon + 1..].to_owned()))
            }
            None => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("the tag has characters that tags cannot have"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_owned(), path.to_owned())
            }
            _ => ("docker.io".to_owned(), name.to_owned()),
        };
        if !is_host(&registry) {
            return Err(bad("the registry is not a host"));
        }
        let docker = registry == "docker.io" || registry == "index.docker.io";
        let repository = if docker && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        if !repository.split('/').all(is_path_part) || repository.len() > 255 {
            return Err(bad("repository names are lower-case letters, digits and separators"));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        let registry = if docker { "docker.io".to_owned() } else { registry };
        Ok(Self { registry, repository, tag, digest })
    }
}

impl Reference {
    /// Registry and repository, without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether its registry is on this machine, and so speaks plain HTTP.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(&*self.registry, |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether a text is `sha256:` and 64 hex digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_host(text: &str) -> bool {
    let within = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && text.bytes().all(within)
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_path_part(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        let got = given.parse::<Reference>();
        let got = got.map_or_else(|_| "error".to_owned(), |name| name.to_string());
        assert_eq!(got, expected, "{given}");
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        check("busybox:1.28", "docker.io/library/busybox:1.28");
        check("busybox", "docker.io/library/busybox:latest");
        check("oliwave/kubia:v1", "docker.io/oliwave/kubia:v1");
        check("index.docker.io/library/a", "docker.io/library/a:latest");
        check("ferry.local/demo:v1", "ferry.local/demo:v1");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest");
        check("localhost/a", "localhost/a:latest");
        check("gcr.io/kuar-demo/kuard-amd64:blue", "gcr.io/kuar-demo/kuard-amd64:blue");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"));
        check(&format!("a:b@{digest}"), &format!("docker.io/library/a:b@{digest}"));
        for bad in ["", "Upper", "a:", "a:-b", "a@sha256:12", "a//b", "../a", "a b", "docker.io/"] {
            check(bad, "error");
        }
    }
}
