//! The walls: which crate may depend on which, by `layers.toml` and `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Rules {
    layers: BTreeMap<String, BTreeSet<String>>,
    heavy: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Complaints about edges that the table does not have. Dev-dependencies count, but for `testkit`,
/// which tests may use where the API server's side is tested.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let table = root.join("xtask/layers.toml");
    let text = std::fs::read_to_string(&table).context("cannot read layers.toml")?;
    let rules: Rules = toml::from_str(&text).context("layers.toml is not as it should be")?;
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    Ok(complaints(&rules, &metadata))
}

fn complaints(rules: &Rules, metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    let ours: BTreeSet<&str> =
        metadata.packages.iter().map(|package| package.name.as_str()).collect();
    for package in &metadata.packages {
        let Some(allowed) = rules.layers.get(&package.name) else {
            found
                .push(format!("crate {} is not in layers.toml; say what it may use", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let own = ours.contains(name) && name != package.name;
            if own && !allowed.contains("*") && !allowed.contains(name) {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                found.push(format!(
                    "{} may not depend on {name} ({kind}); if it must, change layers.toml and \
                     ARCHITECTURE.md",
                    package.name
                ));
            }
            if let Some(users) = rules.heavy.get(name)
                && !users.contains(&package.name)
            {
                found.push(format!("{} may not see {name}; only {users:?} do", package.name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|name| Dependency { name: (*name).to_owned(), kind: None })
            .collect();
        Package { name: name.to_owned(), dependencies }
    }

    #[test]
    fn an_edge_against_the_table_is_found() {
        let rules: Rules = toml::from_str(
            "[layers]\nbase = []\nstore = [\"base\"]\n[heavy]\nredb = [\"store\"]\n",
        )
        .unwrap();
        let good =
            Metadata { packages: vec![package("base", &[]), package("store", &["base", "redb"])] };
        assert!(complaints(&rules, &good).is_empty());
        let bad = Metadata {
            packages: vec![
                package("base", &["store", "redb"]),
                package("store", &[]),
                package("new", &[]),
            ],
        };
        assert_eq!(complaints(&rules, &bad).len(), 3);
    }
}
