//! An instance that leaves under load in both protocols of today, HTTP/1.1 and Motan2.

use super::*;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An instance of the shop: orders in HTTP/1.1, each of which asks for the stock in Motan2, of any instance.
fn start_shop(folder: &Folder) -> Weft {
    let (http, motan) = (free_port(), free_port());
    let weft = env!("CARGO_BIN_EXE_weft");
    // The apps die with the shell, whatever ends the shell.
    let app = |name: &str, port: u16| {
        format!("{weft} launch --signal kill --parent $$ -- {weft} demo {name} --port {port} &")
    };
    let script = format!("{} {} wait", app("orders", http), app("stock", motan));
    let http = format!("http={http}");
    let motan = format!("motan={motan},interface=stock");
    let arguments = [
        "run",
        "--service",
        "shop",
        "--port",
        &http,
        "--port",
        &motan,
        "--",
        "sh",
        "-c",
        &script,
    ];
    Weft::start(folder.weft(&arguments))
}

/// The runtime file of the instance with this agent.
fn file_of(folder: &Folder, agent: &Weft) -> Option<Value> {
    (0..2).find_map(|slot| {
        let path = folder.0.join(format!("run/default-shop-{slot}.json"));
        let file: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (file["pid"] == agent.0.id()).then_some(file)
    })
}

/// Calls that have arrived for the app of an instance, per protocol.
fn arrived(management: u16, protocol: &str) -> u64 {
    let text = answer(management, "/metrics").unwrap_or_default();
    let label = format!("protocol=\"{protocol}\"");
    let counts = text.lines().filter(|line| {
        line.starts_with("weft_calls_total{")
            && line.contains("direction=\"inbound\"")
            && line.contains(&label)
    });
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn an_instance_drained_under_http_and_motan_load_costs_no_call() {
    let folder = Folder::new("both");
    let mut center = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
    wait_for("the center", || center_port(&folder));
    let mut shops = [start_shop(&folder), start_shop(&folder)];
    let report = folder.0.join("report").display().to_string();
    let binary = env!("CARGO_BIN_EXE_weft");
    let arguments = [
        "run",
        "--service",
        "web",
        "--",
        binary,
        "demo",
        "visitors",
        "--host",
        "shop",
        "--rate",
        "200",
        "--report",
        &report,
    ];
    let mut visitors = Weft::start(folder.weft(&arguments));
    let files = shops
        .each_ref()
        .map(|shop| wait_for("its runtime file", || file_of(&folder, shop)));
    let [leaving, staying] = files
        .each_ref()
        .map(|file| file["ports"]["management"].as_u64().unwrap() as u16);
    let calls_in_both = |port: u16| {
        wait_for("calls in both protocols", || {
            (arrived(port, "http") > 50 && arrived(port, "motan") > 50).then_some(())
        });
    };
    calls_in_both(leaving);
    calls_in_both(staying);

    let id = files[0]["instance"].as_str().unwrap();
    let output = folder.weft(&["drain", id]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(file_of(&folder, &shops[0]), None);
    shops[0].end();
    let before = ["http", "motan"].map(|protocol| arrived(staying, protocol));
    wait_for("the calls at the other one", || {
        let after = ["http", "motan"].map(|protocol| arrived(staying, protocol));
        (after[0] > before[0] + 100 && after[1] > before[1] + 100).then_some(())
    });

    visitors.signal(Signal::TERM);
    visitors.end();
    let text = fs::read_to_string(&report).unwrap();
    let sum: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    println!("{sum}");
    assert!(sum["calls"].as_u64().unwrap() > 200, "{sum}");
    assert_eq!(sum["failed"], 0, "{sum}");
    center.signal(Signal::TERM);
    center.end();
}
