//! Request bodies.

use super::limits::Memory;
use super::refusal::Refusal;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Reads a body of at most `longest` bytes. What has come counts against `memory` until the permit goes.
pub(super) async fn read(
    body: Body,
    headers: &HeaderMap,
    longest: usize,
    patience: Duration,
    memory: &Arc<Memory>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > longest) {
        return Err(Refusal::TooLong);
    }
    let all = async {
        let mut chunks = body.into_data_stream();
        let mut read = Vec::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Refusal::Broken)?;
            if chunk.len() > longest - read.len() {
                return Err(Refusal::TooLong);
            }
            let more = memory.take(chunk.len()).ok_or(Refusal::Busy)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            read.extend_from_slice(&chunk);
        }
        Ok((Bytes::from(read), held))
    };
    tokio::time::timeout(patience, all).await.map_err(|_| Refusal::TooSlow)?
}

/// Whether the headers announce JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// What is wrong with a body that holds no message.
pub(super) fn fault(body: &[u8]) -> Refusal {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match serde_json::from_slice::<IgnoredAny>(body) {
        Err(_) => Refusal::Syntax,
        // `IgnoredAny` goes deeper than messages may.
        Ok(_) if serde_json::from_slice::<serde_json::Value>(body).is_err() => Refusal::Syntax,
        Ok(_) if first == Some(&b'[') => Refusal::Batch,
        Ok(_) => Refusal::NoMessage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    async fn read_chunks(chunks: Vec<&'static [u8]>, longest: usize) -> Result<Bytes, Refusal> {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
        let body = Body::from_stream(stream::iter(chunks));
        let memory = Arc::new(Memory::new(1 << 20));
        read(body, &HeaderMap::new(), longest, Duration::from_secs(1), &memory).await.map(|(body, _)| body)
    }

    #[tokio::test]
    async fn a_body_may_be_as_long_as_allowed_and_no_byte_longer() {
        assert_eq!(read_chunks(vec![b"1234", b"5678"], 8).await, Ok(Bytes::from_static(b"12345678")));
        assert_eq!(read_chunks(vec![b"1234", b"56789"], 8).await, Err(Refusal::TooLong));
        assert_eq!(read_chunks(vec![], 8).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_body_announced_as_too_long_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, 9.into());
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let memory = Arc::new(Memory::new(1 << 20));
        let refused = read(body, &headers, 8, Duration::from_secs(1), &memory).await;
        assert_eq!(refused.err(), Some(Refusal::TooLong));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let memory = Arc::new(Memory::new(1 << 20));
        let refused = read(body, &HeaderMap::new(), 8, Duration::from_secs(30), &memory).await;
        assert_eq!(refused.err(), Some(Refusal::TooSlow));
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let memory = Arc::new(Memory::new(64 << 10));
        let body = || Body::from(vec![b' '; 40 << 10]);
        let headers = HeaderMap::new();
        let read = || read(body(), &headers, 1 << 20, Duration::from_secs(1), &memory);
        let first = read().await.unwrap();
        assert_eq!(read().await.err(), Some(Refusal::Busy));
        drop(first);
        assert!(read().await.is_ok());
    }

    #[test]
    fn faults_are_told_apart() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        let table: [(&[u8], Refusal); 7] = [
            (b"", Refusal::Syntax),
            (b"{\"jsonrpc\":", Refusal::Syntax),
            (b"{\"a\":\"\xff\"}", Refusal::Syntax),
            (&deep, Refusal::Syntax),
            (b" [{}, {}]", Refusal::Batch),
            (b"{\"method\":1}", Refusal::NoMessage),
            (b"\"ping\"", Refusal::NoMessage),
        ];
        for (body, refusal) in table {
            let shown = String::from_utf8_lossy(&body[..body.len().min(30)]);
            assert_eq!(fault(body), refusal, "{shown}");
        }
    }
}
