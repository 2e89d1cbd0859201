//! `healthCheckNodePort`: tells load balancers whether this node has endpoints of a service.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::ruleset::ServiceKey;

/// A request that takes longer is cut off.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: usize = 4096;

type State = (ServiceKey, usize);

/// The ports that are served.
#[derive(Debug, Default)]
pub(crate) struct HealthPorts {
    serving: BTreeMap<u16, (watch::Sender<State>, JoinHandle<()>)>,
}

impl HealthPorts {
    /// Serves exactly these.
    pub(crate) async fn update(&mut self, wanted: BTreeMap<u16, State>) {
        let gone: Vec<u16> =
            self.serving.keys().filter(|port| !wanted.contains_key(port)).copied().collect();
        for port in gone {
            if let Some((_, task)) = self.serving.remove(&port) {
                task.abort();
            }
        }
        for (port, state) in wanted {
            if let Some((sender, _)) = self.serving.get(&port) {
                sender.send_if_modified(|old| {
                    let changed = *old != state;
                    *old = state;
                    changed
                });
                continue;
            }
            // On a host without IPv6 the first fails.
            let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let bound = match TcpListener::bind(everywhere).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
            };
            match bound {
                Ok(listener) => {
                    let (sender, receiver) = watch::channel(state);
                    let task = tokio::spawn(serve(listener, receiver));
                    self.serving.insert(port, (sender, task));
                }
                Err(error) => {
                    let service = format!("{}/{}", state.0.namespace, state.0.name);
                    tracing::warn!(port, service, %error, "cannot serve a health check port");
                }
            }
        }
    }
}

impl Drop for HealthPorts {
    fn drop(&mut self) {
        self.serving.values().for_each(|(_, task)| task.abort());
    }
}

async fn serve(listener: TcpListener, state: watch::Receiver<State>) {
    // Load balancers ask one question at a time; so they are answered.
    while let Ok((stream, _)) = listener.accept().await {
        let text = answer(&state.borrow());
        let _cut_off_or_left = timeout(REQUEST_LIMIT, reply(stream, text)).await;
    }
}

async fn reply(mut stream: TcpStream, text: String) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn answer((service, count): &State) -> String {
    let status = if *count > 0 { "200 OK" } else { "503 Service Unavailable" };
    let body = serde_json::json!({
        "service": { "namespace": &*service.namespace, "name": &*service.name },
        "localEndpoints": count,
        "serviceProxyHealthy": true,
    })
    .to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
         X-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(port: u16) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    #[tokio::test]
    async fn a_port_follows_its_service() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut ports = HealthPorts::default();
        let key = ServiceKey::new("default", "web");
        ports.update([(port, (key.clone(), 2))].into()).await;
        let text = ask(port).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(text.contains("\"localEndpoints\":2"), "{text}");
        ports.update([(port, (key, 0))].into()).await;
        assert!(ask(port).await.unwrap().starts_with("HTTP/1.1 503"));
        ports.update(BTreeMap::new()).await;
        assert!(ask(port).await.is_none_or(|text| text.is_empty()));
    }
}
