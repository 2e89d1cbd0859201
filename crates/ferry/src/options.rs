//! The flags of `ferry server`, from the command line, `FERRY_*` and a configuration file.
//!
//! The command line wins over the environment, the environment over `--config FILE`, and the file
//! over the defaults. The names are the same everywhere.

mod auth;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cli::clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};
use serde_json::Value;

pub(crate) use auth::AuthOptions;

/// The parts that `--disable` knows.
pub(crate) const PARTS: &[&str] = &[
    "apiserver",
    "node",
    "scheduler",
    "controllers",
    "proxy",
    "dns",
    "ingress",
    "servicelb",
    "local-path",
    "metrics",
    "mesh",
    "functions",
    "dashboard",
    "legacy-apis",
];

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Datastore {
    /// In the data directory.
    Embedded,
    /// In an etcd cluster, by its members' addresses.
    Etcd(Vec<String>),
}

/// Which runtime runs containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Ferry's own.
    Embedded,
    /// One behind a CRI socket.
    Remote(String),
}

/// Everything that `ferry server` can be told.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) bind_address: IpAddr,
    pub(crate) https_port: u16,
    pub(crate) write_kubeconfig: Option<PathBuf>,
    pub(crate) datastore: Datastore,
    pub(crate) datastore_cafile: Option<PathBuf>,
    pub(crate) datastore_certfile: Option<PathBuf>,
    pub(crate) datastore_keyfile: Option<PathBuf>,
    pub(crate) cluster_cidr: String,
    pub(crate) service_cidr: String,
    pub(crate) cluster_dns: IpAddr,
    pub(crate) cluster_domain: String,
    pub(crate) node_name: String,
    pub(crate) node_ip: Option<IpAddr>,
    pub(crate) disable: BTreeSet<String>,
    pub(crate) enable_admission_plugins: Vec<String>,
    pub(crate) disable_admission_plugins: Vec<String>,
    pub(crate) admission_control_config_file: Option<PathBuf>,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) container_runtime: Runtime,
    pub(crate) token: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) audit: Option<Audit>,
    pub(crate) encryption_provider_config: Option<PathBuf>,
    pub(crate) auth: AuthOptions,
}

/// What is noted of requests, and where.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) policy_file: PathBuf,
    pub(crate) log: audit::LogOptions,
}

/// What the API server lets through.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) request_timeout: Duration,
    pub(crate) requests_in_flight_max: u32,
    pub(crate) mutating_in_flight_max: u32,
    /// By priority and fairness, or by these numbers alone.
    pub(crate) is_fair: bool,
    /// How long requests are still taken after the server said that it is going.
    pub(crate) shutdown_delay: Duration,
    /// Whether `/debug` is served.
    pub(crate) debug: bool,
}

impl ServerOptions {
    /// Whether a part runs.
    pub(crate) fn has(&self, part: &str) -> bool {
        !self.disable.contains(part)
    }

    /// The folder of what the server keeps.
    pub(crate) fn server_dir(&self) -> PathBuf {
        self.data_dir.join("server")
    }

    /// The folder of what the node keeps.
    pub(crate) fn agent_dir(&self) -> PathBuf {
        self.data_dir.join("agent")
    }
}

