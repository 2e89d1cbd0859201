//! Files as people write them, and what comes of them.

use super::*;

/// A file with one entry.
fn file(resources: &str, providers: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
         - resources: [{resources}]\n  providers:\n{providers}"
    )
}

fn key(name: &str, byte: u8, len: usize) -> String {
    format!("{{name: {name}, secret: {}}}", STANDARD.encode(vec![byte; len]))
}

fn provider(kind: &str, keys: &[String]) -> String {
    format!("  - {kind}: {{keys: [{}]}}\n", keys.join(", "))
}

fn secrets() -> GroupResource {
    GroupResource::new("", "secrets")
}

const PLACE: &str = "/registry/secrets/default/a";

fn parse(text: &str) -> Encryption {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str, why: &str) {
    let error = text.parse::<Encryption>().err().expect(why).to_string();
    assert!(error.contains(why), "{error}\nwanted: {why}");
}

#[test]
fn the_envelope_names_provider_and_key() {
    for kind in ["aescbc", "aesgcm", "secretbox"] {
        let encryption = parse(&file("secrets", &provider(kind, &[key("k1", 7, 32)])));
        let chain = encryption.of(&secrets()).unwrap();
        let stored = chain.seal(b"hidden", PLACE).unwrap();
        assert!(stored.starts_with(format!("k8s:enc:{kind}:v1:k1:").as_bytes()), "{kind}");
        assert!(!stored.windows(6).any(|window| window == b"hidden"));
        assert_eq!(chain.open(&stored, PLACE).unwrap(), b"hidden");
        assert!(chain.is_current(&stored));
        assert!(encryption.of(&GroupResource::new("", "configmaps")).is_none());
    }
}

#[test]
fn a_key_is_rotated_by_putting_a_new_one_first() {
    let old = parse(&file("secrets", &provider("aescbc", &[key("k1", 1, 32)])));
    let stored = old.of(&secrets()).unwrap().seal(b"x", PLACE).unwrap();
    let both = provider("aescbc", &[key("k2", 2, 32), key("k1", 1, 32)]);
    let new = parse(&file("secrets", &both));
    let chain = new.of(&secrets()).unwrap();
    assert_eq!(chain.open(&stored, PLACE).unwrap(), b"x");
    assert!(!chain.is_current(&stored));
    let again = chain.seal(b"x", PLACE).unwrap();
    assert!(again.starts_with(b"k8s:enc:aescbc:v1:k2:") && chain.is_current(&again));
}

#[test]
fn identity_reads_what_was_plain_and_leads_back_to_it() {
    let to = provider("secretbox", &[key("k", 3, 32)]) + "  - identity: {}\n";
    let encryption = parse(&file("secrets", &to));
    let chain = encryption.of(&secrets()).unwrap();
    assert_eq!(chain.open(b"{}", PLACE).unwrap(), b"{}");
    assert!(!chain.is_current(b"{}"));
    let stored = chain.seal(b"{}", PLACE).unwrap();
    let back = "  - identity: {}\n".to_owned() + &provider("secretbox", &[key("k", 3, 32)]);
    let encryption = parse(&file("secrets", &back));
    let chain = encryption.of(&secrets()).unwrap();
    assert_eq!(chain.open(&stored, PLACE).unwrap(), b"{}");
    assert!(!chain.is_current(&stored));
    assert_eq!(chain.seal(b"{}", PLACE).unwrap(), b"{}");
}

#[test]
fn what_cannot_be_read_is_said_as_upstream_says_it() {
    let encryption = parse(&file("secrets", &provider("aescbc", &[key("k1", 1, 32)])));
    let chain = encryption.of(&secrets()).unwrap();
    let said = |stored: &[u8]| chain.open(stored, PLACE).unwrap_err().to_string();
    assert_eq!(said(b"{}"), "no matching prefix found");
    assert_eq!(said(b"k8s:enc:secretbox:v1:k1:abc"), "no matching prefix found");
    assert_eq!(
        said(b"k8s:enc:aescbc:v1:other:abc"),
        "no matching key was found for the provided AES transformer"
    );
    assert_eq!(
        said(b"k8s:enc:aescbc:v1:k1:abc"),
        "the stored data was shorter than the required size"
    );
}

