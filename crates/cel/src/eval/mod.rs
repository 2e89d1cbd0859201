//! The evaluator: a plan, variables, a limit of cost; out comes a value or an error, and what it
//! cost.
//!
//! Errors are values of a kind: `&&`, `||` and the loops made of them go on when another side
//! decides. The one error that nothing holds up is the limit.

pub(crate) mod plan;

use std::sync::Arc;

use crate::cost::runtime;
use crate::error::EvalError;
use crate::library::Context;
use crate::value::{Key, List, Map, MapData, Text, Value};
use plan::{CallNode, LoopNode, Node, Program, StepNode};

/// What one evaluation may cost at most in Kubernetes.
pub const COST_LIMIT: u64 = 1_000_000;

/// Where the variables of an evaluation come from.
pub trait Activation<'a> {
    /// The value of a variable of the environment.
    fn get(&self, name: &str) -> Option<Value<'a>>;

    /// The value of `variables.NAME`, for environments that have such. Asked each time that an
    /// expression does; the implementation remembers, and counts the cost.
    fn composed(&self, _name: &str) -> Option<Result<Value<'a>, EvalError>> {
        None
    }
}

/// Variables that are there before the evaluation begins.
#[derive(Debug, Clone, Default)]
pub struct Bindings<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Bindings<'a> {
    /// No variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.0.push((name, value));
        self
    }
}

impl<'a> Activation<'a> for Bindings<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }
}

/// What came of an evaluation.
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvalError>,
    /// What the evaluation cost.
    pub cost: u64,
}

impl Program {
    /// Evaluates the expression within Kubernetes' limit for one call.
    pub fn evaluate<'a>(&self, activation: &dyn Activation<'a>) -> Outcome<'a> {
        self.evaluate_within(activation, COST_LIMIT)
    }

    /// Evaluates the expression; it may cost `limit`.
    pub fn evaluate_within<'a>(&self, activation: &dyn Activation<'a>, limit: u64) -> Outcome<'a> {
        let mut evaluator = Evaluator { activation, locals: Vec::new(), cost: 0, limit };
        let result = evaluator.eval(&self.root);
        Outcome { result, cost: evaluator.cost }
    }
}

type Eval<'a> = Result<Value<'a>, EvalError>;

struct Evaluator<'a, 'p> {
    activation: &'p dyn Activation<'a>,
    /// The loops' accumulators and variables; an accumulator may hold an error.
    locals: Vec<Eval<'a>>,
    cost: u64,
    limit: u64,
}

