//! Accepts HTTP connections within limits: how many at a time, how long each may take, how much it may send before it is
//! understood. What is answered is the router's business.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::caller::Peer;
use super::unread::Unread;
use crate::shutdown::Closing;

/// How long a client may take over the head of a request, the wait for the next one on the same connection included.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a connection may live. A client that reads nothing gives its place back after that.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long accepting pauses when the system has no room for another socket.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the process begins to stop. More than `connections_max` at a time are closed at once.
pub async fn run(socket: TcpListener, router: Router, connections_max: usize, mut closing: Closing) {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = closing.requested() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!(%peer, "HTTP connection refused: http.connections_max is reached");
            continue;
        };
        // An answer is written in one piece; waiting for more would only add delay.
        let _ = stream.set_nodelay(true);
        let (router, closing) = (router.clone(), closing.clone());
        tokio::spawn(async move {
            serve_within(stream, peer, router, closing).await;
            drop(place);
        });
    }
}

/// What stands for the address of who is on this machine without one.
pub(super) fn here() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Serves a connection to its end, for as long as one may live and the process does not begin to stop.
pub(super) async fn serve_within<S>(stream: S, peer: SocketAddr, router: Router, mut closing: Closing)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::select! {
        () = serve(stream, peer, router) => {}
        () = tokio::time::sleep(CONNECTION_MAX) => {}
        () = closing.requested() => {}
    }
}

/// A slash at the end of a path means nothing, as in RabbitMQ.
fn pass_over_last_slash<B>(request: &mut Request<B>) {
    let path = request.uri().path();
    let short = path.trim_end_matches('/');
    if short.len() == path.len() || short.is_empty() {
        return;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{short}?{query}"),
        None => short.to_owned(),
    };
    if let Ok(uri) = target.parse() {
        *request.uri_mut() = uri;
    }
}

/// Answers when the whole request has come, whether anybody wanted it or not.
async fn answer(router: Router, request: Request<hyper::body::Incoming>) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let (body, unread) = Unread::of(body, &head.headers);
    let answer = router.oneshot(Request::from_parts(head, Body::new(body))).await;
    if let Some(unread) = unread {
        unread.throw_away().await;
    }
    answer
}

async fn serve<S>(stream: S, peer: SocketAddr, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        pass_over_last_slash(&mut request);
        answer(router.clone(), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "HTTP connection lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_means_nothing() {
        let check = |given: &str, expected: &str| {
            let mut request = Request::builder().uri(given).body(()).expect("it is a request");
            pass_over_last_slash(&mut request);
            assert_eq!(request.uri().to_string(), expected, "{given}");
        };
        check("/api/queues/", "/api/queues");
        check("/api/queues//?page=1", "/api/queues?page=1");
        check("/api/queues/%2f", "/api/queues/%2f");
        check("/api/queues", "/api/queues");
        check("/", "/");
    }
}
