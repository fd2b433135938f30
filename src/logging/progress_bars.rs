//! Progress bars at the terminal, below the log: one for each node while the node is compared.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use inosync_actors::bytes::Bytes;
use inosync_actors::path::Escaped;
use inosync_actors::rsync::audience::{Attending, Audience, Minutes, Reconcile};
use inosync_actors::transport::progress::{Progress, Roughly};

/// The time between two updates of a bar.
const UPDATE: Duration = Duration::from_millis(100);
/// Updates before the entries to compare are counted: a short comparison is not worth a count.
const UPDATES_BEFORE_COUNT: u32 = 5;
/// The number of frames per second.
const RATE: u8 = 20;
/// Steps of a full bar.
const STEPS: u64 = 1000;
/// Characters of a node's name that are shown.
const NAME: usize = 30;

/// The bars of all nodes.
#[derive(Debug, Clone)]
pub struct Bars(MultiProgress);

impl Bars {
    /// `None` if standard error is no terminal, or one that cannot draw them.
    pub fn at_terminal() -> Option<Self> {
        let term = Term::buffered_stderr();
        let draws = term.is_term() && std::env::var_os("TERM").is_some_and(|name| name != "dumb");
        let target = || ProgressDrawTarget::term_like_with_hz(Box::new(Screen(term)), RATE);
        draws.then(|| Bars(MultiProgress::with_draw_target(target())))
    }

    /// The receiver of the progress of reconciles, with or without bars.
    pub fn audience(bars: Option<&Bars>) -> Arc<dyn Audience> {
        bars.map_or_else(|| Arc::new(Minutes) as Arc<dyn Audience>, |bars| Arc::new(bars.clone()))
    }

    /// Writes above the bars.
    pub fn above<R>(&self, say: impl FnOnce() -> R) -> R {
        self.0.suspend(say)
    }

    /// Removes the bars that are left when the reconciles have ended in any way.
    pub fn clear(&self) {
        // An error means that the terminal is gone.
        let _ = self.0.clear();
    }
}

impl Audience for Bars {
    fn attend(&self, reconcile: Reconcile) -> Attending {
        let bars = self.0.clone();
        Box::pin(async move {
            let bar = Bar::new(&bars, &reconcile.node);
            let mut counting = None;
            let mut drawn = 0;
            loop {
                if drawn == UPDATES_BEFORE_COUNT {
                    counting = Some(reconcile.count());
                }
                counting.as_ref().inspect(|counting| reconcile.note(counting));
                bar.draw(reconcile.progress());
                drawn += 1;
                tokio::time::sleep(UPDATE).await;
            }
        })
    }
}

/// The bar of one node, until it is dropped.
struct Bar {
    bar: ProgressBar,
    node: String,
}

impl Bar {
    fn new(bars: &MultiProgress, node: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} [{bar:16}] {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.progress_chars("=> ").tick_chars("-\\|/ ");
        let node: String = Escaped(node.as_bytes()).to_string().chars().take(NAME).collect();
        let bar = ProgressBar::new(STEPS).with_style(style).with_message(text(&node, None));
        Bar { bar: bars.add(bar), node }
    }

    fn draw(&self, progress: Option<Progress>) {
        let share = progress.and_then(|progress| progress.share());
        self.bar.set_position(share.map_or(0, |share| (share * STEPS as f64) as u64));
        self.bar.set_message(text(&self.node, progress));
        self.bar.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The text beside a bar. indicatif cuts off the end of a line that is too long.
fn text(node: &str, progress: Option<Progress>) -> String {
    let Some(progress) = progress else { return format!("  0 % {node}: nothing so far") };
    let share = progress.share().map_or("  ? %".to_owned(), |share| format!("{:3.0} %", (share * 100.0).floor()));
    let left = progress.left().map_or(String::new(), |left| format!(", {} left", Roughly(left)));
    let files = progress.entries();
    format!("{share} {node}: {files} files, {}, {}/s{left}", Bytes(progress.bytes), Bytes(progress.rate))
}

/// A terminal without errors: indicatif panics when a terminal that went away cannot be written.
#[derive(Debug)]
struct Screen(Term);

impl Screen {
    fn ignoring_errors(_: io::Result<()>) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Screen::ignoring_errors(self.0.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Screen::ignoring_errors(self.0.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Screen::ignoring_errors(self.0.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Screen::ignoring_errors(self.0.move_cursor_left(n))
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        Screen::ignoring_errors(self.0.write_line(s))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        Screen::ignoring_errors(self.0.write_str(s))
    }

    fn clear_line(&self) -> io::Result<()> {
        Screen::ignoring_errors(self.0.clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        Screen::ignoring_errors(self.0.flush())
    }
}

#[cfg(test)]
mod tests {
    use inosync_actors::transport::progress::Piece;

    use super::*;

    #[test]
    fn a_bar_says_what_is_known() {
        let after = |line: &str| {
            let (piece, _) = Piece::split_from(line.as_bytes()).unwrap();
            Some(Progress::after(None, &piece, Duration::from_secs(60)))
        };
        for (progress, expected) in [
            (None, "  0 % n: nothing so far"),
            (
                after("2097152 9% 1.00MB/s 0:00:02 (xfr#2, ir-chk=1000/2234)"),
                "  ? % n: 1234/2234 or more files, 2.0 MiB, 1.0 MiB/s",
            ),
            (
                after("0 0% 0.00kB/s 0:00:00 (xfr#0, to-chk=15000/20000)"),
                " 25 % n: 5000/20000 files, 0 B, 0 B/s, 3 min left",
            ),
            (
                after("2097152 100% 1.00MB/s 0:00:02 (xfr#20, to-chk=0/20)"),
                "100 % n: 20/20 files, 2.0 MiB, 1.0 MiB/s, 0 s left",
            ),
        ] {
            assert_eq!(text("n", progress), expected);
        }
    }
}
