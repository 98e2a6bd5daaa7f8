//! What a metric is.

/// The type, as Prometheus knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Untyped,
}

/// See the module documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Without the prefix that its page gives it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// A number of some kind of thing.
#[derive(Clone, Copy)]
pub(super) struct Reading<T: ?Sized> {
    /// RabbitMQ's family, by which `/metrics/detailed` is asked.
    pub(super) family: &'static str,
    pub(super) metric: Metric,
    pub(super) read: fn(&T) -> f64,
}

/// A number that only rises.
pub(super) const fn counter<T: ?Sized>(
    family: &'static str,
    name: &'static str,
    help: &'static str,
    read: fn(&T) -> f64,
) -> Reading<T> {
    let kind = Kind::Counter;
    Reading {
        family,
        metric: Metric { name, kind, help },
        read,
    }
}

/// A number that rises and falls.
pub(super) const fn gauge<T: ?Sized>(
    family: &'static str,
    name: &'static str,
    help: &'static str,
    read: fn(&T) -> f64,
) -> Reading<T> {
    let kind = Kind::Gauge;
    Reading {
        family,
        metric: Metric { name, kind, help },
        read,
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}
