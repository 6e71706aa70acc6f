//! An HTTP server for tests, which can stop listening on its address and listen there again.
//!
//! The server has its own thread and its own runtime. A test may therefore pause its own clock or block its only
//! thread, and the server still answers. Each method returns after the server has done the work.

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

/// Limit for the head of a request, far larger than the heads that our clients send.
const MAX_HEAD: usize = 64 * 1024;

/// Decides how to answer requests.
pub trait Service: Send + Sync + 'static {
    /// The reply to a new connection before any request, usually none.
    fn accepted(&self) -> Option<Reply> {
        None
    }

    fn answer(&self, request: &Request) -> Reply;
}

/// A request: the method, and the path with its query.
pub struct Request {
    pub method: String,
    pub path: String,
    /// The client wants no further answer on this connection.
    pub is_last: bool,
}

/// A client's connection.
pub type Wire = Box<dyn Connection>;

pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes closing the connection send a reset.
    fn reset(&self) {}
}

impl Connection for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

/// Unix sockets have no reset. The client sees the close at once.
impl Connection for UnixStream {}

/// A running server. Dropping it closes its port and all connections.
pub struct Server {
    address: SocketAddr,
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// A command for the server's thread, and the channel on which the thread reports the result.
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
    /// Listens on this address, where port 0 means any free port, and on this unix socket if there is one.
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

    /// Closes all connections and refuses new ones.
    pub fn close(&self) {
        self.tell(What::Close);
    }

    /// Listens again on the same address.
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

/// The state of the server's thread.
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
                    // If the server has been dropped meanwhile, it closes all connections anyway.
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

    /// Binds with `SO_REUSEADDR`, as the standard library does, so that old connections do not block the address.
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
            // The client has already gone, or the process has too many open files for the moment.
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

/// The server's next step after a connection has ended.
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
        let in_flight = notebook.request(kind(&request.path), &request.path);
        // The request counts as unanswered until the last byte has been sent.
        let _unanswered = (kind(&request.path) != Kind::Events).then(|| notebook.unanswered());
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

/// Carries out a reply that ends the connection.
async fn obey(mut buffered: Buffered, reply: Reply) -> Next {
    match reply {
        Reply::Restart => return Next::Restart,
        Reply::Reset => buffered.wire.reset(),
        Reply::Hang => closed(&mut buffered.wire).await,
        Reply::Stream(stream) => stream(buffered.wire).await,
        Reply::Close(bytes) | Reply::Answer(bytes) | Reply::Late(_, bytes) | Reply::Held(_, bytes) => {
            // The client may have closed the connection already.
            let _ = buffered.wire.write_all(&bytes).await;
            let _ = buffered.wire.shutdown().await;
            // Closing with unread data would send a reset, which can destroy the answer on its way.
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
    /// Reads one request up to its empty line. Returns `None` if the client closes the connection or sends something
    /// else.
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

/// The length of a head, including its empty line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.map(|position| position + 4)
}

/// The endpoint for a path, with or without a query.
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

/// Returns true if this segment of a path is a version, such as `v1.41`.
pub fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.'))
}
