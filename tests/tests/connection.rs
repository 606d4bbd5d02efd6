//! The way to a store as people meet it: no credentials, wrong endpoints and regions, certificates, proxies. Each error
//! is one sentence that says what to set.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::network::{Authority, Certificate, Listening, answer};
use intellistor_tests::program::{Client, Output};

fn sandbox() -> AgentSandbox {
    let sandbox = AgentSandbox::new("connection");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    sandbox
}

fn list(client: &Client) -> Output {
    client.run(["list", "--policy", "policy.yaml"])
}

/// The error of `list`, which says all of `words`.
#[track_caller]
fn refused(client: &Client, code: i32, words: &[&str]) -> String {
    let output = list(client).expect(code);
    let message = output.json["error"]["message"].as_str().unwrap().to_owned();
    for word in words {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
    message
}

fn at(client: &Client, endpoint: &str) -> Client {
    client.clone().var("AWS_ENDPOINT_URL", endpoint)
}

/// A client of a server that always gives the same answer.
fn answered(answer: impl Into<Vec<u8>>) -> (AgentSandbox, Listening, Client) {
    let (sandbox, server) = (sandbox(), Listening::canned(answer));
    let client = at(&sandbox.client, &format!("http://{}", server.address()));
    (sandbox, server, client)
}

fn error(code: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>It was refused.</Message>{more}</Error>"
    )
}

#[test]
fn no_credentials_are_told_at_once_with_where_they_were_looked_for() {
    let sandbox = sandbox();
    // A metadata service that takes connections and never answers, as a firewall makes of it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = sandbox
        .client
        .clone()
        .var("AWS_ACCESS_KEY_ID", "")
        .var("AWS_SECRET_ACCESS_KEY", "")
        .var("HOME", sandbox.dir())
        .var("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", silent.local_addr().unwrap()));
    let begun = Instant::now();
    let output = list(&client).expect(2);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let message = output.json["error"]["message"].as_str().unwrap();
    for word in
        ["no credentials", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "~/.aws/credentials", "role of an instance"]
    {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    let run = client.agent().run(["run", "--policy", "policy.yaml"]).expect(2);
    assert_eq!(run.json["error"]["category"], "configuration", "{:#}", run.json);
}

#[test]
fn a_metadata_service_that_is_switched_off_has_no_credentials() {
    let sandbox = sandbox();
    let metadata = Listening::canned(answer("403 Forbidden", &[], ""));
    let client = sandbox
        .client
        .clone()
        .var("AWS_ACCESS_KEY_ID", "")
        .var("AWS_SECRET_ACCESS_KEY", "")
        .var("HOME", sandbox.dir())
        .var("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", metadata.address()));
    refused(&client, 2, &["no credentials", "AWS_ACCESS_KEY_ID", "~/.aws/credentials", "switched off"]);
}

