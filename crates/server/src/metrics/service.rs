//! The paths that Prometheus scrapes, and what may be asked of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use everack_broker::name::Name;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::census::Census;
use super::page::{Format, Page};
use super::{consumers, everack, rabbitmq};
use crate::http::Node;

/// Scrapes at one time. More are told to come back.
const SCRAPES_MAX: usize = 2;
/// How long a scrape may take, the wait for the machines included. Prometheus itself waits ten seconds.
const SCRAPE_MAX: Duration = Duration::from_secs(30);

struct Service {
    node: Arc<Node>,
    places: Semaphore,
    /// How high the counters of `/metrics` were.
    heights: Arc<Mutex<HashMap<String, f64>>>,
}

/// What a scrape wants.
enum Wanted {
    Aggregated,
    PerObject,
    Detailed {
        families: HashSet<String>,
        vhosts: HashSet<Name>,
    },
}

/// The paths of a node.
pub(crate) fn router(node: Node) -> Router {
    let service = Service {
        node: Arc::new(node),
        places: Semaphore::new(SCRAPES_MAX),
        heights: Arc::default(),
    };
    Router::new()
        .route("/metrics", get(aggregated))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
        .with_state(Arc::new(service))
}

async fn aggregated(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    scrape(&service, &headers, Wanted::Aggregated).await
}

async fn per_object(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    scrape(&service, &headers, Wanted::PerObject).await
}

async fn detailed(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    scrape(&service, &headers, Wanted::detailed(&query.unwrap_or_default())).await
}

async fn scrape(service: &Service, headers: &HeaderMap, wanted: Wanted) -> Response {
    let busy = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let Ok(_place) = service.places.try_acquire() else {
        return busy("too many scrapes at one time\n");
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    let text = tokio::time::timeout(SCRAPE_MAX, render(service, format, wanted)).await;
    match text {
        Ok(Ok(Some(text))) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Ok(None)) => {
            busy("there is too much for one page: ask /metrics/detailed for some families or vhosts\n")
        }
        Ok(Err(())) | Err(_) => busy("the broker did not answer in time\n"),
    }
}

/// A page of ten thousand queues takes some tens of milliseconds, which no other connection's task is to wait for.
async fn render(service: &Service, format: Format, wanted: Wanted) -> Result<Option<String>, ()> {
    let census = Census::take(service.node.clone(), wanted.each_consumer());
    let census = census.await.map_err(drop)?;
    let heights = service.heights.clone();
    let rendering = tokio::task::spawn_blocking(move || write(census, format, &wanted, &heights));
    rendering.await.map_err(drop)
}

fn write(
    mut census: Census,
    format: Format,
    wanted: &Wanted,
    heights: &Mutex<HashMap<String, f64>>,
) -> Option<String> {
    match wanted {
        Wanted::Aggregated => {
            let mut heights = heights.lock();
            let mut page = Page::new(format, Some(&mut heights));
            rabbitmq::aggregated(&census, &mut page);
            everack::aggregated(&census, &mut page);
            consumers::aggregated(&census, &mut page);
            page.finish()
        }
        Wanted::PerObject => {
            let mut page = Page::new(format, None);
            rabbitmq::per_object(&census, &mut page);
            everack::per_object(&census, &mut page);
            consumers::one_by_one(&census, &mut page);
            page.finish()
        }
        Wanted::Detailed { families, vhosts } => {
            if !vhosts.is_empty() {
                census.narrow(vhosts);
            }
            let mut page = Page::new(format, None);
            rabbitmq::detailed(&census, &mut page, families);
            if families.contains(everack::BALANCE_FAMILY) {
                everack::balances(&census, &mut page);
            }
            if wanted.each_consumer() {
                consumers::one_by_one(&census, &mut page);
            }
            page.finish()
        }
    }
}

impl Wanted {
    /// `family=...` and `vhost=...`, each as often as wanted.
    fn detailed(query: &str) -> Self {
        let uri = format!("/?{query}").parse::<axum::http::Uri>();
        let pairs = uri.ok().and_then(|uri| {
            let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
            read.ok().map(|axum::extract::Query(pairs)| pairs)
        });
        let (mut families, mut vhosts) = (HashSet::new(), HashSet::new());
        for (key, value) in pairs.unwrap_or_default() {
            match key.as_str() {
                "family" => drop(families.insert(value)),
                "vhost" => drop(vhosts.insert(Name::from(value.as_str()))),
                _ => {}
            }
        }
        Self::Detailed { families, vhosts }
    }

    /// Whether the page has consumers one by one.
    fn each_consumer(&self) -> bool {
        match self {
            Self::Aggregated => false,
            Self::PerObject => true,
            Self::Detailed { families, .. } => families.contains(consumers::FAMILY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_vhosts_are_read() {
        let query = "family=queue_metrics&family=channel_metrics&vhost=%2F&vhost=a%20b&other=1";
        let Wanted::Detailed { families, vhosts } = Wanted::detailed(query) else {
            panic!("it is what was asked for");
        };
        assert_eq!(families.len(), 2);
        assert!(families.contains("channel_metrics"));
        assert!(vhosts.contains(&Name::from("/")) && vhosts.contains(&Name::from("a b")));
        let Wanted::Detailed { families, .. } = Wanted::detailed("") else {
            panic!("it is what was asked for");
        };
        assert!(families.is_empty());
    }
}
