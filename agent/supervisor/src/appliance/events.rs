//! Long answers: a run's progress as events, a run's files as a stream of pieces. A record has tens of megabytes; the agent holds one piece.

use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{Stream, stream};
use http::HeaderValue;
use tbi_api::runs::{Progress, Run};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::timeout;

/// Bytes of a file held at a time.
const PIECE: usize = 64 * 1024;

/// The number after the last event a reader saw (`Last-Event-ID`), so that numbers never go back for one reader.
pub(crate) fn first_id(last: Option<&HeaderValue>) -> u64 {
    last.and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .map_or(0, |id| id.saturating_add(1))
}

/// A reader hears something at least this often, also during a trial of minutes: comments of the stream, which keep a connection up, reach no
/// page.
pub(crate) const PULSE: Duration = Duration::from_secs(5);

/// Each new progress of a run, the present one first; as `second` when nothing is new but a second of the trial under way; and it again as `pulse` when there is none for `pulse`; ends when the run is over. Without
/// a receiver the run is over already.
pub(crate) fn progress(
    run: Option<watch::Receiver<Run>>,
    pulse: Duration,
) -> impl Stream<Item = (&'static str, Progress)> + Send + 'static {
    struct Reader {
        run: watch::Receiver<Run>,
        said: Option<Progress>,
        first: bool,
    }
    let reader = run.map(|run| Reader { run, said: None, first: true });
    stream::unfold(reader, move |reader| async move {
        let mut reader = reader?;
        loop {
            if !reader.first {
                match timeout(pulse, reader.run.changed()).await {
                    Ok(Ok(())) => {}
                    // The sender going is the end of the run, too; what it said last is then already out.
                    Ok(Err(_gone)) => return None,
                    Err(_silence) => {
                        let progress = reader.run.borrow().progress.clone().unwrap_or_default();
                        return Some((("pulse", progress), Some(reader)));
                    }
                }
            }
            reader.first = false;
            let (progress, over) = {
                let run = reader.run.borrow_and_update();
                (run.progress.clone(), run.state.is_over())
            };
            let new = progress.filter(|progress| reader.said.as_ref() != Some(progress));
            match new {
                Some(progress) if over => return Some((("progress", progress), None)),
                Some(progress) => {
                    let name = name_of(reader.said.as_ref(), &progress);
                    reader.said = Some(progress.clone());
                    return Some(((name, progress), Some(reader)));
                }
                None if over => return None,
                None => {}
            }
        }
    })
}

/// Whoever hears of a `second` has the whole with it; at `progress` there is more to ask for.
fn name_of(said: Option<&Progress>, now: &Progress) -> &'static str {
    let finished = |it: &Progress| (it.blocks_done, it.blocks, it.trials_done, it.last_block.clone());
    match said {
        Some(said) if now.second.is_some() && finished(said) == finished(now) => "second",
        _ => "progress",
    }
}

