//! A server that does as it is told, at an address that it can leave and come back to.
//!
//! It runs in a thread of its own, with a runtime of its own: a test may pause its clock or keep its only thread busy
//! and the server still answers, and what is called here has happened when the call returns.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{mpsc as std_mpsc, Arc};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::notes::{Kind, Notebook};
use super::reply::{closed, Reply};

/// What a request's head may have, which is far more than a client of ours sends.
const MAX_HEAD: usize = 64 * 1024;

/// Decides what is done about requests.
pub trait Service: Send + Sync + 'static {
    /// What to do about a connection before anything is read from it; usually nothing.
    fn accepted(&self) -> Option<Reply> {
        None
    }

    fn answer(&self, request: &Request) -> Reply;
}

/// `GET` or another method, and a path with its query.
pub struct Request {
    pub method: String,
    pub path: String,
    /// Whether the client wants no other answer on this connection.
    pub is_last: bool,
}

/// A client's connection.
pub type Wire = Box<dyn Connection>;

pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the close of the connection a reset.
    fn reset(&self) {}
}

impl Connection for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

/// Knows no reset; its client sees the close at once.
impl Connection for UnixStream {}

/// Dropped, it closes its port and all connections.
pub struct Server {
    address: SocketAddr,
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server is told, and where it says that it has been done.
struct Order {
    what: What,
    done: Option<std_mpsc::Sender<io::Result<()>>>,
}

#[derive(Clone, Copy)]
enum What {
    Close,
    Open,
    Restart,
}

impl Server {
    /// Listens at this address, where port 0 is any free one, and at this path of a unix socket if there is one.
    pub fn start(
        address: SocketAddr,
        path: Option<PathBuf>,
        notebook: Notebook,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let (bound, is_bound) = std_mpsc::channel();
        let for_itself = orders.downgrade();
        let thread = std::thread::Builder::new()
            .name("engine-double".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let mut house = House::new(address, path, notebook, service, for_itself);
                    let opened = house.open();
                    let ok = opened.is_ok();
                    let _ = bound.send(opened.map(|()| house.address));
                    if ok {
                        house.run(received).await;
                    }
                });
            })?;
        let address = is_bound.recv().expect("the server's thread says how it went")?;
        Ok(Self {
            address,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections from now on, and cuts those that are there.
    pub fn close(&self) {
        self.tell(What::Close);
    }

    /// Listens again, at the same address.
    pub fn open(&self) {
        self.tell(What::Open);
    }

    fn tell(&self, what: What) {
        let (done, is_done) = std_mpsc::channel();
        let order = Order { what, done: Some(done) };
        if let Some(orders) = &self.orders {
            orders.send(order).expect("the server's thread runs");
        }
        is_done.recv().unwrap().expect("the address is still free");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct House {
    address: SocketAddr,
    path: Option<PathBuf>,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
    connections: JoinSet<()>,
    notebook: Notebook,
    service: Arc<dyn Service>,
    orders: mpsc::WeakUnboundedSender<Order>,
}

impl House {
    fn new(
        address: SocketAddr,
        path: Option<PathBuf>,
        notebook: Notebook,
        service: Arc<dyn Service>,
        orders: mpsc::WeakUnboundedSender<Order>,
    ) -> Self {
        Self {
            address,
            path,
            tcp: None,
            unix: None,
            connections: JoinSet::new(),
            notebook,
            service,
            orders,
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let wire: Wire = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => { self.obey(order).await; continue }
                    None => break,
                },
                Some(_) = self.connections.join_next() => continue,
                stream = accept_tcp(self.tcp.as_ref()) => Box::new(stream),
                stream = accept_unix(self.unix.as_ref()) => Box::new(stream),
            };
            let open = self.notebook.connection();
            let (service, notebook, orders) = (Arc::clone(&self.service), self.notebook.clone(), self.orders.clone());
            self.connections.spawn(async move {
                let _open = open;
                if serve(wire, &*service, &notebook).await == Next::Restart {
                    let what = What::Restart;
                    // The server may be going, and then it cuts all connections anyway.
                    orders.upgrade().map(|orders| orders.send(Order { what, done: None }));
                }
            });
        }
        self.close().await;
    }

    async fn obey(&mut self, order: Order) {
        let outcome = match order.what {
            What::Close => {
                self.close().await;
                Ok(())
            }
            What::Open => self.open(),
            What::Restart => {
                self.close().await;
                self.open()
            }
        };
        match order.done {
            Some(done) => drop(done.send(outcome)),
            None => outcome.unwrap(),
        }
    }

    /// Binds with `SO_REUSEADDR`, as the standard library does, so that connections of before are not in the way.
    fn open(&mut self) -> io::Result<()> {
        if self.tcp.is_none() {
            let listener = std::net::TcpListener::bind(self.address)?;
            listener.set_nonblocking(true)?;
            self.address = listener.local_addr()?;
            self.tcp = Some(TcpListener::from_std(listener)?);
        }
        if let (Some(path), None) = (&self.path, &self.unix) {
            let _ = fs::remove_file(path);
            self.unix = Some(UnixListener::bind(path)?);
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.tcp = None;
        self.unix = None;
        self.connections.shutdown().await;
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            // A client that has gone already, or too many open files for the moment.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn accept_unix(listener: Option<&UnixListener>) -> UnixStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What becomes of the server after a connection.
#[derive(PartialEq, Eq)]
enum Next {
    Nothing,
    Restart,
}

async fn serve(wire: Wire, service: &dyn Service, notebook: &Notebook) -> Next {
    let mut buffered = Buffered { wire, read: vec![] };
    if let Some(reply) = service.accepted() {
        return obey(buffered, reply).await;
    }
    while let Some(request) = buffered.request().await {
        // Until its last byte has been sent. It is noted before the request is, so that no request seems to be answered.
        let _unanswered = (kind(&request.path) != Kind::Events).then(|| notebook.unanswered());
        let in_flight = notebook.request(kind(&request.path), &request.path);
        let reply = match service.answer(&request) {
            Reply::Late(time, answer) => {
                sleep(time).await;
                Reply::Answer(answer)
            }
            Reply::Held(gate, answer) => {
                let _held = notebook.held();
                gate.passed().await;
                Reply::Answer(answer)
            }
            other => other,
        };
        drop(in_flight);
        let hangs = matches!(reply, Reply::Hang | Reply::Stream(_)) && kind(&request.path) != Kind::Events;
        let _hanging = hangs.then(|| notebook.hanging());
        match reply {
            Reply::Answer(mut bytes) => {
                if request.method == "HEAD" {
                    bytes.truncate(head_length(&bytes).unwrap_or(bytes.len()));
                }
                if request.is_last {
                    return obey(buffered, Reply::Close(bytes)).await;
                }
                if buffered.wire.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            other => return obey(buffered, other).await,
        }
    }
    Next::Nothing
}

/// Does what ends a connection.
async fn obey(mut buffered: Buffered, reply: Reply) -> Next {
    match reply {
        Reply::Restart => return Next::Restart,
        Reply::Reset => buffered.wire.reset(),
        Reply::Hang => closed(&mut buffered.wire).await,
        Reply::Stream(stream) => stream(buffered.wire).await,
        Reply::Close(bytes) | Reply::Answer(bytes) | Reply::Late(_, bytes) | Reply::Held(_, bytes) => {
            // A client that had enough may be gone.
            let _ = buffered.wire.write_all(&bytes).await;
            let _ = buffered.wire.shutdown().await;
            // To close with something unread would be a reset, which can take the answer with it.
            let _ = timeout(Duration::from_secs(5), closed(&mut buffered.wire)).await;
        }
    }
    Next::Nothing
}

struct Buffered {
    wire: Wire,
    read: Vec<u8>,
}

impl Buffered {
    /// Reads one request up to its empty line; `None` when the client has closed the connection or sends something else.
    async fn request(&mut self) -> Option<Request> {
        let length = loop {
            if let Some(length) = head_length(&self.read) {
                break length;
            }
            if self.read.len() > MAX_HEAD || self.wire.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..length).collect()).ok()?;
        let mut words = head.split(' ');
        Some(Request {
            method: words.next()?.to_owned(),
            path: words.next()?.to_owned(),
            is_last: head.to_ascii_lowercase().contains("\r\nconnection: close\r\n"),
        })
    }
}

/// How long a head is, its empty line included.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.map(|position| position + 4)
}

/// Which endpoint a path with its query is of.
pub fn kind(path: &str) -> Kind {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<_> = path
        .split('/')
        .skip(1)
        .skip_while(|segment| is_version(segment))
        .collect();
    match segments[..] {
        ["_ping"] => Kind::Ping,
        ["events"] => Kind::Events,
        ["containers", "json"] => Kind::List,
        ["containers", _, "json"] => Kind::Inspect,
        _ => Kind::Other,
    }
}

/// Whether a path's segment is `v1.41` or the like.
pub fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.'))
}
