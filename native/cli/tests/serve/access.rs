//! Tests of `eid serve`: which clients it lets in, and on which addresses it listens.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};

use eid_docker::{Credentials, Endpoint, Engine, Error, Limits};

use crate::serving::{command, eventually, Serve};
use crate::shop;
use crate::support::until;
use crate::tls_double::{Authority, Folder, Identity};

fn with_token(serve: &Serve, token: &str) -> u16 {
    serve
        .send("GET", "/containers/json", &format!("Authorization: {token}\r\n"))
        .status
}

#[test]
fn a_token() {
    let engine = shop();
    let folder = Folder::new(&[("token", "correct-horse\n")]);
    let file = folder.path().join("token");
    let serve = Serve::start(engine.address(), &["--token-file", file.to_str().unwrap()]);
    eventually("it is live", || with_token(&serve, "Bearer correct-horse") == 200);
    for wrong in [
        "",
        "Bearer ",
        "Bearer correct-hors",
        "Bearer correct-horsee",
        "Basic correct-horse",
        "correct-horse",
    ] {
        assert_eq!(with_token(&serve, wrong), 401, "{wrong}");
    }
    for path in ["/_ping", "/metrics", "/eid/host", "/nonsense", "/events"] {
        let answer = serve.get(path);
        assert_eq!(
            (answer.status, answer.head.contains("www-authenticate: bearer")),
            (401, true),
            "{path}"
        );
    }
    // Renew the token file, and later damage it.
    fs::write(&file, "battery-staple").unwrap();
    eventually("the token is renewed", || {
        with_token(&serve, "Bearer battery-staple") == 200
    });
    assert_eq!(with_token(&serve, "Bearer correct-horse"), 401);
    // A renewed file may have the same size and time as the old one, as after `rsync --times` or a restored backup.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let new = folder.path().join("new");
    fs::write(&new, "battery-saucer").unwrap();
    fs::File::options()
        .write(true)
        .open(&new)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::rename(&new, &file).unwrap();
    eventually("the token is renewed again", || {
        with_token(&serve, "Bearer battery-saucer") == 200
    });
    fs::write(&file, "battery-staple").unwrap();
    eventually("the earlier token is back", || {
        with_token(&serve, "Bearer battery-staple") == 200
    });
    fs::write(&file, "").unwrap();
    eventually("it has seen the empty file", || serve.log().contains("are not renewed"));
    assert_eq!(
        (
            with_token(&serve, "Bearer battery-staple"),
            with_token(&serve, "Bearer ")
        ),
        (200, 401)
    );
}

/// eid's commands and nodes never send the token unencrypted. If the server turns them away, the error must name this
/// reason.
#[test]
fn a_token_where_no_client_of_eid_sends_it() {
    const WARNING: &str = "send no token over plain TCP";
    let engine = shop();
    let folder = Folder::new(&[("token", "correct-horse")]);
    let token_file = folder.path().join("token");
    let token_file = ["--token-file", token_file.to_str().unwrap()];
    let socket = format!("unix://{}/serve.sock", folder.path().display());
    let serve = Serve::start(
        engine.address(),
        &[&token_file[..], &["--listen", &socket, "--advertise", "192.0.2.1"]].concat(),
    );
    eventually("it warns", || serve.log().contains(WARNING));
    eventually("it is live", || with_token(&serve, "Bearer correct-horse") == 200);
    assert_eq!(serve.log().matches(WARNING).count(), 1);
    let plain = format!("tcp://{}", serve.address);
    for (asked, status) in [(&["lookup", "published@192.0.2.1"][..], 5), (&["name"], 1)] {
        let ask = |engine: &str| -> Output {
            let mut command = Command::new(env!("CARGO_BIN_EXE_eid"));
            command.args(asked).args(["--engine", engine]).args(token_file);
            command.env_clear().env("EID_NAME", "shop").output().unwrap()
        };
        assert_eq!(ask(&socket).status.code(), Some(0));
        let output = ask(&plain);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert!(
            error.contains("status 401") && error.contains("sent over https and to a unix socket only"),
            "{error}"
        );
    }
    // On a unix socket clients do send the token, so there is no warning.
    let socket = format!("unix://{}/other.sock", folder.path().display());
    let listen = ["--listen", &socket];
    let docker = format!("tcp://{}", engine.address());
    let mut command = command(&docker, &[&token_file[..], &listen].concat());
    let mut other = Serve::run(&mut command, serve.address);
    assert_eq!(other.terminate(), Some(0));
    eventually("the log is complete", || other.log().contains("ending"));
    assert!(!other.log().contains(WARNING));
}

/// A certificate directory for the server.
fn certificates(server: &Identity, clients: Option<&Authority>) -> Folder {
    let clients = clients.map(Authority::pem);
    let mut files = vec![
        ("cert.pem", server.certificate.as_str()),
        ("key.pem", server.key.as_str()),
    ];
    files.extend(clients.as_ref().map(|pem| ("ca.pem", pem.as_str())));
    Folder::new(&files)
}

