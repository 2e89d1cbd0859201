//! Query parameters with rules: list options, write options. Pure.

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
        Self::read(query, kind, Vec::new())
    }

    /// Reads those of a patch.
    pub(crate) fn of_patch(query: &Query<'_>, is_apply: bool) -> ApiResult<Self> {
        let mut errors = Vec::new();
        if is_apply && query.text("fieldManager").is_empty() {
            let path = Path::new("fieldManager");
            errors.push(FieldError::required(path, "is required for apply patch"));
        }
        if !is_apply && query.get("force").is_some() {
            let path = Path::new("force");
            errors.push(FieldError::forbidden(path, "may not be specified for non-apply patch"));
        }
        Self::read(query, "PatchOptions", errors)
    }

    fn read(query: &Query<'_>, kind: &str, mut errors: Vec<FieldError>) -> ApiResult<Self> {
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
                    &["", "Ignore", "Strict", "Warn"],
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
        let version = parse_version(version_text, is_watch)?;
        if !continue_token.is_empty() {
            crate::storage::list::check_token(continue_token)?;
            if version.is_some_and(|version| version != 0) {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
        }
        Ok(Self {
            version,
            is_exact: matching == "Exact",
            is_not_older: matching == "NotOlderThan",
            limit: number(query, "limit")?
                .filter(|limit| *limit > 0)
                .and_then(|limit| usize::try_from(limit).ok()),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial,
            timeout_seconds: number(query, "timeoutSeconds")?
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

    /// Whether the initial events are closed by a bookmark. A watch of old that begins with them
    /// is given the option by default. (apimachinery `SetListOptionsDefaults`)
    pub(crate) fn closes_initial(&self) -> bool {
        let is_default = self.send_initial.is_none() && matches!(self.version, None | Some(0));
        self.bookmarks && (is_default || self.send_initial == Some(true))
    }
}

/// A number, in the words of Go's `strconv` when it is none.
fn number(query: &Query<'_>, key: &str) -> ApiResult<Option<i64>> {
    let Some(text) = query.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    })
}

/// Upstream's stores read it: to lists it is a bad request, and to watches a failure of theirs.
fn parse_version(text: &str, is_watch: bool) -> ApiResult<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let error = FieldError::invalid(Path::new("resourceVersion"), text, why);
        match is_watch {
            true => ApiError::new(500, "", error.to_string()),
            false => ApiError::bad_request(format!("invalid resource version: {error}")),
        }
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
        errors.push(FieldError::not_supported_in(
            Path::new(MATCH),
            matching,
            &["Exact", "NotOlderThan", ""],
        ));
    }
    errors
}

fn check_watch(matching: &str, send_initial: Option<bool>, query: &Query<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let forbid = |why: &str| FieldError::forbidden(Path::new(MATCH), why);
    if send_initial.is_some() && matching != "NotOlderThan" {
        errors.push(forbid(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if matching.is_empty() {
        return errors;
    }
    if send_initial.is_none() {
        errors.push(forbid(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    if matching != "NotOlderThan" {
        errors.push(FieldError::not_supported(Path::new(MATCH), matching, &["NotOlderThan"]));
    }
    if !query.text("continue").is_empty() {
        errors.push(forbid("resourceVersionMatch is forbidden when continue is provided"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, is_watch: bool, code: u16, expected: &[&str]) {
        let got = ListOptions::of(&Query::parse(query), is_watch).unwrap_err();
        assert_eq!(got.code(), code, "{query}: {got}");
        for part in expected {
            assert!(got.to_string().contains(part), "{query}: {got}");
        }
        if code == 422 {
            let details = got.status().details.as_ref();
            let causes = details.and_then(|own| own.causes.as_ref()).map_or(0, Vec::len);
            assert_eq!(causes, expected.len(), "{query}: {got}");
        }
    }

    #[test]
    fn list_options_that_make_no_sense() {
        let no = |query, expected: &[&str]| check(query, false, 422, expected);
        let no_rv = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
        no("resourceVersionMatch=Exact", &[no_rv]);
        no(
            "resourceVersionMatch=x&resourceVersion=1",
            &[
                "resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ],
        );
        no(
            "resourceVersionMatch=Exact&resourceVersion=0",
            &[
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ],
        );
        no(
            "resourceVersionMatch=NotOlderThan&continue=x",
            &[
                no_rv,
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ],
        );
        no(
            "sendInitialEvents=true",
            &["sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"],
        );
        let text = "invalid resource version: resourceVersion: Invalid value: \"x\"";
        check("resourceVersion=x", false, 400, &[text]);
        check("resourceVersion=x", true, 500, &["resourceVersion: Invalid value"]);
        let text = "invalid continue token: continue key is not valid: ";
        check("continue=x&resourceVersion=5", false, 400, &[text]);
        let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJhXHUwMDAwIn0";
        let text = "specifying resource version is not allowed when using continue";
        check(&format!("continue={token}&resourceVersion=5"), false, 400, &[text]);
        let text = "strconv.ParseInt: parsing \"x\": invalid syntax";
        check("limit=x", false, 400, &[text]);
        check("timeoutSeconds=x", true, 400, &[text]);
    }

    #[test]
    fn watch_options_that_make_no_sense() {
        let no = |query, expected: &[&str]| check(query, true, 422, expected);
        let requires = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let unless = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        let values = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
        no("sendInitialEvents=true", &[requires]);
        no("sendInitialEvents=false", &[requires]);
        no("sendInitialEvents=true&resourceVersionMatch=Exact", &[requires, values]);
        no("resourceVersionMatch=NotOlderThan", &[unless]);
        no("resourceVersionMatch=Exact", &[unless, values]);
        no(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
            &[
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ],
        );
    }

    #[test]
    fn where_a_watch_starts_and_what_closes_its_beginning() {
        let check = |query: &str, start: Start, closes: bool| {
            let options = ListOptions::of(&Query::parse(query), true).unwrap();
            assert_eq!(
                (options.watch_start(), options.closes_initial()),
                (start, closes),
                "{query}"
            );
        };
        let state = |at_least, consistent| Start::State { at_least, consistent };
        check("", state(None, true), false);
        check("allowWatchBookmarks=true", state(None, true), true);
        check("allowWatchBookmarks=1&resourceVersion=0", state(None, false), true);
        check("allowWatchBookmarks=1&resourceVersion=7", Start::After(7), false);
        let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        check(initial, state(None, true), false);
        let initial = format!("{initial}&allowWatchBookmarks=true");
        check(&initial, state(None, true), true);
        check(&format!("{initial}&resourceVersion=0"), state(None, false), true);
        check(&format!("{initial}&resourceVersion=7"), state(Some(7), false), true);
        let none =
            "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
        check(none, Start::Now, false);
        check(&format!("{none}&resourceVersion=7"), Start::After(7), false);
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
}
