//! The built-in pod network: addresses, wires, the way out, host ports.
//!
//! Point-to-point veth pairs without a bridge, so packets between two pods of a node pass the
//! same hooks as all others and services and policy hold for them too. [`PodNetwork`] is what the
//! container runtime calls: [`PodNetwork::attach`] when a sandbox is made, [`PodNetwork::detach`]
//! when it goes, [`PodNetwork::retain`] after a restart.
//!
//! Invariants: an address belongs to at most one attachment; what is recorded is written down
//! before the kernel is asked, and forgotten after the kernel has let go, so a crash at any point
//! leaves nothing that the next `attach`, `detach` or `retain` does not put right. Pods go on
//! talking while nobody holds a `PodNetwork`.

mod ipam;
mod links;
mod records;
mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use ipam::Pool;
pub use links::POD_LINK;
pub use records::Attachment;

use crate::Error;
use crate::conntrack::Conntrack;
use crate::netns::NetNs;
use crate::nft::{Batch, Family, Nft, Table};
use records::Records;

/// How a node's pod network is laid out.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the node's pods get their addresses: one range a family, the first one is the
    /// primary.
    pub pod_cidrs: Vec<IpNet>,
    /// Where packets of pods go with their own address as the sender: the cluster's pod range,
    /// and whatever else routes back to pods.
    pub inside_cidrs: Vec<IpNet>,
    /// Where services have their addresses.
    pub service_cidrs: Vec<IpNet>,
    /// The largest packet on a pod's link.
    pub mtu: u32,
    /// Where records are kept.
    pub data_dir: PathBuf,
    /// The node's namespace; `None` is that of the process.
    pub netns: Option<Arc<NetNs>>,
}

/// The protocol of a host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// The number in an IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// A port of the host that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// The address of the host it is on; `None` or unspecified is all of them.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The pod network of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PodNetwork {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    node_ips: Vec<IpAddr>,
    tables: Vec<Table>,
    records: Records,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pools: Vec<Pool>,
    attachments: BTreeMap<String, Attachment>,
    /// Those that are being detached: what they hold is not free yet.
    leaving: Vec<Attachment>,
}

impl PodNetwork {
    /// Sets the node up: forwarding, the node's own address, the rules with what the records
    /// hold. Pods that are attached stay attached.
    ///
    /// # Errors
    /// The kernel refused, or the records cannot be read.
    pub async fn start(config: Config) -> Result<Self, Error> {
        blocking("starting the pod network", move || {
            let records = Records::open(&config.data_dir)?;
            let loaded = records.load()?;
            let mut pools: Vec<Pool> = config.pod_cidrs.iter().map(|net| Pool::new(*net)).collect();
            for pool in &mut pools {
                let range = pool.range();
                let held = loaded.iter().flat_map(|one| &one.ips).copied();
                held.filter(|ip| range.contains(ip)).for_each(|ip| pool.occupy(ip));
                let last = records.last().into_iter().find(|ip| range.contains(ip));
                last.into_iter().for_each(|ip| pool.resume_after(ip));
            }
            let node_ips: Vec<IpAddr> = pools.iter().map(Pool::node_address).collect();
            let tables = on_host(config.netns.as_deref(), || {
                links::node_up(&config, &node_ips)?;
                let mut nft = Nft::open()?;
                let mut install = |family| {
                    nft.replace_table(family, rules::TABLE, |batch, table| {
                        rules::install(batch, table, &config, &loaded);
                    })
                };
                families(&config.pod_cidrs).map(&mut install).collect::<Result<Vec<Table>, _>>()
            })?;
            let attachments = loaded.into_iter().map(|one| (one.id.clone(), one)).collect();
            let state = Mutex::new(State { pools, attachments, leaving: Vec::new() });
            Ok(Self { inner: Arc::new(Inner { config, node_ips, tables, records, state }) })
        })
        .await
    }

    /// The node's own address in the pod range, from which it talks to its pods.
    #[must_use]
    pub fn node_ips(&self) -> &[IpAddr] {
        &self.inner.node_ips
    }

