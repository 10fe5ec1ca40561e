//! Assembles device rules into a program that the kernel runs at every open and mknod (cgroup v2).
//!
//! Pure: instructions in, nothing loaded. The kernel gives the program a context of three words
//! and takes 1 for yes and 0 for no:
//!
//! ```text
//!  r1 -> | access << 16 | kind |  major  |  minor  |
//!
//!  r2 = access, r3 = kind, r4 = major, r5 = minor
//!  for each rule, the last one first:
//!      does not fit -> next rule
//!      r0 = allow; exit
//!  r0 = 0; exit
//! ```

use super::{DeviceKind, DeviceRule};

/// One instruction of the kernel's machine (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    value: i32,
}

/// Why rules cannot become a program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssembleError {
    /// A device number is larger than the kernel's.
    #[error("device number {number} is out of range")]
    Number { number: u32 },
    /// There are more rules than anybody needs.
    #[error("{count} device rules are more than {RULES_MAX}")]
    TooMany { count: usize },
}

/// Most rules of one container: all its devices and the usual ones, with room to spare; each takes
/// at most 8 of the 4096 instructions that every kernel accepts.
pub(crate) const RULES_MAX: usize = 500;

/// Kinds of nodes in the context (`BPF_DEVCG_DEV_*`).
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Operations, as `linux/bpf.h` and `linux/bpf_common.h` compose them.
const LOAD_WORD: u8 = 0x61;
const AND_VALUE: u8 = 0x57;
const SHIFT_RIGHT_VALUE: u8 = 0x77;
const MOVE: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const JUMP_IF_EQUAL_VALUE: u8 = 0x15;
const JUMP_IF_NOT_EQUAL_VALUE: u8 = 0x55;
const JUMP_IF_NOT_EQUAL: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Self {
        Self { code, to, from, offset, value }
    }

    /// The instruction as it lies in memory.
    pub(crate) fn encode(self) -> [u8; 8] {
        // Which half of the byte is which register follows the order of bytes.
        let registers = if cfg!(target_endian = "little") {
            self.from << 4 | self.to
        } else {
            self.to << 4 | self.from
        };
        let [offset_0, offset_1] = self.offset.to_ne_bytes();
        let [value_0, value_1, value_2, value_3] = self.value.to_ne_bytes();
        [self.code, registers, offset_0, offset_1, value_0, value_1, value_2, value_3]
    }
}

