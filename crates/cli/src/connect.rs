//! Where the cluster is: flags, `KUBECONFIG`, the local cluster's own file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Arg, ArgAction, ArgMatches};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// The local cluster's kubeconfig, where nobody says otherwise.
const LOCAL: &str = "/var/lib/ferry/server/kubeconfig.yaml";

/// The flags that every verb takes.
pub(crate) fn global_args() -> Vec<Arg> {
    let value = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).global(true).value_name("VALUE").help(help)
    };
    vec![
        value("kubeconfig", "Path to the kubeconfig file to use"),
        value("context", "The name of the kubeconfig context to use"),
        value("cluster", "The name of the kubeconfig cluster to use"),
        value("user", "The name of the kubeconfig user to use"),
        value("server", "The address and port of the API server").short('s'),
        value("token", "Bearer token for authentication to the API server"),
        value("namespace", "The namespace for this request").short('n'),
        value("as", "Username to impersonate"),
        value("as-group", "Group to impersonate; may be repeated").action(ArgAction::Append),
        value("request-timeout", "How long to wait for a single request (1s, 2m, 0 for ever)")
            .default_value("0"),
        value("v", "How much to log").short('v').default_value("0"),
        Arg::new("insecure-skip-tls-verify")
            .long("insecure-skip-tls-verify")
            .global(true)
            .action(ArgAction::SetTrue)
            .help("Do not check the server's certificate"),
    ]
}

/// Where the cluster is, and who asks.
#[derive(Clone, Default)]
pub struct Connection {
    kubeconfig: Option<PathBuf>,
    options: KubeConfigOptions,
    server: Option<String>,
    token: Option<String>,
    namespace: Option<String>,
    impersonate: Option<String>,
    impersonate_groups: Vec<String>,
    timeout: Option<Duration>,
    insecure: bool,
}

impl Connection {
    pub(crate) fn from_flags(flags: &ArgMatches) -> Result<Self> {
        let text = |name: &str| flags.get_one::<String>(name).cloned();
        let timeout = parse_duration(&text("request-timeout").unwrap_or_default())
            .context("--request-timeout is no duration")?;
        Ok(Self {
            kubeconfig: text("kubeconfig").map(PathBuf::from),
            options: KubeConfigOptions {
                context: text("context"),
                cluster: text("cluster"),
                user: text("user"),
            },
            server: text("server"),
            token: text("token"),
            namespace: text("namespace"),
            impersonate: text("as"),
            impersonate_groups: flags
                .get_many::<String>("as-group")
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            timeout: (!timeout.is_zero()).then_some(timeout),
            insecure: flags.get_flag("insecure-skip-tls-verify"),
        })
    }

    /// The namespace that a flag names.
    #[must_use]
    pub fn namespace_flag(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The client's configuration.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it does not say where the cluster is.
    pub async fn config(&self) -> Result<kube::Config> {
        let mut config = if self.server.is_some() && self.kubeconfig.is_none() && !has_default() {
            kube::Config::new("http://localhost:8080".parse()?)
        } else {
            let file = self.file()?;
            kube::Config::from_custom_kubeconfig(file, &self.options)
                .await
                .context("cannot use the kubeconfig")?
        };
        if let Some(server) = &self.server {
            let url =
                if server.contains("://") { server.clone() } else { format!("http://{server}") };
            config.cluster_url = url.parse().with_context(|| format!("--server {server}"))?;
        }
        if let Some(token) = &self.token {
            config.auth_info = kube::config::AuthInfo {
                token: Some(token.clone().into()),
                ..kube::config::AuthInfo::default()
            };
        }
        if self.impersonate.is_some() {
            config.auth_info.impersonate.clone_from(&self.impersonate);
            config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        if self.insecure {
            config.accept_invalid_certs = true;
        }
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        // Watches and logs may be silent for as long as they like.
        config.read_timeout = self.timeout;
        config.write_timeout = self.timeout;
        Ok(config)
    }

    fn file(&self) -> Result<Kubeconfig> {
        if let Some(path) = &self.kubeconfig {
            return Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read --kubeconfig {}", path.display()));
        }
        if let Some(merged) = Kubeconfig::from_env().context("cannot read $KUBECONFIG")? {
            return Ok(merged);
        }
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
        let in_home = home.filter(|path| path.exists());
        let own = std::env::var_os("FERRY_DATA_DIR")
            .map(|dir| PathBuf::from(dir).join("server/kubeconfig.yaml"));
        let candidates = [in_home, own, Some(PathBuf::from(LOCAL))];
        let Some(path) = candidates.into_iter().flatten().find(|path| path.exists()) else {
            bail!(
                "no cluster: neither --kubeconfig, $KUBECONFIG, ~/.kube/config nor {LOCAL} is \
                 there; start one with `ferry server`"
            );
        };
        Kubeconfig::read_from(&path).with_context(|| {
            format!("cannot read {}; run this as the user who may", path.display())
        })
    }
}

fn has_default() -> bool {
    std::env::var_os("KUBECONFIG").is_some_and(|text| !text.is_empty())
        || std::env::var_os("HOME")
            .is_some_and(|home| PathBuf::from(home).join(".kube/config").exists())
}

/// A duration in Go's form (`1h2m3s`, `500ms`) or a plain number of seconds.
///
/// # Errors
/// When the text is neither.
pub fn parse_duration(text: &str) -> Result<Duration> {
    if text.is_empty() || text == "0" {
        return Ok(Duration::ZERO);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().with_context(|| format!("{text:?}"))?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |length| digits + length);
        let unit = match &rest[digits..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            other => bail!("{text:?}: unknown unit {other:?}"),
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    Ok(Duration::try_from_secs_f64(total)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_gos_form() {
        let check = |text: &str, millis: u128| {
            assert_eq!(parse_duration(text).unwrap().as_millis(), millis, "{text}");
        };
        check("0", 0);
        check("5", 5000);
        check("1h2m3s", 3_723_000);
        check("500ms", 500);
        check("1.5s", 1500);
        assert!(parse_duration("5x").is_err());
    }
}
