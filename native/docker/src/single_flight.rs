//! Equal questions that are asked at the same time share one answer.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Error;

/// Where the answer will be, for those who wait for it.
type Outcome<T> = watch::Sender<Option<Result<T, Error>>>;

/// Work in progress by key, each done once however many wait for it. Nothing is kept: once a work has ended, the next
/// who asks starts it again.
pub(crate) struct SingleFlight<K, T> {
    flights: Arc<Mutex<HashMap<K, Arc<Outcome<T>>>>>,
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self {
            flights: Arc::default(),
        }
    }

    /// Waits for the work of this key that is in progress, or starts it.
    ///
    /// It runs in a task of its own: who gives up waiting does not take the answer from the others. When nobody waits
    /// any more it is cancelled, so no queue of unwanted work builds up behind an engine that hangs. If it panics, all
    /// who wait get [`Error::abandoned`].
    pub(crate) async fn join<F>(&self, key: &K, work: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut outcome = self.subscribe(key, work);
        let outcome = outcome.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) => Err(Error::abandoned()),
        }
    }

    fn subscribe<F>(&self, key: &K, work: impl FnOnce() -> F) -> watch::Receiver<Option<Result<T, Error>>>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flights = lock(&self.flights);
        if let Some(outcome) = flights.get(key) {
            return outcome.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        let outcome = Arc::new(sender);
        flights.insert(key.clone(), Arc::clone(&outcome));
        let flight = Flight {
            flights: Arc::clone(&self.flights),
            key: key.clone(),
            outcome,
        };
        tokio::spawn(flight.run(work()));
        receiver
    }

    /// Later calls of `join` do not wait for work that has begun by now, because its answer may be out of date. Who
    /// waits for it already still gets it.
    pub(crate) fn forget(&self) {
        lock(&self.flights).clear();
    }
}

/// One work in progress; dropped, also by a panic, it leaves the map.
struct Flight<K: Eq + Hash, T> {
    flights: Arc<Mutex<HashMap<K, Arc<Outcome<T>>>>>,
    key: K,
    outcome: Arc<Outcome<T>>,
}

impl<K: Eq + Hash, T> Flight<K, T> {
    async fn run(self, work: impl Future<Output = Result<T, Error>>) {
        tokio::select! {
            outcome = work => {
                // First out of the map, so that who asks from now on does not get an answer from before.
                self.leave();
                self.outcome.send_replace(Some(outcome));
            }
            () = self.unwanted() => {}
        }
    }

    /// Ends when nobody waits any more, and then nobody can begin to.
    async fn unwanted(&self) {
        loop {
            self.outcome.closed().await;
            let mut flights = lock(&self.flights);
            // Under the lock nobody can subscribe; somebody may have before it was taken.
            if self.outcome.receiver_count() == 0 {
                self.remove_from(&mut flights);
                return;
            }
        }
    }

    fn leave(&self) {
        self.remove_from(&mut lock(&self.flights));
    }

    /// After a `forget` the key may belong to another work.
    fn remove_from(&self, flights: &mut HashMap<K, Arc<Outcome<T>>>) {
        if flights
            .get(&self.key)
            .is_some_and(|outcome| Arc::ptr_eq(outcome, &self.outcome))
        {
            flights.remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, T> Drop for Flight<K, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// No code panics while it holds the lock, so a poisoned one protects a map that is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    /// A work that ends when it is told to, and counts how often it was begun and how often it got to its end.
    #[derive(Clone, Default)]
    struct Work {
        begun: Arc<AtomicUsize>,
        ended: Arc<AtomicUsize>,
        go: Arc<Notify>,
    }

    impl Work {
        async fn run(self) -> Result<usize, Error> {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.go.notified().await;
            self.ended.fetch_add(1, Ordering::SeqCst);
            Ok(number)
        }
    }

    fn flights() -> Arc<SingleFlight<&'static str, usize>> {
        Arc::new(SingleFlight::new())
    }

    fn join(
        flights: &Arc<SingleFlight<&'static str, usize>>,
        key: &'static str,
        work: &Work,
    ) -> tokio::task::JoinHandle<Result<usize, Error>> {
        let (flights, work) = (Arc::clone(flights), work.clone());
        tokio::spawn(async move { flights.join(&key, || work.run()).await })
    }

    /// Lets all other tasks of the test's single thread run until they wait.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn equal_keys_share_and_nothing_is_kept() {
        let (flights, work) = (flights(), Work::default());
        let waiters: Vec<_> = (0..10).map(|_| join(&flights, "a", &work)).collect();
        let other = join(&flights, "b", &work);
        settle().await;
        assert_eq!(work.begun.load(Ordering::SeqCst), 2);
        work.go.notify_waiters();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(1));
        }
        assert_eq!(other.await.unwrap(), Ok(2));
        assert!(lock(&flights.flights).is_empty());
        let again = join(&flights, "a", &work);
        settle().await;
        work.go.notify_waiters();
        assert_eq!(again.await.unwrap(), Ok(3));
    }

    #[tokio::test]
    async fn who_gives_up_does_not_end_it_for_the_others() {
        let (flights, work) = (flights(), Work::default());
        let waiter = join(&flights, "a", &work);
        settle().await;
        let impatient = timeout(Duration::ZERO, flights.join(&"a", || work.clone().run()));
        assert!(impatient.await.is_err());
        work.go.notify_waiters();
        assert_eq!(waiter.await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_cancelled() {
        let (flights, work) = (flights(), Work::default());
        let waiter = join(&flights, "a", &work);
        settle().await;
        waiter.abort();
        settle().await;
        assert!(lock(&flights.flights).is_empty());
        work.go.notify_one();
        settle().await;
        assert_eq!(work.ended.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_forgotten_work_is_not_joined() {
        let flights = flights();
        let (old, new, unused) = (Work::default(), Work::default(), Work::default());
        let before = join(&flights, "a", &old);
        settle().await;
        flights.forget();
        let after = join(&flights, "a", &new);
        settle().await;
        old.go.notify_waiters();
        assert_eq!(before.await.unwrap(), Ok(1));
        // The end of the old work leaves the new one where it can be joined.
        let joined = join(&flights, "a", &unused);
        settle().await;
        new.go.notify_waiters();
        assert_eq!((after.await.unwrap(), joined.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(unused.begun.load(Ordering::SeqCst), 0);
        assert!(lock(&flights.flights).is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_all_who_wait() {
        let flights = flights();
        let outcome = flights.join(&"a", || async { panic!("a test's panic") }).await;
        assert_eq!(outcome, Err(Error::abandoned()));
        assert!(lock(&flights.flights).is_empty());
    }
}
