//! `secretbox`: NaCl's XSalsa20 and Poly1305, a random nonce of 192 bits before the ciphertext. With
//! nonces of that length a key may write any number of values.

use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};

use super::{Cipher, TOO_SHORT, random};

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// A key of 32 bytes.
pub(crate) struct SecretBox(XSalsa20Poly1305);

impl SecretBox {
    /// `None` when the key has another length.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        XSalsa20Poly1305::new_from_slice(key).ok().map(Self)
    }
}

impl Cipher for SecretBox {
    fn seal(&self, plain: &[u8], _place: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = random::<NONCE_LEN>()?;
        let sealed = self
            .0
            .encrypt(Nonce::from_slice(&bytes), plain)
            .map_err(|_| "the value is too large to encrypt".to_owned())?;
        Ok([&bytes[..], &sealed].concat())
    }

    fn open(&self, sealed: &[u8], _place: &[u8]) -> Result<Vec<u8>, String> {
        if sealed.len() < NONCE_LEN + TAG_LEN {
            return Err(TOO_SHORT.to_owned());
        }
        let (nonce, sealed) = sealed.split_at(NONCE_LEN);
        self.0
            .decrypt(Nonce::from_slice(nonce), sealed)
            .map_err(|_| "the value was not encrypted with this key, or was changed".to_owned())
    }
}
