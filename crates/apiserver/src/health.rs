//! `/livez`, `/readyz`, `/healthz`: the checks, one a line.

use axum::response::Response;
use base::readiness::Readiness;

use crate::request::Query;
use crate::response;

/// Answers a health path; `None` when it is none.
pub(crate) fn serve(path: &str, query: &Query<'_>, readiness: &Readiness) -> Option<Response> {
    let rest = path.trim_start_matches('/');
    let (endpoint, check) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(endpoint, "livez" | "readyz" | "healthz") {
        return None;
    }
    let mut checks = vec![("ping".to_owned(), Ok(())), ("log".to_owned(), Ok(()))];
    if endpoint != "livez" {
        checks.extend(readiness.report());
    }
    let check = check.trim_end_matches('/');
    if !check.is_empty() {
        let (_, state) = checks.into_iter().find(|(name, _)| name == check)?;
        return Some(match state {
            Ok(()) => response::text(200, "ok"),
            Err(why) => response::text(500, format!("internal server error: {why}\n")),
        });
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = Vec::new();
    for (name, state) in &checks {
        match state {
            _ if excluded.contains(&name.as_str()) => {
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
            }
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(_) => {
                failed.push(name.as_str());
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks.iter().any(|(known, _)| known == *name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(", ")
        ));
    }
    if !failed.is_empty() {
        tracing::debug!(endpoint, failed = failed.join(","), "a health check failed");
        lines.push_str(&format!("{endpoint} check failed\n"));
        return Some(response::text(500, lines));
    }
    if query.get("verbose").is_some() {
        lines.push_str(&format!("{endpoint} check passed\n"));
        return Some(response::text(200, lines));
    }
    Some(response::text(200, "ok"))
}
