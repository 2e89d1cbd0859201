//! Sets of field paths, and their JSON form, `FieldsV1`.
//!
//! An element of a path is kept as `FieldsV1` writes it: `f:NAME` a field, `k:{…}` a list item by
//! its keys, `v:VALUE` an item of a set, `i:N` an item by its place. A level of the set is a sorted
//! vector: sets are made in order, and most levels have few elements.

use serde_json::{Map, Value};

/// A path is not deeper than this in any `FieldsV1` that is read.
const MAX_DEPTH: usize = 200;

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    nodes: Vec<(Box<str>, Node)>,
}

/// What is known of one element: whether the path that ends in it is in the set, and which longer
/// ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) below: Set,
}

impl Set {
    /// Whether no path is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Reads `FieldsV1`; what is no path is left out.
    #[must_use]
    pub fn from_fields_v1(fields: &Value) -> Self {
        Self::read(fields, 0)
    }

    fn read(fields: &Value, depth: usize) -> Self {
        let mut set = Self::default();
        if depth > MAX_DEPTH {
            return set;
        }
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                continue;
            }
            let is_leaf = below.as_object().is_none_or(Map::is_empty);
            let node = Node {
                member: is_leaf || below.get(".").is_some(),
                below: Self::read(below, depth + 1),
            };
            if node.is_some() {
                set.nodes.push((canonical(element), node));
            }
        }
        set.nodes.sort_by(|(a, _), (b, _)| a.cmp(b));
        set.nodes.dedup_by(|(a, _), (b, _)| a == b);
        set
    }

    /// Writes `FieldsV1`.
    #[must_use]
    pub fn into_fields_v1(self) -> Value {
        Value::Object(self.into_fields(false))
    }

    fn into_fields(self, with_self: bool) -> Map<String, Value> {
        let own = with_self.then(|| (".".to_owned(), Value::Object(Map::new())));
        let below = self
            .nodes
            .into_iter()
            .map(|(element, node)| (element.into_string(), node.into_fields_v1()));
        own.into_iter().chain(below).collect()
    }

    /// Adds a path of fields.
    pub fn insert_fields<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut set = self;
        let mut names = names.into_iter().peekable();
        while let Some(name) = names.next() {
            let node = set.node(&field(name));
            if names.peek().is_none() {
                node.member = true;
                return;
            }
            set = &mut node.below;
        }
    }

    /// Takes away a path of fields, and all that is below it.
    pub(super) fn remove_below<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut names = names.into_iter();
        if let Some(first) = names.next() {
            let rest: Vec<_> = names.collect();
            self.remove_path(&field(first), &rest);
        }
    }

    fn remove_path(&mut self, first: &str, rest: &[&str]) {
        let Some((next, further)) = rest.split_first() else {
            self.nodes.retain(|(element, _)| &**element != first);
            return;
        };
        if let Ok(index) = self.position(first) {
            self.nodes[index].1.below.remove_path(&field(next), further);
            if !self.nodes[index].1.is_some() {
                self.nodes.remove(index);
            }
        }
    }

    /// Where an element is, or belongs. New ones mostly belong at the end.
    fn position(&self, element: &str) -> Result<usize, usize> {
        match self.nodes.last() {
            Some((last, _)) if &**last < element => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|(known, _)| (**known).cmp(element)),
        }
    }

    /// The node of an element, made when it is not there.
    pub(super) fn node(&mut self, element: &str) -> &mut Node {
        let index = self.position(element).unwrap_or_else(|index| {
            self.nodes.insert(index, (element.into(), Node::default()));
            index
        });
        &mut self.nodes[index].1
    }

    /// The node of an element.
    pub(super) fn get(&self, element: &str) -> Option<&Node> {
        self.position(element).ok().map(|index| &self.nodes[index].1)
    }

    /// The elements of the first level, in order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(element, node)| (&**element, node))
    }

    /// The same, taken apart.
    pub(super) fn into_nodes(self) -> impl Iterator<Item = (Box<str>, Node)> {
        self.nodes.into_iter()
    }

    pub(super) fn nodes_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.nodes.iter_mut().map(|(element, node)| (&**element, node))
    }

    pub(super) fn is_member(&self, element: &str) -> bool {
        self.get(element).is_some_and(|node| node.member)
    }

    /// Adds what is below an element, unless that is nothing.
    pub(super) fn insert_below(&mut self, element: impl Into<Box<str>>, member: bool, below: Self) {
        if member || !below.is_empty() {
            let element = element.into();
            match self.position(&element) {
                Ok(index) => self.nodes[index].1 = Node { member, below },
                Err(index) => self.nodes.insert(index, (element, Node { member, below })),
            }
        }
    }

    /// The paths of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    /// Adds the paths of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        for (element, node) in &other.nodes {
            match self.position(element) {
                Ok(index) => {
                    let mine = &mut self.nodes[index].1;
                    mine.member |= node.member;
                    mine.below.extend(&node.below);
                }
                Err(index) => self.nodes.insert(index, (element.clone(), node.clone())),
            }
        }
    }

    /// Takes the paths of another set away.
    pub(super) fn subtract(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|(element, node)| {
            if let Some(theirs) = other.get(element) {
                node.member &= !theirs.member;
                node.below.subtract(&theirs.below);
            }
            node.is_some()
        });
    }

    /// The paths of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        difference.subtract(other);
        difference
    }

    /// The paths of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (element, node) in &self.nodes {
            if let Some(theirs) = other.get(element) {
                let below = node.below.intersection(&theirs.below);
                both.insert_below(element.clone(), node.member && theirs.member, below);
            }
        }
        both
    }

    /// All paths as people read them, `.spec.containers[name="a"].image`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.write_paths("", &mut paths);
        paths
    }

    fn write_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            paths.push(format!("{prefix}{}", shown(element)));
        }
        for (element, node) in &self.nodes {
            if !node.below.is_empty() {
                node.below.write_paths(&format!("{prefix}{}", shown(element)), paths);
            }
        }
    }
}

