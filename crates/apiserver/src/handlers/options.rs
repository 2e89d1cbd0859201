//! Query parameters with rules: list options, write options. Pure.

use std::time::Duration;

use api::field::{FieldError, Path};
use api::status::{ApiError, ApiResult};

use crate::request::Query;
use crate::storage::list::Version;
use crate::watch::Start;

/// What strictness a writer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop silently.
    Ignore,
    /// Drop and warn.
    Warn,
    /// Refuse.
    Strict,
}

/// `dryRun` and `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) force: Option<bool>,
}

impl WriteOptions {
    /// Reads them; `kind` is `CreateOptions` or its like.
    pub(crate) fn of(query: &Query<'_>, kind: &str) -> ApiResult<Self> {
        let mut errors = Vec::new();
        let dry_run = check_dry_run(query.all("dryRun"), &mut errors);
        let given = query.text("fieldValidation");
        let validation = match given {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.push(FieldError::not_supported(
                    Path::new("fieldValidation"),
                    other,
                    &["Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        let manager = query.text("fieldManager");
        if manager.len() > 128 {
            errors.push(FieldError::too_long(Path::new("fieldManager"), 128));
        }
        if manager.chars().any(char::is_control) {
            errors.push(FieldError::invalid(
                Path::new("fieldManager"),
                manager,
                "should only contain printable characters",
            ));
        }
        ApiError::check("meta.k8s.io", kind, "", &errors)?;
        let force = query.get("force").map(|_| query.flag("force"));
        Ok(Self { dry_run, validation, force })
    }
}

/// Checks `dryRun` values: `All` or nothing.
pub(crate) fn check_dry_run<'v>(
    values: impl Iterator<Item = &'v str>,
    errors: &mut Vec<FieldError>,
) -> bool {
    let mut dry_run = false;
    for value in values {
        match value {
            "" => {}
            "All" => dry_run = true,
            other => errors.push(FieldError::not_supported(Path::new("dryRun"), other, &["All"])),
        }
    }
    dry_run
}

/// The parameters of lists and watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListOptions {
    version: Option<u64>,
    is_exact: bool,
    is_not_older: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) bookmarks: bool,
    send_initial: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads and checks them.
    pub(crate) fn of(query: &Query<'_>, is_watch: bool) -> ApiResult<Self> {
        let version_text = query.text("resourceVersion");
        let matching = query.text("resourceVersionMatch");
        let continue_token = query.text("continue");
        let send_initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let errors = if is_watch {
            check_watch(matching, send_initial, query)
        } else {
            check_list(matching, version_text, continue_token, send_initial)
        };
        ApiError::check("meta.k8s.io", "ListOptions", "", &errors)?;
        let version = parse_version(version_text)?;
        if !continue_token.is_empty() && version.is_some_and(|version| version != 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Self {
            version,
            is_exact: matching == "Exact",
            is_not_older: matching == "NotOlderThan",
            limit: query
                .number("limit")
                .filter(|limit| *limit > 0)
                .and_then(|limit| usize::try_from(limit).ok()),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial,
            timeout_seconds: query
                .number("timeoutSeconds")
                .filter(|seconds| *seconds > 0)
                .map(i64::unsigned_abs),
        })
    }

    /// Which state a list means.
    pub(crate) fn list_version(&self) -> Version {
        match self.version {
            None => Version::Newest,
            Some(0) => Version::Any,
            Some(rv) if self.is_exact || (self.limit.is_some() && !self.is_not_older) => {
                Version::Exact(rv)
            }
            Some(rv) => Version::NotOlderThan(rv),
        }
    }

    /// Where a watch starts.
    pub(crate) fn watch_start(&self) -> Start {
        match (self.send_initial, self.version) {
            (Some(true), None) => Start::State { at_least: None, consistent: true },
            (Some(true), Some(0)) => Start::State { at_least: None, consistent: false },
            (Some(true), Some(rv)) => Start::State { at_least: Some(rv), consistent: false },
            (Some(false), None | Some(0)) => Start::Now,
            (None, None) => Start::State { at_least: None, consistent: true },
            (None, Some(0)) => Start::State { at_least: None, consistent: false },
            (_, Some(rv)) => Start::After(rv),
        }
    }

    /// Whether the initial events are closed by a bookmark.
    pub(crate) fn closes_initial(&self) -> bool {
        self.send_initial == Some(true) && self.bookmarks
    }
}

fn parse_version(text: &str) -> ApiResult<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let error = FieldError::invalid(Path::new("resourceVersion"), text, why);
        ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error])
    })
}

