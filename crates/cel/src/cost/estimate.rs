//! What an expression costs at most, from its types and the sizes that its schema allows.
//!
//! Follows cel-go's estimator, since CustomResourceDefinitions are refused by what it says: a
//! node's size is known from what it is (a literal, a call whose result is bounded) or from the
//! path by which a schema's value is reached.

use std::collections::HashMap;
use std::sync::Arc;

use super::calls;
use super::range::Range;
use super::runtime::{LIST, MAP, OBJECT};
use crate::check::Checked;
use crate::eval::plan::Program;
use crate::schema::{DeclType, Shape};
use crate::syntax::ast::{ACCUMULATOR, Call, Comprehension, Expr, Id, Kind, Literal};
use crate::types::Type;

/// A path from a variable to a part of its value.
pub(super) type Path = Vec<Arc<str>>;

impl Program {
    /// What an evaluation costs at least and at most, when the variables' values are as `root`
    /// allows.
    #[must_use]
    pub fn estimate(&self, root: &DeclType) -> Range {
        let mut estimator = Estimator {
            checked: &self.checked,
            root,
            paths: HashMap::new(),
            sizes: HashMap::new(),
            entries: HashMap::new(),
            locals: Vec::new(),
        };
        estimator.cost(&self.checked.root)
    }
}

/// How large the keys and values of a container are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entry {
    fn union(self, other: Self) -> Self {
        Self { key: self.key.union(other.key), value: self.value.union(other.value), ..self }
    }
}

struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Range>,
    entry: Option<Entry>,
}

pub(super) struct Estimator<'c> {
    checked: &'c Checked,
    root: &'c DeclType,
    paths: HashMap<Id, Path>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entry>,
    locals: Vec<Local>,
}

/// A node as the costs of calls look at it.
pub(super) struct Node<'e> {
    pub(super) expr: &'e Expr,
    pub(super) ty: Type,
    pub(super) path: Path,
    pub(super) size: Option<Range>,
}

impl Node<'_> {
    pub(super) fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }

    /// The literal number that this is.
    pub(super) fn number(&self) -> Option<u64> {
        match &self.expr.kind {
            Kind::Literal(Literal::Int(number)) => Some(u64::try_from(*number).unwrap_or(0)),
            _ => None,
        }
    }
}

impl<'c> Estimator<'c> {
    fn ty(&self, expr: &Expr) -> &'c Type {
        self.checked.type_of(expr)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn subpath(&self, expr: &Expr, part: &str) -> Path {
        let mut path = self.path(expr);
        path.push(part.into());
        path
    }

