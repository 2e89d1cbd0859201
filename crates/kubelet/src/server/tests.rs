//! Streams over a real connection: a hand-made SPDY client against the session.

use bytes::{BufMut as _, BytesMut};
use container_runtime::ProcessStreams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::spdy::Session;
use super::spdy_exec;

/// A SYN_STREAM with its headers in a stored block.
fn open(id: u32, kind: &str, first: bool) -> BytesMut {
    let mut headers = BytesMut::new();
    headers.put_u32(1);
    for text in ["streamtype", kind] {
        headers.put_u32(u32::try_from(text.len()).unwrap());
        headers.put_slice(text.as_bytes());
    }
    let mut block = BytesMut::new();
    if first {
        block.put_slice(&[0x78, 0x01]);
    }
    let length = u16::try_from(headers.len()).unwrap();
    block.put_u8(0);
    block.put_u16_le(length);
    block.put_u16_le(!length);
    block.put_slice(&headers);
    let mut frame = BytesMut::new();
    frame.put_slice(&[0x80, 3, 0, 1]);
    frame.put_u32(u32::try_from(block.len() + 10).unwrap());
    frame.put_u32(id);
    frame.put_slice(&[0; 6]);
    frame.put_slice(&block);
    frame
}

#[tokio::test]
async fn an_exec_over_spdy_carries_input_output_and_the_exit_code() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let (stdin, mut stdin_end) = tokio::io::duplex(1024);
    let (mut stdout_end, stdout) = tokio::io::duplex(1024);
    let streams = ProcessStreams {
        stdin: Some(Box::new(stdin)),
        stdout: Some(Box::new(stdout)),
        stderr: None,
        resize: None,
        exit: Box::pin(async move {
            let mut said = String::new();
            stdin_end.read_to_string(&mut said).await.unwrap();
            stdout_end.write_all(said.to_uppercase().as_bytes()).await.unwrap();
            Ok(3)
        }),
    };
    let carrying = tokio::spawn(spdy_exec::carry(Session::start(server), 3, streams));
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        client.write_all(&open(id, kind, id == 1)).await.unwrap();
    }
    client.write_all(&[0, 0, 0, 3, 0, 0, 0, 2, b'h', b'i']).await.unwrap();
    client.write_all(&[0, 0, 0, 3, 1, 0, 0, 0]).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    carrying.await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("HI") && text.contains("\"reason\":\"ExitCode\""), "{text}");
    assert!(answer.windows(10).any(|window| window == [0, 0, 0, 5, 0, 0, 0, 2, b'H', b'I']));
}
