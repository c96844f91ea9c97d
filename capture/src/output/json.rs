//! JSON lines: one object to a line, each with its `type`. docs/json.md says what each has, and
//! docs/capture.schema.json is their schema.

mod event;
mod options;
mod packet;
mod stamp;
mod values;

use bytes::{BufMut as _, Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;
use capture_text::Conversations;
use serde::Serialize;

use self::{
    event::EventObject,
    packet::PacketObject,
    stamp::{Stamp, Stamps},
    values::Exact,
};
use super::{
    encoder::Encoder,
    format::{Events, Format, Request},
    statistics::{HookAccount, Statistics},
};
use crate::source::interface::InterfaceDescription;

/// JSON lines.
pub const FORMAT: Format = Format {
    name: "json",
    help: "Write packets as JSON, an object a line, instead of printing them: to a file, or to standard output \
           (docs/json.md)",
    asked: Request::ByName,
    whole_packets: false,
    exact_times: true,
    interfaces: true,
    events: Events::Always,
    encoder: |setup| Box::new(JsonEncoder::new(setup.interfaces.to_vec())),
};

/// The version of the schema. It grows when a key goes away or changes its meaning; new keys and new types of objects may
/// come without that.
const SCHEMA: u32 = 1;

/// How many conversations of each IP version have relative numbers at the same time.
const CONVERSATION_LIMIT: usize = 1 << 20;

/// Makes JSON lines.
#[derive(Debug)]
pub struct JsonEncoder {
    interfaces: Vec<InterfaceDescription>,
    conversations: Conversations,
    stamps: Stamps,
    /// What has been reported as lost.
    reported: Lost,
    /// The last object, which waits for the events of the end.
    summary: Option<SummaryObject>,
    had_epilogue: bool,
}

/// Packets that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Lost {
    dropped_by_kernel: Exact,
    dropped_by_interface: Exact,
    dropped_by_output: Exact,
}

impl Lost {
    fn of(statistics: &Statistics<'_>) -> Self {
        Self {
            dropped_by_kernel: Exact(statistics.dropped),
            dropped_by_interface: Exact(statistics.dropped_by_interface),
            dropped_by_output: Exact(statistics.dropped_by_output),
        }
    }

    fn since(self, earlier: Self) -> Self {
        let difference = |now: Exact, before: Exact| Exact(now.0.saturating_sub(before.0));
        Self {
            dropped_by_kernel: difference(self.dropped_by_kernel, earlier.dropped_by_kernel),
            dropped_by_interface: difference(self.dropped_by_interface, earlier.dropped_by_interface),
            dropped_by_output: difference(self.dropped_by_output, earlier.dropped_by_output),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "capture")]
struct CaptureObject<'a> {
    schema: u32,
    version: &'static str,
    interfaces: Vec<InterfaceObject<'a>>,
}

/// What is known of an interface.
#[derive(Serialize)]
struct InterfaceObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    link_type: String,
    /// Zero for headers only.
    snaplen: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hardware: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a str>,
}

impl<'a> InterfaceObject<'a> {
    fn new(interface: &'a InterfaceDescription) -> Self {
        let InterfaceDescription {
            name, description, link_type, snaplen, filter, hook, hardware, os, ..
        } = interface;
        let [name, description, filter, hook, hardware, os] =
            [name, description, filter, hook, hardware, os].map(Option::as_deref);
        // tcpdump's name, without its description.
        let link_type = link_type.to_string().split(' ').take(1).collect();
        Self { name, description, link_type, snaplen: *snaplen, filter, hook, hardware, os }
    }
}

/// An interface that becomes known after the first line.
#[derive(Serialize)]
#[serde(tag = "type", rename = "interface")]
struct LaterInterface<'a> {
    #[serde(flatten)]
    interface: InterfaceObject<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "loss")]