/// The arguments, for the verb's help.
pub(crate) fn args() -> Vec<Arg> {
    let flag = |name: &'static str, env: &'static str, help: &'static str| {
        Arg::new(name).long(name).env(env).value_name("VALUE").help(help)
    };
    let own = vec![
        flag("data-dir", "FERRY_DATA_DIR", "Where everything is kept")
            .default_value("/var/lib/ferry"),
        flag("bind-address", "FERRY_BIND_ADDRESS", "The address to listen on")
            .default_value("0.0.0.0"),
        flag("https-port", "FERRY_HTTPS_PORT", "The port to listen on").default_value("6443"),
        flag("write-kubeconfig", "FERRY_WRITE_KUBECONFIG", "Also write the kubeconfig here (0600)"),
        flag("datastore", "FERRY_DATASTORE", "embedded, or etcd://HOST:PORT[,HOST:PORT]")
            .default_value("embedded"),
        flag("datastore-cafile", "FERRY_DATASTORE_CAFILE", "The CA of etcd's certificates"),
        flag("datastore-certfile", "FERRY_DATASTORE_CERTFILE", "The client certificate for etcd"),
        flag("datastore-keyfile", "FERRY_DATASTORE_KEYFILE", "The client key for etcd"),
        flag("cluster-cidr", "FERRY_CLUSTER_CIDR", "The range of pods' addresses")
            .default_value("10.42.0.0/16"),
        flag("service-cidr", "FERRY_SERVICE_CIDR", "The range of Services' addresses")
            .default_value("10.96.0.0/12"),
        flag("cluster-dns", "FERRY_CLUSTER_DNS", "The address of the cluster's DNS")
            .default_value("10.96.0.10"),
        flag("cluster-domain", "FERRY_CLUSTER_DOMAIN", "The domain of the cluster's names")
            .default_value("cluster.local"),
        flag("node-name", "FERRY_NODE_NAME", "The node's name; the machine's own by default"),
        flag("node-ip", "FERRY_NODE_IP", "The node's address; found by default"),
        flag("disable", "FERRY_DISABLE", "Parts that do not run, separated by commas")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(PARTS.to_vec()),
        flag(
            "enable-admission-plugins",
            "FERRY_ENABLE_ADMISSION_PLUGINS",
            "Admission plugins that run although they do not by themselves, separated by commas",
        )
        .value_delimiter(',')
        .action(ArgAction::Append),
        flag(
            "disable-admission-plugins",
            "FERRY_DISABLE_ADMISSION_PLUGINS",
            "Admission plugins that do not run, separated by commas",
        )
        .value_delimiter(',')
        .action(ArgAction::Append),
        flag(
            "admission-control-config-file",
            "FERRY_ADMISSION_CONTROL_CONFIG_FILE",
            "An AdmissionConfiguration, for the plugin PodSecurity",
        ),
        flag(
            "part-kubeconfig",
            "FERRY_PART_KUBECONFIG",
            "For parts that run without the API server",
        )
        .hide(true),
        flag("container-runtime", "FERRY_CONTAINER_RUNTIME", "embedded, or a CRI socket's URL")
            .default_value("embedded"),
        flag("join-token", "FERRY_TOKEN", "The token by which agents join").hide(true),
        flag(
            "request-timeout",
            "FERRY_REQUEST_TIMEOUT",
            "How many seconds a request may take that is no watch, exec, log or proxy",
        )
        .default_value("60"),
        flag(
            "max-requests-inflight",
            "FERRY_MAX_REQUESTS_INFLIGHT",
            "How many reading requests are served at once",
        )
        .default_value("400"),
        flag(
            "max-mutating-requests-inflight",
            "FERRY_MAX_MUTATING_REQUESTS_INFLIGHT",
            "How many writing requests are served at once",
        )
        .default_value("200"),
        flag(
            "enable-priority-and-fairness",
            "FERRY_ENABLE_PRIORITY_AND_FAIRNESS",
            "Divide both numbers' sum among priority levels instead",
        )
        .default_value("true"),
        flag(
            "shutdown-delay-duration",
            "FERRY_SHUTDOWN_DELAY_DURATION",
            "For how many seconds requests are still taken when the server is told to stop",
        )
        .default_value("0"),
        flag("audit-policy-file", "FERRY_AUDIT_POLICY_FILE", "A Policy of audit.k8s.io/v1"),
        flag("audit-log-path", "FERRY_AUDIT_LOG_PATH", "Where requests are noted; - is stdout"),
        flag("audit-log-maxsize", "FERRY_AUDIT_LOG_MAXSIZE", "Megabytes of one file of it")
            .default_value("100"),
        flag("audit-log-maxbackup", "FERRY_AUDIT_LOG_MAXBACKUP", "Old files kept; 0: all")
            .default_value("0"),
        flag("audit-log-maxage", "FERRY_AUDIT_LOG_MAXAGE", "Days that they are kept; 0: for ever")
            .default_value("0"),
        flag("profiling", "FERRY_PROFILING", "Serve /debug").default_value("false"),
        flag(
            "encryption-provider-config",
            "FERRY_ENCRYPTION_PROVIDER_CONFIG",
            "An EncryptionConfiguration file; by default Secrets are encrypted with an own key",
        ),
        flag("config", "FERRY_CONFIG", "A YAML file with the same names"),
        Arg::new("clean").long("clean").action(ArgAction::SetTrue).help(
            "Stop what runs and take away every rule, link, mount, cgroup and address of Ferry's",
        ),
    ];
    own.into_iter().chain(auth::args()).collect()
}

