//! How checks are written, what passes, and when failures count.

use super::*;

fn check(probe: &str, port: u16) -> Check {
    Check {
        probe: probe.parse().unwrap(),
        port,
        interval: Duration::from_secs(2),
        failures: 3,
        grace: Duration::from_mins(1),
    }
}

async fn app_that_answers(reply: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 256];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(reply).await;
        }
    });
    port
}

#[test]
fn probes_are_written_as_tcp_or_as_an_http_path_each_with_or_without_a_port() {
    for text in ["tcp", "tcp:8080", "http:/live", "http:8080/live?deep=1"] {
        let probe: Probe = text.parse().unwrap();
        assert_eq!(probe.to_string(), text);
    }
    let wrong = [
        "",
        "tcp:",
        "tcp:0",
        "tcp:x",
        "tcp:/x",
        "http",
        "http:",
        "http:8080",
        "http:live",
        "http:70000/",
        "http:/a b",
        "http:/a\r\nX: y",
        "udp:53",
    ];
    for text in wrong {
        assert!(text.parse::<Probe>().is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn an_http_check_passes_with_2xx_and_3xx_alone() {
    let good = app_that_answers(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let bad = app_that_answers(b"HTTP/1.1 503 Oh\r\n\r\n").await;
    let other = app_that_answers(b"SSH-2.0-server 2 2").await;
    let short = app_that_answers(b"HTTP/1.1").await;
    assert_eq!(check("http:/live", good).look().await, Ok(()));
    let found = check("http:/live", bad).look().await;
    assert_eq!(found, Err("status 503".to_owned()));
    assert!(check("http:/live", other).look().await.is_err());
    assert!(check("http:/live", short).look().await.is_err());
    assert_eq!(check("tcp", bad).look().await, Ok(()));
}

#[tokio::test]
async fn the_port_of_the_probe_is_looked_at_before_the_first_declared_one() {
    let good = app_that_answers(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let bad = app_that_answers(b"HTTP/1.1 500 Oh\r\n\r\n").await;
    assert_eq!(
        check(&format!("http:{good}/"), bad).look().await,
        Ok(()),
        "the probe's port"
    );
}

#[tokio::test]
async fn nobody_at_the_port_fails_every_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(check("tcp", port).look().await.is_err());
}

#[test]
fn an_app_that_passed_is_dead_after_so_many_failures_in_a_row() {
    let now = crate::clock::now();
    let mut verdicts = Verdicts::begin(&check("tcp", 1), now);
    let looks = [
        (true, false),
        (false, false),
        (false, false),
        (true, false),
        (false, false),
        (false, false),
        (false, true),
    ];
    for (passed, is_dead) in looks {
        assert_eq!(verdicts.take(passed, now), is_dead);
    }
}

#[test]
fn failures_of_an_app_that_starts_count_after_its_grace() {
    let now = crate::clock::now();
    let mut verdicts = Verdicts::begin(&check("tcp", 1), now);
    for _ in 0..100 {
        assert!(!verdicts.take(false, now + Duration::from_secs(59)));
    }
    let late = now + Duration::from_mins(1);
    assert!(!verdicts.take(false, late));
    assert!(!verdicts.take(false, late));
    assert!(verdicts.take(false, late));
}
