//! What may lie between a program and its store: TLS with an authority of its own, a proxy, a server that always gives the
//! same answer. Each listens on 127.0.0.1, in a thread of this process.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A certificate authority that no system trusts.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new one, also where another has the name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The certificate that trusts it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    fn server(&self, certificate: Certificate) -> ServerConfig {
        let names = match certificate {
            Certificate::OtherName => vec!["other.example".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        if certificate == Certificate::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        if certificate == Certificate::AnAuthoritys {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        config.with_single_cert(vec![signed.der().clone()], key.into()).unwrap()
    }
}

/// A server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// For localhost and 127.0.0.1.
    Good,
    /// The same, until 2020.
    Expired,
    /// For other.example.
    OtherName,
    /// One of an authority, shown as a server's.
    AnAuthoritys,
}

/// Something that listens; dropping it stops it.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Listening {
    /// TLS in front of a server without.
    pub fn tls(authority: &Authority, certificate: Certificate, behind: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(certificate)));
        Self::serve(move |socket, _| {
            let acceptor = acceptor.clone();
            async move {
                let mut inner = acceptor.accept(socket).await?;
                let mut outer = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut inner, &mut outer).await.map(drop)
            }
        })
    }

    /// A proxy, for those who have `user:password` if it wants that.
    pub fn proxy(credentials: Option<&str>) -> Self {
        let wanted = credentials.map(|text| base64::engine::general_purpose::STANDARD.encode(text));
        Self::serve(move |socket, seen| proxy(socket, seen, wanted.clone()))
    }

    /// Answers each request with the same bytes, and closes.
    pub fn canned(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering(move |_| answer.clone())
    }

    /// Answers a request by its first line, and closes.
    pub fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::serve(move |mut socket, seen| {
            let answer = answer.clone();
            async move {
                let line = first_line(&head(&mut socket).await?);
                let bytes = answer(&line);
                seen.lock().unwrap().push(line);
                socket.write_all(&bytes).await?;
                socket.shutdown().await
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first lines of all that it was asked.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn serve<F>(serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (ready, bound) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        // A connection that breaks is the client's to report.
                        if let Ok((socket, _)) = listener.accept().await {
                            tokio::spawn(serve(socket, shared.clone()));
                        }
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address: bound.recv().unwrap(), stop: Some(stop), thread: Some(thread), seen }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it shows in the test that it failed.
            let _ = thread.join();
        }
    }
}

/// An answer in XML, as S3's errors are.
pub fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

async fn proxy(
    mut socket: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    wanted: Option<String>,
) -> io::Result<()> {
    let head = head(&mut socket).await?;
    let line = first_line(&head);
    seen.lock().unwrap().push(line.clone());
    if let Some(wanted) = wanted
        && !String::from_utf8_lossy(&head).to_lowercase().contains(&format!("basic {wanted}").to_lowercase())
    {
        socket.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await?;
        return Ok(());
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    if line.starts_with("CONNECT ") {
        let mut outer = TcpStream::connect(target).await?;
        socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return copy_bidirectional(&mut socket, &mut outer).await.map(drop);
    }
    let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut outer = TcpStream::connect(host).await?;
    outer.write_all(&head).await?;
    copy_bidirectional(&mut socket, &mut outer).await.map(drop)
}

/// A request up to its body, and what of that came with it.
async fn head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn first_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()
}
