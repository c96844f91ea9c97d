//! `--json`, live: next to the text, and the accounts of a capture.

use std::{fs, net::IpAddr, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    namespace::Namespace,
    process::{Tracer, wait_until},
    traffic,
};

fn objects(file: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(file).expect("the file");
    lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

fn of_type<'a>(objects: &'a [Value], name: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["type"] == name).collect()
}

/// Each line has its object, and the last object has the numbers of the summary.
#[test]
#[ignore = "needs root"]
fn json_says_what_the_text_says() {
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let file = folder.path().join("x.json");
    let arguments = format!("-i veth1 --port 8888 --nano -tt --print -l --json={}", file.display());
    let capture = Tracer::capture(&there, &arguments);
    let [from, to]: [IpAddr; 2] =
        ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
    traffic::nc_session(&there, &here, to);
    capture.wait_for_stdout(&traffic::marker(&here, from, to));
    // The JSON is there without a wait for the end.
    wait_until("the JSON", || fs::read_to_string(&file).expect("the file").contains("\"flags\":\"S\""));
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let objects = objects(&file);
    let (packets, lines) = (of_type(&objects, "packet"), ended.lines());
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(packets.len(), lines.len());
    for (packet, line) in packets.iter().zip(lines) {
        let time = packet["time"].as_str().expect("a time");
        let fraction = time.split_once('.').expect("a fraction").1.trim_end_matches('Z');
        assert!(line.contains(&format!(".{fraction} IP ")), "{line} {packet}");
        let number =
            |relative: &str, absolute: &str| packet.get(relative).unwrap_or(&packet[absolute]).clone();
        if let Some(ack) = packet.get("ack") {
            assert!(
                line.contains(&format!(", ack {}, ", number("relative_ack", "ack"))),
                "{line} {packet}: {ack}"
            );
        }
        let way = if line.contains(" > 10.0.0.2.8888: ") { "in" } else { "out" };
        assert_eq!((&packet["direction"], &packet["interface"]), (&way.into(), &"veth1".into()), "{line}");
    }
    let [Some(first), Some(last)] = [objects.first(), objects.last()] else { panic!("no objects") };
    assert_eq!(
        (&first["type"], &first["interfaces"][0]["filter"]),
        (&"capture".into(), &"tcp port 8888".into())
    );
    assert_eq!(last["type"], "summary", "{last}");
    let [received, read] = ["received", "read"].map(|key| last[key].as_u64().expect("a number"));
    assert_eq!((received, read), (ended.count("received by filter"), packets.len() as u64));
    // A session goes both ways.
    let of = |hook: &str| last["hooks"][hook]["received"].as_u64().expect("a number");
    assert_eq!(of("ingress") + of("egress"), received);
    assert!(of("ingress") > 3 && of("egress") > 3, "{last}");
    let kinds: Vec<&Value> = of_type(&objects, "event").iter().map(|event| &event["kind"]).collect();
    assert!(kinds.starts_with(&[&"open".into()]), "{kinds:?}");
}
