//! Keys and certificates of a cluster: one authority, leaves that it signs.
//!
//! Everything lies in `DATA/server/tls` as PEM, 0600 in a 0700 folder, and is made when it is
//! missing. Leaves are short-lived, made anew at every start and, by [`renew`], while running; the
//! authority lasts ten years and gets a new certificate of the same key two years before its end.

mod der;
pub(crate) mod renew;
pub(crate) mod sign;
pub(crate) mod tokens;

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base::clock::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::ParsedExtension;

const AUTHORITY_DAYS: i64 = 3650;
/// Of servers, which renew theirs while they run.
const SERVER_DAYS: i64 = 90;
/// Of people, whose kubeconfigs lie about.
const CLIENT_DAYS: i64 = 365;

/// A certificate authority with its key.
pub(crate) struct Authority {
    common_name: String,
    now: RwLock<Arc<Current>>,
}

/// The authority's certificate of the moment. The key stays when the certificate is renewed, so
/// that everything signed before goes on verifying.
pub(crate) struct Current {
    /// The certificate in PEM, as clients get it.
    pub(crate) pem: String,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// The subject, in DER.
    pub(crate) subject: Vec<u8>,
    /// The key's identifier.
    pub(crate) key_id: Vec<u8>,
    /// From when it is valid.
    pub(crate) from: Timestamp,
    /// Until when.
    pub(crate) until: Timestamp,
    /// Whether it signed itself: only such a one is renewed here.
    is_root: bool,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate.
    pub(crate) pem: String,
    /// The private key, PKCS#8.
    pub(crate) key_pem: String,
    /// From when it is valid.
    pub(crate) from: Timestamp,
    /// Until when.
    pub(crate) until: Timestamp,
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
    /// Reads the authority `NAME.crt`/`NAME.key` in a folder, or makes it; renews its certificate
    /// when little of its life is left.
    pub(crate) fn open(dir: &Path, name: &str, now: Timestamp) -> Result<Self> {
        let (crt, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        let common_name = format!("ferry-{name}");
        if !crt.exists() {
            let pair = KeyPair::generate()?;
            write_secret(&key, pair.serialize_pem().as_bytes())?;
            write_secret(&crt, root(&common_name, &pair, now)?.as_bytes())?;
        }
        let read = |path: &PathBuf| {
            fs::read_to_string(path)
                .with_context(|| format!("cannot read the cluster's authority {}", path.display()))
        };
        let (pem, key_pem) = (read(&crt)?, read(&key)?);
        let current = Current::of(pem, &key_pem)
            .with_context(|| format!("cannot use the cluster's authority {}", crt.display()))?;
        let authority = Self { common_name, now: RwLock::new(Arc::new(current)) };
        if authority.due() <= now {
            authority.renew(dir, now)?;
        }
        Ok(authority)
    }

    /// The certificate and key of the moment.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.now.read().clone()
    }

    /// The certificate in PEM, as clients get it.
    pub(crate) fn pem(&self) -> String {
        self.current().pem.clone()
    }

    /// When the certificate is to be renewed: with a fifth of its life left, which is years. An
    /// authority that another one signed is that one's to renew.
    pub(crate) fn due(&self) -> Timestamp {
        let current = self.current();
        if !current.is_root {
            return Timestamp::MAX;
        }
        let life = current.until.duration_since(current.from);
        current.from.saturating_add(life * 4 / 5).unwrap_or(current.until)
    }

    /// Makes a new certificate of the same key and name, and keeps it.
    pub(crate) fn renew(&self, dir: &Path, now: Timestamp) -> Result<()> {
        let current = self.current();
        let pem = root(&self.common_name, current.issuer.key(), now)?;
        write_secret(&dir.join(format!("{}.crt", self.file_name())), pem.as_bytes())?;
        let renewed = Current::of(pem, &current.issuer.key().serialize_pem())?;
        *self.now.write() = Arc::new(renewed);
        Ok(())
    }

    fn file_name(&self) -> &str {
        self.common_name.trim_start_matches("ferry-")
    }

    /// A leaf for a server, a client, or both (the names decide: a server has names or addresses).
    pub(crate) fn leaf(&self, subject: &Subject, now: Timestamp) -> Result<Leaf> {
        let key = KeyPair::generate()?;
        let is_server = !subject.dns_names.is_empty() || !subject.addresses.is_empty();
        let days = if is_server { SERVER_DAYS } else { CLIENT_DAYS };
        let mut params = params(subject, now, days)?;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if is_server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.current().issuer)?;
        Ok(Leaf {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            from: now,
            until: now.saturating_add(SignedDuration::from_hours(days * 24))?,
        })
    }

    /// The store of roots that trusts this authority alone.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.pem().as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(Arc::new(roots))
    }
}

/// The certificate of a root, PEM.
fn root(common_name: &str, key: &KeyPair, now: Timestamp) -> Result<String> {
    let subject = Subject { common_name: common_name.to_owned(), ..Subject::default() };
    let mut params = params(&subject, now, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    // Another number than the certificate before it, whose key and name it has.
    params.serial_number = Some(now.as_second().unsigned_abs().into());
    Ok(params.self_signed(key)?.pem())
}

impl Current {
    fn of(pem: String, key_pem: &str) -> Result<Self> {
        let pair = KeyPair::from_pem(key_pem).context("its key file holds no private key")?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair).context("it is no certificate")?;
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem.as_bytes()).context("it is no PEM")?;
        let parsed = block.parse_x509().context("it is no certificate")?;
        let moment = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
        };
        let named = parsed.iter_extensions().find_map(|one| match one.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let key_id = named.unwrap_or_else(|| {
            let digest = ring::digest::digest(&ring::digest::SHA256, parsed.public_key().raw);
            digest.as_ref()[..20].to_vec()
        });
        let current = Self {
            issuer,
            subject: parsed.subject().as_raw().to_vec(),
            key_id,
            from: moment(parsed.validity().not_before),
            until: moment(parsed.validity().not_after),
            is_root: parsed.subject() == parsed.issuer(),
            pem: String::new(),
        };
        Ok(Self { pem, ..current })
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

/// A block of PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
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
        assert_eq!(first.pem(), again.pem());
        let mode = fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let leaf = first
            .leaf(&Subject { common_name: "admin".into(), ..Subject::default() }, now)
            .unwrap();
        assert_eq!(leaf.rustls().unwrap().0.len(), 1);
    }
}
