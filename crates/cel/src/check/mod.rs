//! The checker: which overloads fit, what type each node has, what names mean.
//!
//! Follows cel-go's checker step by step, since its texts are what users and tests look for. It
//! also rewrites the tree: a qualified name that is a variable or a type becomes one name, and a
//! call of a function in a namespace loses its target.

pub(crate) mod declarations;
mod unify;
mod validate;

use std::collections::HashMap;
use std::sync::Arc;

use crate::env::Env;
use crate::syntax::ast::{
    Call, Comprehension, Expr, FieldInit, Id, Item, Kind, Literal, MapEntry, Select, ops,
};
use crate::syntax::parser::Parsed;
use crate::syntax::source::{CompileError, Issue, Source};
use crate::types::Type;
use declarations::{Function, Overload};
use unify::Mapping;

/// A checked expression.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) root: Expr,
    /// The type of each node.
    pub(crate) types: Vec<Type>,
    /// The overloads that may serve each call.
    pub(crate) overloads: HashMap<Id, Vec<&'static Overload>>,
    /// The names that are types.
    pub(crate) type_names: HashMap<Id, Type>,
}

impl Checked {
    pub(crate) fn type_of(&self, expr: &Expr) -> &Type {
        &self.types[expr.id as usize]
    }
}

/// Checks a parsed expression.
///
/// # Errors
/// All problems found.
pub(crate) fn check(env: &Env, parsed: Parsed) -> Result<Checked, CompileError> {
    let Parsed { source, mut root, positions } = parsed;
    let mut checker = Checker {
        env,
        issues: Vec::new(),
        mapping: Mapping::default(),
        types: vec![None; positions.len()],
        positions,
        scopes: Vec::new(),
        overloads: HashMap::new(),
        type_names: HashMap::new(),
        variables: 0,
    };
    checker.expr(&mut root);
    let mapping = checker.mapping;
    let types = checker
        .types
        .into_iter()
        .map(|ty| ty.map_or(Type::Dyn, |ty| mapping.substitute(&ty, true)))
        .collect();
    let checked =
        Checked { root, types, overloads: checker.overloads, type_names: checker.type_names };
    let mut issues = checker.issues;
    if issues.is_empty() {
        issues = validate::problems(&checked, &checker.positions);
    }
    result(checked, &source, issues)
}

fn result(checked: Checked, source: &Source, issues: Vec<Issue>) -> Result<Checked, CompileError> {
    if issues.is_empty() { Ok(checked) } else { Err(CompileError::new(source, issues)) }
}

struct Checker<'e> {
    env: &'e Env,
    issues: Vec<Issue>,
    mapping: Mapping,
    types: Vec<Option<Type>>,
    positions: Vec<u32>,
    scopes: Vec<(Arc<str>, Type)>,
    overloads: HashMap<Id, Vec<&'static Overload>>,
    type_names: HashMap<Id, Type>,
    variables: usize,
}

/// What a name means.
enum Meaning {
    Variable(Type),
    Type(Type),
}

