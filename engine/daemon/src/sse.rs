//! Server-sent events as the bench speaks them: numbered events with JSON data, a heartbeat comment, and a last event `bye`, so that a
//! reader can tell an end from a cut.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::json;

use crate::Shutdown;

/// Name of the last event; its data is `{"reason": "end"}` or `{"reason": "stopping"}`.
pub const BYE: &str = "bye";
/// A comment line goes out when nothing else did for this long.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Answers with `events` as (event name, data), numbered from `first_id` upwards, and `bye` at the end of the stream or when `shutdown`
/// is requested. Data that cannot be serialised ends the stream with `bye` and the reason `failed`.
pub fn sse<T: Serialize + Send + 'static>(
    first_id: u64,
    events: impl Stream<Item = (&'static str, T)> + Send + 'static,
    shutdown: Shutdown,
) -> Response {
    let serialised = events.map(|(name, data)| (name, serde_json::to_string(&data)));
    let stopping = async move { shutdown.requested().await };
    let open = stream::once(async { Step::End("end") });
    let steps = serialised
        .map(|(name, data)| match data {
            Ok(data) => Step::Data(name, data),
            Err(error) => {
                tracing::error!(%error, event = name, "an event cannot be serialised");
                Step::End("failed")
            }
        })
        .chain(open);
    let steps = stream::select(steps.boxed(), stream::once(stopping).map(|()| Step::End("stopping")).boxed());
    let numbered = steps.scan((first_id, false), |(id, ended), step| {
        let event = (!*ended).then(|| {
            let event = match step {
                Step::Data(name, data) => Event::default().event(name).data(data),
                Step::End(reason) => {
                    *ended = true;
                    Event::default().event(BYE).data(json!({ "reason": reason }).to_string())
                }
            };
            let numbered = event.id(id.to_string());
            *id += 1;
            (Ok::<Event, Infallible>(numbered), *ended)
        });
        std::future::ready(event)
    });
    // Ends right after `bye`, without waiting for one more item.
    let until_bye = stream::unfold((numbered.boxed(), false), |(mut events, ended)| async move {
        if ended {
            return None;
        }
        let (event, last) = events.next().await?;
        Some((event, (events, last)))
    });
    Sse::new(until_bye).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")).into_response()
}

enum Step {
    Data(&'static str, String),
    End(&'static str),
}
