//! `/health`, `/ready` and `/metrics`, on CoreDNS' ports.

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: usize = 8192;

/// A path's answer: the status and the text, when they are known.
pub(crate) type Page = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Said> + Send>> + Send + Sync>;
/// A status and a text.
pub(crate) type Said = (&'static str, String);

/// Serves one page on a port until it is dropped.
pub(crate) async fn serve(listener: TcpListener, path: &'static str, page: Page) {
    while let Ok((stream, _)) = listener.accept().await {
        let page = page.clone();
        tokio::spawn(async move {
            let _cut_off_or_left = timeout(REQUEST_LIMIT, reply(stream, path, page)).await;
        });
    }
}

async fn reply(mut stream: TcpStream, path: &str, page: Page) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&request);
    let asked = line.split_whitespace().nth(1).unwrap_or_default();
    let asked = asked.split('?').next().unwrap_or_default();
    let (status, body) = if asked == path {
        page().await
    } else {
        ("404 Not Found", format!("only {path} is served here\n"))
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
