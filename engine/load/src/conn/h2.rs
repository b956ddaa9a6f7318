//! HTTP/2: one task per connection whatever the number of streams; all requests that can start leave in one write, and all frames of
//! one read are answered together.
//!
//! Windows: 65535 bytes per stream as RFC 9411 §4.3.1.4 has it; the connection's is larger ([`Settings::default`]), so that streams
//! do not wait for each other, and that is a deviation to be reported. Push is off, frames have 16384 bytes at most.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tbi_bench::control::engine::Cause;
use tbi_bench::proof::Echo;

use super::Errand;
use super::tcp::{self, Received, TlsStream};
use super::watchdog::Watchdog;
use crate::attempt::{Attempt, Response, Transaction};
use crate::codec::h2_client::{Event, H2Client, RequestRefused, Settings, StreamFailure};
use crate::codec::head::ResponseHead;
use crate::failure::Failure;
use crate::worker::Worker;

/// A request in flight.
struct Exchange {
    transaction: Transaction,
    expected: u64,
    answer: Option<(ResponseHead, Instant)>,
}

/// A connection under way.
struct Connection<'a> {
    worker: &'a Worker,
    attempt: &'a Attempt,
    errand: Errand,
    own: Echo,
    stream: TlsStream,
    client: H2Client<Exchange>,
    watchdog: Watchdog,
    started: u32,
}

/// Drives one HTTP/2 connection.
///
/// # Errors
/// The [`Failure`] that ended it; transactions that began have been counted.
pub async fn run(worker: &Rc<Worker>, attempt: &Attempt, errand: Errand) -> Result<(), Failure> {
    let stream = tcp::establish(worker, attempt).await?;
    let own = stream.echo(attempt.token())?;
    let client = H2Client::new(Settings { max_streams: errand.streams, ..Settings::default() });
    let watchdog = Watchdog::new(Instant::now() + worker.trial.request_timeout);
    let mut connection = Connection { worker, attempt, errand, own, stream, client, watchdog, started: 0 };
    let outcome = connection.work().await;
    if let Err(failure) = &outcome {
        for (_stream, exchange) in connection.client.drain() {
            attempt.fail(exchange.transaction, failure);
        }
    }
    connection.client.close();
    let goodbye = connection.stream.write(connection.client.output());
    if outcome.is_ok() && goodbye.is_ok() {
        worker.linger(connection.stream);
    } else {
        // Best effort: the peer may want to know what rule it broke.
        poll_fn(|cx| {
            let _sent = connection.stream.poll_flush(cx);
            Poll::Ready(())
        })
        .await;
    }
    outcome
}

impl Connection<'_> {
    async fn work(&mut self) -> Result<(), Failure> {
        loop {
            self.start_requests()?;
            if self.client.in_flight() == 0 {
                return Ok(());
            }
            poll_fn(|cx| self.poll_progress(cx)).await?;
        }
    }

    /// Starts whatever the errand and the server allow.
    fn start_requests(&mut self) -> Result<(), Failure> {
        let token = self.attempt.token().to_hex();
        while self.may_start() {
            match self.client.may_request() {
                Ok(()) => {}
                Err(RequestRefused::AtLimit) => break,
                // The server said goodbye, or the ids are used up: what is in flight may end.
                Err(RequestRefused::Closed) => {
                    self.started = u32::MAX;
                    break;
                }
            }
            let number = self.worker.next_request();
            let Some((template, expected)) = self.worker.trial.templates.h2(self.attempt.target_index(), number) else {
                return Err(Failure::local(Cause::LocalResource, "there is no HTTP/2 request to send"));
            };
            let transaction = self.attempt.begin();
            let exchange = Exchange { transaction, expected, answer: None };
            // Asked for above, so it cannot be refused now.
            let _stream = self.client.request(template, transaction.first.then_some(&token), exchange);
            self.started = self.started.saturating_add(1);
        }
        let output = self.client.output();
        if !output.is_empty() {
            self.stream.write(output)?;
            let sent = output.len();
            self.client.advance_output(sent);
        }
        Ok(())
    }

    fn may_start(&self) -> bool {
        self.client.in_flight() < self.errand.streams as usize
            && self.started < self.errand.transactions.unwrap_or(u32::MAX)
            && (self.started == 0 || Instant::now() < self.errand.stop)
    }

    /// Sends, and receives once.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.watchdog.poll(cx).is_ready() {
            self.check_deadlines()?;
        }
        // Receiving goes on while sending waits, or both ends could wait for each other.
        if let Poll::Ready(Err(failure)) = self.stream.poll_flush(cx) {
            return Poll::Ready(Err(failure));
        }
        let Self { attempt, own, stream, client, .. } = self;
        let mut now = None;
        let received = ready!(stream.poll_receive(cx, &mut |plain| {
            let now = *now.get_or_insert_with(Instant::now);
            client
                .receive(plain, |event| apply(attempt, *own, now, event))
                .map_err(|error| Failure::peer(Cause::ProtocolViolation, error.to_string()))
        }))?;
        if received == Received::End && client.in_flight() > 0 {
            return Poll::Ready(Err(Failure::truncated(true)));
        }
        Poll::Ready(Ok(()))
    }

    /// The timer fired for what was the oldest request once; moves it to what is the oldest now.
    fn check_deadlines(&mut self) -> Result<(), Failure> {
        let patience = self.worker.trial.request_timeout;
        let now = Instant::now();
        let oldest = self.client.contexts().map(|(_stream, exchange)| exchange.transaction.sent).min().unwrap_or(now);
        if now >= oldest + patience {
            return Err(Failure::request_timeout());
        }
        self.watchdog.restart(oldest, patience);
        Ok(())
    }
}

fn apply(attempt: &Attempt, own: Echo, now: Instant, event: Event<'_, Exchange>) {
    match event {
        Event::Head { context, head, .. } => {
            if context.transaction.first {
                attempt.classify(own, head);
            }
            context.answer = Some((*head, now));
        }
        Event::End { context, body, .. } => match &context.answer {
            Some((head, first_byte)) => {
                let response = Response { head, body, first_byte: *first_byte, last_byte: now };
                attempt.end(context.transaction, response, context.expected);
            }
            // The client hands out a head before an end; should it not, the transaction must not vanish.
            None => attempt.fail(context.transaction, &Failure::truncated(true)),
        },
        Event::Failed { context, failure, .. } => attempt.fail(context.transaction, &stream_failure(failure)),
        Event::Data { .. } | Event::GoAway { .. } | Event::SettingsAcked => {}
    }
}

fn stream_failure(failure: StreamFailure) -> Failure {
    let cause = match failure {
        StreamFailure::Reset(_) | StreamFailure::NotProcessed => Cause::Truncated,
        StreamFailure::Malformed(_) => Cause::ProtocolViolation,
    };
    Failure::peer(cause, failure.to_string())
}
