//! A look at the object's BTF: every function must have a type.
//!
//! A function without full debug information has no type that BTF could take. LLVM then writes whatever it finds on
//! its stack as the number of that type (`BTFDebug::visitSubroutineType` leaves its result unset): the object differs
//! from build to build, and the kernel refuses its BTF, which aya takes without a word and goes on without.
//!
//! Layout: `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h` of the kernel.

use anyhow::{Context as _, Result, bail, ensure};
use object::{Object as _, ObjectSection as _};

/// `BTF_MAGIC`, at the start of `struct btf_header`.
const MAGIC: u32 = 0xeb9f;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

/// # Errors
/// There is no BTF, it cannot be read, or a function in it has no type.
pub(super) fn check(elf: &[u8]) -> Result<()> {
    let file = object::File::parse(elf)?;
    let section = file.section_by_name(".BTF").context("it has no section .BTF")?;
    check_section(section.data()?)
}

fn check_section(btf: &[u8]) -> Result<()> {
    // struct btf_header: u16 magic, u8 version, u8 flags, u32 hdr_len, type_off, type_len, str_off, str_len.
    ensure!(word(btf, 0)? & 0xffff == MAGIC, ".BTF does not start with BTF's magic number");
    let header = word(btf, 4)?;
    let types = (header + word(btf, 8)?) as usize;
    let end = types + word(btf, 12)? as usize;
    let strings = (header + word(btf, 16)?) as usize;

    // Type 0 is void and has no entry.
    let mut kinds = vec![0];
    let mut functions = Vec::new();
    let mut at = types;
    while at < end {
        // struct btf_type: u32 name_off, u32 info (vlen: bits 0-15, kind: bits 24-28), u32 size or type.
        let (name, info, of) = (word(btf, at)?, word(btf, at + 4)?, word(btf, at + 8)?);
        let kind = (info >> 24) & 0x1f;
        kinds.push(kind);
        if kind == KIND_FUNC {
            functions.push((strings + name as usize, of as usize));
        }
        at += 12 + rest_of(kind, (info & 0xffff) as usize)?;
    }
    for (name, of) in functions {
        if kinds.get(of) != Some(&KIND_FUNC_PROTO) {
            bail!(
                "the function `{}` has no type in .BTF: it was compiled without full debug information",
                text(btf, name)
            );
        }
    }
    Ok(())
}

/// Bytes after `struct btf_type` for a type of this kind and number of members.
fn rest_of(kind: u32, members: usize) -> Result<usize> {
    Ok(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, 64-bit enumeration.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumeration, function prototype.
        6 | KIND_FUNC_PROTO => 8 * members,
        _ => bail!(".BTF has a type of the unknown kind {kind}"),
    })
}

fn word(btf: &[u8], at: usize) -> Result<u32> {
    let bytes = btf.get(at..at + 4).with_context(|| format!(".BTF ends before byte {at}"))?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

fn text(btf: &[u8], at: usize) -> String {
    let bytes = btf.get(at..).unwrap_or_default();
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with an integer, a prototype of one parameter, and a function of the type `of`.
    fn btf(of: u32) -> Vec<u8> {
        let types: [u32; 12] =
            [0, 1 << 24, 4, 32, 0, KIND_FUNC_PROTO << 24 | 1, 1, 0, 1, 1, KIND_FUNC << 24, of];
        let strings = b"\0memcpy\0";
        let length = size_of_val(&types) as u32;
        [MAGIC | 1 << 16, 24, 0, length, length, strings.len() as u32]
            .iter()
            .chain(&types)
            .flat_map(|word| word.to_le_bytes())
            .chain(*strings)
            .collect()
    }

    #[test]
    fn function_with_a_prototype_is_accepted() {
        check_section(&btf(2)).unwrap();
    }

    #[test]
    fn function_without_a_prototype_is_named() {
        for of in [0, 1, 3, 32764] {
            let error = check_section(&btf(of)).unwrap_err().to_string();
            assert!(error.contains("`memcpy` has no type"), "{error}");
        }
    }

    #[test]
    fn cut_btf_is_an_error() {
        let whole = btf(2);
        let types_end = whole.len() - b"\0memcpy\0".len();
        for length in 0..types_end {
            assert!(check_section(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
