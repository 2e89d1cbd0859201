//! The demo web server: what the built-in images `ferry.local/demo:v1`, `:v2` and `:v3` run.
//!
//! On SIGTERM it answers what has already been accepted or waits in the listener's queue, then
//! ends: a client whose connection the kernel took is never dropped.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base::drain::Drain;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// The largest body that `/echo` gives back.
const ECHO_LIMIT: usize = 1 << 20;
/// Longest time, in milliseconds, and most memory, in MiB, that `/burn` takes.
const BURN_MS_MAX: u64 = 600_000;
const BURN_MIB_MAX: usize = 4096;

/// When no connection came for so long, none is on its way: with a busy processor, the packets of
/// one wait for their turn in the kernel.
const QUIET: Duration = Duration::from_millis(50);
/// So long new connections are taken after the order to end, if they never cease.
const LAST_CALL: Duration = Duration::from_secs(5);
/// How long a connection that was taken may be without a request when the server ends.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(1);

struct Demo {
    version: String,
    hostname: String,
    /// The paths that were told to fail.
    failing: Mutex<BTreeSet<String>>,
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run() -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(serve())
}

async fn serve() -> Result<()> {
    let port: u16 = match std::env::var("PORT") {
        Ok(text) => text.parse().with_context(|| format!("PORT={text} is no port number"))?,
        Err(_) => 8080,
    };
    // Before the listener: a signal that comes in between must not end the process uncleanly.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let demo = Arc::new(Demo {
        version: std::env::var("FERRY_DEMO_VERSION").unwrap_or_else(|_| "v1".to_owned()),
        hostname: nix::unistd::gethostname()?.to_string_lossy().into_owned(),
        failing: Mutex::default(),
    });
    println!("demo {} listens on {address}", demo.version);
    let (drain, tasks) = (Drain::new(), TaskTracker::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { tasks.spawn(connection(demo.clone(), stream, drain.clone())); }
                Err(error) => eprintln!("cannot accept a connection: {error}"),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // What the kernel has shaken hands with, or is about to, is taken before the listener closes.
    let last_call = tokio::time::Instant::now() + LAST_CALL;
    loop {
        let quiet = last_call.min(tokio::time::Instant::now() + QUIET);
        let Ok(Ok((stream, _))) = tokio::time::timeout_at(quiet, listener.accept()).await else {
            break;
        };
        tasks.spawn(connection(demo.clone(), stream, drain.clone()));
    }
    drop(listener);
    drain.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn connection(demo: Arc<Demo>, stream: TcpStream, drain: Drain) {
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(Notify::new());
    let service = service_fn({
        let asked = asked.clone();
        move |request| {
            asked.notify_one();
            let demo = demo.clone();
            async move { Ok::<_, Infallible>(demo.answer(request).await) }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = first_request(&drain, &asked) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended
        && !error.is_incomplete_message()
    {
        eprintln!("a connection ended early: {error}");
    }
}

/// Waits for the end, and then for the connection's first request: hyper closes a connection that
/// it has read nothing of, though its request may lie in the socket.
async fn first_request(drain: &Drain, asked: &Notify) {
    drain.cancelled().await;
    // A connection without a request by then wants none.
    let _ = tokio::time::timeout(FIRST_REQUEST_WAIT, asked.notified()).await;
}

impl Demo {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::PUT, path) if path.starts_with("/fail/") => {
                self.failing.lock().insert(path["/fail".len()..].to_owned());
                text(StatusCode::OK, format!("{} fails from now on\n", &path["/fail".len()..]))
            }
            (&Method::DELETE, path) if path.starts_with("/fail/") => {
                self.failing.lock().remove(&path["/fail".len()..]);
                text(StatusCode::OK, format!("{} is well again\n", &path["/fail".len()..]))
            }
            (_, path @ ("/healthy" | "/ready")) => {
                if self.failing.lock().contains(path) {
                    text(StatusCode::INTERNAL_SERVER_ERROR, "told to fail\n".to_owned())
                } else {
                    text(StatusCode::OK, "ok\n".to_owned())
                }
            }
            (_, "/") => text(
                StatusCode::OK,
                format!("This is {} running in pod {}\n", self.version, self.hostname),
            ),
            (_, "/env") => {
                let mut lines: Vec<_> =
                    std::env::vars().map(|(key, value)| format!("{key}={value}\n")).collect();
                lines.sort();
                text(StatusCode::OK, lines.concat())
            }
            (_, "/headers") => {
                let lines = request.headers().iter().map(|(name, value)| {
                    format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
                });
                text(StatusCode::OK, lines.collect())
            }
            (_, "/echo") => echo(request).await,
            (_, "/burn") => burn(request.uri().query().unwrap_or_default()).await,
            _ => text(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
        }
    }
}

async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    match http_body_util::Limited::new(request.into_body(), ECHO_LIMIT).collect().await {
        Ok(body) => Response::new(Full::new(body.to_bytes())),
        Err(error) => text(StatusCode::PAYLOAD_TOO_LARGE, format!("cannot echo: {error}\n")),
    }
}

/// Uses `cpu` milliseconds of processor time while holding `mem` MiB.
async fn burn(query: &str) -> Response<Full<Bytes>> {
    let number = |name: &str| -> u64 {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_default()
    };
    let cpu_ms = number("cpu").min(BURN_MS_MAX);
    let mem_mib = usize::try_from(number("mem")).unwrap_or(usize::MAX).min(BURN_MIB_MAX);
    let burnt = tokio::task::spawn_blocking(move || {
        // Written to, so that the pages are really there.
        let held = vec![1_u8; mem_mib << 20];
        let end = tokio::time::Instant::now() + Duration::from_millis(cpu_ms);
        let mut turns = 0_u64;
        while tokio::time::Instant::now() < end {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        std::hint::black_box(&held).len()
    })
    .await;
    match burnt {
        Ok(bytes) => {
            text(StatusCode::OK, format!("burnt {cpu_ms} ms while holding {bytes} bytes\n"))
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot burn: {error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_request_that_comes_after_the_end_on_a_connection_from_before_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let demo = Demo {
            version: "v1".to_owned(),
            hostname: "here".to_owned(),
            failing: Mutex::default(),
        };
        let drain = Drain::new();
        drain.cancel();
        let served = tokio::spawn(connection(Arc::new(demo), stream, drain));
        // Served until it waits: the end has been seen before the request is sent.
        tokio::task::yield_now().await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("This is v1 running in pod here\n"), "{answer}");
        served.await.unwrap();
    }
}
