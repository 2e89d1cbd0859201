//! `aescbc`: AES-CBC with PKCS#7 padding and a random vector before the ciphertext. It does not say
//! whether a value was changed; upstream keeps it for old data, and so do we.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};

use super::{Cipher, TOO_SHORT, random};

const BLOCK_LEN: usize = 16;

/// A key of 16, 24 or 32 bytes.
pub(crate) struct AesCbc(Vec<u8>);

impl AesCbc {
    /// `None` when the key has another length.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        matches!(key.len(), 16 | 24 | 32).then(|| Self(key.to_vec()))
    }

    /// Encrypts with a given vector, which must be random.
    pub(crate) fn seal_with(&self, plain: &[u8], vector: &[u8]) -> Vec<u8> {
        let sealed = match self.0.len() {
            16 => encrypt::<Aes128>(&self.0, vector, plain),
            24 => encrypt::<Aes192>(&self.0, vector, plain),
            _ => encrypt::<Aes256>(&self.0, vector, plain),
        };
        [vector, &sealed].concat()
    }
}

fn encrypt<C>(key: &[u8], vector: &[u8], plain: &[u8]) -> Vec<u8>
where
    C: cbc::cipher::BlockEncryptMut + cbc::cipher::BlockCipher + cbc::cipher::KeyInit,
{
    cbc::Encryptor::<C>::new_from_slices(key, vector)
        .expect("the lengths of key and vector were checked")
        .encrypt_padded_vec_mut::<Pkcs7>(plain)
}

fn decrypt<C>(key: &[u8], vector: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String>
where
    C: cbc::cipher::BlockDecryptMut + cbc::cipher::BlockCipher + cbc::cipher::KeyInit,
{
    cbc::Decryptor::<C>::new_from_slices(key, vector)
        .expect("the lengths of key and vector were checked")
        .decrypt_padded_vec_mut::<Pkcs7>(sealed)
        .map_err(|_| "invalid padding on input".to_owned())
}

impl Cipher for AesCbc {
    fn seal(&self, plain: &[u8], _place: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.seal_with(plain, &random::<BLOCK_LEN>()?))
    }

    fn open(&self, sealed: &[u8], _place: &[u8]) -> Result<Vec<u8>, String> {
        if sealed.len() < BLOCK_LEN {
            return Err(TOO_SHORT.to_owned());
        }
        let (vector, sealed) = sealed.split_at(BLOCK_LEN);
        if sealed.is_empty() {
            return Err("invalid PKCS7 data (empty or not padded)".to_owned());
        }
        if sealed.len() % BLOCK_LEN != 0 {
            return Err("the stored data is not a multiple of the block size".to_owned());
        }
        match self.0.len() {
            16 => decrypt::<Aes128>(&self.0, vector, sealed),
            24 => decrypt::<Aes192>(&self.0, vector, sealed),
            _ => decrypt::<Aes256>(&self.0, vector, sealed),
        }
    }
}
