//! What a live capture says on standard error: a thread writes it from a bounded queue, so that a standard error that
//! is not read holds up nothing. What the queue has no room for is dropped, counted, and reported when standard error
//! takes something again.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Write},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::blocking::write_all;

/// Bytes that wait at most, besides the [last words](Messages::last). The log gets half of them, so that it does not
/// keep out what is more important.
const LIMIT: usize = 64 * 1024;
/// What is written at a time: a pipe takes as much whole or not at all (pipe(7)), so that messages do not mix with those
/// of other processes.
const PIECE: usize = 4096;

/// How often as long as it is waited for a write, the thread is waited for that has not begun one: on a busy machine it may not
/// get a CPU for a while, and the message has not been refused.
const STARVED: u32 = 20;

/// Clears the rest of the line (ECMA-48, "erase in line").
pub const CLEAR: &str = "\x1b[K";

/// A handle of the queue.
#[derive(Clone, Debug)]
pub struct Messages {
    shared: Arc<Shared>,
}

/// What messages are written to.
trait Target: Write + AsFd + Send {}

impl<T: Write + AsFd + Send> Target for T {}

#[derive(Default)]
struct Shared {
    /// What they are written to, until the thread takes it.
    target: Mutex<Option<Box<dyn Target>>>,
    queue: Mutex<Queue>,
    /// Signalled when the queue has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<String>,
    /// The length of all messages.
    bytes: usize,
    /// Messages that had no room and have not been reported yet.
    dropped: u64,
    /// Whether the thread has taken something that it has not written yet.
    is_writing: bool,
    /// Pieces that have been written.
    pieces: u64,
    /// Whether writing has failed: from then on nothing is kept.
    has_failed: bool,
    /// Whether a text that the next message has to remove is [shown](Messages::show).
    is_shown: bool,
}

impl Messages {
    /// Messages for `output`, which wait for the thread to be [started](Self::start).
    pub fn new(output: impl Write + AsFd + Send + 'static) -> Self {
        let target = Mutex::new(Some(Box::new(output) as Box<dyn Target>));
        Self { shared: Arc::new(Shared { target, ..Shared::default() }) }
    }

