//! Requests as clients make them, and the certificates that come of them.

use super::*;
use base::clock::{Clock as _, SimulatedClock, Timestamp};
use controllers::Signer as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType};

struct Bench {
    signer: RequestSigner,
    now: Timestamp,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let now = clock.now();
    let authority = Arc::new(Authority::open(dir.path(), "ca", now).unwrap());
    let signer = RequestSigner { authority, clock, rng: SharedRng::seeded(1) };
    Bench { signer, now, _dir: dir }
}

fn request(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "ann");
    name.push(DnType::OrganizationName, "devs");
    params.distinguished_name = name;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap().into_bytes()
}

fn usages() -> Vec<String> {
    ["digital signature", "key encipherment", "client auth"].map(str::to_owned).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_says_what_was_asked_and_verifies() {
    let bench = bench();
    let request = request(|params| {
        params.subject_alt_names = vec![SanType::IpAddress("10.0.0.1".parse().unwrap())];
    });
    let pem = bench.signer.sign("s", &request, &usages(), Some(3600)).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let parsed = block.parse_x509().unwrap();
    let ca_pem = bench.signer.authority.pem();
    let (_, ca) = x509_parser::pem::parse_x509_pem(ca_pem.as_bytes()).unwrap();
    parsed.verify_signature(Some(ca.parse_x509().unwrap().public_key())).unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=ann, O=devs");
    assert_eq!(parsed.validity().not_after.timestamp(), bench.now.as_second() + 3600);
    assert_eq!(parsed.validity().not_before.timestamp(), bench.now.as_second() - 300);
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    // And TLS takes it.
    let subject = apiserver::subject_of(&block.contents).unwrap();
    assert_eq!(
        (subject.common_name.as_str(), subject.organizations),
        ("ann", vec!["devs".to_owned()])
    );
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        bench.signer.authority.roots().unwrap(),
        Arc::new(rustls::crypto::ring::default_provider()),
    )
    .build()
    .unwrap();
    let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
        bench.now.as_second().unsigned_abs(),
    ));
    verifier.verify_client_cert(&block.contents.clone().into(), &[], at).unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_becomes_an_authority_by_asking() {
    let bench = bench();
    let request = request(|params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    });
    let pem = bench.signer.sign("s", &request, &usages(), None).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let parsed = block.parse_x509().unwrap();
    assert!(!parsed.is_ca());
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(parsed.validity().not_after.timestamp(), bench.now.as_second() + 365 * 86_400);
}

#[tokio::test(start_paused = true)]
async fn a_forged_or_broken_request_is_refused() {
    let bench = bench();
    let good = String::from_utf8(request(|_| {})).unwrap();
    let (_, block) = x509_parser::pem::parse_x509_pem(good.as_bytes()).unwrap();
    let mut bytes = block.contents.clone();
    let at = bytes.windows(3).position(|window| window == b"ann").unwrap();
    bytes[at] = b'A';
    let forged = crate::pki::pem("CERTIFICATE REQUEST", &bytes);
    let why = bench.signer.sign("s", forged.as_bytes(), &usages(), None).unwrap_err();
    assert!(why.contains("does not verify"), "{why}");
    assert!(bench.signer.sign("s", b"nonsense", &usages(), None).is_err());
    let unknown = ["everything".to_owned()];
    let why = bench.signer.sign("s", good.as_bytes(), &unknown, None).unwrap_err();
    assert_eq!(why, "unrecognized usage values: [everything]");
}
