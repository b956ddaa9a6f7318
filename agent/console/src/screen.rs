//! The loop: one event at a time (a second has passed, a key, a hang-up, the end), applied at once. One task; nothing runs beside it.

use std::io;
use std::time::{Duration, Instant};

use tbi_api::client::AgentClient;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::ask::Asker;
use crate::frame::{Size, View, frame, steady};
use crate::paint::{Painter, Speech, page};
use crate::terminal::{Terminal, TerminalError};
use crate::watch::Watch;

/// At most one frame in this time: a serial line at 9600 baud takes two seconds for a whole screen.
const PERIOD: Duration = Duration::from_secs(1);
/// The whole screen is drawn again after this many frames: messages of the kernel run over it, and a terminal that is plugged in later
/// shows nothing yet. 60 cost about 20 bytes a second.
const WHOLE_EVERY: u32 = 60;
/// A terminal that knows only lines gets at most one page in this time.
const PAGE_EVERY: Duration = Duration::from_secs(10);

/// A terminal with the status on it.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal,
    speech: Speech,
    size: Size,
    watch: Watch,
    painter: Painter,
    frames: u32,
    page: Option<(View, Instant)>,
    complained: bool,
}

enum Event {
    Tick,
    Key,
    Lost(TerminalError),
    HungUp,
    End,
}

impl Screen {
    /// Shows nothing yet.
    pub(crate) fn new(terminal: Terminal, speech: Speech, size: Size, watch: Watch) -> Self {
        Self { terminal, speech, size, watch, painter: Painter::default(), frames: 0, page: None, complained: false }
    }

    /// Shows the agent's status until the program is asked to end.
    ///
    /// # Errors
    /// Only when the signals cannot be had.
    pub(crate) async fn show(mut self, agent: &AgentClient) -> io::Result<()> {
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut asker = Asker::new(agent.clone());
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Every arm waits without taking anything, so each may be dropped for another.
            let event = tokio::select! {
                _ = ticks.tick() => Event::Tick,
                key = self.terminal.key() => key.map_or_else(Event::Lost, |()| Event::Key),
                _ = hang_up.recv() => Event::HungUp,
                _ = terminate.recv() => Event::End,
                _ = interrupt.recv() => Event::End,
            };
            match event {
                Event::Tick => {
                    let answer = asker.ask().await;
                    let view = self.watch.heard(answer, Instant::now());
                    let drawn = self.draw(&view).await;
                    self.complain(drawn);
                }
                Event::Key => self.unknown(),
                Event::Lost(error) => self.complain(Err(error)),
                Event::HungUp => self.terminal.close(),
                Event::End => break,
            }
        }
        if self.speech == Speech::Screen {
            // The prompt of whoever ran this by hand goes below the screen.
            let _gone = self.terminal.write(b"\r\n").await;
        }
        self.terminal.restore();
        Ok(())
    }

    async fn draw(&mut self, view: &View) -> Result<(), TerminalError> {
        if self.terminal.ensure_open()? {
            self.unknown();
        }
        let bytes = match self.speech {
            Speech::Screen => {
                if self.frames.is_multiple_of(WHOLE_EVERY) {
                    self.painter.forget();
                }
                self.frames = self.frames.wrapping_add(1);
                self.painter.paint(&frame(view, self.size))
            }
            Speech::Lines => self.next_page(view, Instant::now()),
        };
        // A failed write closes the terminal, and the one that is opened next is drawn whole.
        self.terminal.write(&bytes).await
    }

    /// A page when something changed that does not change by itself, and not too often.
    fn next_page(&mut self, view: &View, now: Instant) -> Vec<u8> {
        let seen = steady(view);
        let due = match &self.page {
            None => true,
            Some((shown, when)) => *shown != seen && now.saturating_duration_since(*when) >= PAGE_EVERY,
        };
        if !due {
            return Vec::new();
        }
        self.page = Some((seen, now));
        page(&frame(view, self.size), "\r\n")
    }

    /// What the terminal shows is unknown: draw it whole.
    fn unknown(&mut self) {
        self.painter.forget();
        self.page = None;
    }

    /// Logs the first failure of a series.
    fn complain(&mut self, outcome: Result<(), TerminalError>) {
        match outcome {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                // Not on the terminal: standard error is the journal's.
                tracing::warn!("{error}");
            }
            Err(_again) => {}
        }
    }
}
