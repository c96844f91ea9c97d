//! JSON lines: against their schema, against the text of the same packets, and as docs/json.md shows them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Cursor,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::BytesMut;
use capture::{
    output::{
        encoder::Encoder,
        json::JsonEncoder,
        statistics::{HookAccount, Statistics},
    },
    source::{file::FileSource, interface::InterfaceDescription},
};
use capture_flow::{Endpoint, Event, EventKind, Forgotten, Side, Tracker, Tries};
use capture_packet::{Direction, LinkType, Packet, Precision, Timestamp};
use capture_text::{Conversations, Printer, options::TextOptions};
use jiff::tz::TimeZone;
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn golden(name: &str) -> PathBuf {
    repository().join("capture/tests/golden").join(name)
}

fn goldens() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap().path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcap" || end == "pcapng");
    entries.filter(is_capture).collect()
}

/// Hands each packet that can be read of a file to `each`.
fn read(path: &Path, mut each: impl FnMut(&Packet<'_>)) {
    let bytes = fs::read(path).unwrap();
    let Ok(mut source) = FileSource::new(Cursor::new(bytes), Precision::Nano) else { return };
    while let Ok(Some(packet)) = source.next_packet() {
        each(&packet.located());
    }
}

fn interfaces() -> Vec<InterfaceDescription> {
    let named = InterfaceDescription {
        name: Some("eth0 \"\u{1f40c}\"\n".to_owned()),
        filter: Some("tcp port 8888".to_owned()),
        hook: Some("tc ingress and egress (tcx)".to_owned()),
        ..InterfaceDescription::new(LinkType::Ethernet, 0)
    };
    vec![named, InterfaceDescription::new(LinkType::LinuxSll2, 0)]
}

/// The lines of a file with the events in front of their packets.
fn encode(path: &Path, encoder: &mut JsonEncoder) -> BytesMut {
    let mut tracker = Tracker::new(1 << 10);
    let mut lines = BytesMut::from(&encoder.header()[..]);
    read(path, |packet| {
        tracker.track(packet, |event| encoder.event(event, &mut lines));
        encoder.packet(packet, &mut lines);
    });
    tracker.finish(|event| encoder.event(event, &mut lines));
    lines
}

fn events() -> Vec<Event> {
    let tries = Tries { count: 7, nanoseconds: i64::MIN };
    let retransmission = |fin, times, stalled| EventKind::Retransmission { fin, times, stalled };
    let kinds = [
        EventKind::Open { data: false },
        EventKind::Reopen,
        EventKind::SimultaneousOpen,
        EventKind::SynRepeated { tries: 2 },
        EventKind::AnsweredSynRepeated,
        EventKind::SynAckRepeated,
        EventKind::NoAnswer(tries),
        EventKind::NoAnswerYet(Tries { nanoseconds: -1, ..tries }),
        EventKind::Refused,
        EventKind::Abandoned,
        EventKind::AcceptedUnseen,
        EventKind::Idle,
        EventKind::FirstSeen,
        EventKind::Request,
        EventKind::Response,
        EventKind::SpokeFirst,
        EventKind::Data,
        retransmission(false, 1, None),
        retransmission(true, 2, Some(i64::MAX)),
        EventKind::ZeroWindow,
        EventKind::WindowOpened,
        EventKind::ActiveClose,
        EventKind::PassiveClose,
        EventKind::SimultaneousClose,
        EventKind::Close,
        EventKind::DataAfterClose,
        EventKind::Reset,
        EventKind::UnseenReset,
    ];
    let end = |address: &str| Endpoint { address: address.parse().unwrap(), port: 65535 };
    let event = |kind| Event {
        time: Timestamp::default(),
        has_packet: true,
        client: end("::1.2.3.4"),
        server: end("fe80::1"),
        guessed: false,
        side: Side::Server,
        established: true,
        kind,
    };
    kinds.map(event).into()
}

const STATISTICS: Statistics<'_> = Statistics {
    interfaces: &[],
    losses_are_known: true,
    time: Timestamp { seconds: 1_795_659_934, nanoseconds: 5 },
    start: Timestamp { seconds: 1_795_659_930, nanoseconds: 0 },
    hooks: Some([HookAccount { received: 60, dropped: 20 }, HookAccount { received: 1 << 60, dropped: 0 }]),
    received: 10,
    dropped: 2,
    dropped_by_interface: 0,
    read: 8,
    dropped_by_output: 0,
    is_last: false,
};

