//! The seam of encryption at rest: what happens to values between the registry and the store.

use api::status::ApiResult;
use bytes::Bytes;

/// Changes values on their way into the store and back, by their key.
pub trait ValueTransformer: Send + Sync {
    /// What goes into the store.
    ///
    /// # Errors
    /// 500 when the value cannot be encrypted; it is not stored then.
    fn encrypt(&self, key: &str, plain: Bytes) -> ApiResult<Bytes>;

    /// What the registry sees. Values that were stored before encryption was on pass unchanged.
    ///
    /// # Errors
    /// 500 when no key decrypts it.
    fn decrypt(&self, key: &str, stored: Bytes) -> ApiResult<Bytes>;

    /// Whether what is stored was written in another way than it would be now (another key, or
    /// none), so that a write which changes nothing must be made all the same.
    fn is_stale(&self, _key: &str, _stored: &[u8]) -> bool {
        false
    }
}

/// Values go into the store as they are.
#[derive(Debug, Default, Clone, Copy)]
pub struct Identity;

impl ValueTransformer for Identity {
    fn encrypt(&self, _key: &str, plain: Bytes) -> ApiResult<Bytes> {
        Ok(plain)
    }

    fn decrypt(&self, _key: &str, stored: Bytes) -> ApiResult<Bytes> {
        Ok(stored)
    }
}
