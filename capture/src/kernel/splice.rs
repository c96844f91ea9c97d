//! Instructions in front of programs of an ELF object, before it is loaded.
//!
//! The sections with the programs are written again at the end of the file, with the instructions in them; nothing else
//! changes its place. What names an instruction behind them by its offset is corrected where it stands: symbols,
//! relocations, and the records of `.BTF.ext`. A function's first record stays at its beginning, where the kernel wants
//! one (kernel/bpf/verifier.c, `check_btf_func`, `check_btf_line`).
//!
//! Layouts: ELF-64 (elf.h), <https://docs.kernel.org/bpf/btf.html>, both little-endian.

use std::{collections::BTreeMap, ops::Range};

use capture_filter::ebpf::{INSTRUCTION_LENGTH, Instruction};

/// Why instructions cannot be put into an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpliceError {
    /// There is no such function.
    #[error("the object has no program {0}")]
    NoProgram(String),
    /// The object is no ELF file as the compiler for eBPF writes them.
    #[error("the object is malformed ({0})")]
    Malformed(&'static str),
}

/// The object with instructions in front of programs, which it names. It begins at an 8-byte boundary, as the parser of
/// ELF files wants it.
pub(super) fn splice(object: &[u8], instructions: &[(&str, &[Instruction])]) -> Result<Aligned, SpliceError> {
    let mut elf = Elf { bytes: object.to_vec() };
    let sections = elf.sections()?;
    let programs = elf.programs(&sections, instructions)?;
    for (&index, insertions) in &programs {
        let section = *sections.get(index).ok_or(SpliceError::Malformed("symbol table"))?;
        elf.rewrite(section, insertions)?;
        elf.move_symbols(&sections, index, insertions)?;
        elf.move_relocations(&sections, index, insertions)?;
        elf.move_records(&sections, section, insertions)?;
    }
    Ok(Aligned::new(&elf.bytes))
}

/// Bytes at an 8-byte boundary.
#[derive(Debug)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Aligned {
    const ALIGNMENT: usize = 8;

    fn new(from: &[u8]) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(from.len() + Self::ALIGNMENT);
        let start = bytes.as_ptr().align_offset(Self::ALIGNMENT);
        bytes.resize(start, 0);
        bytes.extend_from_slice(from);
        Self { range: start..start + from.len(), bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }
}

/// What is inserted into a section: at which offset of the old section, which bytes.
type Insertions<'i> = BTreeMap<u64, &'i [Instruction]>;

/// Where what was at `offset` is after the insertions. At an insertion itself there are two answers: the function still
/// begins there, its old first instruction comes after what is inserted.
fn moved(insertions: &Insertions<'_>, offset: u64, is_start: bool) -> u64 {
    let before = |at: u64| if is_start { at < offset } else { at <= offset };
    let inserted = insertions.iter().filter(|&(&at, _)| before(at));
    offset + inserted.map(|(_, instructions)| length(instructions)).sum::<u64>()
}

fn length(instructions: &[Instruction]) -> u64 {
    (instructions.len() * INSTRUCTION_LENGTH) as u64
}

/// A section's header.
#[derive(Clone, Copy, Debug)]
struct Section {
    /// Where the header itself is.
    header: usize,
    name: u32,
    kind: u32,
    offset: usize,
    size: usize,
    link: usize,
    info: usize,
}

const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
/// Its bytes are not in the file.
const SHT_NOBITS: u32 = 8;
const SHT_REL: u32 = 9;
const STT_FUNC: u8 = 2;
const SYMBOL_LENGTH: usize = 24;
const RELOCATION_LENGTH: usize = 16;

struct Elf {
    bytes: Vec<u8>,
}