/// A file in pieces.
///
/// # Errors
/// When it cannot be opened.
pub(crate) async fn file(path: &Path) -> std::io::Result<Body> {
    let file = tokio::fs::File::open(path).await?;
    Ok(Body::from_stream(stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    })))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tbi_api::runs::RunState;
    use tbi_api::series::Second;
    use tbi_bench::object::Object;
    use tbi_bench::protocol::{Arm, Protocol};
    use tbi_bench::record::TrialKind;

    use super::*;

    fn run(state: RunState, blocks_done: Option<u32>) -> Run {
        let progress = blocks_done.map(|blocks_done| Progress {
            blocks_done,
            blocks: 6,
            elapsed_seconds: 0,
            remaining_seconds: 0,
            last_block: String::new(),
            ..Progress::default()
        });
        Run {
            id: "a".to_owned(),
            name: "a".to_owned(),
            state,
            started: String::new(),
            ended: None,
            progress,
            sentence: String::new(),
            actor: None,
            source: None,
        }
    }

    #[tokio::test]
    async fn progress_is_told_once_and_ends_with_the_run() {
        let (sender, receiver) = watch::channel(run(RunState::Preparing, None));
        let mut events = Box::pin(progress(Some(receiver), PULSE));
        let teller = async {
            for (state, blocks) in [
                (RunState::Running, Some(1)),
                (RunState::Running, Some(1)),
                (RunState::Running, Some(2)),
                (RunState::Passed, Some(6)),
            ] {
                sender.send_replace(run(state, blocks));
                tokio::task::yield_now().await;
            }
        };
        let listener = async {
            let mut heard = Vec::new();
            while let Some((name, progress)) = events.next().await {
                heard.push((name, progress.blocks_done));
            }
            heard
        };
        let ((), heard) = tokio::join!(teller, listener);
        assert_eq!(heard.last(), Some(&("progress", 6)));
        assert!(heard.windows(2).all(|pair| pair[0].1 < pair[1].1), "{heard:?}");
    }

    #[tokio::test]
    async fn a_second_is_told_as_one_and_a_trial_that_ended_meanwhile_as_progress() {
        let at = |trials_done, at_ms: Option<u64>| {
            let mut now = run(RunState::Running, Some(0));
            let second = at_ms.map(|at_ms| Second {
                protocol: Protocol::H2,
                object: Object::Kb1,
                kind: TrialKind::Latency,
                arm: Arm::On,
                at_ms,
                length_us: 1_000_000,
                connections: 1,
                succeeded: 1,
                failed: 0,
                body_bytes: 1,
                ttfb_p50_us: None,
            });
            let progress = now.progress.take().unwrap_or_default();
            now.progress = Some(Progress { trials_done, second, ..progress });
            now
        };
        let (sender, receiver) = watch::channel(at(0, None));
        let mut events = Box::pin(progress(Some(receiver), PULSE));
        let mut heard = Vec::new();
        for next in [at(0, Some(1000)), at(0, Some(2000)), at(1, Some(3000)), at(1, Some(4000))] {
            heard.extend(events.next().await.map(|(name, _)| name));
            sender.send_replace(next);
        }
        heard.extend(events.next().await.map(|(name, _)| name));
        // The third says more than its second: between it and the one before a trial ended, which nobody was told.
        assert_eq!(heard, ["progress", "second", "second", "progress", "second"]);
    }

    #[tokio::test]
    async fn a_run_that_is_over_or_whose_driver_is_gone_has_no_more_events() {
        assert_eq!(progress(None, PULSE).count().await, 0);
        let (sender, receiver) = watch::channel(run(RunState::Running, None));
        drop(sender);
        assert_eq!(progress(Some(receiver), PULSE).count().await, 0);
    }

    #[tokio::test]
    async fn a_run_that_says_nothing_for_a_while_is_still_heard() {
        let (sender, receiver) = watch::channel(run(RunState::Preparing, None));
        let mut events = Box::pin(progress(Some(receiver), Duration::from_millis(1)));
        assert_eq!(events.next().await.map(|(name, it)| (name, it.blocks_done)), Some(("pulse", 0)));
        sender.send_replace(run(RunState::Running, Some(2)));
        let told = events.by_ref().skip_while(|(name, _)| std::future::ready(*name == "pulse")).next().await;
        assert_eq!(told.map(|(name, it)| (name, it.blocks_done)), Some(("progress", 2)));
        assert_eq!(events.next().await.map(|(name, it)| (name, it.blocks_done)), Some(("pulse", 2)));
        sender.send_replace(run(RunState::Passed, None));
        assert!(events.all(|(name, _)| std::future::ready(name == "pulse")).await, "it ends with the run");
    }

    #[test]
    fn numbers_go_on_after_the_last_one_seen() {
        assert_eq!(first_id(None), 0);
        assert_eq!(first_id(Some(&HeaderValue::from_static("7"))), 8);
        assert_eq!(first_id(Some(&HeaderValue::from_static("x"))), 0);
    }
}