    /// Starts the thread, unless it has been started.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn start(&self) -> io::Result<()> {
        let target = self.shared.target.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(target) = target else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("messages".to_owned()).spawn(move || shared.write(target)).map(drop)
    }

    /// Closes what they are written to, in another process that has a copy of it and says nothing: who reads it sees its end
    /// when this process ends. To be called before the thread is started.
    pub fn disown(&self) {
        drop(self.shared.target.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Says `text`, which ends with a newline. Never waits.
    pub fn say(&self, text: &str) {
        self.shared.push(text, LIMIT);
    }

    /// Shows a text on a terminal, with the cursor at its beginning, until something is said. It is of no use later, and
    /// left out while other messages wait.
    pub fn show(&self, text: &str) {
        let mut queue = self.shared.lock();
        if !queue.has_failed && queue.messages.is_empty() {
            queue.push(text.to_owned());
            queue.is_shown = true;
            self.shared.changed.notify_all();
        }
    }

    /// Says a line of the log.
    pub fn log(&self, text: &str) {
        self.shared.push(text, LIMIT / 2);
    }

    /// Says something that is not dropped, however little is taken. Only for what comes once.
    pub fn last(&self, text: &str) {
        self.shared.push(text, usize::MAX);
    }

    /// Waits until everything has been written, but not longer than `patience` without progress: [much](STARVED) longer only
    /// where the thread has not come to write at all.
    pub fn wait(&self, patience: Duration) {
        if self.shared.target.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return; // No thread writes.
        }
        let mut starved = 0;
        let mut queue = self.shared.lock();
        loop {
            let pieces = queue.pieces;
            let is_pending = |queue: &mut Queue| queue.is_pending() && queue.pieces == pieces;
            let waited = self.shared.changed.wait_timeout_while(queue, patience, is_pending);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !queue.is_pending() {
                return;
            }
            if queue.pieces == pieces {
                starved += 1;
                if queue.is_writing || starved == STARVED {
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Queue {
    fn is_pending(&self) -> bool {
        self.is_writing || !self.messages.is_empty()
    }

    fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.messages.push_back(text);
    }

    /// As many messages as make a piece, and at least one.
    fn take(&mut self) -> String {
        let mut piece = self.messages.pop_front().unwrap_or_default();
        while let Some(next) = self.messages.front()
            && piece.len() + next.len() <= PIECE
        {
            piece.push_str(next);
            self.messages.pop_front();
        }
        self.bytes -= piece.len();
        piece
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: &str, limit: usize) {
        let mut queue = self.lock();
        if queue.has_failed {
            return;
        }
        if queue.bytes.saturating_add(text.len()) > limit {
            queue.dropped += 1;
            return;
        }
        if std::mem::take(&mut queue.is_shown) {
            queue.push(CLEAR.to_owned());
        }
        queue.push(without_controls(text));
        self.changed.notify_all();
    }

    /// Writes what comes until writing fails.
    fn write(&self, mut output: Box<dyn Target>) {
        loop {
            let mut queue = self.lock();
            if queue.messages.is_empty() && queue.dropped > 0 {
                let dropped = std::mem::take(&mut queue.dropped);
                queue.push(format!(
                    "capture: {dropped} message(s) dropped here: standard error did not take them in time\n"
                ));
            }
            if queue.messages.is_empty() {
                drop(self.changed.wait(queue));
                continue;
            }
            let piece = queue.take();
            queue.is_writing = true;
            drop(queue);
            let written = write_all(&mut output, piece.as_bytes());
            let mut queue = self.lock();
            queue.is_writing = false;
            queue.pieces += 1;
            if written.is_err() {
                *queue = Queue { has_failed: true, ..Queue::default() };
            }
            self.changed.notify_all();
            if queue.has_failed {
                return;
            }
        }
    }
}

/// With a `?` for each control character: a file's name must not control a terminal.
pub fn without_controls(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', "?")
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::OwnedFd, time::Instant};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    const NEVER: Duration = Duration::from_secs(30);
    const SOON: Duration = Duration::from_millis(50);

    fn messages() -> (io::PipeReader, Messages) {
        let (reader, writer) = io::pipe().unwrap();
        let messages = Messages::new(File::from(OwnedFd::from(writer)));
        messages.start().unwrap();
        (reader, messages)
    }

    /// Messages whose standard error has no room left, and of which the thread has taken the first.
    fn blocked_messages() -> (io::PipeReader, Messages) {
        let (reader, mut writer) = io::pipe().unwrap();
        while poll(&mut [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1) {
            writer.write_all(&[b'.'; PIECE]).unwrap();
        }
        let messages = Messages::new(File::from(OwnedFd::from(writer)));
        messages.start().unwrap();
        messages.say("the first\n");
        let start = Instant::now();
        while !messages.shared.lock().is_writing {
            assert!(start.elapsed() < NEVER);
            thread::sleep(Duration::from_millis(1));
        }
        (reader, messages)
    }

    /// A thread that does not get a CPU has not met a standard error that takes nothing.
    #[test]
    fn a_thread_that_comes_late_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let messages = Messages::new(writer);
        messages.say("not lost\n");
        // Without a thread there is nothing to wait for.
        messages.wait(NEVER);
        let target = messages.shared.target.lock().unwrap().take().unwrap();
        let shared = Arc::clone(&messages.shared);
        let late = thread::spawn(move || {
            thread::sleep(SOON * 5);
            shared.write(target);
        });
        messages.wait(SOON * 2);
        assert!(!messages.shared.lock().is_pending() && !late.is_finished());
        let mut said = [0; 9];
        reader.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"not lost\n");
    }

    /// Nothing waits for a reader; what was dropped is reported at the place where it is missing; the last words come.
    #[test]
    fn what_is_not_read_is_dropped_and_counted() {
        let (mut reader, messages) = blocked_messages();
        let said = LIMIT / 100 + 10;
        for number in 0..said {
            messages.say(&format!("{number:099}\n"));
        }
        messages.last("the last words\n");
        messages.wait(SOON);
        let dropped = messages.shared.lock().dropped as usize;
        assert_eq!(dropped, 10);
        let read = thread::spawn(move || {
            let mut text = String::new();
            let mut byte = [0];
            while !text.ends_with("in time\n") {
                reader.read_exact(&mut byte).unwrap();
                text.push(byte[0] as char);
            }
            text
        });
        let text = read.join().unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with('0')).count(), said - dropped);
        let report = format!("capture: {dropped} message(s) dropped here: ");
        let (_, end) = text.split_once("the last words\n").unwrap();
        assert!(end.starts_with(&report), "{end}");
    }

    /// The log leaves room for the rest.
    #[test]
    fn the_log_does_not_keep_out_a_message() {
        let (_reader, messages) = blocked_messages();
        let line = "x".repeat(99);
        for _ in 0..LIMIT {
            messages.log(&line);
        }
        let before = messages.shared.lock().dropped;
        messages.say(&line);
        assert_eq!(messages.shared.lock().dropped, before);
        assert!(before > 0);
    }

    #[test]
    fn the_wait_ends_when_everything_is_written_or_writing_fails() {
        let (mut reader, messages) = messages();
        messages.say("a\u{1b}b\n");
        messages.wait(NEVER);
        let mut text = [0; 4];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"a?b\n");
        drop(reader);
        messages.say("c\n");
        messages.wait(NEVER);
        messages.say("d\n");
        messages.wait(NEVER);
        assert!(messages.shared.lock().has_failed);
    }
}
