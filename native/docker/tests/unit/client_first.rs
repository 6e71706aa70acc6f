use super::*;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn what_comes_early_is_read_after_the_first_write() {
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"early").await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(ClientFirst::new(ours));
    let reader = tokio::spawn(async move { reading.read_u8().await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!reader.is_finished());
    writing.write_all(b"?").await.unwrap();
    assert_eq!(reader.await.unwrap(), b'e');
}
