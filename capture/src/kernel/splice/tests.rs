//! The real object with instructions in front of its programs.

use aya::{
    TestRun as _, TestRunOptions,
    programs::{SchedClassifier, Xdp},
};
use capture_common::parse::{Location, locate_ethernet};
use capture_filter::{
    ebpf::{EbpfOptions, Hook, assemble},
    interpret::Frame,
    program::{Base, Field, Next, Program, Relation, Size, Test, Value},
};

use super::*;
use crate::kernel::{FilterCode, LogLevel, OBJECT, Object, ObjectOptions};

/// `ip[header] = number`, of one byte at an offset from the end of the IPv4 header.
fn byte(offset: u32, number: u32) -> Program {
    let field = Field { base: Base::Ipv4Payload { header: 14 }, offset, size: Size::Byte, mask: 0xff };
    let left = Value::Field(field);
    let right = Value::Constant(number);
    let test = Test { left, relation: Relation::Equal, right, yes: Next::Accept, no: Next::Reject };
    Program { entry: Next::Test(0), tests: vec![test] }
}

fn code(program: &Program, hook: Hook) -> Vec<Instruction> {
    assemble(program, &EbpfOptions { hook, helpers_only: false }).unwrap()
}

/// An Ethernet frame with TCP flags.
fn frame(flags: u8, protocol: u8) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    frame
}

#[test]
#[ignore = "needs root"]
fn each_program_sees_what_its_own_instructions_accept() {
    let programs = [2, 16, 17].map(|flags| byte(13, flags));
    let [ingress, egress, xdp] = &programs;
    let filter = FilterCode {
        tc_ingress: code(ingress, Hook::Tc),
        tc_egress: code(egress, Hook::Tc),
        xdp: code(xdp, Hook::Xdp),
    };
    // With the log the programs call functions of other sections.
    for log_level in [LogLevel::Off, LogLevel::Trace] {
        let options = ObjectOptions {
            filter: Some(&filter),
            link_header: true,
            instance: 0,
            snaplen: 0,
            ring_size: 1 << 20,
            rings: 1,
            log_level,
        };
        let mut object = Object::load(OBJECT, &options).unwrap();
        let mut matched = 0;
        for (name, program) in ["tc_ingress", "tc_egress", "xdp"].into_iter().zip(&programs) {
            for (flags, protocol) in [2, 16, 17, 18].into_iter().flat_map(|flags| [(flags, 6), (flags, 17)]) {
                let data = frame(flags, protocol);
                let frame = Frame { data: &data, wire_len: data.len() as u32, ..Frame::default() };
                let is_tcp = matches!(locate_ethernet(&data[..]), Location::Tcp { .. });
                matched += u64::from(program.matches(&frame) && is_tcp);
                let mut run = TestRunOptions::new();
                run.data_in = Some(&data);
                let (verdict, handed_on) = if name == "xdp" {
                    (object.program::<Xdp>(name).unwrap().test_run(run), 2)
                } else {
                    (object.program::<SchedClassifier>(name).unwrap().test_run(run), u32::MAX)
                };
                assert_eq!(verdict.unwrap().return_value, handed_on);
                assert_eq!(
                    object.counters().unwrap().of_both().matched,
                    matched,
                    "{name}, {flags}, {protocol}"
                );
            }
        }
        assert_eq!(matched, 3);
    }
}

#[test]
fn nothing_in_front_changes_no_byte_of_a_section() {
    let spliced = splice(OBJECT, &[("xdp", &[])]).unwrap();
    let elf = |bytes: &[u8]| Elf { bytes: bytes.to_vec() };
    let (old, new) = (elf(OBJECT), elf(spliced.bytes()));
    for (before, after) in old.sections().unwrap().into_iter().zip(new.sections().unwrap()) {
        let bytes =
            |elf: &Elf, section: Section| elf.bytes[section.offset..section.offset + section.size].to_vec();
        assert!(bytes(&old, before) == bytes(&new, after), "{before:?}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    assert_eq!(splice(b"no", &[]).unwrap_err(), SpliceError::Malformed("header or section headers"));
    let error = splice(OBJECT, &[("none", &[])]).unwrap_err();
    assert_eq!(error, SpliceError::NoProgram("none".to_owned()));
    // Cut off or changed anywhere it is refused or is still an object, and never leads beyond its end.
    let both: [(&str, &[Instruction]); 2] = [("xdp", &[]), ("tc_egress", &[])];
    for length in (0..OBJECT.len()).step_by(2003) {
        let _refused_or_not = splice(&OBJECT[..length], &both);
    }
    let mut random = test_support::random::Random::new(1);
    for _ in 0..300 {
        let mut object = OBJECT.to_vec();
        for _ in 0..20 {
            // The headers of sections are last.
            let length = random.pick(&[64, OBJECT.len(), 1200]);
            let place = OBJECT.len() - 1 - random.below(length);
            object[if length == 64 { OBJECT.len() - 1 - place } else { place }] = random.u8();
        }
        object[..6].copy_from_slice(&OBJECT[..6]);
        let _refused_or_not = splice(&object, &both);
    }
}
