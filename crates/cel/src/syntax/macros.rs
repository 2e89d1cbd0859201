//! The macros of the language and of the extensions that Kubernetes 1.36 enables: `has`, the
//! comprehensions over one and two variables, `optMap`, `optFlatMap`
//! and `sortBy`; where the environment has it, `cel.bind`.
//!
//! A macro is recognised by its name, its style and its number of arguments; with others it is an
//! ordinary call.

use std::sync::Arc;

use super::ast::{
    ACCUMULATOR, Call, Comprehension, Expr, Item, Kind, Literal, OLD_ACCUMULATOR, Select, ops,
};
use super::parser::{Parser, Step};

/// What a call becomes, or its parts back when it is no macro.
type Expansion<Parts> = Result<Expr, Parts>;

/// A macro of the form `name(args)`.
pub(super) fn global(
    parser: &mut Parser<'_>,
    position: u32,
    function: &str,
    mut args: Vec<Expr>,
) -> Expansion<Vec<Expr>> {
    if function != "has" || args.len() != 1 {
        return Err(args);
    }
    let arg = args.remove(0);
    match arg.kind {
        Kind::Select(select) => {
            let select = Select { test_only: true, ..*select };
            Ok(parser.node(position, Kind::Select(Box::new(select))))
        }
        _ => {
            let position = parser.position(arg.id);
            Ok(parser.report(position, "invalid argument to has() macro"))
        }
    }
}

/// A macro of the form `target.name(args)`.
pub(super) fn receiver(
    parser: &mut Parser<'_>,
    position: u32,
    function: &str,
    target: Expr,
    args: Vec<Expr>,
) -> Step<Expansion<(Expr, Vec<Expr>)>> {
    let mut make = Maker { parser, position };
    let expanded = match (function, args.len()) {
        ("all" | "exists" | "exists_one" | "existsOne", 2) => {
            make.one(function, target, args, "argument must be a simple name")
        }
        ("map", 2 | 3) | ("filter", 2) => {
            make.one(function, target, args, "argument is not an identifier")
        }
        ("all" | "exists" | "exists_one" | "existsOne", 3)
        | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
            make.two(function, target, args)
        }
        ("optMap" | "optFlatMap", 2) => make.optional(function, target, args)?,
        ("sortBy", 2) => make.sort_by(target, args),
        ("bind", 3) if make.parser.bind && is_name(&target, "cel") => make.named(args),
        _ => return Ok(Err((target, args))),
    };
    Ok(Ok(expanded))
}

/// Makes the nodes of an expansion, all at the place of the macro.
struct Maker<'p, 's> {
    parser: &'p mut Parser<'s>,
    position: u32,
}

/// The parts of a loop that differ from macro to macro.
struct Loop {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

impl Maker<'_, '_> {
    fn node(&mut self, kind: Kind) -> Expr {
        self.parser.node(self.position, kind)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.node(Kind::Literal(literal))
    }

    fn accu(&mut self) -> Expr {
        self.node(Kind::Ident(ACCUMULATOR.into()))
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        let call = Call { function: function.into(), target: None, args };
        self.node(Kind::Call(Box::new(call)))
    }

    fn method(&mut self, function: &str, target: Expr) -> Expr {
        let call = Call { function: function.into(), target: Some(target), args: Vec::new() };
        self.node(Kind::Call(Box::new(call)))
    }

    fn error(&mut self, at: &Expr, message: impl Into<String>) -> Expr {
        let position = self.parser.position(at.id);
        self.parser.report(position, message)
    }

    fn one(&mut self, function: &str, target: Expr, mut args: Vec<Expr>, no_name: &str) -> Expr {
        let var = match variable(&args[0], no_name) {
            Ok(var) => var,
            Err(message) => return self.error(&args[0], message),
        };
        let variable = args.remove(0);
        let parts = match function {
            "map" => self.map(args),
            "filter" => {
                let predicate = args.remove(0);
                self.append(variable, Some(predicate))
            }
            _ => self.quantifier(function, args.remove(0)),
        };
        self.comprehension(target, var, None, parts)
    }

    fn map(&mut self, mut args: Vec<Expr>) -> Loop {
        let value = args.pop().expect("map has two arguments or three");
        self.append(value, args.pop())
    }

