//! How long outputs that take nothing are waited for when a capture ends: the process ends within a second of the
//! request, or of the last byte that an output took after it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between two looks at whether the output has taken something. Looks are counted instead of the time that passes, so
/// that a process that was stopped, or did not get a CPU, gives its output the same chance.
const LOOK: Duration = Duration::from_millis(50);
/// Looks without progress after which an output is given up.
const LOOKS: u32 = 16;
/// Looks without progress after which the process ends, whether its last words have been read or not.
const ALL_LOOKS: u32 = 19;

/// Looks since an output last took something.
#[derive(Debug)]
pub(super) struct Patience {
    looks: u32,
    /// When the next look is due, while it is waited for.
    next: Option<Instant>,
    progress: u64,
    limit: u32,
}

impl Patience {
    /// As a request to end is answered.
    pub(super) fn limited() -> Self {
        Self { looks: 0, next: None, progress: 0, limit: LOOKS }
    }

    /// As long as the output takes, until it is [limited](Self::limit).
    pub(super) fn unlimited() -> Self {
        Self { limit: u32::MAX, ..Self::limited() }
    }

    /// From now on, as a request to end is answered.
    pub(super) fn limit(&mut self) {
        if self.limit != LOOKS {
            *self = Self { progress: self.progress, ..Self::limited() };
        }
    }

    /// Ends when the output has taken nothing for too long; `progress` is a number that changes when it takes something.
    /// May be dropped and called again, which does not put off the next look.
    pub(super) async fn exhausted(&mut self, progress: impl Fn() -> u64) {
        while self.looks < self.limit {
            sleep_until(*self.next.get_or_insert_with(|| Instant::now() + LOOK)).await;
            self.next = None;
            let now = progress();
            self.looks = if now == self.progress { self.looks.saturating_add(1) } else { 0 };
            self.progress = now;
        }
    }

    /// How long a write that is stuck halfway may take in the end.
    pub(super) fn for_last_write(&mut self) -> Duration {
        self.looks = self.looks.saturating_add(1);
        LOOK
    }

    /// What is left for standard error to take the last words, or a part of them.
    pub(super) fn for_last_words(&self) -> Duration {
        LOOK * ALL_LOOKS.saturating_sub(self.looks).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{sleep, timeout};

    use super::*;

    const NEVER: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_output_that_takes_something_is_waited_for() {
        let (taken, looks) = (Cell::new(0), Cell::new(0));
        let mut patience = Patience::limited();
        let progress = || {
            looks.set(looks.get() + 1);
            if looks.get() % (LOOKS - 1) == 0 && taken.get() < 2 {
                taken.set(taken.get() + 1);
            }
            taken.get()
        };
        timeout(NEVER, patience.exhausted(progress)).await.unwrap();
        assert_eq!((taken.get(), looks.get()), (2, 2 * (LOOKS - 1) + LOOKS));
        assert!(patience.for_last_words() < LOOK * LOOKS);
    }

    /// As by signals, which interrupt the wait.
    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_interrupted_again_and_again_ends() {
        let mut patience = Patience::limited();
        let interrupted = async {
            while timeout(LOOK / 10, patience.exhausted(|| 0)).await.is_err() {
                // What the interruption asks for takes its time as well.
                sleep(LOOK / 10).await;
            }
        };
        timeout(NEVER, interrupted).await.unwrap();
        assert_eq!(patience.looks, LOOKS);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_request_to_end_there_is_no_limit() {
        let mut patience = Patience::unlimited();
        assert!(timeout(LOOK * (LOOKS + 4), patience.exhausted(|| 0)).await.is_err());
        patience.limit();
        timeout(NEVER, patience.exhausted(|| 0)).await.unwrap();
    }
}
