//! OpenTelemetry traces, in a binary built with the feature `otel`; in any other there are none.
//!
//! They are the spans that logs have too: a request on the socket or at an endpoint, a start, a turn, a
//! write. Where they go is said by OpenTelemetry's own variables, and without
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces alone) nothing is sent.

#[cfg(feature = "otel")]
pub(super) use with::{Traces, layer};
#[cfg(not(feature = "otel"))]
pub(super) use without::{Traces, layer};

#[cfg(not(feature = "otel"))]
mod without {
    use tracing_subscriber::layer::Identity;

    /// Nothing to be sent.
    pub(crate) struct Traces;

    pub(crate) fn layer() -> (Traces, Identity) {
        (Traces, Identity::new())
    }
}

#[cfg(feature = "otel")]
mod with {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use repod_proto::REPOD_VERSION;
    use tracing_subscriber::registry::LookupSpan;
    use tracing_subscriber::{EnvFilter, Layer};

    /// Where traces are sent, either of which makes them be sent.
    const ENDPOINTS: [&str; 2] =
        ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

    /// What sends traces; sends what is left when it is dropped, which must be outside of a runtime.
    pub(crate) struct Traces(Option<SdkTracerProvider>);

    /// Where they are wanted, a layer that takes every span from `debug` on, or as `REPOD_TRACES` (a filter
    /// like `REPOD_LOG`) says.
    pub(crate) fn layer<S>() -> (Traces, Option<impl Layer<S>>)
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_wanted = ENDPOINTS.iter().any(|name| std::env::var_os(name).is_some());
        let Some(provider) = is_wanted.then(provider).flatten() else {
            return (Traces(None), None);
        };
        let tracer = provider.tracer("repod");
        let filter = EnvFilter::try_from_env("REPOD_TRACES");
        let filter = filter.unwrap_or_else(|_| EnvFilter::new("off,repod=debug"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter);
        (Traces(Some(provider)), Some(layer))
    }

    fn provider() -> Option<SdkTracerProvider> {
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, "traces can't be sent");
                return None;
            }
        };
        let resource = Resource::builder()
            .with_service_name("repod")
            .with_attribute(opentelemetry::KeyValue::new("service.version", REPOD_VERSION))
            .build();
        Some(
            SdkTracerProvider::builder()
                .with_resource(resource)
                .with_batch_exporter(exporter)
                .build(),
        )
    }

    impl Drop for Traces {
        fn drop(&mut self) {
            if let Some(provider) = self.0.take()
                && let Err(error) = provider.shutdown()
            {
                tracing::warn!(%error, "the last traces were not sent");
            }
        }
    }
}
