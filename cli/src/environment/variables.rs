//! The variables that an environment file may set: settings, which are data.
//!
//! Not among them is what decides what runs, or where that is looked for: `PATH`, `LD_*`, `HOME`, and the files in which
//! the AWS SDK finds a `credential_process` (`AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE`). A variable that is not listed is
//! refused by name, so that a mistyped one is found, too.

use intellistor::policy::{SECRET_PREFIX, SMTP_PASSWORD};

/// A variable, or all that begin so where it ends in `*`.
pub(super) const FROM_FILES: [&str; 47] = [
    "INTELLISTOR_KEY",
    "INTELLISTOR_KEY_FILE",
    "INTELLISTOR_PASSPHRASE",
    "INTELLISTOR_HOME",
    "INTELLISTOR_S3_ADDRESSING",
    "INTELLISTOR_S3_EQUAL_PARTS",
    "INTELLISTOR_MACHINE",
    "INTELLISTOR_RUN_AS_PASSWORD",
    "INTELLISTOR_SMTP_PASSWORD",
    "INTELLISTOR_NOTIFY_*",
    "INTELLISTOR_FORMAT",
    "AWS_S3_BUCKET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CA_BUNDLE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
    "AWS_S3_USE_ARN_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_SDK_UA_APP_ID",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
    "RUST_LOG",
    "NO_COLOR",
    "TMPDIR",
    "OTEL_*",
];

/// Those that only this program reads, and that programs which it starts must not see.
const SECRETS: [&str; 4] =
    ["INTELLISTOR_KEY", "INTELLISTOR_PASSPHRASE", "INTELLISTOR_RUN_AS_PASSWORD", SMTP_PASSWORD];

/// Whether only this program reads it, and programs which it starts must not see it: hooks are such programs.
pub(super) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name) || name.starts_with(SECRET_PREFIX)
}

/// Listed for a person at a terminal: a scheduled run does not need them.
const AT_A_TERMINAL: [&str; 6] =
    ["INTELLISTOR_RUN_AS_PASSWORD", "INTELLISTOR_FORMAT", "TZ", "RUST_LOG", "NO_COLOR", "TMPDIR"];

/// Of `INTELLISTOR_NOTIFY_*`, the names that the guides use.
const OF_NOTICES: [&str; 2] = ["INTELLISTOR_NOTIFY_URL", "INTELLISTOR_NOTIFY_TOKEN"];

/// Of `OTEL_*`, those that decide whether and where something is sent.
const OF_A_COLLECTOR: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

/// What a run needs and a scheduler does not pass on, where a shell has set it.
pub(crate) fn needed_by_runs() -> impl Iterator<Item = &'static str> {
    let listed = FROM_FILES.into_iter().filter(|name| !name.ends_with('*') && !AT_A_TERMINAL.contains(name));
    listed.chain(OF_NOTICES).chain(OF_A_COLLECTOR)
}

/// Where credentials may be found as well. They decide what runs, so that no environment file may set them.
pub(crate) const OF_THE_SHELL_ALONE: [&str; 6] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// Whether an environment file may set it.
pub(super) fn may_come_from_a_file(name: &str) -> bool {
    FROM_FILES.iter().any(|listed| match listed.strip_suffix('*') {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => *listed == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_what_runs_comes_from_no_file() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "HOME",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "XDG_CONFIG_HOME",
            "INTELLISTOR_KEYFILE",
            "INTELLISTOR_METRICS_DIR",
            "OTEL_",
            "aws_region",
        ] {
            assert!(!may_come_from_a_file(name), "{name}");
        }
        assert!(
            SECRETS
                .into_iter()
                .chain(["OTEL_SERVICE_NAME", "https_proxy", "INTELLISTOR_NOTIFY_URL"])
                .all(may_come_from_a_file)
        );
    }
}