/// What a validator that is not ours says of lines: the numbers of those that are not as docs/capture.schema.json says,
/// and why.
fn refused(name: &str, lines: &[u8]) -> Vec<String> {
    const VALIDATE: &str = "\
import json, jsonschema, sys
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for number, line in enumerate(open(sys.argv[2], newline='\\n')):
    error = jsonschema.exceptions.best_match(validator.iter_errors(json.loads(line)))
    if error:
        print(number, error.message, line.strip()[:500])
";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, lines).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", VALIDATE]).arg(repository().join("docs/capture.schema.json")).arg(file);
    let output = command.output().expect("install the package python3-jsonschema");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}: is the package python3-jsonschema installed?");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_line_is_as_the_schema_says() {
    let mut lines = BytesMut::new();
    for path in goldens() {
        lines.unsplit(encode(&path, &mut JsonEncoder::new(Vec::new())));
    }
    let mut encoder = JsonEncoder::new(interfaces());
    lines.unsplit(encode(&golden("walkthrough.pcap"), &mut encoder));
    let text = || Some("x".to_owned());
    let named = InterfaceDescription {
        description: text(),
        hardware: text(),
        os: text(),
        ..interfaces().swap_remove(0)
    };
    encoder.interface(&named, &mut lines);
    lines.extend_from_slice(&JsonEncoder::new(vec![named]).header());
    events().iter().for_each(|event| encoder.event(event, &mut lines));
    let many = Statistics { received: u64::MAX, dropped: 1 << 60, is_last: true, ..STATISTICS };
    [STATISTICS, many].iter().for_each(|statistics| encoder.statistics(statistics, &mut lines));
    encoder.epilogue(Some(Forgotten { connections: 12, limit: 65536 }), true, &mut lines);
    let types: BTreeSet<String> = objects(&lines).iter().map(|object| object["type"].to_string()).collect();
    assert_eq!(types.len(), 7, "{types:?}");
    assert!(objects(&lines).len() > 2000, "{}", objects(&lines).len());
    assert_eq!(refused("every-line.json", &lines), Vec::<String>::new());
}

/// The schema says what is there, not only that there is something.
#[test]
fn the_schema_refuses_what_is_not_in_it() {
    let lines = encode(&golden("walkthrough.pcap"), &mut JsonEncoder::new(interfaces()));
    let mut wrong = Vec::new();
    for object in objects(&lines) {
        for key in object.as_object().unwrap().keys() {
            let mut changed = object.clone();
            changed[key] = Value::from(-1);
            wrong.push(changed.to_string());
        }
        let mut longer = object.clone();
        longer["another"] = Value::from(1);
        wrong.push(longer.to_string());
        let mut shorter = object.clone();
        shorter.as_object_mut().unwrap().remove("time");
        if shorter != object {
            wrong.push(shorter.to_string());
        }
    }
    assert_eq!(refused("wrong.json", wrong.join("\n").as_bytes()).len(), wrong.len());
}

