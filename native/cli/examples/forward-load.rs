//! Load for `bench/bench_forward.erl`: a service, and clients that measure the throughput to it.
//!
//! ```text
//! forward-load serve 127.0.0.1:7000               prints "listening on …", and ends with its standard input
//! forward-load connections ADDRESS CLIENTS MS     prints the connections a second: connect, 64 bytes, 64 bytes back, closed
//! forward-load download ADDRESS STREAMS MS        prints the bits a second, from the service
//! forward-load upload ADDRESS STREAMS MS          prints the bits a second, to the service
//! ```
//!
//! The first byte of a connection selects its kind. The service ends the stream after its answer, before the client does, so that
//! clients do not run out of ports.

use std::io;
use std::net::SocketAddr;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

const QUESTION: [u8; 64] = [b'q'; 64];
const DOWNLOAD: u8 = b'd';
const UPLOAD: u8 = b'u';
const PIECE: usize = 256 * 1024;
/// A client that waits longer than this counts as hung.
const HANGS: Duration = Duration::from_secs(10);
/// Time before the measurement starts.
const WARM_UP: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = match arguments[..] {
        ["serve", address] => runtime.block_on(serve(address)),
        [what, address, count, ms] => runtime.block_on(measure(what, address, number(count), number(ms))),
        _ => {
            eprintln!("usage: forward-load serve ADDRESS | connections|download|upload ADDRESS COUNT MILLISECONDS");
            exit(2)
        }
    };
    if let Err(error) = outcome {
        eprintln!("forward-load: {error}");
        exit(1);
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("forward-load: {text} is no number");
        exit(2)
    })
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        exit(0);
    });
    loop {
        // An error means that the client is gone already.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut question = QUESTION;
    stream.read_exact(&mut question[..1]).await?;
    match question[0] {
        DOWNLOAD => {
            let piece = vec![1; PIECE];
            loop {
                stream.write_all(&piece).await?;
            }
        }
        UPLOAD => {
            let mut piece = vec![0; PIECE];
            while stream.read(&mut piece).await? > 0 {}
        }
        _ => {
            stream.read_exact(&mut question[1..]).await?;
            stream.write_all(&question).await?;
        }
    }
    Ok(())
}

async fn measure(what: &str, address: &str, count: u64, ms: u64) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let counter = Arc::new(AtomicU64::new(0));
    for _ in 0..count {
        let counter = Arc::clone(&counter);
        match what {
            "connections" => tokio::spawn(async move {
                loop {
                    match timeout(HANGS, ask(address)).await {
                        Ok(Ok(())) => counter.fetch_add(1, Ordering::Relaxed),
                        Ok(Err(error)) => fail(&error),
                        Err(_) => fail(&io::ErrorKind::TimedOut.into()),
                    };
                }
            }),
            "download" | "upload" => {
                let mut stream = TcpStream::connect(address).await?;
                let first = if what == "download" { DOWNLOAD } else { UPLOAD };
                stream.write_all(&[first]).await?;
                tokio::spawn(async move {
                    let mut piece = vec![0; PIECE];
                    loop {
                        let moved = match first {
                            DOWNLOAD => stream.read(&mut piece).await,
                            _ => stream.write(&piece).await,
                        };
                        match moved {
                            Ok(0) => fail(&io::ErrorKind::UnexpectedEof.into()),
                            Ok(length) => counter.fetch_add(length as u64, Ordering::Relaxed),
                            Err(error) => fail(&error),
                        };
                    }
                })
            }
            _ => return Err(io::Error::other("it is connections, download or upload")),
        };
    }
    sleep(WARM_UP).await;
    let (before, began) = (counter.load(Ordering::Relaxed), Instant::now());
    sleep(Duration::from_millis(ms)).await;
    let per_second = (counter.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    println!(
        "{:.0}",
        if what == "connections" {
            per_second
        } else {
            per_second * 8.0
        }
    );
    exit(0)
}

/// Ends the measurement: a failed connection costs less, so the result would be too good.
fn fail(error: &io::Error) -> ! {
    eprintln!("forward-load: a connection failed: {error}");
    exit(1)
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&QUESTION).await?;
    let mut answer = [0; QUESTION.len() + 1];
    let mut length = 0;
    loop {
        match stream.read(&mut answer[length..]).await? {
            0 if answer[..length] == QUESTION => return Ok(()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
}
