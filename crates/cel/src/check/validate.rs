//! What is refused after the types are known: literals that can only fail when they are evaluated,
//! lists and maps of several types, formats that do not fit their arguments. (cel-go's validators,
//! which Kubernetes enables since 1.29.)

use crate::library::moment::Moment;
use crate::library::{format_text, regexes, time};
use crate::syntax::ast::{Call, Expr, Id, Item, Kind, Literal, MapEntry};
use crate::syntax::source::Issue;
use crate::types::Type;

use super::Checked;

/// The problems found.
pub(super) fn problems(checked: &Checked, positions: &[u32]) -> Vec<Issue> {
    let mut validator = Validator { checked, positions, issues: Vec::new() };
    validator.visit(&checked.root, false);
    validator.issues
}

struct Validator<'c> {
    checked: &'c Checked,
    positions: &'c [u32],
    issues: Vec<Issue>,
}

impl Validator<'_> {
    fn report(&mut self, id: Id, message: String) {
        let position = self.positions[id as usize];
        self.issues.push(Issue { position, message });
    }

    /// `in_format` is whether this is an argument of `format`, whose lists may be mixed.
    fn visit(&mut self, expr: &Expr, in_format: bool) {
        let mut in_format = in_format;
        match &expr.kind {
            Kind::Call(call) => {
                self.literal(call);
                if &*call.function == "format" {
                    in_format = true;
                    self.format(expr, call);
                }
            }
            Kind::List(items) if !in_format => self.list(items),
            Kind::Map(entries) if !in_format => self.map(entries),
            _ => {}
        }
        expr.each_child(&mut |child| self.visit(child, in_format));
    }

    fn literal(&mut self, call: &Call) {
        let Some(Expr { id, kind: Kind::Literal(Literal::String(text)) }) = call.args.first()
        else {
            return;
        };
        let good = match &*call.function {
            "duration" => time::duration(text).is_ok(),
            "timestamp" => Moment::parse(text).is_ok(),
            "matches" => regexes::compile(text).is_ok(),
            _ => true,
        };
        if !good {
            self.report(*id, format!("invalid {} argument", call.function));
        }
    }

    fn format(&mut self, expr: &Expr, call: &Call) {
        let (Some(Expr { kind: Kind::Literal(Literal::String(text)), .. }), [args]) =
            (&call.target, call.args.as_slice())
        else {
            return;
        };
        let Kind::List(items) = &args.kind else {
            return;
        };
        let types: Vec<&Type> =
            items.iter().map(|item| self.checked.type_of(&item.value)).collect();
        if let Some((place, problem)) = format_text::problem(text, &types) {
            let id = place.map_or(expr.id, |place| items[place].value.id);
            self.report(id, problem);
        }
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn element(&self, value: &Expr, optional: bool) -> Type {
        let ty = self.checked.type_of(value);
        match ty.optional_of() {
            Some(of) if optional => of.clone(),
            _ => ty.clone(),
        }
    }

    fn list(&mut self, items: &[Item]) {
        let mut first: Option<Type> = None;
        for item in items {
            let ty = self.element(&item.value, item.optional);
            match &first {
                None => first = Some(ty),
                Some(first) if *first == ty => {}
                Some(first) => {
                    let first = first.clone();
                    self.mismatch(item.value.id, &first, &ty);
                    return;
                }
            }
        }
    }

    fn map(&mut self, entries: &[MapEntry]) {
        let Some((first, rest)) = entries.split_first() else {
            return;
        };
        let key = self.element(&first.key, false);
        let value = self.element(&first.value, first.optional);
        for entry in rest {
            let found = self.element(&entry.key, false);
            if found != key {
                self.mismatch(entry.key.id, &key, &found);
            }
            let found = self.element(&entry.value, entry.optional);
            if found != value {
                self.mismatch(entry.value.id, &value, &found);
            }
        }
    }
}
