//! `bench requests`: sends requests without pause, a new connection each, and counts every one.
//!
//! Ends after a number of requests, or at SIGTERM or SIGINT, and prints one line of JSON: how many
//! were answered, by which answers, how many failed and why, and how long the slowest took. Those
//! that failed or took a second are told one by one, with the port that they came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cli::clap::{Arg, ArgMatches, Command, value_parser};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// From here on a request is told of by itself.
const SLOW: Duration = Duration::from_secs(1);
/// So many are told of by themselves.
const NOTABLE_MAX: usize = 20;

pub(super) fn command() -> Command {
    Command::new("requests")
        .about("Send HTTP requests, a new connection each, and count every one")
        .arg(Arg::new("url").long("url").required(true).help("http://ADDRESS[:PORT][/PATH]"))
        .arg(
            Arg::new("count")
                .long("count")
                .value_parser(value_parser!(u64))
                .default_value("0")
                .help("How many; without end by default"),
        )
        .arg(
            Arg::new("concurrency")
                .long("concurrency")
                .value_parser(value_parser!(usize))
                .default_value("4")
                .help("How many at a time"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .default_value("10s")
                .help("A request that takes longer has failed"),
        )
}

/// What came of all requests.
#[derive(Debug, Default, Serialize)]
struct Tally {
    requests: u64,
    failed: u64,
    slowest_ms: f64,
    total_ms: f64,
    /// Answers by their first two words after "This is", or by status.
    versions: BTreeMap<String, u64>,
    /// Answers by whole text.
    answers: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    /// The first that failed or were slow.
    notable: Vec<Notable>,
}

/// A request that failed or was slow.
#[derive(Debug, Serialize)]
struct Notable {
    /// When it began, after the first one's beginning.
    at_ms: u128,
    took_ms: u128,
    /// How far it came.
    stage: Stage,
    /// The client's end of the connection.
    from: Option<SocketAddr>,
    error: Option<String>,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    /// The connection was being made.
    #[default]
    Connect,
    /// The request was being sent.
    Send,
    /// The answer was waited for, or read.
    Receive,
}

/// Where a request is on its way.
#[derive(Debug, Default)]
struct Course {
    stage: Stage,
    /// The connection's socket, which knows its port before it is connected.
    socket: Option<std::net::TcpStream>,
}

struct Target {
    address: SocketAddr,
    request: String,
    timeout: Duration,
}

pub(super) async fn run(args: &ArgMatches) -> Result<ExitCode> {
    let text = |name: &str| args.get_one::<String>(name).map_or("", String::as_str);
    let target = Arc::new(target(text("url"), cli::parse_duration(text("timeout"))?)?);
    let wanted = args.get_one::<u64>("count").copied().unwrap_or_default();
    let concurrency = args.get_one::<usize>("concurrency").copied().unwrap_or(1).max(1);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let (begun, tally) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Tally::default())));
    let start = Instant::now();
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (target, stop) = (target.clone(), stop.clone());
            let (begun, tally) = (begun.clone(), tally.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    if wanted > 0 && begun.fetch_add(1, Ordering::Relaxed) >= wanted {
                        return;
                    }
                    let from = Instant::now();
                    let mut course = Course::default();
                    let answer =
                        tokio::time::timeout(target.timeout, target.ask(&mut course)).await;
                    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("timed out")));
                    tally.lock().add(answer, from - start, from.elapsed(), &course);
                }
            })
        })
        .collect();
    let all = futures::future::join_all(workers);
    tokio::pin!(all);
    tokio::select! {
        _ = &mut all => {}
        _ = terminate.recv() => { stop.cancel(); all.await; }
        _ = interrupt.recv() => { stop.cancel(); all.await; }
    }
    let mut tally = std::mem::take(&mut *tally.lock());
    tally.total_ms = start.elapsed().as_secs_f64() * 1000.0;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn target(url: &str, timeout: Duration) -> Result<Target> {
    let rest = url.strip_prefix("http://").context("--url must begin with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let address = with_port.parse();
    let Ok(address) = address else {
        bail!("--url {url}: the host must be an address, so that names cost nothing");
    };
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    Ok(Target { address, request, timeout })
}

impl Target {
    /// One request on a connection of its own: the body of a 200, or what went wrong.
    async fn ask(&self, course: &mut Course) -> Result<String> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.context("connect")?;
        let known = socket.as_fd().try_clone_to_owned().context("connect")?;
        course.socket = Some(std::net::TcpStream::from(known));
        let mut stream = socket.connect(self.address).await.context("connect")?;
        course.stage = Stage::Send;
        stream.write_all(self.request.as_bytes()).await.context("send")?;
        course.stage = Stage::Receive;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.context("receive")?;
        let answer = String::from_utf8_lossy(&answer);
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            bail!("receive: the answer is cut off after {} bytes", answer.len());
        };
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            bail!("status {status}");
        }
        Ok(body.trim_end().to_owned())
    }
}

impl Tally {
    fn add(&mut self, answer: Result<String>, began: Duration, took: Duration, course: &Course) {
        if (answer.is_err() || took >= SLOW) && self.notable.len() < NOTABLE_MAX {
            self.notable.push(Notable {
                at_ms: began.as_millis(),
                took_ms: took.as_millis(),
                stage: course.stage,
                from: course.socket.as_ref().and_then(|socket| socket.local_addr().ok()),
                error: answer.as_ref().err().map(|error| format!("{error:#}")),
            });
        }
        self.requests += 1;
        self.slowest_ms = self.slowest_ms.max(took.as_secs_f64() * 1000.0);
        match answer {
            Ok(body) => {
                let version = body.strip_prefix("This is ").and_then(|rest| rest.split(' ').next());
                *self.versions.entry(version.unwrap_or("other").to_owned()).or_default() += 1;
                *self.answers.entry(body).or_default() += 1;
            }
            Err(error) => {
                self.failed += 1;
                *self.errors.entry(format!("{error:#}")).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_address_and_request() {
        let check = |url: &str, address: &str, line: &str| {
            let target = target(url, Duration::ZERO).unwrap();
            assert_eq!(target.address.to_string(), address);
            assert!(target.request.starts_with(line), "{}", target.request);
        };
        check("http://10.0.0.1/", "10.0.0.1:80", "GET / HTTP/1.1");
        check("http://10.0.0.1:8080/a?b", "10.0.0.1:8080", "GET /a?b HTTP/1.1");
        assert!(target("http://name/", Duration::ZERO).is_err());
    }

    #[tokio::test]
    async fn answers_and_failures_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for answer in
                ["HTTP/1.1 200 OK\r\n\r\nThis is v1 x\n", "HTTP/1.1 500 No\r\n\r\n", "HTT"]
            {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let target = target(&url, Duration::from_secs(5)).unwrap();
        let mut tally = Tally::default();
        for _ in 0..3 {
            let mut course = Course::default();
            let answer = target.ask(&mut course).await;
            tally.add(answer, Duration::ZERO, Duration::ZERO, &course);
        }
        server.await.unwrap();
        assert_eq!((tally.requests, tally.failed, tally.versions["v1"]), (3, 2, 1));
        assert_eq!(tally.notable.len(), 2, "those that failed");
        assert!(tally.notable.iter().all(|one| one.from.is_some()), "and where they came from");
    }
}
