//! The order of merged lists: items that the patch speaks of come in the patch's order, the
//! others keep their place among them as far as the server's order says so.

use serde_json::Value;

/// What tells an item from another: its merge key's value, or the scalar itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> &'a Value {
    key.and_then(|key| item.get(key)).unwrap_or(item)
}

fn place(order: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let id = identity(item, key);
    order.iter().position(|other| identity(other, key) == id)
}

/// Splits into items that are in `list`, and the others.
pub(super) fn partition(
    items: Vec<Value>,
    list: &[Value],
    key: Option<&str>,
) -> (Vec<Value>, Vec<Value>) {
    items.into_iter().partition(|item| place(list, item, key).is_some())
}

/// Sorts by the place in `order`.
pub(super) fn sort_by(items: &mut [Value], order: &[Value], key: Option<&str>) {
    items.sort_by_key(|item| place(order, item, key).unwrap_or(usize::MAX));
}

/// Orders the items that the patch speaks of by the patch, the server's own by the server, and
/// merges the two by the server's order.
pub(super) fn normalize(
    mut patched: Vec<Value>,
    mut server_only: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    sort_by(&mut patched, patch_order, key);
    sort_by(&mut server_only, server_order, key);
    let mut merged = Vec::with_capacity(patched.len() + server_only.len());
    let mut left = server_only.into_iter().peekable();
    let mut right = patched.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let before = match (place(server_order, a, key), place(server_order, b, key)) {
            (Some(a), Some(b)) => a < b,
            _ => false,
        };
        merged.extend(if before { left.next() } else { right.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}
