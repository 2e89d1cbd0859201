//! Node ports: which are taken, and which a service gets. Pure; [`super::alloc`] stores it.

use api::Value;
use api::field::{FieldError, Path};
use api::object::{at, int_at, set, str_at};
use base::rng::SharedRng;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::patch::{needs_health_port, needs_node_ports};

/// The ports of a range, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmap {
    low: u16,
    high: u16,
    bits: Vec<u8>,
}

/// Why a service gets no ports.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PortError {
    /// The caller asked for a port that it cannot have.
    Invalid(FieldError),
    /// The range is used up.
    Full(String),
}

impl Bitmap {
    /// A range with nothing taken.
    pub(crate) fn new(low: u16, high: u16) -> Self {
        let size = usize::from(high.saturating_sub(low)) + 1;
        Self { low, high, bits: vec![0; size.div_ceil(8)] }
    }

    /// What is stored, cut or grown to the range.
    pub(crate) fn decode(low: u16, high: u16, data: &str) -> Self {
        let mut map = Self::new(low, high);
        let stored = BASE64.decode(data).unwrap_or_default();
        for (own, stored) in map.bits.iter_mut().zip(stored) {
            *own = stored;
        }
        map
    }

    /// The form that is stored.
    pub(crate) fn encode(&self) -> String {
        BASE64.encode(&self.bits)
    }

    fn place(&self, port: i64) -> Option<(usize, u8)> {
        let port = u16::try_from(port).ok().filter(|port| (self.low..=self.high).contains(port))?;
        let offset = usize::from(port - self.low);
        Some((offset / 8, 1 << (offset % 8)))
    }

    fn has(&self, port: i64) -> bool {
        self.place(port).is_some_and(|(byte, bit)| self.bits[byte] & bit != 0)
    }

    /// Takes a port.
    pub(crate) fn take(&mut self, port: i64) -> Result<(), String> {
        let Some((byte, bit)) = self.place(port) else {
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.low, self.high
            ));
        };
        if self.bits[byte] & bit != 0 {
            return Err("provided port is already allocated".to_owned());
        }
        self.bits[byte] |= bit;
        Ok(())
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: i64) {
        if let Some((byte, bit)) = self.place(port) {
            self.bits[byte] &= !bit;
        }
    }

    /// Takes any port: from the upper part first, so that people may pick from the lower one
    /// without meeting the server (KEP-3668).
    pub(crate) fn take_any(&mut self, rng: &SharedRng) -> Result<i64, String> {
        let size = i64::from(self.high) - i64::from(self.low) + 1;
        let band = if size < 32 { 0 } else { (size / 32).clamp(16, 128) };
        for (from, to) in [(band, size), (0, band)] {
            let free: Vec<i64> = (from..to)
                .map(|offset| i64::from(self.low) + offset)
                .filter(|port| !self.has(*port))
                .collect();
            if free.is_empty() {
                continue;
            }
            let port = free[usize::try_from(rng.below(free.len() as u64)).unwrap_or_default()];
            self.take(port)?;
            return Ok(port);
        }
        Err("range is full".to_owned())
    }
}

/// The node ports of a service, its health check's too.
pub(crate) fn used(service: &Value) -> Vec<i64> {
    let mut ports: Vec<i64> = api::object::list_at(service, &["spec", "ports"])
        .iter()
        .filter_map(|port| int_at(port, &["nodePort"]))
        .chain(int_at(service, &["spec", "healthCheckNodePort"]))
        .filter(|port| *port != 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether a write may take or give back ports at all.
pub(crate) fn concerns(new: &Value, old: Option<&Value>) -> bool {
    needs_node_ports(new)
        || needs_health_port(new)
        || !used(new).is_empty()
        || old.is_some_and(|old| !used(old).is_empty())
}

/// Gives a service its ports, taking them from the map. `old` is the stored service, whose ports
/// are in the map already.
pub(crate) fn assign(
    service: &mut Value,
    old: Option<&Value>,
    map: &mut Bitmap,
    rng: &SharedRng,
) -> Result<(), PortError> {
    let mut own: Vec<i64> = old.map(used).unwrap_or_default();
    let allocates = needs_node_ports(service);
    let asked: Vec<(i64, i64)> = api::object::list_at(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let number = |field| int_at(port, &[field]).unwrap_or_default();
            (number("port"), number("nodePort"))
        })
        .collect();
    // One service port may be there for TCP and UDP: both get one node port.
    let mut by_port: Vec<(i64, i64)> = Vec::new();
    let count = asked.len();
    for index in 0..count {
        let (port, mut node) = asked[index];
        if node == 0 && !allocates {
            continue;
        }
        if node == 0 {
            let shared = by_port
                .iter()
                .chain(&asked[index..])
                .find(|(other, node)| old.is_none() && *other == port && *node != 0);
            node = match shared {
                Some((_, node)) => *node,
                None => map.take_any(rng).map_err(|why| {
                    PortError::Full(format!("failed to allocate a nodePort: {why}"))
                })?,
            };
            if shared.is_none() {
                own.push(node);
            }
        }
        if !own.contains(&node) {
            map.take(node).map_err(|why| {
                let path = Path::new("spec").child("ports").index(index).child("nodePort");
                PortError::Invalid(FieldError::invalid(path, node, why))
            })?;
            own.push(node);
        }
        by_port.push((port, node));
        if let Some(slot) = service["spec"]["ports"].get_mut(index) {
            slot["nodePort"] = node.into();
        }
    }
    health(service, &own, map, rng)
}

fn health(
    service: &mut Value,
    own: &[i64],
    map: &mut Bitmap,
    rng: &SharedRng,
) -> Result<(), PortError> {
    if !needs_health_port(service) {
        return Ok(());
    }
    let asked = int_at(service, &["spec", "healthCheckNodePort"]).unwrap_or_default();
    let port = if asked == 0 {
        map.take_any(rng).map_err(|why| {
            PortError::Full(format!("failed to allocate a HealthCheck NodePort : {why}"))
        })?
    } else {
        if !own.contains(&asked) {
            map.take(asked).map_err(|why| {
                PortError::Full(format!(
                    "failed to allocate requested HealthCheck NodePort {asked}: {why}"
                ))
            })?;
        }
        asked
    };
    set(service, &["spec", "healthCheckNodePort"], port);
    Ok(())
}

/// The range as the stored object says it.
pub(crate) fn range_text(low: u16, high: u16) -> String {
    format!("{low}-{high}")
}

/// The bitmap's text in a stored `RangeAllocation`.
pub(crate) fn data(range: &Value) -> &str {
    if at(range, &["data"]).is_some() { str_at(range, &["data"]) } else { "" }
}
