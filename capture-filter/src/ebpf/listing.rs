//! Instructions as text.

use alloc::string::String;
use core::fmt::Write as _;

use super::Instruction;

/// A line for each instruction, as LLVM writes it, with its number in front and a line feed at its end. A jump says how
/// many instructions it skips.
pub fn listing(instructions: &[Instruction]) -> String {
    let mut text = String::new();
    for (index, instruction) in instructions.iter().enumerate() {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "({index:03}) {instruction}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_has_its_number() {
        let code = [Instruction::call(26), Instruction::exit()];
        assert_eq!(listing(&code), "(000) call 26\n(001) exit\n");
    }
}