#[test]
fn the_role_of_an_instance_is_used() {
    let sandbox = sandbox();
    let variables: std::collections::HashMap<_, _> = sandbox.server.env().into_iter().collect();
    let (key, secret) = (&variables["AWS_ACCESS_KEY_ID"], &variables["AWS_SECRET_ACCESS_KEY"]);
    let role = format!(
        r#"{{"Code":"Success","AccessKeyId":"{key}","SecretAccessKey":"{secret}","Token":"t","Expiration":"2099-01-01T00:00:00Z"}}"#
    );
    let metadata = Listening::answering(move |line| {
        let body = match line {
            line if line.contains("/security-credentials/backup-role") => &role,
            line if line.contains("/security-credentials/") => "backup-role",
            _ => "token",
        };
        answer("200 OK", &["x-aws-ec2-metadata-token-ttl-seconds: 60"], body).into()
    });
    let client = sandbox
        .client
        .clone()
        .var("AWS_ACCESS_KEY_ID", "")
        .var("AWS_SECRET_ACCESS_KEY", "")
        .var("HOME", sandbox.dir())
        // It would hide the metadata service.
        .var("HTTP_PROXY", "http://127.0.0.1:1")
        .var("NO_PROXY", sandbox.server.address().to_string())
        .var("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", metadata.address()));
    list(&client).expect(0);
    assert!(metadata.seen().iter().any(|line| line.contains("backup-role")), "{:?}", metadata.seen());
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_at_once() {
    let sandbox = sandbox();
    for endpoint in ["localhost:9000", "minio", "http//minio:9000", "ftp://minio"] {
        let begun = Instant::now();
        refused(&at(&sandbox.client, endpoint), 2, &["AWS_ENDPOINT_URL", endpoint, "https://host:port"]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{endpoint}");
    }
    let own = sandbox.client.clone().var("AWS_ENDPOINT_URL_S3", "minio");
    refused(&own, 2, &["AWS_ENDPOINT_URL_S3"]);
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let sandbox = sandbox();
    let client = sandbox.client.clone().var("AWS_ENDPOINT_URL_S3", "").var("AWS_DEFAULT_REGION", "");
    let client = client
        .var("AWS_PROFILE", "")
        .var("AWS_CA_BUNDLE", "")
        .var("SSL_CERT_FILE", "")
        .var("HTTPS_PROXY", "");
    list(&client).expect(0);
    // No endpoint is AWS: the message is of the real service, which is not there, or of its refusal.
    let aws = at(&sandbox.client, "").var("HTTPS_PROXY", "http://127.0.0.1:1");
    let message = list(&aws).json["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("AWS S3 in us-east-1") && message.contains("HTTPS_PROXY"), "{message}");
}

#[test]
fn another_region_is_named() {
    let redirect =
        answer("301 Moved Permanently", &["x-amz-bucket-region: eu-west-1"], &error("PermanentRedirect", ""));
    let malformed =
        answer("400 Bad Request", &[], &error("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"));
    for canned in [redirect, malformed] {
        let (_place, _server, client) = answered(canned);
        refused(&client, 2, &["in region eu-west-1", "Set AWS_REGION=eu-west-1"]);
    }
}

#[test]
fn an_archived_object_names_its_class_and_what_to_call() {
    let canned = answer(
        "403 Forbidden",
        &[],
        &error("InvalidObjectState", "<StorageClass>DEEP_ARCHIVE</StorageClass>"),
    );
    let (_place, _server, client) = answered(canned);
    let key = "backups/connection/20261123T020000Z/7d1f/backup.tar.gz.enc";
    let output = client.run(["restore", "--policy", "policy.yaml", "--key", key, "--out", "r"]).expect(1);
    let message = output.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("DEEP_ARCHIVE") && message.contains("restore-object"), "{message}");
    assert!(!message.contains("permission"), "{message}");
}

#[test]
fn a_missing_bucket_is_said_once() {
    let sandbox = sandbox();
    let client = sandbox.client.clone().var("AWS_S3_BUCKET", "no-such-bucket");
    let message = refused(&client, 1, &["no-such-bucket", "the bucket does not exist", "create it"]);
    assert_eq!(message.matches("NoSuchBucket").count(), 1, "{message}");
}

/// A run says at once that it stops, and at its end why: the log is not tried on a store that was just found to be of no use.
#[test]
fn a_store_that_cannot_be_used_is_not_asked_for_the_log_too() {
    let sandbox = sandbox();
    let no_bucket = Listening::canned(answer("404 Not Found", &[], &error("NoSuchBucket", "")));
    let missing = at(&sandbox.client, &format!("http://{}", no_bucket.address()));
    let other_secret = sandbox.client.clone().var("AWS_SECRET_ACCESS_KEY", "another");
    let tls = at(&sandbox.client, &format!("https://{}", sandbox.server.address()));
    for (client, code, word) in [
        (missing, 1, "NoSuchBucket"),
        (other_secret, 1, "SignatureDoesNotMatch"),
        (tls, 2, "does not speak TLS"),
    ] {
        let run = client.agent().run(["run", "--policy", "policy.yaml"]).expect(code);
        let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains(word)).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(!run.stderr.contains("log could not be sent"), "{}", run.stderr);
    }
    // It goes with the next run.
    let run = sandbox.client.agent().run(["run", "--policy", "policy.yaml"]).expect(0);
    assert!(run.json["log"]["s3"].is_string(), "{:#}", run.json);
}

#[test]
fn the_wrong_scheme_is_named_both_ways() {
    let sandbox = sandbox();
    let plain = sandbox.server.address();
    refused(
        &at(&sandbox.client, &format!("https://{plain}")),
        2,
        &["does not speak TLS", "write http://", "AWS_ENDPOINT_URL"],
    );
    for said in
        ["Client sent an HTTP request to an HTTPS server.", "The plain HTTP request was sent to HTTPS port"]
    {
        let (_place, _server, client) = answered(answer("400 Bad Request", &[], said));
        refused(&client, 2, &["expects TLS", "write https://"]);
    }
    // What OpenSSL sends: an alert.
    let (_place, _server, client) = answered([0x15, 3, 1, 0, 2, 2, 70]);
    refused(&client, 2, &["does not speak HTTP", "write https://"]);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (sandbox, authority) = (sandbox(), Authority::named("the store's"));
    fs::write(sandbox.at("ca.pem"), authority.pem()).unwrap();
    for (certificate, words) in [
        (Certificate::Expired, ["expired on", "2020-01-01"]),
        (Certificate::OtherName, ["for other host names", "other.example"]),
        (Certificate::AnAuthoritys, ["CaUsedAsEndEntity", "CA:FALSE"]),
    ] {
        let tls = Listening::tls(&authority, certificate, sandbox.server.address());
        let client = at(&sandbox.client, &format!("https://{}", tls.address()));
        let client = client.var("AWS_CA_BUNDLE", sandbox.at("ca.pem"));
        refused(&client, 1, &words);
    }
    let tls = Listening::tls(&authority, Certificate::Good, sandbox.server.address());
    let client = at(&sandbox.client, &format!("https://{}", tls.address()));
    refused(&client, 1, &["UnknownIssuer", "the authorities of this system", "AWS_CA_BUNDLE"]);
    for name in ["the store's", "another"] {
        fs::write(sandbox.at("other.pem"), Authority::named(name).pem()).unwrap();
        let client = client.clone().var("AWS_CA_BUNDLE", sandbox.at("other.pem"));
        refused(&client, 1, &["was not issued by any of", "other.pem"]);
    }
}