#[test]
fn wildcards_and_their_order() {
    let entry = |resources: &str, name: &str| {
        format!(
            "- resources: [{resources}]\n  providers:\n{}",
            provider("secretbox", &[key(name, 1, 32)])
        )
    };
    let head =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n";
    let text = format!(
        "{head}{}{}{}",
        entry("configmaps, deployments.apps", "own"),
        entry("'*.apps', '*.'", "group"),
        entry("'*.*'", "all")
    );
    let encryption = parse(&text);
    let check = |group: &str, plural: &str, expected: &str| {
        let chain = encryption.of(&GroupResource::new(group, plural)).unwrap();
        let stored = chain.seal(b"", PLACE).unwrap();
        let prefix = format!("k8s:enc:secretbox:v1:{expected}:");
        assert!(stored.starts_with(prefix.as_bytes()), "{group} {plural}");
    };
    check("", "configmaps", "own");
    check("apps", "deployments", "own");
    check("apps", "replicasets", "group");
    check("", "secrets", "group");
    check("example.com", "widgets", "all");
    let text = format!("{head}{}{}", entry("'*.*'", "all"), entry("secrets", "own"));
    refused(&text, "resource \"secrets\" is masked by earlier rule \"*.*\"");
    let text = format!("{head}{}{}", entry("'*.'", "all"), entry("secrets", "own"));
    refused(&text, "resource \"secrets\" is masked by earlier rule \"*.\"");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = provider("aescbc", &[key("k", 1, 32)]);
    for (text, why) in [
        ("kind: Pod\napiVersion: v1", "unknown field"),
        ("{}", "no kind \"\" is registered for version \"\""),
        (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration",
            "at least one resources is required",
        ),
    ] {
        refused(text, if text.starts_with("kind") { "no kind \"Pod\"" } else { why });
    }
    for (resources, why) in [
        ("", "at least one resources[0].resources is required"),
        ("Secrets", "resource name should not contain capital letters"),
        ("'*'", "use '*.' to encrypt all the resources from core API group"),
        ("events.events.k8s.io", "Use 'events' instead in the config file"),
        ("secrets.*", "encrypting the same resource across groups is not supported"),
        ("secrets, secrets", "the same resource cannot be specified multiple times"),
        ("secrets, '*.'", "using overlapping resources"),
    ] {
        refused(&file(resources, &good), why);
    }
    for (providers, why) in [
        ("  - {}\n".to_owned(), "provider does not contain any of the expected providers"),
        (
            "  - identity: {}\n    secretbox: {keys: []}\n".to_owned(),
            "more than one provider specified in a single element",
        ),
        ("  - aescbc: {keys: []}\n".to_owned(), "at least one keys is required"),
        ("  - aescbc: {keys: [{name: a}]}\n".to_owned(), "secret is a mandatory field for a key"),
        (
            provider("aescbc", &[key("k", 1, 20)]),
            "secret is not of the expected length, got 20, expected one of [16 24 32]",
        ),
        (
            "  - secretbox: {keys: [{name: a, secret: '%'}]}\n".to_owned(),
            "\"REDACTED\": secrets must be base64 encoded",
        ),
        (
            "  - kms: {apiVersion: v2, name: x, endpoint: 'unix:///s'}\n".to_owned(),
            "resources[0].providers[0].kms: KMS providers are not supported by this server",
        ),
        ("  - aesgmc: {keys: []}\n".to_owned(), "unknown field `aesgmc`"),
    ] {
        refused(&file("secrets", &providers), why);
    }
}

#[test]
fn a_new_configuration_works_and_takes_a_second_key() {
    let first = new_configuration("key1").unwrap();
    let old = parse(&first.to_string());
    let stored = old.of(&secrets()).unwrap().seal(b"x", PLACE).unwrap();
    let new = parse(&with_new_key(&first, "key2").unwrap().to_string());
    let chain = new.of(&secrets()).unwrap();
    assert_eq!(chain.open(&stored, PLACE).unwrap(), b"x");
    assert!(chain.seal(b"", PLACE).unwrap().starts_with(b"k8s:enc:secretbox:v1:key2:"));
}