    pub(super) fn node<'e>(&mut self, expr: &'e Expr) -> Node<'e> {
        let mut path = self.path(expr);
        if path.first().is_some_and(|first| &**first == ACCUMULATOR) {
            path.clear();
        }
        Node { expr, ty: self.ty(expr).clone(), path, size: self.size(expr) }
    }

    /// How large what a list holds can be, with the type of it.
    pub(super) fn element(&self, list: &Node<'_>) -> Option<(Type, Range)> {
        let Type::List(item) = &list.ty else {
            return None;
        };
        let mut path = list.path.clone();
        let known = !path.is_empty();
        path.push("@items".into());
        let size = if known { self.schema_size(&path) } else { None };
        Some(((**item).clone(), size.unwrap_or(Range::UNKNOWN)))
    }

    /// The size that the schema allows at a path. Its first part is the variable.
    fn schema_size(&self, path: &[Arc<str>]) -> Option<Range> {
        let mut decl = self.root;
        if path.is_empty() {
            return None;
        }
        for part in &path[1..] {
            decl = match (&**part, &decl.shape) {
                ("@items" | "@values", Shape::List(inner, _) | Shape::Map(inner)) => inner,
                // Keys of maps are texts that no schema bounds, and count as upstream counts them.
                ("@keys", Shape::Map(_)) => return Some(Range::ZERO),
                (name, Shape::Object(fields)) => &fields.get(name)?.decl,
                // All attributes of a device have the same limit, whatever their names.
                (_, Shape::Map(inner)) if self.root.ty.name() == crate::devices::DEVICE_TYPE => {
                    inner
                }
                _ => return None,
            };
        }
        Some(Range::upto(decl.max_elements))
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = literal_size(expr) {
            return Some(Range::fixed(size));
        }
        let path = self.path(expr);
        if let Some(size) = self.schema_size(&path) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(self.ty(expr)) {
            return Some(Range::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn entry(&self, expr: &Expr) -> Option<Entry> {
        if let Some(entry) = self.entries.get(&expr.id) {
            return Some(*entry);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.entry),
            _ => None,
        }
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) | Kind::Invalid => Range::ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.trim_start_matches('.').into()],
                };
                self.paths.insert(expr.id, path);
                Range::fixed(1)
            }
            Kind::Select(select) => {
                let operand = self.cost(&select.operand);
                if select.test_only {
                    return operand;
                }
                let path = self.subpath(&select.operand, &select.field);
                self.paths.insert(expr.id, path);
                match self.ty(&select.operand) {
                    Type::Map(_) | Type::Struct(_) | Type::Param(_) => {
                        operand.plus(Range::fixed(1))
                    }
                    _ => operand,
                }
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => {
                let mut sum = Range::fixed(LIST);
                let mut value = None;
                for item in items {
                    sum = sum.plus(self.cost(&item.value));
                    value = widened(value, self.size_or_unknown(&item.value));
                }
                let value = value.unwrap_or(Range::ZERO);
                let entry = Entry { is_list: true, key: Range::fixed(1), value };
                self.entries.insert(expr.id, entry);
                sum
            }
            Kind::Map(entries) => {
                let mut sum = Range::fixed(MAP);
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    key = widened(key, self.size_or_unknown(&entry.key));
                    value = widened(value, self.size_or_unknown(&entry.value));
                }
                let (key, value) = (key.unwrap_or(Range::ZERO), value.unwrap_or(Range::ZERO));
                self.entries.insert(expr.id, Entry { is_list: false, key, value });
                sum
            }
            Kind::Struct(_, fields) => fields
                .iter()
                .fold(Range::fixed(OBJECT), |sum, field| sum.plus(self.cost(&field.value))),
            Kind::Comprehension(each) if each.is_bind() => self.bind(expr, each),
            Kind::Comprehension(each) => self.each(expr, each),
        }
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Range {
        if &*call.function == "dyn" {
            let arg = &call.args[0];
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.plus(Range::fixed(1));
        }
        let costs: Vec<Range> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let target_cost = call.target.as_ref().map_or(Range::ZERO, |target| self.cost(target));
        let Some(overloads) = self.checked.overloads.get(&expr.id) else {
            return Range::ZERO.plus(target_cost);
        };
        let args: Vec<Node<'_>> = call.args.iter().map(|arg| self.node(arg)).collect();
        let target = call.target.as_ref().map(|target| self.node(target));
        let mut cost: Option<Range> = None;
        let mut result: Option<Range> = None;
        for overload in overloads {
            let one = self.overload(expr, call, &overload.id, target.as_ref(), &args, &costs);
            cost = widened(cost, one.cost);
            if let Some(size) = one.result {
                result = widened(result, size);
            }
            let part = match &*overload.id {
                "index_list" => Some("@items"),
                "index_map" => Some("@values"),
                _ => None,
            };
            if let (Some(part), Some(arg)) = (part, call.args.first()) {
                result = self.entry(arg).map(|entry| entry.value);
                let path = self.subpath(arg, part);
                self.paths.insert(expr.id, path);
            }
            if result.is_none() {
                result = self.size(expr);
            }
        }
        if let Some(result) = result {
            self.sizes.insert(expr.id, result);
        }
        target_cost.plus(cost.unwrap_or(Range::ZERO))
    }

    fn overload(
        &mut self,
        expr: &Expr,
        call: &Call,
        overload: &str,
        target: Option<&Node<'_>>,
        args: &[Node<'_>],
        costs: &[Range],
    ) -> calls::Estimate {
        let sum = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
        if let Some(estimate) = calls::library(self, &call.function, overload, target, args) {
            return estimate.plus(sum);
        }
        match (overload, costs) {
            ("logical_and" | "logical_or", [left, right]) => {
                let cost = Range { min: left.min, max: left.plus(*right).max };
                return calls::Estimate { cost, result: None };
            }
            ("conditional", [condition, yes, no]) => {
                if let (Some(a), Some(b)) = (self.entry(&call.args[1]), self.entry(&call.args[2])) {
                    self.entries.insert(expr.id, a.union(b));
                }
                let result = Some(args[1].size().union(args[2].size()));
                return calls::Estimate { cost: condition.plus(yes.union(*no)), result };
            }
            ("add_list" | "add_string" | "add_bytes", [_, _]) => {
                if let (Some(a), Some(b)) = (self.entry(&call.args[0]), self.entry(&call.args[1])) {
                    self.entries.insert(expr.id, b.union(a));
                }
            }
            _ => {}
        }
        calls::core(overload, target, args).plus(sum)
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(entry) = self.entry(from) {
            self.entries.insert(to.id, entry);
        }
    }

    fn push(&mut self, name: &Arc<str>, expr: &Expr) {
        let path = self.path(expr);
        let (size, entry) = (self.size(expr), self.entry(expr));
        self.locals.push(Local { name: Arc::clone(name), path, size, entry });
    }

    fn push_part(&mut self, name: &Arc<str>, range: &Expr, part: &str, size: Option<Range>) {
        let path = self.subpath(range, part);
        self.locals.push(Local { name: Arc::clone(name), path, size, entry: None });
    }

    fn bind(&mut self, expr: &Expr, each: &Comprehension) -> Range {
        let cost = self.cost(&each.range).plus(self.cost(&each.init));
        self.push(&each.accu, &each.init);
        let cost = cost.plus(self.cost(&each.result));
        self.locals.pop();
        self.copy_sizes(expr, &each.result);
        cost
    }

    fn each(&mut self, expr: &Expr, each: &Comprehension) -> Range {
        let mut sum = self.cost(&each.range).plus(self.cost(&each.init));
        self.push(&each.accu, &each.init);
        let entry = self.entry(&each.range);
        let is_list = match entry {
            Some(entry) => entry.is_list,
            None => matches!(self.ty(&each.range), Type::List(_)),
        };
        let (key, value) = (entry.map(|entry| entry.key), entry.map(|entry| entry.value));
        let names = self.locals.len();
        match (&each.var2, is_list) {
            (Some(var2), _) => {
                let (one, two) =
                    if is_list { ("@indices", "@items") } else { ("@keys", "@values") };
                self.push_part(&each.var, &each.range, one, key);
                self.push_part(var2, &each.range, two, value);
            }
            (None, true) => self.push_part(&each.var, &each.range, "@items", value),
            (None, false) => self.push_part(&each.var, &each.range, "@keys", key),
        }
        let turn = self.cost(&each.condition).plus(self.cost(&each.step));
        self.locals.truncate(names);
        sum = sum.plus(self.cost(&each.result));
        self.locals.pop();
        let turns = self.size_or_unknown(&each.range);
        match &each.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&each.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, turns);
                if let Some(entry) = self.entry(&each.step) {
                    self.entries.insert(expr.id, entry);
                }
            }
            _ => {}
        }
        sum.plus(turns.times(turn))
    }
}

fn widened(before: Option<Range>, now: Range) -> Option<Range> {
    Some(before.map_or(now, |before| before.union(now)))
}

fn literal_size(expr: &Expr) -> Option<u64> {
    Some(match &expr.kind {
        Kind::Literal(Literal::String(text)) => crate::value::count(text),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List(items) => items.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        other => other.optional_of().is_some_and(is_scalar),
    }
}