impl Checker<'_> {
    fn report(&mut self, id: Id, message: String) {
        self.issues.push(Issue { position: self.positions[id as usize], message });
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn fresh(&mut self) -> Type {
        self.variables += 1;
        Type::Param(format!("_var{}", self.variables - 1).into())
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone().unwrap_or(Type::Error)
    }

    fn expr(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let rewritten = self.qualified(expr);
        if let Some((name, meaning)) = rewritten {
            expr.kind = Kind::Ident(name);
            let ty = self.mean(id, meaning);
            self.types[id as usize] = Some(ty);
            return;
        }
        let ty = match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => {
                let name = Arc::clone(name);
                self.ident(id, &name)
            }
            Kind::Select(select) => self.select(id, select),
            Kind::Call(call) => self.call(id, call),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(name, fields) => {
                let name: Arc<str> = name.trim_start_matches('.').into();
                self.object(id, &name, fields)
            }
            Kind::Comprehension(each) => self.comprehension(each),
            Kind::Invalid => Type::Error,
        };
        self.types[id as usize] = Some(ty);
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.scopes.iter().rev().find(|(known, _)| &**known == name).map(|(_, ty)| ty)
    }

    fn global(&self, name: &str) -> Option<Meaning> {
        if let Some(variable) = self.env.variable(name) {
            return Some(Meaning::Variable(variable.decl.ty.clone()));
        }
        if let Some(ty) = type_name(name) {
            return Some(Meaning::Type(ty));
        }
        self.env.object(name).map(|_| Meaning::Type(Type::object(name)))
    }

    fn mean(&mut self, id: Id, meaning: Meaning) -> Type {
        match meaning {
            Meaning::Variable(ty) => ty,
            Meaning::Type(ty) => {
                self.type_names.insert(id, ty.clone());
                Type::type_of(ty)
            }
        }
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        if let Some(ty) = self.local(name) {
            return ty.clone();
        }
        match self.global(name.trim_start_matches('.')) {
            Some(meaning) => self.mean(id, meaning),
            None => self.undeclared(id, name),
        }
    }

    /// A chain of selections that as a whole names a variable or a type.
    fn qualified(&self, expr: &Expr) -> Option<(Arc<str>, Meaning)> {
        let mut parts = Vec::new();
        let mut at = expr;
        while let Kind::Select(select) = &at.kind {
            if select.test_only {
                return None;
            }
            parts.push(&*select.field);
            at = &select.operand;
        }
        let Kind::Ident(first) = &at.kind else {
            return None;
        };
        if parts.is_empty() || self.local(first).is_some() {
            return None;
        }
        parts.push(first);
        parts.reverse();
        let name = parts.join(".");
        let name = name.trim_start_matches('.');
        self.global(name).map(|meaning| (name.into(), meaning))
    }

    fn select(&mut self, id: Id, select: &mut Select) -> Type {
        let field = Arc::clone(&select.field);
        let ty = self.select_field(id, &mut select.operand, &field, false);
        if select.test_only { Type::Bool } else { self.mapping.substitute(&ty, false) }
    }

    fn select_field(&mut self, id: Id, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.expr(operand);
        let operand = self.mapping.substitute(&self.type_of(operand), false);
        let (target, is_optional) = match operand.optional_of() {
            Some(target) => (target.clone(), true),
            None => (operand, false),
        };
        let result = match &target {
            Type::Map(pair) => pair.1.clone(),
            Type::Struct(name) => self.field_type(id, name, field).unwrap_or(Type::Error),
            Type::Param(_) => {
                // Whatever it turns out to be later, here it is dynamic.
                self.mapping.assign(&Type::Dyn, &target);
                Type::Dyn
            }
            other if other.is_dyn_or_error() => Type::Dyn,
            other => {
                self.report(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if is_optional || optional { Type::optional(result) } else { result }
    }

    fn field_type(&mut self, id: Id, object: &str, field: &str) -> Option<Type> {
        let Some(known) = self.env.object(object) else {
            self.report(id, format!("unexpected failed resolution of '{object}'"));
            return None;
        };
        let ty = known.field(field);
        if ty.is_none() {
            self.report(id, format!("undefined field '{field}'"));
        }
        ty
    }

    fn call(&mut self, id: Id, call: &mut Call) -> Type {
        if &*call.function == ops::OPT_SELECT {
            let [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }] =
                call.args.as_mut_slice()
            else {
                return Type::Error;
            };
            let field = Arc::clone(field);
            let ty = self.select_field(id, operand, &field, true);
            return self.mapping.substitute(&ty, false);
        }
        for arg in &mut call.args {
            self.expr(arg);
        }
        let Some(target) = &mut call.target else {
            let name = call.function.trim_start_matches('.');
            return match self.function(name) {
                Some(function) => self.resolve(id, function, None, &call.args),
                None => self.undeclared(id, &call.function),
            };
        };
        // `a.b.c()` is the function `a.b.c`, or the method `c` of `a.b`.
        if let Some(prefix) = dotted(target) {
            let name = format!("{}.{}", prefix.trim_start_matches('.'), call.function);
            if let Some(function) = self.function(&name) {
                call.target = None;
                call.function = name.into();
                return self.resolve(id, function, None, &call.args);
            }
        }
        self.expr(target);
        match self.function(&call.function) {
            Some(function) => self.resolve(id, function, call.target.as_ref(), &call.args),
            None => self.undeclared(id, &call.function),
        }
    }

    fn function(&self, name: &str) -> Option<&'static Function> {
        declarations::function(name).filter(|_| self.env.has_function(name))
    }

    fn resolve(
        &mut self,
        id: Id,
        function: &'static Function,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Type {
        let have: Vec<Type> = target.into_iter().chain(args).map(|arg| self.type_of(arg)).collect();
        if matches!(&*function.name, ops::AND | ops::OR) {
            return self.logical(id, function, args, &have);
        }
        let mut found: Option<Type> = None;
        let mut overloads = Vec::new();
        for overload in &function.overloads {
            if overload.member != target.is_some() {
                continue;
            }
            let (want, result) = self.instantiate(overload);
            if self.mapping.assign_all(&have, &want) {
                overloads.push(overload);
                let result = self.mapping.substitute(&result, false);
                found = Some(match found {
                    None => result,
                    Some(known) if known.is_dyn() || known == result => known,
                    Some(_) => Type::Dyn,
                });
            }
        }
        let Some(result) = found else {
            let shown = self.signature(&have, target.is_some());
            let name = &function.name;
            self.report(
                id,
                format!("found no matching overload for '{name}' applied to '{shown}'"),
            );
            return Type::Error;
        };
        self.overloads.insert(id, overloads);
        result
    }

    /// `&&` and `||` say which side is no boolean.
    fn logical(
        &mut self,
        id: Id,
        function: &'static Function,
        args: &[Expr],
        have: &[Type],
    ) -> Type {
        let mut result = Type::Bool;
        for (arg, ty) in args.iter().zip(have) {
            if !self.mapping.assign(ty, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, ty);
                result = Type::Error;
            }
        }
        self.overloads.insert(id, function.overloads.iter().collect());
        result
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn signature(&self, args: &[Type], member: bool) -> String {
        let shown: Vec<String> =
            args.iter().map(|arg| self.mapping.substitute(arg, true).to_string()).collect();
        match shown.split_first() {
            Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", shown.join(", ")),
        }
    }

    /// An overload's types with variables of its own in place of its parameters.
    fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        if !overload.generic {
            return (overload.args.clone(), overload.result.clone());
        }
        let mut names = Vec::new();
        overload.args.iter().chain([&overload.result]).for_each(|ty| params(ty, &mut names));
        let mut fresh = Mapping::default();
        for name in names {
            let variable = self.fresh();
            fresh.add(&Type::Param(name), variable);
        }
        let args = overload.args.iter().map(|arg| fresh.substitute(arg, false)).collect();
        (args, fresh.substitute(&overload.result, false))
    }

    /// What an element that is written with `?` gives if it is there.
    fn unwrapped(&mut self, value: &Expr, optional: bool) -> Type {
        let ty = self.type_of(value);
        if !optional {
            return ty;
        }
        let resolved = self.mapping.substitute(&ty, false);
        match resolved.optional_of() {
            Some(of) => of.clone(),
            None => {
                if !resolved.is_dyn() {
                    self.mismatch(value.id, &Type::optional(ty.clone()), &ty);
                }
                ty
            }
        }
    }

    /// The type of both; elements that do not fit are `dyn` together. Where they must fit is
    /// checked afterwards.
    fn join(&mut self, before: Option<Type>, now: Type) -> Type {
        match before {
            None => now,
            Some(before) if self.mapping.assign(&before, &now) => {
                unify::most_general(&before, &now)
            }
            Some(_) => Type::Dyn,
        }
    }

    fn list(&mut self, items: &mut [Item]) -> Type {
        let mut of = None;
        for item in items {
            self.expr(&mut item.value);
            let ty = self.unwrapped(&item.value, item.optional);
            of = Some(self.join(of, ty));
        }
        let of = of.unwrap_or_else(|| self.fresh());
        Type::list(of)
    }

    fn map(&mut self, entries: &mut [MapEntry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.expr(&mut entry.key);
            let key = self.type_of(&entry.key);
            keys = Some(self.join(keys, key));
            self.expr(&mut entry.value);
            let value = self.unwrapped(&entry.value, entry.optional);
            values = Some(self.join(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.fresh());
        let values = values.unwrap_or_else(|| self.fresh());
        Type::map(keys, values)
    }

    fn object(&mut self, id: Id, name: &str, fields: &mut [FieldInit]) -> Type {
        if self.env.object(name).is_none() {
            if let Some(ty) = type_name(name) {
                self.report(id, format!("'{ty}' is not a message type"));
                return Type::Error;
            }
            return self.undeclared(id, name);
        }
        for field in fields {
            self.expr(&mut field.value);
            let want = self.field_type(field.id, name, &field.name).unwrap_or(Type::Error);
            let have = self.unwrapped(&field.value, field.optional);
            if !self.mapping.assign(&want, &have) {
                let have = self.mapping.substitute(&have, false);
                self.report(
                    field.id,
                    format!(
                        "expected type of field '{}' is '{want}' but provided type is '{have}'",
                        field.name
                    ),
                );
            }
        }
        Type::object(name)
    }

    fn comprehension(&mut self, each: &mut Comprehension) -> Type {
        self.expr(&mut each.range);
        self.expr(&mut each.init);
        let range = self.mapping.substitute(&self.type_of(&each.range), false);
        let accu = self.type_of(&each.init);
        let (first, second) = match &range {
            Type::List(item) if each.var2.is_some() => (Type::Int, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Dyn),
            Type::Map(pair) => pair.as_ref().clone(),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.mapping.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(each.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let outer = self.scopes.len();
        self.scopes.push((Arc::clone(&each.accu), accu.clone()));
        let inner = self.scopes.len();
        self.scopes.push((Arc::clone(&each.var), first));
        if let Some(var2) = &each.var2 {
            self.scopes.push((Arc::clone(var2), second));
        }
        self.expr(&mut each.condition);
        self.assert(&each.condition, &Type::Bool);
        self.expr(&mut each.step);
        self.assert(&each.step, &accu);
        self.scopes.truncate(inner);
        self.expr(&mut each.result);
        self.scopes.truncate(outer);
        self.mapping.substitute(&self.type_of(&each.result), false)
    }

    fn assert(&mut self, expr: &Expr, want: &Type) {
        let have = self.type_of(expr);
        if !self.mapping.assign(want, &have) {
            self.mismatch(expr.id, want, &have);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// The types that an expression may name.
fn type_name(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "string" => Type::String,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "type" => Type::Type(None),
        "uint" => Type::Uint,
        "optional_type" => Type::optional(Type::Dyn),
        "net.IP" | "net.CIDR" => Type::Opaque(name.into(), [].into()),
        _ => return None,
    })
}

fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Ident(name) => Some(name.to_string()),
        Kind::Select(select) if !select.test_only => {
            dotted(&select.operand).map(|operand| format!("{operand}.{}", select.field))
        }
        _ => None,
    }
}

fn params(of: &Type, names: &mut Vec<Arc<str>>) {
    if let Type::Param(name) = of
        && !names.contains(name)
    {
        names.push(Arc::clone(name));
    }
    of.params().into_iter().for_each(|param| params(param, names));
}