/// What the command line, the environment and the file say together. `global` has the flags that
/// every verb takes; `--kubeconfig` and `--token` are among them.
pub(crate) fn parse(global: &ArgMatches, args: &ArgMatches) -> Result<ServerOptions> {
    let file = match args.get_one::<String>("config") {
        None => Value::Null,
        Some(path) => {
            let text =
                std::fs::read(path).with_context(|| format!("cannot read --config {path}"))?;
            let document =
                api::yaml::parse(&text).with_context(|| format!("cannot read --config {path}"))?;
            check_names(&document.value, path)?;
            document.value
        }
    };
    let values = Values { args, file };
    let disable = values.list("disable");
    if let Some(unknown) = disable.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("--disable {unknown}: no such part; there are {}", PARTS.join(", "));
    }
    let datastore = match values.text("datastore")?.as_str() {
        "embedded" => Datastore::Embedded,
        other => match other.strip_prefix("etcd://") {
            Some(members) => Datastore::Etcd(members.split(',').map(str::to_owned).collect()),
            None => bail!("--datastore {other}: neither embedded nor etcd://HOST:PORT"),
        },
    };
    let container_runtime = match values.text("container-runtime")?.as_str() {
        "embedded" => Runtime::Embedded,
        other if other.starts_with("unix://") => Runtime::Remote(other.to_owned()),
        other => bail!("--container-runtime {other}: neither embedded nor unix:///path"),
    };
    let path = |name: &str| values.optional(name).map(PathBuf::from);
    Ok(ServerOptions {
        data_dir: PathBuf::from(values.text("data-dir")?),
        bind_address: values.parsed("bind-address")?,
        https_port: values.parsed("https-port")?,
        write_kubeconfig: path("write-kubeconfig"),
        datastore,
        datastore_cafile: path("datastore-cafile"),
        datastore_certfile: path("datastore-certfile"),
        datastore_keyfile: path("datastore-keyfile"),
        cluster_cidr: values.text("cluster-cidr")?,
        service_cidr: values.text("service-cidr")?,
        cluster_dns: values.parsed("cluster-dns")?,
        cluster_domain: values.text("cluster-domain")?,
        node_name: match values.optional("node-name") {
            Some(name) => name,
            None => hostname()?,
        },
        node_ip: values
            .optional("node-ip")
            .map(|text| text.parse().with_context(|| format!("--node-ip {text} is no address")))
            .transpose()?,
        disable: disable.into_iter().collect(),
        enable_admission_plugins: values.list("enable-admission-plugins"),
        disable_admission_plugins: values.list("disable-admission-plugins"),
        admission_control_config_file: path("admission-control-config-file"),
        kubeconfig: global.get_one::<String>("kubeconfig").map(PathBuf::from),
        container_runtime,
        limits: Limits {
            request_timeout: Duration::from_secs(values.parsed("request-timeout")?),
            requests_in_flight_max: values.parsed("max-requests-inflight")?,
            mutating_in_flight_max: values.parsed("max-mutating-requests-inflight")?,
            is_fair: values.parsed("enable-priority-and-fairness")?,
            shutdown_delay: Duration::from_secs(values.parsed("shutdown-delay-duration")?),
            debug: values.parsed("profiling")?,
        },
        audit: audit_of(&values)?,
        auth: auth::parse(&values)?,
        encryption_provider_config: path("encryption-provider-config"),
        token: global.get_one::<String>("token").cloned().or_else(|| values.optional("join-token")),
    })
}

