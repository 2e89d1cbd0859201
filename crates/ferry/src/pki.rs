//! Keys and certificates of a cluster: one authority, leaves that it signs.
//!
//! Everything lies in `DATA/server/tls` as PEM, 0600 in a 0700 folder, and is made when it is
//! missing. Leaves are short-lived and made anew at every start, and by [`Authority::leaf`] while
//! running; the authority lasts ten years.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base::clock::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

/// A certificate authority with its key.
pub(crate) struct Authority {
    /// The certificate in PEM, as clients get it.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate.
    pub(crate) pem: String,
    /// The private key, PKCS#8.
    pub(crate) key_pem: String,
}

/// What a leaf says of its holder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The user's name, or the server's.
    pub(crate) common_name: String,
    /// The user's groups.
    pub(crate) organizations: Vec<String>,
    /// DNS names of a server.
    pub(crate) dns_names: Vec<String>,
    /// Addresses of a server.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Authority {
    /// Reads the authority `NAME.crt`/`NAME.key` in a folder, or makes it.
    pub(crate) fn open(dir: &Path, name: &str, now: Timestamp) -> Result<Self> {
        let (crt, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        if !crt.exists() {
            let leaf = Self::create(&format!("ferry-{name}"), now)?;
            write_secret(&key, leaf.key_pem.as_bytes())?;
            write_secret(&crt, leaf.pem.as_bytes())?;
        }
        let read = |path: &PathBuf| {
            fs::read_to_string(path)
                .with_context(|| format!("cannot read the cluster's authority {}", path.display()))
        };
        let (pem, key_pem) = (read(&crt)?, read(&key)?);
        let pair = KeyPair::from_pem(&key_pem)
            .with_context(|| format!("{} holds no private key", key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair)
            .with_context(|| format!("{} holds no certificate", crt.display()))?;
        Ok(Self { pem, issuer })
    }

    fn create(common_name: &str, now: Timestamp) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = params(
            &Subject { common_name: common_name.to_owned(), ..Subject::default() },
            now,
            AUTHORITY_DAYS,
        )?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        Ok(Leaf { pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
    }

    /// A leaf for a server, a client, or both (the names decide: a server has names or addresses).
    pub(crate) fn leaf(&self, subject: &Subject, now: Timestamp) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = params(subject, now, LEAF_DAYS)?;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !subject.dns_names.is_empty() || !subject.addresses.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The store of roots that trusts this authority alone.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(Arc::new(roots))
    }
}

impl Leaf {
    /// The certificate chain and key, as rustls takes them.
    pub(crate) fn rustls(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain =
            CertificateDer::pem_slice_iter(self.pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        Ok((chain, PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?))
    }
}

fn params(subject: &Subject, now: Timestamp, days: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(subject.dns_names.clone())?;
    params
        .subject_alt_names
        .extend(subject.addresses.iter().map(|address| SanType::IpAddress(*address)));
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject.common_name.clone());
    for organization in &subject.organizations {
        name.push(DnType::OrganizationName, organization.clone());
    }
    params.distinguished_name = name;
    // An hour back, for machines whose clocks differ.
    params.not_before = ((now.as_second() - 3600).max(0)).into_offset()?;
    params.not_after = (now.as_second() + days * 86_400).into_offset()?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Seconds since 1970 as rcgen's date type, which is the `time` crate's.
trait IntoOffset {
    fn into_offset(self) -> Result<time::OffsetDateTime>;
}

impl IntoOffset for i64 {
    fn into_offset(self) -> Result<time::OffsetDateTime> {
        Ok(time::OffsetDateTime::from_unix_timestamp(self)?)
    }
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_authority_is_made_once_and_its_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = Authority::open(dir.path(), "ca", now).unwrap();
        let again = Authority::open(dir.path(), "ca", now).unwrap();
        assert_eq!(first.pem, again.pem);
        let mode = fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let leaf = first
            .leaf(&Subject { common_name: "admin".into(), ..Subject::default() }, now)
            .unwrap();
        assert_eq!(leaf.rustls().unwrap().0.len(), 1);
    }
}
