//! A listening socket with HTTP behind it, with bounds on what a peer may take its time with.

use axum::Router;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::Either;
use hyper_util::rt::TokioTimer;
use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A head that is not complete by then is not waited for.
const HEAD: Duration = Duration::from_secs(15);
/// Streams of one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Where to listen, and with what.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    pub address: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// Connections at a time; those above it are closed at once.
    pub connections: usize,
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why a listener is not there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{address} is taken by another program; stop it, or choose another address")]
    Taken { address: SocketAddr },
    #[error("can not listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("certificate {} with key {}: {source}", .files.certificate.display(), .files.key.display())]
    Tls { files: TlsFiles, source: io::Error },
}

impl ListenError {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::Listen { .. } => "listen",
            Self::Tls { .. } => "tls",
        }
    }
}

/// A socket that is bound and not served yet: others can still be tried before anything begins.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<(RustlsConfig, TlsFiles)>,
    connections: usize,
}

/// A socket that is served. Dropping it closes every connection.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    handle: axum_server::Handle<SocketAddr>,
    tls: Option<(RustlsConfig, TlsFiles)>,
    task: JoinHandle<io::Result<()>>,
}

impl Bound {
    pub async fn bind(config: ListenerConfig) -> Result<Self, ListenError> {
        let tls = match config.tls {
            Some(files) => {
                let loaded = RustlsConfig::from_pem_file(&files.certificate, &files.key).await;
                match loaded {
                    Ok(loaded) => Some((loaded, files)),
                    Err(source) => return Err(ListenError::Tls { files, source }),
                }
            }
            None => None,
        };
        let address = config.address;
        let listen = || -> io::Result<(TcpListener, SocketAddr)> {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        match listen() {
            Ok((socket, address)) => Ok(Self { socket, address, tls, connections: config.connections }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ListenError::Taken { address }),
            Err(source) => Err(ListenError::Listen { address, source }),
        }
    }

    /// The address with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a client on this machine reaches it.
    pub fn url(&self) -> String {
        url(self.address, self.tls.is_some())
    }

    /// Begins to serve. Requests carry the address they came from as `ConnectInfo<SocketAddr>`.
    pub fn serve(self, router: Router) -> Result<Listener, ListenError> {
        let address = self.address;
        let failed = |source| ListenError::Listen { address, source };
        let handle = axum_server::Handle::new();
        let limit = Limit { inner: NoDelayAcceptor, handle: handle.clone(), most: self.connections };
        let mut server = axum_server::from_tcp(self.socket).map_err(failed)?.handle(handle.clone());
        let builder = server.http_builder();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
        builder.http2().keep_alive_interval(Some(HEAD)).keep_alive_timeout(HEAD);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = match &self.tls {
            Some((tls, _)) => {
                let acceptor = RustlsAcceptor::new(tls.clone()).acceptor(limit);
                tokio::spawn(server.acceptor(acceptor).serve(service))
            }
            None => tokio::spawn(server.acceptor(limit).serve(service)),
        };
        Ok(Listener { address, handle, tls: self.tls, task })
    }
}

impl Listener {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        url(self.address, self.tls.is_some())
    }

    pub fn connections(&self) -> usize {
        self.handle.connection_count()
    }

    /// Reads certificate and key again, for connections from now on; the old ones stay where that fails.
    pub async fn reload_tls(&self) -> Result<(), ListenError> {
        let Some((tls, files)) = &self.tls else { return Ok(()) };
        let loaded = tls.reload_from_pem_file(&files.certificate, &files.key).await;
        loaded.map_err(|source| ListenError::Tls { files: files.clone(), source })
    }

    /// Accepts nothing more and waits for the requests that are being answered, `limit` at most.
    pub async fn drain(mut self, limit: Duration) {
        self.handle.graceful_shutdown(Some(limit));
        match (&mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a listener ended badly"),
            Err(error) => tracing::warn!(%error, "a listener's task failed"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.task.abort();
    }
}

/// An address that listens everywhere is reached on loopback.
fn url(mut address: SocketAddr, tls: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{}://{address}", if tls { "https" } else { "http" })
}

/// Refuses connections above the limit.
#[derive(Debug, Clone)]
struct Limit<A> {
    inner: A,
    handle: axum_server::Handle<SocketAddr>,
    most: usize,
}

impl<A, S> Accept<TcpStream, S> for Limit<A>
where
    A: Accept<TcpStream, S>,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Either<A::Future, Ready<io::Result<(A::Stream, A::Service)>>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // The connection at hand is counted already.
        if self.handle.connection_count() > self.most {
            tracing::debug!("a connection above the limit was closed");
            return Either::Right(ready(Err(io::Error::other("too many connections"))));
        }
        Either::Left(self.inner.accept(stream, service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    fn config(connections: usize) -> ListenerConfig {
        ListenerConfig { address: ([127, 0, 0, 1], 0).into(), tls: None, connections }
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let n = stream.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = Bound::bind(config(8)).await.unwrap();
        let again = ListenerConfig { address: first.address(), ..config(8) };
        let error = Bound::bind(again).await.unwrap_err();
        assert_eq!(error.kind(), "taken");
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }

    #[tokio::test]
    async fn connections_above_the_limit_are_closed_and_the_others_served() {
        let router = Router::new().route("/", get(|| async { "here" }));
        let listener = Bound::bind(config(2)).await.unwrap().serve(router).unwrap();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(listener.address()).await.unwrap();
            assert!(ask(&mut stream).await.ends_with("here"));
            held.push(stream);
        }
        let mut third = TcpStream::connect(listener.address()).await.unwrap();
        assert_eq!(ask(&mut third).await, "");
        assert!(ask(&mut held[0]).await.ends_with("here"));
    }

    #[tokio::test]
    async fn draining_waits_for_what_is_being_answered() {
        let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asked_within, go_within) = (Arc::clone(&asked), Arc::clone(&go));
        let slow = move || {
            let (asked, go) = (Arc::clone(&asked_within), Arc::clone(&go_within));
            async move {
                asked.notify_one();
                go.notified().await;
                "late"
            }
        };
        let listener =
            Bound::bind(config(8)).await.unwrap().serve(Router::new().route("/", get(slow))).unwrap();
        let address = listener.address();
        let client = tokio::spawn(async move { ask(&mut TcpStream::connect(address).await.unwrap()).await });
        asked.notified().await;
        let drained = tokio::spawn(listener.drain(Duration::from_secs(30)));
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!drained.is_finished());
        go.notify_one();
        assert!(client.await.unwrap().ends_with("late"));
        drained.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let listener = Bound::bind(config(8)).await.unwrap().serve(Router::new()).unwrap();
        let mut stream = TcpStream::connect(listener.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(HEAD * 4, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open");
    }

    #[test]
    fn a_url_is_one_that_can_be_asked() {
        for (address, tls, expected) in [
            ("0.0.0.0:80", false, "http://127.0.0.1:80"),
            ("[::]:443", true, "https://[::1]:443"),
            ("10.0.0.7:8642", false, "http://10.0.0.7:8642"),
        ] {
            assert_eq!(url(address.parse().unwrap(), tls), expected);
        }
    }
}
