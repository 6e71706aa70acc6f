//! Tests the engine client over TLS and over unix sockets, also with servers that are not engines.

mod tls_double;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use eid_docker::{Credentials, Endpoint, Engine, Error, Limits};
use rcgen::KeyPair;
use tls_double::{clients_of_all_kinds, openssl, read_request, Authority, Folder, Identity, Setup, Validity, VERSIONS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::time::timeout;
use tokio_rustls::rustls::version::TLS12;

/// Limits that are never reached, even on a busy machine.
const PATIENT: Limits = Limits {
    connect: Duration::from_secs(1000),
    response: Duration::from_secs(1000),
    body: 1024 * 1024,
};

/// Upper limit for every wait. A test that reaches it hangs.
const FAR_TOO_LONG: Duration = Duration::from_secs(60);

const EMPTY_LIST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

/// Lists the containers and returns their number.
async fn ask(engine: &Engine) -> Result<usize, Error> {
    let asked = timeout(FAR_TOO_LONG, engine.list()).await.unwrap();
    // The reason is compared, not its subject.
    let plain = |error: Error| error.detail().map(Error::unreachable).unwrap_or(error);
    asked.map(|containers| containers.len()).map_err(plain)
}

fn engine(endpoint: &str, certificates: Option<&Path>) -> Engine {
    let endpoint = Endpoint::parse(endpoint).unwrap();
    Engine::with_credentials(endpoint, PATIENT, certificates.map(in_folder).unwrap_or_default())
}

fn in_folder(folder: &Path) -> Credentials {
    Credentials {
        certificates: Some(folder.to_owned()),
        token_file: None,
    }
}

/// Lists the containers of the server on this port of 127.0.0.1.
async fn ask_port(port: u16, certificates: &Folder) -> Result<usize, Error> {
    ask(&engine(&format!("https://127.0.0.1:{port}"), Some(certificates.path()))).await
}

fn unreachable(why: impl Into<String>) -> Result<usize, Error> {
    Err(Error::unreachable(why))
}

/// Starts a server on 127.0.0.1 that answers each connection with these bytes and closes it. Returns its port. If there
/// are no bytes, the server keeps the connections open.
async fn not_tls(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut hello = [0; 2048];
                let _ = tcp.read(&mut hello).await;
                let _ = tcp.write_all(bytes).await;
                if bytes.is_empty() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    port
}

// TLS: the server's certificate

#[tokio::test]
async fn a_server_that_is_who_it_should_be() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let server = Setup::new(&identity).start().await;
    let folder = Folder::of_client(&authority, None);
    let engine = engine(&format!("https://{}", server.address()), Some(folder.path()));
    for _ in 0..3 {
        assert_eq!(ask(&engine).await, Ok(0));
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests().len(), 4);
    let host = format!("host: {}\r\n", server.address());
    assert!(server.requests().iter().all(|head| head.contains(&host)));
}

