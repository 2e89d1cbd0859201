//! The ways to encrypt a value. Each writes what upstream's writes, byte for byte in form.

mod aescbc;
mod aesgcm;
mod secretbox;

use ring::rand::{SecureRandom, SystemRandom};

pub(crate) use aescbc::AesCbc;
pub(crate) use aesgcm::AesGcm;
pub(crate) use secretbox::SecretBox;

/// One key of one provider.
pub(crate) trait Cipher: Send + Sync {
    /// Encrypts a value that will be stored under this key of the store.
    fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, String>;

    /// Decrypts it.
    fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, String>;
}

const TOO_SHORT: &str = "the stored data was shorter than the required size";

/// Random bytes for a nonce: from the system, and never from a seed.
fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| "unable to read sufficient random bytes".to_owned())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(&'static str, Box<dyn Cipher>)> {
        vec![
            ("aesgcm-128", Box::new(AesGcm::new(&[1; 16]).unwrap())),
            ("aesgcm-192", Box::new(AesGcm::new(&[1; 24]).unwrap())),
            ("aesgcm-256", Box::new(AesGcm::new(&[1; 32]).unwrap())),
            ("aescbc-128", Box::new(AesCbc::new(&[1; 16]).unwrap())),
            ("aescbc-192", Box::new(AesCbc::new(&[1; 24]).unwrap())),
            ("aescbc-256", Box::new(AesCbc::new(&[1; 32]).unwrap())),
            ("secretbox", Box::new(SecretBox::new(&[1; 32]).unwrap())),
        ]
    }

    #[test]
    fn what_was_sealed_opens_and_never_looks_the_same() {
        for (name, cipher) in all() {
            for plain in [&b""[..], b"x", &[7; 16], &[7; 31], &[7; 4096]] {
                let sealed = cipher.seal(plain, b"/a").unwrap();
                assert_ne!(sealed, cipher.seal(plain, b"/a").unwrap(), "{name}");
                assert_eq!(cipher.open(&sealed, b"/a").unwrap(), plain, "{name}");
            }
        }
    }

    #[test]
    fn another_key_and_cut_data_do_not_open() {
        for (name, cipher) in all() {
            assert_eq!(cipher.open(b"short", b"/a").unwrap_err(), TOO_SHORT, "{name}");
        }
        let sealed = SecretBox::new(&[1; 32]).unwrap().seal(b"x", b"/a").unwrap();
        assert!(SecretBox::new(&[2; 32]).unwrap().open(&sealed, b"/a").is_err());
        let mut sealed = AesGcm::new(&[1; 32]).unwrap().seal(b"x", b"/a").unwrap();
        assert!(AesGcm::new(&[2; 32]).unwrap().open(&sealed, b"/a").is_err());
        *sealed.last_mut().unwrap() ^= 1;
        assert!(AesGcm::new(&[1; 32]).unwrap().open(&sealed, b"/a").is_err());
    }

    #[test]
    fn a_value_of_aesgcm_opens_at_its_own_place_only() {
        let cipher = AesGcm::new(&[1; 32]).unwrap();
        let sealed = cipher.seal(b"x", b"/registry/secrets/a/b").unwrap();
        let moved = cipher.open(&sealed, b"/registry/secrets/a/c").unwrap_err();
        assert_eq!(moved, "cipher: message authentication failed");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// The first block of NIST SP 800-38A, F.2.5; the second is ours, the padding.
    #[test]
    fn aescbc_is_cbc_with_its_vector_before_it() {
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let vector = hex("000102030405060708090a0b0c0d0e0f");
        let plain = hex("6bc1bee22e409f96e93d7e117393172a");
        let cipher = AesCbc::new(&key).unwrap();
        let sealed = cipher.seal_with(&plain, &vector);
        assert_eq!(sealed[..16], vector[..]);
        assert_eq!(sealed[16..32], hex("f58c4c04d6e5f1ba779eabfb5f7bfbd6")[..]);
        assert_eq!(cipher.open(&sealed, b"").unwrap(), plain);
    }

    /// The vector of NaCl's own test of `secretbox`.
    #[test]
    fn secretbox_is_nacls_with_its_nonce_before_it() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let mut stored = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        stored.extend(hex(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce",
            "48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972",
            "71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae",
            "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3",
            "7973f622a43d14a6599b1f654cb45a74e355a5",
        )));
        let plain = SecretBox::new(&key).unwrap().open(&stored, b"").unwrap();
        assert_eq!(plain.len(), 131);
        assert_eq!(plain[..8], hex("be075fc53c81f2d5")[..]);
    }
}