struct LossObject {
    time: Stamp,
    #[serde(flatten)]
    lost: Lost,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct SummaryObject {
    start: Stamp,
    time: Stamp,
    received: Exact,
    read: Exact,
    #[serde(skip_serializing_if = "Option::is_none")]
    hooks: Option<HooksObject>,
    #[serde(flatten)]
    lost: Option<Lost>,
}

#[derive(Debug, Serialize)]
struct HooksObject {
    ingress: HookObject,
    egress: HookObject,
}

#[derive(Debug, Serialize)]
struct HookObject {
    received: Exact,
    dropped: Exact,
}

impl From<[HookAccount; 2]> for HooksObject {
    fn from(hooks: [HookAccount; 2]) -> Self {
        let [ingress, egress] = hooks.map(|HookAccount { received, dropped }| HookObject {
            received: Exact(received),
            dropped: Exact(dropped),
        });
        Self { ingress, egress }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "forgotten")]
struct ForgottenObject {
    connections: Exact,
    limit: usize,
}

impl JsonEncoder {
    /// Objects for packets of a source with these interfaces.
    pub fn new(interfaces: Vec<InterfaceDescription>) -> Self {
        Self::with_conversations(interfaces, Conversations::new(CONVERSATION_LIMIT))
    }

    /// The same with a table of conversations, for measurements.
    pub fn with_conversations(interfaces: Vec<InterfaceDescription>, conversations: Conversations) -> Self {
        Self {
            interfaces,
            conversations,
            stamps: Stamps::new(),
            reported: Lost::default(),
            summary: None,
            had_epilogue: false,
        }
    }

    /// Appends the summary where nothing comes after it.
    fn append_summary(&mut self, block: &mut BytesMut) {
        if self.had_epilogue
            && let Some(summary) = self.summary.take()
        {
            append(&summary, block);
        }
    }
}

impl Encoder for JsonEncoder {
    fn header(&self) -> Bytes {
        let object = CaptureObject {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            interfaces: self.interfaces.iter().map(InterfaceObject::new).collect(),
        };
        let mut line = BytesMut::new();
        append(&object, &mut line);
        line.freeze()
    }

    fn interface(&mut self, interface: &InterfaceDescription, block: &mut BytesMut) {
        append(&LaterInterface { interface: InterfaceObject::new(interface) }, block);
        self.interfaces.push(interface.clone());
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        let Self { interfaces, conversations, stamps, .. } = self;
        let interface = interfaces.get(packet.source.0 as usize);
        let interface = interface.and_then(|interface| interface.name.as_deref());
        let time = stamps.stamp(packet.time);
        append(&PacketObject::read(packet, time, interface, conversations), block);
        true
    }

    fn event(&mut self, event: &Event, block: &mut BytesMut) {
        let time = self.stamps.stamp(event.time);
        append(&EventObject::new(event, time), block);
    }

    fn wants_statistics(&self) -> bool {
        true
    }

    fn statistics(&mut self, statistics: &Statistics<'_>, block: &mut BytesMut) {
        let [start, time] = [statistics.start, statistics.time].map(|time| self.stamps.stamp(time));
        let now = Lost::of(statistics);
        let lost = now.since(self.reported);
        if lost != Lost::default() {
            append(&LossObject { time, lost }, block);
            self.reported = now;
        }
        if statistics.is_last {
            let (received, read) = (Exact(statistics.received), Exact(statistics.read));
            let lost = statistics.losses_are_known.then_some(now);
            let hooks = statistics.hooks.map(HooksObject::from);
            self.summary = Some(SummaryObject { start, time, received, read, hooks, lost });
            self.append_summary(block);
        }
    }

    fn epilogue(&mut self, forgotten: Option<Forgotten>, _interrupted: bool, block: &mut BytesMut) {
        if let Some(Forgotten { connections, limit }) = forgotten {
            append(&ForgottenObject { connections: Exact(connections), limit }, block);
        }
        self.had_epilogue = true;
        self.append_summary(block);
    }
}

/// Appends an object and the end of its line.
#[inline]
fn append(object: &impl Serialize, block: &mut BytesMut) {
    // A `BytesMut` grows: it takes everything. All keys are strings, the other reason that this could fail.
    let _infallible = serde_json::to_writer(block.writer(), object);
    block.extend_from_slice(b"\n");
}
