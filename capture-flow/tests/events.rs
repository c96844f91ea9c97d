//! What an event says besides what happened. That is tested by its wording, in `capture-text`.

use capture_flow::{Event, EventKind, Side, Tracker, Tries};
use capture_packet::{LinkType, Packet, Timestamp};
use test_support::sketch::{CLIENT, SERVER, Sketch, at};

fn time(milliseconds: i64) -> Timestamp {
    Timestamp { seconds: milliseconds / 1000, nanoseconds: milliseconds % 1000 * 1_000_000 }
}

/// The events of the packets, and those of the end.
fn events(sketches: &[Sketch]) -> [Vec<Event>; 2] {
    let mut tracker = Tracker::new(10);
    let [mut events, mut at_the_end] = [Vec::new(), Vec::new()];
    for sketch in sketches {
        let frame = sketch.ip();
        let stamp = time(sketch.time / 1_000_000);
        let packet = Packet::new(stamp, LinkType::Raw, frame.len() as u32, &frame).located();
        tracker.track(&packet, |event| events.push(*event));
    }
    tracker.finish(|event| at_the_end.push(*event));
    assert_eq!(tracker.forgotten(), None);
    [events, at_the_end]
}

#[test]
fn an_event_names_its_ends_and_its_side() {
    let [events, at_the_end] = events(&[
        at(1, CLIENT, "S", 0, 0),
        at(2, SERVER, "S.", 0, 1),
        at(3, CLIENT, ".", 1, 1),
        at(4, SERVER, "P.", 1, 1).data(5),
    ]);
    assert_eq!(at_the_end, []);
    let [opened, spoke] = events[..] else { panic!("{events:?}") };
    assert_eq!((opened.kind, spoke.kind), (EventKind::Open { data: false }, EventKind::SpokeFirst));
    assert_eq!((opened.side, spoke.side), (Side::Client, Side::Server));
    assert_eq!((opened.established, spoke.established), (false, true));
    assert_eq!((opened.time, spoke.time), (time(1), time(4)));
    for event in [opened, spoke] {
        assert_eq!([event.client, event.server].map(|end| end.port), [41234, 8888]);
        assert!(event.has_packet && !event.guessed);
    }
    assert_eq!((opened.from(), opened.to()), (spoke.to(), spoke.from()));
    assert_eq!(opened.from(), opened.client);
}

#[test]
fn a_client_by_its_port_is_a_guess() {
    let [events, _] = events(&[at(1, SERVER, "P.", 1, 1).data(5), at(2, CLIENT, "R", 1, 0)]);
    assert_eq!(
        events.iter().map(|event| event.kind).collect::<Vec<_>>(),
        [EventKind::FirstSeen, EventKind::Data, EventKind::Reset]
    );
    assert!(events.iter().all(|event| event.guessed && event.client.port == 41234));
    assert_eq!(events[0].side, Side::Server);
}

/// The reset of an unknown connection is its sender's, whatever the ports say.
#[test]
fn an_unseen_reset_is_its_senders() {
    for (who, side) in [(CLIENT, Side::Client), (SERVER, Side::Server)] {
        let [events, _] = events(&[at(1, who, "R", 1, 0)]);
        let [reset] = events[..] else { panic!("{events:?}") };
        assert_eq!((reset.kind, reset.side, reset.guessed), (EventKind::UnseenReset, side, true));
    }
}

#[test]
fn silence_and_the_end_have_no_packet() {
    let other = |time| {
        let [client, server] = at(0, CLIENT, "S", 0, 0).endpoints;
        at(time, CLIENT, "S", 0, 0).between([(client.ip(), client.port() + 1).into(), server])
    };
    let [events, at_the_end] = events(&[at(1, CLIENT, "S", 0, 0), other(70_000), other(70_100)]);
    let silence = EventKind::NoAnswer(Tries { count: 1, nanoseconds: 0 });
    let silence = events.iter().find(|event| event.kind == silence).expect("an event of silence");
    assert!(!silence.has_packet && silence.client.port == 41234);
    assert!(events.iter().filter(|event| *event != silence).all(|event| event.has_packet));
    let [unanswered] = at_the_end[..] else { panic!("{at_the_end:?}") };
    assert_eq!(unanswered.kind, EventKind::NoAnswerYet(Tries { count: 2, nanoseconds: 100_000_000 }));
    assert_eq!((unanswered.time, unanswered.has_packet), (time(70_100), false));
}