/// Policy and log, when both are asked for.
fn audit_of(values: &Values<'_>) -> Result<Option<Audit>> {
    let (policy, path) = (values.optional("audit-policy-file"), values.optional("audit-log-path"));
    let (policy_file, path) = match (policy, path) {
        (None, None) => return Ok(None),
        (Some(policy), Some(path)) => (PathBuf::from(policy), PathBuf::from(path)),
        (None, Some(_)) => bail!("--audit-log-path: nothing is noted without --audit-policy-file"),
        (Some(_), None) => bail!("--audit-policy-file: there is nowhere to note; --audit-log-path"),
    };
    let log = audit::LogOptions {
        path,
        megabytes_max: values.parsed("audit-log-maxsize")?,
        backups_max: values.parsed("audit-log-maxbackup")?,
        days_max: values.parsed("audit-log-maxage")?,
    };
    Ok(Some(Audit { policy_file, log }))
}

/// The machine's name, as a node's name must be: lower case.
fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the machine's name")?;
    Ok(name.to_string_lossy().to_lowercase())
}

fn check_names(file: &Value, path: &str) -> Result<()> {
    let known: BTreeSet<String> =
        args().iter().map(|arg| arg.get_id().as_str().to_owned()).collect();
    let names = file.as_object().into_iter().flat_map(|map| map.keys());
    for name in names {
        if !known.contains(name) && !matches!(name.as_str(), "kubeconfig" | "token") {
            bail!("--config {path}: there is no setting {name:?}; see `ferry server --help`");
        }
    }
    Ok(())
}

struct Values<'a> {
    args: &'a ArgMatches,
    file: Value,
}

impl Values<'_> {
    /// A setting; `None` when nobody sets it and it has no default.
    fn optional(&self, name: &str) -> Option<String> {
        let given = self.args.get_one::<String>(name).cloned();
        let is_default = self.args.value_source(name) == Some(ValueSource::DefaultValue);
        let in_file = match self.file.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        };
        match (given, in_file) {
            (Some(given), None) => Some(given),
            (Some(given), Some(_)) if !is_default => Some(given),
            (_, in_file) => in_file,
        }
    }

    fn text(&self, name: &str) -> Result<String> {
        self.optional(name).with_context(|| format!("--{name} is needed"))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("--{name} {text}"))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let given: Vec<String> =
            self.args.get_many::<String>(name).into_iter().flatten().cloned().collect();
        if !given.is_empty() {
            return given;
        }
        match self.file.get(name) {
            Some(Value::Array(list)) => {
                list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cli::clap::Command;
    use std::io::Write as _;

    fn parse_line(line: &[&str]) -> Result<ServerOptions> {
        let globals = ["kubeconfig", "token"].map(|name| Arg::new(name).long(name));
        let command = Command::new("server").args(args()).args(globals);
        let matches = command
            .try_get_matches_from([&["server"], line].concat())
            .map_err(anyhow::Error::from)?;
        parse(&matches, &matches)
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "https-port: 7000\ncluster-domain: example.org\ndisable: [dns, ingress]")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let options = parse_line(&["--config", path, "--https-port", "7443"]).unwrap();
        assert_eq!(options.https_port, 7443);
        assert_eq!(options.cluster_domain, "example.org");
        assert!(!options.has("dns") && options.has("scheduler"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (line, word) in [
            (vec!["--datastore", "mysql://x"], "neither embedded"),
            (vec!["--node-ip", "x"], "is no address"),
            (vec!["--https-port", "70000"], "--https-port 70000"),
            (vec!["--disable", "everything"], "everything"),
            (vec!["--audit-log-path", "x"], "without --audit-policy-file"),
            (vec!["--oidc-client-id", "ferry"], "must be specified together"),
            (
                vec!["--oidc-issuer-url", "http://x", "--oidc-client-id", "y"],
                "must begin with https",
            ),
        ] {
            let error = format!("{:#}", parse_line(&line).unwrap_err());
            assert!(error.contains(word), "{line:?}: {error}");
        }
    }
}