impl Elf {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset..)?.first_chunk().copied()
    }

    fn u16(&self, offset: usize) -> Option<usize> {
        self.read(offset).map(|bytes| u16::from_le_bytes(bytes).into())
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.read(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.read(offset).map(u64::from_le_bytes)
    }

    /// A number that offsets and sizes fit into.
    fn size(&self, offset: usize) -> Option<usize> {
        usize::try_from(self.u64(offset)?).ok()
    }

    fn write<const N: usize>(&mut self, offset: usize, value: [u8; N]) -> Option<()> {
        *self.bytes.get_mut(offset..)?.first_chunk_mut()? = value;
        Some(())
    }

    fn sections(&self) -> Result<Vec<Section>, SpliceError> {
        let section = |header: usize| {
            let name = self.u32(header)?;
            let kind = self.u32(header + 4)?;
            let (offset, size) = (self.size(header + 24)?, self.size(header + 32)?);
            let is_within = offset.checked_add(size)? <= self.bytes.len();
            (is_within || kind == SHT_NOBITS).then_some(())?;
            let (link, info) = (self.u32(header + 40)? as usize, self.u32(header + 44)? as usize);
            Some(Section { header, name, kind, offset, size, link, info })
        };
        let all = || {
            // ELFCLASS64, ELFDATA2LSB.
            let identification: [u8; 6] = self.read(0)?;
            (identification == *b"\x7fELF\x02\x01").then_some(())?;
            let (start, length, count) = (self.size(40)?, self.u16(58)?, self.u16(60)?);
            (0..count).map(|index| section(start.checked_add(index * length)?)).collect::<Option<Vec<_>>>()
        };
        all().ok_or(SpliceError::Malformed("header or section headers"))
    }

    /// The sections with the programs that get instructions, by index.
    fn programs<'i>(
        &self,
        sections: &[Section],
        instructions: &[(&str, &'i [Instruction])],
    ) -> Result<BTreeMap<usize, Insertions<'i>>, SpliceError> {
        let malformed = SpliceError::Malformed("symbol table");
        let mut programs = BTreeMap::<usize, Insertions<'i>>::new();
        for &(name, instructions) in instructions {
            let mut found = None;
            for (symbol, names) in self.symbols(sections).ok_or_else(|| malformed.clone())? {
                let described = || {
                    let name_at = names.offset.checked_add(self.u32(symbol)? as usize)?;
                    let [kind] = self.read(symbol + 4)?;
                    let is_named = self.string(name_at)? == name.as_bytes();
                    Some((kind & 0x0f == STT_FUNC && is_named, self.u16(symbol + 6)?, self.u64(symbol + 8)?))
                };
                let (is_it, section, address) = described().ok_or_else(|| malformed.clone())?;
                if is_it {
                    found = Some((section, address));
                }
            }
            let (section, address) = found.ok_or_else(|| SpliceError::NoProgram(name.to_owned()))?;
            programs.entry(section).or_default().insert(address, instructions);
        }
        Ok(programs)
    }

    /// Where each symbol is, and the section with its name.
    fn symbols(&self, sections: &[Section]) -> Option<Vec<(usize, Section)>> {
        let mut symbols = Vec::new();
        for table in sections.iter().filter(|section| section.kind == SHT_SYMTAB) {
            let names = *sections.get(table.link)?;
            symbols.extend(places(*table, SYMBOL_LENGTH)?.map(|symbol| (symbol, names)));
        }
        Some(symbols)
    }

    fn string(&self, offset: usize) -> Option<&[u8]> {
        self.bytes.get(offset..)?.split(|&byte| byte == 0).next()
    }

    /// Writes the section at the end of the file.
    fn rewrite(&mut self, section: Section, insertions: &Insertions<'_>) -> Result<(), SpliceError> {
        let mut rewrite = || {
            let old = self.bytes.get(section.offset..section.offset.checked_add(section.size)?)?.to_vec();
            self.bytes.resize(self.bytes.len().next_multiple_of(INSTRUCTION_LENGTH), 0);
            let start = self.bytes.len();
            let mut copied = 0;
            for (&at, instructions) in insertions {
                let at = usize::try_from(at).ok()?;
                self.bytes.extend_from_slice(old.get(copied..at)?);
                self.bytes.extend(instructions.iter().flat_map(|instruction| instruction.to_bytes()));
                copied = at;
            }
            self.bytes.extend_from_slice(old.get(copied..)?);
            let size = (self.bytes.len() - start) as u64;
            self.write(section.header + 24, (start as u64).to_le_bytes())?;
            self.write(section.header + 32, size.to_le_bytes())
        };
        rewrite().ok_or(SpliceError::Malformed("section with programs"))
    }

    /// Moves the symbols of the section, and makes the functions longer.
    fn move_symbols(
        &mut self,
        sections: &[Section],
        index: usize,
        insertions: &Insertions<'_>,
    ) -> Result<(), SpliceError> {
        let mut all = || {
            for (symbol, _) in self.symbols(sections)? {
                if self.u16(symbol + 6)? != index {
                    continue;
                }
                let (start, size) = (self.u64(symbol + 8)?, self.u64(symbol + 16)?);
                let new_start = moved(insertions, start, true);
                self.write(symbol + 8, new_start.to_le_bytes())?;
                if size > 0 {
                    let end = moved(insertions, start.checked_add(size)?, true);
                    self.write(symbol + 16, (end - new_start).to_le_bytes())?;
                }
            }
            Some(())
        };
        all().ok_or(SpliceError::Malformed("symbol table"))
    }

    /// Moves the relocations of the section.
    fn move_relocations(
        &mut self,
        sections: &[Section],
        index: usize,
        insertions: &Insertions<'_>,
    ) -> Result<(), SpliceError> {
        let mut all = || {
            for table in sections.iter().filter(|section| section.info == index) {
                match table.kind {
                    SHT_REL => {}
                    // The compiler writes none.
                    SHT_RELA => return None,
                    _ => continue,
                }
                for relocation in places(*table, RELOCATION_LENGTH)? {
                    let offset = moved(insertions, self.u64(relocation)?, false);
                    self.write(relocation, offset.to_le_bytes())?;
                }
            }
            Some(())
        };
        all().ok_or(SpliceError::Malformed("relocations"))
    }

    /// Moves the records of `.BTF.ext` about the section.
    fn move_records(
        &mut self,
        sections: &[Section],
        section: Section,
        insertions: &Insertions<'_>,
    ) -> Result<(), SpliceError> {
        let mut all = || {
            let names = *sections.get(self.u16(62)?)?;
            let named = |elf: &Self, name: &[u8]| {
                sections.iter().copied().find(|section| elf.section_name(names, *section) == Some(name))
            };
            // Without them there is nothing to move.
            let Some((btf, extended)) = named(self, b".BTF").zip(named(self, b".BTF.ext")) else {
                return Some(());
            };
            let name = self.section_name(names, section)?.to_vec();
            let strings =
                btf.offset + self.u32(btf.offset + 4)? as usize + self.u32(btf.offset + 16)? as usize;
            let header_length = self.u32(extended.offset + 4)? as usize;
            let records = extended.offset + header_length;
            // Functions, lines, and from a certain length of the header on, relocations by type.
            for (info, at_start) in [(8, true), (16, true), (24, false)] {
                if info + 8 > header_length {
                    continue;
                }
                let start = records + self.u32(extended.offset + info)? as usize;
                let length = self.u32(extended.offset + info + 4)? as usize;
                if length > 0 {
                    let about = About { strings, name: &name, at_start };
                    self.move_records_of(start..start + length, &about, insertions)?;
                }
            }
            Some(())
        };
        all().ok_or(SpliceError::Malformed("type information (.BTF.ext)"))
    }

    fn section_name(&self, names: Section, section: Section) -> Option<&[u8]> {
        self.string(names.offset.checked_add(section.name as usize)?)
    }

    /// Moves the records of one kind: the size of a record, then for each section its name, the number of records, and
    /// these, which begin with the offset.
    fn move_records_of(
        &mut self,
        range: Range<usize>,
        about: &About<'_>,
        insertions: &Insertions<'_>,
    ) -> Option<()> {
        let record_length = self.u32(range.start)? as usize;
        let mut place = range.start + 4;
        while place < range.end {
            let name = about.strings + self.u32(place)? as usize;
            let count = self.u32(place + 4)? as usize;
            let end = (place + 8).checked_add(count.checked_mul(record_length)?)?;
            if self.string(name)? == about.name {
                for index in 0..count {
                    let record = place + 8 + index * record_length;
                    let offset = moved(insertions, self.u32(record)?.into(), about.at_start);
                    self.write(record, u32::try_from(offset).ok()?.to_le_bytes())?;
                }
            }
            place = end;
        }
        Some(())
    }
}

/// Which records are moved.
struct About<'a> {
    /// Where the names of sections are.
    strings: usize,
    /// The name of theirs.
    name: &'a [u8],
    /// Whether a record at a function's beginning stays there.
    at_start: bool,
}

/// Where the entries of a table are.
fn places(table: Section, length: usize) -> Option<impl Iterator<Item = usize>> {
    let end = table.offset.checked_add(table.size)?;
    Some((table.offset..end).step_by(length))
}

#[cfg(test)]
mod tests;
