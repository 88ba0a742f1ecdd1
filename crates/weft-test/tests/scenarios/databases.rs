//! Real databases with their own clients, through a declared local listener: MariaDB, whose server speaks first;
//! PostgreSQL, which asks for TLS within its own protocol; Redis.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;
use weft_test::mesh::Mesh;
use weft_test::peer;
use weft_test::process::Process;
use weft_test::tcp_app::free_port;
use weft_test::wait::{until_within, within_bound};
use weft_test::{Sidecar, scenario};

/// How long a database may take until it serves, its files made before.
const READY_BOUND: Duration = Duration::from_mins(1);

/// How long one program may take.
const PROGRAM_BOUND: Duration = Duration::from_mins(1);

/// Where Debian keeps the programs of PostgreSQL, a folder for each version.
const POSTGRES_FOLDERS: &str = "/usr/lib/postgresql";

async fn run(program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let text = format!("{} {}", program.display(), args.join(" "));
    within_bound(&text, PROGRAM_BOUND, command.output())
        .await
        .unwrap_or_else(|error| panic!("running {text}: {error}"))
}

/// Runs a program that must end well; what it wrote.
async fn run_well(program: &Path, args: &[&str]) -> String {
    let output = run(program, args).await;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{} {args:?} ended with {}:\n{stdout}\n{stderr}",
        program.display(),
        output.status
    );
    stdout.into_owned()
}

async fn listens(process: &mut Process, port: u16) {
    until_within("a database to listen", READY_BOUND, async || {
        if let Some(code) = process.ended() {
            panic!("the database ended with {code:?}: {}", process.written());
        }
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        connected.is_ok().then_some(())
    })
    .await;
}

/// A pair of sidecars: the database behind the one, a port of the other that leads to it.
async fn joined(mesh: &Mesh, name: &str, port: u16) -> (Sidecar, u16) {
    mesh.sidecar(name).port("tcp", port).start().await;
    let local = free_port();
    let upstream = format!("{name}={local}");
    let caller = mesh.sidecar("web").arg("--upstream").arg(&upstream);
    (caller.start().await, local)
}

/// A folder that another user may enter; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weft-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn redis_is_called_by_its_own_client() {
    let (Some(server), Some(client)) = (
        peer::program("redis-server", "Redis through a TCP port"),
        peer::program("redis-cli", "Redis through a TCP port"),
    ) else {
        return;
    };
    scenario(async |mesh| {
        let (port, folder) = (free_port(), Folder::new("redis"));
        let number = port.to_string();
        let dir = folder.path("");
        let args = [
            "--port",
            &number,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &dir,
        ];
        let mut redis = Process::program("redis", mesh.folder(), &server, &args);
        listens(&mut redis, port).await;
        let (caller, local) = joined(mesh, "cache", port).await;
        let local = local.to_string();
        let ask = async |words: &[&str]| {
            run_well(
                &client,
                &[&["-h", "127.0.0.1", "-p", &local], words].concat(),
            )
            .await
        };
        assert_eq!(ask(&["PING"]).await.trim(), "PONG");
        assert_eq!(ask(&["SET", "stock", "17"]).await.trim(), "OK");
        assert_eq!(ask(&["GET", "stock"]).await.trim(), "17");
        // A reply of a megabyte, and a thousand commands on one connection.
        assert_eq!(
            ask(&["SETRANGE", "large", "1000000", "x"]).await.trim(),
            "1000001"
        );
        assert_eq!(
            ask(&["GET", "large"]).await.trim_end_matches('\n').len(),
            1_000_001
        );
        assert_eq!(
            ask(&["-r", "1000", "INCR", "count"]).await.lines().last(),
            Some("1000")
        );
        caller
            .expect_calls(
                6,
                &[("protocol", "tcp"), ("service", "cache"), ("code", "ok")],
            )
            .await;
    });
}

