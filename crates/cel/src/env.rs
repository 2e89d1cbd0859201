//! What an expression may speak of: variables, and the object types behind them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::check;
use crate::eval::plan::{self, Program};
use crate::schema::{DeclField, DeclType, Shape};
use crate::syntax::parser;
use crate::syntax::source::CompileError;
use crate::types::Type;

/// The type of the variable `variables`.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

/// The stack of a thread that compiles what may be nested deeply.
const DEEP_STACK_BYTES: usize = 16 << 20;

/// How many signs that may nest an expression has at least before it counts as deep.
const DEEP_SIGNS_MIN: usize = 150;

/// Whether an expression has so many signs that it may be nested deeply.
fn may_be_deep(text: &str) -> bool {
    let nests = |sign: &u8| b"([{?.+-*/%<>=".contains(sign);
    text.bytes().filter(nests).count() > DEEP_SIGNS_MIN
}

/// An environment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: Vec<Variable>,
    objects: Arc<HashMap<Arc<str>, Arc<DeclType>>>,
    patches: bool,
    bind: bool,
}

/// A variable.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: Arc<str>,
    pub(crate) decl: Arc<DeclType>,
}

/// What a name that looks like an object type is.
pub(crate) enum ObjectType<'e> {
    /// One that a schema describes.
    Declared(&'e Arc<DeclType>),
    /// `Object` or `Object.spec…`: any field may be set.
    Open,
    /// `JSONPatch`.
    Patch,
}

impl ObjectType<'_> {
    /// The type of a field.
    pub(crate) fn field(&self, name: &str) -> Option<Type> {
        match self {
            Self::Declared(decl) => decl.field(name).map(|field| field.decl.ty.clone()),
            Self::Open => Some(Type::Dyn),
            Self::Patch => match name {
                "op" | "path" | "from" => Some(Type::String),
                "value" => Some(Type::Dyn),
                _ => None,
            },
        }
    }
}

impl Env {
    /// An environment with Kubernetes' libraries and no variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable of a type.
    #[must_use]
    pub fn with(self, name: &str, ty: Type) -> Self {
        self.with_decl(name, DeclType::plain(ty))
    }

    /// With a variable of a type that a schema describes, whose parts become known too.
    #[must_use]
    pub fn with_decl(mut self, name: &str, decl: Arc<DeclType>) -> Self {
        self.know(&decl);
        self.variables.retain(|known| &*known.name != name);
        self.variables.push(Variable { name: name.into(), decl });
        self
    }

    /// With `variables.NAME`, as policies have it; call it once per name, in their order.
    #[must_use]
    pub fn with_composed(mut self, name: &str, ty: Type) -> Self {
        let mut fields = match self.objects.get(VARIABLES).map(|decl| &decl.shape) {
            Some(Shape::Object(fields)) => fields.clone(),
            _ => std::collections::BTreeMap::new(),
        };
        let field = DeclField { json_name: name.into(), decl: DeclType::plain(ty) };
        fields.insert(name.into(), field);
        let known = DeclType::object(VARIABLES, Vec::new());
        let decl = DeclType { shape: Shape::Object(fields), ..(*known).clone() };
        self = self.with_decl("variables", Arc::new(decl));
        self
    }

    /// With `variables`, which has nothing in it yet.
    #[must_use]
    pub(crate) fn with_no_composed(self) -> Self {
        self.with_decl("variables", DeclType::object(VARIABLES, Vec::new()))
    }

    /// With the types `Object…` and `JSONPatch` and with `jsonpatch.escapeKey`, as mutations have
    /// them.
    #[must_use]
    pub fn with_patches(mut self) -> Self {
        self.patches = true;
        self
    }

    /// With `cel.bind`, which device selectors have and nothing else.
    #[must_use]
    pub(crate) fn with_bind(mut self) -> Self {
        self.bind = true;
        self
    }

    fn know(&mut self, decl: &Arc<DeclType>) {
        know(Arc::make_mut(&mut self.objects), decl);
    }

    /// Compiles an expression: parsed, checked, ready to be evaluated.
    ///
    /// # Errors
    /// All problems of the expression, as cel-go prints them.
    pub fn compile(&self, text: &str) -> Result<Program, CompileError> {
        if !may_be_deep(text) {
            return self.compile_here(text);
        }
        // What is nested as deeply as allowed takes more stack than a worker's thread may have left.
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
            let compiled = builder.spawn_scoped(scope, || self.compile_here(text));
            let compiled = compiled.ok().and_then(|thread| thread.join().ok());
            compiled.unwrap_or_else(|| {
                Err(CompileError::whole("unexpected compilation error: no thread for it"))
            })
        })
    }

    fn compile_here(&self, text: &str) -> Result<Program, CompileError> {
        let parsed = parser::parse(text, self.bind)?;
        let checked = check::check(self, parsed)?;
        Ok(plan::plan(self, checked))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|known| &*known.name == name)
    }

    pub(crate) fn object(&self, name: &str) -> Option<ObjectType<'_>> {
        if self.patches {
            if name == "JSONPatch" {
                return Some(ObjectType::Patch);
            }
            if name == "Object" || name.starts_with("Object.") {
                return Some(ObjectType::Open);
            }
        }
        self.objects.get(name).map(ObjectType::Declared)
    }

    /// Whether a function is known here.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.patches || name != "jsonpatch.escapeKey"
    }
}

/// Adds a type and those in it. What is known already, with all that is in it, is passed over.
fn know(objects: &mut HashMap<Arc<str>, Arc<DeclType>>, decl: &Arc<DeclType>) {
    match &decl.shape {
        Shape::Object(fields) => {
            if let Type::Struct(name) = &decl.ty {
                let before = objects.insert(Arc::clone(name), Arc::clone(decl));
                if before.is_some_and(|before| Arc::ptr_eq(&before, decl)) {
                    return;
                }
            }
            fields.values().for_each(|field| know(objects, &field.decl));
        }
        Shape::List(item, _) | Shape::Map(item) => know(objects, item),
        _ => {}
    }
}
