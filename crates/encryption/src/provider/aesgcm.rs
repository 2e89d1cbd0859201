//! `aesgcm`: AES-GCM with a random nonce of 96 bits before the ciphertext; the place in the store is
//! the associated data, so that a value cannot be moved to another place.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce};

use super::{Cipher, TOO_SHORT, random};

type Aes192Gcm = aes_gcm::AesGcm<aes::Aes192, U12>;

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const FAILED: &str = "cipher: message authentication failed";

/// A key of 16, 24 or 32 bytes.
pub(crate) enum AesGcm {
    Short(Box<Aes128Gcm>),
    Middle(Box<Aes192Gcm>),
    Long(Box<Aes256Gcm>),
}

impl AesGcm {
    /// `None` when the key has another length.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Short(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            24 => Self::Middle(Box::new(Aes192Gcm::new_from_slice(key).ok()?)),
            32 => Self::Long(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            _ => return None,
        })
    }
}

impl Cipher for AesGcm {
    fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = random::<NONCE_LEN>()?;
        let nonce = Nonce::from_slice(&bytes);
        let payload = Payload { msg: plain, aad: place };
        let sealed = match self {
            Self::Short(cipher) => cipher.encrypt(nonce, payload),
            Self::Middle(cipher) => cipher.encrypt(nonce, payload),
            Self::Long(cipher) => cipher.encrypt(nonce, payload),
        };
        let sealed = sealed.map_err(|_| "the value is too large to encrypt".to_owned())?;
        Ok([&bytes[..], &sealed].concat())
    }

    fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, String> {
        if sealed.len() < NONCE_LEN + TAG_LEN {
            return Err(TOO_SHORT.to_owned());
        }
        let (nonce, sealed) = sealed.split_at(NONCE_LEN);
        let nonce = Nonce::from_slice(nonce);
        let payload = Payload { msg: sealed, aad: place };
        let plain = match self {
            Self::Short(cipher) => cipher.decrypt(nonce, payload),
            Self::Middle(cipher) => cipher.decrypt(nonce, payload),
            Self::Long(cipher) => cipher.decrypt(nonce, payload),
        };
        plain.map_err(|_| FAILED.to_owned())
    }
}
