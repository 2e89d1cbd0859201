//! Addresses and ports of services, taken before a write is stored and given back after.
//!
//! A cluster IP is taken by creating the `IPAddress` object of that name, which only one writer
//! can; node ports by a compare-and-set on one `RangeAllocation` (both as upstream). A crash
//! between taking and storing leaks; [`repair`] finds what leaked.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use api::Value;
use api::field::{FieldError, Path};
use api::names::GroupResource;
use api::object::{list_at, name, namespace, set, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{ObjectApi, PendingHook, WriteHook};
use async_trait::async_trait;
use base::rng::SharedRng;
use ipnet::IpNet;
use parking_lot::Mutex;
use serde_json::json;

use super::ports::{self, Bitmap, PortError};
use super::{families, patch};
use crate::deps::Deps;

/// The name of the object that holds the node ports.
const PORTS_OBJECT: &str = "servicenodeports";
/// How many random addresses are tried before the free ones are counted.
const RANDOM_TRIES: usize = 8;

fn ip_addresses() -> GroupResource {
    GroupResource::new("networking.k8s.io", "ipaddresses")
}

fn ranges() -> GroupResource {
    GroupResource::new("", "rangeallocations")
}

fn services() -> GroupResource {
    GroupResource::new("", "services")
}

/// Takes addresses and ports for services.
#[derive(Clone)]
pub(crate) struct Allocation {
    networks: Vec<IpNet>,
    node_ports: RangeInclusive<u16>,
    rng: SharedRng,
}

/// What a write has taken, and what it no longer needs once it is stored.
#[derive(Default)]
struct Taken {
    ips: Vec<String>,
    ports: Vec<i64>,
    spare_ips: Vec<String>,
    spare_ports: Vec<i64>,
    range: (u16, u16),
}

impl Allocation {
    pub(crate) fn new(deps: &Deps) -> Self {
        Self {
            networks: deps.service_networks.clone(),
            node_ports: deps.node_ports.clone(),
            rng: deps.rng.clone(),
        }
    }

    async fn take_ips(
        &self,
        api: &dyn ObjectApi,
        service: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        taken: &mut Taken,
    ) -> ApiResult<()> {
        let invalid = |errors: Vec<FieldError>| ApiError::invalid("", "Service", "", &errors);
        families::fill(service, old, &self.networks)
            .map_err(|error| invalid(vec![error]).named(service))?;
        if !patch::needs_cluster_ip(service) || is_headless(service) {
            return Ok(());
        }
        let before = old.map(ips_of).unwrap_or_default();
        let wanted = list_at(service, &["spec", "ipFamilies"]).to_vec();
        let mut ips: Vec<String> = ips_of(service);
        for (index, family) in wanted.iter().enumerate() {
            let asked = ips.get(index).cloned();
            if asked.as_ref().is_some_and(|ip| before.contains(ip)) {
                continue;
            }
            let network = self.network_of(family.as_str().unwrap_or_default());
            let Some(network) = network else { continue };
            match asked {
                Some(ip) => {
                    let value = || Value::from(list_at(service, &["spec", "clusterIPs"]).to_vec());
                    if let Err(why) = self.take_ip(api, service, &ip, network, dry_run).await? {
                        let path = Path::new("spec").child("clusterIPs");
                        let text = format!("failed to allocate IP {ip}: {why}");
                        let error = FieldError::invalid(path, value(), text);
                        return Err(ApiError::invalid("", "Service", name(service), &[error]));
                    }
                    taken.note_ip(ip, dry_run);
                }
                None => {
                    let ip = self.take_any_ip(api, service, network, dry_run).await?;
                    taken.note_ip(ip.clone(), dry_run);
                    ips.push(ip);
                }
            }
        }
        if let Some(first) = ips.first() {
            set(service, &["spec", "clusterIP"], first.as_str());
        }
        set(service, &["spec", "clusterIPs"], ips);
        Ok(())
    }

    fn network_of(&self, family: &str) -> Option<IpNet> {
        let is_v6 = family == "IPv6";
        self.networks.iter().copied().find(|network| network.addr().is_ipv6() == is_v6)
    }

    /// Takes one address; the inner error says why it is not to be had.
    async fn take_ip(
        &self,
        api: &dyn ObjectApi,
        service: &Value,
        ip: &str,
        network: IpNet,
        dry_run: bool,
    ) -> ApiResult<Result<(), String>> {
        let Some(address) = api::validate::net::parse_ip_sloppy(ip) else {
            return Ok(Err("not a valid IP address".to_owned()));
        };
        if !is_usable(network, address) {
            return Ok(Err(format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}"
            )));
        }
        match api.create(&ip_addresses(), ip_object(address, service), dry_run).await {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.reason() == "AlreadyExists" => {
                Ok(Err("provided IP is already allocated".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    async fn take_any_ip(
        &self,
        api: &dyn ObjectApi,
        service: &Value,
        network: IpNet,
        dry_run: bool,
    ) -> ApiResult<String> {
        let (size, band) = (range_size(network), static_band(network));
        for _ in 0..RANDOM_TRIES {
            let offset = u128::from(self.rng.below(u64::try_from(size - band).unwrap_or(u64::MAX)));
            let Some(ip) = nth(network, band + offset) else { continue };
            let text = ip.to_string();
            if self.take_ip(api, service, &text, network, dry_run).await?.is_ok() {
                return Ok(text);
            }
        }
        // Nearly full: count what is free, the upper part before the lower.
        let used: std::collections::HashSet<String> =
            api.list(&ip_addresses(), "").await?.iter().map(|one| name(one).to_owned()).collect();
        for offset in (band..size).chain(0..band) {
            let Some(ip) = nth(network, offset) else { continue };
            let text = ip.to_string();
            if !used.contains(&text)
                && self.take_ip(api, service, &text, network, dry_run).await?.is_ok()
            {
                return Ok(text);
            }
        }
        Err(ApiError::internal("failed to allocate a serviceIP: range is full"))
    }

    async fn take_ports(
        &self,
        api: &dyn ObjectApi,
        service: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        taken: &mut Taken,
    ) -> ApiResult<()> {
        if !ports::concerns(service, old) {
            return Ok(());
        }
        ensure_range(api, taken.range, dry_run).await?;
        let (low, high) = taken.range;
        let result: Mutex<Option<Value>> = Mutex::new(None);
        let asked = service.clone();
        let change = |range: &mut Value| {
            let mut map = Bitmap::decode(low, high, ports::data(range));
            let mut trial = asked.clone();
            match ports::assign(&mut trial, old, &mut map, &self.rng) {
                Ok(()) => {}
                Err(PortError::Full(why)) => return Err(ApiError::internal(why)),
                Err(PortError::Invalid(error)) => {
                    return Err(ApiError::invalid("", "Service", name(&asked), &[error]));
                }
            }
            set(range, &["data"], map.encode());
            *result.lock() = Some(trial);
            Ok(())
        };
        api.modify(&ranges(), None, "", PORTS_OBJECT, dry_run, &change).await?;
        if let Some(assigned) = result.into_inner() {
            *service = assigned;
        }
        if !dry_run {
            let before = old.map(ports::used).unwrap_or_default();
            taken.ports =
                ports::used(service).into_iter().filter(|port| !before.contains(port)).collect();
        }
        Ok(())
    }
}

/// Puts the object's own name into an error that was made before it was known.
trait Named {
    fn named(self, service: &Value) -> Self;
}

impl Named for ApiError {
    fn named(self, service: &Value) -> Self {
        let mut status = self.status().clone();
        let own = name(service);
        status.message = status.message.map(|text| text.replacen("\"\"", &format!("{own:?}"), 1));
        if let Some(details) = &mut status.details {
            details.name = Some(own.to_owned());
        }
        Self::from_status(status)
    }
}

impl Taken {
    fn note_ip(&mut self, ip: String, dry_run: bool) {
        if !dry_run {
            self.ips.push(ip);
        }
    }
}

fn is_headless(service: &Value) -> bool {
    str_at(service, &["spec", "clusterIP"]) == "None"
}

/// The addresses that a service holds.
fn ips_of(service: &Value) -> Vec<String> {
    let texts = list_at(service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
    texts.filter(|ip| !ip.is_empty() && *ip != "None").map(str::to_owned).collect()
}

fn ip_object(ip: IpAddr, service: &Value) -> Value {
    let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip.to_string(), "labels": {
            "ipaddress.kubernetes.io/ip-family": family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {
            "resource": "services", "namespace": namespace(service), "name": name(service)}},
    })
}

/// How many addresses a network has to give, at most 2^64.
fn range_size(network: IpNet) -> u128 {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len()).min(64);
    let all = 1u128 << bits;
    // The network's own address, and for IPv4 the broadcast address.
    all.saturating_sub(if network.addr().is_ipv4() { 2 } else { 1 }).max(1)
}

/// How many addresses at the start are left to people who pick their own (KEP-3070).
fn static_band(network: IpNet) -> u128 {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len()).min(64);
    let all = 1u128 << bits;
    if all <= 16 { 0 } else { (all / 16).clamp(16, 256) }
}

/// The n-th address that may be given, from 0.
fn nth(network: IpNet, n: u128) -> Option<IpAddr> {
    let ip = match network {
        IpNet::V4(net) => {
            let base = u128::from(u32::from(net.network()));
            IpAddr::V4(u32::try_from(base + 1 + n).ok()?.into())
        }
        IpNet::V6(net) => IpAddr::V6(u128::from(net.network()).checked_add(1 + n)?.into()),
    };
    is_usable(network, ip).then_some(ip)
}

fn is_usable(network: IpNet, ip: IpAddr) -> bool {
    let edge = match network {
        IpNet::V4(net) => ip == net.network() || (net.prefix_len() < 31 && ip == net.broadcast()),
        IpNet::V6(net) => ip == net.network(),
    };
    network.contains(&ip) && !edge
}

/// Makes the object that holds the node ports, from the services that there are.
async fn ensure_range(api: &dyn ObjectApi, range: (u16, u16), dry_run: bool) -> ApiResult<()> {
    match api.get(&ranges(), "", PORTS_OBJECT).await {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == 404 => {}
        Err(error) => return Err(error),
    }
    let object = range_object(range, &api.list(&services(), "").await?);
    // Made even for a dry run: it says nothing but what is already so.
    let _ = dry_run;
    match api.create(&ranges(), object, false).await {
        Ok(_) => Ok(()),
        Err(error) if error.reason() == "AlreadyExists" => Ok(()),
        Err(error) => Err(error),
    }
}

fn range_object((low, high): (u16, u16), services: &[std::sync::Arc<Value>]) -> Value {
    let map = map_of((low, high), services);
    json!({"apiVersion": "v1", "kind": "RangeAllocation", "metadata": {"name": PORTS_OBJECT},
        "range": ports::range_text(low, high), "data": map.encode()})
}

fn map_of((low, high): (u16, u16), services: &[std::sync::Arc<Value>]) -> Bitmap {
    let mut map = Bitmap::new(low, high);
    for port in services.iter().flat_map(|service| ports::used(service)) {
        // Two services with one port, or one outside the range, are left as they are.
        let _ = map.take(port);
    }
    map
}

#[async_trait]
impl WriteHook for Allocation {
    async fn begin(
        &self,
        api: &dyn ObjectApi,
        new: Option<&mut Value>,
        old: Option<&Value>,
        dry_run: bool,
    ) -> ApiResult<Box<dyn PendingHook>> {
        let range = (*self.node_ports.start(), *self.node_ports.end());
        let mut taken = Taken { range, ..Taken::default() };
        if let Some(service) = new {
            let result = match self.take_ips(api, service, old, dry_run, &mut taken).await {
                Ok(()) => self.take_ports(api, service, old, dry_run, &mut taken).await,
                failed => failed,
            };
            if let Err(error) = result {
                Box::new(taken).rollback(api).await;
                return Err(error);
            }
            if let (Some(old), false) = (old, dry_run) {
                let (ips, used) = (ips_of(service), ports::used(service));
                taken.spare_ips = ips_of(old).into_iter().filter(|ip| !ips.contains(ip)).collect();
                taken.spare_ports =
                    ports::used(old).into_iter().filter(|port| !used.contains(port)).collect();
            }
        } else if let (Some(old), false) = (old, dry_run) {
            taken.spare_ips = ips_of(old);
            taken.spare_ports = ports::used(old);
        }
        Ok(Box::new(taken))
    }
}

#[async_trait]
impl PendingHook for Taken {
    async fn commit(self: Box<Self>, api: &dyn ObjectApi) {
        give_back(api, &self.spare_ips, &self.spare_ports, self.range).await;
    }

    async fn rollback(self: Box<Self>, api: &dyn ObjectApi) {
        give_back(api, &self.ips, &self.ports, self.range).await;
    }
}

async fn give_back(api: &dyn ObjectApi, ips: &[String], ports: &[i64], range: (u16, u16)) {
    for ip in ips {
        if let Err(error) = api.delete(&ip_addresses(), "", ip, &json!({}), false).await
            && error.code() != 404
        {
            tracing::warn!(ip, %error, "a cluster IP could not be given back; the repair will");
        }
    }
    if ports.is_empty() {
        return;
    }
    let (low, high) = range;
    let change = |object: &mut Value| {
        let mut map = Bitmap::decode(low, high, ports::data(object));
        for port in ports {
            map.release(*port);
        }
        set(object, &["data"], map.encode());
        Ok(())
    };
    if let Err(error) = api.modify(&ranges(), None, "", PORTS_OBJECT, false, &change).await {
        tracing::warn!(?ports, %error, "node ports could not be given back; the repair will");
    }
}

/// Brings addresses and ports into line with the services that there are: takes what a service
/// holds and nobody noted, gives back what was noted for a service that is gone. To be run once
/// after the start, and now and then.
///
/// # Errors
/// When the objects cannot be read or written.
pub async fn repair(api: &dyn ObjectApi, deps: &Deps) -> ApiResult<()> {
    let allocation = Allocation::new(deps);
    let noted = api.list(&ip_addresses(), "").await?;
    let services = api.list(&services(), "").await?;
    for service in &services {
        for ip in ips_of(service) {
            let known = noted.iter().any(|one| name(one) == ip);
            let Some(address) = api::validate::net::parse_ip(&ip).filter(|_| !known) else {
                continue;
            };
            match api.create(&ip_addresses(), ip_object(address, service), false).await {
                Err(error) if error.reason() != "AlreadyExists" => return Err(error),
                _ => {}
            }
        }
    }
    for one in &noted {
        let managed = api::object::label(one, "ipaddress.kubernetes.io/managed-by");
        if managed != Some("ipallocator.k8s.io") {
            continue;
        }
        let parent = |field| str_at(one, &["spec", "parentRef", field]);
        let held = services.iter().any(|service| {
            namespace(service) == parent("namespace")
                && name(service) == parent("name")
                && ips_of(service).iter().any(|ip| ip == name(one))
        });
        if !held {
            give_back(api, &[name(one).to_owned()], &[], (0, 0)).await;
        }
    }
    let range = (*allocation.node_ports.start(), *allocation.node_ports.end());
    ensure_range(api, range, false).await?;
    let map = map_of(range, &services).encode();
    let change = |object: &mut Value| {
        set(object, &["data"], map.as_str());
        Ok(())
    };
    api.modify(&ranges(), None, "", PORTS_OBJECT, false, &change).await?;
    Ok(())
}
