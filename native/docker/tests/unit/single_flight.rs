use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

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
    assert!(flights.lock().is_empty());
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
    assert!(flights.lock().is_empty());
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
    assert!(flights.lock().is_empty());
}

#[tokio::test]
async fn a_panic_is_an_error_for_all_who_wait() {
    let flights = flights();
    let outcome = flights.join(&"a", || async { panic!("a test's panic") }).await;
    assert_eq!(outcome, Err(Error::abandoned()));
    assert!(flights.lock().is_empty());
}
