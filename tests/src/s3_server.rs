//! A real S3 server on 127.0.0.1, in a thread of this process, with credentials on. [`Traffic`] tells what it
//! was asked, lets it misbehave, and waits for what child processes do. It is `s3s` over `s3s-fs`, and where
//! those lack something, ours: a table of uploads that answers as S3 does.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use intellistor_storage::objects::{Retry, RetryPolicy, S3Store, SharedStore};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

mod service;
mod traffic;
mod uploads;
mod wire;

use traffic::Counted;
pub use traffic::{Dialect, Done, Failure, Traffic};
pub use uploads::{SeenUpload, UploadState};

const ACCESS_KEY: &str = "AKIATESTTESTTESTTEST";
const SECRET_KEY: &str = "secret/of+the+test/server+0123456789abcd";
/// The bucket that exists.
pub const BUCKET: &str = "backups-test";

/// Whether to listen, and whom to tell when that is so.
type Order = (bool, mpsc::Sender<()>);

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    traffic: Arc<Traffic>,
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Serves `folder`, with one empty bucket.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).unwrap();
        let traffic = Arc::new(Traffic::default());
        let files = Arc::new(FileSystem::new(folder).unwrap());
        let mut builder = S3ServiceBuilder::new(service::HonestService {
            folder: folder.to_owned(),
            files,
            traffic: traffic.clone(),
            completing: Arc::default(),
        });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let (orders, taken) = unbounded_channel();
        let (ready, bound) = mpsc::channel();
        let counted = traffic.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(service, counted, taken, &ready));
            runtime.shutdown_background();
        });
        let endpoint = format!("http://{}", bound.recv().unwrap());
        let server = Self { endpoint, traffic, orders: Some(orders), thread: Some(thread) };
        server.listen_again();
        server
    }

    /// Cuts every connection and refuses new ones; no other program gets the port.
    pub fn stop_listening(&self) {
        self.order(false);
    }

    /// Takes connections again, on the same port.
    pub fn listen_again(&self) {
        self.order(true);
    }

    fn order(&self, listen: bool) {
        let (done, carried_out) = mpsc::channel();
        self.orders.as_ref().expect("the server runs").send((listen, done)).unwrap();
        carried_out.recv().unwrap();
    }

    /// Waits until all that dead clients had sent is carried out, and no client is left.
    pub fn wait_until_alone(&self) {
        // Connections are taken in their order: once this one is answered, those before it were taken.
        let mut socket = std::net::TcpStream::connect(self.endpoint.trim_start_matches("http://")).unwrap();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
        drop(socket);
        self.traffic.wait_until(Traffic::is_at_rest);
    }

    /// What it was asked, and how it is to misbehave.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.trim_start_matches("http://").parse().unwrap()
    }

    /// The variables that a child process needs to use the server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_S3_BUCKET", BUCKET.to_owned()),
        ]
    }

    /// The metadata of an object.
    ///
    /// # Panics
    /// When there is no such object.
    pub fn metadata(&self, key: &str) -> HashMap<String, String> {
        let client = aws_sdk_s3::Client::from_conf(self.config(SECRET_KEY));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let head = runtime.block_on(client.head_object().bucket(BUCKET).key(key).send());
        head.unwrap().metadata.unwrap_or_default()
    }

    /// The bucket as a store, with retries.
    pub fn store(&self) -> SharedStore {
        let policy =
            RetryPolicy { first_delay: std::time::Duration::from_millis(5), ..RetryPolicy::default() };
        Arc::new(Retry::new(Arc::new(self.bare_store(BUCKET, SECRET_KEY)), policy))
    }

    /// A bucket that need not exist, without retries.
    pub fn other_bucket(&self, bucket: &str) -> S3Store {
        self.bare_store(bucket, SECRET_KEY)
    }

    /// Any bucket with any secret, without retries.
    pub fn bare_store(&self, bucket: &str, secret: &str) -> S3Store {
        S3Store::new(self.config(secret), bucket, "")
    }

    /// What is under a prefix of the bucket, without retries.
    pub fn store_under(&self, prefix: &str) -> S3Store {
        S3Store::new(self.config(SECRET_KEY), BUCKET, prefix)
    }

    fn config(&self, secret: &str) -> aws_sdk_s3::Config {
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(ACCESS_KEY, secret, None, None, "test"))
            .force_path_style(true)
            .build()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the server shows in the test that it failed.
            let _ = thread.join();
        }
    }
}

/// Serves until the orders end.
async fn run(
    service: S3Service,
    traffic: Arc<Traffic>,
    mut orders: UnboundedReceiver<Order>,
    ready: &mpsc::Sender<SocketAddr>,
) {
    // Bound and never listening: it reserves the port while the server is down.
    let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = reserved.local_addr().unwrap();
    ready.send(address).unwrap();
    let (mut listener, mut connections) = (None, JoinSet::new());
    loop {
        tokio::select! {
            socket = accept(listener.as_ref()) => {
                connections.spawn(serve(socket, service.clone(), traffic.clone()));
                while connections.try_join_next().is_some() {}
            }
            order = orders.recv() => {
                let Some((listen, done)) = order else { return };
                if listen {
                    listener = listener.or_else(|| Some(bind(address).listen(1024).unwrap()));
                } else {
                    listener = None;
                    connections.shutdown().await;
                }
                done.send(()).unwrap();
            }
        }
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        // A connection that broke before it was taken is none.
        if let Ok((socket, _)) = listener.accept().await {
            return socket;
        }
    }
}

async fn serve(socket: TcpStream, service: S3Service, traffic: Arc<Traffic>) {
    let _open = Counted::busy(traffic.clone());
    let answer = service_fn(|request| wire::answer(request, service.clone(), traffic.clone()));
    let builder = Builder::new(TokioExecutor::new());
    // A connection that breaks is the client's to report.
    let _ = builder.serve_connection(TokioIo::new(socket), answer).await;
}
