//! Splits what another program writes into lines, and keeps no more of one than a bound: whoever writes it may never
//! end a line.

use std::ops::Range;
use std::time::Instant;

use super::pipe_reader::PipeReader;
use crate::read_pace::{ReadPace, Supply};

/// The longest line that is kept, in bytes. A path has at most 4,096 (PATH_MAX in limits.h), four times as many where
/// rsync writes each as `\#ooo`; a line names two at the most.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Bytes that one read takes.
const BUFFER: usize = 8 * 1024;

/// One line of the other's text, without what ended it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// A line that was read to its end.
    Line(&'a [u8]),
    /// It was longer than [`LONGEST`], and dropped: so many bytes of it.
    Dropped(u64),
}

impl Text<'_> {
    /// The number of bytes that were read for it.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Text::Line(line) => line.len() as u64 + 1,
            Text::Dropped(bytes) => *bytes,
        }
    }
}

/// The lines of an output.
#[derive(Debug)]
pub(crate) struct Lines {
    output: PipeReader,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that are still to be looked at.
    unread: Range<usize>,
    /// The bytes that end a line.
    ends: &'static [u8],
    kept: Vec<u8>,
    /// Bytes of this line that were dropped so far.
    dropped: u64,
    /// `true` if the line was handed over, and the next one begins.
    is_over: bool,
    pace: ReadPace,
    /// The time before which nothing more is read.
    rests_until: Option<Instant>,
}

impl Lines {
    /// The lines of `output`, each ended by one of the bytes of `ends`, or by the end of the output.
    pub(crate) fn of(output: PipeReader, ends: &'static [u8]) -> Lines {
        Lines {
            output,
            buffer: vec![0; BUFFER].into(),
            unread: 0..0,
            ends,
            kept: Vec::new(),
            dropped: 0,
            is_over: false,
            pace: ReadPace::new(Instant::now()),
            rests_until: None,
        }
    }

    /// The same output, with other ends of its lines from here on.
    pub(crate) fn ended_by(self, ends: &'static [u8]) -> Lines {
        Lines { ends, ..self }
    }

    /// The next one; `None` at the end of the output, or when it cannot be read any further. Nothing is lost when this
    /// is dropped and called again. A piece of a line that is dropped is handed over as it comes.
    pub(crate) async fn next(&mut self) -> Option<Text<'_>> {
        if std::mem::take(&mut self.is_over) {
            self.kept.clear();
            self.dropped = 0;
        }
        loop {
            if self.unread.is_empty() {
                self.fill().await;
            }
            let read = &self.buffer[self.unread.clone()];
            let end = read.iter().position(|byte| self.ends.contains(byte));
            let piece = end.unwrap_or(read.len());
            let is_last = read.is_empty();
            let fits = self.dropped == 0 && self.kept.len() + piece <= LONGEST;
            if fits {
                self.kept.extend(&read[..piece]);
            }
            self.unread.start += piece + usize::from(end.is_some());
            if !fits {
                // What was kept of it so far goes with its first piece.
                let dropped = (std::mem::take(&mut self.kept).len() + piece + usize::from(end.is_some())) as u64;
                self.dropped = if end.is_some() { 0 } else { self.dropped + dropped };
                return if is_last { None } else { Some(Text::Dropped(dropped)) };
            }
            if end.is_some() || is_last && !self.kept.is_empty() {
                self.is_over = true;
                return Some(Text::Line(&self.kept));
            }
            if is_last {
                return None;
            }
        }
    }

    /// Reads once. Nothing is unread afterwards if the output has ended or cannot be read.
    async fn fill(&mut self) {
        if let Some(until) = self.rests_until {
            tokio::time::sleep_until(until.into()).await;
            self.rests_until = None;
        }
        let (read, supply) = self.output.read(&mut self.buffer).await.unwrap_or((0, Supply::Nothing));
        let now = Instant::now();
        let pause = self.pace.pause(supply, now);
        self.rests_until = (!pause.is_zero()).then(|| now + pause);
        self.unread = 0..read;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Reads an output that comes in pieces of so many bytes.
    async fn read(ends: &'static [u8], text: &[u8], pieces: usize) -> (Vec<Vec<u8>>, u64) {
        let (near, mut far) = std::io::pipe().unwrap();
        let text = text.to_owned();
        let writes = std::thread::spawn(move || text.chunks(pieces).for_each(|piece| far.write_all(piece).unwrap()));
        let (mut lines, mut dropped) = (Vec::new(), 0);
        let mut all = Lines::of(PipeReader::of(near.into()).unwrap(), ends);
        while let Some(text) = all.next().await {
            match text {
                Text::Line(line) => lines.push(line.to_vec()),
                Text::Dropped(bytes) => dropped += bytes,
            }
        }
        writes.join().unwrap();
        (lines, dropped)
    }

    #[tokio::test]
    async fn lines_are_handed_over_whole_however_they_come() {
        let text = b"one, two\n\rthree\rfour\n\nfive";
        for (ends, expected) in [
            (&b"\n"[..], &[&b"one, two"[..], b"\rthree\rfour", b"", b"five"][..]),
            (b"\n\r", &[b"one, two", b"", b"three", b"four", b"", b"five"]),
        ] {
            for pieces in [1, 3, 100] {
                let (lines, dropped) = read(ends, text, pieces).await;
                assert_eq!((lines.iter().map(Vec::as_slice).collect::<Vec<_>>(), dropped), (expected.to_vec(), 0));
            }
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_dropped_and_the_next_one_is_read() {
        for (length, is_kept) in [(LONGEST, true), (LONGEST + 1, false), (5 * LONGEST, false)] {
            let long = vec![b'x'; length];
            for (before, after) in [(&b"a\n"[..], &b"\nb\n"[..]), (b"", b"")] {
                let text = [before, &long, after].concat();
                let (lines, dropped) = read(b"\n", &text, 8192).await;
                let ended = u64::from(!after.is_empty());
                assert_eq!(dropped, if is_kept { 0 } else { length as u64 + ended }, "{length}");
                assert_eq!(lines.contains(&long), is_kept, "{length}");
                assert_eq!(lines.len(), usize::from(is_kept) + 2 * usize::from(!after.is_empty()), "{length}");
            }
        }
    }
}
