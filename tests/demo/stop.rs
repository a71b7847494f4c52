//! Why the demo ends: Ctrl-C, a signal, a closed terminal, or its time is up.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub struct Stop {
    sender: watch::Sender<bool>,
    receiver: watch::Receiver<bool>,
}

impl Stop {
    pub fn listen() -> Result<Stop, String> {
        let (sender, receiver) = watch::channel(false);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind).map_err(|error| format!("catching signals: {error}"))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    sender.send_replace(true);
                }
            });
        }
        Ok(Stop { sender, receiver })
    }

    pub fn after(&self, length: Option<Duration>) {
        let Some(length) = length else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            sender.send_replace(true);
        });
    }

    pub fn requested(&self) -> bool {
        *self.receiver.borrow()
    }

    pub async fn wait(&mut self) {
        // The sender lives as long as `self`.
        let _ = self.receiver.wait_for(|stop| *stop).await;
    }
}
