//! Relaying with the Alt-Svc header removed: HTTP-level, because header compression leaves no other way.
//!
//! Requests and bodies pass unchanged and unbuffered; of responses only `alt-svc` (RFC 7838) is missing. Both legs speak the same
//! version of HTTP, since leg 1 was given the ALPN of leg 2.
//!
//! Tasks: server and client connection run inside the caller's task; hyper's HTTP/2 streams are spawned into the epoch.

use std::sync::Arc;

use http::header::ALT_SVC;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::rt::Executor;
use hyper::server::conn::{http1 as server1, http2 as server2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;

use super::intercept::Legs;
use crate::gateway::Epoch;

/// Requests one client may have open at a time; as many as leg 2's peer is likely to allow.
const MAX_STREAMS: u32 = 256;
/// HTTP/2's ALPN name (RFC 9113 §3.2).
const H2: &[u8] = b"h2";

/// Serves one connection until either side ends it.
pub(super) async fn serve(legs: Legs, epoch: &Arc<Epoch>) {
    let version_2 = legs.server.get_ref().1.alpn_protocol() == Some(H2);
    let ended = if version_2 { serve_2(legs, epoch).await } else { serve_1(legs).await };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection broke off");
    }
}

async fn serve_1(Legs { client, server }: Legs) -> hyper::Result<()> {
    let (requests, upstream) =
        client1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(server)).await?;
    // HTTP/1.1 answers in order, one at a time; the lock is never contended.
    let requests = Arc::new(Mutex::new(requests));
    let service = service_fn(move |request: Request<Incoming>| {
        let requests = requests.clone();
        async move {
            let mut requests = requests.lock().await;
            requests.ready().await?;
            requests.send_request(request).await.map(strip)
        }
    });
    let downstream = server1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(client), service);
    let (mut downstream, mut upstream) = (Box::pin(downstream), std::pin::pin!(upstream));
    // The arm that is cut is finished orderly: leg 2 ends when leg 1, which holds its request handle, is gone.
    tokio::select! {
        ended = &mut downstream => {
            drop(downstream);
            upstream.await?;
            ended
        }
        ended = &mut upstream => {
            downstream.as_mut().graceful_shutdown();
            downstream.await?;
            ended
        }
    }
}

async fn serve_2(Legs { client, server }: Legs, epoch: &Arc<Epoch>) -> hyper::Result<()> {
    let executor = InEpoch(epoch.clone());
    let (requests, upstream) = client2::Builder::new(executor.clone()).handshake(TokioIo::new(server)).await?;
    let service = service_fn(move |request: Request<Incoming>| {
        let mut requests = requests.clone();
        async move {
            requests.ready().await?;
            requests.send_request(request).await.map(strip)
        }
    });
    let downstream = server2::Builder::new(executor)
        .max_concurrent_streams(MAX_STREAMS)
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(client), service);
    let (mut downstream, mut upstream) = (Box::pin(downstream), std::pin::pin!(upstream));
    // The arm that is cut is finished orderly: leg 2 ends when leg 1, which holds its request handle, is gone.
    tokio::select! {
        ended = &mut downstream => {
            drop(downstream);
            upstream.await?;
            ended
        }
        ended = &mut upstream => {
            downstream.as_mut().graceful_shutdown();
            downstream.await?;
            ended
        }
    }
}

fn strip(mut response: Response<Incoming>) -> Response<Incoming> {
    response.headers_mut().remove(ALT_SVC);
    response
}

/// Spawns hyper's tasks where they are watched and where they end with the behaviour.
#[derive(Clone)]
struct InEpoch(Arc<Epoch>);

impl<F> Executor<F> for InEpoch
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let ended = self.0.ended.clone();
        self.0.connections.spawn(async move {
            ended.run_until_cancelled(task).await;
        });
    }
}
