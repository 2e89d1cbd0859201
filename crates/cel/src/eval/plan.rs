//! A checked expression made ready for evaluation: names are places, functions are found, constants
//! are folded.

use std::sync::Arc;

use regex::Regex;

use crate::check::Checked;
use crate::cost::runtime::{self, Rule};
use crate::env::{Env, ObjectType};
use crate::library::{self, Builtin, Context, regexes};
use crate::syntax::ast::{Call, Comprehension, Expr, FieldInit, Kind, Literal, ops};
use crate::types::Type;
use crate::value::{Key, Map, MapData, Value};

/// A compiled expression. Cheap to clone; may be evaluated by many at once.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) root: Arc<Node>,
    pub(crate) checked: Arc<Checked>,
}

impl Program {
    /// The type of the expression.
    #[must_use]
    pub fn result_type(&self) -> &Type {
        self.checked.type_of(&self.checked.root)
    }

    /// Whether the expression speaks of a variable.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        uses(&self.root, variable)
    }
}

/// A step of an evaluation.
#[derive(Debug)]
pub(crate) enum Node {
    Const(Value<'static>),
    Global(Arc<str>),
    /// The value at a place of the stack of local variables.
    Local(usize),
    Select(Box<Node>, Arc<str>),
    Has(Box<Node>, Arc<str>),
    OptSelect(Box<Node>, Arc<str>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    NotStrictlyFalse(Box<Node>),
    /// `a.or(b)` of optionals.
    OptionalOr(Box<[Node; 2]>),
    /// `a.orValue(b)`.
    OptionalOrValue(Box<[Node; 2]>),
    Call(Box<CallNode>),
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    /// An object's type, whether that is a JSON patch, and its fields.
    Object(Arc<str>, bool, Vec<(Arc<str>, Node, bool)>),
    Loop(Box<LoopNode>),
    /// A node that costs one more or one less than it does by itself. Upstream resolves a chain of
    /// selections as one: its name is not counted again where the chain is an index or a branch,
    /// and where something else is the base, that is counted once more.
    Adjusted(Box<Node>, bool),
    /// A name for a value: where it is put, what it is, what it is for.
    Bind(usize, Box<[Node; 2]>),
}

#[derive(Debug)]
pub(crate) struct CallNode {
    pub(crate) function: Builtin,
    pub(crate) args: Vec<Node>,
    pub(crate) rule: Rule,
    /// Whether this selects an item.
    pub(crate) is_index: bool,
    /// The compiled pattern, when it is a constant.
    pub(crate) pattern: Option<Regex>,
}

#[derive(Debug)]
pub(crate) struct LoopNode {
    pub(crate) range: Node,
    /// The accumulator's place; the variables' are behind it.
    pub(crate) place: usize,
    pub(crate) two: bool,
    pub(crate) init: Node,
    pub(crate) condition: Option<Node>,
    pub(crate) filter: Option<Node>,
    pub(crate) step: StepNode,
    pub(crate) result: Node,
}

/// What a loop does with its accumulator. Gathering is done in place: written out, each step would
/// copy what was gathered before.
#[derive(Debug)]
pub(crate) enum StepNode {
    Append(Node),
    Insert(Node, Node),
    InsertAll(Node),
    General(Node),
}

pub(crate) fn plan(env: &Env, checked: Checked) -> Program {
    let mut planner = Planner { env, checked: &checked, scopes: Vec::new() };
    let root = planner.node(&checked.root);
    Program { root: Arc::new(root), checked: Arc::new(checked) }
}

struct Planner<'c> {
    env: &'c Env,
    checked: &'c Checked,
    scopes: Vec<Arc<str>>,
}

impl Planner<'_> {
    fn boxed(&mut self, expr: &Expr) -> Box<Node> {
        Box::new(self.node(expr))
    }

