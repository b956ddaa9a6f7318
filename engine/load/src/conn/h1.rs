//! HTTP/1.1: one request at a time, one write and one read per request, nothing allocated in the steady state.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tbi_bench::control::engine::Cause;

use super::Errand;
use super::tcp::{self, Received, TlsStream};
use super::watchdog::Watchdog;
use crate::attempt::{Attempt, Response};
use crate::codec::http1::{Event, ResponseParser};
use crate::failure::Failure;
use crate::worker::Worker;

/// Times of one response.
struct Times {
    first_byte: Instant,
    last_byte: Instant,
}

/// Drives one HTTP/1.1 connection.
///
/// # Errors
/// The [`Failure`] that ended it; transactions that began have been counted.
pub async fn run(worker: &Rc<Worker>, attempt: &Attempt, errand: Errand) -> Result<(), Failure> {
    let mut stream = tcp::establish(worker, attempt).await?;
    let token = attempt.token().to_hex();
    let own = stream.echo(attempt.token())?;
    let mut parser = ResponseParser::new();
    let mut request = Vec::with_capacity(512);
    let mut watchdog = Watchdog::new(Instant::now() + worker.trial.request_timeout);
    let mut done = 0;
    loop {
        request.clear();
        let number = worker.next_request();
        let first_token = (done == 0).then_some(&token);
        let expected = worker.trial.templates.write(attempt.target_index(), number, first_token, &mut request);
        let transaction = attempt.begin();
        watchdog.restart(transaction.sent, worker.trial.request_timeout);
        let exchanged = match stream.write(&request) {
            Ok(()) => exchange(&mut stream, &mut parser, &mut watchdog).await,
            Err(failure) => Err(failure),
        };
        // Half a head says nothing about its echo.
        if done == 0 && parser.has_head() {
            attempt.classify(own, parser.head());
        }
        let times = match exchanged {
            Ok(times) => times,
            Err(failure) => {
                attempt.fail(transaction, &failure);
                return Err(failure);
            }
        };
        let Times { first_byte, last_byte } = times;
        let response = Response { head: parser.head(), body: parser.body_bytes(), first_byte, last_byte };
        attempt.end(transaction, response, expected);
        done += 1;
        let keeps_alive = parser.keeps_alive() && !stream.has_ended();
        if errand.transactions == Some(done) || !keeps_alive || last_byte >= errand.stop {
            break;
        }
        parser.reset();
    }
    worker.linger(stream);
    Ok(())
}

/// Sends what is buffered and reads one whole response.
async fn exchange(
    stream: &mut TlsStream,
    parser: &mut ResponseParser,
    watchdog: &mut Watchdog,
) -> Result<Times, Failure> {
    let mut first_byte = None;
    let mut waited = false;
    poll_fn(|cx| match poll_exchange(cx, stream, parser, watchdog, &mut first_byte) {
        Poll::Pending => {
            // The timer was armed by an earlier request and wakes this task anyway, so the first wait need not touch it: that
            // saves two timer polls of every request.
            let touch = std::mem::replace(&mut waited, true) || !watchdog.is_armed();
            if touch && watchdog.poll(cx).is_ready() {
                return Poll::Ready(Err(Failure::request_timeout()));
            }
            Poll::Pending
        }
        ready => ready,
    })
    .await
}

fn poll_exchange(
    cx: &mut Context<'_>,
    stream: &mut TlsStream,
    parser: &mut ResponseParser,
    watchdog: &Watchdog,
    first_byte: &mut Option<Instant>,
) -> Poll<Result<Times, Failure>> {
    ready!(stream.poll_flush(cx))?;
    loop {
        let mut ended = false;
        let mut seen = false;
        let received = ready!(stream.poll_receive(cx, &mut |plain| {
            seen = true;
            feed(parser, plain, &mut ended)
        }))?;
        let now = Instant::now();
        if seen || received == Received::End {
            let first_byte = *first_byte.get_or_insert(now);
            if ended {
                return Poll::Ready(Ok(Times { first_byte, last_byte: now }));
            }
            if received == Received::End {
                return Poll::Ready(match parser.finish() {
                    Ok(true) => Ok(Times { first_byte, last_byte: now }),
                    Ok(false) | Err(_) => Err(Failure::truncated(true)),
                });
            }
        }
        // A peer that never stops sending, be it empty records, would never let the timer be asked.
        if watchdog.has_passed(now) {
            return Poll::Ready(Err(Failure::request_timeout()));
        }
    }
}

fn feed(parser: &mut ResponseParser, mut plain: &[u8], ended: &mut bool) -> Result<(), Failure> {
    loop {
        let progress =
            parser.feed(plain).map_err(|error| Failure::peer(Cause::ProtocolViolation, error.to_string()))?;
        plain = plain.get(progress.consumed..).unwrap_or_default();
        match progress.event {
            Some(Event::Head) => {}
            Some(Event::End) => *ended = true,
            None => return Ok(()),
        }
    }
}
