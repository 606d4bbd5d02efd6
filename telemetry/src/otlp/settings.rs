//! The standard variables that the SDK does not read itself.
//!
//! The SDK reads from the process's environment: endpoints, `..._HEADERS`, `..._TIMEOUT`, `..._INSECURE`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*`, `OTEL_TRACES_SAMPLER*`, `OTEL_SPAN_*_LIMIT`, `OTEL_METRIC_EXPORT_INTERVAL` and
//! `..._TEMPORALITY_PREFERENCE`. Whether anything is sent at all, and how, is decided here.

use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// How traces, or metrics, are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) protocol: Protocol,
    /// Whether the endpoint uses TLS.
    pub(super) https: bool,
    /// The file of certificate authorities that replaces the system's, and the variable that names it.
    pub(super) authorities: Option<(String, PathBuf)>,
}

/// What the standard variables ask for. At least one signal is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) traces: Option<Signal>,
    pub(super) metrics: Option<Signal>,
    pub(super) service_name: Option<String>,
    /// Whether the user set the time between two batches.
    pub(super) own_delay: bool,
}

/// Occurs when a variable has a value that is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

impl std::fmt::Display for BadSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

impl Settings {
    /// From the variables that `get` returns; `None` when nothing is sent.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, BadSetting> {
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (traces, metrics) = (signal("TRACES", &get)?, signal("METRICS", &get)?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let service_name = get("OTEL_SERVICE_NAME");
        let own_delay = get("OTEL_BSP_SCHEDULE_DELAY").is_some();
        Ok(Some(Self { traces, metrics, service_name, own_delay }))
    }
}

fn signal(name: &str, get: &impl Fn(&str) -> Option<String>) -> Result<Option<Signal>, BadSetting> {
    // The variable of one signal wins over that of both.
    let either = |what: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_{name}_{what}");
        let all = format!("OTEL_EXPORTER_OTLP_{what}");
        get(&own).map(|value| (own, value)).or_else(|| get(&all).map(|value| (all, value)))
    };
    let endpoint = either("ENDPOINT");
    let exporter = format!("OTEL_{name}_EXPORTER");
    match get(&exporter).as_deref() {
        Some("none") => return Ok(None),
        Some("otlp") => {}
        None if endpoint.is_some() => {}
        None => return Ok(None),
        Some(other) => {
            return Err(BadSetting(format!("{exporter}={other:?} is not supported; use `otlp` or `none`")));
        }
    }
    let protocol = match either("PROTOCOL") {
        None => Protocol::HttpProtobuf,
        Some((_, value)) if value.eq_ignore_ascii_case("http/protobuf") => Protocol::HttpProtobuf,
        Some((_, value)) if value.eq_ignore_ascii_case("grpc") => Protocol::Grpc,
        Some((variable, value)) => {
            return Err(BadSetting(format!(
                "{variable}={value:?} is not supported; use `grpc` or `http/protobuf`"
            )));
        }
    };
    let https = endpoint.is_some_and(|(_, url)| url.to_ascii_lowercase().starts_with("https:"));
    let authorities = either("CERTIFICATE").filter(|_| https).map(|(name, path)| (name, path.into()));
    Ok(Some(Signal { protocol, https, authorities }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, BadSetting> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::from_variables(find)
    }

    fn signals(variables: &[(&str, &str)]) -> (Option<Signal>, Option<Signal>) {
        read(variables).unwrap().map_or((None, None), |settings| (settings.traces, settings.metrics))
    }

    const HTTP: Signal = Signal { protocol: Protocol::HttpProtobuf, https: false, authorities: None };
    const GRPC: Signal = Signal { protocol: Protocol::Grpc, https: false, authorities: None };
    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");

    #[test]
    fn nothing_is_sent_unless_a_variable_asks_for_it() {
        assert_eq!(signals(&[]), (None, None));
        assert_eq!(signals(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), (None, None));
        assert_eq!(signals(&[("OTEL_SERVICE_NAME", "x")]), (None, None));
        assert_eq!(signals(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), (None, None));
        assert_eq!(signals(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), (None, Some(HTTP)));
    }

    #[test]
    fn one_endpoint_turns_both_on_and_one_for_a_signal_that_one() {
        assert_eq!(signals(&[ENDPOINT]), (Some(HTTP), Some(HTTP)));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HTTPS://c/v1/traces");
        assert_eq!(signals(&[traces]), (Some(Signal { https: true, ..HTTP }), None));
        assert_eq!(signals(&[("OTEL_METRICS_EXPORTER", "otlp")]), (None, Some(HTTP)));
    }

    #[test]
    fn certificate_authorities_are_for_tls() {
        let file = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/own.pem");
        let tls = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318");
        let (traces, metrics) = signals(&[tls, file, own]);
        assert_eq!(traces.unwrap().authorities, Some((file.0.to_owned(), file.1.into())));
        assert_eq!(metrics.unwrap().authorities, Some((own.0.to_owned(), own.1.into())));
        assert_eq!(signals(&[ENDPOINT, file]), (Some(HTTP), Some(HTTP)));
    }

    #[test]
    fn the_protocol_of_a_signal_wins() {
        let all = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(signals(&[ENDPOINT, all]), (Some(GRPC), Some(GRPC)));
        let metrics = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf");
        assert_eq!(signals(&[ENDPOINT, all, metrics]), (Some(GRPC), Some(HTTP)));
    }

    #[test]
    fn an_unsupported_value_is_named() {
        let text = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).unwrap_err().to_string();
        assert!(
            text.contains("OTEL_EXPORTER_OTLP_PROTOCOL=\"http/json\"") && text.contains("`grpc`"),
            "{text}"
        );
        let text = read(&[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err().to_string();
        assert!(text.contains("OTEL_TRACES_EXPORTER"), "{text}");
    }
}
