//! The three forms in which tcpdump prints a program.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::fmt::Write as _;

use super::{
    Instruction,
    codes::{
        ABS, ALU, BYTE, HALF, IFINDEX, IMM, IND, JA, JEQ, JGE, JGT, JSET, LD, LDX_MEM, LDX_MSH, LEN, MEM,
        NEG, PACKET_TYPE, RET, ST, TAX, TXA, VLAN_TAG, VLAN_TAG_PRESENT, X,
    },
};

/// `tcpdump -d`: a line for each instruction, with a line feed at its end.
pub fn listing(instructions: &[Instruction]) -> String {
    let mut lines = String::new();
    for (index, instruction) in instructions.iter().enumerate() {
        let (name, operand) = name_and_operand(index, instruction);
        // Writing into a string does not fail.
        let _ = write!(lines, "({index:03}) {name:<8} ");
        let _ = match instruction.code & !X {
            JEQ | JGT | JGE | JSET => {
                let target = |distance: u8| index + 1 + usize::from(distance);
                writeln!(lines, "{operand:<16} jt {}\tjf {}", target(instruction.jt), target(instruction.jf))
            }
            _ => writeln!(lines, "{operand}"),
        };
    }
    lines
}

/// `tcpdump -dd`: the elements of an array in C.
pub fn c_array(instructions: &[Instruction]) -> String {
    let mut lines = String::new();
    for Instruction { code, jt, jf, k } in instructions {
        let _ = writeln!(lines, "{{ 0x{code:x}, {jt}, {jf}, 0x{k:08x} }},");
    }
    lines
}

/// `tcpdump -ddd`: the number of instructions, and then four decimal numbers for each.
pub fn numbers(instructions: &[Instruction]) -> String {
    let mut lines = format!("{}\n", instructions.len());
    for Instruction { code, jt, jf, k } in instructions {
        let _ = writeln!(lines, "{code} {jt} {jf} {k}");
    }
    lines
}

fn name_and_operand(index: usize, instruction: &Instruction) -> (&'static str, String) {
    let Instruction { code, k, .. } = *instruction;
    // Offsets and decimal constants are printed as signed numbers.
    let signed = k.cast_signed();
    // Jumps and arithmetic name a constant or X.
    let hexadecimal = || if code & X == 0 { format!("#0x{k:x}") } else { "x".to_string() };
    let decimal = || if code & X == 0 { format!("#{signed}") } else { "x".to_string() };
    if code & 7 == LD {
        let name = match code & 0x18 {
            HALF => "ldh",
            BYTE => "ldb",
            _ => "ld",
        };
        let operand = match code & 0xe0 {
            IMM => format!("#0x{k:x}"),
            ABS => match k {
                PACKET_TYPE => "[type]".to_string(),
                IFINDEX => "[ifidx]".to_string(),
                VLAN_TAG => "[vlan_tci]".to_string(),
                VLAN_TAG_PRESENT => "[vlanp]".to_string(),
                _ => format!("[{signed}]"),
            },
            IND => format!("[x + {signed}]"),
            MEM => format!("M[{k}]"),
            LEN => "#pktlen".to_string(),
            _ => String::new(),
        };
        return (name, operand);
    }
    match code {
        LDX_MEM => return ("ldx", format!("M[{k}]")),
        LDX_MSH => return ("ldxb", format!("4*([{signed}]&0xf)")),
        ST => return ("st", format!("M[{k}]")),
        JA => return ("ja", (index + 1 + k as usize).to_string()),
        RET => return ("ret", format!("#{signed}")),
        NEG => return ("neg", String::new()),
        TAX => return ("tax", String::new()),
        TXA => return ("txa", String::new()),
        _ => {}
    }
    match code & !X {
        JEQ => ("jeq", hexadecimal()),
        JGT => ("jgt", hexadecimal()),
        JGE => ("jge", hexadecimal()),
        JSET => ("jset", hexadecimal()),
        code => match code ^ ALU {
            0x00 => ("add", decimal()),
            0x10 => ("sub", decimal()),
            0x20 => ("mul", decimal()),
            0x30 => ("div", decimal()),
            0x40 => ("or", hexadecimal()),
            0x50 => ("and", hexadecimal()),
            0x60 => ("lsh", decimal()),
            0x70 => ("rsh", decimal()),
            0x90 => ("mod", decimal()),
            0xa0 => ("xor", hexadecimal()),
            _ => ("unimp", format!("0x{:x}", instruction.code)),
        },
    }
}
