//! Whether a value of one type may stand where another is wanted, and what the checker's type
//! variables stand for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::Type;

/// What type variables stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapping(HashMap<Arc<str>, Type>);

impl Mapping {
    pub(super) fn find(&self, of: &Type) -> Option<&Type> {
        match of {
            Type::Param(name) => self.0.get(name),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, of: &Type, is: Type) {
        if let Type::Param(name) = of {
            self.0.insert(Arc::clone(name), is);
        }
    }

    /// The type with its variables replaced; those that stand for nothing are `dyn` if `to_dyn`.
    pub(super) fn substitute(&self, of: &Type, to_dyn: bool) -> Type {
        if let Some(is) = self.find(of) {
            return self.substitute(is, to_dyn);
        }
        match of {
            Type::Param(_) if to_dyn => Type::Dyn,
            Type::List(item) => Type::list(self.substitute(item, to_dyn)),
            Type::Map(pair) => {
                Type::map(self.substitute(&pair.0, to_dyn), self.substitute(&pair.1, to_dyn))
            }
            Type::Opaque(name, params) => Type::Opaque(
                Arc::clone(name),
                params.iter().map(|param| self.substitute(param, to_dyn)).collect(),
            ),
            Type::Type(Some(of)) => Type::type_of(self.substitute(of, to_dyn)),
            other => other.clone(),
        }
    }

    /// Whether each type may stand where the other list's is wanted; if so, variables are bound.
    pub(super) fn assign_all(&mut self, have: &[Type], want: &[Type]) -> bool {
        let mut attempt = self.clone();
        let fits = attempt.all(have.iter(), want.iter());
        if fits {
            *self = attempt;
        }
        fits
    }

    /// Whether a type may stand where another is wanted; if so, variables are bound.
    pub(super) fn assign(&mut self, one: &Type, other: &Type) -> bool {
        self.assign_all(std::slice::from_ref(one), std::slice::from_ref(other))
    }

    fn all<'t>(
        &mut self,
        have: impl ExactSizeIterator<Item = &'t Type>,
        want: impl ExactSizeIterator<Item = &'t Type>,
    ) -> bool {
        have.len() == want.len() && have.zip(want).all(|(one, other)| self.fits(one, other))
    }

    fn fits(&mut self, one: &Type, other: &Type) -> bool {
        if matches!(other, Type::Param(_)) {
            let (valid, bound) = self.stands_for(one, other);
            if valid || bound {
                return valid;
            }
        }
        if matches!(one, Type::Param(_)) {
            return self.stands_for(other, one).0;
        }
        if one.is_dyn_or_error() || other.is_dyn_or_error() {
            return true;
        }
        if matches!(one, Type::Null) {
            return nullable(other);
        }
        if matches!(other, Type::Null) {
            return nullable(one);
        }
        match (one, other) {
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Opaque(a, x), Type::Opaque(b, y)) => a == b && self.all(x.iter(), y.iter()),
            (Type::Type(_), Type::Type(_)) => true,
            _ => one == other,
        }
    }

    /// Whether `variable` may stand for `of`, and whether it stood for something already.
    fn stands_for(&mut self, of: &Type, variable: &Type) -> (bool, bool) {
        if of == variable {
            return (true, true);
        }
        if let Some(is) = self.find(variable).cloned() {
            if *of == is {
                return (true, true);
            }
            if !self.fits(of, &is) {
                return (false, true);
            }
            let general = most_general(of, &is);
            if self.free_of(variable, &general) {
                self.add(variable, general);
            }
            return (true, true);
        }
        if self.free_of(variable, of) {
            self.add(variable, of.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Whether a variable does not occur in a type.
    fn free_of(&self, variable: &Type, within: &Type) -> bool {
        if variable == within {
            return false;
        }
        match within {
            Type::Param(_) => self.find(within).is_none_or(|is| self.free_of(variable, is)),
            other => other.params().into_iter().all(|param| self.free_of(variable, param)),
        }
    }
}

/// What `null` may stand for.
fn nullable(of: &Type) -> bool {
    matches!(of, Type::Null | Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp)
}

/// The more general of two types that fit each other.
pub(super) fn most_general(one: &Type, other: &Type) -> Type {
    if less_specific(one, other) { one.clone() } else { other.clone() }
}

fn less_specific(one: &Type, other: &Type) -> bool {
    if matches!(one, Type::Dyn | Type::Param(_)) {
        return true;
    }
    if matches!(other, Type::Dyn | Type::Param(_)) {
        return false;
    }
    match (one, other) {
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(a), Type::List(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Opaque(a, x), Type::Opaque(b, y)) => {
            a == b && x.len() == y.len() && x.iter().zip(y.iter()).all(|(a, b)| less_specific(a, b))
        }
        _ => one == other,
    }
}
