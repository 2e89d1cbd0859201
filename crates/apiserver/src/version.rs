//! What `/version` says.

use serde::Serialize;

/// The server's version, in the form of apimachinery's `version.Info`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of version.Info")]
pub struct VersionInfo {
    pub major: String,
    pub minor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub emulation_major: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub emulation_minor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_compatibility_major: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_compatibility_minor: String,
    pub git_version: String,
    pub git_commit: String,
    pub git_tree_state: String,
    pub build_date: String,
    pub go_version: String,
    pub compiler: String,
    pub platform: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            major: text("1"),
            minor: text("36"),
            emulation_major: text("1"),
            emulation_minor: text("36"),
            min_compatibility_major: text("1"),
            min_compatibility_minor: text("35"),
            git_version: format!("v1.36.0+ferry.{}", env!("CARGO_PKG_VERSION")),
            git_commit: String::new(),
            git_tree_state: text("clean"),
            build_date: text("1970-01-01T00:00:00Z"),
            go_version: text("rust"),
            compiler: text("rustc"),
            platform: format!(
                "linux/{}",
                if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
            ),
        }
    }
}
