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