impl Node {
    /// What `FieldsV1` has below the element.
    pub(super) fn into_fields_v1(self) -> Value {
        let is_both = self.member && !self.below.is_empty();
        Value::Object(self.below.into_fields(is_both))
    }

    fn is_some(&self) -> bool {
        self.member || !self.below.is_empty()
    }
}

/// The element of a field.
pub(super) fn field(name: &str) -> String {
    ["f:", name].concat()
}

/// The name of a field's element.
pub(super) fn field_name(element: &str) -> Option<&str> {
    element.strip_prefix("f:")
}

/// Two writings of the same keys are one element.
fn canonical(element: &str) -> Box<str> {
    let may_differ = may_be_written_otherwise(element);
    for prefix in ["k:", "v:"] {
        if may_differ
            && let Some(json) = element.strip_prefix(prefix)
            && let Ok(value) = serde_json::from_str::<Value>(json)
        {
            return format!("{prefix}{value}").into();
        }
    }
    element.into()
}

/// Whether an element may have more than one writing. What upstream and we write has one; only
/// blanks and escapes can differ.
pub(super) fn may_be_written_otherwise(element: &str) -> bool {
    element.bytes().any(|byte| byte == b'\\' || byte == b' ')
}

fn shown(element: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> =
                keys.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v:", value)) => {
            let value = serde_json::from_str(value).unwrap_or(Value::Null);
            format!("[={}]", text(&value))
        }
        Some(("i:", index)) => format!("[{index}]"),
        _ => format!(".{element}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: Value) -> Set {
        Set::from_fields_v1(&fields)
    }

    #[test]
    fn fields_v1_is_read_and_written() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}, "f:finalizers": {"v:\"x\"": {}}}});
        assert_eq!(set(fields.clone()).into_fields_v1(), fields);
        assert_eq!(
            set(fields).paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"a\"]",
                ".spec.containers[name=\"a\"].image",
                ".spec.finalizers[=\"x\"]",
            ]
        );
    }

    #[test]
    fn the_algebra_holds() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = set(json!({"f:a": {"f:b": {}}, "f:d": {}}));
        assert_eq!(a.difference(&b), set(json!({"f:a": {}, "f:c": {}})));
        assert_eq!(a.intersection(&b), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(a.union(&b), set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}})));
        assert!(a.difference(&a).is_empty());
        assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
    }
}
