//! Times and ages as people read them.

use api::Value;
use api::object::str_at;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time of the API in the local time zone, as mail writes it.
pub(crate) fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// How long ago a time of the API was.
pub(crate) fn since(text: &str) -> String {
    api::duration::age(text, base::clock::system().now())
}

/// When an event was last seen, whatever form it has.
pub(crate) fn last_seen(event: &Value) -> &str {
    let places: [&[&str]; 5] = [
        &["series", "lastObservedTime"],
        &["lastTimestamp"],
        &["firstTimestamp"],
        &["eventTime"],
        &["metadata", "creationTimestamp"],
    ];
    places.iter().map(|path| str_at(event, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// `5m`, or `2s (x5 over 10m)` of an event that repeats.
pub(crate) fn event_age(event: &Value) -> String {
    let first = [str_at(event, &["firstTimestamp"]), str_at(event, &["eventTime"])];
    let first = first.into_iter().find(|text| !text.is_empty()).unwrap_or(last_seen(event));
    let count = event["series"]["count"].as_i64().or(event["count"].as_i64()).unwrap_or(1);
    if count > 1 {
        return format!("{} (x{count} over {})", since(last_seen(event)), since(first));
    }
    since(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_was_last_seen_in_any_form() {
        let check = |event: Value, expected: &str| assert_eq!(last_seen(&event), expected);
        check(json!({"lastTimestamp": "b", "firstTimestamp": "a"}), "b");
        check(json!({"lastTimestamp": null, "eventTime": "c"}), "c");
        check(json!({"series": {"lastObservedTime": "d"}, "eventTime": "c"}), "d");
        assert_eq!(event_age(&json!({"count": 3})), "<unknown> (x3 over <unknown>)");
    }
}