async fn ask(address: SocketAddr, client: &Folder, token: Option<&Folder>) -> Result<usize, Error> {
    let endpoint = Endpoint::for_host(
        &format!("https://{{host}}:{}", address.port()),
        "serve.example",
        address.ip(),
    )
    .unwrap();
    let credentials = Credentials {
        certificates: Some(client.path().to_owned()),
        token_file: token.map(|folder| folder.path().join("token")),
    };
    let engine = Engine::with_credentials(endpoint, Limits::default(), credentials);
    engine.list().await.map(|list| list.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_and_a_token() {
    let engine = shop();
    let authority = Authority::new();
    let server = authority.server("serve.example");
    let folder = certificates(&server, Some(&authority));
    let token = Folder::new(&[("token", "correct-horse")]);
    let wrong_token = Folder::new(&[("token", "wrong")]);
    let client = Folder::of_client(&authority, Some(&authority.client()));
    let nobody = Folder::of_client(&authority, None);
    let stranger = Folder::of_client(&authority, Some(&Authority::new().client()));
    let path = folder.path().to_str().unwrap();
    let serve = Serve::start(engine.address(), &["--certs", path]);
    until("it is live", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(ask(serve.address, &client, None)) == Ok(4)
        })
    })
    .await;
    let posing = Folder::of_client(&authority, Some(&server));
    for refused in [&nobody, &stranger, &posing] {
        let asked = ask(serve.address, refused, None).await;
        assert!(
            matches!(&asked, Err(Error::Unreachable(_, why)) if why.contains("certificate")),
            "{asked:?}"
        );
    }
    // Without TLS the server gives no answer.
    assert_eq!(serve.get("/containers/json").status, 0);
    // If client certificates and a token are configured, a client needs both.
    let file = token.path().join("token");
    let both = Serve::start(
        engine.address(),
        &["--certs", path, "--token-file", file.to_str().unwrap()],
    );
    until("it is live", || {
        let asked = ask(both.address, &client, Some(&token));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked) == Ok(4))
    })
    .await;
    for (client, token) in [(&client, None), (&client, Some(&wrong_token))] {
        let asked = ask(both.address, client, token).await;
        assert!(matches!(asked, Err(Error::Refused { status: 401, .. })), "{asked:?}");
    }
    assert!(ask(both.address, &nobody, Some(&token)).await.is_err());
    // The renewed server certificate comes from another certificate authority.
    let other = Authority::new();
    let renewed = other.server("serve.example");
    let newcomer = Folder::of_client(&other, Some(&other.client()));
    for (name, text) in [
        ("ca.pem", &other.pem()),
        ("cert.pem", &renewed.certificate),
        ("key.pem", &renewed.key),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    until("the certificate is renewed", || {
        let asked = ask(serve.address, &newcomer, None);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked) == Ok(4))
    })
    .await;
    assert!(ask(serve.address, &client, None).await.is_err());
}

#[test]
fn where_it_does_not_listen() {
    let authority = Authority::new();
    let server = authority.server("serve.example");
    let (mutual, one_sided) = (certificates(&server, Some(&authority)), certificates(&server, None));
    let token = Folder::new(&[("token", "correct-horse"), ("empty", "")]);
    let text = |folder: &Folder| folder.path().to_str().unwrap().to_owned();
    let (mutual, one_sided) = (text(&mutual), text(&one_sided));
    let (file, empty) = (text(&token) + "/token", text(&token) + "/empty");
    let run = |arguments: &[&str]| -> Output { command("unix:///nowhere", arguments).output().unwrap() };
    let refused: [(&[&str], &str); 11] = [
        (&["--listen", "0.0.0.0:4243"], "nobody would know who they are"),
        (&["--listen", "[::]:4243"], "nobody would know who they are"),
        (&["--listen", "192.0.2.1:4243"], "nobody would know who they are"),
        (
            &["--listen", "127.0.0.1:4243", "--listen", "0.0.0.0:4243"],
            "nobody would know",
        ),
        (
            &["--listen", "192.0.2.1:4243", "--certs", &one_sided],
            "nobody would know who they are",
        ),
        (
            &["--listen", "tcp://192.0.2.1:4243", "--certs", &mutual],
            "nobody would know who they are",
        ),
        (
            &["--listen", "192.0.2.1:4243", "--token-file", &file],
            "the token could be read",
        ),
        (
            &[
                "--listen",
                "tcp://192.0.2.1:4243",
                "--certs",
                &mutual,
                "--token-file",
                &file,
            ],
            "the token could be read",
        ),
        (&["--listen", "https://127.0.0.1:4243"], "needs certificates"),
        (&["--listen", "127.0.0.1:4243", "--token-file", &empty], "is empty"),
        (
            &["--listen", "127.0.0.1:4243", "--certs", "/nowhere"],
            "there is no folder",
        ),
    ];
    for (arguments, why) in refused {
        let output = run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with("eid: ") && error.contains(why),
            "{arguments:?} {error}"
        );
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    }
    for arguments in [
        &["--listen", "4243"][..],
        &["--listen", "127.0.0.1"],
        &["--listen", "127.0.0.1:0"],
        &["--listen", "host:4243"],
        &["--listen", "unix://a"],
        &["--listen", "127.0.0.1:4243", "--advertise", "0.0.0.0"],
        &["--listen", "127.0.0.1:4243", "--advertise", "a b"],
        &[],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // These arguments are valid: the server fails only because this machine does not have the address.
    for arguments in [
        &["--listen", "192.0.2.1:4243", "--certs", &mutual][..],
        &[
            "--listen",
            "192.0.2.1:4243",
            "--certs",
            &one_sided,
            "--token-file",
            &file,
        ],
        &["--listen", "192.0.2.1:4243", "--insecure"],
    ] {
        let error = String::from_utf8(run(arguments).stderr).unwrap();
        assert!(error.contains("it can't listen on"), "{arguments:?} {error}");
    }
}
