//! The numbers of classic BPF.

// Codes (linux/bpf_common.h).
pub(super) const LD: u16 = 0x00;
pub(super) const LDX_MEM: u16 = 0x61;
pub(super) const LDX_MSH: u16 = 0xb1;
pub(super) const ST: u16 = 0x02;
pub(super) const ALU: u16 = 0x04;
pub(super) const NEG: u16 = 0x84;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const JSET: u16 = 0x45;
pub(super) const RET: u16 = 0x06;
pub(super) const TAX: u16 = 0x07;
pub(super) const TXA: u16 = 0x87;
pub(super) const HALF: u16 = 0x08;
pub(super) const BYTE: u16 = 0x10;
pub(super) const IMM: u16 = 0x00;
pub(super) const ABS: u16 = 0x20;
pub(super) const IND: u16 = 0x40;
pub(super) const MEM: u16 = 0x60;
pub(super) const LEN: u16 = 0x80;
/// The right operand is register X, not the constant.
pub(super) const X: u16 = 0x08;

// What the kernel knows about a packet stands at these "offsets" (linux/filter.h, `SKF_AD_OFF` and what is added to it).
pub(super) const PACKET_TYPE: u32 = 0xffff_f004;
pub(super) const IFINDEX: u32 = 0xffff_f008;
pub(super) const VLAN_TAG: u32 = 0xffff_f02c;
pub(super) const VLAN_TAG_PRESENT: u32 = 0xffff_f030;
