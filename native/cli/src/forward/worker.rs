//! The threads: each has a runtime of its own, listens at every place, and keeps the connections that it has accepted.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tracing::warn;

use super::dial::Dialer;
use super::reach::Reach;
use super::relay::Relay;
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

/// A thread that runs.
pub struct Worker {
    pub runtime: Handle,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread that serves one socket of each route, in their order.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn start(service: &Arc<Service>, listeners: Vec<TcpListener>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let service = Arc::clone(service);
        let thread = thread::Builder::new().name("eid-forward".to_owned()).spawn(move || {
            runtime.block_on(serve(&service, listeners));
            // Connections that are left are dropped with the runtime.
        })?;
        Ok(Self {
            runtime: handle,
            thread,
        })
    }

    /// Waits until it has ended, in [`Phase::Over`].
    pub fn join(self) {
        // A panic has been reported where it happened.
        let _ = self.thread.join();
    }
}

async fn serve(service: &Arc<Service>, listeners: Vec<TcpListener>) {
    let mut over = service.phase.subscribe();
    let mut accepting = JoinSet::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        accepting.spawn(accept(Arc::clone(service), index, listener));
    }
    // A timer that is due before all others wakes the thread when it is set. With this one no connection's is.
    let tick = tokio::spawn(async {
        let mut tick = interval(TICK);
        loop {
            tick.tick().await;
        }
    });
    // It is dropped only if the command ends.
    let _ = over.wait_for(|phase| *phase == Phase::Over).await;
    tick.abort();
}

/// Until the end begins; what the kernel has accepted by then is still served.
async fn accept(service: Arc<Service>, index: usize, listener: TcpListener) -> io::Result<()> {
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
            Ok((client, _)) => begin(&service, index, client).await,
            Err(error) => pause(&error).await,
        }
    }
    let listener = listener.into_std()?;
    while let Ok((client, _)) = listener.accept() {
        client.set_nonblocking(true)?;
        begin(&service, index, TcpStream::from_std(client)?).await;
    }
    Ok(())
}

/// What is beyond the limit waits here, and then unaccepted.
async fn begin(service: &Arc<Service>, index: usize, client: TcpStream) {
    service.accepted.fetch_add(1, Ordering::Relaxed);
    let slots = Arc::clone(&service.slots);
    if let Ok(slot) = slots.acquire_owned().await {
        tokio::spawn(forward(Arc::clone(service), index, client, slot));
    }
}

async fn forward(service: Arc<Service>, index: usize, client: TcpStream, _slot: OwnedSemaphorePermit) {
    let Route { rule, reach } = &service.routes[index];
    match service.dialer.dial(&rule.target).await {
        Ok(server) => {
            reach.succeeded(rule);
            Relay::new(client, server, service.idle_timeout).await;
        }
        Err(reason) => {
            // As if it had been refused, as far as that is still possible.
            let _ = client.set_zero_linger();
            reach.failed(rule, &reason);
        }
    }
}

/// A connection that was gone before it was accepted is nothing; else there is a shortage.
async fn pause(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!("no connection can be accepted for the moment: {error}");
        sleep(SHORTAGE).await;
    }
}
