//! Device selectors (`resource.k8s.io`): expressions about one device.
//!
//! `device` has `driver`, `allowMultipleAllocations`, and, by domain and name, `attributes` and
//! `capacity`. These expressions, and only these, may use `cel.bind`.

use std::sync::{Arc, LazyLock};

use crate::env::Env;
use crate::eval::plan::Program;
use crate::schema::DeclType;
use crate::types::Type;

/// What a selector may be estimated to cost at most.
pub const SELECTOR_COST_LIMIT: u64 = 1_000_000;

/// How many attributes and capacities a device has at most.
const ATTRIBUTES_MAX: u64 = 32;

/// How long an attribute's text is at most, in bytes.
const VALUE_BYTES_MAX: u64 = 64;

/// The type of `device`.
pub(crate) const DEVICE_TYPE: &str = "kubernetes.DRADevice";

static DEVICE: LazyLock<Arc<DeclType>> = LazyLock::new(device);

fn device() -> Arc<DeclType> {
    let sized = |ty: Type, max_elements: u64| {
        Arc::new(DeclType { max_elements, ..(*DeclType::plain(ty)).clone() })
    };
    let by_domain =
        |value: Arc<DeclType>| DeclType::map(DeclType::map(value, ATTRIBUTES_MAX), ATTRIBUTES_MAX);
    DeclType::object(
        DEVICE_TYPE,
        vec![
            ("driver", sized(Type::String, 63)),
            ("allowMultipleAllocations", DeclType::plain(Type::Bool)),
            ("attributes", by_domain(sized(Type::Dyn, VALUE_BYTES_MAX))),
            ("capacity", by_domain(DeclType::plain(Type::object("kubernetes.Quantity")))),
        ],
    )
}

/// Why a selector is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// It does not compile, or gives no boolean.
    #[error("{0}")]
    Invalid(String),
    /// It could cost too much.
    #[error("too complex, exceeds cost limit")]
    TooExpensive,
}

/// Compiles a selector.
///
/// # Errors
/// When it does not compile, gives no boolean, or could cost too much.
pub fn compile(text: &str) -> Result<Program, SelectorError> {
    let env = Env::new().with_decl("device", Arc::clone(&DEVICE)).with_bind();
    let program = env
        .compile(text)
        .map_err(|error| SelectorError::Invalid(format!("compilation failed: {error}")))?;
    let found = program.result_type();
    if !matches!(found, Type::Bool | Type::Dyn) {
        let found = found.name();
        return Err(SelectorError::Invalid(format!(
            "must evaluate to bool or the unknown type, not {found}"
        )));
    }
    if program.estimate(&DEVICE).max > SELECTOR_COST_LIMIT {
        return Err(SelectorError::TooExpensive);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = compile(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }

    #[test]
    fn selectors_compile_or_say_why_not() {
        check("device.driver == 'gpu.example.com'", "");
        check("device.attributes['dra.example.com'].family == 'large'", "");
        check("cel.bind(d, device.attributes['dra.example.com'], d.a && d.b)", "");
        check("device.capacity['x.io'].memory.compareTo(quantity('1Gi')) >= 0", "");
        check("semver(device.attributes['x.io'].v).isGreaterThan(semver('1.0.0'))", "");
        check("device.name", "compilation failed: ERROR: <input>:1:7: undefined field 'name'");
        check("device.driver", "must evaluate to bool or the unknown type, not string");
        let loops = (0..5).fold("true".to_owned(), |inner, depth| {
            format!("device.attributes.all(a{depth}, {inner})")
        });
        check(&loops, "too complex, exceeds cost limit");
    }
}