fn objects(lines: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(lines).unwrap();
    assert!(lines.is_empty() || lines.ends_with('\n'));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a line of text is expected to say, made of the object: from the addresses to the window, and the length.
fn text_of(object: &Value) -> Option<(String, String)> {
    let number = |key: &str| object.get(key).map(|value| value.as_u64().unwrap());
    let relative = |key: &str, absolute: &str| number(key).or(number(absolute));
    let [source, destination, flags] =
        ["src_ip", "dest_ip", "flags"].map(|key| object.get(key).and_then(Value::as_str));
    let (source, destination, flags) = (source?, destination?, flags?);
    let (source_port, destination_port) = (number("src_port")?, number("dest_port")?);
    let (length, win) = (number("length")?, number("win")?);
    let mut text = format!("Flags [{flags}], ");
    if object.get("fragment").is_none() {
        text = format!("{source}.{source_port} > {destination}.{destination_port}: {text}");
    }
    let seq = relative("relative_seq", "seq")?;
    if length > 0 {
        let end = (seq as u32).wrapping_add(length as u32);
        text.push_str(&format!("seq {seq}:{end}, "));
    } else if flags.contains(['S', 'F', 'R']) {
        text.push_str(&format!("seq {seq}, "));
    }
    if let Some(ack) = relative("relative_ack", "ack") {
        text.push_str(&format!("ack {ack}, "));
    }
    text.push_str(&format!("win {win}"));
    if let Some(urg) = number("urg") {
        text.push_str(&format!(", urg {urg}"));
    }
    Some((text, format!(", length {length}")))
}

#[test]
fn objects_say_what_the_lines_say() {
    let (mut compared, mut relative, mut sacks) = (0, 0, 0);
    for path in goldens() {
        let mut encoder = JsonEncoder::new(Vec::new());
        let mut printer = Printer::new(TextOptions::default(), TimeZone::UTC, Conversations::new(1 << 16));
        let mut number = 0;
        read(&path, |packet| {
            let (mut line, mut json) = (BytesMut::new(), BytesMut::new());
            printer.print(packet, &mut line);
            encoder.packet(packet, &mut json);
            number += 1;
            let line = str::from_utf8(&line).unwrap();
            let object = objects(&json).remove(0);
            let what = format!("{}, packet {number}:\n{line}{object}", path.display());
            let is_whole = object.get("truncated").or(object.get("malformed")).is_none();
            // Options that are in `other` are not looked into, as the printer does.
            let is_read_to_its_end = !line.contains("[bad opt]") && !line.contains("[|tcp]");
            let is_later_fragment = object["fragment"]["offset"].as_u64().is_some_and(|offset| offset > 0);
            match text_of(&object) {
                Some((start, end)) => {
                    assert!(line.contains(&start), "{what}");
                    assert!(!is_whole || !is_read_to_its_end || line.contains(&end), "{what}");
                    compared += 1;
                    relative += u32::from(object.get("relative_seq").is_some());
                }
                None => assert!(!is_whole || is_later_fragment, "{what}"),
            }
            if is_whole
                && is_read_to_its_end
                && let Some(options) = object["options"].as_object()
            {
                for (key, label) in [("mss", "mss "), ("wscale", "wscale ")] {
                    if let Some(value) = options.get(key) {
                        assert!(line.contains(&format!("{label}{value}")), "{what}");
                    }
                }
                if let Some(stamps) = options.get("timestamps") {
                    let expected = format!("TS val {} ecr {}", stamps["val"], stamps["ecr"]);
                    assert!(line.contains(&expected), "{what}");
                }
                for block in options.get("sack").and_then(Value::as_array).into_iter().flatten() {
                    let edge = |key: &str, absolute: &str| block.get(key).unwrap_or(&block[absolute]).clone();
                    let (left, right) = (edge("relative_left", "left"), edge("relative_right", "right"));
                    assert!(line.contains(&format!("{{{left}:{right}}}")), "{what}");
                    sacks += 1;
                }
            }
        });
    }
    assert!(compared > 1000 && relative > 500 && sacks > 5, "{compared} {relative} {sacks}");
}

/// A packet of which less and less is captured: nothing is made up, and what is missing is named.
#[test]
fn every_length() {
    read(&golden("walkthrough.pcap"), |packet| {
        let whole = packet.data.len();
        for captured in 0..=whole {
            let mut lines = BytesMut::new();
            let packet = Packet { data: &packet.data[..captured], ..*packet };
            JsonEncoder::new(Vec::new()).packet(&packet, &mut lines);
            let object = objects(&lines).remove(0);
            assert_eq!(object["captured_len"], captured);
            let says_so = object.get("truncated").or(object.get("malformed")).is_some();
            let is_known =
                object.get("length").is_some() && (object.get("options").is_some() || captured == whole);
            assert!(says_so || is_known, "{captured}: {object}");
            assert!(!(says_so && captured == whole), "{object}");
        }
    });
}

#[test]
fn interface_and_direction() {
    read(&golden("walkthrough.pcap"), |packet| {
        let mut encoder = JsonEncoder::new(interfaces());
        for (source, direction) in [(0, Some(Direction::In)), (1, Some(Direction::Out)), (2, None)] {
            let mut lines = BytesMut::new();
            let packet = Packet { source: capture_packet::SourceId(source), direction, ..*packet };
            encoder.packet(&packet, &mut lines);
            let object = objects(&lines).remove(0);
            let name = interfaces().get(source as usize).and_then(|interface| interface.name.clone());
            assert_eq!(object.get("interface").and_then(Value::as_str), name.as_deref());
            let direction = direction.map(|direction| if direction == Direction::In { "in" } else { "out" });
            assert_eq!(object.get("direction").and_then(Value::as_str), direction);
        }
    });
}

#[test]
fn losses_are_counted_since_the_last_report() {
    let mut encoder = JsonEncoder::new(Vec::new());
    let mut after = |statistics: Statistics| {
        let mut lines = BytesMut::new();
        encoder.statistics(&statistics, &mut lines);
        if statistics.is_last {
            events()[..1].iter().for_each(|event| encoder.event(event, &mut lines));
            encoder.epilogue(None, false, &mut lines);
        }
        String::from_utf8(lines.to_vec()).unwrap()
    };
    let time = r#""time":"2026-11-26T02:25:34.000000005Z""#;
    let loss = |kernel, interface, output| {
        format!(
            "{{\"type\":\"loss\",{time},\"dropped_by_kernel\":{kernel},\"dropped_by_interface\":{interface},\
             \"dropped_by_output\":{output}}}\n"
        )
    };
    let more = Statistics { dropped: 5, dropped_by_interface: 1, dropped_by_output: 7, ..STATISTICS };
    assert_eq!(after(STATISTICS), loss(2, 0, 0));
    assert_eq!(after(STATISTICS), "");
    assert_eq!(after(more), loss(3, 1, 7));
    let summary = format!(
        "{{\"type\":\"summary\",\"start\":\"2026-11-26T02:25:30.000000000Z\",{time},\"received\":10,\"read\":8,\
         \"hooks\":{{\"ingress\":{{\"received\":60,\"dropped\":20}},\
         \"egress\":{{\"received\":\"1152921504606846976\",\"dropped\":0}}}},\
         \"dropped_by_kernel\":6,\"dropped_by_interface\":1,\"dropped_by_output\":7}}\n"
    );
    let last = after(Statistics { dropped: 6, is_last: true, ..more });
    let events = last.strip_prefix(&loss(1, 0, 0)).and_then(|rest| rest.strip_suffix(&summary));
    assert!(events.is_some_and(|events| events.starts_with("{\"type\":\"event\"")), "{last}");
}

/// The examples in docs/json.md: a command in a block of its own, and the block of what it prints.
#[test]
fn the_documented_commands_print_what_the_document_says() {
    let document = fs::read_to_string(repository().join("docs/json.md")).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("walkthrough.json");
    let line = document.lines().find_map(|line| line.strip_prefix("    capture ")).unwrap();
    let mut capture = Command::new(env!("CARGO_BIN_EXE_capture"));
    let arguments = line.split_ascii_whitespace();
    let status =
        capture.args(arguments).current_dir(repository()).stdout(File::create(&file).unwrap()).status();
    assert!(status.unwrap().success(), "{line}");
    let blocks: Vec<&str> = document.split("```").skip(1).step_by(2).collect();
    let mut commands = 0;
    for pair in blocks.windows(2) {
        let Some(command) = pair[0].strip_prefix("sh\n") else { continue };
        let expected = pair[1].strip_prefix("text\n").expect("what the command prints comes after it");
        let mut shell = Command::new("sh");
        let output = shell.arg("-c").arg(command).stdin(File::open(&file).unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}: is the package jq installed?");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{command}");
        commands += 1;
    }
    assert_eq!(commands, 5);
}
