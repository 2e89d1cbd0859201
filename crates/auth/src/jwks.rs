//! JSON Web Keys of somebody else, and the verification of JSON Web Tokens by them. (RFC 7517, 7518)
//!
//! The algorithms that are accepted are the caller's to say; the token's header only chooses among
//! them, and a key is used for its own kind of algorithm alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// The algorithms that can be verified here.
pub const ALGORITHMS: [&str; 8] =
    ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];

/// Why a token does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no JSON Web Token.
    #[error("malformed jwt")]
    Malformed,
    /// Its algorithm is not accepted.
    #[error("id token signed with unsupported algorithm, expected {expected:?} got {found:?}")]
    Algorithm {
        /// What is accepted.
        expected: Vec<String>,
        /// What the token says.
        found: String,
    },
    /// No known key verifies it; perhaps there are newer ones.
    #[error("failed to verify signature: failed to verify id token signature")]
    Signature,
}

/// Public keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: String,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
    /// An uncompressed point of P-384.
    P384(Vec<u8>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl KeySet {
    /// The keys of a JSON Web Key Set; kinds that are not known here are left out.
    ///
    /// # Errors
    /// When it is no such set.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("there are no keys in it")?;
        Ok(Self(keys.iter().filter_map(Key::parse).collect()))
    }

    /// The claims of a token that one of the keys has signed.
    ///
    /// # Errors
    /// Why it does not verify.
    pub fn verify(&self, token: &str, accepted: &[String]) -> Result<Value, JwtError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let decode = |part: &str| B64.decode(part).map_err(|_| JwtError::Malformed);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?;
        if !accepted.contains(&header.alg) {
            let expected = accepted.to_vec();
            return Err(JwtError::Algorithm { expected, found: header.alg });
        }
        let (signature, body) = (decode(signature)?, decode(body)?);
        let fits = |key: &&Key| header.kid.is_empty() || key.id == header.kid;
        let verifies = self
            .0
            .iter()
            .filter(fits)
            .any(|key| key.material.verifies(&header.alg, signed.as_bytes(), &signature));
        if !verifies {
            return Err(JwtError::Signature);
        }
        serde_json::from_slice(&body).map_err(|_| JwtError::Malformed)
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        let text = |field: &str| key.get(field).and_then(Value::as_str);
        let bytes = |field: &str| B64.decode(text(field)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let point = |len: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == len && y.len() == len).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            _ => return None,
        };
        Some(Self { id: text("kid").unwrap_or_default().to_owned(), material })
    }
}

impl Material {
    fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let rsa: Option<&'static RsaParameters> = match algorithm {
            "RS256" => Some(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Some(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Some(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Some(&RSA_PSS_2048_8192_SHA256),
            "PS384" => Some(&RSA_PSS_2048_8192_SHA384),
            "PS512" => Some(&RSA_PSS_2048_8192_SHA512),
            _ => None,
        };
        let curve = |wanted: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(wanted, point).verify(message, signature).is_ok()
        };
        match (self, rsa, algorithm) {
            (Self::Rsa { n, e }, Some(parameters), _) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Self::P256(point), None, "ES256") => curve(&ECDSA_P256_SHA256_FIXED, point),
            (Self::P384(point), None, "ES384") => curve(&ECDSA_P384_SHA384_FIXED, point),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Claims, TokenAuthority, generate_key};

    /// The example of RFC 7515, appendix A.2 (RS256).
    const RSA_SET: &str = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
    const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    fn accepted(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_rfcs_example_verifies_and_its_forgeries_do_not() {
        let keys = KeySet::parse(RSA_SET.as_bytes()).unwrap();
        let claims = keys.verify(RSA_TOKEN, &accepted(&["RS256"])).unwrap();
        assert_eq!(claims["iss"], "joe");
        let refused = keys.verify(RSA_TOKEN, &accepted(&["ES256"])).unwrap_err();
        assert!(matches!(refused, JwtError::Algorithm { .. }));
        let forged = RSA_TOKEN.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Yi", 1);
        assert_eq!(keys.verify(&forged, &accepted(&["RS256"])), Err(JwtError::Signature));
        // "none", and an HMAC keyed with what everybody knows.
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#] {
            let body = RSA_TOKEN.split('.').nth(1).unwrap();
            let token = format!("{}.{body}.", B64.encode(header));
            assert!(matches!(
                keys.verify(&token, &accepted(&["RS256"])),
                Err(JwtError::Algorithm { .. })
            ));
        }
    }

    #[test]
    fn es256_by_key_id() {
        let authority = TokenAuthority::new("i", &["i"], &generate_key().unwrap(), &[]).unwrap();
        let token = authority.sign(Claims::default()).unwrap();
        let keys = KeySet::parse(authority.jwks().to_string().as_bytes()).unwrap();
        assert!(keys.verify(&token, &accepted(&["RS256", "ES256"])).is_ok());
        let other = TokenAuthority::new("i", &["i"], &generate_key().unwrap(), &[]).unwrap();
        let other = KeySet::parse(other.jwks().to_string().as_bytes()).unwrap();
        assert_eq!(other.verify(&token, &accepted(&["ES256"])), Err(JwtError::Signature));
        assert_eq!(keys.verify("a.b", &accepted(&["ES256"])), Err(JwtError::Malformed));
    }
}
