//! Namespaces, ConfigMaps, Secrets, service accounts.

use api::Value;
use api::object::{at, list_at, name, str_at};

use super::page::{Page, plain};

/// A namespace, its quotas and its limit ranges.
pub(super) fn namespace(page: &mut Page, own: &Value, quotas: &[Value], limits: &[Value]) {
    page.field(0, "Name", name(own));
    page.marks(own);
    page.field(0, "Status", str_at(own, &["status", "phase"]));
    let conditions = list_at(own, &["status", "conditions"]);
    if !conditions.is_empty() {
        page.line(0, "Conditions:");
        page.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        page.line(1, "----\t------\t------------------\t------\t-------");
        for own in conditions {
            let part = |field: &str| str_at(own, &[field]);
            let at = super::when::time(part("lastTransitionTime"));
            let (kind, status) = (part("type"), part("status"));
            page.line(
                1,
                format!("{kind}\t{status}\t{at}\t{}\t{}", part("reason"), part("message")),
            );
        }
    }
    page.line(0, "");
    page.line(0, if quotas.is_empty() { "No resource quota." } else { "Resource Quotas" });
    for quota in quotas {
        page.field(1, "Name", name(quota));
        page.line(1, "Resource\tUsed\tHard");
        page.line(1, "--------\t---\t---");
        let hard = at(quota, &["status", "hard"]).and_then(Value::as_object);
        for (resource, amount) in hard.into_iter().flatten() {
            let used = at(quota, &["status", "used", resource]).map(plain).unwrap_or_default();
            page.line(1, format!("{resource}\t{used}\t{}", plain(amount)));
        }
    }
    page.line(0, "");
    if limits.is_empty() {
        page.line(0, "No LimitRange resource.");
        return;
    }
    page.line(0, "Resource Limits");
    page.line(
        1,
        "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
    );
    page.line(
        1,
        "----\t--------\t---\t---\t---------------\t-------------\t-----------------------",
    );
    for item in limits.iter().flat_map(|own| list_at(own, &["spec", "limits"])) {
        limit_rows(page, item);
    }
}

fn limit_rows(page: &mut Page, item: &Value) {
    let columns = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    let mut resources: Vec<&String> = columns
        .iter()
        .filter_map(|column| item.get(*column).and_then(Value::as_object))
        .flat_map(|own| own.keys())
        .collect();
    resources.sort();
    resources.dedup();
    for resource in resources {
        let cells =
            columns.map(|column| at(item, &[column, resource]).map_or("-".to_owned(), plain));
        page.line(1, format!("{}\t{resource}\t{}", str_at(item, &["type"]), cells.join("\t")));
    }
}

/// A ConfigMap.
pub(super) fn config_map(page: &mut Page, own: &Value) {
    page.identity(own);
    page.marks(own);
    heading(page, "Data");
    for (key, value) in own.get("data").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, format!("{key}:"));
        page.line(0, "----");
        page.line(0, plain(value));
        page.line(0, "");
    }
    heading(page, "BinaryData");
    for (key, value) in own.get("binaryData").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, format!("{key}: {} bytes", decoded_length(&plain(value))));
    }
    page.line(0, "");
}

/// A Secret: how long each value is, not what it is.
pub(super) fn secret(page: &mut Page, own: &Value) {
    page.identity(own);
    page.marks(own);
    page.line(0, "");
    page.field(0, "Type", str_at(own, &["type"]));
    heading(page, "Data");
    for (key, value) in own.get("data").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, format!("{key}:\t{} bytes", decoded_length(&plain(value))));
    }
}

fn heading(page: &mut Page, text: &str) {
    page.line(0, "");
    page.line(0, text);
    page.line(0, "=".repeat(4));
}

/// The length of what base64 text stands for.
fn decoded_length(text: &str) -> usize {
    let text = text.trim_end();
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
}

/// A service account, and the tokens that its Secrets hold.
pub(super) fn service_account(page: &mut Page, own: &Value, secrets: &[Value]) {
    let names = |list: &str| -> Vec<String> {
        list_at(own, &[list]).iter().map(|own| str_at(own, &["name"]).to_owned()).collect()
    };
    page.identity(own);
    page.marks(own);
    page.several("Image pull secrets", &names("imagePullSecrets"));
    page.several("Mountable secrets", &names("secrets"));
    let tokens: Vec<_> = secrets
        .iter()
        .filter(|secret| str_at(secret, &["type"]) == "kubernetes.io/service-account-token")
        .filter(|secret| {
            let whose = api::object::annotation(secret, "kubernetes.io/service-account.name");
            whose == Some(name(own))
        })
        .map(|secret| name(secret).to_owned())
        .collect();
    page.several("Tokens", &tokens);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lengths_of_base64() {
        for (text, length) in [("", 0), ("Zg==", 1), ("Zm8=", 2), ("Zm9v", 3)] {
            assert_eq!(decoded_length(text), length, "{text}");
        }
    }

    #[test]
    fn data_stands_under_its_keys() {
        let check = |write: fn(&mut Page, &Value), own: Value, expected: &str| {
            let mut page = Page::default();
            write(&mut page, &own);
            let text = page.finish();
            assert!(text.ends_with(expected), "{text}");
        };
        check(
            config_map,
            json!({"metadata": {"name": "c"}, "data": {"a": "1\n2"}}),
            "\n\nData\n====\na:\n----\n1\n2\n\n\nBinaryData\n====\n\n",
        );
        check(
            secret,
            json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "Zm9v"}}),
            "\n\nType:  Opaque\n\nData\n====\npassword:  3 bytes\n",
        );
    }
}