const MATCH: &str = "resourceVersionMatch";
const INITIAL: &str = "sendInitialEvents";

fn check_list(
    matching: &str,
    version: &str,
    continue_token: &str,
    send_initial: Option<bool>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if send_initial.is_some() {
        errors.push(FieldError::forbidden(
            Path::new(INITIAL),
            "sendInitialEvents is forbidden for list",
        ));
    }
    if matching.is_empty() {
        return errors;
    }
    let mut forbid = |why: &str| errors.push(FieldError::forbidden(Path::new(MATCH), why));
    if version.is_empty() {
        forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if !continue_token.is_empty() {
        forbid("resourceVersionMatch is forbidden when continue is provided");
    }
    if matching == "Exact" && version == "0" {
        forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if !matches!(matching, "Exact" | "NotOlderThan") {
        errors.push(FieldError::not_supported(
            Path::new(MATCH),
            matching,
            &["Exact", "NotOlderThan", ""],
        ));
    }
    errors
}

fn check_watch(matching: &str, send_initial: Option<bool>, query: &Query<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match send_initial {
        None if !matching.is_empty() => errors.push(FieldError::forbidden(
            Path::new(MATCH),
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )),
        None => {}
        Some(_) if matching.is_empty() => errors.push(FieldError::forbidden(
            Path::new(MATCH),
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )),
        Some(_) if matching != "NotOlderThan" => {
            errors.push(FieldError::not_supported(Path::new(MATCH), matching, &["NotOlderThan"]))
        }
        Some(_) => {}
    }
    if !query.text("continue").is_empty() && send_initial.is_some() {
        errors
            .push(FieldError::forbidden(Path::new("continue"), "continue is forbidden for watch"));
    }
    errors
}

/// A duration in Go's form, `1m30s`.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_len..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, is_watch: bool, expected: &str) {
        let got = ListOptions::of(&Query::parse(query), is_watch).unwrap_err();
        assert!(got.to_string().contains(expected), "{query}: {got}");
    }

    #[test]
    fn list_options_that_make_no_sense() {
        check(
            "resourceVersionMatch=Exact",
            false,
            "is forbidden unless resourceVersion is provided",
        );
        check("resourceVersionMatch=x&resourceVersion=1", false, "Unsupported value: \"x\"");
        check("sendInitialEvents=true", false, "sendInitialEvents is forbidden for list");
        check("sendInitialEvents=true", true, "requires setting resourceVersionMatch");
        check("resourceVersionMatch=NotOlderThan", true, "unless sendInitialEvents is provided");
        check("continue=x&resourceVersion=5", false, "is not allowed when using continue");
        check("resourceVersion=x", false, "resourceVersion: Invalid value");
    }

    #[test]
    fn versions() {
        let version = |query| ListOptions::of(&Query::parse(query), false).unwrap().list_version();
        assert_eq!(version(""), Version::Newest);
        assert_eq!(version("resourceVersion=0&limit=5"), Version::Any);
        assert_eq!(version("resourceVersion=7"), Version::NotOlderThan(7));
        assert_eq!(version("resourceVersion=7&limit=5"), Version::Exact(7));
        assert_eq!(
            version("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan"),
            Version::NotOlderThan(7)
        );
    }

    #[test]
    fn durations() {
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(go_duration("32ms"), Some(Duration::from_millis(32)));
        assert_eq!(go_duration("x"), None);
        assert_eq!(go_duration(""), None);
    }
}