#[test]
fn mariadb_whose_server_speaks_first_is_called_by_its_own_client() {
    let suite = "MariaDB through a TCP port";
    let (Some(server), Some(install), Some(client)) = (
        peer::program("mariadbd", suite),
        peer::program("mariadb-install-db", suite),
        peer::program("mariadb", suite),
    ) else {
        return;
    };
    scenario(async |mesh| {
        let (port, folder) = (free_port(), Folder::new("mariadb"));
        let user = rustix::process::geteuid()
            .is_root()
            .then_some("--user=root");
        let data = format!("--datadir={}", folder.path("data"));
        let method = "--auth-root-authentication-method=normal";
        let words = ["--no-defaults", &data, method, "--skip-test-db"];
        run_well(&install, &[&words[..], user.as_slice()].concat()).await;
        let (port_word, socket, pid) = (
            format!("--port={port}"),
            format!("--socket={}", folder.path("s")),
            format!("--pid-file={}", folder.path("pid")),
        );
        let words = [
            "--no-defaults",
            &data,
            &port_word,
            &socket,
            &pid,
            "--bind-address=127.0.0.1",
        ];
        let words = [&words[..], user.as_slice()].concat();
        let mut mariadb = Process::program("mariadb", mesh.folder(), &server, &words);
        listens(&mut mariadb, port).await;
        let (caller, local) = joined(mesh, "mysql", port).await;
        let local = local.to_string();
        let ask = async |statement: &str| {
            let words = [
                "--no-defaults",
                "-h",
                "127.0.0.1",
                "-P",
                &local,
                "-u",
                "root",
                "-N",
                "-B",
                "-e",
                statement,
            ];
            run_well(&client, &words).await
        };
        assert_eq!(ask("select 6 * 7").await.trim(), "42");
        ask("create database shop; create table shop.stock (id int primary key, name longtext)")
            .await;
        ask("insert into shop.stock values (1, 'bolt'), (2, repeat('n', 500000))").await;
        let found = ask("select id, length(name) from shop.stock order by id").await;
        assert_eq!(found, "1\t4\n2\t500000\n");
        assert_eq!(
            ask("select name from shop.stock where id = 2")
                .await
                .trim()
                .len(),
            500_000
        );
        caller
            .expect_calls(
                5,
                &[("protocol", "tcp"), ("service", "mysql"), ("code", "ok")],
            )
            .await;
    });
}

/// A program of PostgreSQL's server, which Debian keeps apart.
fn postgres_program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(POSTGRES_FOLDERS).into_iter().flatten();
    let found = versions
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .find(|path| path.is_file());
    found.or_else(|| peer::program(name, "PostgreSQL through a TCP port"))
}

#[test]
fn postgresql_asks_for_tls_within_its_own_protocol() {
    let suite = "PostgreSQL through a TCP port";
    let (Some(server), Some(init), Some(client), Some(openssl), Some(as_user)) = (
        postgres_program("postgres"),
        postgres_program("initdb"),
        peer::program("psql", suite),
        peer::program("openssl", suite),
        peer::program("setpriv", suite),
    ) else {
        return;
    };
    scenario(async |mesh| {
        let (port, folder) = (free_port(), Folder::new("postgres"));
        let data = folder.path("data");
        // PostgreSQL does not run as root; Debian's package makes it a user.
        let is_root = rustix::process::geteuid().is_root();
        let become_it = [
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ];
        let as_it: &[&str] = if is_root { &become_it } else { &["--"] };
        if is_root {
            let owner = format!("--reference={}", "/var/lib/postgresql");
            run_well(Path::new("chown"), &[&owner, &folder.path("")]).await;
        }
        let (init, server) = (init.display().to_string(), server.display().to_string());
        let words = [&init, "-D", &data, "-U", "app", "-A", "trust", "--no-sync"];
        run_well(&as_user, &[as_it, &words[..]].concat()).await;
        let openssl = openssl.display().to_string();
        let (key, certificate) = (
            folder.path("data/server.key"),
            folder.path("data/server.crt"),
        );
        let words = [
            &openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=db",
            "-days",
            "2",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        run_well(&as_user, &[as_it, &words[..]].concat()).await;
        let (number, sockets) = (port.to_string(), folder.path(""));
        let words = [
            &server,
            "-D",
            &data,
            "-p",
            &number,
            "-h",
            "127.0.0.1",
            "-k",
            &sockets,
            "-c",
            "ssl=on",
        ];
        let words = [as_it, &words[..]].concat();
        let mut postgres = Process::program("postgres", mesh.folder(), &as_user, &words);
        listens(&mut postgres, port).await;
        let (caller, local) = joined(mesh, "ledger", port).await;
        let ask = async |mode: &str, statement: &str| {
            let to = format!("host=127.0.0.1 port={local} user=app dbname=postgres sslmode={mode}");
            run_well(&client, &["-X", "-A", "-t", &to, "-c", statement]).await
        };
        let is_tls = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(ask("require", is_tls).await.trim(), "t");
        assert_eq!(ask("disable", is_tls).await.trim(), "f");
        let large = ask("require", "select repeat('n', 1000000)").await;
        assert_eq!(large.trim().len(), 1_000_000);
        // A PostgreSQL that is left over TLS closes with TLS's last word unread, which resets the connection.
        let tcp = [("protocol", "tcp"), ("service", "ledger")];
        caller.expect_calls(3, &tcp).await;
        let metrics = caller.metrics().await;
        let ended = |code| metrics.calls(&[tcp[0], tcp[1], ("code", code)]);
        assert_eq!(ended("ok") + ended("upstream_reset"), 3, "{metrics}");
    });
}
