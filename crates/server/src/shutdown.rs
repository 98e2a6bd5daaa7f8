//! How the end is made known: one `Shutdown` begins it, many `Closing` learn of it.

use tokio::sync::watch;

/// Begins the end. One for the process.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<bool>);

/// Learns of the end. One for each connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Closing(watch::Receiver<bool>);

impl Shutdown {
    /// Nothing has begun to end.
    pub fn new() -> (Self, Closing) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Closing(receiver))
    }

    /// Asks everybody to close.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Closing {
    /// Returns when the process begins to stop, at once if it already does. A connection then sends
    /// `connection.close` 320 and waits for the client's answer; it need not bound its waiting, as
    /// the process does. Dropping the future loses nothing.
    pub async fn requested(&mut self) {
        // The only error is that the sender is gone, which is the end as well.
        let _ = self.0.wait_for(|begun| *begun).await;
    }

    /// Whether this one has not heard yet of all there is to hear. Costs a look at a number, for who asks often.
    pub fn may_be_requested(&self) -> bool {
        // The error is that the sender is gone, which is the end as well.
        self.0.has_changed().unwrap_or(true)
    }

    /// Whether it has begun.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}