    fn two(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Expr {
        const NO_NAME: &str = "argument must be a simple name";
        let mut vars = Vec::new();
        for arg in &args[..2] {
            match &arg.kind {
                Kind::Ident(name) => vars.push(Arc::clone(name)),
                _ => return self.error(&args[vars.len()], NO_NAME),
            }
        }
        if vars[0] == vars[1] {
            let message = format!("duplicate variable name: {}", vars[0]);
            return self.error(&args[1], message);
        }
        for arg in &args[..2] {
            if let Err(message) = variable(arg, NO_NAME) {
                return self.error(&arg.clone(), message);
            }
        }
        let value = args.pop().expect("the caller counted the arguments");
        let filter = (args.len() == 3).then(|| args.remove(2));
        let parts = match function {
            "transformList" => self.append(value, filter),
            "transformMap" => {
                let key = self.node(Kind::Ident(Arc::clone(&vars[0])));
                self.insert(vec![key, value], filter)
            }
            "transformMapEntry" => self.insert(vec![value], filter),
            _ => self.quantifier(function, value),
        };
        self.comprehension(target, Arc::clone(&vars[0]), Some(Arc::clone(&vars[1])), parts)
    }

    fn quantifier(&mut self, function: &str, predicate: Expr) -> Loop {
        let accu = self.accu();
        let result = self.accu();
        match function {
            "all" => Loop {
                init: self.literal(Literal::Bool(true)),
                condition: self.call(ops::NOT_STRICTLY_FALSE, vec![accu]),
                step: {
                    let accu = self.accu();
                    self.call(ops::AND, vec![accu, predicate])
                },
                result,
            },
            "exists" => Loop {
                init: self.literal(Literal::Bool(false)),
                condition: {
                    let not = self.call(ops::NOT, vec![accu]);
                    self.call(ops::NOT_STRICTLY_FALSE, vec![not])
                },
                step: {
                    let accu = self.accu();
                    self.call(ops::OR, vec![accu, predicate])
                },
                result,
            },
            _ => {
                let one = self.literal(Literal::Int(1));
                let more = self.call(ops::ADD, vec![accu, one]);
                let same = self.accu();
                let one = self.literal(Literal::Int(1));
                Loop {
                    init: self.literal(Literal::Int(0)),
                    condition: self.literal(Literal::Bool(true)),
                    step: self.call(ops::CONDITIONAL, vec![predicate, more, same]),
                    result: self.call(ops::EQUALS, vec![result, one]),
                }
            }
        }
    }

    /// A loop that gathers a list.
    fn append(&mut self, value: Expr, filter: Option<Expr>) -> Loop {
        let item = self.node(Kind::List(vec![Item { value, optional: false }]));
        let accu = self.accu();
        let step = self.call(ops::ADD, vec![accu, item]);
        let init = self.node(Kind::List(Vec::new()));
        self.gather(init, step, filter)
    }

    /// A loop that gathers a map.
    fn insert(&mut self, entry: Vec<Expr>, filter: Option<Expr>) -> Loop {
        let mut args = vec![self.accu()];
        args.extend(entry);
        let step = self.call(ops::MAP_INSERT, args);
        let init = self.node(Kind::Map(Vec::new()));
        self.gather(init, step, filter)
    }

    fn gather(&mut self, init: Expr, step: Expr, filter: Option<Expr>) -> Loop {
        let step = match filter {
            Some(filter) => {
                let same = self.accu();
                self.call(ops::CONDITIONAL, vec![filter, step, same])
            }
            None => step,
        };
        let condition = self.literal(Literal::Bool(true));
        let result = self.accu();
        Loop { init, condition, step, result }
    }

    fn comprehension(
        &mut self,
        range: Expr,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        parts: Loop,
    ) -> Expr {
        let Loop { init, condition, step, result } = parts;
        let accu = ACCUMULATOR.into();
        let comprehension = Comprehension { range, var, var2, accu, init, condition, step, result };
        self.node(Kind::Comprehension(Box::new(comprehension)))
    }

    /// `target.optMap(name, value)`: the value with the name standing for what the target holds.
    fn optional(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Step<Expr> {
        let name = match &args[0].kind {
            Kind::Ident(name) => Arc::clone(name),
            _ => {
                let message = format!("{function}() variable name must be a simple identifier");
                return Ok(self.error(&args[0].clone(), message));
            }
        };
        let value = args.remove(1);
        self.parser.grow(size(&target))?;
        let copy = self.copy(&target);
        let init = self.method("value", copy);
        let mut held = self.bind(name, init, value);
        if function == "optMap" {
            held = self.call("optional.of", vec![held]);
        }
        let has = self.method("hasValue", target);
        let none = self.call("optional.none", Vec::new());
        Ok(self.call(ops::CONDITIONAL, vec![has, held, none]))
    }

    /// `value` with a name for `init`.
    fn bind(&mut self, name: Arc<str>, init: Expr, value: Expr) -> Expr {
        let bind = Comprehension {
            range: self.node(Kind::List(Vec::new())),
            var: "#unused".into(),
            var2: None,
            accu: Arc::clone(&name),
            init,
            condition: self.literal(Literal::Bool(false)),
            step: self.node(Kind::Ident(name)),
            result: value,
        };
        self.node(Kind::Comprehension(Box::new(bind)))
    }

    /// `cel.bind(name, init, value)`.
    fn named(&mut self, mut args: Vec<Expr>) -> Expr {
        let Kind::Ident(name) = &args[0].kind else {
            let message = "cel.bind() variable names must be simple identifiers";
            return self.error(&args[0].clone(), message);
        };
        let name = Arc::clone(name);
        let value = args.remove(2);
        self.bind(name, args.remove(1), value)
    }

    /// `target.sortBy(name, key)`: the list in the order of the keys of its items.
    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Expr {
        let name: Arc<str> = "@__sortBy_input__".into();
        let input = self.node(Kind::Ident(Arc::clone(&name)));
        let keys = self.one("map", input, args, "argument is not an identifier");
        let input = self.node(Kind::Ident(Arc::clone(&name)));
        let call = Call {
            function: "@sortByAssociatedKeys".into(),
            target: Some(input),
            args: vec![keys],
        };
        let sorted = self.node(Kind::Call(Box::new(call)));
        self.bind(name, target, sorted)
    }

    /// The same tree with ids of its own at the same places.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, expr: &mut Expr) {
        expr.id = self.parser.id(self.parser.position(expr.id));
        if let Kind::Struct(_, fields) = &mut expr.kind {
            for field in fields {
                field.id = self.parser.id(self.parser.position(field.id));
            }
        }
        expr.each_child_mut(&mut |child| self.renumber(child));
    }
}

fn variable(expr: &Expr, no_name: &str) -> Result<Arc<str>, String> {
    let Kind::Ident(name) = &expr.kind else {
        return Err(no_name.to_owned());
    };
    if matches!(&**name, ACCUMULATOR | OLD_ACCUMULATOR) {
        return Err("iteration variable overwrites accumulator variable".to_owned());
    }
    Ok(Arc::clone(name))
}

fn is_name(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, Kind::Ident(found) if &**found == name)
}

fn size(expr: &Expr) -> usize {
    let mut count = 1;
    expr.each_child(&mut |child| count += size(child));
    count
}
