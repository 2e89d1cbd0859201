//! The API server's admission plugins, as the flags want them.

use std::path::Path;
use std::sync::Arc;

use ::admission::pod_security::Configuration;
use access::authz::Authorization;
use anyhow::{Context as _, Result, anyhow, bail};
use apiserver::admission::AdmissionPlugin;
use serde_json::Value;

use super::Process;

/// The plugins that run, configured.
pub(super) fn plugins(
    process: &Process,
    authorization: &Authorization,
    webhooks: Arc<webhook::Caller>,
) -> Result<Vec<Arc<dyn AdmissionPlugin>>> {
    let options = &process.options;
    let mut deps = ::admission::Deps::new(process.rng.clone(), process.clock.clone(), webhooks)
        .authorized_by(authorization.chain(), authorization.policy());
    if let Some(path) = &options.admission_control_config_file {
        deps.pod_security = read(path).with_context(|| {
            format!("cannot use --admission-control-config-file {}", path.display())
        })?;
    }
    let (enable, disable) = (&options.enable_admission_plugins, &options.disable_admission_plugins);
    Ok(::admission::enabled(&deps, enable, disable)?)
}

fn parse(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parsed = api::yaml::parse(&text);
    Ok(parsed.with_context(|| format!("cannot read {}", path.display()))?.value)
}

/// What an `AdmissionConfiguration` says of PodSecurity: in place, or in a file beside it.
fn read(path: &Path) -> Result<Configuration> {
    let file = parse(path)?;
    if file["kind"] != "AdmissionConfiguration" {
        bail!("it is no AdmissionConfiguration of apiserver.config.k8s.io/v1");
    }
    let mut found = Configuration::default();
    for plugin in file["plugins"].as_array().into_iter().flatten() {
        match plugin["name"].as_str() {
            Some("PodSecurity") => {
                let configuration = match plugin["path"].as_str() {
                    Some(own) => parse(&path.parent().unwrap_or(Path::new(".")).join(own))?,
                    None => plugin["configuration"].clone(),
                };
                found = Configuration::read(&configuration).map_err(|why| anyhow!(why))?;
            }
            other => bail!("the plugin {} takes no configuration", other.unwrap_or("without name")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_in_place_or_beside() {
        let dir = tempfile::tempdir().unwrap();
        let own = "kind: PodSecurityConfiguration\ndefaults: {enforce: baseline}\n";
        std::fs::write(dir.path().join("own.yaml"), own).unwrap();
        let check = |text: &str, fits: bool| {
            let file = dir.path().join("all.yaml");
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).is_ok(), fits, "{text}");
        };
        let head = "kind: AdmissionConfiguration\nplugins:\n- name: ";
        check(&format!("{head}PodSecurity\n  path: own.yaml\n"), true);
        check(
            &format!("{head}PodSecurity\n  configuration: {{exemptions: {{usernames: [a]}}}}\n"),
            true,
        );
        check(&format!("{head}PodSecurity\n  path: gone.yaml\n"), false);
        check(&format!("{head}PodSecurity\n  configuration: {{x: 1}}\n"), false);
        check(&format!("{head}Other\n"), false);
        check("kind: Pod\n", false);
    }
}