    /// Gives the namespace of a pod sandbox a link, addresses and host ports. Calling it again
    /// with the same id gives the same addresses and wires the namespace anew if it must.
    ///
    /// # Errors
    /// No address is free, a host port is taken, or the kernel refused; nothing is held then.
    pub async fn attach(
        &self,
        id: &str,
        netns: NetNs,
        host_ports: Vec<HostPort>,
    ) -> Result<Attachment, Error> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        blocking("attaching a pod", move || inner.attach(&id, &netns, host_ports)).await
    }

    /// Takes everything back that [`PodNetwork::attach`] gave. An unknown id is not an error.
    ///
    /// # Errors
    /// The kernel refused; calling it again goes on where it stopped.
    pub async fn detach(&self, id: &str) -> Result<(), Error> {
        let (inner, id) = (self.inner.clone(), id.to_owned());
        blocking("detaching a pod", move || inner.detach(&id)).await
    }

    /// What a sandbox holds.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Attachment> {
        self.inner.state.lock().attachments.get(id).cloned()
    }

    /// What is attached, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Attachment> {
        self.inner.state.lock().attachments.values().cloned().collect()
    }

    /// Detaches every sandbox that is not named, and takes away pod links that nobody holds: for
    /// after a restart, when the runtime knows which sandboxes are still there.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn retain(&self, ids: Vec<String>) -> Result<(), Error> {
        let inner = self.inner.clone();
        blocking("sorting out pods", move || inner.retain(&ids)).await
    }

    /// Takes away every link, route, address and rule of Ferry's pod network in a namespace, and
    /// its records. `node_ips` may be empty when they are not known.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn clean(
        data_dir: PathBuf,
        netns: Option<Arc<NetNs>>,
        node_ips: Vec<IpAddr>,
    ) -> Result<(), Error> {
        blocking("taking the pod network away", move || {
            on_host(netns.as_deref(), || {
                links::clean(&node_ips)?;
                take_away_tables()
            })?;
            match std::fs::remove_dir_all(&data_dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io(format!("take away {}", data_dir.display()), e))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Takes away every nftables table that is called `ferry` or `ferry-…`, in the calling thread's
/// namespace: the pod network's, services', policy's.
///
/// # Errors
/// The kernel refused.
pub fn take_away_tables() -> Result<(), Error> {
    let mut nft = Nft::open()?;
    for family in [Family::Ipv4, Family::Ipv6, Family::Inet] {
        let mut batch = Batch::new();
        for name in nft.tables(family)? {
            if name == "ferry" || name.starts_with("ferry-") {
                batch.table_delete(&Table { family, name });
            }
        }
        nft.commit(&batch)?;
    }
    Ok(())
}

impl Inner {
    fn attach(
        &self,
        id: &str,
        netns: &NetNs,
        host_ports: Vec<HostPort>,
    ) -> Result<Attachment, Error> {
        // The lock is for who holds what; the kernel is asked without it, or one pod's end, which
        // takes the kernel tens of milliseconds, would keep all others from starting.
        let held = {
            let mut state = self.state.lock();
            match state.attachments.get(id) {
                Some(held) => Ok(held.clone()),
                None => Err(state.admit(id, host_ports, &self.records)?),
            }
        };
        let pod = match held {
            Ok(held) => {
                // A pod that talks is left alone.
                if !self.on_host(|| links::is_up(&held, netns))? {
                    self.wire(&held, netns)?;
                }
                return Ok(held);
            }
            Err(admitted) => admitted,
        };
        let done = self.records.save(&pod).and_then(|()| {
            self.wire(&pod, netns)?;
            self.rules(&pod, Batch::elements_add)
        });
        if let Err(error) = done {
            // What cannot be undone now is undone by `retain` after the next start.
            let undone = self
                .on_host(|| links::pod_down(&pod.link))
                .and_then(|()| self.records.remove(&pod));
            if let Err(error) = undone {
                tracing::warn!(id, %error, "a pod that could not be attached left something");
            }
            let mut state = self.state.lock();
            state.attachments.remove(id);
            state.release(&pod.ips);
            return Err(error);
        }
        Ok(pod)
    }

    fn detach(&self, id: &str) -> Result<(), Error> {
        let Some(pod) = self.state.lock().depart(id) else {
            return self.on_host(|| links::pod_down(&links::link_name(id)));
        };
        let done = self.take_down(&pod);
        let mut state = self.state.lock();
        state.leaving.retain(|one| one.id != pod.id);
        match &done {
            Ok(()) => state.release(&pod.ips),
            // It is still there, to be detached again.
            Err(_) => drop(state.attachments.insert(id.to_owned(), pod)),
        }
        done
    }

    fn take_down(&self, pod: &Attachment) -> Result<(), Error> {
        match self.rules(pod, Batch::elements_delete) {
            // Somebody else flushed the table: what was to go is gone.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
        self.on_host(|| {
            links::pod_down(&pod.link)?;
            let mut conntrack = Conntrack::open()?;
            pod.ips.iter().try_for_each(|ip| conntrack.forget_address(*ip).map(drop))
        })?;
        self.records.remove(pod)
    }

    fn retain(&self, ids: &[String]) -> Result<(), Error> {
        let gone: Vec<String> = {
            let state = self.state.lock();
            state.attachments.keys().filter(|id| !ids.contains(id)).cloned().collect()
        };
        for id in gone {
            self.detach(&id)?;
        }
        for link in self.on_host(links::pod_links)? {
            // Looked up anew for each: a pod may be attached meanwhile.
            let held = self.state.lock().attachments.values().any(|pod| pod.link == link);
            if !held {
                self.on_host(|| links::pod_down(&link))?;
            }
        }
        Ok(())
    }

    fn wire(&self, pod: &Attachment, netns: &NetNs) -> Result<(), Error> {
        self.on_host(|| links::pod_up(&self.config, &self.node_ips, pod, netns))
    }

    fn rules(
        &self,
        pod: &Attachment,
        apply: fn(&mut Batch, &Table, &str, &[crate::nft::Element]),
    ) -> Result<(), Error> {
        if pod.host_ports.is_empty() {
            return Ok(());
        }
        self.on_host(|| {
            let mut batch = Batch::new();
            for table in &self.tables {
                rules::change(&mut batch, table, pod, apply);
            }
            Nft::open()?.commit(&batch)
        })
    }

    fn on_host<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        on_host(self.config.netns.as_deref(), work)
    }
}

impl State {
    /// Gives a new pod its addresses.
    fn admit(
        &mut self,
        id: &str,
        host_ports: Vec<HostPort>,
        records: &Records,
    ) -> Result<Attachment, Error> {
        self.check_host_ports(&host_ports)?;
        let ips = self.allocate()?;
        if let Err(error) = records.save_last(&ips) {
            self.release(&ips);
            return Err(error);
        }
        let pod = Attachment { id: id.to_owned(), link: links::link_name(id), ips, host_ports };
        self.attachments.insert(id.to_owned(), pod.clone());
        Ok(pod)
    }

    /// Begins to detach a pod.
    fn depart(&mut self, id: &str) -> Option<Attachment> {
        let pod = self.attachments.remove(id)?;
        self.leaving.push(pod.clone());
        Some(pod)
    }

    fn allocate(&mut self) -> Result<Vec<IpAddr>, Error> {
        let mut ips = Vec::with_capacity(self.pools.len());
        for n in 0..self.pools.len() {
            let pool = &mut self.pools[n];
            match pool.allocate() {
                Some(ip) => ips.push(ip),
                None => {
                    let error = Error::PoolExhausted { pool: pool.range(), size: pool.size() };
                    self.release(&ips);
                    return Err(error);
                }
            }
        }
        Ok(ips)
    }

    fn release(&mut self, ips: &[IpAddr]) {
        for pool in &mut self.pools {
            ips.iter().for_each(|ip| pool.release(*ip));
        }
    }

    fn check_host_ports(&self, wanted: &[HostPort]) -> Result<(), Error> {
        let pods = self.attachments.values().chain(&self.leaving);
        let held = pods.flat_map(|pod| &pod.host_ports);
        let taken = held
            .flat_map(|held| wanted.iter().map(move |port| (held, port)))
            .find(|(held, port)| rules::collide(held, port));
        match taken {
            None => Ok(()),
            Some((_, port)) => Err(Error::HostPortTaken {
                ip: port.host_ip.unwrap_or(IpAddr::from([0; 4])),
                port: port.host_port,
                protocol: format!("{:?}", port.protocol).to_lowercase(),
            }),
        }
    }
}

fn families(nets: &[IpNet]) -> impl Iterator<Item = Family> {
    let has = |four: bool| nets.iter().any(|net| net.addr().is_ipv4() == four);
    let (four, six) = (has(true), has(false));
    four.then_some(Family::Ipv4).into_iter().chain(six.then_some(Family::Ipv6))
}

/// Runs work in the node's namespace.
fn on_host<T: Send>(
    netns: Option<&NetNs>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    match netns {
        None => work(),
        Some(netns) => netns.run(work)?,
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_panic| Error::Thread(what))?
}
