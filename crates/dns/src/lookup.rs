//! A look-up as a program in a pod makes it: by `/etc/resolv.conf`, its search list included.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {name}")]
pub struct LookupError {
    /// The name.
    pub name: String,
    /// Why.
    #[source]
    pub source: NetError,
}

/// The addresses of a name.
///
/// # Errors
/// The resolver's configuration cannot be read, or no server knows the name.
pub async fn lookup(name: &str) -> Result<Vec<IpAddr>, LookupError> {
    let found = async {
        let resolver = TokioResolver::builder_tokio()?.build()?;
        let found = resolver.lookup_ip(name).await?;
        Ok(found.iter().collect())
    };
    found.await.map_err(|source| LookupError { name: name.to_owned(), source })
}