    fn node(&mut self, expr: &Expr) -> Node {
        if let Some(ty) = self.checked.type_names.get(&expr.id) {
            return Node::Const(Value::Type(ty.clone()));
        }
        match &expr.kind {
            Kind::Literal(literal) => Node::Const(constant(literal)),
            Kind::Ident(name) => match self.scopes.iter().rposition(|known| known == name) {
                Some(place) => Node::Local(place),
                None => Node::Global(name.trim_start_matches('.').into()),
            },
            Kind::Select(select) => {
                let operand = Box::new(self.base(&select.operand, select.test_only));
                let field = Arc::clone(&select.field);
                if select.test_only {
                    Node::Has(operand, field)
                } else {
                    Node::Select(operand, field)
                }
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => fold_list(
                items.iter().map(|item| (self.node(&item.value), item.optional)).collect(),
            ),
            Kind::Map(entries) => fold_map(
                entries
                    .iter()
                    .map(|entry| (self.node(&entry.key), self.node(&entry.value), entry.optional))
                    .collect(),
            ),
            Kind::Struct(name, fields) => self.object(name.trim_start_matches('.'), fields),
            Kind::Comprehension(each) => self.comprehension(each),
            Kind::Invalid => unreachable!("an expression with problems is not planned"),
        }
    }

    fn object(&mut self, name: &str, fields: &[FieldInit]) -> Node {
        let is_patch = matches!(self.env.object(name), Some(ObjectType::Patch));
        let fields = fields
            .iter()
            .map(|field| (Arc::clone(&field.name), self.node(&field.value), field.optional));
        Node::Object(name.into(), is_patch, fields.collect())
    }

    /// An index, or a branch: a chain is not counted there beside what it is part of.
    fn part(&mut self, expr: &Expr) -> Node {
        let node = self.node(expr);
        if is_chain(&node) { Node::Adjusted(Box::new(node), false) } else { node }
    }

    /// What a field or an item is selected from.
    fn base(&mut self, operand: &Expr, test_only: bool) -> Node {
        let node = self.node(operand);
        if test_only || is_chain(&node) { node } else { Node::Adjusted(Box::new(node), true) }
    }

    fn pair(&mut self, args: &[Expr]) -> Box<[Node; 2]> {
        Box::new([self.node(&args[0]), self.node(&args[1])])
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Node {
        match (&*call.function, call.args.as_slice()) {
            (ops::AND, args) => return Node::And(self.pair(args)),
            (ops::OR, args) => return Node::Or(self.pair(args)),
            (ops::CONDITIONAL, [condition, yes, no]) => {
                let nodes = [self.node(condition), self.part(yes), self.part(no)];
                return Node::Conditional(Box::new(nodes));
            }
            (ops::NOT_STRICTLY_FALSE, [of]) => return Node::NotStrictlyFalse(self.boxed(of)),
            (
                ops::OPT_SELECT,
                [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }],
            ) => {
                return Node::OptSelect(Box::new(self.base(operand, false)), Arc::clone(field));
            }
            ("or", [other]) if call.target.is_some() => {
                return Node::OptionalOr(self.with_target(call, other));
            }
            ("orValue", [other]) if call.target.is_some() => {
                return Node::OptionalOrValue(self.with_target(call, other));
            }
            _ => {}
        }
        let args: Vec<Node> = match (&*call.function, call.args.as_slice()) {
            (ops::INDEX | ops::OPT_INDEX, [operand, index]) => {
                vec![self.base(operand, false), self.part(index)]
            }
            _ => call.target.iter().chain(&call.args).map(|arg| self.node(arg)).collect(),
        };
        let overload = match self.checked.overloads.get(&expr.id).map(Vec::as_slice) {
            Some([one]) => &*one.id,
            _ => "",
        };
        let function = library::implementation(&call.function)
            .expect("each declared function has an implementation");
        let pattern = match (&*call.function, args.get(1)) {
            ("matches" | "find" | "findAll", Some(Node::Const(Value::String(text)))) => {
                regexes::compile(text).ok()
            }
            _ => None,
        };
        let mut rule = runtime::rule(&call.function, overload);
        if &*call.function == ops::IN && is_constant_set(&args[1]) {
            rule = Rule::Free;
        }
        let is_index = matches!(&*call.function, ops::INDEX | ops::OPT_INDEX);
        fold_call(&call.function, CallNode { function, args, rule, is_index, pattern })
    }

    fn with_target(&mut self, call: &Call, other: &Expr) -> Box<[Node; 2]> {
        let target = call.target.as_ref().expect("the caller saw that there is a target");
        Box::new([self.node(target), self.node(other)])
    }

    fn comprehension(&mut self, each: &Comprehension) -> Node {
        let place = self.scopes.len();
        if each.is_bind() {
            let init = self.node(&each.init);
            self.scopes.push(Arc::clone(&each.accu));
            let body = self.node(&each.result);
            self.scopes.truncate(place);
            return Node::Bind(place, Box::new([init, body]));
        }
        let range = self.node(&each.range);
        let init = self.node(&each.init);
        self.scopes.push(Arc::clone(&each.accu));
        self.scopes.push(Arc::clone(&each.var));
        self.scopes.extend(each.var2.clone());
        let condition = match &each.condition.kind {
            Kind::Literal(Literal::Bool(true)) => None,
            _ => Some(self.node(&each.condition)),
        };
        let (filter, step) = self.step(each);
        self.scopes.truncate(place + 1);
        let result = self.node(&each.result);
        self.scopes.truncate(place);
        let two = each.var2.is_some();
        Node::Loop(Box::new(LoopNode { range, place, two, init, condition, filter, step, result }))
    }

    fn step(&mut self, each: &Comprehension) -> (Option<Node>, StepNode) {
        let is_accu = |expr: &Expr| matches!(&expr.kind, Kind::Ident(name) if *name == each.accu);
        let (filter, inner) = match &each.step.kind {
            Kind::Call(call) if &*call.function == ops::CONDITIONAL && is_accu(&call.args[2]) => {
                (Some(&call.args[0]), &call.args[1])
            }
            _ => (None, &each.step),
        };
        let step = match &inner.kind {
            Kind::Call(call) if call.args.first().is_some_and(is_accu) => {
                match (&*call.function, &call.args[1..]) {
                    (ops::ADD, [Expr { kind: Kind::List(items), .. }]) => match items.as_slice() {
                        [one] if !one.optional => Some(StepNode::Append(self.node(&one.value))),
                        _ => None,
                    },
                    (ops::MAP_INSERT, [key, value]) => {
                        Some(StepNode::Insert(self.node(key), self.node(value)))
                    }
                    (ops::MAP_INSERT, [entries]) => Some(StepNode::InsertAll(self.node(entries))),
                    _ => None,
                }
            }
            _ => None,
        };
        match step {
            Some(step) => (filter.map(|filter| self.node(filter)), step),
            None => (None, StepNode::General(self.node(&each.step))),
        }
    }
}

/// Whether a node is a name, or selections from one.
fn is_chain(node: &Node) -> bool {
    match node {
        Node::Global(_) | Node::Local(_) => true,
        Node::Select(operand, _) | Node::OptSelect(operand, _) => is_chain(operand),
        Node::Call(call) => call.is_index && is_chain(&call.args[0]),
        _ => false,
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::text(Arc::clone(text)),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}

/// A list of constants is a constant, and costs nothing, as with upstream's optimiser.
fn fold_list(items: Vec<(Node, bool)>) -> Node {
    if items.iter().all(|(item, optional)| matches!(item, Node::Const(_)) && !optional) {
        let values = items
            .into_iter()
            .filter_map(|(item, _)| match item {
                Node::Const(value) => Some(value),
                _ => None,
            })
            .collect();
        return Node::Const(Value::list(values));
    }
    Node::List(items)
}

fn fold_map(entries: Vec<(Node, Node, bool)>) -> Node {
    let mut data = MapData::default();
    for (key, value, optional) in &entries {
        let (Node::Const(key), Node::Const(value), false) = (key, value, optional) else {
            return Node::Map(entries);
        };
        match Key::of(key) {
            Some(normal) if !data.has(&normal) => data.put(normal, key.clone(), value.clone()),
            _ => return Node::Map(entries),
        };
    }
    Node::Const(Value::Map(Map::Owned(Arc::new(data))))
}

/// A conversion of a constant is a constant.
fn fold_call(name: &str, call: CallNode) -> Node {
    const CONVERSIONS: [&str; 9] =
        ["bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint", "type"];
    if let [Node::Const(arg)] = call.args.as_slice()
        && CONVERSIONS.contains(&name)
        && let Ok(value) = (call.function)(&mut Context::unlimited(), std::slice::from_ref(arg))
    {
        return Node::Const(value);
    }
    Node::Call(Box::new(call))
}

fn is_constant_set(node: &Node) -> bool {
    let Node::Const(Value::List(list)) = node else {
        return false;
    };
    list.items().is_ok_and(|items| {
        items.iter().all(|item| {
            matches!(
                item,
                Value::Bool(_)
                    | Value::Int(_)
                    | Value::Uint(_)
                    | Value::Double(_)
                    | Value::String(_)
            )
        })
    })
}

fn uses(node: &Node, variable: &str) -> bool {
    let any = |nodes: &[Node]| nodes.iter().any(|node| uses(node, variable));
    match node {
        Node::Const(_) | Node::Local(_) => false,
        Node::Global(name) => &**name == variable,
        Node::Select(of, _) | Node::Has(of, _) | Node::OptSelect(of, _) => uses(of, variable),
        Node::NotStrictlyFalse(of) | Node::Adjusted(of, _) => uses(of, variable),
        Node::And(pair)
        | Node::Or(pair)
        | Node::OptionalOr(pair)
        | Node::OptionalOrValue(pair)
        | Node::Bind(_, pair) => any(&**pair),
        Node::Conditional(parts) => any(&**parts),
        Node::Call(call) => any(&call.args),
        Node::List(items) => items.iter().any(|(item, _)| uses(item, variable)),
        Node::Map(entries) => {
            entries.iter().any(|(key, value, _)| uses(key, variable) || uses(value, variable))
        }
        Node::Object(_, _, fields) => fields.iter().any(|(_, value, _)| uses(value, variable)),
        Node::Loop(each) => {
            let step = match &each.step {
                StepNode::Append(node) | StepNode::InsertAll(node) | StepNode::General(node) => {
                    uses(node, variable)
                }
                StepNode::Insert(key, value) => uses(key, variable) || uses(value, variable),
            };
            step || [&each.range, &each.init, &each.result]
                .into_iter()
                .chain(&each.condition)
                .chain(&each.filter)
                .any(|node| uses(node, variable))
        }
    }
}
