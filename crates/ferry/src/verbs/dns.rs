//! `dns`: the cluster's name server, as the pods of `kube-dns` run it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::drain::Drain;
use cli::Verb;
use cli::clap::{Arg, ArgMatches, Command};
use dns::{DnsOptions, Upstream};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) struct Dns;

impl Verb for Dns {
    fn command(&self) -> Command {
        Command::new("dns")
            .about("Run the cluster's name server, inside a pod")
            .arg(
                Arg::new("cluster-domain")
                    .long("cluster-domain")
                    .default_value("cluster.local")
                    .help("The domain of the cluster's names"),
            )
            .arg(
                Arg::new("listen").long("listen").default_value("[::]:53").help("Where it answers"),
            )
            .arg(
                Arg::new("upstream")
                    .long("upstream")
                    .default_value("/etc/resolv.conf")
                    .help("The file that names the servers for all other names"),
            )
            .subcommand(
                Command::new("lookup")
                    .about("Look a name up as programs in this pod do, and print its addresses")
                    .arg(Arg::new("name").required(true)),
            )
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn run_blocking(&self, global: &ArgMatches, args: &ArgMatches) -> Result<ExitCode> {
        if let Some(("lookup", own)) = args.subcommand() {
            return look_up(own.get_one::<String>("name").map_or("", String::as_str));
        }
        let verbosity = global.get_one::<String>("v").and_then(|text| text.parse().ok());
        crate::logs::start(verbosity.unwrap_or(0), base::clock::system());
        let text = |name: &str| args.get_one::<String>(name).map_or("", String::as_str);
        let listen: SocketAddr =
            text("listen").parse().with_context(|| format!("--listen {}", text("listen")))?;
        let options = DnsOptions {
            domain: text("cluster-domain").to_owned(),
            listen,
            upstream: Upstream::ResolvConf(text("upstream").into()),
            ..DnsOptions::default()
        };
        // One thread is plenty for a node's names, and keeps the pod small.
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?
            .block_on(serve(options))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn look_up(name: &str) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for address in runtime.block_on(dns::lookup(name))? {
        cli::outln!("{name} has address {address}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: DnsOptions) -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("TLS is set up already"))?;
    let mut config =
        kube::Config::incluster().context("this is no pod: there is no service account here")?;
    // Watches are silent for as long as nothing changes.
    config.read_timeout = None;
    config.connect_timeout = Some(Duration::from_secs(5));
    let client = kube::Client::try_from(config).context("cannot use the service account")?;
    let drain = Drain::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = drain.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stop.cancel();
    });
    dns::run(options, client, drain).await.context("the name server ended")
}
