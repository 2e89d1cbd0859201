//! Which names a definition gets: those that no other of its group has. Pure.
//! (apiextensions-apiserver `pkg/controller/status`)

use std::collections::BTreeSet;

use crate::definition::Names;

/// A condition without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The names that the definitions of a group have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    /// Notes the names that a definition has.
    pub(super) fn add(&mut self, names: &Names) {
        let resources = [&names.plural, &names.singular].into_iter().chain(&names.short_names);
        self.resources.extend(resources.filter(|name| !name.is_empty()).cloned());
        let kinds = [&names.kind, &names.list_kind].into_iter();
        self.kinds.extend(kinds.filter(|name| !name.is_empty()).cloned());
    }
}

/// What becomes of the names that a definition asks for, given those that it has.
pub(super) fn decide(asked: &Names, has: &Names, taken: &Taken) -> (Names, Verdict) {
    let mut names = has.clone();
    let mut conflict = None;
    let mut judge =
        |free: Result<(), String>, reason: &'static str, accept: &mut dyn FnMut()| match free {
            Ok(()) => accept(),
            Err(message) => conflict = Some((reason, message)),
        };
    let (resources, kinds) = (&taken.resources, &taken.kinds);
    judge(free(&asked.plural, &has.plural, resources), "PluralConflict", &mut || {
        names.plural.clone_from(&asked.plural);
    });
    judge(free(&asked.singular, &has.singular, resources), "SingularConflict", &mut || {
        names.singular.clone_from(&asked.singular);
    });
    judge(short_names(asked, has, resources), "ShortNamesConflict", &mut || {
        names.short_names.clone_from(&asked.short_names);
    });
    judge(free(&asked.kind, &has.kind, kinds), "KindConflict", &mut || {
        names.kind.clone_from(&asked.kind);
    });
    judge(free(&asked.list_kind, &has.list_kind, kinds), "ListKindConflict", &mut || {
        names.list_kind.clone_from(&asked.list_kind);
    });
    names.categories.clone_from(&asked.categories);
    let verdict = match conflict {
        Some((reason, message)) => Verdict { status: false, reason, message },
        None => Verdict {
            status: true,
            reason: "NoConflicts",
            message: "no conflicts found".to_owned(),
        },
    };
    (names, verdict)
}

fn free(asked: &str, has: &str, taken: &BTreeSet<String>) -> Result<(), String> {
    if asked == has || !taken.contains(asked) {
        return Ok(());
    }
    Err(format!("{asked:?} is already in use"))
}

fn short_names(asked: &Names, has: &Names, taken: &BTreeSet<String>) -> Result<(), String> {
    let own = |name: &String| {
        has.short_names.contains(name) || *name == has.plural || *name == has.singular
    };
    let conflicts: Vec<String> = asked
        .short_names
        .iter()
        .filter(|name| !own(name))
        .filter_map(|name| free(name, "", taken).err())
        .collect();
    match conflicts.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, kind: &str, short: &[&str]) -> Names {
        Names {
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            short_names: short.iter().map(|name| (*name).to_owned()).collect(),
            categories: Vec::new(),
        }
    }

    #[test]
    fn names_are_given_once() {
        let mut taken = Taken::default();
        let (got, verdict) = decide(&names("foos", "Foo", &["f"]), &Names::default(), &taken);
        assert_eq!((verdict.status, verdict.reason), (true, "NoConflicts"));
        taken.add(&got);
        let (other, verdict) = decide(&names("bars", "Bar", &["f"]), &Names::default(), &taken);
        assert_eq!((verdict.status, verdict.reason), (false, "ShortNamesConflict"));
        assert_eq!(verdict.message, "\"f\" is already in use");
        assert_eq!((other.plural.as_str(), other.short_names.len()), ("bars", 0));
        let (_, verdict) = decide(&names("bars", "Foo", &[]), &Names::default(), &taken);
        assert_eq!(verdict.reason, "ListKindConflict");
        // What one has one keeps.
        assert!(decide(&names("foos", "Foo", &["f", "foo"]), &got, &taken).1.status);
    }
}