impl<'a> Evaluator<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::over_budget()) } else { Ok(()) }
    }

    fn eval(&mut self, node: &Node) -> Eval<'a> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Local(place) => {
                self.charge(runtime::NAME)?;
                self.locals[*place].clone()
            }
            Node::Global(name) => self.global(name),
            Node::Select(operand, field) => self.select(operand, field),
            Node::Has(operand, field) => self.has(operand, field),
            Node::OptSelect(operand, field) => self.optional_select(operand, field),
            Node::And(sides) => self.logical(sides, false),
            Node::Or(sides) => self.logical(sides, true),
            Node::Conditional(parts) => self.conditional(parts),
            Node::NotStrictlyFalse(of) => self.not_strictly_false(of),
            Node::OptionalOr(sides) => self.optional_or(sides, false),
            Node::OptionalOrValue(sides) => self.optional_or(sides, true),
            Node::Adjusted(of, more) => self.adjusted(of, *more),
            Node::Call(call) => self.call(call),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Object(name, is_patch, fields) => self.object(name, *is_patch, fields),
            Node::Loop(each) => self.each(each),
            Node::Bind(place, parts) => self.bind(*place, parts),
        }
    }

    fn global(&mut self, name: &str) -> Eval<'a> {
        self.charge(runtime::NAME)?;
        self.activation
            .get(name)
            .ok_or_else(|| EvalError::new(format!("no such attribute(s): {name}")))
    }

    fn adjusted(&mut self, of: &Node, more: bool) -> Eval<'a> {
        if !more {
            // The name that costs this is part of it.
            self.cost = self.cost.saturating_sub(1);
            return self.eval(of);
        }
        self.charge(1)?;
        self.eval(of)
    }

    fn conditional(&mut self, parts: &[Node; 3]) -> Eval<'a> {
        let condition = self.eval(&parts[0])?.as_bool();
        match condition {
            Some(true) => self.eval(&parts[1]),
            Some(false) => self.eval(&parts[2]),
            None => Err(EvalError::no_such_overload()),
        }
    }

    fn not_strictly_false(&mut self, of: &Node) -> Eval<'a> {
        let value = match self.eval(of) {
            Err(error) if error.is_over_budget() => return Err(error),
            Ok(Value::Bool(value)) => value,
            _ => true,
        };
        self.charge(1)?;
        Ok(Value::Bool(value))
    }

    fn optional_or(&mut self, sides: &[Node; 2], unwrap: bool) -> Eval<'a> {
        match self.eval(&sides[0])? {
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            held @ Value::Optional(Some(_)) => Ok(held),
            Value::Optional(None) => self.eval(&sides[1]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn bind(&mut self, place: usize, parts: &[Node; 2]) -> Eval<'a> {
        self.charge(runtime::LIST)?;
        let value = self.eval(&parts[0]);
        if let Err(error) = &value
            && error.is_over_budget()
        {
            return value;
        }
        self.locals.truncate(place);
        self.locals.push(value);
        let result = self.eval(&parts[1]);
        self.locals.truncate(place);
        result
    }

    fn select(&mut self, operand: &Node, field: &str) -> Eval<'a> {
        let operand = self.eval(operand)?;
        self.charge(runtime::NAME)?;
        match &operand {
            Value::Variables => self
                .activation
                .composed(field)
                .unwrap_or_else(|| Err(EvalError::no_such_key(field))),
            Value::Map(map) => map.find_text(field)?.ok_or_else(|| EvalError::no_such_key(field)),
            Value::Optional(_) => optional_field(&operand, field),
            _ => Err(EvalError::no_such_key(field)),
        }
    }

    fn optional_select(&mut self, operand: &Node, field: &str) -> Eval<'a> {
        let operand = self.eval(operand)?;
        self.charge(runtime::NAME)?;
        optional_field(&operand, field)
    }

    fn has(&mut self, operand: &Node, field: &str) -> Eval<'a> {
        let held = match self.eval(operand)? {
            Value::Variables => self.activation.composed(field).is_some(),
            Value::Map(map) => map.find_text(field)?.is_some(),
            Value::Optional(Some(value)) => {
                matches!(value.field(field), Ok(Some(_)))
            }
            _ => false,
        };
        Ok(Value::Bool(held))
    }

    /// `&&` and `||`: what decides does so whatever the other side is.
    fn logical(&mut self, sides: &[Node; 2], decides: bool) -> Eval<'a> {
        let left = self.eval(&sides[0]);
        match &left {
            Ok(Value::Bool(value)) if *value == decides => return left,
            Err(error) if error.is_over_budget() => return left,
            _ => {}
        }
        let right = self.eval(&sides[1]);
        match (left, right) {
            (_, Ok(Value::Bool(value))) if value == decides => Ok(Value::Bool(decides)),
            (_, Err(error)) if error.is_over_budget() => Err(error),
            (Ok(Value::Bool(_)), right @ Ok(Value::Bool(_))) => right,
            (Err(error), _) | (Ok(Value::Bool(_)), Err(error)) => Err(error),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn call(&mut self, call: &CallNode) -> Eval<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        let mut context = Context {
            remaining: self.limit.saturating_sub(self.cost),
            pattern: call.pattern.as_ref(),
        };
        let result = (call.function)(&mut context, &args);
        if let Err(error) = &result
            && error.is_over_budget()
        {
            // What was refused before it was done cost no more than the limit.
            self.cost = self.limit.saturating_add(1);
            return result;
        }
        self.charge(runtime::cost(call.rule, &args, result.as_ref().ok()))?;
        result
    }

    fn list(&mut self, items: &[(Node, bool)]) -> Eval<'a> {
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            let value = self.eval(item)?;
            if !optional {
                values.push(value);
                continue;
            }
            match value {
                Value::Optional(Some(value)) => values.push((*value).clone()),
                Value::Optional(None) => {}
                other => {
                    return Err(EvalError::new(format!(
                        "cannot initialize optional list element from non-optional value {}",
                        other.type_of()
                    )));
                }
            }
        }
        self.charge(runtime::LIST)?;
        Ok(Value::list(values))
    }

    /// What a field or an entry gets; nothing when it is optional and not there.
    fn entry(
        &mut self,
        name: &str,
        value: &Node,
        optional: bool,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let value = self.eval(value)?;
        if !optional {
            return Ok(Some(value));
        }
        match value {
            Value::Optional(value) => Ok(value.map(|value| (*value).clone())),
            other => Err(EvalError::new(format!(
                "cannot initialize optional entry '{name}' from non-optional value {}",
                other.type_of()
            ))),
        }
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Eval<'a> {
        let mut data = MapData::default();
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let shown = key.as_text().unwrap_or_default().to_owned();
            let Some(value) = self.entry(&shown, value, *optional)? else {
                continue;
            };
            insert(&mut data, key, value, "Failed with repeated key")?;
        }
        self.charge(runtime::MAP)?;
        Ok(Value::Map(Map::Owned(Arc::new(data))))
    }

    fn object(
        &mut self,
        name: &Arc<str>,
        is_patch: bool,
        fields: &[(Arc<str>, Node, bool)],
    ) -> Eval<'a> {
        let mut data = MapData::object(Arc::clone(name));
        for (field, value, optional) in fields {
            if let Some(value) = self.entry(field, value, *optional)? {
                let key = Key::Text(Arc::clone(field));
                data.put(key, Value::String(Text::Shared(Arc::clone(field))), value);
            }
        }
        self.charge(runtime::OBJECT)?;
        if is_patch {
            check_patch(&data)?;
        }
        Ok(Value::Map(Map::Owned(Arc::new(data))))
    }

    fn each(&mut self, each: &LoopNode) -> Eval<'a> {
        let range = self.eval(&each.range)?;
        let init = self.eval(&each.init);
        self.locals.truncate(each.place);
        self.locals.push(init);
        let walked = self.walk(each, &range);
        let result = match walked {
            Ok(()) => {
                self.locals.truncate(each.place + 1);
                self.eval(&each.result)
            }
            Err(error) => Err(error),
        };
        self.locals.truncate(each.place);
        result
    }

    fn walk(&mut self, each: &LoopNode, range: &Value<'a>) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for (index, item) in list.iter().enumerate() {
                    let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let first = if each.two { index } else { item.clone()? };
                    let second = if each.two { Some(item?) } else { None };
                    if !self.turn(each, first, second)? {
                        return Ok(());
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = if each.two { map.find(&key)? } else { None };
                    if !self.turn(each, key, value)? {
                        return Ok(());
                    }
                }
                Ok(())
            }
            other => Err(EvalError::new(format!(
                "got '{}', expected iterable type",
                other.type_of().name()
            ))),
        }
    }

    /// One turn of a loop; false when it was the last.
    fn turn(
        &mut self,
        each: &LoopNode,
        first: Value<'a>,
        second: Option<Value<'a>>,
    ) -> Result<bool, EvalError> {
        self.locals.truncate(each.place + 1);
        self.locals.push(Ok(first));
        self.locals.extend(second.map(Ok));
        if let Some(condition) = &each.condition
            && !matches!(self.eval(condition)?, Value::Bool(true))
        {
            return Ok(false);
        }
        if let Some(filter) = &each.filter {
            match self.eval(filter) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(true),
                Ok(_) => return Err(EvalError::no_such_overload()),
                Err(error) => return Err(error),
            }
        }
        self.step(each)?;
        Ok(true)
    }

    fn step(&mut self, each: &LoopNode) -> Result<(), EvalError> {
        match &each.step {
            StepNode::General(step) => {
                let value = self.eval(step);
                if let Err(error) = &value
                    && error.is_over_budget()
                {
                    return Err(error.clone());
                }
                self.locals[each.place] = value;
            }
            StepNode::Append(item) => {
                let item = self.eval(item)?;
                // A name, a list of one, and a sum.
                self.charge(runtime::NAME + runtime::LIST + 1)?;
                match &mut self.locals[each.place] {
                    Ok(Value::List(List::Owned(items))) => Arc::make_mut(items).push(item),
                    _ => return Err(EvalError::no_such_overload()),
                }
            }
            StepNode::Insert(key, value) => {
                let key = self.eval(key)?;
                let value = self.eval(value)?;
                self.charge(runtime::NAME + 1)?;
                self.insert(each.place, vec![(key, value)])?;
            }
            StepNode::InsertAll(entries) => {
                let Value::Map(entries) = self.eval(entries)? else {
                    return Err(EvalError::no_such_overload());
                };
                self.charge(runtime::NAME + 1)?;
                self.insert(each.place, entries.entries()?)?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        place: usize,
        entries: Vec<(Value<'a>, Value<'a>)>,
    ) -> Result<(), EvalError> {
        let Ok(Value::Map(Map::Owned(data))) = &mut self.locals[place] else {
            return Err(EvalError::no_such_overload());
        };
        let data = Arc::make_mut(data);
        for (key, value) in entries {
            insert(data, key, value, "insert failed: key")?;
        }
        Ok(())
    }
}

pub(crate) fn insert<'a>(
    data: &mut MapData<'a>,
    key: Value<'a>,
    value: Value<'a>,
    problem: &str,
) -> Result<(), EvalError> {
    let Some(normal) = Key::of(&key) else {
        return Err(EvalError::new(format!("unsupported key type: {}", key.type_of().name())));
    };
    if data.has(&normal) {
        let key = crate::library::convert::display(&key);
        let tail = if problem.starts_with("insert") { " already exists" } else { "" };
        return Err(EvalError::new(format!("{problem} {key}{tail}")));
    }
    data.put(normal, key, value);
    Ok(())
}

fn optional_field<'a>(operand: &Value<'a>, field: &str) -> Eval<'a> {
    let target = match operand {
        Value::Optional(Some(value)) => value,
        Value::Optional(None) => return Ok(Value::Optional(None)),
        other => other,
    };
    match target {
        Value::Map(map) => Ok(Value::Optional(map.find_text(field)?.map(Arc::new))),
        _ => Ok(Value::Optional(None)),
    }
}

/// The fields of a JSON patch operation that must be texts.
fn check_patch(data: &MapData<'_>) -> Result<(), EvalError> {
    for name in ["op", "path", "from"] {
        if let Some(value) = data.get(&Key::Text(name.into()))
            && value.as_text().is_none()
        {
            let ty = value.type_of();
            return Err(EvalError::new(format!(
                "unexpected type {ty} for JSONPatchType '{name}' field"
            )));
        }
    }
    Ok(())
}