#[tokio::test]
async fn a_server_of_another_authority_learns_nothing() {
    for other in [Authority::new(), Authority::called("another")] {
        for version in VERSIONS {
            let authority = Authority::new();
            let client = authority.client();
            let identity = other.server("127.0.0.1");
            let server = Setup {
                clients: Some(&authority),
                versions: &[version],
                ..Setup::new(&identity)
            };
            let server = server.start().await;
            let folder = Folder::of_client(&authority, Some(&client));
            assert_eq!(
                ask_port(server.address().port(), &folder).await,
                unreachable("the server's certificate is not from the authority in ca.pem")
            );
            assert_eq!(server.connections(), 1);
            assert_eq!(server.client_certificates(), 0);
            assert_eq!(server.requests().len(), 0);
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let authority = Authority::new();
    let folder = Folder::of_client(&authority, Some(&authority.client()));
    for name in ["127.0.0.2", "localhost", "127.0.0.1.example"] {
        let identity = authority.server(name);
        let server = Setup::new(&identity).start().await;
        assert_eq!(
            ask_port(server.address().port(), &folder).await,
            unreachable("the server's certificate is not for 127.0.0.1")
        );
        let template = format!("https://{{host}}:{}", server.address().port());
        let endpoint = Endpoint::for_host(&template, "engine.example", server.address().ip()).unwrap();
        let engine = Engine::with_credentials(endpoint, PATIENT, in_folder(folder.path()));
        assert_eq!(
            ask(&engine).await,
            unreachable("the server's certificate is not for engine.example")
        );
        assert_eq!(server.requests().len(), 0);
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_now() {
    let authority = Authority::new();
    let folder = Folder::of_client(&authority, None);
    for (validity, why) in [
        (Validity::Past, "the server's certificate has expired"),
        (Validity::Future, "the server's certificate is not valid yet"),
    ] {
        let identity = authority.server_when("127.0.0.1", &validity);
        let server = Setup::new(&identity).start().await;
        assert_eq!(ask_port(server.address().port(), &folder).await, unreachable(why));
    }
}

#[tokio::test]
async fn a_certificate_that_is_a_clients() {
    let authority = Authority::new();
    let identity = authority.client();
    let server = Setup::new(&identity).start().await;
    assert_eq!(
        ask_port(server.address().port(), &Folder::of_client(&authority, None)).await,
        unreachable("the server's certificate is not one for servers")
    );
}

#[tokio::test]
async fn the_host_of_a_template_is_in_the_certificate_and_is_not_looked_up() {
    let authority = Authority::new();
    let folder = Folder::of_client(&authority, None);
    let identity = authority.server("engine.example");
    let server = Setup::new(&identity).start().await;
    let template = format!("https://{{host}}:{}", server.address().port());
    // Upper case and the IPv4-mapped form are equivalent.
    for (host, ip) in [("engine.example", "127.0.0.1"), ("Engine.Example", "::ffff:127.0.0.1")] {
        let endpoint = Endpoint::for_host(&template, host, ip.parse().unwrap()).unwrap();
        let engine = Engine::with_credentials(endpoint, PATIENT, in_folder(folder.path()));
        assert_eq!(ask(&engine).await, Ok(0));
    }
    let host = format!("host: engine.example:{}\r\n", server.address().port());
    assert!(server.requests().iter().all(|head| head.contains(&host)));
}

#[tokio::test]
async fn ipv6() {
    let authority = Authority::new();
    let identity = authority.server("::1");
    let server = Setup {
        address: "[::1]:0",
        ..Setup::new(&identity)
    };
    let server = server.start().await;
    let folder = Folder::of_client(&authority, None);
    let literal = Endpoint::parse(&format!("https://{}", server.address())).unwrap();
    let template = format!("https://{{host}}:{}", server.address().port());
    let template = Endpoint::for_host(&template, "0::1", "::1".parse().unwrap()).unwrap();
    assert_eq!(literal, template);
    let engine = Engine::with_credentials(template, PATIENT, in_folder(folder.path()));
    assert_eq!(ask(&engine).await, Ok(0));
    let host = format!("host: {}\r\n", server.address());
    assert!(server.requests().iter().all(|head| head.contains(&host)));
}

// TLS: the client's certificate

#[tokio::test]
async fn clients_with_keys_of_all_kinds() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    for version in VERSIONS {
        let server = Setup {
            clients: Some(&authority),
            versions: &[version],
            ..Setup::new(&identity)
        };
        let server = server.start().await;
        for (number, (kind, client)) in clients_of_all_kinds(&authority).iter().enumerate() {
            let folder = Folder::of_client(&authority, Some(client));
            assert_eq!(ask_port(server.address().port(), &folder).await, Ok(0), "{kind}");
            assert_eq!(server.client_certificates(), number + 1, "{kind}");
        }
    }
}

/// Repeats the test many times, because in TLS 1.3 the refusal races with the first request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_of_another_authority() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    for other in [Authority::new(), Authority::called("another")] {
        let folder = Folder::of_client(&authority, Some(&other.client()));
        for version in VERSIONS {
            let server = Setup {
                clients: Some(&authority),
                versions: &[version],
                ..Setup::new(&identity)
            };
            let server = server.start().await;
            for number in 1..=50 {
                assert_eq!(
                    ask_port(server.address().port(), &folder).await,
                    unreachable("the server refused the client certificate")
                );
                assert_eq!(server.connections(), number);
            }
            assert_eq!(server.requests().len(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_that_is_missing() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let folder = Folder::of_client(&authority, None);
    for version in VERSIONS {
        let server = Setup {
            clients: Some(&authority),
            versions: &[version],
            ..Setup::new(&identity)
        };
        let server = server.start().await;
        for number in 1..=50 {
            match ask_port(server.address().port(), &folder).await {
                Err(Error::Unreachable(_, why)) => {
                    assert!(why.contains("ask") && why.contains("for a client certificate"), "{why}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(server.connections(), number);
        }
        assert_eq!(server.requests().len(), 0);
    }
}

#[tokio::test]
async fn plain_tcp_gets_no_certificate() {
    let authority = Authority::new();
    let folder = Folder::of_client(&authority, Some(&authority.client()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let first = read_request(&mut tcp).await.unwrap();
        tcp.write_all(EMPTY_LIST).await.unwrap();
        let second = read_request(&mut tcp).await.unwrap();
        tcp.write_all(EMPTY_LIST).await.unwrap();
        [first, second]
    });
    assert_eq!(ask(&engine(&endpoint, Some(folder.path()))).await, Ok(0));
    assert!(received.await.unwrap().iter().all(|head| head.starts_with("GET /")));
}

// TLS: the handshake

#[tokio::test]
async fn a_server_of_tls_1_2() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let server = Setup {
        versions: &[&TLS12],
        ..Setup::new(&identity)
    };
    let server = server.start().await;
    let folder = Folder::of_client(&authority, None);
    assert_eq!(ask_port(server.address().port(), &folder).await, Ok(0));
}

#[tokio::test]
async fn servers_that_do_not_speak_tls() {
    let folder = Folder::of_client(&Authority::new(), None);
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(
            ask_port(not_tls(bytes).await, &folder).await,
            unreachable("the peer does not speak TLS")
        );
    }
    assert_eq!(
        ask_port(not_tls(b"\x16\x03\x03\0").await, &folder).await,
        unreachable("the peer closed the connection in the TLS handshake")
    );
    // The TLS alert protocol_version.
    assert_eq!(
        ask_port(not_tls(b"\x15\x03\x01\0\x02\x02\x46").await, &folder).await,
        unreachable("the server has no version or cipher of TLS in common with eid")
    );
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_with_the_connect_limit() {
    let folder = Folder::of_client(&Authority::new(), None);
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{}", not_tls(b"").await)).unwrap();
    let limits = Limits {
        connect: Duration::from_millis(300),
        ..PATIENT
    };
    let engine = Engine::with_credentials(endpoint, limits, in_folder(folder.path()));
    let start = Instant::now();
    assert_eq!(ask(&engine).await, Err(Error::Timeout));
    assert!(start.elapsed() >= limits.connect);
}

#[tokio::test]
async fn nobody_listens() {
    // The socket holds the port without listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let folder = Folder::of_client(&Authority::new(), None);
    assert_eq!(ask_port(port, &folder).await, unreachable("connection refused"));
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let server = Setup {
        answer: format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
        ..Setup::new(&identity)
    };
    let server = server.start().await;
    let folder = Folder::of_client(&authority, None);
    let asked = ask_port(server.address().port(), &folder).await;
    assert!(matches!(asked, Err(Error::Refused { status: 302, .. })), "{asked:?}");
    // One request for the version, one for the list.
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.connections(), 1);
    assert_eq!(connections(&elsewhere), 0);
}

/// Number of connections to this listener, which has accepted none so far.
fn connections(listener: &std::net::TcpListener) -> usize {
    listener.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| listener.accept().ok()).count()
}

// The certificate directory

/// The client's error message about a certificate directory. The client must fail before it connects.
async fn complaint(folder: Option<&Path>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let engine = engine(&endpoint, folder);
    let first = ask(&engine).await;
    assert_eq!(ask(&engine).await, first);
    assert_eq!(connections(&listener), 0);
    match first {
        Err(Error::Unreachable(_, why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn folders_that_are_none() {
    assert_eq!(
        complaint(None).await,
        "https needs a folder with ca.pem, cert.pem and key.pem: set DOCKER_CERT_PATH, engine_certs for a node, or --certs"
    );
    let folder = Folder::new(&[("file", "")]);
    for name in ["missing", "file"] {
        let path = folder.path().join(name);
        assert_eq!(
            complaint(Some(&path)).await,
            format!("there is no folder {}", path.display())
        );
    }
}

#[tokio::test]
async fn files_that_are_missing() {
    let authority = Authority::new();
    let (ca, Identity { certificate, key }) = (authority.pem(), authority.client());
    let (ca, certificate, key) = (("ca.pem", &*ca), ("cert.pem", &*certificate), ("key.pem", &*key));
    for (files, what) in [
        ([].as_slice(), "no ca.pem"),
        (&[certificate, key], "no ca.pem"),
        (&[ca, certificate], "cert.pem but no key.pem"),
        (&[ca, key], "key.pem but no cert.pem"),
    ] {
        let folder = Folder::new(files);
        let why = format!("the folder {} has {what}", folder.path().display());
        assert_eq!(complaint(Some(folder.path())).await, why);
    }
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be() {
    let authority = Authority::new();
    let (ca, Identity { certificate, key }) = (authority.pem(), authority.client());
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let pkcs8 = openssl("pkcs8 -topk8 -v2 aes256 -passout pass:x", &key);
    let sec1 = openssl("ec -aes256 -passout pass:x", &key);
    let p521 = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", "");
    let damaged = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let damaged_key = "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n";
    let nonsense_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let large = "x".repeat(1024 * 1024 + 1);
    for (ca, certificate, key, why) in [
        ("", &*certificate, &*key, "ca.pem has no certificate"),
        (&key, &certificate, &key, "ca.pem has no certificate"),
        (damaged, &certificate, &key, "ca.pem is damaged"),
        (
            nonsense,
            &certificate,
            &key,
            "ca.pem has no certificate that can be used",
        ),
        (&large, &certificate, &key, "ca.pem has more than 1048576 bytes"),
        (&ca, "", &key, "cert.pem has no certificate"),
        (&ca, damaged, &key, "cert.pem is damaged"),
        (&ca, nonsense, &key, "cert.pem is damaged"),
        (&ca, &certificate, "", "key.pem has no private key"),
        (&ca, &certificate, &certificate, "key.pem has no private key"),
        (&ca, &certificate, damaged_key, "key.pem is damaged"),
        (
            &ca,
            &certificate,
            nonsense_key,
            "key.pem has a private key of a kind that can't be used",
        ),
        (
            &ca,
            &certificate,
            &p521,
            "key.pem has a private key of a kind that can't be used",
        ),
        (&ca, &certificate, &pkcs8, "the private key in key.pem is encrypted"),
        (&ca, &certificate, &sec1, "the private key in key.pem is encrypted"),
        (&ca, &certificate, &other_key, "key.pem is not the key of cert.pem"),
    ] {
        let folder = Folder::new(&[("ca.pem", ca), ("cert.pem", certificate), ("key.pem", key)]);
        assert_eq!(complaint(Some(folder.path())).await, why);
    }
    let folder = Folder::new(&[]);
    fs::create_dir(folder.path().join("ca.pem")).unwrap();
    assert_eq!(
        complaint(Some(folder.path())).await,
        "ca.pem can't be read: is a directory"
    );
}

#[tokio::test]
async fn what_is_new_in_the_folder_counts_from_the_next_connection_on() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let server = Setup::new(&identity).start().await;
    let endpoint = format!("https://{}", server.address());
    let folder = Folder::of_client(&Authority::new(), None);
    let engine = engine(&endpoint, Some(folder.path()));
    assert!(ask(&engine).await.is_err());
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    assert_eq!(ask(&engine).await, Ok(0));
}

#[tokio::test]
async fn one_of_several_authorities() {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let server = Setup::new(&identity).start().await;
    let bundle = format!("a comment\n{}\r\n{}", Authority::new().pem(), authority.pem());
    let folder = Folder::new(&[("ca.pem", &bundle)]);
    assert_eq!(ask_port(server.address().port(), &folder).await, Ok(0));
}

// Unix sockets

/// The endpoint for this path.
fn at(path: &Path) -> String {
    format!("unix://{}", path.display())
}

#[tokio::test]
async fn a_unix_socket() {
    let folder = Folder::new(&[]);
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut unix, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        while let Some(head) = read_request(&mut unix).await {
            heads.push(head);
            unix.write_all(EMPTY_LIST).await.unwrap();
        }
        heads
    });
    let engine = engine(&at(&path), None);
    for _ in 0..3 {
        assert_eq!(ask(&engine).await, Ok(0));
    }
    drop(engine);
    let heads = timeout(FAR_TOO_LONG, server).await.unwrap().unwrap();
    assert_eq!(heads.len(), 4);
    assert!(heads[0].starts_with("GET /_ping HTTP/1.1\r\n"));
    assert!(heads.iter().all(|head| head.contains("host: localhost\r\n")));
}

#[tokio::test]
async fn a_unix_socket_of_the_hosts() {
    let folder = Folder::new(&[]);
    let listener = UnixListener::bind(folder.path().join("192.0.2.1.sock")).unwrap();
    let template = at(&folder.path().join("{host}.sock"));
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let engine = Engine::new(Endpoint::for_host(&template, "192.0.2.1", ip).unwrap(), PATIENT);
    let asking = tokio::spawn(async move { ask(&engine).await });
    timeout(FAR_TOO_LONG, listener.accept()).await.unwrap().unwrap();
    asking.abort();
}

#[tokio::test]
async fn unix_sockets_that_are_none() {
    let folder = Folder::new(&[("file", "")]);
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("abandoned")).unwrap());
    for (name, what) in [
        ("missing", "there is no"),
        ("file", "nobody listens on"),
        ("abandoned", "nobody listens on"),
        ("", "nobody listens on"),
    ] {
        let path = folder.path().join(name);
        let why = format!("{what} {}", path.display());
        assert_eq!(ask(&engine(&at(&path), None)).await, unreachable(why));
    }
    let path = folder.path().join("file/socket");
    let why = format!("{}: not a directory", path.display());
    assert_eq!(ask(&engine(&at(&path), None)).await, unreachable(why));
}

#[tokio::test]
async fn a_unix_socket_without_permission() {
    let folder = Folder::new(&[]);
    let path = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        eprintln!("not checked: root has every permission");
        return;
    }
    let why = format!("no permission for {}", path.display());
    assert_eq!(ask(&engine(&at(&path), None)).await, unreachable(why));
}

#[tokio::test]
async fn a_unix_socket_that_does_not_answer() {
    let folder = Folder::new(&[]);
    let path = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let limits = Limits {
        response: Duration::from_millis(200),
        ..PATIENT
    };
    let engine = Engine::new(Endpoint::parse(&at(&path)).unwrap(), limits);
    assert_eq!(ask(&engine).await, Err(Error::Timeout));
}

// Tokens

fn with_token(endpoint: &str, folder: &Folder) -> Engine {
    let credentials = Credentials {
        certificates: Some(folder.path().to_owned()),
        token_file: Some(folder.path().join("token")),
    };
    Engine::with_credentials(Endpoint::parse(endpoint).unwrap(), PATIENT, credentials)
}

fn token_of(head: &str) -> Option<&str> {
    head.lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "))
}

#[tokio::test]
async fn a_token_goes_over_tls_and_is_renewed() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1");
    let double = Setup::new(&server).start().await;
    let folder = Folder::of_client(&authority, None);
    let engine = with_token(&format!("https://{}", double.address()), &folder);
    for token in ["first", "Second-._~+/=="] {
        fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
        assert_eq!(ask(&engine).await, Ok(0));
        assert_eq!(token_of(double.requests().last().unwrap()), Some(token));
    }
    assert_eq!(double.connections(), 1);
}

#[tokio::test]
async fn a_token_goes_to_a_unix_socket_and_never_over_plain_tcp() {
    let folder = Folder::new(&[("token", "secret")]);
    let path = folder.path().join("docker.sock");
    let (unix, tcp) = (
        UnixListener::bind(&path).unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let over_unix = with_token(&at(&path), &folder);
    let over_tcp = with_token(&format!("tcp://{}", tcp.local_addr().unwrap()), &folder);
    let asking = tokio::spawn(async move { (ask(&over_unix).await, ask(&over_tcp).await) });
    let (mut unix, _) = unix.accept().await.unwrap();
    let head = read_request(&mut unix).await.unwrap();
    assert_eq!(token_of(&head), Some("secret"));
    unix.write_all(EMPTY_LIST).await.unwrap();
    read_request(&mut unix).await.unwrap();
    unix.write_all(EMPTY_LIST).await.unwrap();
    let (mut tcp, _) = tcp.accept().await.unwrap();
    let head = read_request(&mut tcp).await.unwrap();
    assert!(
        !head.to_lowercase().contains("authorization") && !head.contains("secret"),
        "{head}"
    );
    asking.abort();
}

#[tokio::test]
async fn token_files_that_are_none() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1");
    let double = Setup::new(&server).start().await;
    let folder = Folder::of_client(&authority, None);
    let engine = with_token(&format!("https://{}", double.address()), &folder);
    let file = folder.path().join("token");
    let path = file.display();
    let unusable = |why: &str| unreachable(format!("the token file {path} {why}"));
    assert_eq!(ask(&engine).await, unusable("can't be read: no such file or directory"));
    let no_token = unusable("has no token: 1 to 4096 letters, digits and -._~+/=");
    for (text, error) in [
        ("", unusable("is empty")),
        ("\r\n", unusable("is empty")),
        ("a b", no_token.clone()),
        ("a\nb", no_token.clone()),
        ("a\n\n", no_token.clone()),
        ("é", no_token.clone()),
        (&"x".repeat(4097), no_token.clone()),
        (&"x".repeat(1_000_000), no_token),
    ] {
        fs::write(&file, text).unwrap();
        assert_eq!(ask(&engine).await, error, "{text:?}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(ask(&engine).await, unusable("can't be read: it is no file"));
    assert_eq!(double.connections(), 0);
}