/// Returns the program that decides as these rules do; what no rule fits is forbidden.
///
/// # Errors
/// When a number or the count of rules is out of range.
pub(crate) fn assemble(rules: &[DeviceRule]) -> Result<Vec<Instruction>, AssembleError> {
    if rules.len() > RULES_MAX {
        return Err(AssembleError::TooMany { count: rules.len() });
    }
    let mut program = vec![
        Instruction::new(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        Instruction::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Instruction::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        Instruction::new(MOVE, KIND, ACCESS, 0, 0),
        Instruction::new(AND_VALUE, KIND, 0, 0, 0xffff),
        Instruction::new(SHIFT_RIGHT_VALUE, ACCESS, 0, 0, 16),
    ];
    for rule in rules.iter().rev() {
        program.extend(one_rule(*rule)?);
        if rule.fits_everything() {
            // Nothing gets past it, and the kernel refuses programs with dead ends.
            return Ok(program);
        }
    }
    program.extend(answer(false));
    Ok(program)
}

fn one_rule(rule: DeviceRule) -> Result<Vec<Instruction>, AssembleError> {
    let mut tests = Vec::new();
    if let Some(kind) = rule.kind {
        let kind = match kind {
            DeviceKind::Block => BLOCK,
            DeviceKind::Character => CHARACTER,
        };
        tests.push(Instruction::new(JUMP_IF_NOT_EQUAL_VALUE, KIND, 0, 0, kind));
    }
    if !rule.fits_everything() {
        let bits = i32::try_from(rule.access.bits()).unwrap_or(0);
        // The context is not needed any more, so its register is free.
        tests.push(Instruction::new(MOVE, CONTEXT, ACCESS, 0, 0));
        tests.push(Instruction::new(AND_VALUE, CONTEXT, 0, 0, bits));
        tests.push(if rule.allow {
            // All that is asked for must be allowed by one rule.
            Instruction::new(JUMP_IF_NOT_EQUAL, CONTEXT, ACCESS, 0, 0)
        } else {
            // One of what is asked for being forbidden is enough.
            Instruction::new(JUMP_IF_EQUAL_VALUE, CONTEXT, 0, 0, 0)
        });
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            let value = i32::try_from(number).map_err(|_| AssembleError::Number { number })?;
            tests.push(Instruction::new(JUMP_IF_NOT_EQUAL_VALUE, register, 0, 0, value));
        }
    }
    let answer = answer(rule.allow);
    let len = tests.len() + answer.len();
    for (index, test) in tests.iter_mut().enumerate() {
        let jumps =
            [JUMP_IF_EQUAL_VALUE, JUMP_IF_NOT_EQUAL_VALUE, JUMP_IF_NOT_EQUAL].contains(&test.code);
        if jumps {
            // To the next rule, counted from the next instruction.
            test.offset = i16::try_from(len - index - 1).unwrap_or(i16::MAX);
        }
    }
    tests.extend(answer);
    Ok(tests)
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        Instruction::new(MOVE_VALUE, RESULT, 0, 0, i32::from(allow)),
        Instruction::new(EXIT, 0, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{DeviceAccess, of_container};
    use super::*;

    const R: u32 = 2;
    const W: u32 = 4;
    const M: u32 = 1;

    /// Runs a program as the kernel would; panics where its verifier would refuse.
    fn run(program: &[Instruction], kind: i32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | u32::try_from(kind).unwrap(), major, minor];
        let mut registers: [Option<u64>; 11] = [None; 11];
        let (mut at, mut context_there) = (0, true);
        loop {
            let now = program[at];
            at += 1;
            let value = i64::from(now.value).cast_unsigned();
            let (to, from) = (usize::from(now.to), usize::from(now.from));
            let mut jump = |taken: bool| {
                if taken {
                    at += usize::try_from(now.offset).unwrap();
                }
            };
            match now.code {
                LOAD_WORD => {
                    assert!(now.from == CONTEXT && context_there);
                    let word = usize::try_from(now.offset).unwrap() / 4;
                    registers[to] = Some(u64::from(context[word]));
                }
                MOVE => {
                    context_there &= now.to != CONTEXT;
                    registers[to] = Some(registers[from].unwrap());
                }
                MOVE_VALUE => registers[to] = Some(value),
                AND_VALUE => registers[to] = Some(registers[to].unwrap() & value),
                SHIFT_RIGHT_VALUE => registers[to] = Some(registers[to].unwrap() >> value),
                JUMP_IF_EQUAL_VALUE => jump(registers[to].unwrap() == value),
                JUMP_IF_NOT_EQUAL_VALUE => jump(registers[to].unwrap() != value),
                JUMP_IF_NOT_EQUAL => jump(registers[to].unwrap() != registers[from].unwrap()),
                EXIT => return registers[usize::from(RESULT)].unwrap() == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// What the rules say, read without a program.
    fn plain(rules: &[DeviceRule], kind: i32, access: u32, major: u32, minor: u32) -> bool {
        let kind = if kind == BLOCK { DeviceKind::Block } else { DeviceKind::Character };
        let fits = |rule: &&DeviceRule| {
            rule.kind.is_none_or(|own| own == kind)
                && rule.major.is_none_or(|own| own == major)
                && rule.minor.is_none_or(|own| own == minor)
                && match rule.allow {
                    true => access & !rule.access.bits() == 0,
                    false => access & rule.access.bits() != 0,
                }
        };
        rules.iter().rev().find(fits).is_some_and(|rule| rule.allow)
    }

    #[test]
    fn an_ordinary_container_makes_the_cards_node_but_cannot_open_it() {
        let program = assemble(&of_container(false, &[])).unwrap();
        for major in [8, 179, 254, 259] {
            assert!(run(&program, BLOCK, M, major, 0));
            for access in [R, W, R | W, M | R] {
                assert!(!run(&program, BLOCK, access, major, 0), "{major} {access}");
            }
        }
        assert!(run(&program, CHARACTER, R | W, 1, 3));
        assert!(run(&program, CHARACTER, R | W, 136, 7));
        // mem, kmsg, rtc
        assert!(!run(&program, CHARACTER, R, 1, 1));
        assert!(!run(&program, CHARACTER, R, 1, 11));
        assert!(!run(&program, CHARACTER, R, 254, 0));
        // The same numbers as null's, but a disk.
        assert!(!run(&program, BLOCK, R, 1, 3));
    }

    #[test]
    fn devices_passed_on_purpose_are_open_as_far_as_was_said() {
        let card = DeviceRule::allow(DeviceKind::Block, 179, 2, DeviceAccess::READ);
        let program = assemble(&of_container(false, &[card])).unwrap();
        assert!(run(&program, BLOCK, R, 179, 2));
        assert!(!run(&program, BLOCK, R | W, 179, 2));
        assert!(!run(&program, BLOCK, R, 179, 1));
        assert!(!run(&program, CHARACTER, R, 179, 2));
    }

    #[test]
    fn privileged_containers_may_do_everything_with_no_dead_end() {
        let program = assemble(&of_container(true, &[])).unwrap();
        assert!(run(&program, BLOCK, R | W | M, 179, 0));
        assert_eq!(program.len(), 8);
        let open_at_last = [DeviceRule::everything(false), DeviceRule::everything(true)];
        assert_eq!(assemble(&open_at_last).unwrap(), program);
    }

    #[test]
    fn programs_decide_as_the_rules_do() {
        let access = [M, R, W, R | W, M | R | W];
        let mut rules = vec![DeviceRule::everything(false)];
        // Every shape of rule, allowing and forbidding by turns, on numbers that meet.
        for (index, bits) in access.into_iter().cycle().take(24).enumerate() {
            let number =
                |at: usize| (index >> at & 1 == 0).then_some(u32::try_from(index % 3).unwrap());
            let kind = [None, Some(DeviceKind::Block), Some(DeviceKind::Character)][index % 3];
            let access = DeviceAccess(bits);
            let (major, minor) = (number(1), number(2));
            rules.push(DeviceRule { allow: index % 2 == 0, kind, major, minor, access });
        }
        for len in 0..rules.len() {
            let program = assemble(&rules[..len]).unwrap();
            for kind in [BLOCK, CHARACTER] {
                for bits in access {
                    for (major, minor) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (7, 1)] {
                        assert_eq!(
                            run(&program, kind, bits, major, minor),
                            plain(&rules[..len], kind, bits, major, minor),
                            "{len} rules, {kind} {bits} {major}:{minor}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_and_counts_out_of_range_are_refused() {
        let far = DeviceRule::allow(DeviceKind::Block, u32::MAX, 0, DeviceAccess::ALL);
        assert_eq!(assemble(&[far]), Err(AssembleError::Number { number: u32::MAX }));
        let near = DeviceRule::allow(DeviceKind::Block, 1, 0, DeviceAccess::ALL);
        assert!(assemble(&[near; RULES_MAX]).unwrap().len() < 4096);
        assert!(assemble(&[near; RULES_MAX + 1]).is_err());
    }

    #[test]
    fn instructions_lie_in_memory_as_the_kernel_has_them() {
        let load = Instruction::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0);
        let expected = [LOAD_WORD, 0x14, 4, 0, 0, 0, 0, 0];
        assert_eq!(load.encode(), expected);
        let and = Instruction::new(AND_VALUE, KIND, 0, 0, 0xffff);
        assert_eq!(and.encode(), [AND_VALUE, 3, 0, 0, 0xff, 0xff, 0, 0]);
    }
}
