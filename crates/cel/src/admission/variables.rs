//! What expressions about requests may speak of, and what they must give.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::scope::Composed;
use crate::env::Env;
use crate::eval::plan::Program;
use crate::schema::{DeclType, ListKind};
use crate::types::Type;

/// The variables that depend on where an expression stands. `object`, `oldObject`, `request` and
/// `namespaceObject` are always there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variables {
    /// `params`: the policy has a `paramKind`.
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`: not in messages and audit annotations.
    pub authorizer: bool,
    /// `Object{…}`, `JSONPatch{…}`, `jsonpatch.escapeKey`: in mutations.
    pub patches: bool,
}

static REQUEST: LazyLock<Arc<DeclType>> = LazyLock::new(request);
static NAMESPACE: LazyLock<Arc<DeclType>> = LazyLock::new(namespace);

impl Variables {
    /// The environment, in which objects are `dyn`: what is wrong with them shows when they come.
    #[must_use]
    pub fn env(self) -> Env {
        self.typed_env(None, None)
    }

    /// The environment with the types of the objects and of the parameters, as far as they are
    /// known.
    pub(super) fn typed_env(
        self,
        object: Option<&Arc<DeclType>>,
        params: Option<&Arc<DeclType>>,
    ) -> Env {
        let typed = |env: Env, name: &str, decl: Option<&Arc<DeclType>>| match decl {
            Some(decl) => env.with_decl(name, Arc::clone(decl)),
            None => env.with(name, Type::Dyn),
        };
        let mut env = Env::new()
            .with_decl("request", Arc::clone(&REQUEST))
            .with_decl("namespaceObject", Arc::clone(&NAMESPACE));
        env = typed(env, "object", object);
        env = typed(env, "oldObject", object);
        if self.params {
            env = typed(env, "params", params);
        }
        if self.authorizer {
            let check = Type::object("kubernetes.authorization.ResourceCheck");
            env = env
                .with("authorizer", Type::object("kubernetes.authorization.Authorizer"))
                .with("authorizer.requestResource", check);
        }
        if self.patches {
            env = env.with_patches();
        }
        env
    }
}

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A boolean: validations and match conditions.
    Bool,
    /// A text: messages.
    String,
    /// A text or nothing: audit annotations.
    StringOrNull,
    /// `Object{…}`: apply configurations.
    Object,
    /// A list of `JSONPatch{…}`.
    Patches,
    /// Whatever it is: variables.
    Any,
}

impl Wanted {
    fn allows(self, ty: &Type) -> bool {
        match self {
            Self::Bool => *ty == Type::Bool,
            Self::String => *ty == Type::String,
            Self::StringOrNull => matches!(ty, Type::String | Type::Null),
            Self::Object => *ty == Type::object("Object"),
            Self::Patches => *ty == Type::list(Type::object("JSONPatch")),
            Self::Any => true,
        }
    }

    /// Compiles an expression that must give this.
    ///
    /// # Errors
    /// The detail of upstream's field error: `compilation failed: ERROR: …`, or `must evaluate to …`.
    pub fn compile(self, env: &Env, text: &str) -> Result<Program, String> {
        let program = env.compile(text).map_err(|error| format!("compilation failed: {error}"))?;
        let found = program.result_type();
        if self.allows(found) {
            return Ok(program);
        }
        let found = RunTime(found);
        Err(match self {
            Self::StringOrNull => {
                format!("must evaluate to one of [string null_type] but got {found}")
            }
            Self::Bool => format!("must evaluate to bool but got {found}"),
            Self::String => format!("must evaluate to string but got {found}"),
            Self::Object => format!("must evaluate to Object but got {found}"),
            Self::Patches | Self::Any => {
                format!("must evaluate to list(JSONPatch) but got {found}")
            }
        })
    }
}

/// A type by its names at run time, which is how these messages show it.
struct RunTime<'t>(&'t Type);

impl fmt::Display for RunTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())?;
        let params: Vec<String> =
            self.0.params().into_iter().map(|param| RunTime(param).to_string()).collect();
        if params.is_empty() { Ok(()) } else { write!(f, "({})", params.join(", ")) }
    }
}

/// A policy's environment while its `variables` are added.
#[derive(Debug, Clone)]
pub struct Composer {
    env: Env,
    composed: Vec<Composed>,
}

impl Composer {
    /// An environment in which `variables` is known, and empty.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self { env: env.with_no_composed(), composed: Vec::new() }
    }

    /// Adds a variable, which may speak of those before it. One that does not compile is there all
    /// the same, as `dyn`, and an error when it is asked for.
    ///
    /// # Errors
    /// Why it does not compile.
    pub fn add(&mut self, name: &str, expression: &str) -> Result<(), String> {
        let program = Wanted::Any.compile(&self.env, expression);
        let ty = match &program {
            Ok(program) => visible(program.result_type()),
            Err(_) => Type::Dyn,
        };
        self.env = std::mem::take(&mut self.env).with_composed(name, ty);
        let problem = program.as_ref().err().cloned();
        self.composed.push(Composed { name: name.to_owned(), program });
        problem.map_or(Ok(()), Err)
    }

    /// The environment with the variables that were added.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The same variables in another environment, such as one for messages.
    #[must_use]
    pub fn env_with(&self, base: Env) -> Env {
        let mut env = base.with_no_composed();
        for one in &self.composed {
            let ty = match &one.program {
                Ok(program) => visible(program.result_type()),
                Err(_) => Type::Dyn,
            };
            env = env.with_composed(&one.name, ty);
        }
        env
    }

    /// The variables, for [`Scope::variables`](super::Scope::variables).
    #[must_use]
    pub fn into_variables(self) -> Vec<Composed> {
        self.composed
    }
}

/// A variable's type as others see it: upstream keeps scalars, lists and maps, and makes all else
/// `dyn`.
fn visible(ty: &Type) -> Type {
    match ty {
        Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Timestamp
        | Type::Duration => ty.clone(),
        Type::List(item) => Type::list(visible(item)),
        Type::Map(pair) => Type::map(visible(&pair.0), visible(&pair.1)),
        _ => Type::Dyn,
    }
}

fn plain(ty: Type) -> Arc<DeclType> {
    DeclType::plain(ty)
}

fn texts(names: &[&'static str]) -> Vec<(&'static str, Arc<DeclType>)> {
    names.iter().map(|name| (*name, plain(Type::String))).collect()
}

fn list_of_texts() -> Arc<DeclType> {
    DeclType::list(plain(Type::String), ListKind::Atomic, u64::MAX)
}

/// The type of `request`.
fn request() -> Arc<DeclType> {
    let kind =
        DeclType::object("kubernetes.GroupVersionKind", texts(&["group", "version", "kind"]));
    let resource = DeclType::object(
        "kubernetes.GroupVersionResource",
        texts(&["group", "version", "resource"]),
    );
    let mut user = texts(&["username", "uid"]);
    user.push(("groups", list_of_texts()));
    user.push(("extra", DeclType::map(list_of_texts(), u64::MAX)));
    let mut fields =
        texts(&["subResource", "requestSubResource", "name", "namespace", "operation"]);
    fields.extend([
        ("kind", Arc::clone(&kind)),
        ("resource", Arc::clone(&resource)),
        ("requestKind", kind),
        ("requestResource", resource),
        ("userInfo", DeclType::object("kubernetes.UserInfo", user)),
        ("dryRun", plain(Type::Bool)),
        ("options", plain(Type::Dyn)),
    ]);
    DeclType::object("kubernetes.AdmissionRequest", fields)
}

/// The type of `namespaceObject`.
fn namespace() -> Arc<DeclType> {
    let labels = || DeclType::map(plain(Type::String), u64::MAX);
    let mut condition = texts(&["status", "type", "message", "reason"]);
    condition.push(("lastTransitionTime", plain(Type::Timestamp)));
    let condition = DeclType::object("kubernetes.NamespaceCondition", condition);
    let mut status = texts(&["phase"]);
    status.push(("conditions", DeclType::list(condition, ListKind::Atomic, u64::MAX)));
    let mut metadata = texts(&["name", "generateName", "namespace", "UID", "resourceVersion"]);
    metadata.extend([
        ("labels", labels()),
        ("annotations", labels()),
        ("creationTimestamp", plain(Type::Timestamp)),
        ("deletionTimestamp", plain(Type::Timestamp)),
        ("deletionGracePeriodSeconds", plain(Type::Int)),
        ("generation", plain(Type::Int)),
        ("finalizers", list_of_texts()),
    ]);
    let spec = DeclType::object("kubernetes.NamespaceSpec", vec![("finalizers", list_of_texts())]);
    DeclType::object(
        "kubernetes.Namespace",
        vec![
            ("metadata", DeclType::object("kubernetes.NamespaceMetadata", metadata)),
            ("spec", spec),
            ("status", DeclType::object("kubernetes.NamespaceStatus", status)),
        ],
    )
}
