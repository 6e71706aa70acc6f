//! The threads: each has a runtime of its own, listens at every place, and keeps the connections that it has accepted.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio::time::{interval, sleep};
use tracing::warn;

use super::crew::{Crew, Seat};
use super::dial::Dialer;
use super::reach::Reach;
use super::relay::{Progress, Relay};
use super::rule::Rule;

/// How long to wait when the system can't give another connection, because there are no descriptors or no memory.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Not longer than what connections wait for.
const TICK: Duration = Duration::from_secs(1);

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Open,
    /// Nothing is accepted any more.
    Draining,
    /// What is still there is cut.
    Over,
}

/// What all threads share.
pub struct Service {
    pub routes: Vec<Route>,
    pub dialer: Arc<Dialer>,
    pub crew: Arc<Crew>,
    pub idle_timeout: Option<Duration>,
    /// A permit for each connection that may be there.
    pub slots: Arc<Semaphore>,
    /// Connections so far.
    pub accepted: AtomicU64,
    pub phase: watch::Sender<Phase>,
}

/// A rule, and how it is going.
pub struct Route {
    pub rule: Rule,
    pub reach: Reach,
}

/// A thread that serves one socket of each route, in their order; it ends by itself in [`Phase::Over`].
///
/// # Errors
///
/// Whatever the system says.
pub fn start(
    service: &Arc<Service>,
    own: usize,
    runtime: Runtime,
    listeners: Vec<TcpListener>,
) -> io::Result<JoinHandle<()>> {
    let service = Arc::clone(service);
    thread::Builder::new().name("eid-forward".to_owned()).spawn(move || {
        runtime.block_on(serve(&service, own, listeners));
        // Connections that are left are dropped with the runtime.
    })
}

async fn serve(service: &Arc<Service>, own: usize, listeners: Vec<TcpListener>) {
    let mut over = service.phase.subscribe();
    for (index, listener) in listeners.into_iter().enumerate() {
        tokio::spawn(accept(Arc::clone(service), own, index, listener));
    }
    // A timer that is due before all others wakes the thread when it is set. With this one no connection's is.
    tokio::spawn(async {
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
        }
    });
    // It is dropped only if the command ends.
    let _ = over.wait_for(|phase| *phase == Phase::Over).await;
}

/// Until the end begins; what the kernel has accepted by then is still served.
async fn accept(service: Arc<Service>, own: usize, index: usize, listener: TcpListener) -> io::Result<()> {
    let listener = AsyncListener::from_std(listener)?;
    let mut phase = service.phase.subscribe();
    let draining = async { phase.wait_for(|phase| *phase != Phase::Open).await.map(drop) };
    tokio::pin!(draining);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = &mut draining => break,
        };
        match accepted {
            Ok((client, _)) => begin(&service, own, index, client).await,
            Err(error) => pause(&error).await,
        }
    }
    let listener = listener.into_std()?;
    while let Ok((client, _)) = listener.accept() {
        client.set_nonblocking(true)?;
        begin(&service, own, index, TcpStream::from_std(client)?).await;
    }
    Ok(())
}

/// What is beyond the limit waits here, and then unaccepted.
async fn begin(service: &Arc<Service>, own: usize, index: usize, client: TcpStream) {
    service.accepted.fetch_add(1, Ordering::Relaxed);
    let slots = Arc::clone(&service.slots);
    if let Ok(slot) = slots.acquire_owned().await {
        tokio::spawn(forward(Arc::clone(service), own, index, client, slot));
    }
}

async fn forward(service: Arc<Service>, own: usize, index: usize, client: TcpStream, slot: OwnedSemaphorePermit) {
    let Route { rule, reach } = &service.routes[index];
    match service.dialer.dial(&rule.target).await {
        Ok(server) => {
            reach.succeeded(rule);
            let mut relay = Relay::new(client, server, service.idle_timeout);
            if relay.until_bulk().await == Progress::Bulk {
                carry(service.crew.seat(own), own, relay, slot).await;
            }
        }
        Err(reason) => {
            // As if it had been refused, as far as that is still possible.
            let _ = client.set_zero_linger();
            reach.failed(rule, &reason);
        }
    }
}

/// In the thread of this seat.
async fn carry(seat: Seat, own: usize, mut relay: Relay, slot: OwnedSemaphorePermit) {
    if seat.member == own {
        relay.until_over().await;
    } else if let Ok(moving) = relay.leave() {
        seat.runtime().spawn(async move {
            if let Ok(mut relay) = moving.arrive() {
                relay.until_over().await;
            }
            drop((seat, slot));
        });
    }
}

/// A connection that was gone before it was accepted is nothing; else there is a shortage.
async fn pause(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!("no connection can be accepted for the moment: {error}");
        sleep(SHORTAGE).await;
    }
}