#[test]
fn a_name_that_is_not_known_and_a_port_where_nothing_listens_are_said() {
    let sandbox = sandbox();
    let port = Listening::canned("").address().port();
    refused(
        &at(&sandbox.client, "http://no-such-host.invalid:9000"),
        1,
        &["cannot resolve", "no-such-host.invalid"],
    );
    refused(
        &at(&sandbox.client, &format!("http://127.0.0.1:{port}")),
        1,
        &["connection refused by", &port.to_string()],
    );
}

fn tls_place() -> (AgentSandbox, Listening, Client) {
    let (sandbox, authority) = (sandbox(), Authority::named("the store's"));
    fs::write(sandbox.at("ca.pem"), authority.pem()).unwrap();
    let tls = Listening::tls(&authority, Certificate::Good, sandbox.server.address());
    let client = at(&sandbox.client, &format!("https://{}", tls.address()));
    (sandbox, tls, client)
}

#[test]
fn an_authority_of_ones_own_is_trusted_by_each_variable() {
    let (sandbox, _tls, client) = tls_place();
    fs::create_dir(sandbox.at("authorities")).unwrap();
    fs::copy(sandbox.at("ca.pem"), sandbox.at("authorities/ca.pem")).unwrap();
    for (variable, path) in
        [("AWS_CA_BUNDLE", "ca.pem"), ("SSL_CERT_FILE", "ca.pem"), ("SSL_CERT_DIR", "authorities")]
    {
        let client = client.clone().var(variable, sandbox.at(path));
        client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        list(&client).expect(0);
    }
    for (variable, path) in [("AWS_CA_BUNDLE", "missing.pem"), ("SSL_CERT_FILE", "policy.yaml")] {
        refused(&client.clone().var(variable, sandbox.at(path)), 2, &[variable, path]);
    }
}

#[test]
fn a_proxy_is_taken_unless_no_proxy_names_the_host() {
    let (sandbox, tls, client) = tls_place();
    let client = client.var("AWS_CA_BUNDLE", sandbox.at("ca.pem"));
    let connect = format!("CONNECT {} HTTP/1.1", tls.address());
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let proxy = Listening::proxy(None);
        let client = client.clone().var(variable, format!("http://{}", proxy.address()));
        client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        assert!(proxy.seen().contains(&connect), "{variable}: {:?}", proxy.seen());
        let before = proxy.seen().len();
        for except in ["127.0.0.1", "127.0.0.0/8", "example.com, 127.0.0.1", &tls.address().to_string(), "*"]
        {
            list(&client.clone().var("NO_PROXY", except)).expect(0);
            assert_eq!(proxy.seen().len(), before, "NO_PROXY={except}");
        }
        list(&client.clone().var("NO_PROXY", "10.0.0.0/8,example.com")).expect(0);
        assert!(proxy.seen().len() > before);
    }
    // Without TLS the request itself goes through.
    let proxy = Listening::proxy(None);
    let plain = sandbox.client.clone().var("HTTP_PROXY", format!("http://{}", proxy.address()));
    plain.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    assert!(proxy.seen().iter().any(|line| line.contains(" http://127.0.0.1:")), "{:?}", proxy.seen());
}

#[test]
fn a_proxy_that_is_away_or_wants_a_password_is_named_without_it() {
    let (sandbox, _tls, client) = tls_place();
    let client = client.var("AWS_CA_BUNDLE", sandbox.at("ca.pem"));
    let away = Listening::canned("").address();
    let through = client.clone().var("HTTPS_PROXY", format!("http://ana:hush@{away}"));
    let message =
        refused(&through, 1, &[&format!("connection refused by the proxy http://{away}"), "HTTPS_PROXY"]);
    assert!(!message.contains("hush"), "{message}");
    let proxy = Listening::proxy(Some("ana:s3nha"));
    let without = client.clone().var("HTTPS_PROXY", format!("http://{}", proxy.address()));
    refused(&without, 1, &["asks for credentials", "407", "user:password@"]);
    let with = client.clone().var("HTTPS_PROXY", format!("http://ana:s3nha@{}", proxy.address()));
    list(&with).expect(0);
    let socks = client.clone().var("HTTPS_PROXY", "socks5://127.0.0.1:1080");
    refused(&socks, 2, &["HTTPS_PROXY", "SOCKS"]);
}

#[test]
fn a_folder_that_refuses_does_not_blame_credentials() {
    let sandbox = sandbox();
    let folder = |path: &Path| {
        let policy = format!(
            "policy_id: p\npaths: ['{}']\nstore: 'file://{}'\n",
            sandbox.source().display(),
            path.display()
        );
        fs::write(sandbox.at("folder.yaml"), policy).unwrap();
        sandbox.client.run(["-q", "backup", "--policy", "folder.yaml"]).expect(1)
    };
    // /proc takes no file, whoever asks.
    let message = folder(Path::new("/proc/self/store")).json["error"]["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("credentials") && !message.contains("space"), "{message}");
}
