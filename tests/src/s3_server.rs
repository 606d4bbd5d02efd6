//! A real S3 server on 127.0.0.1, in a thread of this process, with credentials on. It counts what it is asked,
//! and can be told to misbehave.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use intellistor_storage::objects::{Retry, RetryPolicy, S3Store, SharedStore};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const ACCESS_KEY: &str = "AKIATESTTESTTESTTEST";
const SECRET_KEY: &str = "secret/of+the+test/server+0123456789abcd";
/// The bucket that exists.
pub const BUCKET: &str = "backups-test";

/// What the server was asked, and how it is to misbehave.
#[derive(Debug, Default)]
pub struct Traffic {
    parts: Mutex<BTreeMap<u32, u32>>,
    bytes_served: AtomicU64,
    refuse_parts: AtomicU32,
    cut_parts: AtomicU32,
    alter_parts: AtomicU32,
}

impl Traffic {
    /// How often each part number was stored.
    pub fn parts(&self) -> BTreeMap<u32, u32> {
        self.parts.lock().unwrap().clone()
    }

    /// Bytes of bodies in answers to GET.
    pub fn bytes_served(&self) -> u64 {
        self.bytes_served.load(Ordering::SeqCst)
    }

    /// Answers the next `n` parts with 503 SlowDown.
    pub fn refuse_parts(&self, n: u32) {
        self.refuse_parts.store(n, Ordering::SeqCst);
    }

    /// How many parts are still to be answered so.
    pub fn refusals_left(&self) -> u32 {
        self.refuse_parts.load(Ordering::SeqCst)
    }

    /// Cuts the connection under the next `n` parts.
    pub fn cut_parts(&self, n: u32) {
        self.cut_parts.store(n, Ordering::SeqCst);
    }

    /// Flips a bit of the next `n` parts before the server sees them.
    pub fn alter_parts(&self, n: u32) {
        self.alter_parts.store(n, Ordering::SeqCst);
    }
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    traffic: Arc<Traffic>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Serves `folder`, with one empty bucket.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let traffic = Arc::new(Traffic::default());
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::channel();
        let counted = traffic.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, service, counted) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let endpoint = format!("http://{}", bound.recv().unwrap());
        Self { endpoint, traffic, stop: Some(stop), thread: Some(thread) }
    }

    /// The counters.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
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
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(ACCESS_KEY, secret, None, None, "test"))
            .force_path_style(true)
            .build();
        S3Store::new(config, bucket, "")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the server shows in the test that it failed.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service, traffic: Arc<Traffic>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (service, traffic) = (service.clone(), traffic.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, service.clone(), traffic.clone()));
            let builder = Builder::new(TokioExecutor::new());
            // A connection that breaks is the client's to report.
            let _ = builder.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// The request is dropped without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    traffic: Arc<Traffic>,
) -> Result<Response<s3s::Body>, Cut> {
    let query = request.uri().query().unwrap_or_default();
    let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse::<u32>().ok());
    let part = part.filter(|_| *request.method() == Method::PUT);
    let is_get = *request.method() == Method::GET;
    if part.is_some() {
        if take_one(&traffic.cut_parts) {
            return Err(Cut);
        }
        if take_one(&traffic.refuse_parts) {
            let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            let mut response = Response::new(s3s::Body::from(body.to_owned()));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(response);
        }
    }
    let mut request = request.map(s3s::Body::from);
    if part.is_some() && take_one(&traffic.alter_parts) {
        let (head, body) = request.into_parts();
        let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
        bytes[0] ^= 1;
        request = Request::from_parts(head, s3s::Body::from(Bytes::from(bytes)));
    }
    let response = match service.call(request).await {
        Ok(response) => response,
        Err(error) => panic!("the test server failed: {error:?}"),
    };
    if let Some(number) = part.filter(|_| response.status().is_success()) {
        *traffic.parts.lock().unwrap().entry(number).or_default() += 1;
    }
    if is_get {
        traffic.bytes_served.fetch_add(response.body().size_hint().lower(), Ordering::SeqCst);
    }
    Ok(response)
}

fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}
