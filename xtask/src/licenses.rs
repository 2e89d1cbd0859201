//! Licences and known advisories of every dependency, offline: by the lock file, the manifests that
//! cargo has already fetched, and the list in `xtask/advisories.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What the binary may be linked with.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "MPL-2.0",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MIT-0",
    "OpenSSL",
    "Apache-2.0 WITH LLVM-exception",
];

/// Crates that name a licence file instead of a licence, with what the file says.
const BY_FILE: &[(&str, &str)] = &[("rust-criu", "MIT")];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Advisories {
    /// Crate name to the version ranges that must not be used: `<1.2.3`.
    refused: BTreeMap<String, String>,
}

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        // A new machine has fetched nothing yet; the build, which comes next, will.
        return Ok(Vec::new());
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let text = std::fs::read_to_string(root.join("xtask/advisories.toml"))
        .context("cannot read xtask/advisories.toml")?;
    let advisories: Advisories = toml::from_str(&text).context("advisories.toml")?;
    let mut found = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        let by_file = BY_FILE.iter().find(|(name, _)| *name == package.name);
        let license = package
            .license
            .as_deref()
            .or(by_file.map(|(_, license)| *license))
            .unwrap_or("none given");
        if !is_allowed(license) {
            found.push(format!("{} {} has the licence {license}", package.name, package.version));
        }
        if let Some(below) = advisories.refused.get(&package.name)
            && is_below(&package.version, below)
        {
            found.push(format!(
                "{} {} has a known advisory; take {below} or newer",
                package.name, package.version
            ));
        }
    }
    Ok(found)
}

/// Whether an SPDX expression can be satisfied: one side of every OR, all sides of every AND.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|license| ALLOWED.contains(&license.trim())))
}

fn is_below(version: &str, bound: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    numbers(version) < numbers(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_and_versions() {
        for good in ["MIT", "MIT OR Apache-2.0", "MIT/Apache-2.0", "(MIT OR GPL-3.0) AND ISC"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-2.0", "none given"] {
            assert!(!is_allowed(bad), "{bad}");
        }
        assert!(is_below("1.2.3", "1.10.0"));
        assert!(!is_below("2.0.0", "2.0.0"));
    }
}
